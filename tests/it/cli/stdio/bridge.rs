//! The bridge in front of brokers that go away, forget, or break off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::fake_http::{self, Answer, Fake, Seen, event};
use crate::support::placet::{ANN, Placet};
use crate::support::until;

use super::Client;

/// Where the bridge finds a fake broker.
fn server(fake: &Fake) -> String {
    fake.url.trim_end_matches("/mcp").to_owned()
}

fn modern_meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {}
    })
}

fn hello(session: &str, version: &str) -> Answer {
    let result = json!({"protocolVersion": version, "capabilities": {}, "serverInfo": {}});
    let body = format!("{{\"jsonrpc\":\"2.0\",\"id\":$ID,\"result\":{result}}}");
    Answer::Session(session.to_owned(), body)
}

fn refused(status: u16, detail: &str) -> Answer {
    Answer::Json(status, json!({"status": status, "detail": detail}).to_string())
}

async fn begin(client: &mut Client) {
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}});
    client.ask(1, "initialize", hello).await;
    client.send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_not_strict_json_passes_as_the_answer() {
    let odd = r#"{"jsonrpc":"2.0","id":$ID,"result":{"n":1,"n":2}}"#;
    for given in [Answer::Json(200, odd.to_owned()), Answer::Stream(vec![event(odd)])] {
        let fake = Fake::start(move |seen: &Seen| match seen.method().as_str() {
            "initialize" => hello("one", "2025-11-25"),
            "tools/call" => given.clone(),
            _ => Answer::Status(202),
        })
        .await;
        let mut client = Client::start_at(&server(&fake), "u", ANN);
        begin(&mut client).await;

        let called = client.ask(2, "tools/call", json!({"name": "t"})).await;

        assert_eq!(called["result"]["n"], json!(2));
        assert_eq!(fake.seen_of("tools/call").len(), 1);
        client.leave().await;
    }
}

