//! Clients that give up: learned from, and held shorter.

use std::time::Duration;

use placet::broker::call::hold::Ended;
use placet::broker::call::hold_budget::Source;
use placet::broker::call::submit::Submission;
use placet::config::Agent;
use placet::domain::approval::Choice;
use placet::domain::hold_budget::LEARNED_FOR;
use placet::store::Store as _;

use crate::support::world::{Holding, World, held, held_for};

const CONFIGURED: Duration = Duration::from_secs(50);

fn ci(world: &World) -> Agent {
    Agent::clone(world.config.agent("ci").unwrap())
}

fn learning(submission: Submission, with_progress: bool) -> Holding {
    let Submission::Held(waits) = submission else { panic!("not held: {submission:?}") };
    held(Submission::Held(Box::new(waits.learning(with_progress))))
}

/// Calls, and leaves after that long.
async fn gives_up(world: &World, args: &str, with_progress: bool, seconds: u64) {
    let holding = learning(world.submit(args).await, with_progress);
    // Its clock has begun once it shows signs of life.
    let mut holding = holding;
    holding.beats.recv().await;
    world.pass(seconds);
    holding.gone.cancel();
    assert!(matches!(holding.ended().await, Ended::Gone));
}

#[tokio::test(flavor = "multi_thread")]
async fn three_drops_after_the_same_time_shorten_later_holds_of_that_kind_for_a_day() {
    let world = World::new().await;
    for seconds in [60, 62, 60] {
        assert_eq!(world.broker.hold_budget(&ci(&world), false).await, CONFIGURED);
        gives_up(&world, "{}", false, seconds).await;
    }

    assert_eq!(world.broker.hold_budget(&ci(&world), false).await, Duration::from_secs(48));
    assert_eq!(world.broker.hold_budget(&ci(&world), true).await, CONFIGURED);
    let other = world.another("node-b").await;
    assert_eq!(other.hold_budget(&ci(&world), false).await, Duration::from_secs(48));
    let rows = world.broker.agent_rows().await.unwrap();
    assert_eq!(rows[0].holds[0].source, Source::Learned);
    assert_eq!(rows[0].holds[1].source, Source::Approvals);
    world.pass(LEARNED_FOR.as_secs());
    assert_eq!(world.broker.hold_budget(&ci(&world), false).await, CONFIGURED);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_learned_never_lengthens_a_hold() {
    let world = World::new().await;
    for _ in 0..3 {
        gives_up(&world, "{}", false, 100).await;
    }

    assert_eq!(world.broker.hold_budget(&ci(&world), false).await, CONFIGURED);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answered_hold_in_between_breaks_the_row() {
    let world = World::new().await;
    gives_up(&world, "{}", false, 60).await;
    gives_up(&world, "{}", false, 60).await;

    let Submission::Held(waits) = world.submit("{}").await else { panic!() };
    let handed = held_for(Submission::Held(Box::new(waits.learning(false))), Duration::ZERO);
    assert_eq!(handed.word().await, "approval_pending");
    gives_up(&world, "{}", false, 60).await;

    assert_eq!(world.broker.hold_budget(&ci(&world), false).await, CONFIGURED);
    assert_eq!(world.db.store.agents().hold_budget("ci", false).await.unwrap().drops, [60_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_when_it_is_decided_or_the_broker_stops_teaches_nothing() {
    let world = World::new().await;
    let holding = learning(world.submit("{}").await, false);
    let id = holding.approval.id.clone();
    world.pass(60);
    world.upstream.hangs();
    world.approve(&id).await;
    world.upstream.arrived(1).await;
    holding.gone.cancel();
    holding.ended().await;
    world.upstream.goes_on();

    let stopped = learning(world.submit(r#"{"n":2}"#).await, false);
    world.pass(60);
    world.stop.soft.cancel();
    stopped.gone.cancel();
    stopped.ended().await;

    assert!(world.db.store.agents().hold_budget("ci", false).await.unwrap().drops.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agents_own_key_turns_learning_off_for_that_kind() {
    let own = Duration::from_secs(300);
    let world = World::with("[[agents]]\nname = \"ci\"\nhold = \"5m\"").await;
    for _ in 0..3 {
        gives_up(&world, "{}", false, 60).await;
        gives_up(&world, r#"{"n":2}"#, true, 60).await;
    }

    assert_eq!(world.broker.hold_budget(&ci(&world), false).await, own);
    assert!(world.db.store.agents().hold_budget("ci", false).await.unwrap().learned.is_none());
    assert_eq!(world.broker.hold_budget(&ci(&world), true).await, Duration::from_secs(48));
    let rows = world.broker.agent_rows().await.unwrap();
    assert_eq!((rows[0].holds[0].source, rows[0].holds[0].budget), (Source::Agent, own));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_admin_may_delete_what_was_learned() {
    let world = World::new().await;
    for _ in 0..3 {
        gives_up(&world, "{}", false, 60).await;
    }
    let person = |name: &str| world.config.reviewer(name).unwrap();

    assert!(world.broker.forget_hold_budget("ci", person("ben")).await.is_err());
    assert!(world.broker.forget_hold_budget("nobody", person("dora")).await.is_err());
    assert!(world.broker.forget_hold_budget("ci", person("dora")).await.unwrap());

    assert_eq!(world.broker.hold_budget(&ci(&world), false).await, CONFIGURED);
    let pending = learning(world.submit("{}").await, false);
    world.says("ben", Choice::Reject, &pending.approval.id).await.unwrap();
    assert_eq!(pending.word().await, "approval_rejected");
}
