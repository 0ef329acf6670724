use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio_util::task::TaskTracker;

use super::fake_store::FakeStore;
use super::*;
use crate::broker::Parts;
use crate::broker::people::plan::Wishes;
use crate::clock::ManualClock;
use crate::config::Role;
use crate::domain::approval::{Approval, Assurance, Choice, State};
use crate::id::{SeededIds, token_hash};
use crate::notify::Email;
use crate::notify::fixtures::{NOW, approval, approval_numbered, config, decision, reviewer};
use crate::store::NewDelivery;

/// A notifier that answers what it was told to, then takes everything.
#[derive(Default)]
struct Scripted {
    answers: Mutex<VecDeque<NotifyError>>,
    calls: AtomicUsize,
}

#[async_trait]
impl Notifier for Scripted {
    fn name(&self) -> &'static str {
        "ops"
    }

    async fn send(&self, _: &Message) -> Result<String, NotifyError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.answers.lock().unwrap().pop_front().map_or(Ok("200 OK".into()), Err)
    }

    async fn probe(&self) -> Result<String, NotifyError> {
        Ok("fine".into())
    }
}

struct World {
    store: Arc<FakeStore>,
    broker: Broker,
    mailbox: Mailbox,
    ops: Arc<Scripted>,
    deliverer: Arc<Deliverer>,
}

/// Approvals that ask by the mailbox `demo` and the webhook `ops`, whose answers are scripted.
fn world(answers: impl IntoIterator<Item = NotifyError>) -> World {
    let config = config();
    let store = Arc::new(FakeStore::default());
    let mailbox = Mailbox::default();
    let ops = Arc::new(Scripted {
        answers: Mutex::new(answers.into_iter().collect()),
        calls: AtomicUsize::new(0),
    });
    let notifiers: HashMap<String, Arc<dyn Notifier>> = HashMap::from([
        ("demo".to_owned(), Arc::new(Memory::new("demo", mailbox.clone())) as Arc<dyn Notifier>),
        ("ops".to_owned(), Arc::clone(&ops) as Arc<dyn Notifier>),
    ]);
    let broker = Broker::new(Parts {
        seal_key: [0; 32],
        stop: crate::broker::Stop::default(),
        config: Arc::new(config),
        store: Arc::clone(&store) as Arc<dyn crate::store::Store>,
        clock: Arc::new(ManualClock::new(NOW)),
        ids: Arc::new(SeededIds::default()),
        upstreams: HashMap::new(),
        masking_key: [7; 32],
        node: "node-1".into(),
        tracker: TaskTracker::new(),
    });
    let deliverer = Arc::new(Deliverer::new(broker.clone(), store.clone(), notifiers));
    World { store, broker, mailbox, ops, deliverer }
}

impl World {
    /// Stores the approval and the messages of its making.
    async fn request(&self, mut approval: Approval, notify: &str) {
        approval.terms.notify = vec![notify.to_owned()];
        let planned = self.broker.plan_request(&approval, &Wishes::default(), NOW);
        self.store.approvals.lock().unwrap().push(approval);
        self.store.outbox().enqueue(planned, NOW).await.unwrap();
    }

    fn set(&self, change: impl Fn(&mut Approval)) {
        self.store.approvals.lock().unwrap().iter_mut().for_each(change);
    }

    fn mails(&self) -> Vec<Email> {
        let mail = |m: Message| match m {
            Message::Email(mail) => mail,
            Message::Webhook { .. } => unreachable!("the mailbox gets mails only"),
        };
        self.mailbox.messages().into_iter().map(mail).collect()
    }

    async fn drain(&self, now: Timestamp) -> usize {
        let mut count = 0;
        loop {
            match run_once(&self.deliverer, now).await {
                0 => return count,
                n => count += n,
            }
        }
    }
}

fn retry(after: Option<Duration>) -> NotifyError {
    NotifyError::Retry { detail: "down".into(), after }
}

