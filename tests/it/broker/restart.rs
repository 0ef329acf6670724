//! Processes end, others go on: nothing lost, nothing run twice.

use placet::broker::call::asking::Asking;
use placet::broker::call::hold::Ended;
use placet::broker::call::submit::Submission;
use placet::domain::approval::State;
use placet::store::Store as _;

use crate::support::approvals::at;
use crate::support::world::{World, delete, held, word};

#[tokio::test(flavor = "multi_thread")]
async fn approved_before_a_restart_it_runs_once_after_it() {
    let world = World::new().await;
    let id = world.approved_for_nobody().await;
    world.db.store.nodes().end("node-a", world.broker.now()).await.unwrap();

    let after = world.another("node-b").await;
    let again = held(after.submit(world.asking(&delete("{}"))).await);

    assert_eq!(again.approval.id, id);
    assert!(again.word().await.contains("done"));
    assert_eq!(world.upstream.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_taken_on_one_broker_resumes_a_call_held_on_another() {
    let world = World::new().await;
    let other = world.another("node-b").await;
    let holding = held(other.submit(world.asking(&delete("{}"))).await);

    world.approve(&holding.approval.id).await;

    assert!(holding.word().await.contains("done"));
    assert_eq!(world.upstream.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_brokers_that_hold_the_identical_call_run_it_once() {
    let world = World::new().await;
    let other = world.another("node-b").await;
    let here = world.call("{}").await;
    let there = held(other.submit(world.asking(&delete("{}"))).await);

    world.approve(&here.approval.id).await;

    for word in [here.word().await, there.word().await] {
        assert!(word.contains("done") && word.contains("shared"), "{word}");
    }
    assert_eq!(world.upstream.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ran_when_its_process_died_is_found_and_becomes_unknown() {
    let world = World::new().await;
    let dying = world.another("node-dying").await;
    world.upstream.hangs();
    let holding = held(dying.submit(world.asking(&delete("{}"))).await);
    let id = holding.approval.id.clone();
    world.approve(&id).await;
    world.upstream.arrived(1).await;
    let store = &world.db.store;
    assert!(store.due().orphaned("node-a", world.broker.now(), 10).await.unwrap().is_empty());

    store.nodes().renew("node-dying", at(0), at(15)).await.unwrap();
    world.pass(15);

    assert_eq!(
        store.due().orphaned("node-a", world.broker.now(), 10).await.unwrap(),
        std::slice::from_ref(&id)
    );
    let lost = world.stored(&id).await.lose("its executor died", world.broker.now()).unwrap();
    world.broker.apply(lost).await.unwrap();
    assert_eq!(world.stored(&id).await.state, State::Indeterminate);
    assert_eq!(world.call("{}").await.word().await, "outcome_unknown");
    assert_eq!(world.upstream.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_removed_before_the_claim_runs_nothing() {
    let world = World::new().await;
    let agent = world.config.agent("careful").unwrap().clone();
    let mut asking: Asking = world.asking(&delete("{}"));
    asking.agent = agent;
    std::sync::Arc::make_mut(&mut asking.agent).name = "removed".to_owned();
    let holding = held(world.broker.submit(asking).await);
    let id = holding.approval.id.clone();

    world.approve(&id).await;

    assert_eq!(holding.word().await, "approval_cancelled");
    assert_eq!(world.upstream.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_not_handed_over_when_the_process_died_is_owed_still() {
    let world = World::new().await;
    let holding = world.call("{}").await;
    world.approve(&holding.approval.id).await;
    // The answer is ready, and the process dies before it reaches the connection.
    drop(holding.ended().await);

    let after = world.another("node-b").await;
    let again = after.submit(world.asking(&delete("{}"))).await;

    let Submission::Ended { answer, owed } = again else { panic!("{again:?}") };
    assert!(word(&answer).contains("replayed"));
    owed.unwrap().told().await;
    held(after.submit(world.asking(&delete("{}"))).await);
    assert_eq!(world.upstream.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_identical_call_waits_while_an_end_is_on_its_way_and_does_not_hear_it_twice() {
    let world = World::new().await;
    let holding = world.call("{}").await;
    world.approve(&holding.approval.id).await;
    let Ended::Answered { owed, .. } = holding.ended().await else { panic!() };
    let (broker, asking) = (world.broker.clone(), world.asking(&delete("{}")));
    let next = tokio::spawn(async move { broker.submit(asking).await });

    tokio::task::yield_now().await;
    owed.unwrap().told().await;

    held(next.await.unwrap());
}
