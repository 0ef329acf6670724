//! How surely decisions must come from reviewers, at the decision and again at the claim.

use placet::broker::DecideError;
use placet::broker::people::decide::DecisionRequest;
use placet::domain::approval::{Approval, ApprovalId, Assurance, Choice, Refusal, State, Via};

use crate::support::world::World;

const PLAIN: &str = r#"{"version":"1","tools":{"delete_image_set":{"action":"require_approval"}}}"#;
const LINK: &str = r#"{"version":"1","tools":{"delete_image_set":{"action":"require_approval",
    "approval":{"assurance":"link"}}}}"#;
const SESSION: &str = r#"{"version":"1","tools":{"delete_image_set":{"action":"require_approval",
    "approval":{"assurance":"session"}}}}"#;

async fn approves(
    world: &World,
    id: &ApprovalId,
    assurance: Assurance,
) -> Result<Approval, DecideError> {
    let verdict = DecisionRequest {
        choice: Choice::Approve,
        reason: String::new(),
        digest: None,
        via: Via::Web,
        assurance,
    };
    world.broker.decide(id, world.config.reviewer("ben").unwrap(), verdict).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_does_not_say_takes_the_configured_one() {
    let world = World::with("[approvals]\nassurance = \"session\"").await;
    world.policy(PLAIN);
    let silent = world.call("{}").await.approval;
    world.policy(LINK);
    let says = world.call("{\"n\":1}").await.approval;

    assert_eq!(silent.terms.assurance, Assurance::Session);
    assert!(matches!(
        approves(&world, &silent.id, Assurance::Link).await,
        Err(DecideError::Refused { refusal: Refusal::TooWeak(Assurance::Session), .. })
    ));
    assert_eq!(says.terms.assurance, Assurance::Link);
    assert!(approves(&world, &says.id, Assurance::Link).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_that_is_too_weak_for_the_rule_by_now_does_not_run() {
    for (assurance, end) in
        [(Assurance::Link, "approval_cancelled"), (Assurance::Session, "approved")]
    {
        let world = World::new().await;
        world.policy(PLAIN);
        let first = world.call("{}").await;
        let id = first.approval.id.clone();
        first.gone.cancel();
        first.ended().await;
        approves(&world, &id, assurance).await.unwrap();

        world.policy(SESSION);
        let said = world.call("{}").await.word().await;

        assert!(said.contains(end), "{said}");
        assert_eq!(world.upstream.calls(), usize::from(end == "approved"));
        let state = if end == "approved" { State::Completed } else { State::Cancelled };
        assert_eq!(world.stored(&id).await.state, state);
    }
}
