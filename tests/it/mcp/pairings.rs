//! The four pairings of a client and a server of either era, for everything but held calls.

mod dispatch;
mod early_cancellation;
mod logging;
mod notifications;
mod policy_filter;
mod stream_limit;
mod subscriptions;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::fake_http::{self, Answer, Fake, Feed, Seen};
use crate::support::placet::{ANN, Agent, Era, Placet, Stream, tool_list};
use crate::support::{soon, until};

/// What the server says it offers.
const CAPABILITIES: &str = r#"{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"subscribe":true,"listChanged":true},"logging":{},"completions":{}}"#;

/// Streams of Placet's own at the server, one for each name that it has.
const OWN_STREAMS: usize = 2;

/// A server of one era that tells of changes when the test does.
struct Server {
    fake: Fake,
    feed: Feed,
    is_modern: bool,
    /// How often each of its lists has changed.
    changes: Arc<Mutex<HashMap<String, usize>>>,
    /// Answers this status to everything of the legacy session from now on.
    forgets: Arc<Mutex<Option<String>>>,
}

impl Server {
    /// One that answers what is no list, handshake or subscription by this function.
    async fn start(
        is_modern: bool,
        answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let (feed, forgets) = (Feed::default(), Arc::<Mutex<Option<String>>>::default());
        let (fed, forgotten) = (feed.clone(), Arc::clone(&forgets));
        let changes = Arc::<Mutex<HashMap<String, usize>>>::default();
        let changed = Arc::clone(&changes);
        let fake = Fake::start(move |seen| {
            if let Some(list) = Self::changed(seen, is_modern, &changed.lock().unwrap()) {
                return list;
            }
            if is_modern { Self::modern(seen, &fed) } else { Self::legacy(seen, &fed, &forgotten) }
                .unwrap_or_else(|| answer(seen))
        })
        .await;
        Self { fake, feed, is_modern, changes, forgets }
    }

    /// A list that has changed.
    fn changed(seen: &Seen, is_modern: bool, changes: &HashMap<String, usize>) -> Option<Answer> {
        let method = seen.method();
        let member = method.strip_suffix("/list")?;
        let name = format!("changed-{}", changes.get(member)?);
        let mut list = json!({ member: [{"name": name, "uri": "a:1"}] });
        if is_modern {
            list["resultType"] = json!("complete");
        }
        Some(fake_http::result(&list.to_string()))
    }

    fn modern(seen: &Seen, feed: &Feed) -> Option<Answer> {
        Some(match seen.method().as_str() {
            "initialize" => fake_http::error(404, -32601),
            "server/discover" => fake_http::result(&format!(
                r#"{{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{CAPABILITIES},"ttlMs":0,"cacheScope":"private"}}"#
            )),
            "tools/list" => {
                let list = tool_list();
                let rest = r#","resultType":"complete","ttlMs":5,"cacheScope":"public"}"#;
                fake_http::result(&format!("{}{rest}", &list[..list.len() - 1]))
            }
            "subscriptions/listen" => {
                let params: Value = serde_json::from_str(&seen.member("params")).unwrap();
                let mut filter = params["notifications"].clone();
                if let Some(list) = filter["resourceSubscriptions"].as_array_mut() {
                    list.retain(|uri| uri != "a:refused");
                }
                let ack = json!({"jsonrpc": "2.0",
                    "method": "notifications/subscriptions/acknowledged",
                    "params": {"notifications": filter, "_meta": {
                        "io.modelcontextprotocol/subscriptionId": "$ID"}}});
                feed.after(&ack.to_string().replace("\"$ID\"", "$ID"))
            }
            _ => return None,
        })
    }

    fn legacy(seen: &Seen, feed: &Feed, forgets: &Mutex<Option<String>>) -> Option<Answer> {
        let forgotten = forgets.lock().unwrap().clone();
        let session = seen.header("mcp-session-id");
        if forgotten.is_some_and(|f| f == session) && !session.is_empty() {
            return Some(Answer::Status(404));
        }
        Some(match (seen.verb.as_str(), seen.method().as_str()) {
            ("GET", _) => Answer::Fed(feed.clone()),
            ("DELETE", _) => Answer::Status(200),
            (_, "server/discover") => fake_http::error(400, -32000),
            (_, "initialize") => {
                let name = if forgets.lock().unwrap().is_some() { "s2" } else { "s1" };
                let result = format!(
                    r#"{{"jsonrpc":"2.0","id":$ID,"result":{{"protocolVersion":"2025-11-25","capabilities":{CAPABILITIES},"serverInfo":{{"name":"fake","version":"1"}}}}}}"#
                );
                Answer::Session(name.to_owned(), result)
            }
            (_, "tools/list") => fake_http::result(&tool_list()),
            (_, "resources/subscribe") if seen.body.contains("a:refused") => {
                fake_http::error(200, -32002)
            }
            (_, "resources/subscribe" | "resources/unsubscribe" | "logging/setLevel") => {
                fake_http::result("{}")
            }
            (_, method) if method.starts_with("notifications/") => Answer::Status(202),
            _ => return None,
        })
    }

