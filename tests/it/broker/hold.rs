//! Held, decided, run once, told once.

use std::time::Duration;

use placet::broker::DecideError;
use placet::broker::call::answer::Answer;
use placet::broker::call::hold::{Beat, Ended};
use placet::broker::call::submit::Submission;
use placet::broker::people::decide::DecisionRequest;
use placet::domain::approval::{Assurance, Choice, MAX_REASON, Refusal, State, Via};
use placet::store::{Filter, Store as _};

use crate::support::fake_upstream::Does;
use crate::support::world::{World, delete, held, held_for};
use crate::support::{soon, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_held_call_runs_once_when_it_is_approved() {
    let world = World::new().await;
    let holding = world.call(r#"{"id":1.00}"#).await;
    let id = holding.approval.id.clone();
    assert!(world.stored(&id).await.waiting);

    world.approve(&id).await;
    let said = holding.word().await;

    assert!(said.contains(r#""said":"done""#) && said.contains(r#""code":"approved""#), "{said}");
    assert!(!said.contains("shared") && !said.contains("replayed"), "{said}");
    assert_eq!(world.upstream.calls(), 1);
    assert!(world.upstream.last_params().contains(r#"{"id":1.00}"#), "bytes as sent");
    let stored = world.stored(&id).await;
    assert_eq!((stored.state, stored.owed, stored.waiting), (State::Completed, false, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstreams_error_passes_and_completes() {
    let world = World::new().await;
    world.upstream.next([Does::Errs(r#"{"code":-7,"message":"no"}"#.to_owned())]);
    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();

    world.approve(&id).await;

    assert_eq!(holding.word().await, r#"error {"code":-7,"message":"no"}"#);
    assert_eq!(world.stored(&id).await.state, State::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_call_never_runs_and_the_answer_is_repeated_during_the_cooldown() {
    let world = World::new().await;
    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();

    world.says("dora", Choice::Reject, &id).await.unwrap();

    let Answer::Statement(said) = holding.answer().await else { panic!() };
    assert_eq!(
        (said.code.as_str(), said.reason.as_deref()),
        ("approval_rejected", Some("because"))
    );
    world.pass(599);
    assert_eq!(world.answered("{}").await, "approval_rejected");
    assert_eq!(world.answered("{}").await, "approval_rejected");
    world.pass(1);
    assert_ne!(world.call("{}").await.approval.id, id);
    assert_eq!(world.upstream.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_its_expiry_a_hold_answers_expired_and_nobody_can_decide_any_more() {
    let world = World::new().await;
    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();

    world.pass(900);
    let late = world.says("ben", Choice::Approve, &id).await;

    assert!(
        matches!(late, Err(DecideError::Refused { refusal: Refusal::Expired, .. })),
        "{late:?}"
    );
    assert_eq!(holding.word().await, "approval_expired");
    assert_eq!(world.stored(&id).await.state, State::Expired);
    let after = world.says("ben", Choice::Approve, &id).await;
    assert!(matches!(after, Err(DecideError::Refused { refusal: Refusal::Expired, .. })));
    assert_ne!(world.call("{}").await.approval.id, id, "told once, then anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_whose_budget_ends_at_the_expiry_is_not_handed_over() {
    let world = World::new().await;
    let first = world.call("{}").await;
    first.gone.cancel();
    first.ended().await;
    world.pass(900);

    let holding = held_for(world.submit("{}").await, Duration::ZERO);

    assert_eq!(holding.word().await, "approval_expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_hand_over_the_identical_call_attaches_and_gets_the_answer() {
    let world = World::new().await;
    let first = held_for(world.submit("{}").await, Duration::from_millis(30));
    let id = first.approval.id.clone();
    let Answer::Statement(said) = first.answer().await else { panic!() };
    assert_eq!(said.code.as_str(), "approval_pending");
    assert_eq!((said.state, said.expires_at.is_some()), (Some(State::Pending), true));
    assert_eq!(said.status_url, Some(format!("http://127.0.0.1:8420/approvals/{id}")));

    let again = world.call("{}").await;
    assert_eq!(again.approval.id, id);
    world.approve(&id).await;

    assert!(again.word().await.contains("done"));
    assert_eq!(world.upstream.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_over_while_it_runs_says_so_and_the_outcome_is_owed_once() {
    let world = World::new().await;
    world.upstream.hangs();
    let holding = held_for(world.submit("{}").await, Duration::from_millis(300));
    let id = holding.approval.id.clone();
    world.approve(&id).await;
    world.upstream.arrived(1).await;

    let Answer::Statement(said) = holding.answer().await else { panic!() };
    assert_eq!((said.code.as_str(), said.state), ("approval_pending", Some(State::Running)));
    assert!(said.text.contains("will not run twice"));
    world.upstream.goes_on();
    world.becomes(&id, State::Completed).await;

    let told = world.answered("{}").await;
    assert!(told.contains("done") && told.contains(r#""replayed":true"#), "{told}");
    let anew = world.call("{}").await;
    assert_ne!(anew.approval.id, id);
    assert!(anew.approval.ran_before.is_some());
    assert_eq!(world.upstream.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_identical_calls_at_once_make_one_approval_one_execution_two_answers() {
    for _ in 0..5 {
        let world = World::new().await;
        let (a, b) = tokio::join!(world.submit("{}"), world.submit(r"{ }"));
        let (a, b) = (held(a), held(b));
        assert_eq!(a.approval.id, b.approval.id);

        world.approve(&a.approval.id).await;
        let (a, b) = (a.word().await, b.word().await);

        for said in [a, b] {
            assert!(said.contains("done") && said.contains(r#""shared":true"#), "{said}");
        }
        assert_eq!(world.upstream.calls(), 1);
        let filter = Filter { limit: 9, ..Filter::default() };
        assert_eq!(
            world.db.store.approvals().list(&filter, world.broker.now()).await.unwrap().len(),
            1
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_too_large_to_keep_is_answered_in_full_and_not_kept() {
    let large = format!(r#"{{"content":[],"x":"{}"}}"#, "y".repeat(2_000));
    let world = World::with("[approvals]\nmax_outcome = 1000").await;
    for round in 0..10 {
        world.upstream.next([Does::Answers(large.clone())]);
        let holding = world.call(&format!(r#"{{"n":{round}}}"#)).await;
        let id = holding.approval.id.clone();

        world.approve(&id).await;

        assert!(holding.word().await.contains("yyyy"));
        world.db.raw(&format!("update approvals set owed = 1 where id = '{id}'")).await;
        assert_eq!(world.answered(&format!(r#"{{"n":{round}}}"#)).await, "outcome_not_kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_aborts_nothing_and_its_outcome_is_owed() {
    let world = World::new().await;
    let (holding, id) = world.running().await;

    holding.gone.cancel();
    assert!(matches!(holding.ended().await, Ended::Gone));
    world.upstream.goes_on();
    world.becomes(&id, State::Completed).await;

    assert!(world.stored(&id).await.owed);
    assert!(world.answered("{}").await.contains("replayed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_hold_detaches() {
    let world = World::new().await;
    let Submission::Held(held) = world.submit("{}").await else { panic!() };
    let id = held.approval().id.clone();
    assert!(world.stored(&id).await.waiting);

    drop(held);

    until("detached", async || !world.stored(&id).await.waiting).await;
    assert_eq!(world.stored(&id).await.state, State::Pending);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawing_agent_cancels_only_when_its_last_request_leaves() {
    let world = World::new().await;
    let call = async || {
        let agent = world.config.agent("careful").unwrap().clone();
        let asking = placet::broker::call::asking::Asking { agent, ..world.asking(&delete("{}")) };
        world.broker.submit(asking).await
    };
    let (a, b) = (held(call().await), held(call().await));
    let id = a.approval.id.clone();

    a.gone.cancel();
    a.ended().await;
    assert_eq!(world.stored(&id).await.state, State::Pending);
    let c = held_for(call().await, Duration::ZERO);
    c.ended().await;
    assert_eq!(world.stored(&id).await.state, State::Pending, "a hand-over withdraws nothing");
    b.gone.cancel();
    b.ended().await;

    assert_eq!(world.stored(&id).await.state, State::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_hands_over_and_withdraws_nothing() {
    let world = World::new().await;
    let agent = world.config.agent("careful").unwrap().clone();
    let asking = placet::broker::call::asking::Asking { agent, ..world.asking(&delete("{}")) };
    let handed = held(world.broker.submit(asking.clone()).await);
    let left = held(world.broker.submit(asking).await);
    let id = handed.approval.id.clone();

    world.stop.soft.cancel();
    left.gone.cancel();

    assert_eq!(handed.word().await, "approval_pending");
    left.ended().await;
    assert_eq!(world.stored(&id).await.state, State::Pending);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_grace_is_over_what_runs_is_given_up_as_unknown() {
    let world = World::new().await;
    let (holding, id) = world.running().await;

    world.stop.soft.cancel();
    world.stop.hard.cancel();

    assert_eq!(holding.word().await, "outcome_unknown");
    assert_eq!(world.stored(&id).await.state, State::Indeterminate);
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_name_the_approval_and_the_time_left() {
    let world = World::new().await;
    let mut holding = world.call("{}").await;

    let beat = soon("a beat", holding.beats.recv()).await;

    let Some(Beat::Alive(message)) = beat else { panic!("{beat:?}") };
    assert!(message.contains(holding.approval.id.as_str()), "{message}");
    assert!(message.contains("15 minutes left"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn caps_answer_too_many_and_leave_a_record() {
    let world = World::with("[approvals]\nmax_pending_per_agent = 1").await;
    let first = world.call(r#"{"a":1}"#).await;
    let before = world.db.store.audit().unsealed().await.unwrap();

    let second = world.submit(r#"{"a":2}"#).await;

    let Submission::Answered(Answer::Statement(said)) = second else { panic!("{second:?}") };
    assert_eq!((said.code.as_str(), said.retry_after_ms.is_some()), ("too_many_pending", true));
    assert_eq!(world.db.store.audit().unsealed().await.unwrap(), before + 1);
    let joined = world.call(r#"{"a":1}"#).await;
    assert_eq!(joined.approval.id, first.approval.id, "attaching consumes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_too_many_calls_are_being_stored_a_further_one_is_told_so_by_the_limits_name() {
    let world = World::with("[approvals]\nmax_submitting_per_agent = 1").await;
    world.broker.know_peers().await.unwrap();
    // What is stored waits until it is let go.
    let locked = world.db.locked("approvals").await;
    let [one, other] = [r#"{"a":1}"#, r#"{"a":2}"#].map(|args| Box::pin(world.submit(args)));

    let (first, other) = futures_util::future::select(one, other).await.factor_first();

    let Submission::Answered(Answer::Statement(said)) = first else { panic!("{first:?}") };
    assert_eq!(said.code.as_str(), "too_many_pending");
    assert!(said.retry_after_ms.is_some_and(|wait| wait > 0));
    assert!(said.text.contains("approvals.max_submitting_per_agent"), "{}", said.text);
    drop(locked);
    let other = other.await;
    assert!(matches!(other, Submission::Held(_)), "{other:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_held_requests_a_call_is_stored_and_handed_over_at_once() {
    let world = World::with("[approvals]\nmax_held_per_agent = 1").await;
    let _held = world.call(r#"{"a":1}"#).await;

    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();

    assert_eq!(holding.word().await, "approval_pending");
    assert_eq!(world.stored(&id).await.state, State::Pending);
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_above_their_limit_are_refused_by_name() {
    let world = World::with("[approvals]\nmax_arguments = 10").await;

    let refused = world.submit(r#"{"a":"0123456789"}"#).await;

    assert!(matches!(refused, Submission::Invalid(why) if why.contains("approvals.max_arguments")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_to_decide_is_checked_before_the_reason() {
    let world = World::new().await;
    let id = world.call("{}").await.approval.id.clone();
    let say = async |who: &str, choice, reason: &str, digest: Option<&str>| {
        let verdict = DecisionRequest {
            choice,
            reason: reason.to_owned(),
            digest: digest.map(str::to_owned),
            via: Via::Api,
            assurance: Assurance::Session,
        };
        let said = world.broker.decide(&id, world.config.reviewer(who).unwrap(), verdict).await;
        match said {
            Ok(approval) => approval.state.to_string(),
            Err(DecideError::Refused { refusal, .. }) => format!("{refusal:?}"),
            Err(DecideError::Invalid(_)) => "invalid".to_owned(),
            Err(other) => format!("{other:?}").split('(').next().unwrap().to_owned(),
        }
    };
    let long = "x".repeat(MAX_REASON + 1);

    assert_eq!(say("cleo", Choice::Approve, &long, None).await, "Auditor");
    assert_eq!(say("ana", Choice::Approve, &long, None).await, "OwnAgent");
    assert_eq!(say("ben", Choice::Approve, &long, None).await, "invalid");
    assert_eq!(say("ben", Choice::Reject, &long, None).await, "invalid");
    assert_eq!(say("ben", Choice::Approve, "", Some("sha256:0")).await, "DigestMismatch");
    assert_eq!(say("ana", Choice::Reject, "", None).await, "rejected", "a reason is optional");
    assert_eq!(say("ana", Choice::Reject, "", None).await, "rejected");
    assert_eq!(say("ben", Choice::Approve, "", None).await, "AlreadyDecided(Rejected)");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_is_recorded_with_masked_arguments() {
    let world = World::new().await;
    world.call(r#"{"user":"u1","password":"hunter2"}"#).await;
    world.db.store.audit().seal(100).await.unwrap();

    let records = world.db.store.audit().list(0, 100).await.unwrap();

    let requested = records.iter().find(|r| r.kind == "approval_requested").unwrap();
    assert!(requested.data.contains(r#""user":"u1""#), "{}", requested.data);
    assert!(!requested.data.contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstreams_state_comes_back_sealed_and_passes_once() {
    let world = World::new().await;
    let raw = r#"{"resultType":"input_required","inputRequests":{},"requestState":"up-1"}"#;
    world.upstream.next([Does::Answers(raw.to_owned())]);
    let holding = world.call("{}").await;
    world.approve(&holding.approval.id).await;
    let said = holding.word().await;
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let sealed = said["requestState"].as_str().unwrap();
    assert!(!sealed.contains("up-1"));
    let retry = |state: &str, args: &str| {
        format!(
            r#"{{"name":"delete_image_set","arguments":{args},"requestState":"{state}","inputResponses":{{}}}}"#
        )
    };
    let ask = async |params: &str| world.broker.submit(world.asking(params)).await;
    let is_refused = |s: &Submission| matches!(s, Submission::Invalid(_));

    assert!(is_refused(&ask(&retry("up-1", "{}")).await));
    assert!(is_refused(&ask(&retry(sealed, r#"{"a":1}"#)).await));
    assert!(is_refused(&ask(&retry(&sealed.replacen('e', "f", 1), "{}")).await));
    let bare = r#"{"name":"delete_image_set","inputResponses":{}}"#;
    assert!(is_refused(&ask(bare).await));
    let agent = world.config.agent("careful").unwrap().clone();
    let foreign =
        placet::broker::call::asking::Asking { agent, ..world.asking(&retry(sealed, "{}")) };
    assert!(is_refused(&world.broker.submit(foreign).await));

    let passed = ask(&retry(sealed, "{}")).await;
    let Submission::Forward(permit) = passed else { panic!("{passed:?}") };
    assert!(permit.call().params.contains(r#""requestState":"up-1""#));
    assert!(is_refused(&ask(&retry(sealed, "{}")).await), "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_further_round_is_judged_like_the_claim_was() {
    let asks = |approval: &str| {
        format!(
            r#"{{"version":"1","tools":{{"delete_image_set":{{"action":"require_approval","approval":{approval}}}}}}}"#
        )
    };
    for change in ["quorum", "reviewers", "redefined", "nothing"] {
        let world = World::new().await;
        let raw = r#"{"resultType":"input_required","inputRequests":{},"requestState":"up-1"}"#;
        world.upstream.next([Does::Answers(raw.to_owned())]);
        let holding = world.call("{}").await;
        world.approve(&holding.approval.id).await;
        let said: serde_json::Value = serde_json::from_str(&holding.word().await).unwrap();
        let state = said["requestState"].as_str().unwrap();
        match change {
            "quorum" => world.policy(&asks(r#"{"quorum":2}"#)),
            "reviewers" => world.policy(&asks(r#"{"reviewers":["dora"]}"#)),
            "redefined" => world.upstream.lists_next(&[("delete_image_set", "2")]),
            _ => {}
        }

        let params = format!(
            r#"{{"name":"delete_image_set","arguments":{{}},"requestState":"{state}","inputResponses":{{}}}}"#
        );
        let round = world.broker.submit(world.asking(&params)).await;

        match round {
            Submission::Forward(_) => assert_eq!(change, "nothing"),
            Submission::Answered(Answer::Statement(said)) => {
                assert_ne!(change, "nothing");
                assert_eq!(said.code.as_str(), "approval_cancelled", "{change}");
            }
            other => panic!("{change}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_further_round_that_can_not_be_judged_now_may_come_again() {
    let world = World::new().await;
    let raw = r#"{"resultType":"input_required","inputRequests":{},"requestState":"up-1"}"#;
    world.upstream.next([Does::Answers(raw.to_owned())]);
    let holding = world.call("{}").await;
    world.approve(&holding.approval.id).await;
    let said: serde_json::Value = serde_json::from_str(&holding.word().await).unwrap();
    let params = format!(
        r#"{{"name":"delete_image_set","arguments":{{}},"requestState":"{}","inputResponses":{{}}}}"#,
        said["requestState"].as_str().unwrap()
    );
    world.upstream.forgets_its_list(false);

    let first = world.broker.submit(world.asking(&params)).await;
    world.upstream.lists(&[("delete_image_set", "1")]);
    let second = world.broker.submit(world.asking(&params)).await;

    assert!(matches!(first, Submission::Answered(Answer::Statement(_))), "{first:?}");
    assert!(matches!(second, Submission::Forward(_)), "{second:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn admins_and_who_approved_may_withdraw_before_the_claim() {
    let world = World::new().await;
    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();
    holding.gone.cancel();
    holding.ended().await;
    let who = |name: &str| world.config.reviewer(name).unwrap();
    let forbidden = world.broker.cancel(&id, who("ben"), "").await;
    let refused = Refusal::NotTheirsToWithdraw;
    assert!(matches!(forbidden, Err(DecideError::Refused { refusal, .. }) if refusal == refused));
    world.approve(&id).await;
    let stranger = world.broker.cancel(&id, who("eve"), "").await;
    assert!(matches!(stranger, Err(DecideError::Refused { refusal, .. }) if refusal == refused));

    world.broker.cancel(&id, who("ben"), "mistake").await.unwrap();

    assert_eq!(world.answered("{}").await, "approval_cancelled");
    let again = world.broker.cancel(&id, who("dora"), "").await;
    assert!(matches!(again, Err(DecideError::Refused { refusal: Refusal::NotCancellable(_), .. })));
}
