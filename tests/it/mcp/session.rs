//! Legacy sessions: how they begin and end, and whose they are.

mod cancellation;
pub(super) mod http_sse;
mod resumability;
pub(super) mod server_requests;

use std::sync::Arc;

use placet::domain::policy::Policy;
use reqwest::Method;

use crate::support::placet::{ANN, Agent, BOB, Era, Stream, got};
use crate::support::until;

use super::usual;

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

#[tokio::test]
async fn the_thirty_third_session_of_a_token_is_refused_until_one_ends() {
    let (placet, _fake) = usual().await;
    let agent = placet.agent(ANN, none());
    let first = placet.legacy(ANN).await;
    for _ in 1..placet::mcp::MAX_SESSIONS_PER_AGENT {
        assert_eq!(agent.initialize("2025-11-25").await.status, 200);
    }

    assert_eq!(agent.initialize("2025-11-25").await.status, 429);

    assert_eq!(placet.agent(BOB, none()).initialize("2025-11-25").await.status, 200);
    got(first.http(Method::DELETE)).await;
    assert_eq!(agent.initialize("2025-11-25").await.status, 200);
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
