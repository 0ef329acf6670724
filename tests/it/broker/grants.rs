//! Grants: who approved lets further calls through, and nothing else does.

use std::time::Duration;

use placet::broker::DecideError;
use placet::broker::call::execute::Wishes;
use placet::broker::call::grants::Wanted;
use placet::broker::call::submit::Submission;
use placet::domain::approval::{ApprovalId, Choice};
use placet::domain::grant::{Grant, GrantState};
use placet::store::Store as _;
use placet::upstream::Caller;
use tokio_util::sync::CancellationToken;

use crate::support::world::World;

const GRANTING: &str = r#"{"version":"1","tools":{"delete_image_set":{"action":"require_approval",
    "severity":"high","approval":{"cooldown":"0s","grant":{"max_uses":3,"max_duration":"30m"}}}}}"#;
const CALL: &str = r#"{"store":"prod","id":"1"}"#;

/// A call approved by ben, and run.
async fn approved(world: &World) -> ApprovalId {
    let holding = world.call(CALL).await;
    let id = holding.approval.id.clone();
    world.approve(&id).await;
    assert!(holding.word().await.contains("done"));
    id
}

async fn granting() -> (World, ApprovalId) {
    let world = World::new().await;
    world.policy(GRANTING);
    let id = approved(&world).await;
    (world, id)
}

fn wanted(uses: u32, minutes: u64, free: &[&str]) -> Wanted {
    let free = free.iter().map(ToString::to_string).collect();
    Wanted { uses, duration: Duration::from_secs(60 * minutes), free }
}

async fn grants(
    world: &World,
    who: &str,
    id: &ApprovalId,
    wanted: Wanted,
) -> Result<Grant, DecideError> {
    world.broker.grant(id, world.config.reviewer(who).unwrap(), wanted).await
}