    /// Changes a list and tells of it on every stream.
    fn change(&self, method: &str) {
        let list = method.split('/').nth(1).unwrap().to_owned();
        *self.changes.lock().unwrap().entry(list).or_default() += 1;
        self.tell(method, &json!({}));
    }

    /// Tells of a change on every stream.
    fn tell(&self, method: &str, params: &Value) {
        let mut params = params.clone();
        if self.is_modern {
            params["_meta"] = json!({"io.modelcontextprotocol/subscriptionId": "$ID"});
        }
        let text = json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string();
        self.feed.say(&text.replace("\"$ID\"", "$ID"));
    }

    fn tell_updated(&self, uri: &str) {
        self.tell("notifications/resources/updated", &json!({"uri": uri}));
    }

    /// The resources it was asked to tell of and not to stop, in order.
    fn watched(&self) -> Vec<String> {
        if self.is_modern {
            let last = self.fake.seen_of("subscriptions/listen").pop();
            let Some(last) = last else { return Vec::new() };
            let params: Value = serde_json::from_str(&last.member("params")).unwrap();
            let uris = params["notifications"]["resourceSubscriptions"].as_array().cloned();
            return uris
                .unwrap_or_default()
                .iter()
                .map(|u| u.as_str().unwrap().to_owned())
                .collect();
        }
        let mut watched = Vec::new();
        for seen in self.fake.seen() {
            let params: Value = serde_json::from_str(&seen.member("params")).unwrap_or_default();
            let uri = params["uri"].as_str().unwrap_or_default().to_owned();
            if uri == "a:refused" {
                continue;
            }
            match seen.method().as_str() {
                "resources/subscribe" if !watched.contains(&uri) => watched.push(uri),
                "resources/unsubscribe" => watched.retain(|u| *u != uri),
                _ => {}
            }
        }
        watched.sort();
        watched
    }

    /// Waits until the agent's connection hears it, besides the two over which Placet itself
    /// asks for the tool lists of both names.
    async fn heard(&self) {
        until("the server is heard", async || self.feed.streams() > OWN_STREAMS).await;
    }

    async fn watches(&self, uris: &[&str]) {
        until("the server watches what is asked for", async || self.watched() == uris).await;
    }
}

/// The program in front of it, with heartbeats too rare to disturb.
async fn placet(server: &Server) -> Placet {
    Placet::start(&server.fake).await
}

/// Opens the stream on which a client hears of changes, once it is sure to hear them: of the
/// lists, and of these resources.
async fn ear(agent: &Agent, server: &Server, id: &str, uris: &[&str]) -> Stream {
    let stream = match agent.era {
        Era::Legacy { .. } => {
            let stream = Stream::open(agent.http(reqwest::Method::GET)).await;
            for (n, uri) in uris.iter().enumerate() {
                let params = json!({"uri": uri}).to_string();
                let id = format!("\"{id}-{n}\"");
                let asked =
                    crate::support::placet::got(agent.request(&id, "resources/subscribe", &params))
                        .await;
                assert_eq!(asked.json()["result"], json!({}), "{asked:?}");
            }
            stream
        }
        Era::Modern => {
            let wanted = json!({"notifications": {"toolsListChanged": true,
                "promptsListChanged": true, "resourcesListChanged": true,
                "resourceSubscriptions": uris}});
            let request = agent.request(id, "subscriptions/listen", &wanted.to_string());
            let mut stream = Stream::open(request).await;
            let ack = stream.message().await.unwrap();
            assert_eq!(ack["method"], "notifications/subscriptions/acknowledged");
            let all = json!({"toolsListChanged": true, "promptsListChanged": true,
                "resourcesListChanged": true});
            let honoured = &ack["params"]["notifications"];
            for key in ["toolsListChanged", "promptsListChanged", "resourcesListChanged"] {
                assert_eq!(honoured[key], all[key]);
            }
            assert_eq!(
                honoured["resourceSubscriptions"].as_array().map_or(0, Vec::len),
                uris.len()
            );
            stream
        }
    };
    server.heard().await;
    stream
}

/// What is heard next, without pings of life.
async fn heard(stream: &mut Stream) -> (String, Value) {
    let message = soon("a message", stream.message()).await.expect("the stream goes on");
    (message["method"].as_str().unwrap().to_owned(), message["params"].clone())
}

/// Every pairing.
async fn pairings(
    answer: impl Fn(&Seen) -> Answer + Clone + Send + Sync + 'static,
) -> Vec<(Server, Placet)> {
    let mut all = Vec::new();
    for is_modern in [false, true] {
        let server = Server::start(is_modern, answer.clone()).await;
        let placet = placet(&server).await;
        all.push((server, placet));
    }
    all
}

fn done(_: &Seen) -> Answer {
    fake_http::result(r#"{"content":[]}"#)
}

/// A client of either era.
async fn clients(placet: &Placet) -> [Agent; 2] {
    placet.both(ANN).await
}
