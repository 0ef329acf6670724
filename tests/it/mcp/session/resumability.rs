//! Legacy clients that lose a stream and come back for the rest of it.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::fake_http::{Answer, Feed, Seen};
use crate::support::placet::{ANN, Agent, BOB, Era, Placet, Stream, WYN, got};
use crate::support::until;

use crate::mcp::{legacy, usual};

/// A GET for what came after this event.
fn after(agent: &Agent, event: &str) -> RequestBuilder {
    agent.http(Method::GET).header("last-event-id", event)
}

/// Opens a stream and reads its first event, which has an id and no data.
async fn primed(request: RequestBuilder) -> Stream {
    let mut stream = Stream::open(request).await;
    while stream.id.is_empty() {
        assert!(stream.next().await.is_some());
    }
    stream
}

/// Loses the stream; returns where.
async fn lose(placet: &Placet, stream: Stream) -> String {
    let id = stream.id.clone();
    drop(stream);
    until("nobody waits", async || {
        placet.approvals("pending").await.iter().all(|a| a["waiting"] == false)
    })
    .await;
    id
}

async fn waits(placet: &Placet) {
    until("somebody waits", async || placet.approval("pending").await["waiting"] == true).await;
}

/// Progress of the request that the server was sent so.
fn progress(seen: &Seen, n: u32) -> String {
    let params: Value = serde_json::from_str(&seen.member("params")).unwrap();
    let token = &params["_meta"]["progressToken"];
    json!({"jsonrpc": "2.0", "method": "notifications/progress",
           "params": {"progressToken": token, "progress": n}})
    .to_string()
}

