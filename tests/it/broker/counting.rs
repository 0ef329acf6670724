//! Limits of a rule: reserved before a call is sent, kept or given back by what became of it.

use placet::broker::call::answer::{Answer, Code, Statement};
use placet::broker::call::execute::Wishes;
use placet::broker::call::grants::Wanted;
use placet::broker::call::submit::Submission;
use placet::domain::approval::{Choice, State};
use placet::store::Store as _;
use placet::upstream::Caller;
use tokio_util::sync::CancellationToken;

use crate::support::fake_upstream::Does;
use crate::support::until;
use crate::support::world::{World, delete};

const ALLOWED: &str = r#"{"version":"1","tools":{"delete_image_set":{"action":"allow","limits":[
    {"max":2.5,"per":"1h","sum_of":"args.n","on_deny":"Not so much."}]}}}"#;
const ASKED: &str = r#"{"version":"1","tools":{"delete_image_set":{"action":"require_approval",
    "severity":"low","limits":[{"max":2,"per":"1h","counter":"deleted"}],
    "approval":{"cooldown":"0s","grant":{"max_uses":9,"max_duration":"30m"}}}}}"#;

async fn world(policy: &str) -> World {
    let world = World::new().await;
    world.policy(policy);
    world
}

/// What is used of the policy's one limit.
async fn used(world: &World) -> String {
    let all = world.broker.limits_used("images").await.unwrap().unwrap();
    all[0].used.first().map_or_else(|| "0".to_owned(), |used| used.amount.to_string())
}

/// Waits until so much is used: what is given back behind an answer takes a moment.
async fn is_used(world: &World, amount: &str) {
    until("what is used", async || used(world).await == amount).await;
}

async fn send(world: &World, submission: Submission) {
    let Submission::Forward(permit) = submission else { panic!("{submission:?}") };
    let (caller, gone) = (Caller::new("ci", None), CancellationToken::new());
    let _ = world.broker.dispatch(permit, &caller, &Wishes::default(), None, gone).await;
}

async fn call(world: &World, args: &str) {
    send(world, world.submit(args).await).await;
}