/// Whether a call goes through without being asked about; then it is sent.
async fn passes(world: &World, args: &str) -> bool {
    match world.submit(args).await {
        Submission::Forward(permit) => {
            let (caller, gone) = (Caller::new("ci", None), CancellationToken::new());
            world.broker.dispatch(permit, &caller, &Wishes::default(), None, gone).await.unwrap();
            true
        }
        Submission::Held(held) => {
            // Withdrawn, so that the next one is asked about anew.
            let approval = held.approval().clone();
            let id = approval.id.clone();
            held.let_go().await;
            world.says("ben", Choice::Reject, &id).await.unwrap();
            world
                .db
                .store
                .approvals()
                .take_end(&id, approval.end_told(world.broker.now()))
                .await
                .unwrap();
            world.pass(1);
            false
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_lets_calls_of_its_shape_through_as_often_as_it_says() {
    let (world, id) = granting().await;
    let ran = world.upstream.calls();

    let grant = grants(&world, "ben", &id, wanted(2, 30, &["/id"])).await.unwrap();

    assert!(!passes(&world, r#"{"store":"test","id":"2"}"#).await, "pinned");
    assert!(!passes(&world, r#"{"store":"prod","id":"2","force":true}"#).await, "never looked at");
    assert!(passes(&world, r#"{"store":"prod","id":"2"}"#).await);
    assert!(passes(&world, r#"{"id":"3","store":"prod"}"#).await);
    assert!(!passes(&world, r#"{"store":"prod","id":"4"}"#).await, "used up");
    assert_eq!(world.upstream.calls() - ran, 2);
    let listed = world.broker.grants_for(world.config.reviewer("eve").unwrap()).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].grant.used, &listed[0].grant.id), (2, &grant.id));
    assert_eq!(listed[0].grant.state(world.broker.now()), GrantState::UsedUp);
    world.db.store.audit().seal(100).await.unwrap();
    let records = world.db.store.audit().list(0, 100).await.unwrap();
    let audit: Vec<&str> = records.iter().map(|r| r.kind.as_str()).collect();
    assert_eq!(audit.iter().filter(|kind| **kind == "grant_made").count(), 1);
    assert_eq!(audit.iter().filter(|kind| **kind == "grant_used").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_ends_with_its_time() {
    let (world, id) = granting().await;
    grants(&world, "ben", &id, wanted(3, 10, &["/id"])).await.unwrap();
    assert!(passes(&world, r#"{"store":"prod","id":"2"}"#).await);

    world.pass(600);

    assert!(!passes(&world, r#"{"store":"prod","id":"3"}"#).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_use_is_taken_once_by_calls_that_come_together() {
    let (world, id) = granting().await;
    let ran = world.upstream.calls();
    grants(&world, "ben", &id, wanted(3, 10, &["/id"])).await.unwrap();

    let calls: Vec<String> =
        (10..20).map(|n| format!(r#"{{"store":"prod","id":"{n}"}}"#)).collect();
    let passed = futures_util::future::join_all(calls.iter().map(|c| world.submit(c))).await;

    let passed = passed.iter().filter(|s| matches!(s, Submission::Forward(_))).count();
    assert_eq!(passed, 3);
    assert_eq!(world.upstream.calls(), ran);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_policy_or_tool_voids_it() {
    for change in ["policy", "tool"] {
        let (world, id) = granting().await;
        grants(&world, "ben", &id, wanted(3, 10, &["/id"])).await.unwrap();
        match change {
            "policy" => world.policy(&GRANTING.replace("30m", "31m")),
            _ => world.upstream.lists(&[("delete_image_set", "2")]),
        }

        assert!(!passes(&world, r#"{"store":"prod","id":"2"}"#).await, "{change}");

        let eve = world.config.reviewer("eve").unwrap();
        let listed = world.broker.grants_for(eve).await.unwrap();
        assert_eq!(listed[0].grant.ended.as_ref().unwrap().by, "policy", "{change}");
        world.policy(GRANTING);
        assert!(!passes(&world, r#"{"store":"prod","id":"3"}"#).await, "it does not come back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_grant_lets_nothing_through() {
    let (world, id) = granting().await;
    let grant = grants(&world, "ben", &id, wanted(3, 10, &["/id"])).await.unwrap();
    let revoke = async |who: &str| {
        world.broker.revoke_grant(&grant.id, world.config.reviewer(who).unwrap()).await
    };

    for who in ["eve", "cleo"] {
        assert!(matches!(revoke(who).await, Err(DecideError::Forbidden(_))), "{who}");
    }
    assert!(passes(&world, r#"{"store":"prod","id":"2"}"#).await);
    let ended = revoke("ana").await.unwrap().grant.ended.unwrap();
    assert_eq!(ended.by, "ana", "the agent's owner may");
    assert_eq!(revoke("dora").await.unwrap().grant.ended.unwrap().by, "ana", "once");
    assert!(!passes(&world, r#"{"store":"prod","id":"3"}"#).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_offered_beyond_the_rule() {
    let (world, id) = granting().await;

    for (what, wanted) in [
        ("no calls", wanted(0, 10, &[])),
        ("too many calls", wanted(4, 10, &[])),
        ("no time", wanted(1, 0, &[])),
        ("too long", wanted(1, 31, &[])),
        ("no such value", wanted(1, 1, &["/other"])),
    ] {
        let refused = grants(&world, "ben", &id, wanted).await;
        assert!(matches!(refused, Err(DecideError::Invalid(_))), "{what}: {refused:?}");
    }
    for who in ["eve", "ana", "dora", "cleo"] {
        let refused = grants(&world, who, &id, wanted(1, 1, &[])).await;
        assert!(matches!(refused, Err(DecideError::Forbidden(_))), "{who} did not approve it");
    }
    world.pass(1800);
    let late = grants(&world, "ben", &id, wanted(1, 1, &[])).await;
    assert!(matches!(late, Err(DecideError::Forbidden(_))), "long ago");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_critical_by_their_rule_or_by_their_tools_name_are_never_granted() {
    let said = |severity: &str| GRANTING.replace(r#""severity":"high","#, severity);
    for (severity, offered) in [
        (r#""severity":"critical","#, false),
        ("", false),
        (r#""risk":"destructive","#, false),
        (r#""risk":"write","#, true),
        (r#""severity":"medium","#, true),
        (r#""risk":"destructive","severity":"low","#, true),
    ] {
        let world = World::new().await;
        world.policy(&said(severity));
        let id = approved(&world).await;

        let approval = world.stored(&id).await;

        let ben = world.config.reviewer("ben").unwrap();
        assert_eq!(world.broker.grant_offer(&approval, ben).is_some(), offered, "{severity}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_made_critical_since_it_was_approved_is_not_granted() {
    let (world, id) = granting().await;
    world.policy(&GRANTING.replace("high", "critical"));

    let refused = grants(&world, "ben", &id, wanted(1, 1, &[])).await;

    assert!(matches!(refused, Err(DecideError::Forbidden(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_several_people_is_not_for_one_to_grant() {
    let world = World::new().await;
    world.policy(&GRANTING.replace(r#""cooldown""#, r#""quorum":2,"cooldown""#));
    let holding = world.call(CALL).await;
    let id = holding.approval.id.clone();
    world.approve(&id).await;
    world.says("eve", Choice::Approve, &id).await.unwrap();
    holding.word().await;

    let refused = grants(&world, "ben", &id, wanted(1, 1, &[])).await;

    assert!(matches!(refused, Err(DecideError::Forbidden(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identical_call_that_waits_is_joined_and_a_rejection_is_not_passed_by() {
    let world = World::new().await;
    world.policy(&GRANTING.replace(r#""cooldown":"0s""#, r#""cooldown":"10m""#));
    let id = approved(&world).await;
    let waiting = world.call(r#"{"store":"prod","id":"2"}"#).await;
    let rejected = world.call(r#"{"store":"prod","id":"3"}"#).await;
    let rejected_id = rejected.approval.id.clone();
    world.says("ben", Choice::Reject, &rejected_id).await.unwrap();
    assert_eq!(rejected.word().await, "approval_rejected");
    grants(&world, "ben", &id, wanted(3, 10, &["/id"])).await.unwrap();

    let again = world.call(r#"{"store":"prod","id":"2"}"#).await;
    assert_eq!(again.approval.id, waiting.approval.id);
    assert_eq!(world.answered(r#"{"store":"prod","id":"3"}"#).await, "approval_rejected");
    assert!(passes(&world, r#"{"store":"prod","id":"4"}"#).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_has_only_so_many_open_grants() {
    let world = World::with("[approvals]\nmax_grants_per_agent = 1").await;
    world.policy(GRANTING);
    let id = approved(&world).await;
    let first = grants(&world, "ben", &id, wanted(3, 10, &[])).await.unwrap();

    let second = grants(&world, "ben", &id, wanted(3, 10, &["/id"])).await;
    let Err(DecideError::Invalid(why)) = second else { panic!("{second:?}") };
    assert!(why.contains("max_grants_per_agent"), "{why}");

    world.broker.revoke_grant(&first.id, world.config.reviewer("ben").unwrap()).await.unwrap();
    grants(&world, "ben", &id, wanted(3, 10, &["/id"])).await.unwrap();
}
