//! Clients that cancel, leave or come back: only detached, and never cheated of an end.

use reqwest::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::fake_http::{Answer, event};
use crate::support::placet::{ANN, Placet, Stream, WYN, got};
use crate::support::{soon, until};

use crate::mcp::{legacy, usual};

async fn nobody_waits(placet: &Placet) {
    until("nobody waits any more", async || {
        placet.approvals("pending").await.iter().all(|a| a["waiting"] == false)
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_request_is_only_detached_and_only_its_own_session_cancels_it() {
    let (placet, fake) = usual().await;
    let agent = placet.legacy(ANN).await;
    let other = placet.legacy(ANN).await;
    let mut stream = Stream::open(agent.call("5", "gated", "{}")).await;
    placet.approval("pending").await;

    other.notify("notifications/cancelled", r#"{"requestId":5}"#).await;
    assert!(stream.next().await.is_some() && stream.next().await.is_some());
    assert_eq!(placet.approval("pending").await["waiting"], true);

    let accepted = agent.notify("notifications/cancelled", r#"{"requestId":5}"#).await;
    assert_eq!(accepted.status, 202);
    let said: Vec<Value> = stream.rest().await;
    assert!(said.is_empty(), "{said:?}");
    nobody_waits(&placet).await;

    // Still decidable, and its end is the answer of the next identical call.
    let id = placet.decide("reject").await;
    let owed = got(agent.call("6", "gated", "{}")).await;
    assert_eq!(owed.decision()["approval"].as_str(), Some(id.as_str()));
    assert!(fake.seen_of("tools/call").is_empty());
    placet.end().await;
}

#[tokio::test]
async fn a_cancelled_request_without_a_stream_gets_no_answer_either() {
    let (placet, _fake) = usual().await;
    let agent = placet.legacy(ANN).await;
    let call = tokio::spawn(got(agent.plain().call("\"j\"", "gated", "{}")));
    placet.approval("pending").await;

    agent.notify("notifications/cancelled", r#"{"requestId":"j"}"#).await;

    let answer = call.await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (202, ""));
    nobody_waits(&placet).await;
    placet.end().await;
}

#[tokio::test]
async fn a_client_that_leaves_is_detached_and_its_approved_call_waits_for_it() {
    let (placet, fake) = usual().await;

    for agent in placet.both(ANN).await {
        let before = fake.seen_of("tools/call").len();
        drop(Stream::open(agent.call("1", "gated", "{}")).await);
        nobody_waits(&placet).await;
        placet.decide("approve").await;
        assert_eq!(fake.seen_of("tools/call").len(), before);

        let answer = got(agent.call("2", "gated", "{}")).await;
        assert_eq!(answer.code(), "approved");
        assert_eq!(fake.seen_of("tools/call").len(), before + 1);

        let call = tokio::spawn(got(agent.plain().call("3", "gated", "{}")));
        placet.approval("pending").await;
        call.abort();
        nobody_waits(&placet).await;
        placet.decide("approve").await;
        assert_eq!(got(agent.call("4", "gated", "{}")).await.code(), "approved");
    }
    placet.end().await;
}

#[tokio::test]
async fn an_agent_that_wants_it_has_its_pending_approval_withdrawn_with_its_last_request() {
    let (placet, _fake) = usual().await;

    for agent in placet.both(WYN).await {
        let first = Stream::open(agent.call("1", "gated", "{}")).await;
        let second = Stream::open(agent.call("2", "gated", "{}")).await;
        let id = placet.approval("pending").await["id"].clone();
        drop(first);
        assert_eq!(placet.approval("pending").await["id"], id);
        drop(second);

        until("it is withdrawn", async || {
            placet.approvals("cancelled").await.iter().any(|a| a["id"] == id)
        })
        .await;
        // Its end is owed: the next identical call hears of it.
        assert_eq!(got(agent.call("3", "gated", "{}")).await.code(), "approval_cancelled");
    }
    placet.end().await;
}

#[tokio::test]
async fn a_client_that_reads_slowly_delays_nobody_and_still_gets_its_answer() {
    let fake = legacy(|_| {
        let note = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"info","data":"{}"}}}}"#,
            "x".repeat(1 << 16)
        );
        let mut pieces = vec![event(&note); 300];
        pieces.push(event(r#"{"jsonrpc":"2.0","id":$ID,"result":{"content":[],"end":true}}"#));
        Answer::Stream(pieces)
    })
    .await;
    // A connection that takes nothing for two heartbeats is given up.
    let lines = "[approvals]\nhold = \"20s\"\nheartbeat = \"30s\"";
    let placet = Placet::before(&fake.url).with(lines).start().await;
    let agent = placet.legacy(ANN).await;
    let request = agent.call("1", "gated", "{}").build().unwrap();
    let mut head =
        format!("POST /mcp/u HTTP/1.1\r\nhost: {}\r\n", placet.base.trim_start_matches("http://"));
    for (name, value) in request.headers() {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    let body = request.body().unwrap().as_bytes().unwrap();
    head.push_str(&format!("content-length: {}\r\nconnection: close\r\n\r\n", body.len()));
    let mut socket = TcpStream::connect(placet.base.trim_start_matches("http://")).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(body).await.unwrap();

    placet.decide("approve").await;
    // Stored although nothing of it was read.
    placet.approval("completed").await;
    let mut all = Vec::new();
    soon("the end of the stream", socket.read_to_end(&mut all)).await.unwrap();

    let text = String::from_utf8_lossy(&all);
    assert!(text.contains(r#""end":true"#), "the answer is there after {} bytes", all.len());
    placet.end().await;
}

#[tokio::test]
async fn the_end_of_a_session_cancels_its_running_calls_upstream_and_no_held_ones() {
    let fake = legacy(|_| Answer::Open(Vec::new())).await;
    let placet = Placet::before(&fake.url).start().await;
    let (agent, other) = (placet.legacy(ANN).await, placet.legacy(ANN).await);
    let _held = Stream::open(agent.call("1", "gated", "{}")).await;
    placet.approval("pending").await;
    let _running = Stream::open(agent.call("2", "open", r#"{"n":1}"#)).await;
    let _others = Stream::open(other.call("3", "open", r#"{"n":2}"#)).await;
    until("both run", async || fake.seen_of("tools/call").len() == 2).await;

    assert_eq!(got(agent.http(Method::DELETE)).await.status, 204);

    until("the server was told", async || !fake.seen_of("notifications/cancelled").is_empty())
        .await;
    let calls = fake.seen_of("tools/call");
    let own = calls.iter().find(|c| c.member("params").contains("\"n\":1")).unwrap();
    nobody_waits(&placet).await;
    let told = fake.seen_of("notifications/cancelled");
    assert_eq!(told.len(), 1, "{told:?}");
    let named = format!("\"requestId\":{}", own.member("id"));
    assert!(told[0].member("params").contains(&named), "{told:?}");
    placet.end().await;
}