/// A broker that forgets its first session when told to; the next is opened in `version`.
async fn forgetful(version: &'static str) -> (Fake, Arc<AtomicBool>) {
    let forgotten = Arc::<AtomicBool>::default();
    let gone = Arc::clone(&forgotten);
    let fake = Fake::start(move |seen: &Seen| {
        let gone = gone.load(Ordering::SeqCst);
        match (seen.verb.as_str(), seen.method().as_str()) {
            ("GET", _) if gone && seen.header("mcp-session-id") == "one" => refused(404, "gone"),
            ("GET", _) => Answer::Open(vec![]),
            ("DELETE", _) => Answer::Status(204),
            (_, "initialize") if gone => hello("two", version),
            (_, "initialize") => hello("one", "2025-11-25"),
            _ if gone && seen.header("mcp-session-id") == "one" => refused(404, "no such session"),
            (_, method) if method.starts_with("notifications/") => Answer::Status(202),
            _ => fake_http::result(r#"{"content":[]}"#),
        }
    })
    .await;
    (fake, forgotten)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_broker_forgot_is_opened_again_in_the_clients_own_words() {
    let (fake, forgotten) = forgetful("2025-11-25").await;
    let mut client = Client::start_at(&server(&fake), "u", ANN);
    begin(&mut client).await;
    client.ask(2, "logging/setLevel", json!({"level": "debug"})).await;
    client.ask(3, "resources/subscribe", json!({"uri": "a:1"})).await;
    client.ask(4, "resources/subscribe", json!({"uri": "a:2"})).await;
    client.ask(5, "resources/unsubscribe", json!({"uri": "a:1"})).await;

    forgotten.store(true, Ordering::SeqCst);
    let called = client.ask(6, "tools/call", json!({"name": "t"})).await;

    assert_eq!(called["result"]["content"], json!([]));
    let hellos = fake.seen_of("initialize");
    assert_eq!(hellos.len(), 2);
    assert_eq!(hellos[0].body, hellos[1].body);
    let in_new = |method: &str| {
        let seen = fake.seen_of(method);
        let new = seen.into_iter().filter(|s| s.header("mcp-session-id") == "two");
        new.map(|s| s.body).collect::<Vec<_>>()
    };
    assert_eq!(in_new("logging/setLevel").len(), 1);
    assert_eq!(in_new("notifications/initialized").len(), 1);
    let subscribed = in_new("resources/subscribe");
    assert!(subscribed.len() == 1 && subscribed[0].contains("a:2"), "{subscribed:?}");
    client.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_would_be_another_one_is_an_error_that_says_so() {
    let (fake, forgotten) = forgetful("2025-06-18").await;
    let mut client = Client::start_at(&server(&fake), "u", ANN);
    begin(&mut client).await;

    forgotten.store(true, Ordering::SeqCst);
    let called = client.ask(6, "tools/call", json!({"name": "t"})).await;

    let text = called["error"]["message"].as_str().unwrap();
    assert!(text.contains("2025-06-18") && text.contains("initialize"), "{text}");
    client.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_there_yet_is_waited_for() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    drop(taken);
    let mut client = Client::start_at(&format!("http://{address}"), "u", ANN);

    let params = json!({"name": "t", "_meta": modern_meta()});
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    client.send(call).await;
    let listener = TcpListener::bind(address).await.unwrap();
    let _fake = Fake::serve(listener, |_| fake_http::result(r#"{"content":[]}"#));

    assert_eq!(client.hear().await["result"]["content"], json!([]));
    client.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_on_the_stream_is_not_taken_for_the_answer() {
    let fake = Fake::start(|_| {
        let question = r#"{"jsonrpc":"2.0","id":7,"method":"roots/list"}"#;
        Answer::Stream(vec![event(question)])
    })
    .await;
    let mut client = Client::start_at(&server(&fake), "u", ANN);

    let params = json!({"name": "t"});
    let call = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params});
    client.send(call).await;

    assert_eq!(client.hear().await["method"], "roots/list");
    let text = client.hear().await["error"]["message"].to_string();
    assert!(text.contains("broke off"), "{text}");
    client.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_whose_stream_breaks_is_cancelled() {
    let fake = Fake::start(|_| {
        let ack = r#"{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":$ID},"notifications":{}}}"#;
        Answer::Stream(vec![event(ack)])
    })
    .await;
    let mut client = Client::start_at(&server(&fake), "u", ANN);

    let params = json!({"notifications": {}, "_meta": modern_meta()});
    let listen =
        json!({"jsonrpc": "2.0", "id": "s", "method": "subscriptions/listen", "params": params});
    client.send(listen).await;

    assert_eq!(client.hear().await["method"], "notifications/subscriptions/acknowledged");
    let ended = client.hear().await;
    assert_eq!(ended["method"], "notifications/cancelled");
    assert_eq!(ended["params"]["requestId"], "s");
    client.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_right_behind_its_request_is_not_lost() {
    let fake = crate::mcp::legacy_done().await;
    let placet = Placet::start(&fake).await;

    for modern in [true, false] {
        let mut client = Client::start_at(&placet.base, "u", ANN);
        if !modern {
            begin(&mut client).await;
        }
        let mut params = json!({"name": "gated", "arguments": {"modern": modern}});
        if modern {
            params["_meta"] = modern_meta();
        }
        let call = json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": params});
        let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
                            "params": {"requestId": 9}});
        client.send_all(&[call, cancel]).await;
        // Whether or not the call was stored, nobody waits for it.
        until("nobody waits", async || {
            placet.approvals("pending").await.iter().all(|a| a["waiting"] == false)
        })
        .await;
        let quiet = client.ask(
            10,
            "tools/list",
            if modern { json!({"_meta": modern_meta()}) } else { json!({}) },
        );
        assert!(quiet.await["result"]["tools"].is_array());
        client.leave().await;
    }
    placet.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_modern_call_gets_the_headers_of_a_tool_the_client_never_listed() {
    let fake = Fake::start(|seen| match seen.method().as_str() {
        "tools/list" => fake_http::result(
            r#"{"tools":[{"name":"open","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"}}}}]}"#,
        ),
        _ => fake_http::legacy(seen)
            .unwrap_or_else(|| fake_http::result(r#"{"content":[],"n":1.00}"#)),
    })
    .await;
    let placet = Placet::start(&fake).await;
    let mut client = Client::start_at(&placet.base, "u", ANN);

    let params = json!({"name": "open", "arguments": {"region": "eu"}, "_meta": modern_meta()});
    let called = client.ask(1, "tools/call", params).await;

    assert_eq!(called["result"]["content"], json!([]), "{called}");
    assert_eq!(fake.seen_of("tools/call").len(), 1);
    client.leave().await;
    placet.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_tools_whose_cursors_never_end_is_read_so_far_and_the_call_goes_out_again() {
    for (wheel, pages) in [("on and on", 100), ("always the same", 2)] {
        let (listed, called) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let fake = Fake::start(move |seen: &Seen| match seen.method().as_str() {
            "tools/list" => {
                let n = listed.fetch_add(1, Ordering::SeqCst);
                let next = if wheel == "on and on" { n.to_string() } else { String::new() };
                let tool = json!({"name": format!("t{n}"), "inputSchema": {"type": "object"}});
                fake_http::result(&json!({"tools": [tool], "nextCursor": next}).to_string())
            }
            _ if called.fetch_add(1, Ordering::SeqCst) == 0 => fake_http::error(400, -32020),
            _ => fake_http::result(r#"{"content":[]}"#),
        })
        .await;
        let mut client = Client::start_at(&server(&fake), "u", ANN);

        let params = json!({"name": "t0", "arguments": {}, "_meta": modern_meta()});
        let called = client.ask(1, "tools/call", params).await;

        assert_eq!(called["result"]["content"], json!([]), "{wheel}: {called}");
        assert_eq!(fake.seen_of("tools/list").len(), pages, "{wheel}");
        assert_eq!(fake.seen_of("tools/call").len(), 2, "{wheel}");
        client.leave().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stops_hands_over_through_the_bridge_and_ends_subscriptions() {
    let fake = crate::mcp::legacy_done().await;
    let placet = Placet::start(&fake).await;
    let mut client = Client::start_at(&placet.base, "u", ANN);

    let params = json!({"notifications": {"toolsListChanged": true}, "_meta": modern_meta()});
    let listen =
        json!({"jsonrpc": "2.0", "id": "s", "method": "subscriptions/listen", "params": params});
    client.send(listen).await;
    let acknowledged = client.hear().await;
    assert_eq!(acknowledged["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], "s");
    let params = json!({"name": "gated", "_meta": modern_meta()});
    let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params});
    client.send(call).await;
    placet.approval("pending").await;

    placet.end().await;
    let mut last = [client.hear().await, client.hear().await];
    last.sort_by_key(|m| m["id"].is_string());

    assert_eq!(last[0]["result"]["_meta"]["io.placet/decision"]["code"], "approval_pending");
    assert_eq!(last[1]["result"]["resultType"], "complete");
    client.leave().await;
}
