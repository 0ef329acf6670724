//! Subscriptions to resources.

use std::time::Duration;

use serde_json::json;

use super::{Server, clients, done, ear, heard, pairings, placet};
use crate::support::placet::{ANN, Stream, got};
use crate::support::soon;

const UPDATED: &str = "notifications/resources/updated";

#[tokio::test]
async fn who_subscribed_hears_of_its_resource_and_nobody_else() {
    for (server, placet) in pairings(done).await {
        for (n, agent) in clients(&placet).await.into_iter().enumerate() {
            let other = placet.both(ANN).await[n].clone();
            let mut stream = ear(&agent, &server, "7", &["a:1"]).await;
            let mut elsewhere = ear(&other, &server, "8", &["a:2"]).await;
            server.watches(&["a:1", "a:2"]).await;

            server.tell_updated("a:3");
            server.tell_updated("a:2");
            server.tell_updated("a:1/below");
            server.tell_updated("a:1");

            let (method, params) = heard(&mut stream).await;
            assert_eq!((method.as_str(), &params["uri"]), (UPDATED, &json!("a:1/below")));
            let (_, params) = heard(&mut stream).await;
            assert_eq!(params["uri"], "a:1");
            let tag = &params["_meta"]["io.modelcontextprotocol/subscriptionId"];
            assert_eq!(*tag, if n == 1 { json!(7) } else { json!(null) });
            assert_eq!(heard(&mut elsewhere).await.1["uri"], "a:2");

            drop(stream);
            drop(elsewhere);
            if n == 0 {
                for (agent, uri) in [(&agent, "a:1"), (&other, "a:2")] {
                    let params = json!({"uri": uri}).to_string();
                    got(agent.request("9", "resources/unsubscribe", &params)).await;
                }
            }
            server.watches(&[]).await;
        }
        placet.end().await;
    }
}

#[tokio::test]
async fn a_resource_stays_subscribed_until_the_last_session_leaves_it() {
    for (server, placet) in pairings(done).await {
        let [first, _] = clients(&placet).await;
        let second = placet.legacy(ANN).await;
        let mut stream = ear(&first, &server, "1", &["a:1"]).await;
        let silent = ear(&second, &server, "2", &["a:1"]).await;

        let params = json!({"uri": "a:1"}).to_string();
        got(second.request("3", "resources/unsubscribe", &params)).await;
        server.tell_updated("a:1");
        assert_eq!(heard(&mut stream).await.1["uri"], "a:1");
        assert_eq!(server.watched(), ["a:1"]);

        // The end of the session ends what it asked for.
        drop((stream, silent));
        got(first.http(reqwest::Method::DELETE)).await;
        server.watches(&[]).await;
        placet.end().await;
    }
}

#[tokio::test]
async fn what_is_kept_for_a_session_that_ended_elsewhere_is_let_go() {
    for (server, placet) in pairings(done).await {
        let [agent, _] = clients(&placet).await;
        let params = json!({"uri": "a:1"}).to_string();
        got(agent.request("1", "resources/subscribe", &params)).await;
        server.watches(&["a:1"]).await;
        placet.mcp.forget_ended().await.unwrap();
        assert_eq!(server.watched(), ["a:1"], "it lives");

        // As another broker would, or the sweep of those that nobody uses.
        placet.raw("delete from client_sessions").await;
        placet.mcp.forget_ended().await.unwrap();

        server.watches(&[]).await;
        placet.end().await;
    }
}

#[tokio::test]
async fn what_the_server_refuses_is_not_acknowledged_and_answered_with_its_error() {
    for (server, placet) in pairings(done).await {
        let [old, new] = clients(&placet).await;

        let params = json!({"uri": "a:refused"}).to_string();
        let refused = got(old.request("1", "resources/subscribe", &params)).await;
        let expected = if server.is_modern { -32602 } else { -32002 };
        assert_eq!(refused.error(), expected, "{refused:?}");

        let wanted = json!({"notifications": {"resourceSubscriptions": ["a:refused", "a:1"]}});
        let request = new.request("2", "subscriptions/listen", &wanted.to_string());
        let mut stream = Stream::open(request).await;
        let ack = stream.message().await.unwrap();
        let honoured = &ack["params"]["notifications"];
        assert_eq!(*honoured, json!({"resourceSubscriptions": ["a:1"]}));
        drop(stream);
        server.watches(&[]).await;
        placet.end().await;
    }
}

#[tokio::test]
async fn subscriptions_are_made_anew_when_the_connection_was() {
    for era in 0..2 {
        for (server, placet) in pairings(done).await {
            let agent = clients(&placet).await[era].clone();
            let mut stream = ear(&agent, &server, "1", &["a:1"]).await;
            let before = server.fake.seen_of("subscriptions/listen").len();
            *server.forgets.lock().unwrap() = Some("s1".to_owned());
            server.feed.cut();

            // Whatever changed meanwhile was not heard; only the tools are known not to have changed.
            let mut methods = Vec::new();
            while methods.len() < 3 {
                methods.push(heard(&mut stream).await.0);
            }
            assert!(methods.iter().any(|m| m == UPDATED), "{methods:?}");
            if server.is_modern {
                assert!(server.fake.seen_of("subscriptions/listen").len() > before);
            } else {
                let again = server.fake.seen_of("resources/subscribe");
                assert!(again.iter().any(|s| s.header("mcp-session-id") == "s2"));
            }
            // Whenever its stream is open again.
            let again = async {
                loop {
                    server.tell_updated("a:1");
                    let next = heard(&mut stream);
                    let next = tokio::time::timeout(Duration::from_millis(100), next).await;
                    if next.is_ok_and(|(method, _)| method == UPDATED) {
                        break;
                    }
                }
            };
            soon("the server is heard again", again).await;
            drop(stream);
            placet.end().await;
        }
    }
}

#[tokio::test]
async fn a_body_that_is_no_filter_is_refused() {
    let server = Server::start(false, done).await;
    let placet = placet(&server).await;
    let agent = placet.modern(ANN);

    for wrong in [
        json!({}),
        json!({"notifications": 1}),
        json!({"notifications": {"toolsListChanged": "yes"}}),
        json!({"notifications": {"resourceSubscriptions": "a:1"}}),
    ] {
        let refused = got(agent.request("4", "subscriptions/listen", &wrong.to_string())).await;
        assert_eq!((refused.error(), &refused.json()["id"]), (-32602, &json!(4)), "{wrong}");
    }
    placet.end().await;
}
