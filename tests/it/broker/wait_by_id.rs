//! Waiting for an approval by its id.

use std::time::Duration;

use placet::broker::call::submit::Submission;
use placet::broker::call::wait_by_id::Waiting;
use placet::domain::approval::{Choice, State};
use placet::store::{Filter, Store as _};

use crate::support::world::{Holding, World, held, held_for, word};

const ALLOWING: &str = r#"{"version":"1","tools":{"delete_image_set":{"action":"allow"}}}"#;
const DENYING: &str = r#"{"version":"1","tools":{"delete_image_set":{"action":"deny"}}}"#;
const HIDING: &str = r#"{"version":"1","hide":["delete_image_set"]}"#;

const WITH_TOOL: &str = "[[agents]]\nname = \"ci\"\nwait_tool = true";

fn waiting(world: &World, agent: &str, approval: &str) -> Waiting {
    Waiting {
        agent: world.config.agent(agent).unwrap().clone(),
        client: None,
        session: None,
        features: placet::upstream::ClientCapabilities::default(),
        upstream: "images".to_owned(),
        approval: approval.to_owned(),
    }
}

async fn wait(world: &World, id: &str) -> Option<Submission> {
    world.broker.wait(waiting(world, "ci", id)).await
}

/// Waits for what has ended: its word.
async fn told(world: &World, id: &str) -> String {
    match wait(world, id).await {
        Some(Submission::Ended { answer, owed }) => {
            if let Some(owed) = owed {
                owed.told().await;
            }
            word(&answer)
        }
        other => panic!("not ended: {other:?}"),
    }
}

/// A pending approval that nobody waits for.
async fn left(world: &World, args: &str) -> String {
    let holding = held_for(world.submit(args).await, Duration::ZERO);
    let id = holding.approval.id.to_string();
    assert_eq!(holding.word().await, "approval_pending");
    id
}