async fn refused(world: &World, args: &str) -> Statement {
    match world.submit(args).await {
        Submission::Answered(Answer::Statement(said)) => *said,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_a_limit_a_call_is_told_what_is_used_and_when_it_is_free() {
    let world = world(ALLOWED).await;
    call(&world, r#"{"n":1.5}"#).await;

    let said = refused(&world, r#"{"n":1.01}"#).await;

    assert_eq!(
        (said.code, said.rule.as_deref()),
        (Code::RateLimited, Some("/tools/delete_image_set/limits/0"))
    );
    assert_eq!(said.reason.as_deref(), Some("Not so much."));
    let wait = said.retry_after_ms.unwrap();
    assert!((3_500_000..=3_660_000).contains(&wait), "{wait}");
    for words in ["Not executed.", "1.5 of at most 2.5", "this call counts 1.01", "Not so much."] {
        assert!(said.text.contains(words), "{words} is not in {}", said.text);
    }
    call(&world, r#"{"n":1}"#).await;
    assert_eq!((used(&world).await.as_str(), world.upstream.calls()), ("2.5", 2));
    world.pass(3_660);
    call(&world, r#"{"n":2.5}"#).await;
    assert_eq!(used(&world).await, "2.5");
    world.db.store.audit().seal(100).await.unwrap();
    let records = world.db.store.audit().list(0, 100).await.unwrap();
    let limited: Vec<_> = records.iter().filter(|r| r.kind.as_str() == "call_limited").collect();
    assert_eq!(limited.len(), 1);
    assert!(limited[0].to_json().contains("/tools/delete_image_set/limits/0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_alone_is_over_its_limit_is_told_that_waiting_does_not_help() {
    let world = world(ALLOWED).await;

    for (args, why) in [
        (r#"{"n":2.51}"#, "counts 2.51 by itself, and at most 2.5 may pass"),
        (r#"{"n":-1000000}"#, "args.n is negative"),
        ("{}", "args.n is missing"),
    ] {
        let said = refused(&world, args).await;
        assert_eq!((said.code, said.retry_after_ms), (Code::PolicyDenied, None), "{args}");
        assert!(
            said.text.contains(why) && said.text.contains("Waiting does not help"),
            "{}",
            said.text
        );
    }
    assert_eq!((used(&world).await.as_str(), world.upstream.calls()), ("0", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_had_no_effect_is_given_back_and_what_nobody_knows_of_counts() {
    let world = world(ALLOWED).await;
    for (does, left) in [
        (Does::Errs(r#"{"code":1,"message":"no"}"#.to_owned()), "0"),
        (Does::Answers(r#"{"content":[],"isError":true}"#.to_owned()), "0"),
        (Does::IsAway, "0"),
        (Does::Answers(r#"{"content":[]}"#.to_owned()), "1"),
        (Does::Breaks, "2"),
    ] {
        world.upstream.next([does.clone()]);
        call(&world, r#"{"n":1}"#).await;
        assert_eq!(used(&world).await, left, "{does:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permit_that_is_never_used_gives_back_what_its_call_took() {
    let world = world(ALLOWED).await;
    let permit = world.submit(r#"{"n":1}"#).await;
    assert_eq!(used(&world).await, "1");

    drop(permit);

    is_used(&world, "0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_calls_at_once_pass_as_often_as_the_limit_says() {
    let world = world(ALLOWED).await;
    let other = world.another("node-b").await;
    other.policies().replace("images", world.broker.policies().of("images").unwrap());
    let calls: Vec<_> = (0..64)
        .map(|n| {
            let broker = if n % 2 == 0 { world.broker.clone() } else { other.clone() };
            let asking = world.asking(&delete(&format!(r#"{{"n":0.1,"i":{n}}}"#)));
            tokio::spawn(async move { broker.submit(asking).await })
        })
        .collect();
    let mut permits = Vec::new();
    for call in calls {
        match call.await.unwrap() {
            Submission::Forward(permit) => permits.push(permit),
            Submission::Answered(Answer::Statement(said)) => {
                assert_eq!(said.code, Code::RateLimited, "{}", said.text);
            }
            other => panic!("{other:?}"),
        }
    }

    assert_eq!((permits.len(), used(&world).await.as_str()), (25, "2.5"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_forgets_nothing_that_was_used() {
    let world = world(ALLOWED).await;
    call(&world, r#"{"n":2}"#).await;

    let again = world.another("node-b").await;
    again.policies().replace("images", world.broker.policies().of("images").unwrap());

    let asking = world.asking(&delete(r#"{"n":1}"#));
    assert!(matches!(again.submit(asking).await, Submission::Answered(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_counts_once_when_it_is_made_and_again_never() {
    let world = world(ASKED).await;
    let first = world.call(r#"{"a":1}"#).await;
    assert_eq!(used(&world).await, "1");
    let id = first.approval.id.clone();
    let joined = world.call(r#"{"a":1}"#).await;
    assert_eq!(used(&world).await, "1", "whoever joins counts nothing");

    world.approve(&id).await;
    assert!(first.word().await.contains("done"));
    assert!(joined.word().await.contains("done"));

    assert_eq!((used(&world).await.as_str(), world.upstream.calls()), ("1", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_approved_or_fails_gives_its_place_back() {
    let world = world(ASKED).await;
    let rejected = world.call(r#"{"a":1}"#).await;
    let second = world.call(r#"{"a":2}"#).await;
    let said = refused(&world, r#"{"a":3}"#).await;
    assert_eq!(said.code, Code::RateLimited);
    assert_eq!(said.rule.as_deref(), Some("/tools/delete_image_set/limits/0"));

    world.says("ben", Choice::Reject, &rejected.approval.id).await.unwrap();
    assert_eq!(used(&world).await, "1");
    world.upstream.next([Does::Answers(r#"{"content":[],"isError":true}"#.to_owned())]);
    world.approve(&second.approval.id).await;
    second.word().await;
    assert_eq!(used(&world).await, "0");

    let lost = world.call(r#"{"a":4}"#).await;
    world.upstream.next([Does::Breaks]);
    world.approve(&lost.approval.id).await;
    world.becomes(&lost.approval.id, State::Indeterminate).await;
    assert_eq!(used(&world).await, "1", "nobody knows whether it ran");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_grant_lets_through_counts_once_and_where_people_are_asked_after_all_too() {
    let world = world(ASKED).await;
    let holding = world.call(r#"{"a":1}"#).await;
    let id = holding.approval.id.clone();
    world.approve(&id).await;
    holding.word().await;
    let free = vec!["/a".to_owned()];
    let wanted = Wanted { uses: 5, duration: std::time::Duration::from_secs(600), free };
    world.broker.grant(&id, world.config.reviewer("ben").unwrap(), wanted).await.unwrap();

    call(&world, r#"{"a":2}"#).await;

    assert_eq!((used(&world).await.as_str(), world.upstream.calls()), ("2", 2));
    assert_eq!(refused(&world, r#"{"a":3}"#).await.code, Code::RateLimited);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rounds_of_a_call_count_once_and_nobody_makes_one_up() {
    let world = world(ALLOWED).await;
    let asks = r#"{"resultType":"input_required","requestState":"s1","inputRequests":{}}"#;
    let round = |state: &str| {
        format!(
            r#"{{"name":"delete_image_set","arguments":{{"n":1}},"requestState":"{state}","inputResponses":{{}}}}"#
        )
    };
    let submit = async |params: String| world.broker.submit(world.asking(&params)).await;
    world.upstream.next([Does::Answers(asks.to_owned()), Does::Answers(asks.replace("s1", "s2"))]);
    call(&world, r#"{"n":1}"#).await;
    assert_eq!(used(&world).await, "1");

    send(&world, submit(round("s1")).await).await;
    assert_eq!(used(&world).await, "1", "the second round");
    send(&world, submit(round("s2")).await).await;
    assert_eq!(used(&world).await, "1", "the third");

    send(&world, submit(round("s1")).await).await;
    assert_eq!(used(&world).await, "2", "a round that was made before is a call of its own");
    assert!(matches!(submit(round("invented")).await, Submission::Answered(_)));
    assert_eq!(world.upstream.calls(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_many_things_one_call_and_one_hour_may_touch() {
    let world = world(
        r#"{"version":"1","tools":{"delete_image_set":{"action":"allow","limits":[
            {"count_of":"args.ids","max":25,"per":"1h"}]}}}"#,
    )
    .await;
    let ids = |n: usize, from: usize| {
        let ids: Vec<String> = (from..from + n).map(|n| n.to_string()).collect();
        format!(r#"{{"ids":[{}]}}"#, ids.join(","))
    };

    assert_eq!(refused(&world, &ids(26, 0)).await.code, Code::PolicyDenied);
    call(&world, &ids(20, 0)).await;
    assert_eq!(refused(&world, &ids(6, 20)).await.code, Code::RateLimited);
    call(&world, &ids(5, 20)).await;
    assert_eq!(used(&world).await, "25");
    assert_eq!(refused(&world, "{}").await.code, Code::PolicyDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_over_an_approval_say_what_is_used_of_each() {
    let world = world(ASKED).await;
    let holding = world.call(r#"{"a":1}"#).await;

    let limits = world.broker.limits_over(&holding.approval).await.unwrap();

    let last = limits.last().unwrap();
    assert_eq!((last.used.as_deref(), last.max.as_str()), (Some("1"), "2"));
}