#[tokio::test]
async fn a_lost_stream_of_an_allowed_call_is_read_on_and_the_call_runs_once() {
    let feed = Feed::default();
    let own = feed.clone();
    let fake = legacy(move |seen| own.after(&progress(seen, 1))).await;
    let placet = Placet::start(&fake).await;
    let agent = placet.legacy(ANN).await;
    let params = r#"{"name":"open","arguments":{},"_meta":{"progressToken":"mine"}}"#;

    let mut stream = Stream::open(agent.request("7", "tools/call", params)).await;
    assert_eq!(stream.message().await.unwrap()["params"]["progress"], 1);
    let seen = stream.id.clone();
    drop(stream);
    feed.say(&progress(&fake.seen_of("tools/call")[0], 2));
    feed.say(r#"{"jsonrpc":"2.0","id":$ID,"result":{"content":[],"n":1.00}}"#);
    let rest = Stream::open(after(&agent, &seen)).await.rest().await;

    assert_eq!(rest.len(), 2, "{rest:?}");
    assert_eq!(rest[0]["params"]["progress"], 2);
    assert_eq!(rest[1]["id"], 7);
    // The same may be asked for again: the answer could have been lost, too.
    assert_eq!(Stream::open(after(&agent, &seen)).await.rest().await, rest);
    assert_eq!(fake.seen_of("tools/call").len(), 1);
    placet.end().await;
}

#[tokio::test]
async fn a_held_call_whose_client_comes_back_waits_again_and_is_answered_once() {
    let (placet, fake) = usual().await;
    let agent = placet.legacy(ANN).await;
    let stream = primed(agent.call("5", "gated", "{}")).await;
    let id = placet.approval("pending").await["id"].clone();
    let seen = lose(&placet, stream).await;

    let back = Stream::open(after(&agent, &seen)).await;
    waits(&placet).await;
    placet.decide("approve").await;

    let said = back.rest().await;
    let answer = &said.last().unwrap()["result"]["_meta"]["io.placet/decision"];
    assert_eq!((&answer["code"], &answer["approval"]), (&"approved".into(), &id));
    assert_eq!(said.last().unwrap()["id"], 5);
    assert_eq!(fake.seen_of("tools/call").len(), 1);
    // It was told: the identical call asks anew.
    let again = Stream::open(agent.call("6", "gated", "{}")).await;
    assert_ne!(placet.approval("pending").await["id"], id);
    drop(again);
    placet.end().await;
}

#[tokio::test]
async fn what_is_approved_while_the_client_is_away_runs_when_it_is_back() {
    let (placet, fake) = usual().await;
    let agent = placet.legacy(ANN).await;
    let stream = primed(agent.call("5", "gated", "{}")).await;
    placet.approval("pending").await;
    let seen = lose(&placet, stream).await;

    placet.decide("approve").await;
    assert!(fake.seen_of("tools/call").is_empty());
    let said = Stream::open(after(&agent, &seen)).await.rest().await;

    assert_eq!(said.last().unwrap()["result"]["_meta"]["io.placet/decision"]["code"], "approved");
    assert_eq!(fake.seen_of("tools/call").len(), 1);
    placet.end().await;
}

#[tokio::test]
async fn an_end_that_reached_nobody_stays_owed_and_the_lost_request_hears_of_it_all_the_same() {
    let (placet, fake) = usual().await;
    let agent = placet.legacy(ANN).await;
    let stream = primed(agent.call("5", "gated", "{}")).await;
    placet.approval("pending").await;
    let seen = lose(&placet, stream).await;
    let id = placet.decide("approve").await;

    // The identical call claims it, and is told.
    let answer = got(agent.call("6", "gated", "{}")).await;
    assert_eq!(answer.decision()["approval"].as_str(), Some(id.as_str()));
    // The lost request was for this very approval: it asks nobody anew and runs nothing again.
    let said = Stream::open(after(&agent, &seen)).await.rest().await;
    let decision = &said.last().unwrap()["result"]["_meta"]["io.placet/decision"];
    assert_eq!(decision["approval"].as_str(), Some(id.as_str()));
    assert_eq!(decision["replayed"], true);
    assert!(placet.approvals("pending").await.is_empty());
    assert_eq!(fake.seen_of("tools/call").len(), 1);
    placet.end().await;
}

#[tokio::test]
async fn a_withdrawn_approval_is_what_a_client_comes_back_to() {
    let (placet, _fake) = usual().await;
    let agent = placet.legacy(WYN).await;
    let stream = primed(agent.call("5", "gated", "{}")).await;
    placet.approval("pending").await;
    let seen = lose(&placet, stream).await;
    placet.approval("cancelled").await;

    let said = Stream::open(after(&agent, &seen)).await.rest().await;

    let decision = &said.last().unwrap()["result"]["_meta"]["io.placet/decision"];
    assert_eq!(decision["code"], "approval_cancelled");
    placet.end().await;
}

#[tokio::test]
async fn a_stream_is_found_only_within_its_own_session() {
    let (placet, _fake) = usual().await;
    let agent = placet.legacy(ANN).await;
    let stream = primed(agent.call("5", "gated", "{}")).await;
    placet.approval("pending").await;
    let seen = lose(&placet, stream).await;

    let sibling = placet.legacy(ANN).await;
    assert_eq!(got(after(&sibling, &seen)).await.status, 400);
    let other = placet.agent(BOB, agent.era.clone());
    assert_eq!(got(after(&other, &seen)).await.status, 404);
    let (stream_of, _) = seen.rsplit_once('.').unwrap();
    for wrong in ["", "x", ".", stream_of, &format!("{stream_of}.x"), &format!("{stream_of}.999")] {
        assert_eq!(got(after(&agent, wrong)).await.status, 400, "{wrong}");
    }
    // None of that was the client coming back.
    assert_eq!(placet.approval("pending").await["waiting"], false);
    let deleted = got(agent.http(Method::DELETE)).await;
    assert_eq!(deleted.status, 204);
    assert_eq!(got(after(&agent, &seen)).await.status, 404);
    placet.end().await;
}

#[tokio::test]
async fn a_request_that_was_cancelled_is_not_taken_up_again() {
    let (placet, _fake) = usual().await;
    let agent = placet.legacy(ANN).await;
    let stream = primed(agent.call("5", "gated", "{}")).await;
    placet.approval("pending").await;
    let seen = lose(&placet, stream).await;

    agent.notify("notifications/cancelled", r#"{"requestId":5}"#).await;

    let said = Stream::open(after(&agent, &seen)).await.rest().await;
    assert!(said.is_empty(), "{said:?}");
    assert_eq!(placet.approval("pending").await["waiting"], false);
    placet.end().await;
}

#[tokio::test]
async fn a_second_connection_takes_the_stream_over_from_the_first() {
    let (placet, _fake) = usual().await;
    let agent = placet.legacy(ANN).await;
    let first = primed(agent.call("5", "gated", "{}")).await;
    placet.approval("pending").await;

    let second = Stream::open(after(&agent, &first.id)).await;
    assert!(first.rest().await.is_empty());
    assert_eq!(placet.approval("pending").await["waiting"], true);
    placet.decide("reject").await;

    let said = second.rest().await;
    let decision = &said.last().unwrap()["result"]["_meta"]["io.placet/decision"];
    assert_eq!(decision["code"], "approval_rejected");
    placet.end().await;
}

#[tokio::test]
async fn older_revisions_and_a_window_of_nought_get_streams_without_ids() {
    let fake = legacy(crate::mcp::done).await;
    let on = Placet::start(&fake).await;
    let off = Placet::before(&fake.url).with("[server]\nresume_window = \"0s\"").start().await;
    let opened = on.agent(ANN, Era::Legacy { session: None }).initialize("2025-06-18").await;
    let old = on.agent(ANN, Era::Legacy { session: Some(opened.header("mcp-session-id")) });

    for (placet, agent) in [(&on, old), (&off, off.legacy(ANN).await)] {
        let mut stream = Stream::open(agent.call("5", "gated", "{}")).await;
        placet.approval("pending").await;
        for _ in 0..3 {
            assert!(stream.next().await.is_some());
        }
        assert_eq!(stream.id, "");
    }
    on.end().await;
    off.end().await;
}

#[tokio::test]
async fn a_client_that_comes_back_too_late_finds_nothing() {
    let lines = "[server]\nresume_window = \"1ms\"";
    let fake = legacy(crate::mcp::done).await;
    let placet = Placet::before(&fake.url).with(lines).start().await;
    let agent = placet.legacy(ANN).await;
    let stream = primed(agent.call("5", "gated", "{}")).await;
    placet.approval("pending").await;
    let seen = lose(&placet, stream).await;

    // Whoever asks in time has come back, and may leave again.
    until("it is forgotten", async || after(&agent, &seen).send().await.unwrap().status() == 400)
        .await;
    placet.end().await;
}

#[tokio::test]
async fn what_no_longer_fits_the_buffer_is_not_pretended_to_be_there() {
    let large = format!(r#"{{"content":[],"x":"{}"}}"#, "x".repeat(5000));
    let feed = Feed::default();
    let own = feed.clone();
    let fake = legacy(move |_| Answer::Fed(own.clone())).await;
    let lines = "[server]\nresume_buffer = \"1KiB\"";
    let placet = Placet::before(&fake.url).with(lines).start().await;
    let agent = placet.legacy(ANN).await;

    let mut stream = primed(agent.call("5", "open", "{}")).await;
    let seen = stream.id.clone();
    feed.say(&format!(r#"{{"jsonrpc":"2.0","id":$ID,"result":{large}}}"#));
    assert_eq!(stream.message().await.unwrap()["id"], 5);
    drop(stream);

    assert_eq!(got(after(&agent, &seen)).await.status, 400);
    placet.end().await;
}

#[tokio::test]
async fn a_session_with_too_many_streams_gets_more_that_can_not_be_read_on() {
    let (placet, _fake) = usual().await;
    let agent = placet.legacy(ANN).await;
    let mut open = Vec::new();
    for n in 0..64 {
        open.push(primed(agent.call(&n.to_string(), "gated", "{}")).await);
    }

    let mut more = Stream::open(agent.call("64", "gated", "{}")).await;

    assert!(more.next().await.is_some() && more.next().await.is_some());
    assert_eq!(more.id, "");
    placet.decide("reject").await;
    assert_eq!(more.message().await.unwrap()["id"], 64);
    for (n, mut stream) in open.into_iter().enumerate() {
        assert_eq!(stream.message().await.unwrap()["id"], n);
    }
    placet.end().await;
}