fn later(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

#[tokio::test]
async fn every_reviewer_gets_a_link_of_their_own_whose_hash_is_stored() {
    let world = world([]);
    world.request(approval(), "demo").await;

    world.drain(NOW).await;

    let mails = world.mails();
    let links = world.store.links.lock().unwrap();
    assert_eq!(mails.len(), 3);
    for mail in mails {
        let token = mail.text.split("/review/").nth(1).unwrap().lines().next().unwrap();
        let link = links.iter().find(|l| l.hash == token_hash(token)).unwrap();
        assert!(mail.to.starts_with(&link.reviewer), "{}", mail.to);
        assert_eq!(link.approval, approval().id);
    }
    assert_eq!(links.len(), 3);
}

#[tokio::test]
async fn a_link_that_could_not_decide_is_not_minted() {
    let world = world([]);
    let mut strict = approval();
    strict.terms.assurance = Assurance::Session;
    world.request(strict, "demo").await;

    world.drain(NOW).await;

    assert!(world.store.links.lock().unwrap().is_empty());
    assert!(world.mails()[0].text.contains("/approvals/apr_"));
}

#[tokio::test]
async fn what_is_delivered_is_not_sent_again() {
    let world = world([]);
    world.request(approval(), "demo").await;

    let first = world.drain(NOW).await;
    let second = world.drain(later(3_600)).await;

    assert_eq!((first, second), (3, 0));
}

#[tokio::test]
async fn requests_of_what_is_no_longer_pending_are_dropped() {
    let world = world([]);
    world.request(approval(), "demo").await;
    world.set(|a| a.state = State::Cancelled);

    world.drain(NOW).await;

    assert!(world.mails().is_empty());
    assert_eq!(world.store.told()[0], "requested ana dropped: no longer pending");
}

#[tokio::test]
async fn a_reviewer_who_has_decided_is_not_asked_again() {
    let world = world([]);
    world.request(approval(), "demo").await;
    world.set(|a| a.decisions = vec![decision("ana", Choice::Approve)]);

    world.drain(NOW).await;

    let to: Vec<String> = world.mails().into_iter().map(|m| m.to).collect();
    assert_eq!(to, ["bo@example.org", "cy@localhost"]);
}

#[tokio::test]
async fn a_failure_is_tried_again_by_the_schedule_with_the_same_body() {
    let world = world([retry(None), retry(Some(Duration::from_mins(2)))]);
    world.request(approval(), "ops").await;

    let at = [NOW, later(3), later(10), later(100), later(131)];
    let mut counts = Vec::new();
    for now in at {
        counts.push(run_once(&world.deliverer, now).await);
    }

    assert_eq!(counts, [1, 0, 1, 0, 1]);
    assert_eq!(
        world.store.told(),
        ["requested - failed: down", "requested - failed: down", "requested - delivered"]
    );
}

#[tokio::test]
async fn a_webhook_request_is_sent_once_even_if_it_is_decided_by_then_and_not_retried() {
    let world = world([retry(None)]);
    world.request(approval(), "ops").await;
    world.set(|a| a.state = State::Approved);

    run_once(&world.deliverer, NOW).await;
    run_once(&world.deliverer, later(10)).await;

    assert_eq!(
        world.store.told(),
        ["requested - failed: down", "requested - dropped: no longer pending"]
    );
}

#[tokio::test]
async fn what_is_not_taken_in_time_is_given_up() {
    let world = world([retry(None)]);
    let mut short = approval();
    short.expires_at = later(3);
    world.request(short, "ops").await;

    world.drain(NOW).await;

    assert_eq!(world.store.told(), ["requested - dropped: given up: down"]);
}

#[tokio::test]
async fn a_refusal_for_good_is_not_tried_again() {
    let world = world([NotifyError::Permanent("550 no such user".into())]);
    world.request(approval(), "ops").await;

    world.drain(NOW).await;

    assert_eq!(world.store.told(), ["requested - dropped: 550 no such user"]);
}

#[tokio::test]
async fn a_webhook_that_is_gone_is_asked_no_more() {
    let world = world([NotifyError::Disabled("410 Gone".into())]);
    world.request(approval_numbered(1), "ops").await;
    run_once(&world.deliverer, NOW).await;
    world.request(approval_numbered(2), "ops").await;

    run_once(&world.deliverer, NOW).await;

    assert_eq!(world.ops.calls.load(Ordering::Relaxed), 1);
    assert!(world.store.told()[1].contains("dropped: the other side wants no more"));
}

#[tokio::test]
async fn beyond_twenty_requests_in_ten_minutes_there_is_one_summary() {
    let world = world([]);
    for n in 1..=30 {
        let mut asked = approval_numbered(n);
        asked.terms.reviewers = vec!["ana".into()];
        world.request(asked, "demo").await;
    }

    world.drain(NOW).await;
    world.drain(later(599)).await;
    world.drain(later(1_200)).await;

    let mails = world.mails();
    let summaries: Vec<&Email> =
        mails.iter().filter(|m| m.subject == "30 calls wait for your decision").collect();
    assert_eq!(mails.len(), 21);
    assert_eq!(summaries.len(), 1);
    assert!(summaries[0].text.contains("https://placet.example/\n"));
    let summarised =
        world.store.told().into_iter().filter(|t| t.ends_with("dropped: summarised")).count();
    assert_eq!(summarised, 10);
}

#[tokio::test]
async fn a_flood_of_two_agents_keeps_nobody_from_hearing_of_a_third() {
    let world = world([]);
    for n in 1..=120 {
        let mut asked = approval_numbered(n);
        asked.terms.reviewers = vec!["ana".into()];
        asked.agent = if n % 2 == 0 { "loud" } else { "louder" }.to_owned();
        world.request(asked, "demo").await;
    }
    world.drain(NOW).await;
    let flood = world.mails().len();
    let mut quiet = approval_numbered(121);
    quiet.terms.reviewers = vec!["ana".into()];
    quiet.agent = "quiet".to_owned();

    world.request(quiet, "demo").await;
    world.drain(NOW).await;

    assert_eq!(flood, 21, "as many as one reviewer gets in a window, and a summary");
    assert!(world.mails()[21].text.contains("quiet"), "{}", world.mails()[21].text);
}

#[tokio::test]
async fn what_comes_after_a_summary_is_told_by_the_next_one() {
    let world = world([]);
    let ask = |n, at| {
        let mut asked = approval_numbered(n);
        asked.terms.reviewers = vec!["ana".into()];
        asked.created_at = at;
        asked.expires_at = later(7_200);
        asked
    };
    for n in 1..=21 {
        world.request(ask(n, NOW), "demo").await;
    }
    world.drain(NOW).await;
    world.request(ask(22, later(100)), "demo").await;

    world.drain(later(100)).await;
    let before = world.mails().len();
    world.drain(later(700)).await;

    assert_eq!(before, 21);
    assert_eq!(world.mails()[21].subject, "22 calls wait for your decision");
}

#[tokio::test]
async fn decided_mails_are_rendered_by_their_topic() {
    let world = world([]);
    let mut rejected = approval();
    rejected.state = State::Rejected;
    rejected.decisions = vec![decision("bo", Choice::Reject)];
    rejected.terms.notify = vec!["demo".into()];
    let planned = NewDelivery {
        topic: "rejected".into(),
        ..world.broker.plan_request(&rejected, &Wishes::default(), NOW).swap_remove(0)
    };
    world.store.approvals.lock().unwrap().push(rejected);
    world.store.outbox().enqueue(vec![planned], NOW).await.unwrap();

    world.drain(NOW).await;

    let mails = world.mails();
    assert_eq!(mails.len(), 1);
    assert!(mails[0].subject.starts_with("Rejected: images/delete_image_set"));
    assert!(world.store.links.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_sign_in_link_goes_out_behind_the_answer() {
    let world = world([]);

    world
        .deliverer
        .send_sign_in(&reviewer("ana", Role::Reviewer), "https://placet.example/sign-in/t")
        .await;

    world.broker.tracker().close();
    world.broker.tracker().wait().await;
    assert_eq!(world.mails()[0].subject, "Sign in to Placet as ana");
}

#[tokio::test]
async fn the_loop_delivers_and_ends_when_cancelled() {
    let world = world([]);
    world.request(approval(), "demo").await;
    let cancel = CancellationToken::new();
    let mailbox = world.mailbox.clone();
    let running = tokio::spawn(run(world.deliverer, cancel.clone()));

    while mailbox.messages().len() < 3 {
        tokio::task::yield_now().await;
    }
    cancel.cancel();

    running.await.unwrap();
}

/// A channel that never answers to some recipients, or to none.
struct Hangs(Option<&'static str>, Mailbox);

#[async_trait]
impl Notifier for Hangs {
    fn name(&self) -> &'static str {
        "hangs"
    }

    async fn send(&self, message: &Message) -> Result<String, NotifyError> {
        match (message, self.0) {
            (Message::Email(mail), Some(address)) if !mail.to.starts_with(address) => {
                Memory::new("demo", self.1.clone()).send(message).await
            }
            _ => std::future::pending().await,
        }
    }

    async fn probe(&self) -> Result<String, NotifyError> {
        Ok("fine".into())
    }
}

#[tokio::test]
async fn a_channel_that_hangs_holds_up_no_other_and_a_recipient_no_other_recipient() {
    let mut world = world([]);
    let mailbox = world.mailbox.clone();
    let notifiers: HashMap<String, Arc<dyn Notifier>> = HashMap::from([
        ("demo".to_owned(), Arc::new(Hangs(Some("ana@"), mailbox.clone())) as Arc<dyn Notifier>),
        ("ops".to_owned(), Arc::new(Hangs(None, mailbox.clone())) as Arc<dyn Notifier>),
    ]);
    world.deliverer =
        Arc::new(Deliverer::new(world.broker.clone(), world.store.clone(), notifiers));
    for n in 1..=20 {
        world.request(approval_numbered(n), "ops").await;
        world.request(approval_numbered(100 + n), "demo").await;
    }
    let cancel = CancellationToken::new();
    let running = tokio::spawn(run(Arc::clone(&world.deliverer), cancel.clone()));

    // Twenty for each of the two who are not ana.
    while mailbox.messages().len() < 40 {
        tokio::task::yield_now().await;
    }

    running.abort();
    assert!(world.mails().iter().all(|mail| !mail.to.starts_with("ana@")));
}

#[tokio::test]
async fn a_webhook_that_is_gone_stays_so_over_a_restart_until_its_entry_changes() {
    let world = world([NotifyError::Disabled("410 Gone".into())]);
    world.request(approval_numbered(1), "ops").await;
    run_once(&world.deliverer, NOW).await;
    let again = |broker: Broker| {
        let ops = Arc::clone(&world.ops) as Arc<dyn Notifier>;
        let notifiers = HashMap::from([("ops".to_owned(), ops)]);
        Arc::new(Deliverer::new(broker, world.store.clone(), notifiers))
    };

    world.request(approval_numbered(2), "ops").await;
    run_once(&again(world.broker.clone()), NOW).await;
    assert_eq!(world.ops.calls.load(Ordering::Relaxed), 1);
    world.store.channels.lock().unwrap()[0].entry = "of another address".to_owned();
    world.request(approval_numbered(3), "ops").await;
    run_once(&again(world.broker.clone()), NOW).await;

    assert_eq!(world.ops.calls.load(Ordering::Relaxed), 2);
}

#[test]
fn logs_hold_no_addresses() {
    assert_eq!(no_address("550 <ana@example.org>: no such user"), "550 ‹address› no such user");
}
