//! Processes that stand still, a stopped one or a machine that sleeps, and others that take them for
//! dead: a claimed call is sent by whoever the store says executes it, and by nobody else.

use std::time::Duration;

use placet::broker::Broker;
use placet::domain::approval::{ApprovalId, State};
use placet::store::{Store as _, StoreError};

use crate::support::fake_upstream::Pause;
use crate::support::world::{Holding, World, delete, held};

/// Longer than a lease.
const SLEEP: u64 = 16;

/// A world whose own broker, and another, live by leases that they renew.
async fn two_brokers() -> (World, Broker) {
    let world = World::new().await;
    let other = world.another("node-b").await;
    world.broker.renew_lease().await.unwrap();
    other.renew_lease().await.unwrap();
    (world, other)
}

/// A call that was approved, claimed by the world's own broker and has come as far as that pause.
async fn claimed(world: &World, pause: &Pause) -> (Holding, ApprovalId) {
    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();
    world.approve(&id).await;
    pause.reached().await;
    (holding, id)
}

/// The other broker finds the world's own dead.
async fn found_dead(world: &World, other: &Broker) {
    world.pass(SLEEP);
    other.renew_lease().await.unwrap();
    other.lose_orphaned().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_of_a_dead_broker_that_sent_nothing_is_approved_again() {
    let (world, other) = two_brokers().await;
    let pause = world.upstream.connects_slowly();
    let (_holding, id) = claimed(&world, &pause).await;
    let deadline = world.stored(&id).await.claim_deadline;

    found_dead(&world, &other).await;

    let after = world.stored(&id).await;
    assert_eq!((after.state, after.claim_deadline), (State::Approved, deadline));
    assert_eq!(world.upstream.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_slept_before_its_mark_sends_nothing_that_others_took_over() {
    let (world, other) = two_brokers().await;
    let pause = world.upstream.connects_slowly();
    let (sleeper, id) = claimed(&world, &pause).await;
    found_dead(&world, &other).await;
    let there = held(other.submit(world.asking(&delete("{}"))).await);
    world.becomes(&id, State::Completed).await;

    pause.ends();

    assert!(there.word().await.contains("done"));
    assert!(sleeper.word().await.contains("done"), "it hears what became of it");
    assert_eq!(world.upstream.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_slept_between_mark_and_send_sends_nothing_though_it_was_settled_as_not_done()
{
    let (world, other) = two_brokers().await;
    let pause = world.upstream.stands_still();
    let (sleeper, id) = claimed(&world, &pause).await;
    found_dead(&world, &other).await;
    assert_eq!(world.stored(&id).await.state, State::Indeterminate, "it may have run");
    let dora = world.config.reviewer("dora").unwrap();
    other.settle(&id, dora, false, "I looked").await.unwrap();
    assert_eq!(world.answered("{}").await, "outcome_settled");
    let anew = held(other.submit(world.asking(&delete("{}"))).await);
    world.approve(&anew.approval.id).await;
    assert!(anew.word().await.contains("done"));

    pause.ends();

    sleeper.ended().await;
    assert_eq!(world.upstream.calls(), 1);
    assert_eq!(world.stored(&id).await.state, State::Indeterminate);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leave_that_is_over_gives_the_claim_back() {
    let world = World::new().await;
    let pause = world.upstream.stands_still();
    let (holding, id) = claimed(&world, &pause).await;

    world.pass(5);
    pause.ends();

    assert_eq!(holding.word().await, "upstream_unavailable");
    assert_eq!(world.stored(&id).await.state, State::Approved);
    assert_eq!(world.upstream.calls(), 0);
    assert!(world.call("{}").await.word().await.contains("done"));
    assert_eq!(world.upstream.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_takes_no_leave_away_and_gives_none() {
    let world = World::new().await;
    let pause = world.upstream.stands_still();
    let (holding, _) = claimed(&world, &pause).await;

    world.clock.turn_back(Duration::from_hours(1));
    world.pass(4);
    pause.ends();

    assert!(holding.word().await.contains("done"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_broker_that_slept_carries_its_claim_out() {
    let world = World::new().await;
    world.broker.renew_lease().await.unwrap();
    let pause = world.upstream.connects_slowly();
    let (holding, _) = claimed(&world, &pause).await;

    world.pass(SLEEP);
    world.broker.lose_orphaned().await.unwrap();
    world.broker.take_back_unknown().await.unwrap();
    pause.ends();

    assert!(holding.word().await.contains("done"));
    assert_eq!(world.upstream.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_slept_past_the_claim_deadline_runs_nothing() {
    let world = World::new().await;
    let pause = world.upstream.connects_slowly();
    let (holding, id) = claimed(&world, &pause).await;

    world.pass(601);
    pause.ends();

    assert_eq!(holding.word().await, "upstream_unavailable");
    world.broker.expire_due().await.unwrap();
    assert_eq!(world.stored(&id).await.state, State::Expired);
    assert_eq!(world.upstream.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_slept_while_its_call_ran_does_not_give_it_up_itself() {
    let world = World::new().await;
    world.broker.renew_lease().await.unwrap();
    let (holding, id) = world.running().await;

    world.pass(60);
    world.broker.lose_orphaned().await.unwrap();
    world.broker.take_back_unknown().await.unwrap();

    assert_eq!(world.stored(&id).await.state, State::Running);
    world.upstream.goes_on();
    assert!(holding.word().await.contains("done"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lives_is_not_lost_even_where_it_was_found_dead_a_moment_ago() {
    let (world, other) = two_brokers().await;
    let (_holding, id) = world.running().await;
    world.pass(SLEEP);
    let now = world.broker.now();
    let found = world.db.store.due().orphaned("node-b", now, 9).await.unwrap();
    assert_eq!(found, std::slice::from_ref(&id));

    world.broker.renew_lease().await.unwrap();
    let lost = world.stored(&id).await.lose("it died", now).unwrap().if_executor_is_dead(now);
    let refused = other.apply(lost).await;

    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    assert_eq!(world.stored(&id).await.state, State::Running);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_stands_and_that_its_own_broker_does_not_execute_is_given_back() {
    let world = World::new().await;
    let id = world.approved_for_nobody().await;
    // As after a commit whose answer was lost.
    let claim = world.stored(&id).await.claim("node-a", world.broker.now()).unwrap();
    world.broker.apply(claim).await.unwrap();

    world.broker.take_back_unknown().await.unwrap();

    assert_eq!(world.stored(&id).await.state, State::Approved);
    assert!(world.call("{}").await.word().await.contains("done"));
    assert_eq!(world.upstream.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_broker_claimed_is_not_taken_back_while_it_lives() {
    let (world, other) = two_brokers().await;
    let pause = world.upstream.connects_slowly();
    let (holding, id) = claimed(&world, &pause).await;

    other.take_back_unknown().await.unwrap();
    other.lose_orphaned().await.unwrap();

    assert_eq!(world.stored(&id).await.state, State::Running);
    pause.ends();
    assert!(holding.word().await.contains("done"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_without_a_mark_of_its_own_kind_counts_as_perhaps_sent() {
    let (world, other) = two_brokers().await;
    let pause = world.upstream.connects_slowly();
    let (_holding, id) = claimed(&world, &pause).await;
    // As a broker from before marks leaves it.
    world.db.raw("update approvals set unsent = 0").await;

    found_dead(&world, &other).await;

    assert_eq!(world.stored(&id).await.state, State::Indeterminate);
}
