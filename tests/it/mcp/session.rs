//! Legacy sessions: how they begin and end, and whose they are.

mod cancellation;
pub(super) mod http_sse;
mod resumability;
pub(super) mod server_requests;

use std::sync::Arc;

use placet::domain::policy::Policy;
use reqwest::Method;

use crate::support::fake_http::Fake;
use crate::support::placet::{ANN, Agent, BOB, Era, Placet, Stream, got};
use crate::support::{soon, until};

use super::{done, legacy, usual};

const fn none() -> Era {
    Era::Legacy { session: None }
}

fn session_of(agent: &Agent) -> &str {
    match &agent.era {
        Era::Legacy { session: Some(session) } => session,
        _ => panic!("no session"),
    }
}

#[tokio::test]
async fn versions_are_negotiated() {
    let (placet, _fake) = usual().await;
    let agent = placet.agent(ANN, none());

    for (asked, answered) in [
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-06-18"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
    ] {
        let answer = agent.initialize(asked).await;
        let result = &answer.json()["result"];
        assert_eq!(result["protocolVersion"], answered);
        assert_eq!(result["serverInfo"]["name"], "fake");
        assert_eq!(result["instructions"], "be kind");
        assert!(result["capabilities"]["tools"]["listChanged"].as_bool().unwrap());
        assert!(!answer.header("mcp-session-id").is_empty());
    }
    placet.end().await;
}

#[tokio::test]
async fn a_session_belongs_to_its_agent_and_upstream_and_ends_by_delete() {
    let (placet, fake) = usual().await;
    let ann = placet.legacy(ANN).await;
    let thief = placet.agent(BOB, ann.era.clone());

    assert_eq!(got(ann.request("1", "ping", "{}")).await.json()["result"], serde_json::json!({}));
    assert_eq!(got(thief.call("1", "open", "{}")).await.status, 404);
    assert_eq!(got(thief.http(Method::DELETE)).await.status, 404);
    assert_eq!(got(ann.at("other").call("1", "open", "{}")).await.status, 404);
    let none = placet.agent(ANN, none());
    assert_eq!(got(none.call("1", "open", "{}")).await.status, 400);
    let old = none
        .request("1", "ping", "{}")
        .header("mcp-session-id", session_of(&ann))
        .header("mcp-protocol-version", "1999-01-01");
    assert_eq!(got(old).await.status, 400);
    assert_eq!(ann.notify("notifications/initialized", "{}").await.status, 202);

    assert!(got(ann.http(Method::DELETE)).await.status < 300);
    assert_eq!(got(ann.call("1", "open", "{}")).await.status, 404);
    assert!(fake.seen_of("tools/call").is_empty());
    placet.end().await;
}

/// The program with at most this many sessions of one agent.
async fn with_at_most(max: u32) -> (Placet, Fake) {
    let fake = legacy(done).await;
    let lines = format!("[server]\nmax_sessions_per_agent = {max}");
    (Placet::before(&fake.url).with(&lines).start().await, fake)
}

async fn lives(agent: &Agent) -> bool {
    let status = got(agent.request("1", "ping", "{}")).await.status;
    assert!(matches!(status, 200 | 404), "{status}");
    status == 200
}

#[tokio::test]
async fn clients_that_never_say_goodbye_lock_nobody_out() {
    let (placet, _fake) = with_at_most(5).await;
    let agent = placet.agent(ANN, none());

    for n in 0..40 {
        assert_eq!(agent.initialize("2025-11-25").await.status, 200, "client {n}");
    }
    placet.end().await;
}

#[tokio::test]
async fn at_the_limit_the_session_least_recently_used_makes_room_at_once() {
    let (placet, _fake) = with_at_most(3).await;
    let bob = placet.legacy(BOB).await;
    let first = placet.legacy(ANN).await;
    let second = placet.legacy(ANN).await;
    let third = placet.legacy(ANN).await;
    assert!(lives(&first).await);

    let fourth = placet.legacy(ANN).await;

    assert!(!lives(&second).await, "its client begins anew");
    assert!(lives(&first).await && lives(&third).await && lives(&fourth).await);
    assert!(lives(&bob).await, "another agent's session");
    placet.end().await;
}

