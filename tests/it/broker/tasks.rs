//! Calls followed as tasks: who waits, what runs, what an end means to whom.

use placet::broker::Broker;
use placet::broker::call::submit::Submission;
use placet::broker::call::tasks::{Owner, TaskError, View};
use placet::domain::approval::{Choice, State};
use placet::domain::task::{Form, Status};
use placet::reconcilers::Unattended;
use placet::store::Store as _;

use crate::support::approvals::at;
use crate::support::fake_upstream::Does;
use crate::support::until;
use crate::support::world::{World, delete, word};

fn owner(world: &World, agent: &str, form: Form) -> Owner {
    let agent = world.config.agent(agent).unwrap().clone();
    Owner { agent, upstream: "images".to_owned(), form }
}

async fn made_at(broker: &Broker, submission: Submission, form: Form) -> View {
    let Submission::Held(held) = submission else { panic!("not held: {submission:?}") };
    broker.make_task(*held, form).await.unwrap_or_else(|_| panic!("no task was made"))
}

/// A call of agent `ci` that became a task.
async fn made(world: &World, args: &str, form: Form) -> View {
    made_at(&world.broker, world.submit(args).await, form).await
}

async fn look(world: &World, view: &View) -> View {
    let owner = owner(world, "ci", view.task.form);
    world.broker.look_at_task(&owner, view.task.id.as_str()).await.unwrap()
}

async fn end(world: &World, view: &View) -> Result<View, TaskError> {
    let owner = owner(world, "ci", view.task.form);
    world.broker.end_task(&owner, view.task.id.as_str()).await
}

/// How it ended, told.
async fn told(world: &World, view: &View) -> String {
    let now = look(world, view).await;
    let (answer, tale) = world.broker.end_of_task(&now).await.expect("it has ended");
    if let Some(tale) = tale {
        tale.told().await;
    }
    word(&answer)
}

