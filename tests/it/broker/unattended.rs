//! Rules that say `"unattended": "run"`, and what reconcilers do without any request.

use placet::domain::approval::{Choice, State};
use placet::reconcilers::Unattended;

use crate::support::fake_upstream::Does;
use crate::support::world::{World, delete, held};

const RUNS_UNATTENDED: &str = r#"{ "version": "1", "default": "deny", "tools": {
    "delete_image_set": { "action": "require_approval", "approval": { "unattended": "run" } } } }"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_approved_call_without_an_agent_runs_once_and_its_outcome_is_owed() {
    let world = World::new().await;
    world.policy(RUNS_UNATTENDED);
    let id = world.approved_for_nobody().await;
    let mut unattended = Unattended::default();

    unattended.run_once(&world.broker).await.unwrap();
    unattended.run_once(&world.broker).await.unwrap();
    world.becomes(&id, State::Completed).await;

    assert_eq!(world.upstream.calls(), 1);
    assert!(world.answered("{}").await.contains("done"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_can_not_be_sent_is_tried_again_after_a_pause_and_not_before() {
    let world = World::new().await;
    world.policy(RUNS_UNATTENDED);
    world.upstream.next([Does::IsAway]);
    let id = world.approved_for_nobody().await;
    let mut unattended = Unattended::default();
    unattended.run_once(&world.broker).await.unwrap();
    world.upstream.arrived(1).await;
    world.becomes(&id, State::Approved).await;

    unattended.run_once(&world.broker).await.unwrap();
    let at_once = world.upstream.calls();
    world.pass(3);
    unattended.run_once(&world.broker).await.unwrap();
    world.becomes(&id, State::Completed).await;

    assert_eq!((at_once, world.upstream.calls()), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_hangs_does_not_hold_up_the_runs_of_another() {
    let world = World::with(
        "[approvals]\nheartbeat = \"20s\"\n[[upstreams]]\nname = \"slow\"\n\
         url = \"http://127.0.0.1:8421\"\npolicy = \"policy.json\"",
    )
    .await;
    world.policy(RUNS_UNATTENDED);
    let (policy, _) = placet::domain::policy::Policy::read(RUNS_UNATTENDED).unwrap();
    world.broker.policies().replace("slow", std::sync::Arc::new(policy));
    for n in 0..3 {
        let mut asking = world.asking(&delete(&format!("{{\"n\":{n}}}")));
        let params = asking.call.params.clone();
        asking.call = placet::domain::call::ToolCall::read("slow", &params).unwrap();
        let holding = held(world.broker.submit(asking).await);
        let id = holding.approval.id.clone();
        holding.gone.cancel();
        holding.ended().await;
        world.approve(&id).await;
    }
    world.other.never_lists.store(true, std::sync::atomic::Ordering::Relaxed);
    let id = world.approved_for_nobody().await;
    let mut unattended = Unattended::default();

    unattended.begin(&world.broker).await.unwrap();

    world.becomes(&id, State::Completed).await;
    assert_eq!((world.upstream.calls(), world.other.calls()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_goes_back_revives_nothing() {
    let world = World::new().await;
    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();
    holding.gone.cancel();
    holding.ended().await;
    world.pass(3_600);
    world.broker.expire_due().await.unwrap();
    assert_eq!(world.stored(&id).await.state, State::Expired);

    world.clock.turn_back(std::time::Duration::from_hours(1));

    assert!(world.says("ben", Choice::Approve, &id).await.is_err());
    assert_eq!(world.stored(&id).await.state, State::Expired);
    assert_eq!(world.upstream.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_waits_is_not_run_by_anybody_but_its_agent() {
    let world = World::new().await;
    let id = world.approved_for_nobody().await;

    Unattended::default().run_once(&world.broker).await.unwrap();

    assert_eq!((world.stored(&id).await.state, world.upstream.calls()), (State::Approved, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_decided_or_claimed_in_time_expires_without_any_request() {
    let world = World::new().await;
    let (undecided, unclaimed) = (world.call("{}").await, world.call(r#"{"n":1}"#).await);
    let ids = [undecided.approval.id.clone(), unclaimed.approval.id.clone()];
    for holding in [undecided, unclaimed] {
        holding.gone.cancel();
        holding.ended().await;
    }
    world.approve(&ids[1]).await;

    world.pass(24 * 3_600);
    world.broker.expire_due().await.unwrap();

    for id in &ids {
        assert_eq!(world.stored(id).await.state, State::Expired);
    }
    assert_eq!(world.upstream.calls(), 0);
}
