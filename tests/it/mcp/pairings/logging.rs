//! Log levels and log messages.

use serde_json::{Value, json};

use super::{Server, clients, pairings, placet};
use crate::support::fake_http::{Answer, Seen, event};
use crate::support::placet::{ANN, Agent, Stream, got};

/// A call during which the server logs at three levels.
fn talkative(seen: &Seen) -> Answer {
    if seen.method() != "tools/call" {
        return Answer::Status(202);
    }
    let log = |level: &str| {
        event(&format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"{level}","data":1.00}}}}"#
        ))
    };
    let answer = event(r#"{"jsonrpc":"2.0","id":$ID,"result":{"content":[]}}"#);
    Answer::Stream(vec![log("debug"), log("info"), log("error"), answer])
}

/// The levels of the messages that a call brought.
fn levels(said: &[Value]) -> Vec<&str> {
    let messages = said.iter().filter(|m| m["method"] == "notifications/message");
    messages.map(|m| m["params"]["level"].as_str().unwrap()).collect()
}

async fn logged(agent: &Agent, level: &str) -> Vec<Value> {
    let meta = [("io.modelcontextprotocol/logLevel", format!("\"{level}\""))];
    let request = agent.request_with("1", "tools/call", r#"{"name":"open","arguments":{}}"#, &meta);
    Stream::open(request).await.rest().await
}

#[tokio::test]
async fn a_modern_client_hears_the_log_it_asked_for_and_no_other() {
    for (server, placet) in pairings(talkative).await {
        let agent = placet.modern(ANN);

        let silent = got(agent.call("1", "open", "{}")).await;
        assert!(silent.header("content-type").starts_with("application/json"), "{silent:?}");
        let said = logged(&agent, "info").await;
        assert_eq!(levels(&said), ["info", "error"]);

        if server.is_modern {
            let sent = server.fake.seen_of("tools/call").pop().unwrap().body;
            assert!(sent.contains(r#""io.modelcontextprotocol/logLevel":"info""#), "{sent}");
        } else {
            let set = server.fake.seen_of("logging/setLevel");
            assert_eq!(set.len(), 1);
            assert!(set[0].body.contains(r#""level":"info""#));
            // The same level again needs no word, another does.
            logged(&agent, "info").await;
            assert_eq!(server.fake.seen_of("logging/setLevel").len(), 1);
            assert_eq!(levels(&logged(&agent, "debug").await), ["debug", "info", "error"]);
            assert_eq!(server.fake.seen_of("logging/setLevel").len(), 2);
        }
        let wrong = agent.request_with(
            "2",
            "tools/call",
            r#"{"name":"open"}"#,
            &[("io.modelcontextprotocol/logLevel", "\"loud\"".to_owned())],
        );
        let refused = got(wrong).await;
        assert_eq!((refused.status, refused.error()), (400, -32602));
        placet.end().await;
    }
}

#[tokio::test]
async fn a_legacy_session_hears_the_log_at_its_own_level() {
    for (server, placet) in pairings(talkative).await {
        let [first, _] = clients(&placet).await;
        let second = placet.legacy(ANN).await;
        let set = async |agent: &Agent, level: &str| {
            let params = json!({"level": level}).to_string();
            got(agent.request("1", "logging/setLevel", &params)).await
        };

        assert_eq!(set(&first, "error").await.json()["result"], json!({}));
        assert_eq!(set(&second, "debug").await.json()["result"], json!({}));
        assert_eq!(set(&second, "loud").await.error(), -32602);
        // The lowest that anybody wants is what the server is told, each hears its own.
        let of_first = Stream::open(first.call("2", "open", "{}")).await.rest().await;
        let of_second = Stream::open(second.call("2", "open", "{}")).await.rest().await;
        assert_eq!(levels(&of_first), ["error"]);
        assert_eq!(levels(&of_second), ["debug", "info", "error"]);

        let told = server.fake.seen_of("logging/setLevel");
        if server.is_modern {
            assert!(told.is_empty());
            let sent = server.fake.seen_of("tools/call")[0].body.clone();
            assert!(sent.contains(r#""io.modelcontextprotocol/logLevel":"error""#), "{sent}");
        } else {
            let last = told.last().unwrap().body.clone();
            assert!(last.contains("debug"), "{last}");
            // Who leaves wants nothing any more.
            got(second.http(reqwest::Method::DELETE)).await;
            set(&first, "error").await;
            let last = server.fake.seen_of("logging/setLevel").pop().unwrap().body;
            assert!(last.contains("error"), "{last}");
        }
        placet.end().await;
    }
}

#[tokio::test]
async fn messages_beside_requests_reach_a_session_that_listens_at_its_level() {
    let server = Server::start(false, talkative).await;
    let placet = placet(&server).await;
    let agent = placet.legacy(ANN).await;
    let mut stream = super::ear(&agent, &server, "1", &[]).await;
    got(agent.request("1", "logging/setLevel", r#"{"level":"warning"}"#)).await;

    server.tell("notifications/message", &json!({"level": "info", "data": 1}));
    server.tell("notifications/message", &json!({"level": "alert", "data": 2}));

    assert_eq!(super::heard(&mut stream).await.1["data"], 2);
    placet.end().await;
}
