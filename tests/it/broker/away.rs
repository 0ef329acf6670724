//! The store goes away and comes back: what goes on without it, and what is made good after it.

use std::time::{Duration, Instant};

use placet::broker::call::hold::{Beat, Ended};
use placet::broker::call::submit::Submission;
use placet::domain::approval::State;
use placet::domain::call::ToolCall;
use placet::domain::task::{Follows, Form, Task, TaskId};
use placet::store::Store as _;

use crate::support::world::{GATED, World, held_for, word};

const LIST: &str = r#"{"name":"list_image_sets"}"#;

/// Longer than anything may take that needs no store, shorter than any wait for one.
const AT_ONCE: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread")]
async fn allowed_and_denied_calls_go_on_while_the_store_can_not_be_read() {
    let world = World::new().await;
    world.db.raw("alter table approvals rename to gone").await;

    for _ in 0..3 {
        let free = world.broker.submit(world.asking(LIST)).await;
        assert!(matches!(free, Submission::Forward(_)), "{free:?}");
    }
    world.policy(r#"{"version":"1","tools":{"list_image_sets":{"action":"deny"}}}"#);
    let denied = world.broker.submit(world.asking(LIST)).await;
    world.policy(GATED);

    assert!(world.broker.store_is_away());
    let Submission::Answered(answer) = denied else { panic!("{denied:?}") };
    assert_eq!(word(&answer), "policy_denied");
    world.db.raw("alter table gone rename to approvals").await;
    world.broker.reconcile().await.unwrap();
    assert!(!world.broker.store_is_away());
    let free = world.broker.submit(world.asking(LIST)).await;
    assert!(matches!(free, Submission::Forward(_)), "{free:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn allowed_calls_wait_a_moment_for_a_store_that_hangs_and_then_not_at_all() {
    let world = World::new().await;
    let locked = world.db.locked("approvals").await;
    let began = Instant::now();

    for _ in 0..20 {
        let free = world.broker.submit(world.asking(LIST)).await;
        assert!(matches!(free, Submission::Forward(_)), "{free:?}");
    }

    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    drop(locked);
    world.broker.reconcile().await.unwrap();
    assert!(!world.broker.store_is_away());
}

#[tokio::test(flavor = "multi_thread")]
async fn signs_of_life_go_on_while_the_store_hangs() {
    let world = World::new().await;
    let mut holding = world.call("{}").await;
    let id = holding.approval.id.clone();
    let locked = world.db.locked("approvals").await;
    let began = Instant::now();

    let mut beats = 0;
    while beats < 60 {
        if let Some(Beat::Alive(text)) = holding.beats.recv().await {
            assert!(text.contains(id.as_str()), "{text}");
            beats += 1;
        }
    }

    assert!(began.elapsed() < AT_ONCE, "60 beats of 20 ms took {:?}", began.elapsed());
    drop(locked);
    world.approve(&id).await;
    assert!(holding.word().await.contains("done"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_broker_hands_over_at_once_though_its_store_hangs() {
    let world = World::new().await;
    let mut all = Vec::new();
    for n in 0..40 {
        all.push(world.call(&format!("{{\"n\":{n}}}")).await);
    }
    let locked = world.db.locked("approvals, holds, hold_budgets").await;
    let began = Instant::now();

    world.stop.soft.cancel();
    for holding in all {
        assert_eq!(holding.word().await, "approval_pending");
    }

    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    drop(locked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_ends_while_the_store_hangs_is_answered_and_let_go_later() {
    let world = World::with("[approvals]\nmax_held_per_agent = 1").await;
    let first = held_for(world.submit("{}").await, Duration::from_millis(100));
    let id = first.approval.id.clone();
    let locked = world.db.locked("approvals, holds, hold_budgets").await;
    let began = Instant::now();

    assert_eq!(first.word().await, "approval_pending");

    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    drop(locked);
    crate::support::until("it is let go", async || {
        world.broker.reconcile().await.unwrap();
        !world.stored(&id).await.waiting
    })
    .await;
    let mut again = world.call("{}").await;
    assert!(again.beats.recv().await.is_some(), "held, not handed over at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_let_go_during_an_outage_is_let_go_after_it() {
    let world = World::with("[approvals]\nmax_held_per_agent = 30").await;
    let mut all = Vec::new();
    for n in 0..30 {
        all.push(world.call(&format!("{{\"n\":{n}}}")).await);
    }
    let id = all[0].approval.id.clone();
    world.db.raw("alter table holds rename to gone").await;
    for holding in all {
        holding.gone.cancel();
        assert!(matches!(holding.ended().await, Ended::Gone));
    }
    world.db.raw("alter table gone rename to holds").await;
    assert_eq!(world.db.rows("holds").await, 30);

    world.broker.reconcile().await.unwrap();

    assert_eq!(world.db.rows("holds").await, 0);
    assert!(!world.stored(&id).await.waiting);
    let mut again = world.call("{}").await;
    assert!(again.beats.recv().await.is_some(), "held, not handed over at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_request_whose_row_was_removed_is_attached_again() {
    let world = World::new().await;
    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();
    world.db.raw("delete from holds").await;
    assert!(!world.stored(&id).await.waiting);

    world.broker.reconcile().await.unwrap();

    assert!(world.stored(&id).await.waiting);
    holding.gone.cancel();
    holding.ended().await;
    world.broker.reconcile().await.unwrap();
    assert!(!world.stored(&id).await.waiting);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_could_not_be_withdrawn_during_an_outage_is_withdrawn_after_it() {
    let world = World::new().await;
    let mut asking = world.asking(r#"{"name":"delete_image_set","arguments":{}}"#);
    asking.agent = world.config.agent("careful").unwrap().clone();
    let holding = crate::support::world::held(world.broker.submit(asking).await);
    let id = holding.approval.id.clone();
    world.db.raw("alter table holds rename to gone").await;
    holding.gone.cancel();
    holding.ended().await;
    world.db.raw("alter table gone rename to holds").await;
    assert_eq!(world.stored(&id).await.state, State::Pending);

    world.broker.reconcile().await.unwrap();

    assert_eq!(world.stored(&id).await.state, State::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_call_nobody_runs_any_more_is_given_up() {
    let world = World::new().await;
    let now = world.broker.now();
    let task = |n: u8| Task {
        id: TaskId::new(&[n; 32]),
        agent: "ci".to_owned(),
        upstream: "images".to_owned(),
        session: None,
        form: Form::Core,
        tool: ToolCall::read("images", LIST).unwrap().tool,
        follows: Follows::Call { node: world.broker.node().to_owned(), answer: None },
        created_at: now,
        changed_at: now,
        waits_until: now,
        expires_at: now.plus(Duration::from_secs(3_600)),
        cancelled_at: None,
    };
    for n in [1, 2] {
        assert!(world.db.store.tasks().insert(&task(n), 9).await.unwrap());
    }
    let here = world.broker.runs_here(&task(1).id);
    world.pass(60);

    world.broker.reconcile().await.unwrap();

    let node = async |n: u8| {
        let found = world.db.store.tasks().find(&task(n).id, "ci", "", world.broker.now()).await;
        let Follows::Call { node, .. } = found.unwrap().unwrap().follows else { panic!() };
        node
    };
    assert_eq!(node(1).await, world.broker.node());
    assert_eq!(node(2).await, "");
    drop(here);
}
