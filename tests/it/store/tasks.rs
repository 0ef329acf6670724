//! Tasks, and what is said to calls that run.

use std::time::Duration;

use placet::domain::approval::{ApprovalId, Choice, Outcome};
use placet::domain::person::Role;
use placet::domain::task::{Follows, Form, Task, TaskId};
use placet::store::Store as _;
use placet::store::tasks::{Ended, Run};

use crate::support::approvals::{T0, approval, at, id, old, says, submission};
use crate::support::db::{Database, on_each};
use placet::store::due::Unattended;

fn task(n: u8, follows: Follows) -> Task {
    Task {
        id: TaskId::new(&[n; 32]),
        agent: "ci".to_owned(),
        upstream: "images".to_owned(),
        session: None,
        form: Form::Extension,
        tool: "delete_image_set".to_owned(),
        follows,
        created_at: at(u64::from(n)),
        changed_at: at(u64::from(n)),
        waits_until: at(15),
        expires_at: at(1_000),
        cancelled_at: None,
    }
}

fn of(n: u8, approval: u32) -> Task {
    task(n, Follows::Approval(id(approval)))
}

/// An approval that no request holds.
async fn pending(db: &Database, n: u32) -> ApprovalId {
    db.store.nodes().renew("node-a", T0, at(10_000)).await.unwrap();
    let args = format!(r#"{{"n":{n}}}"#);
    db.store.approvals().submit(submission(approval(n, &args)), T0).await.unwrap();
    db.store.holds().detach(&format!("hld_{n}"), T0).await.unwrap();
    id(n)
}

#[tokio::test]
async fn a_task_is_found_by_its_own_agent_at_its_own_upstream_until_it_expires() {
    on_each(async |db: &Database| {
        let call = Follows::Call { node: "node-a".to_owned(), answer: None };
        let all = [of(1, 1), task(2, Follows::Remote("theirs".to_owned())), task(3, call)];
        for task in &all {
            assert!(db.store.tasks().insert(task, 10).await.unwrap());
        }
        let find = async |who: &str, at_upstream: &str, second: u64| {
            db.store.tasks().find(&all[0].id, who, at_upstream, at(second)).await.unwrap()
        };

        for task in &all {
            let found = db.store.tasks().find(&task.id, "ci", "images", T0).await.unwrap();
            assert_eq!(found.as_ref(), Some(task));
        }
        assert_eq!(find("ci", "images", 999).await.as_ref(), Some(&all[0]));
        assert_eq!(find("other", "images", 1).await, None);
        assert_eq!(find("ci", "other", 1).await, None);
        assert_eq!(find("ci", "", 1).await.as_ref(), Some(&all[0]), "at any");
        assert_eq!(find("other", "", 1).await, None);
        assert_eq!(find("ci", "images", 1_000).await, None);
        db.store.purge(at(1_000), old(T0)).await.unwrap();
        assert_eq!(find("ci", "images", 1).await, None, "purged");
    })
    .await;
}

#[tokio::test]
async fn an_agent_has_at_most_so_many_living_tasks() {
    on_each(async |db: &Database| {
        assert!(db.store.tasks().insert(&of(1, 1), 2).await.unwrap());
        assert!(db.store.tasks().insert(&of(2, 2), 2).await.unwrap());
        assert!(!db.store.tasks().insert(&of(3, 3), 2).await.unwrap());
        let others = Task { agent: "other".to_owned(), ..of(4, 4) };
        assert!(db.store.tasks().insert(&others, 2).await.unwrap());
        let later = Task { created_at: at(1_001), expires_at: at(2_000), ..of(5, 5) };
        assert!(db.store.tasks().insert(&later, 2).await.unwrap(), "the others have expired");
    })
    .await;
}

#[tokio::test]
async fn an_approval_waits_while_a_task_of_it_is_looked_at() {
    on_each(async |db: &Database| {
        let id = pending(db, 1).await;
        let waiting = async |second: u64| {
            db.store.approvals().find(&id, at(second)).await.unwrap().unwrap().waiting
        };
        let find = async || db.store.tasks().attended(at(20), 10).await.unwrap();
        assert!(!waiting(1).await);

        let task = Task { session: Some("s".to_owned()), ..of(1, 1) };
        db.store.tasks().insert(&task, 10).await.unwrap();
        assert!(waiting(14).await);
        assert!(!waiting(15).await);
        db.store.tasks().look(&task.id, at(30), at(16)).await.unwrap();
        assert!(waiting(20).await);

        assert_eq!(find().await, [], "only what is approved");
        let found = db.store.approvals().find(&id, at(20)).await.unwrap().unwrap();
        let yes = found.decide(says("ben", Choice::Approve, at(20)), Role::Reviewer, None).unwrap();
        db.store.approvals().apply(yes, Vec::new(), at(20)).await.unwrap();
        let session = Some("s".to_owned());
        let found = Unattended { id: id.clone(), upstream: "images".to_owned(), session };
        assert_eq!(find().await, [found]);
        assert_eq!(db.store.tasks().attended(at(30), 10).await.unwrap(), [], "not looked at since");
        db.store.tasks().end(&task.id, at(21)).await.unwrap();
        assert!(!waiting(22).await, "ended");
        db.store.tasks().look(&task.id, at(60), at(22)).await.unwrap();
        assert!(!waiting(23).await, "and it stays so");
    })
    .await;
}

#[tokio::test]
async fn a_task_ends_once_and_who_else_waits_is_counted() {
    on_each(async |db: &Database| {
        let id = pending(db, 1).await;
        db.store.tasks().insert(&of(1, 1), 10).await.unwrap();
        db.store.tasks().insert(&of(2, 1), 10).await.unwrap();
        let (first, second) = (of(1, 1).id, of(2, 1).id);

        assert_eq!(db.store.tasks().others(&first, &id, at(1)).await.unwrap(), 1);
        let ended = db.store.tasks().end(&first, at(2)).await.unwrap();
        assert_eq!(ended, Ended { now: true, others: 1 });
        let again = db.store.tasks().end(&first, at(3)).await.unwrap();
        assert_eq!(again, Ended { now: false, others: 1 });
        assert_eq!(
            db.store.tasks().end(&second, at(4)).await.unwrap(),
            Ended { now: true, others: 0 }
        );
        let found = db.store.tasks().find(&first, "ci", "images", at(5)).await.unwrap().unwrap();
        assert_eq!(found.cancelled_at, Some(at(2)));
        assert_eq!(db.store.tasks().following(&id).await.unwrap(), 2);
    })
    .await;
}

#[tokio::test]
async fn tasks_are_listed_page_by_page_newest_first() {
    on_each(async |db: &Database| {
        for n in 1..=5 {
            db.store.tasks().insert(&of(n, n.into()), 10).await.unwrap();
        }
        let core = Task { form: Form::Core, ..of(6, 6) };
        db.store.tasks().insert(&core, 10).await.unwrap();
        let page = async |before, limit| {
            let form = Form::Extension;
            let tasks = db.store.tasks();
            tasks.list("ci", "images", form, before, limit, at(10)).await.unwrap()
        };

        let first = page(None, 3).await;
        let last = first.last().map(|t| (t.created_at, t.id.to_string()));
        let second = page(last, 3).await;

        let ids = |page: &[Task]| page.iter().map(|t| t.created_at).collect::<Vec<_>>();
        assert_eq!(ids(&first), [at(5), at(4), at(3)]);
        assert_eq!(ids(&second), [at(2), at(1)]);
        let foreign = db.store.tasks();
        let foreign = foreign.list("other", "images", Form::Extension, None, 9, at(10)).await;
        assert_eq!(foreign.unwrap(), []);
        let any = db.store.tasks().list("ci", "", Form::Extension, None, 9, at(10)).await.unwrap();
        assert_eq!(any.len(), 5);
    })
    .await;
}

#[tokio::test]
async fn the_first_answer_of_a_call_stays() {
    on_each(async |db: &Database| {
        let task = task(1, Follows::Call { node: "node-a".to_owned(), answer: None });
        db.store.tasks().insert(&task, 10).await.unwrap();
        let first = Outcome::Result("{ }".to_owned());

        db.store.tasks().answer(&task.id, &first, at(1)).await.unwrap();
        db.store.tasks().answer(&task.id, &Outcome::Error("{}".to_owned()), at(2)).await.unwrap();

        let found = db.store.tasks().find(&task.id, "ci", "images", at(5)).await.unwrap().unwrap();
        let node = "node-a".to_owned();
        assert_eq!(found.follows, Follows::Call { node, answer: Some(first) });
        assert_eq!(found.changed_at, at(1));
    })
    .await;
}

#[tokio::test]
async fn what_is_said_to_a_running_call_is_kept_until_it_is_taken() {
    on_each(async |db: &Database| {
        let tasks = db.store.tasks();
        assert_eq!(tasks.run_of(&id(1)).await.unwrap(), Run::default());

        tasks.ask(&id(1), Some("{\"q\":1}"), T0).await.unwrap();
        tasks.reply(&id(1), "{\"a\":\n1}", T0).await.unwrap();
        tasks.reply(&id(1), "{\"b\":2}", T0).await.unwrap();
        tasks.stop_run(&id(1), at(5)).await.unwrap();
        tasks.stop_run(&id(1), at(6)).await.unwrap();

        let run = tasks.run_of(&id(1)).await.unwrap();
        assert_eq!(run.stop_at, Some(at(5)), "since the first time");
        assert_eq!(run.input_requests.as_deref(), Some("{\"q\":1}"));
        let taken = tasks.take_replies(&id(1), at(7)).await.unwrap();
        assert_eq!(taken.as_deref(), Some("{\"a\": 1}\n{\"b\":2}"));
        assert_eq!(tasks.take_replies(&id(1), at(8)).await.unwrap(), None);
        tasks.ask(&id(1), None, at(9)).await.unwrap();
        assert_eq!(tasks.run_of(&id(1)).await.unwrap().input_requests, None);
        db.store.purge(at(9).plus(Duration::from_hours(24)), old(T0)).await.unwrap();
        assert_eq!(tasks.run_of(&id(1)).await.unwrap(), Run::default(), "forgotten after a day");
    })
    .await;
}
