//! Clients of 2024-11-05: one stream for everything that is said to them, and an address for
//! everything they say.

use std::sync::Arc;
use std::time::Duration;

use placet::domain::policy::Policy;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use crate::support::fake_http::Answer;
use crate::support::placet::{ANN, BOB, Era, Heard, Placet, Stream, got};
use crate::support::until;

use crate::mcp::{done, legacy, usual};

/// A client and its stream.
pub(in crate::mcp) struct Old {
    http: reqwest::Client,
    token: &'static str,
    endpoint: String,
    pub(in crate::mcp) stream: Stream,
}

fn get(placet: &Placet, token: &str) -> RequestBuilder {
    get_at(placet, token, "/mcp/u")
}

fn get_at(placet: &Placet, token: &str, base: &str) -> RequestBuilder {
    placet
        .http
        .get(format!("{}{base}/sse", placet.base))
        .bearer_auth(token)
        .header("accept", "text/event-stream")
}

impl Old {
    /// Opens a stream and hears where messages go.
    async fn open(placet: &Placet, token: &'static str) -> Self {
        Self::open_at(placet, token, "/mcp/u").await
    }

    async fn open_at(placet: &Placet, token: &'static str, base: &str) -> Self {
        let mut stream = Stream::open(get_at(placet, token, base)).await;
        let Some(Heard::Message(path)) = stream.next().await else { panic!("no endpoint") };
        assert!(path.starts_with(&format!("{base}/messages?sessionId=")), "{path}");
        let endpoint = format!("{}{path}", placet.base);
        Self { http: placet.http.clone(), token, endpoint, stream }
    }

    /// The same with a session.
    pub(in crate::mcp) async fn start(placet: &Placet, token: &'static str) -> Self {
        let mut old = Self::open(placet, token).await;
        let answer = old.initialize("2024-11-05").await;
        assert_eq!(answer["result"]["protocolVersion"], "2024-11-05", "{answer}");
        old
    }

    pub(in crate::mcp) fn post(&self, body: &str) -> RequestBuilder {
        self.http
            .post(&self.endpoint)
            .bearer_auth(self.token)
            .header("content-type", "application/json")
            .body(body.to_owned())
    }

    /// Sends a request, which is accepted.
    pub(in crate::mcp) async fn ask(&self, id: &str, method: &str, params: &str) {
        let body =
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#);
        let accepted = got(self.post(&body)).await;
        assert_eq!((accepted.status, accepted.body.as_str()), (202, ""), "{accepted:?}");
    }

