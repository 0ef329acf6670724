//! Decisions on calls that are held here: what is known of them is enough to begin, what is stored
//! decides.

use placet::broker::DecideError;
use placet::broker::people::rights::Verb;
use placet::domain::approval::{Assurance, Choice, State, Via};

use crate::support::world::{World, verdict};

const APPROVE: Verb =
    Verb::Decide { choice: Choice::Approve, assurance: Assurance::Session, via: Via::Api };

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_rests_on_an_older_approval_is_refused_by_what_is_stored() {
    let world = World::new().await;
    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();
    let ben = world.config.reviewer("ben").unwrap();
    let known = world.broker.permit_known(&id, ben, APPROVE).await.unwrap();
    assert_eq!(known.state, State::Pending);
    let other = world.another("node-b").await;
    other.decide(&id, ben, verdict(Choice::Reject)).await.unwrap();

    let refused = world.broker.decide_on(known, ben, verdict(Choice::Approve)).await;

    let Err(DecideError::Refused { approval, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(approval.state, State::Rejected);
    assert_eq!(world.upstream.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_on_a_call_held_here_reads_nothing_before_and_is_refused_where_its_row_is_damaged()
 {
    let world = World::new().await;
    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();
    let ben = world.config.reviewer("ben").unwrap();
    world.db.raw("update approvals set decisions = '{'").await;
    assert!(world.broker.get_for(&id, ben).await.is_err());

    let known = world.broker.permit_known(&id, ben, APPROVE).await.unwrap();
    world.db.raw("update approvals set decisions = '[]', terms = '{'").await;
    let refused = world.broker.decide_on(known, ben, verdict(Choice::Approve)).await;

    assert!(matches!(refused, Err(DecideError::Store(_))), "{refused:?}");
    let undecided = "approvals where state = 'pending' and decisions = '[]'";
    assert_eq!(world.db.rows(undecided).await, 1);
    assert_eq!(world.upstream.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_see_a_call_that_is_held_here_finds_none() {
    let world = World::new().await;
    let id = world.call("{}").await.approval.id.clone();
    let ben = world.config.reviewer("ben").unwrap();
    let stranger = placet::config::Reviewer { name: "stranger".to_owned(), ..ben.clone() };

    let seen = world.broker.permit_known(&id, &stranger, APPROVE).await;
    let read = world.broker.permit(&id, &stranger, APPROVE).await;

    assert_eq!(format!("{seen:?}"), format!("{read:?}"));
    assert!(seen.is_err());
}