#[tokio::test]
async fn a_session_with_an_open_stream_or_request_makes_no_room() {
    let (placet, _fake) = with_at_most(3).await;
    let streaming = placet.legacy(ANN).await;
    let mut stream = Stream::open(streaming.http(Method::GET)).await;
    let holding = placet.legacy(ANN).await;
    let held = tokio::spawn(got(holding.call("1", "gated", "{}")));
    placet.approval("pending").await;

    for n in 0..4 {
        let idle = placet.legacy(ANN).await;
        assert!(lives(&idle).await, "{n}");
    }

    assert!(lives(&streaming).await && lives(&holding).await);
    assert!(stream.next().await.is_some());
    placet.decide("approve").await;
    assert_eq!(soon("the held call", held).await.unwrap().code(), "approved");
    placet.end().await;
}

#[tokio::test]
async fn only_where_all_sessions_are_busy_is_one_more_refused() {
    let (placet, _fake) = with_at_most(2).await;
    let first = placet.legacy(ANN).await;
    let open = Stream::open(first.http(Method::GET)).await;
    let second = placet.legacy(ANN).await;
    let closing = Stream::open(second.http(Method::GET)).await;
    let agent = placet.agent(ANN, none());

    let refused = agent.initialize("2025-11-25").await;
    assert_eq!(refused.status, 429);
    assert!(refused.body.contains("server.max_sessions_per_agent"), "{}", refused.body);
    assert_eq!(placet.agent(BOB, none()).initialize("2025-11-25").await.status, 200);

    drop(closing);
    until("its place is free", async || agent.initialize("2025-11-25").await.status == 200).await;
    assert!(lives(&first).await && !lives(&second).await);
    drop(open);
    placet.end().await;
}

#[tokio::test]
async fn a_get_stream_needs_a_session_and_ends_with_it() {
    let (placet, _fake) = usual().await;
    let agent = placet.legacy(ANN).await;

    assert_eq!(got(placet.agent(ANN, none()).http(Method::GET)).await.status, 405);
    assert_eq!(got(placet.modern(ANN).http(Method::GET)).await.status, 405);
    let mut stream = Stream::open(agent.http(Method::GET)).await;
    assert!(stream.next().await.is_some());
    got(agent.http(Method::DELETE)).await;

    assert!(stream.rest().await.is_empty());
    placet.end().await;
}

#[tokio::test]
async fn other_notifications_of_a_client_reach_the_upstream_and_its_own_do_not() {
    let (placet, fake) = usual().await;
    let agent = placet.legacy(ANN).await;
    got(agent.call("1", "open", "{}")).await;
    let before = fake.seen_of("notifications/initialized").len();

    agent.notify("notifications/initialized", "{}").await;
    agent.notify("notifications/roots/list_changed", r#"{"n":1.00}"#).await;

    until("the notification arrives", async || {
        !fake.seen_of("notifications/roots/list_changed").is_empty()
    })
    .await;
    assert_eq!(
        fake.seen_of("notifications/roots/list_changed")[0].member("params"),
        r#"{"n":1.00}"#
    );
    assert_eq!(fake.seen_of("notifications/initialized").len(), before);
    placet.end().await;
}

#[tokio::test]
async fn a_changed_policy_tells_who_listens_that_the_list_changed() {
    let (placet, _fake) = usual().await;
    let mut old = Stream::open(placet.legacy(ANN).await.http(Method::GET)).await;
    let wanted = r#"{"notifications":{"toolsListChanged":true}}"#;
    let mut new =
        Stream::open(placet.modern(ANN).request("3", "subscriptions/listen", wanted)).await;
    new.message().await.unwrap();
    assert!(old.next().await.is_some());

    let (policy, _) = Policy::read(r#"{"version":"1","hide":["open"]}"#).unwrap();
    placet.broker.policies().replace("u", Arc::new(policy));

    let changed = "notifications/tools/list_changed";
    assert_eq!(old.message().await.unwrap()["method"], changed);
    let told = new.message().await.unwrap();
    assert_eq!(told["method"], changed);
    assert_eq!(told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], 3);
    drop((old, new));
    placet.end().await;
}
