//! Who is away, and whose approval counts in their place.

use std::time::Duration;

use placet::broker::DecideError;
use placet::domain::absence::Absence;
use placet::domain::approval::{Choice, Refusal, State};
use placet::domain::audit::{AuditEvent, Kind};
use placet::store::Store as _;

use crate::support::world::World;

const ONE: &str = r#"{"version":"1","tools":{"delete_image_set":{"action":"require_approval",
    "approval":{"reviewers":["ben"]}}}}"#;
const TWO: &str = r#"{"version":"1","tools":{"delete_image_set":{"action":"require_approval",
    "approval":{"reviewers":["ben","eve"],"quorum":2}}}}"#;

async fn away(world: &World, who: &str, delegate: &str) {
    let now = world.broker.now();
    let absence = Absence {
        id: format!("abs_{who}"),
        reviewer: who.to_owned(),
        delegate: delegate.to_owned(),
        from: now,
        until: now.plus(Duration::from_hours(1)),
    };
    let event = AuditEvent::new(Kind::AbsenceEntered, who, now);
    let entered = world.db.store.settings().insert_absence(&absence, 10, event).await.unwrap();
    assert_eq!(entered, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stand_in_decides_while_the_absence_lasts_and_the_call_runs() {
    let world = World::new().await;
    world.policy(ONE);
    away(&world, "ben", "dora").await;
    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();

    world.says("dora", Choice::Approve, &id).await.unwrap();

    assert!(holding.word().await.contains(r#""said":"done""#));
    assert_eq!(world.upstream.calls(), 1);
    world.pass(3_600);
    let later = world.call("{\"n\":2}").await;
    let refused = world.says("dora", Choice::Approve, &later.approval.id).await;
    assert!(
        matches!(refused, Err(DecideError::Refused { refusal: Refusal::NotEligible, .. })),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stand_in_and_who_they_stand_in_for_count_once_together() {
    let world = World::new().await;
    world.policy(TWO);
    away(&world, "ben", "dora").await;
    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();

    world.says("dora", Choice::Approve, &id).await.unwrap();
    let both = world.says("ben", Choice::Approve, &id).await.unwrap();
    assert_eq!(both.state, State::Pending, "one seat, two people");
    assert_eq!(both.terms.seats(&both.approvers()), ["ben"]);

    world.says("eve", Choice::Approve, &id).await.unwrap();
    assert!(holding.word().await.contains(r#""said":"done""#));
    assert_eq!(world.upstream.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stand_in_who_was_asked_too_counts_once() {
    let world = World::new().await;
    world.policy(TWO);
    away(&world, "ben", "eve").await;
    let holding = world.call("{}").await;

    let after = world.says("eve", Choice::Approve, &holding.approval.id).await.unwrap();

    assert_eq!(after.state, State::Pending);
    assert!(after.terms.stand_ins.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_of_the_agent_never_stands_in() {
    let world = World::new().await;
    world.policy(ONE);
    away(&world, "ben", "ana").await;
    let holding = world.call("{}").await;

    let refused = world.says("ana", Choice::Approve, &holding.approval.id).await;

    assert!(matches!(refused, Err(DecideError::Refused { refusal: Refusal::OwnAgent, .. })));
    assert!(holding.approval.terms.stand_ins.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_stands_in_whom_the_owner_of_the_agent_named_in_turn() {
    let world = World::new().await;
    world.policy(ONE);
    away(&world, "ben", "ana").await;
    away(&world, "ana", "dora").await;
    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();

    let refused = world.says("dora", Choice::Approve, &id).await;

    assert!(
        matches!(refused, Err(DecideError::Refused { refusal: Refusal::NotEligible, .. })),
        "{refused:?}"
    );
    assert!(holding.approval.terms.stand_ins.is_empty());
    world.says("ben", Choice::Approve, &id).await.unwrap();
    assert!(holding.word().await.contains(r#""said":"done""#), "ben may decide all the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stand_in_whom_the_rule_no_longer_replaces_does_not_count_at_the_claim() {
    let world = World::new().await;
    world.policy(ONE);
    away(&world, "ben", "dora").await;
    let first = world.call("{}").await;
    let id = first.approval.id.clone();
    first.gone.cancel();
    first.ended().await;
    world.says("dora", Choice::Approve, &id).await.unwrap();

    world.policy(&ONE.replace("ben", "eve"));
    let said = world.call("{}").await.word().await;

    assert!(said.contains("approval_cancelled"), "{said}");
    assert_eq!(world.upstream.calls(), 0);
    assert_eq!(world.stored(&id).await.state, State::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn preferences_that_cannot_be_read_hold_back_no_call_and_no_outcome() {
    let world = World::new().await;
    world.db.raw("insert into preferences (reviewer, data) values ('ben', 'nonsense')").await;

    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();
    world.approve(&id).await;

    assert!(holding.word().await.contains(r#""said":"done""#));
    assert_eq!(world.stored(&id).await.state, State::Completed);
}