async fn approvals(world: &World) -> usize {
    let filter = Filter { limit: 99, ..Filter::default() };
    world.db.store.approvals().list(&filter, world.broker.now()).await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_attached_and_gets_the_result_of_the_one_execution() {
    let world = World::with(WITH_TOOL).await;
    let id = left(&world, r#"{"id":1.00}"#).await;

    let waits: Holding = held(wait(&world, &id).await.unwrap());
    assert_eq!(waits.approval.id.as_str(), id);
    assert!(world.stored(&waits.approval.id).await.waiting);
    let identical = world.call(r#"{"id":1.00}"#).await;
    world.approve(&identical.approval.id).await;

    for said in [waits.word().await, identical.word().await] {
        assert!(said.contains("done") && said.contains(r#""code":"approved""#), "{said}");
    }
    assert_eq!((world.upstream.calls(), approvals(&world).await), (1, 1));
    assert!(world.upstream.last_params().contains(r#"{"id":1.00}"#), "the stored bytes ran");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approved_call_runs_when_its_agent_waits_and_never_again() {
    let world = World::with(WITH_TOOL).await;
    let id = left(&world, "{}").await;
    let stored = placet::domain::approval::ApprovalId::parse(&id).unwrap();
    world.approve(&stored).await;
    assert_eq!(world.upstream.calls(), 0);

    let waits = held(wait(&world, &id).await.unwrap());
    assert!(waits.word().await.contains("done"));

    assert!(!world.stored(&stored).await.owed, "told once");
    let again = told(&world, &id).await;
    assert!(again.contains("done") && again.contains(r#""replayed":true"#), "{again}");
    assert_eq!((world.upstream.calls(), approvals(&world).await), (1, 1));
    world.pass(24 * 3_600);
    assert!(wait(&world, &id).await.is_none(), "past being told");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owed_end_is_told_and_marked_and_the_identical_call_asks_anew() {
    let world = World::with(WITH_TOOL).await;
    let id = left(&world, "{}").await;
    let stored = placet::domain::approval::ApprovalId::parse(&id).unwrap();
    world.pass(901);
    // Whoever looks first records that its time is over.
    let waits = held(wait(&world, &id).await.unwrap());
    assert_eq!(waits.word().await, "approval_expired");

    assert_eq!(world.stored(&stored).await.state, State::Expired);
    assert_eq!(told(&world, &id).await, "approval_expired");
    assert_ne!(world.call("{}").await.approval.id.as_str(), id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_is_told_with_its_reason() {
    let world = World::with(WITH_TOOL).await;
    let id = left(&world, "{}").await;
    let stored = placet::domain::approval::ApprovalId::parse(&id).unwrap();
    world.says("ben", Choice::Reject, &stored).await.unwrap();

    assert_eq!(told(&world, &id).await, "approval_rejected");
    assert!(!world.stored(&stored).await.owed);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_unknown_anothers_or_of_another_upstream_is_none() {
    let both = WITH_TOOL.to_owned() + "\n[[agents]]\nname = \"careful\"\nwait_tool = true";
    let world = World::with(&both).await;
    let id = left(&world, "{}").await;

    let elsewhere = Waiting { upstream: "other".to_owned(), ..waiting(&world, "ci", &id) };
    for odd in ["", "apr_", &id[4..], &format!("{id} "), &format!("apr_{}", "0".repeat(32))] {
        assert!(wait(&world, odd).await.is_none(), "{odd}");
    }
    assert!(world.broker.wait(waiting(&world, "careful", &id)).await.is_none());
    assert!(world.broker.wait(elsewhere).await.is_none());
    assert_eq!(approvals(&world).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_policy_overtook_is_cancelled_and_runs_neither_way() {
    for (policy, why) in [
        (ALLOWING, "no longer needs approval"),
        (DENYING, "no longer permitted"),
        (HIDING, "no longer permitted"),
    ] {
        let world = World::with(WITH_TOOL).await;
        let id = left(&world, "{}").await;
        let stored = placet::domain::approval::ApprovalId::parse(&id).unwrap();
        world.approve(&stored).await;
        world.policy(policy);

        assert_eq!(told(&world, &id).await, "approval_cancelled");

        let after = world.stored(&stored).await;
        assert_eq!(after.state, State::Cancelled);
        assert!(after.end_reason.unwrap().contains(why));
        assert_eq!(world.upstream.calls(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_tool_that_is_now_denied_is_dropped() {
    let world = World::with(WITH_TOOL).await;
    let id = left(&world, "{}").await;
    let stored = placet::domain::approval::ApprovalId::parse(&id).unwrap();
    world.says("ben", Choice::Reject, &stored).await.unwrap();
    world.policy(DENYING);

    assert!(wait(&world, &id).await.is_none());
    assert!(!world.stored(&stored).await.owed);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsettled_call_is_unknown_until_it_is_settled() {
    let world = World::with(WITH_TOOL).await;
    let id = left(&world, "{}").await;
    let stored = placet::domain::approval::ApprovalId::parse(&id).unwrap();
    world.approve(&stored).await;
    let running = world.stored(&stored).await.claim("node-a", world.broker.now()).unwrap();
    let running = world.broker.apply(running).await.unwrap();
    world.broker.apply(running.lose("cut", world.broker.now()).unwrap()).await.unwrap();

    assert_eq!(told(&world, &id).await, "outcome_unknown");
    assert_eq!(world.upstream.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_agents_that_are_offered_the_tool_are_told_of_it() {
    let world = World::with(WITH_TOOL).await;
    let text = async |agent: &str| {
        let mut asking = world.asking(r#"{"name":"delete_image_set","arguments":{}}"#);
        asking.agent = world.config.agent(agent).unwrap().clone();
        let handed = held_for(world.broker.submit(asking).await, Duration::ZERO);
        let placet::broker::call::answer::Answer::Statement(said) = handed.answer().await else {
            panic!()
        };
        said.text
    };

    assert!(text("ci").await.contains(r#"call placet_wait with {"approval": "apr_"#));
    assert!(!text("careful").await.contains("placet_wait"));
    assert!(world.broker.offers_wait(world.config.agent("ci").unwrap(), "images"));
    assert!(!world.broker.offers_wait(world.config.agent("careful").unwrap(), "images"));
}