    async fn call(&self, id: &str, tool: &str, arguments: &str) {
        let params = format!(r#"{{"name":"{tool}","arguments":{arguments}}}"#);
        self.ask(id, "tools/call", &params).await;
    }

    async fn notify(&self, method: &str, params: &str) {
        let body = format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#);
        assert_eq!(got(self.post(&body)).await.status, 202);
    }

    /// The next message on the stream.
    pub(in crate::mcp) async fn told(&mut self) -> Value {
        self.stream.message().await.unwrap()
    }

    async fn initialize(&mut self, version: &str) -> Value {
        let params = format!(
            r#"{{"protocolVersion":"{version}","capabilities":{{}},"clientInfo":{{"name":"old","version":"1"}}}}"#
        );
        self.ask("0", "initialize", &params).await;
        self.told().await
    }
}

fn code(answer: &Value) -> &str {
    answer["result"]["_meta"]["io.placet/decision"]["code"].as_str().unwrap_or_default()
}

async fn nobody_waits(placet: &Placet) {
    until("nobody waits any more", async || {
        placet.approvals("pending").await.iter().all(|a| a["waiting"] == false)
    })
    .await;
}

#[tokio::test]
async fn answers_come_over_the_stream_with_the_bytes_of_the_server() {
    let (placet, fake) = usual().await;
    let mut old = Old::start(&placet, ANN).await;

    old.notify("notifications/initialized", "{}").await;
    old.ask("\"a\"", "tools/list", "{}").await;
    let listed = old.told().await;
    assert_eq!(listed["id"], "a");
    let names = listed["result"]["tools"].as_array().unwrap();
    assert!(names.iter().all(|t| t["name"] != "secret") && names.len() > 1);
    old.call("1", "open", r#"{ "n":1.00, "b":1e2 }"#).await;
    assert_eq!(old.told().await["result"]["content"][0]["text"], "done");
    old.call("2", "denied", "{}").await;
    assert_eq!(code(&old.told().await), "policy_denied");
    old.call("3", "secret", "{}").await;
    assert_eq!(old.told().await["error"]["code"], -32602);

    let calls = fake.seen_of("tools/call");
    assert_eq!(calls.len(), 1);
    assert!(calls[0].member("params").contains(r#"{ "n":1.00, "b":1e2 }"#));
    placet.end().await;
}

#[tokio::test]
async fn versions_are_negotiated_as_on_the_endpoint_proper() {
    let (placet, _fake) = usual().await;
    for (asked, answered) in
        [("2024-11-05", "2024-11-05"), ("2025-03-26", "2025-06-18"), ("2025-11-25", "2025-11-25")]
    {
        let mut old = Old::open(&placet, ANN).await;
        let answer = old.initialize(asked).await;
        assert_eq!(answer["result"]["protocolVersion"], answered);
        assert_eq!(answer["result"]["serverInfo"]["name"], "fake");
    }
    placet.end().await;
}

#[tokio::test]
async fn a_held_call_is_kept_alive_by_comments_and_answered_when_decided() {
    let (placet, fake) = usual().await;
    let mut old = Old::start(&placet, ANN).await;

    old.call("7", "gated", r#"{"n":1}"#).await;
    for _ in 0..3 {
        assert_eq!(old.stream.next().await, Some(Heard::Comment));
    }
    assert_eq!(placet.approval("pending").await["waiting"], true);
    // Others are answered meanwhile.
    old.call("8", "open", "{}").await;
    assert_eq!(old.told().await["id"], 8);
    placet.decide("approve").await;
    let answer = old.told().await;
    assert_eq!((&answer["id"], code(&answer)), (&7.into(), "approved"));

    old.call("9", "gated", r#"{"n":2}"#).await;
    placet.decide("reject").await;
    assert_eq!(code(&old.told().await), "approval_rejected");
    assert_eq!(fake.seen_of("tools/call").len(), 2);
    placet.end().await;
}

#[tokio::test]
async fn heartbeats_are_progress_where_a_token_is_given() {
    let (placet, _fake) = usual().await;
    let mut old = Old::start(&placet, ANN).await;

    let params = r#"{"name":"gated","arguments":{},"_meta":{"progressToken":"p"}}"#;
    old.ask("1", "tools/call", params).await;
    let (first, second) = (old.told().await, old.told().await);

    assert_eq!(first["method"], "notifications/progress");
    assert_eq!(first["params"]["progressToken"], "p");
    assert!(second["params"]["progress"].as_f64() > first["params"]["progress"].as_f64());
    placet.end().await;
}

#[tokio::test]
async fn a_hold_that_ends_is_handed_over_and_the_identical_call_gets_the_answer() {
    let fake = legacy(done).await;
    let lines = "[approvals]\nhold = \"300ms\"\nheartbeat = \"100ms\"";
    let placet = Placet::before(&fake.url).with(lines).start().await;
    let mut old = Old::start(&placet, ANN).await;

    old.call("1", "gated", "{}").await;
    assert_eq!(code(&old.told().await), "approval_pending");
    placet.decide("approve").await;
    old.call("2", "gated", "{}").await;

    assert_eq!(code(&old.told().await), "approved");
    assert_eq!(fake.seen_of("tools/call").len(), 1);
    placet.end().await;
}

#[tokio::test]
async fn a_cancelled_call_is_detached_and_only_its_own_session_cancels_it() {
    let (placet, fake) = usual().await;
    let mut old = Old::start(&placet, ANN).await;
    let other = Old::start(&placet, ANN).await;
    old.call("5", "gated", "{}").await;
    placet.approval("pending").await;

    other.notify("notifications/cancelled", r#"{"requestId":5}"#).await;
    for _ in 0..3 {
        assert_eq!(old.stream.next().await, Some(Heard::Comment));
    }
    assert_eq!(placet.approval("pending").await["waiting"], true);
    old.notify("notifications/cancelled", r#"{"requestId":5}"#).await;
    nobody_waits(&placet).await;

    // Nothing is said of it; its end is the answer of the next identical call.
    let id = placet.decide("reject").await;
    old.call("6", "gated", "{}").await;
    let owed = old.told().await;
    assert_eq!((&owed["id"], code(&owed)), (&6.into(), "approval_rejected"));
    assert_eq!(owed["result"]["_meta"]["io.placet/decision"]["approval"].as_str(), Some(&*id));
    assert!(fake.seen_of("tools/call").is_empty());
    placet.end().await;
}

#[tokio::test]
async fn a_cancellation_right_behind_its_call_is_not_too_early() {
    let (placet, _fake) = usual().await;
    let old = Old::start(&placet, ANN).await;

    for n in 0..20 {
        old.call(&n.to_string(), "gated", &format!(r#"{{"n":{n}}}"#)).await;
        old.notify("notifications/cancelled", &format!(r#"{{"requestId":{n}}}"#)).await;
    }

    nobody_waits(&placet).await;
    placet.end().await;
}

#[tokio::test]
async fn a_cancellation_before_its_call_cancels_it_too() {
    let (placet, fake) = usual().await;
    let mut old = Old::start(&placet, ANN).await;

    old.notify("notifications/cancelled", r#"{"requestId":1}"#).await;
    old.call("1", "open", "{}").await;
    old.call("2", "open", "{}").await;

    assert_eq!(old.told().await["id"], 2);
    assert_eq!(fake.seen_of("tools/call").len(), 1);
    placet.end().await;
}

#[tokio::test]
async fn a_call_whose_stream_is_gone_waits_for_its_client_and_runs_once() {
    let (placet, fake) = usual().await;
    let old = Old::start(&placet, ANN).await;
    old.call("1", "gated", "{}").await;
    placet.approval("pending").await;

    let endpoint = old.endpoint.clone();
    drop(old);
    nobody_waits(&placet).await;
    placet.decide("approve").await;
    assert!(fake.seen_of("tools/call").is_empty());
    let gone = placet.http.post(endpoint).bearer_auth(ANN);
    assert_eq!(got(gone.header("content-type", "application/json").body("{}")).await.status, 404);

    let mut back = Old::start(&placet, ANN).await;
    back.call("1", "gated", "{}").await;
    assert_eq!(code(&back.told().await), "approved");
    assert_eq!(fake.seen_of("tools/call").len(), 1);
    placet.end().await;
}

#[tokio::test]
async fn an_approved_call_runs_on_when_its_stream_is_gone_and_its_outcome_is_owed() {
    let fake = legacy(|_| {
        let done = "data: {\"jsonrpc\":\"2.0\",\"id\":$ID,\"result\":{\"content\":[]}}\n\n";
        Answer::Stream(vec![(Duration::from_millis(700), done.to_owned())])
    })
    .await;
    let placet = Placet::start(&fake).await;
    let old = Old::start(&placet, ANN).await;
    old.call("1", "gated", "{}").await;
    placet.decide("approve").await;
    placet.approval("running").await;

    drop(old);
    placet.approval("completed").await;

    let mut back = Old::start(&placet, ANN).await;
    back.call("1", "gated", "{}").await;
    let replay = back.told().await;
    assert_eq!(replay["result"]["_meta"]["io.placet/decision"]["replayed"], true, "{replay}");
    assert_eq!(fake.seen_of("tools/call").len(), 1);
    placet.end().await;
}

#[tokio::test]
async fn all_upstreams_are_one_on_a_stream_of_its_own() {
    let (placet, fake) = usual().await;
    let mut old = Old::open_at(&placet, ANN, "/mcp").await;
    old.initialize("2024-11-05").await;

    old.ask("1", "tools/list", "{}").await;
    let listed = old.told().await;
    let names: Vec<_> =
        listed["result"]["tools"].as_array().unwrap().iter().map(|t| &t["name"]).collect();
    assert!(names.iter().any(|n| *n == "u__gated") && names.iter().any(|n| *n == "other__open"));
    assert!(names.iter().all(|n| *n != "u__secret"));
    old.call("2", "u__gated", "{}").await;
    placet.decide("approve").await;
    assert_eq!(code(&old.told().await), "approved");
    assert_eq!(fake.seen_of("tools/call").len(), 1);

    // Its session is not one of a single upstream.
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    old.endpoint = old.endpoint.replace("/mcp/messages", "/mcp/u/messages");
    assert_eq!(got(old.post(ping)).await.status, 404);
    placet.end().await;
}

#[tokio::test]
async fn the_address_for_messages_is_no_authentication() {
    let (placet, fake) = usual().await;
    let old = Old::start(&placet, ANN).await;
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"open"}}"#;
    let post =
        |url: &str| placet.http.post(url).header("content-type", "application/json").body(call);
    let wrong = format!("{}x", old.endpoint);

    assert_eq!(got(post(&old.endpoint)).await.status, 401);
    assert_eq!(got(post(&old.endpoint).bearer_auth(BOB)).await.status, 404);
    assert_eq!(got(post(&wrong).bearer_auth(ANN)).await.status, 404);
    let elsewhere = old.endpoint.replace("/mcp/u/", "/mcp/other/");
    assert_eq!(got(post(&elsewhere).bearer_auth(ANN)).await.status, 404);
    let nowhere = old.endpoint.replace("/mcp/u/", "/mcp/none/");
    assert_eq!(got(post(&nowhere).bearer_auth(ANN)).await.status, 404);
    assert_eq!(got(placet.http.get(format!("{}/mcp/u/sse", placet.base))).await.status, 401);

    // Nor does what stands in it open the endpoint proper.
    let (_, id) = old.endpoint.split_once("sessionId=").unwrap();
    let agent = placet.agent(ANN, Era::Legacy { session: Some(id.to_owned()) });
    assert_eq!(got(agent.call("1", "open", "{}")).await.status, 404);
    assert!(fake.seen_of("tools/call").is_empty());
    placet.end().await;
}

#[tokio::test]
async fn what_is_no_strict_message_is_refused_at_once() {
    let fake = legacy(done).await;
    let lines = "[server]\nmax_body = \"1KiB\"";
    let placet = Placet::before(&fake.url).with(lines).start().await;
    let old = Old::start(&placet, ANN).await;

    assert_eq!(got(old.post("{")).await.error(), -32700);
    assert_eq!(got(old.post("[]")).await.error(), -32600);
    let twice = r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"ping"}"#;
    assert_eq!(got(old.post(twice)).await.error(), -32600);
    assert_eq!(got(old.post(&"x".repeat(2000))).await.status, 413);
    let text = old.post("{}").header("content-type", "text/plain").build().unwrap();
    let kinds = text.headers().get_all("content-type").iter().count();
    assert_eq!(kinds, 2);
    let plain =
        placet.http.post(&old.endpoint).bearer_auth(ANN).header("content-type", "text/plain");
    assert_eq!(got(plain.body("{}")).await.status, 415);
    for foreign in [("origin", "https://evil.example"), ("host", "evil.example")] {
        let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        assert_eq!(got(old.post(ping).header(foreign.0, foreign.1)).await.status, 403);
        assert_eq!(got(get(&placet, ANN).header(foreign.0, foreign.1)).await.status, 403);
    }
    placet.end().await;
}

#[tokio::test]
async fn each_address_takes_its_one_method() {
    let (placet, _fake) = usual().await;
    let old = Old::start(&placet, ANN).await;
    let url = format!("{}/mcp/u/sse", placet.base);

    for (method, url) in [
        (Method::POST, &url),
        (Method::DELETE, &url),
        (Method::GET, &old.endpoint),
        (Method::DELETE, &old.endpoint),
    ] {
        let answer = got(placet.http.request(method.clone(), url).bearer_auth(ANN)).await;
        assert_eq!(answer.status, 405, "{method} {url}");
    }
    let none = placet.agent(ANN, Era::Legacy { session: None });
    assert_eq!(got(none.http(Method::GET)).await.status, 405);
    placet.end().await;
}

#[tokio::test]
async fn a_stream_begins_with_initialize_and_has_one() {
    let (placet, _fake) = usual().await;
    let mut old = Old::open(&placet, ANN).await;
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

    assert_eq!(got(old.post(ping)).await.status, 400);
    // A client that probes for the modern era first goes on with initialize.
    let modern = r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}"#;
    old.ask("2", "server/discover", modern).await;
    assert_eq!(old.told().await["error"]["code"], -32601);
    old.ask("3", "tools/list", modern).await;
    assert_eq!(old.told().await["error"]["code"], -32600);
    old.ask("4", "initialize", "{}").await;
    assert_eq!(old.told().await["error"]["code"], -32602);
    assert_eq!(old.initialize("2024-11-05").await["result"]["protocolVersion"], "2024-11-05");
    assert_eq!(old.initialize("2024-11-05").await["error"]["code"], -32600);
    old.ask("5", "ping", "{}").await;
    assert_eq!(old.told().await["result"], serde_json::json!({}));
    placet.end().await;
}

#[tokio::test]
async fn sessions_of_both_transports_count_together_and_end_with_their_stream() {
    let fake = legacy(done).await;
    let lines = "[server]\nmax_sessions_per_agent = 3";
    let placet = Placet::before(&fake.url).with(lines).start().await;
    let agent = placet.agent(ANN, Era::Legacy { session: None });
    let mut busy = Vec::new();
    for _ in 1..3 {
        busy.push(Stream::open(placet.legacy(ANN).await.http(Method::GET)).await);
    }
    let last = Old::start(&placet, ANN).await;

    let mut beyond = Old::open(&placet, ANN).await;
    let refused = beyond.initialize("2024-11-05").await;
    assert!(refused["error"]["message"].as_str().unwrap().contains("open sessions"), "{refused}");
    assert_eq!(agent.initialize("2025-11-25").await.status, 429);
    drop(last);

    until("its place is free", async || agent.initialize("2025-11-25").await.status == 200).await;
    placet.end().await;
}

#[tokio::test]
async fn streams_of_a_token_and_requests_of_a_stream_are_bounded() {
    const MAX: usize = 9;
    let fake = legacy(|_| Answer::Open(Vec::new())).await;
    let lines = format!("[server]\nmax_sse_requests = {MAX}\nmax_sessions_per_agent = {MAX}");
    let placet = Placet::before(&fake.url).with(&lines).start().await;
    let mut all = Vec::new();
    for _ in 0..MAX {
        all.push(Old::open(&placet, ANN).await);
    }
    assert_eq!(got(get(&placet, ANN)).await.status, 429);
    let mut bob = Old::open(&placet, BOB).await;
    bob.initialize("2024-11-05").await;

    // One is the stream of what nobody asked for.
    until("it is full", async || {
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"open"}}"#;
        got(bob.post(call)).await.status == 429
    })
    .await;

    assert!(fake.seen_of("tools/call").len() <= MAX);
    drop((all, bob));
    placet.end().await;
}

#[tokio::test]
async fn a_stream_whose_client_never_begins_is_ended() {
    let fake = legacy(done).await;
    let lines = "[server]\nsse_initialize_within = \"300ms\"";
    let placet = Placet::before(&fake.url).with(lines).start().await;
    let mut silent = Old::open(&placet, ANN).await;
    let mut begun = Old::start(&placet, ANN).await;

    while let Some(heard) = silent.stream.next().await {
        assert_eq!(heard, Heard::Comment);
    }

    begun.call("1", "open", "{}").await;
    assert_eq!(begun.told().await["id"], 1, "who began goes on");
    placet.end().await;
}

#[tokio::test]
async fn a_changed_policy_is_told_on_the_stream() {
    let (placet, _fake) = usual().await;
    let mut old = Old::start(&placet, ANN).await;
    old.ask("1", "ping", "{}").await;
    old.told().await;

    // Nothing says when the stream begins to listen, so that the policy changes until it is heard.
    let mut told = None;
    for _ in 0..40 {
        let (policy, _) = Policy::read(r#"{"version":"1","hide":["open"]}"#).unwrap();
        placet.broker.policies().replace("u", Arc::new(policy));
        told = tokio::time::timeout(Duration::from_millis(500), old.told()).await.ok();
        if told.is_some() {
            break;
        }
    }

    assert_eq!(told.unwrap()["method"], "notifications/tools/list_changed");
    placet.end().await;
}

#[tokio::test]
async fn stopping_hands_over_on_the_stream_and_ends_it() {
    let (placet, _fake) = usual().await;
    let old = Old::start(&placet, ANN).await;
    old.call("1", "gated", "{}").await;
    placet.approval("pending").await;

    placet.end().await;

    let told = old.stream.rest().await;
    assert_eq!(told.len(), 1);
    assert_eq!(code(&told[0]), "approval_pending");
}