async fn becomes(world: &World, view: &View, status: Status) {
    until("the status", async || look(world, view).await.status == status).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approved_task_runs_when_it_is_looked_at_and_tells_the_same_end_again_and_again() {
    let world = World::new().await;
    let task = made(&world, "{}", Form::Extension).await;
    let id = task.approval.as_ref().unwrap().id.clone();
    assert_eq!((task.status, world.stored(&id).await.waiting), (Status::Working, true));
    assert_eq!(world.db.store.holds().attached(&id, world.broker.now()).await.unwrap(), 0);

    world.approve(&id).await;
    look(&world, &task).await;
    world.becomes(&id, State::Completed).await;

    assert!(told(&world, &task).await.contains("done"));
    assert!(told(&world, &task).await.contains("done"));
    assert_eq!(world.upstream.calls(), 1);
    let next = world.call("{}").await;
    assert_ne!(next.approval.id, id, "an end told by a task is told");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_look_it_runs_while_the_last_one_is_fresh_and_waits_after_that() {
    let world = World::new().await;
    let fresh = made(&world, r#"{"n":1}"#, Form::Extension).await;
    let fresh = fresh.approval.unwrap().id;
    world.approve(&fresh).await;
    let mut reconciler = Unattended::default();
    reconciler.run_once(&world.broker).await.unwrap();
    world.becomes(&fresh, State::Completed).await;

    let left = made(&world, r#"{"n":2}"#, Form::Core).await;
    let id = left.approval.as_ref().unwrap().id.clone();
    world.pass(15);
    world.approve(&id).await;
    reconciler.run_once(&world.broker).await.unwrap();

    assert!(!world.stored(&id).await.waiting);
    assert_eq!((world.stored(&id).await.state, world.upstream.calls()), (State::Approved, 1));
    look(&world, &left).await;
    world.becomes(&id, State::Completed).await;
    assert_eq!(world.upstream.calls(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_outlives_the_broker_that_made_it_and_runs_once_on_whichever_is_asked() {
    let world = World::new().await;
    let task = made(&world, "{}", Form::Extension).await;
    let id = task.approval.as_ref().unwrap().id.clone();
    world.approve(&id).await;
    world.db.store.nodes().end("node-a", world.broker.now()).await.unwrap();
    let (b, c) = (world.another("node-b").await, world.another("node-c").await);
    let owner = owner(&world, "ci", Form::Extension);

    let (one, two) = tokio::join!(
        b.look_at_task(&owner, task.task.id.as_str()),
        c.look_at_task(&owner, task.task.id.as_str())
    );

    assert!(one.is_ok() && two.is_ok());
    world.becomes(&id, State::Completed).await;
    assert_eq!(world.upstream.calls(), 1);
    assert!(told(&world, &task).await.contains("done"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_a_result_that_says_why() {
    let world = World::new().await;
    for (args, form) in [(r#"{"n":1}"#, Form::Extension), (r#"{"n":2}"#, Form::Core)] {
        let task = made(&world, args, form).await;
        let id = task.approval.as_ref().unwrap().id.clone();
        world.says("ben", Choice::Reject, &id).await.unwrap();

        let now = look(&world, &task).await;
        assert_eq!(now.status, Status::Completed);
        assert!(now.message.contains("because"), "{}", now.message);
        assert_eq!(told(&world, &task).await, "approval_rejected");
    }
    assert_eq!(world.upstream.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_upstream_fails_it_and_a_lost_answer_is_unknown() {
    let world = World::new().await;
    let error = r#"{"code":-32000,"message":"no"}"#;
    world.upstream.next([Does::Errs(error.to_owned()), Does::Breaks]);
    for (args, status, end) in [
        (r#"{"n":1}"#, Status::Failed, format!("error {error}")),
        (r#"{"n":2}"#, Status::Completed, "outcome_unknown".to_owned()),
    ] {
        let task = made(&world, args, Form::Extension).await;
        world.approve(&task.approval.as_ref().unwrap().id).await;

        becomes(&world, &task, status).await;
        assert_eq!(told(&world, &task).await, end);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_decides_in_time_is_told_as_expired_at_the_very_look() {
    let world = World::new().await;
    let task = made(&world, "{}", Form::Extension).await;

    world.pass(900);

    assert_eq!(look(&world, &task).await.status, Status::Completed);
    assert_eq!(told(&world, &task).await, "approval_expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_its_agents_alone_and_lives_as_long_as_its_end_may_be_owed() {
    let world = World::new().await;
    let task = made(&world, "{}", Form::Extension).await;
    let id = task.task.id.as_str();
    let mine = owner(&world, "ci", Form::Extension);
    let others = [
        owner(&world, "careful", Form::Extension),
        Owner { upstream: "other".to_owned(), ..mine.clone() },
        Owner { form: Form::Core, ..mine.clone() },
    ];

    for owner in &others {
        let broker = &world.broker;
        for failed in [
            broker.look_at_task(owner, id).await,
            broker.end_task(owner, id).await,
            broker.answer_task(owner, id, "{}").await.map(|()| task.clone()),
        ] {
            assert!(matches!(failed, Err(TaskError::Unknown)), "{failed:?}");
        }
    }
    assert!(matches!(world.broker.look_at_task(&mine, "tsk_1").await, Err(TaskError::Unknown)));
    // Fifteen minutes to decide, ten to claim, a day in which the end is owed.
    assert_eq!(task.task.ttl_ms(), (900 + 600 + 86_400) * 1000);
    world.pass(900 + 600 + 86_400);
    assert!(matches!(world.broker.look_at_task(&mine, id).await, Err(TaskError::Unknown)));
}

#[tokio::test(flavor = "multi_thread")]
async fn ending_a_task_that_has_not_run_withdraws_the_call() {
    let world = World::new().await;
    for (args, approved) in [(r#"{"n":1}"#, false), (r#"{"n":2}"#, true)] {
        let task = made(&world, args, Form::Extension).await;
        let id = task.approval.as_ref().unwrap().id.clone();
        if approved {
            world.approve(&id).await;
        }

        let ended = end(&world, &task).await.unwrap();

        assert_eq!(ended.status, Status::Cancelled);
        let stored = world.stored(&id).await;
        assert_eq!((stored.state, stored.waiting), (State::Cancelled, false));
        assert!(matches!(end(&world, &task).await, Err(TaskError::Terminal(Status::Cancelled))));
        let next = world.call(args).await;
        assert_ne!(next.approval.id, id, "its agent knows, and may ask anew");
    }
    assert_eq!(world.upstream.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn ending_a_task_leaves_the_call_to_others_that_wait_for_it() {
    let world = World::new().await;
    let first = made(&world, "{}", Form::Core).await;
    let second = made(&world, "{}", Form::Core).await;
    let holding = world.call("{}").await;
    let id = first.approval.as_ref().unwrap().id.clone();

    assert_eq!(end(&world, &first).await.unwrap().status, Status::Cancelled);
    assert_eq!(world.stored(&id).await.state, State::Pending);
    holding.gone.cancel();
    holding.ended().await;
    world.approve(&id).await;
    becomes(&world, &second, Status::Completed).await;

    assert_eq!(look(&world, &first).await.status, Status::Cancelled, "and it stays so");
    assert!(told(&world, &second).await.contains("shared"));
    assert_eq!(world.upstream.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ending_a_running_task_asks_the_upstream_to_stop_and_an_answer_still_counts() {
    let world = World::new().await;
    let stopped = r#"{"content":[],"said":"stopped"}"#;
    for (args, form, status) in [
        (r#"{"n":1}"#, Form::Extension, Status::Completed),
        (r#"{"n":2}"#, Form::Core, Status::Cancelled),
    ] {
        world.upstream.next([Does::WhenCancelled(Box::new(Does::Answers(stopped.to_owned())))]);
        let task = made(&world, args, form).await;
        let id = task.approval.as_ref().unwrap().id.clone();
        world.approve(&id).await;
        look(&world, &task).await;
        world.becomes(&id, State::Running).await;

        end(&world, &task).await.unwrap();

        world.becomes(&id, State::Completed).await;
        assert_eq!(look(&world, &task).await.status, status);
        // Of the core's task nothing but its end was asked for: the outcome stays owed.
        if form == Form::Core {
            assert!(world.answered(args).await.contains("stopped"));
        } else {
            assert!(told(&world, &task).await.contains("stopped"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_broker_may_hear_that_a_running_call_is_to_stop() {
    let world = World::new().await;
    world.upstream.next([Does::WhenCancelled(Box::new(Does::Breaks))]);
    let task = made(&world, "{}", Form::Extension).await;
    let id = task.approval.as_ref().unwrap().id.clone();
    world.approve(&id).await;
    look(&world, &task).await;
    world.becomes(&id, State::Running).await;
    let other = world.another("node-b").await;

    let owner = owner(&world, "ci", Form::Extension);
    other.end_task(&owner, task.task.id.as_str()).await.unwrap();

    world.becomes(&id, State::Indeterminate).await;
    assert_eq!(told(&world, &task).await, "outcome_unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_stopped_before_it_was_sent_is_withdrawn_and_never_tried_again() {
    let world = World::new().await;
    world.upstream.next([Does::WhenCancelled(Box::new(Does::IsAway))]);
    let task = made(&world, "{}", Form::Extension).await;
    let id = task.approval.as_ref().unwrap().id.clone();
    world.approve(&id).await;
    look(&world, &task).await;
    world.becomes(&id, State::Running).await;

    end(&world, &task).await.unwrap();

    world.becomes(&id, State::Cancelled).await;
    Unattended::default().run_once(&world.broker).await.unwrap();
    assert_eq!(
        (told(&world, &task).await.as_str(), world.upstream.calls()),
        ("approval_cancelled", 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_its_tasks_a_call_is_held_as_without() {
    let world = World::with("[approvals]\nmax_tasks_per_agent = 1").await;
    made(&world, r#"{"n":1}"#, Form::Extension).await;

    let Submission::Held(held) = world.submit(r#"{"n":2}"#).await else { panic!("not held") };
    let id = held.approval().id.clone();
    let Err(back) = world.broker.make_task(*held, Form::Extension).await else {
        panic!("one too many")
    };

    assert_eq!(world.db.store.holds().attached(&id, world.broker.now()).await.unwrap(), 1);
    let holding = crate::support::world::held(Submission::Held(back));
    world.approve(&id).await;
    assert!(holding.word().await.contains("done"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_after_its_task_was_made_withdraws_nothing() {
    let world = World::new().await;
    let agent = world.config.agent("careful").unwrap().clone();
    let asking = placet::broker::call::asking::Asking { agent, ..world.asking(&delete("{}")) };
    let task = made_at(&world.broker, world.broker.submit(asking).await, Form::Core).await;
    let owner = owner(&world, "careful", Form::Core);

    let waiting = world.broker.await_task(&owner, &task).await.unwrap();
    let holding = crate::support::world::held(Submission::Held(Box::new(waiting)));
    holding.gone.cancel();
    holding.ended().await;

    let id = &task.approval.as_ref().unwrap().id;
    assert_eq!(world.stored(id).await.state, State::Pending);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_has_the_agents_own_tasks_and_where_to_go_on() {
    let world = World::new().await;
    for n in 0..3 {
        made(&world, &format!(r#"{{"n":{n}}}"#), Form::Core).await;
        world.pass(1);
    }
    let mine = owner(&world, "ci", Form::Core);

    let (first, next) = world.broker.list_tasks(&mine, None, 2).await.unwrap();
    let (rest, end) = world.broker.list_tasks(&mine, next, 2).await.unwrap();

    let made: Vec<_> = first.iter().chain(&rest).map(|v| v.task.created_at).collect();
    assert_eq!(made, [at(2), at(1), at(0)]);
    assert!(end.is_none());
    let foreign = owner(&world, "careful", Form::Core);
    assert!(world.broker.list_tasks(&foreign, None, 2).await.unwrap().0.is_empty());
}
