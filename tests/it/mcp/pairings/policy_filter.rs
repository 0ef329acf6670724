//! What the policy lets clients watch, and the one address for everything.

use std::time::Duration;

use serde_json::{Value, json};

use super::{OWN_STREAMS, Server, clients, done, heard};
use crate::support::placet::{ANN, Agent, Era, Placet, Stream, got};
use crate::support::{soon, until};

/// A server is told again to speak if its stream was not open yet.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

const POLICY: &str = r#"{"version":"1","default":"allow","resources":{
    "hide":["a:hidden*"],"rules":{"a:denied*":{"action":"deny"}}}}"#;

/// Asks for these, and returns the ones that are honoured with the stream that tells of them.
async fn watch(agent: &Agent, uris: &[&str]) -> (Stream, Vec<String>) {
    if let Era::Legacy { .. } = agent.era {
        let stream = Stream::open(agent.http(reqwest::Method::GET)).await;
        let mut honoured = Vec::new();
        for uri in uris {
            let params = json!({ "uri": uri }).to_string();
            let asked = got(agent.request("1", "resources/subscribe", &params)).await;
            if asked.json()["result"].is_object() {
                honoured.push((*uri).to_owned());
            }
        }
        return (stream, honoured);
    }
    let wanted = json!({"notifications": {"resourceSubscriptions": uris}}).to_string();
    let mut stream = Stream::open(agent.request("1", "subscriptions/listen", &wanted)).await;
    let ack = stream.message().await.unwrap();
    let list = ack["params"]["notifications"]["resourceSubscriptions"].clone();
    let list = list.as_array().cloned().unwrap_or_default();
    (stream, list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

#[tokio::test]
async fn nobody_watches_what_the_policy_denies_or_hides() {
    for is_modern in [false, true] {
        let server = Server::start(is_modern, done).await;
        let placet = Placet::before(&server.fake.url).policy(POLICY).start().await;
        for agent in clients(&placet).await {
            let asked = ["a:hidden", "a:denied", "A:%68idden", "a:1"];
            let (mut stream, honoured) = watch(&agent, &asked).await;
            assert_eq!(honoured, ["a:1"]);
            until("the server is heard", async || server.feed.streams() > OWN_STREAMS).await;
            server.watches(&["a:1"]).await;

            // Whatever the server says of its own accord.
            for uri in ["a:hidden", "a:denied/x", "a:1"] {
                server.tell_updated(uri);
            }
            assert_eq!(heard(&mut stream).await.1["uri"], "a:1");
            drop(stream);
            if let Era::Legacy { .. } = agent.era {
                got(agent.http(reqwest::Method::DELETE)).await;
            }
            server.watches(&[]).await;
        }
        for seen in server.fake.seen() {
            let said = seen.body.to_ascii_lowercase();
            assert!(!said.contains("hidden") && !said.contains("denied"), "{said}");
        }
        placet.end().await;
    }
}

#[tokio::test]
async fn at_the_one_address_a_resource_is_told_in_the_form_it_was_asked_for() {
    for is_modern in [false, true] {
        let list = move |seen: &crate::support::fake_http::Seen| match seen.method().as_str() {
            "resources/list" => crate::support::fake_http::result(
                r#"{"resources":[{"uri":"a:1","name":"one"}],"resultType":"complete","ttlMs":0,"cacheScope":"private"}"#,
            ),
            "resources/templates/list" => crate::support::fake_http::result(
                r#"{"resourceTemplates":[],"resultType":"complete","ttlMs":0,"cacheScope":"private"}"#,
            ),
            _ => done(seen),
        };
        let server = Server::start(is_modern, list).await;
        let placet = super::placet(&server).await;
        let agent = placet.modern(ANN).whole();

        // The same server stands behind both names, and the first owns the URI.
        let asked = || {
            let listens = server.fake.seen_of("subscriptions/listen");
            let listens = listens.iter().filter(|s| s.body.contains("a:1")).count();
            listens + server.fake.seen_of("resources/subscribe").len()
        };
        for (form, other) in [("a:1", "other+a:1"), ("other+a:1", "a:1")] {
            let before = asked();
            let (mut stream, honoured) = watch(&agent, &[form]).await;
            assert_eq!(honoured, [form]);
            until("the server is asked", async || asked() > before).await;

            let told = async {
                loop {
                    server.tell_updated("a:1");
                    let next = heard(&mut stream);
                    if let Ok(told) = tokio::time::timeout(AGAIN_AFTER, next).await {
                        break told;
                    }
                }
            };
            let told = soon("the server is heard", told).await;
            assert_eq!(told.1["uri"], form, "and not as {other}");
        }
        placet.end().await;
    }
}
