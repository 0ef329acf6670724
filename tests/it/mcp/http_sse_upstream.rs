//! The whole program in front of a server of 2024-11-05: what agents of both eras see of it.

use std::time::Duration;

use serde_json::Value;

use crate::support::fake_http::Seen;
use crate::support::fake_sse::{Begins, Does, FakeSse, progress_token, result, status, usual};
use crate::support::placet::{ANN, Placet, Stream, got, tool_list};
use crate::support::until;

async fn old(call: impl Fn(&Seen) -> Does + Send + Sync + 'static) -> (Placet, FakeSse) {
    let fake = FakeSse::start(404, Begins::Well, move |seen| match seen.method().as_str() {
        "tools/list" => result(&tool_list()),
        _ => usual(seen).unwrap_or_else(|| call(seen)),
    })
    .await;
    (Placet::before(&fake.url).start().await, fake)
}

fn done(_: &Seen) -> Does {
    result(r#"{"content":[{"type":"text","text":"done"}]}"#)
}

#[tokio::test]
async fn calls_are_allowed_denied_rejected_and_approved_as_ever() {
    let (placet, fake) = old(done).await;

    for agent in placet.both(ANN).await {
        let before = fake.seen_of("tools/call").len();
        let allowed = got(agent.call("1", "open", r#"{"n":1.00}"#)).await;
        assert_eq!(allowed.json()["result"]["content"][0]["text"], "done");
        assert_eq!(got(agent.call("2", "denied", "{}")).await.code(), "policy_denied");

        let unlike = format!(r#"{{"n":{before}}}"#);
        let rejected = Stream::open(agent.call("3", "gated", &unlike)).await;
        placet.decide("reject").await;
        let told = rejected.rest().await.pop().unwrap();
        assert_eq!(told["result"]["_meta"]["io.placet/decision"]["code"], "approval_rejected");

        let approved = Stream::open(agent.call("4", "gated", r#"{"n":4e0}"#)).await;
        placet.decide("approve").await;
        let told = approved.rest().await.pop().unwrap();
        assert_eq!(told["result"]["_meta"]["io.placet/decision"]["code"], "approved");

        let calls = fake.seen_of("tools/call").split_off(before);
        assert_eq!(calls.len(), 2);
        assert!(calls[0].member("params").contains(r#"{"n":1.00}"#));
        assert!(calls[1].member("params").contains(r#"{"n":4e0}"#));
    }
    placet.end().await;
}

#[tokio::test]
async fn progress_of_the_server_continues_that_of_the_heartbeats() {
    let (placet, _fake) = old(|seen| {
        let tick = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{},"progress":50,"total":60}}}}"#,
            progress_token(seen)
        );
        let done = r#"{"jsonrpc":"2.0","id":$ID,"result":{"content":[]}}"#.to_owned();
        Does { status: 202, says: vec![(Duration::ZERO, tick), (Duration::ZERO, done)], ends: false }
    })
    .await;
    let agent = placet.legacy(ANN).await;

    let mut stream = Stream::open(agent.call_with_progress("1", "gated", "\"p\"")).await;
    let mut told: Vec<Value> = vec![stream.message().await.unwrap()];
    placet.decide("approve").await;
    told.extend(stream.rest().await);

    let answer = told.pop().unwrap();
    assert_eq!(answer["result"]["_meta"]["io.placet/decision"]["code"], "approved");
    let numbers: Vec<f64> =
        told.iter().map(|m| m["params"]["progress"].as_f64().unwrap()).collect();
    assert!(numbers.windows(2).all(|w| w[0] < w[1]) && numbers.last() > Some(&50.0), "{numbers:?}");
    placet.end().await;
}

#[tokio::test]
async fn a_stream_that_breaks_while_an_approved_call_runs_leaves_it_indeterminate() {
    let (placet, fake) = old(|_| status(202)).await;
    let agent = placet.legacy(ANN).await;
    let stream = Stream::open(agent.call("1", "gated", "{}")).await;
    placet.decide("approve").await;
    until("it is posted", async || !fake.seen_of("tools/call").is_empty()).await;

    fake.end_streams();

    let told = stream.rest().await.pop().unwrap();
    assert_eq!(told["result"]["_meta"]["io.placet/decision"]["code"], "outcome_unknown");
    placet.approval("indeterminate").await;
    let again = got(agent.call("2", "gated", "{}")).await;
    assert_eq!(again.code(), "outcome_unknown");
    assert_eq!(fake.seen_of("tools/call").len(), 1, "it is never sent again");
    placet.end().await;
}

#[tokio::test]
async fn an_allowed_call_that_its_client_cancels_is_cancelled_at_the_server() {
    let (placet, fake) = old(|_| status(202)).await;
    let agent = placet.legacy(ANN).await;
    let stream = Stream::open(agent.call("5", "open", "{}")).await;

    agent.notify("notifications/cancelled", r#"{"requestId":5}"#).await;

    assert!(stream.rest().await.is_empty());
    until("the server is told", async || !fake.seen_of("notifications/cancelled").is_empty()).await;
    let named = fake.seen_of("tools/call")[0].member("id");
    let cancelled = fake.seen_of("notifications/cancelled")[0].member("params");
    assert!(cancelled.contains(&format!(r#""requestId":{named},"#)), "{cancelled}");
    placet.end().await;
}
