//! The policy changes while a call waits, and what a claim looks at again.

use placet::broker::call::answer::Answer;
use placet::broker::call::execute::Wishes;
use placet::broker::call::submit::Submission;
use placet::domain::approval::{Choice, State};
use placet::upstream::Caller;
use tokio_util::sync::CancellationToken;

use crate::support::world::{GATED, World};

const DENIED: &str = r#"{"version":"1","tools":{"delete_image_set":{"action":"deny"}}}"#;
const ALLOWED: &str = r#"{"version":"1","tools":{"delete_image_set":{"action":"allow"}}}"#;
const HIDDEN: &str = r#"{"version":"1","hide":["delete_image_set"]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn now_denied_the_call_is_denied_and_what_was_pending_cancelled() {
    let world = World::new().await;
    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();
    world.policy(DENIED);

    assert_eq!(world.answered("{}").await, "policy_denied");

    assert_eq!(holding.word().await, "approval_cancelled");
    assert_eq!(world.stored(&id).await.state, State::Cancelled);
    assert_eq!(world.answered("{}").await, "policy_denied", "the cancellation is not owed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_precondition_denies_with_its_place_and_the_words_of_the_policy() {
    let world = World::new().await;
    let holding = world.call(r#"{"n":9}"#).await;
    world.policy(
        r#"{"version":"1","all_tools":{"deny_if":[{"name":"big","on_deny":"At most 5.",
            "conditions":[{"path":"args.n","op":"gt","value":5}]}]},
            "tools":{"delete_image_set":{"action":"require_approval"}}}"#,
    );

    let Submission::Answered(Answer::Statement(said)) = world.submit(r#"{"n":9}"#).await else {
        panic!("not answered")
    };

    assert_eq!(said.code.as_str(), "policy_denied");
    assert_eq!(said.rule.as_deref(), Some("/all_tools/deny_if/0"));
    assert_eq!(said.reason.as_deref(), Some("At most 5."));
    assert!(said.text.contains("(rule /all_tools/deny_if/0 \"big\"): At most 5."), "{}", said.text);
    assert_eq!(holding.word().await, "approval_cancelled", "what waited is judged again");
    assert!(matches!(world.submit(r#"{"n":5}"#).await, Submission::Held(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn now_allowed_the_call_runs_and_what_was_pending_is_cancelled() {
    let world = World::new().await;
    let holding = world.call("{}").await;
    world.policy(ALLOWED);

    let submission = world.submit("{}").await;

    let Submission::Forward(permit) = submission else { panic!("{submission:?}") };
    let caller = Caller::new("ci", None);
    let gone = CancellationToken::new();
    world.broker.dispatch(permit, &caller, &Wishes::default(), None, gone).await.unwrap();
    let Answer::Statement(said) = holding.answer().await else { panic!() };
    assert_eq!(said.code.as_str(), "approval_cancelled");
    assert_eq!(said.reason.as_deref(), Some("no longer needs approval"));
    assert_eq!(world.upstream.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn now_hidden_the_tool_is_unknown_and_owed_ends_are_dropped() {
    let world = World::new().await;
    let holding = world.call("{}").await;
    world.policy(HIDDEN);

    assert!(matches!(world.submit("{}").await, Submission::UnknownTool));
    assert_eq!(holding.word().await, "approval_cancelled");
    world.policy(GATED);
    world.pass(1);
    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();
    holding.gone.cancel();
    holding.ended().await;
    world.says("ben", Choice::Reject, &id).await.unwrap();
    world.pass(700);
    world.policy(HIDDEN);

    assert!(matches!(world.submit("{}").await, Submission::UnknownTool));
    assert!(!world.stored(&id).await.owed);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_joined_whatever_the_policy_says_now() {
    for policy in [DENIED, ALLOWED, HIDDEN] {
        let world = World::new().await;
        world.upstream.hangs();
        let first = world.call("{}").await;
        world.approve(&first.approval.id).await;
        world.upstream.arrived(1).await;
        world.policy(policy);

        let second = world.call("{}").await;
        assert_eq!(second.approval.id, first.approval.id);
        world.upstream.goes_on();

        assert!(first.word().await.contains("shared"));
        assert!(second.word().await.contains("shared"));
        assert_eq!(world.upstream.calls(), 1);
    }
}

/// Approved while nobody waits, then `change`, then called again: the answer.
async fn after(change: impl FnOnce(&World)) -> (World, String) {
    let world = World::new().await;
    world.approved_for_nobody().await;
    change(&world);
    let word = world.call("{}").await.word().await;
    (world, word)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_finds_that_the_approvals_no_longer_suffice() {
    for approval in [r#"{"quorum":2}"#, r#"{"reviewers":["dora"]}"#, r#"{"reviewers":["ana"]}"#] {
        let policy = format!(
            r#"{{"version":"1","tools":{{"delete_image_set":{{"action":"require_approval","approval":{approval}}}}}}}"#
        );

        let (world, word) = after(|w| w.policy(&policy)).await;

        assert_eq!(word, "approval_cancelled", "{approval}");
        assert_eq!(world.upstream.calls(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_finds_a_tool_redefined() {
    let (world, word) = after(|w| w.upstream.lists(&[("delete_image_set", "2")])).await;

    assert_eq!(word, "approval_cancelled");
    assert_eq!(world.upstream.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_finds_a_tool_redefined_by_a_server_that_never_said_so() {
    let (world, word) = after(|w| w.upstream.lists_next(&[("delete_image_set", "2")])).await;

    assert_eq!(word, "approval_cancelled");
    assert_eq!(world.upstream.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_made_for_another_address_of_the_upstream_is_void() {
    let world = World::new().await;
    let id = world.approved_for_nobody().await;
    let before = world.stored(&id).await.terms.address_fingerprint;
    assert!(before.is_some());
    let moved = r#"update approvals set terms =
        replace(terms, 'address_fingerprint":"', 'address_fingerprint":"0')"#;
    world.db.raw(moved).await;

    let word = world.call("{}").await.word().await;

    assert_eq!(word, "approval_cancelled");
    assert_eq!(world.upstream.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_is_gone_is_unknown_and_its_approval_cancelled() {
    let world = World::new().await;
    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();
    world.upstream.lists(&[("list_image_sets", "1")]);

    world.approve(&id).await;

    assert_eq!(holding.word().await, "approval_cancelled");
    assert!(matches!(world.submit("{}").await, Submission::UnknownTool));
    assert_eq!(world.upstream.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_without_a_tool_list_fetches_it_or_waits() {
    let away = after(|w| w.upstream.forgets_its_list(false)).await;
    let back = after(|w| w.upstream.forgets_its_list(true)).await;
    let redefined = after(|w| {
        w.upstream.lists(&[("delete_image_set", "2")]);
        w.upstream.forgets_its_list(true);
    })
    .await;

    assert_eq!((away.1.as_str(), away.0.upstream.calls()), ("upstream_unavailable", 0));
    assert!(back.1.contains("done"));
    assert_eq!((redefined.1.as_str(), redefined.0.upstream.calls()), ("approval_cancelled", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_at_its_deadline_finds_it_expired() {
    let (world, word) = after(|w| w.pass(600)).await;

    assert_eq!(word, "approval_expired");
    assert_eq!(world.upstream.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quorum_needs_different_people() {
    let world = World::new().await;
    world.policy(
        r#"{"version":"1","tools":{"delete_image_set":{"action":"require_approval",
            "approval":{"quorum":2}}}}"#,
    );
    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();

    world.says("ben", Choice::Approve, &id).await.unwrap();
    let again = world.says("ben", Choice::Approve, &id).await.unwrap();
    assert_eq!((again.state, again.decisions.len()), (State::Pending, 1));
    world.says("eve", Choice::Approve, &id).await.unwrap();

    assert!(holding.word().await.contains(r#""approved_by":["ben","eve"]"#));
}

const JOINED: &str = r#"{"version":"1","tools":{"delete_image_set":{"action":"require_approval",
    "approval":{"reviewers":{"all":[{"group":"security","quorum":1},{"group":"oncall","quorum":2}]}}}}}"#;

/// Dora is of both groups.
async fn with_groups() -> World {
    World::with(
        r#"
        [[reviewers]]
        name = "ben"
        groups = ["oncall"]
        [[reviewers]]
        name = "eve"
        groups = ["oncall"]
        [[reviewers]]
        name = "dora"
        groups = ["security", "oncall"]
        "#,
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn joined_groups_each_need_their_own_and_nobody_counts_twice() {
    let world = with_groups().await;
    world.policy(JOINED);
    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();
    assert_eq!(holding.approval.terms.quorum, 3);
    assert_eq!(holding.approval.terms.reviewers, ["ben", "dora", "eve"]);

    world.says("dora", Choice::Approve, &id).await.unwrap();
    let two = world.says("ben", Choice::Approve, &id).await.unwrap();
    assert_eq!(two.state, State::Pending, "dora is not both security and oncall");
    let three = world.says("eve", Choice::Approve, &id).await.unwrap();

    assert_eq!(three.state, State::Approved);
    assert!(holding.word().await.contains("done"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_counts_by_the_joined_groups_of_now() {
    let world = with_groups().await;
    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();
    holding.gone.cancel();
    holding.ended().await;
    world.says("eve", Choice::Approve, &id).await.unwrap();
    world.policy(JOINED);

    assert_eq!(world.call("{}").await.word().await, "approval_cancelled");
    assert_eq!(world.upstream.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_bytes_never_run() {
    let world = World::new().await;
    let holding = world.call(r#"{"id":1}"#).await;
    let id = holding.approval.id.clone();
    world.db.raw("update approvals set params = replace(params, '1', '2')").await;

    world.approve(&id).await;

    assert_eq!(holding.word().await, "approval_cancelled");
    assert_eq!(world.upstream.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_yes_that_comes_while_the_policy_lets_the_call_through_never_runs_it_twice() {
    for round in 0..20 {
        let world = World::new().await;
        let holding = world.call("{}").await;
        let id = holding.approval.id.clone();
        world.policy(ALLOWED);

        let (said, submission) =
            tokio::join!(world.says("ben", Choice::Approve, &id), world.submit("{}"));

        match submission {
            Submission::Forward(permit) => {
                let caller = Caller::new("ci", None);
                let gone = CancellationToken::new();
                let wishes = Wishes::default();
                world.broker.dispatch(permit, &caller, &wishes, None, gone).await.unwrap();
                let told = holding.word().await;
                // Cancelled before it ran, or it had run and was told before the other call came.
                let ran = usize::from(told.contains("done"));
                assert_eq!(world.upstream.calls(), 1 + ran, "round {round}: {told}, {said:?}");
                let state = world.stored(&id).await.state;
                let ended = if ran == 1 { State::Completed } else { State::Cancelled };
                assert_eq!(state, ended, "round {round}");
            }
            Submission::Held(held) => {
                assert_eq!(held.approval().id, id);
                drop(held);
                assert!(holding.word().await.contains("done"));
                assert_eq!(world.upstream.calls(), 1);
            }
            Submission::Ended { answer, .. } => {
                assert!(crate::support::world::word(&answer).contains("replayed"));
                holding.ended().await;
                assert_eq!(world.upstream.calls(), 1);
            }
            other => panic!("{other:?}"),
        }
    }
}
