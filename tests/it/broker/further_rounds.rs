//! Further rounds of a call whose server wanted input: judged like a claim, by the approval and by the
//! grant that the first round rested on.

use std::time::Duration;

use placet::broker::call::answer::Answer;
use placet::broker::call::execute::Wishes;
use placet::broker::call::grants::Wanted;
use placet::broker::call::submit::Submission;
use placet::domain::approval::ApprovalId;
use placet::domain::grant::Grant;
use placet::domain::json;
use placet::store::Store as _;
use placet::upstream::{Caller, Reply};
use tokio_util::sync::CancellationToken;

use crate::support::fake_upstream::Does;
use crate::support::world::{World, word};

const POLICY: &str = r#"{"version":"1","tools":{"delete_image_set":{"action":"require_approval",
    "severity":"high","approval":{"cooldown":"0s","grant":{"max_uses":2,"max_duration":"30m"}}}}}"#;
const ASKS: &str = r#"{"resultType":"input_required","requestState":"own","inputRequests":{}}"#;

/// `requestState` of a result.
fn state(raw: &str) -> String {
    let node = json::parse(raw).unwrap();
    node.get("requestState").and_then(|s| s.as_str()).unwrap_or_else(|| panic!("{raw}")).to_owned()
}

/// A call approved by ben, whose server asked for input: its approval and its sealed state.
async fn approved(world: &World) -> (ApprovalId, String) {
    world.upstream.next([Does::Answers(ASKS.to_owned())]);
    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();
    world.approve(&id).await;
    (id, state(&holding.word().await))
}

async fn dispatched(world: &World, submission: Submission) -> String {
    let Submission::Forward(permit) = submission else { panic!("{submission:?}") };
    let (caller, gone) = (Caller::new("ci", None), CancellationToken::new());
    let reply = world.broker.dispatch(permit, &caller, &Wishes::default(), None, gone).await;
    match reply.unwrap() {
        Reply::Result(raw) | Reply::Error(raw) => raw,
    }
}

/// What becomes of the next round of the call with these arguments.
async fn round(world: &World, arguments: &str, state: &str) -> Submission {
    let params = format!(
        r#"{{"name":"delete_image_set","arguments":{arguments},"inputResponses":{{}},"requestState":{}}}"#,
        json::quote(state)
    );
    world.broker.submit(world.asking(&params)).await
}

/// A call that a grant of these uses lets through, whose server asked for input.
async fn granted(world: &World, uses: u32) -> (Grant, String) {
    world.policy(POLICY);
    let (id, _) = approved(world).await;
    let ben = world.config.reviewer("ben").unwrap();
    let wanted = Wanted { uses, duration: Duration::from_secs(600), free: Vec::new() };
    let grant = world.broker.grant(&id, ben, wanted).await.unwrap();
    world.upstream.next([Does::Answers(ASKS.to_owned())]);
    let asked = dispatched(world, world.submit("{}").await).await;
    (grant, state(&asked))
}

/// The word of a refusal, and its reason.
fn refused(submission: Submission) -> (String, String) {
    let Submission::Answered(answer) = submission else { panic!("{submission:?}") };
    let Answer::Statement(said) = &answer else { panic!("{answer:?}") };
    (word(&answer), said.reason.clone().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_further_round_of_a_granted_call_goes_on_also_where_it_was_the_last_use() {
    let world = World::new().await;
    let (_, first) = granted(&world, 1).await;
    world.upstream.next([Does::Answers(ASKS.to_owned())]);

    let again = dispatched(&world, round(&world, "{}", &first).await).await;
    let done = dispatched(&world, round(&world, "{}", &state(&again)).await).await;

    assert!(done.contains("done"), "{done}");
    assert_eq!(world.upstream.calls(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_was_revoked_or_is_over_stops_further_rounds_of_what_it_let_through() {
    for how in ["revoked", "over", "the policy changed", "revoked in the second round"] {
        let world = World::new().await;
        let (grant, mut state_of) = granted(&world, 2).await;
        if how == "revoked in the second round" {
            world.upstream.next([Does::Answers(ASKS.to_owned())]);
            state_of = state(&dispatched(&world, round(&world, "{}", &state_of).await).await);
        }
        match how {
            "over" => world.pass(600),
            "the policy changed" => world.policy(&POLICY.replace("30m", "31m")),
            _ => {
                let dora = world.config.reviewer("dora").unwrap();
                world.broker.revoke_grant(&grant.id, dora).await.unwrap();
            }
        }
        let ran = world.upstream.calls();

        let (code, reason) = refused(round(&world, "{}", &state_of).await);

        assert_eq!(code, "approval_cancelled", "{how}");
        let said = match how {
            "over" => "time is over",
            "the policy changed" => "the policy changed",
            _ => "ended by dora: revoked",
        };
        assert!(reason.contains(said), "{how}: {reason}");
        assert_eq!(world.upstream.calls(), ran, "{how}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_grant_stops_no_round_of_the_call_that_was_approved_itself() {
    let world = World::new().await;
    world.policy(POLICY);
    let (id, own) = approved(&world).await;
    let ben = world.config.reviewer("ben").unwrap();
    let wanted = Wanted { uses: 1, duration: Duration::from_secs(60), free: Vec::new() };
    let grant = world.broker.grant(&id, ben, wanted).await.unwrap();
    world.broker.revoke_grant(&grant.id, ben).await.unwrap();

    let done = dispatched(&world, round(&world, "{}", &own).await).await;

    assert!(done.contains("done"), "{done}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_of_an_approval_that_is_no_longer_kept_is_invalid_and_says_so() {
    let world = World::new().await;
    let (id, own) = approved(&world).await;
    // A history shorter than the life of a round is refused; one that ran with it may have left this.
    world.db.raw("delete from approvals").await;
    let now = world.broker.now();
    assert!(world.db.store.approvals().find(&id, now).await.unwrap().is_none());

    for _ in 0..2 {
        let said = round(&world, "{}", &own).await;
        let Submission::Invalid(why) = said else { panic!("{said:?}") };
        assert!(why.contains("no longer kept"), "{why}");
        assert!(why.contains("without requestState and inputResponses"), "{why}");
    }
    assert_eq!(world.upstream.calls(), 1);
}
