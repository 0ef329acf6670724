//! The one poll for all who wait: what no hint told is found by it.

use std::time::Duration;

use placet::broker::call::answer::Answer;
use placet::clock::Clock as _;
use placet::domain::approval::{Approval, Choice, State};
use placet::domain::person::Role;
use placet::store::Store as _;

use crate::support::approvals::says;
use crate::support::fake_upstream::Does;
use crate::support::world::{World, delete, held, held_for, verdict};

/// Somebody decides past this broker and every other: nobody is told.
async fn decided_unheard(world: &World, approval: &Approval, choice: Choice) {
    let now = world.clock.now();
    let found = world.stored(&approval.id).await;
    let transition = found.decide(says("ben", choice, now), Role::Reviewer, None).unwrap();
    world.db.store.approvals().apply(transition, Vec::new(), now).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missed_hint_is_found_by_the_poll() {
    let world = World::new().await;
    let holding = world.call("{}").await;
    let approval = holding.approval.clone();

    decided_unheard(&world, &approval, Choice::Approve).await;

    assert!(holding.word().await.contains("done"));
    assert_eq!(world.upstream.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_of_another_broker_is_found_by_the_poll_though_it_gives_no_hint() {
    let world = World::new().await;
    let other = world.another("node-b").await;
    let (one, two) = (world.call(r#"{"n":1}"#).await, world.call(r#"{"n":2}"#).await);
    let reviewer = world.config.reviewer("ben").unwrap();

    other.decide(&one.approval.id, reviewer, verdict(Choice::Reject)).await.unwrap();

    assert_eq!(one.word().await, "approval_rejected");
    world.approve(&two.approval.id).await;
    assert!(two.word().await.contains("done"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_another_broker_was_asked_for_is_found_by_the_poll() {
    let world = World::new().await;
    world
        .upstream
        .next([Does::WhenCancelled(Box::new(Does::Answers(r#"{"said":"stopped"}"#.to_owned())))]);
    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();
    world.approve(&id).await;
    world.upstream.arrived(1).await;

    world.db.store.tasks().stop_run(&id, world.clock.now()).await.unwrap();

    assert!(holding.word().await.contains("stopped"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_executed_elsewhere_is_answered_here_when_it_has_ended() {
    let world = World::new().await;
    let other = world.another("node-b").await;
    world.upstream.hangs();
    let here = world.call("{}").await;
    let id = here.approval.id.clone();
    let there = held(other.submit(world.asking(&delete("{}"))).await);
    world.approve(&id).await;
    world.upstream.arrived(1).await;

    world.upstream.goes_on();

    assert!(here.word().await.contains("done") && there.word().await.contains("done"));
    assert_eq!(world.upstream.calls(), 1);
    assert_eq!(world.stored(&id).await.state, State::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_is_handed_over_says_how_its_approval_stands_though_it_heard_nothing() {
    let world = World::new().await;
    let holding = held_for(world.submit("{}").await, Duration::from_millis(20));
    let approval = holding.approval.clone();
    decided_unheard(&world, &approval, Choice::Reject).await;

    let Answer::Statement(said) = holding.answer().await else { panic!() };

    assert_eq!(said.code.as_str(), "approval_rejected");
}
