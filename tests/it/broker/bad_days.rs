//! What agents and people are told while the store can't be written or read, and what they find
//! when it can be again.
#![cfg(target_os = "linux")]

use placet::broker::DecideError;
use placet::broker::call::answer::Answer;
use placet::broker::call::submit::Submission;
use placet::domain::approval::{Choice, State};
use placet::store::StoreError;
use tokio::signal::unix::{SignalKind, signal};

use crate::support::world::World;

/// The disk is full: no file of this process may grow. The system refuses the writing itself, so
/// that SQLite meets it in the middle of a commit. A test has a process of its own.
struct FullDisk;

/// The signal that a write beyond the limit sends; its default would end the process.
const SIGXFSZ: i32 = 25;

impl FullDisk {
    fn of(world: &World) -> Self {
        // Handled once, for as long as the process lives.
        drop(signal(SignalKind::from_raw(SIGXFSZ)).unwrap());
        let file = world.db.url.trim_start_matches("sqlite:");
        let log = std::fs::metadata(format!("{file}-wal")).unwrap().len();
        limit(&log.to_string());
        Self
    }
}

impl Drop for FullDisk {
    fn drop(&mut self) {
        limit("unlimited");
    }
}

fn limit(bytes: &str) {
    let pid = std::process::id().to_string();
    let done = std::process::Command::new("prlimit")
        .args(["--pid", &pid, &format!("--fsize={bytes}:unlimited")])
        .status()
        .unwrap();
    assert!(done.success());
}

fn text(submission: &Submission) -> (&str, &str) {
    let Submission::Answered(Answer::Statement(said)) = submission else {
        panic!("no statement: {submission:?}")
    };
    (said.code.as_str(), &said.text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_as_it_is_and_over_when_there_is_space_again() {
    let world = World::new().await;
    if world.db.is_postgres {
        return;
    }
    let (holding, id) = world.running().await;
    let waiting = world.call(r#"{"n":1}"#).await.approval.id.clone();
    let full = FullDisk::of(&world);
    world.upstream.goes_on();

    for _ in 0..3 {
        // The call that runs, or ran: nobody says that it did not.
        let again = world.submit("{}").await;
        let (code, said) = text(&again);
        assert_eq!(code, "unavailable");
        assert!(said.contains("executed already") && said.contains(id.as_str()), "{said}");
        assert!(!said.contains("nothing ran") && !said.contains("Not executed"), "{said}");
        // One that waits: it is queued.
        let again = world.submit(r#"{"n":1}"#).await;
        assert!(text(&again).1.contains("queued already"), "{again:?}");
        // A new one: looked up, and there is nothing of it.
        let new = world.submit(r#"{"n":2}"#).await;
        assert!(text(&new).1.contains("nothing was queued and nothing ran"), "{new:?}");
        let refused = world.says("ben", Choice::Approve, &waiting).await.unwrap_err();
        assert!(matches!(refused, DecideError::Store(StoreError::Unavailable(_))), "{refused:?}");
    }
    assert_eq!(world.stored(&waiting).await.state, State::Pending);
    drop(full);

    assert!(holding.word().await.contains("done"));
    assert_eq!(world.stored(&id).await.state, State::Completed);
    assert_eq!(world.upstream.calls(), 1);
    assert_eq!(world.approve(&waiting).await.state, State::Approved);
    world.call(r#"{"n":2}"#).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_what_can_not_be_looked_up_nobody_says_that_it_did_not_run() {
    let world = World::new().await;
    world.policy(
        r#"{"version":"1","tools":{"list_image_sets":{"action":"deny"},
            "delete_image_set":{"action":"require_approval","approval":{"reviewers":["ben"]}}}}"#,
    );
    world.db.store.close().await;

    let gated = world.submit("{}").await;
    let denied = world.broker.submit(world.asking(r#"{"name":"list_image_sets"}"#)).await;

    let (code, said) = text(&gated);
    assert_eq!(code, "unavailable");
    assert!(said.contains("it may have been"), "{said}");
    assert!(!said.contains("nothing ran") && !said.contains("Not executed"), "{said}");
    let (code, said) = text(&denied);
    assert_eq!(code, "policy_denied");
    assert!(said.contains("can't be looked up"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_approve_at_once_on_two_brokers_all_count() {
    const PEOPLE: usize = 60;
    let names: Vec<String> = (0..PEOPLE).map(|n| format!("person{n}")).collect();
    let mut lines = String::new();
    for name in &names {
        lines.push_str(&format!(
            "[[reviewers]]\nname = \"{name}\"\ntoken = \"token-of-the-reviewer-{name}\"\n"
        ));
    }
    let world = World::with(&lines).await;
    let another = world.another("node-b").await;
    let policy = format!(
        r#"{{"version":"1","tools":{{"delete_image_set":{{"action":"require_approval",
            "approval":{{"reviewers":{names:?},"quorum":{PEOPLE}}}}}}}}}"#
    );
    world.policy(&policy);
    let id = world.call("{}").await.approval.id.clone();

    let all = names.iter().enumerate().map(|(n, name)| {
        let broker = if n % 2 == 0 { world.broker.clone() } else { another.clone() };
        let reviewer = world.config.reviewer(name).unwrap().clone();
        let id = id.clone();
        tokio::spawn(async move {
            let verdict = crate::support::world::verdict(Choice::Approve);
            broker.decide(&id, &reviewer, verdict).await
        })
    });
    for said in futures_util::future::join_all(all).await {
        said.unwrap().unwrap();
    }

    let stored = world.stored(&id).await;
    assert_eq!(stored.decisions.len(), PEOPLE);
    assert_ne!(stored.state, State::Pending);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_only_takes_no_more_is_not_told_as_one_that_can_not_be_read() {
    let world = World::new().await;
    if world.db.is_postgres {
        return;
    }
    let list = || world.asking(r#"{"name":"list_image_sets"}"#);
    let limited = r#"{"version":"1","tools":{"delete_image_set":{"action":"allow"},
        "list_image_sets":{"action":"allow","rate_limit":{"max":9,"window":60}}}}"#;
    world.policy(limited);
    let full = FullDisk::of(&world);

    let counted = world.broker.submit(list()).await;

    let (code, said) = text(&counted);
    assert_eq!(code, "unavailable", "{said}");
    assert!(said.contains("can't write its store"), "{said}");
    assert!(!world.broker.store_is_away());
    let free = world.submit("{}").await;
    assert!(matches!(free, Submission::Forward(_)), "{free:?}");
    world.policy(r#"{"version":"1","tools":{"list_image_sets":{"action":"deny"}}}"#);
    let denied = world.broker.submit(list()).await;
    let (code, said) = text(&denied);
    assert_eq!(code, "policy_denied");
    assert!(!said.contains("can't be looked up"), "it was looked up: {said}");
    drop(full);
    world.policy(limited);
    let counted = world.broker.submit(list()).await;
    assert!(matches!(counted, Submission::Forward(_)), "{counted:?}");
}
