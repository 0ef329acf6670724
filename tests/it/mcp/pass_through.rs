//! What passes keeps its bytes; what is hidden does not show.

use std::time::Duration;

use crate::support::fake_http::{self, Answer, Fake, event};
use crate::support::placet::{ANN, Placet, Stream, TOOLS, got};
use crate::support::until;

use super::{legacy, modern};

/// Spelled as no serialiser would.
const ODD: &str = r#"{"z": 1.00,"a" : "\u0041\/","n":12345678901234567890123,"e":1e2, "l":[ ]}"#;

#[tokio::test]
async fn bytes_reach_the_upstream_and_come_back_within_one_era() {
    let result =
        r#"{"content":[ ],"structuredContent":{"n":1.00,"z":1E5,"a":"\u0041"},"odd": true}"#;
    let typed = r#"{"resultType":"complete","content":[ ],"x":{"n":1.00,"z":1E5} , "odd": true}"#;
    let old = legacy(move |_| fake_http::result(result)).await;
    let new = modern(move |_| fake_http::result(typed)).await;

    for (fake, expected) in [(old, result), (new, typed)] {
        let placet = Placet::start(&fake).await;
        let agent = if expected == result { placet.legacy(ANN).await } else { placet.modern(ANN) };
        let params = format!(r#"{{"name":"open","arguments":{ODD},"later":{{"k":0.10}}}}"#);
        let answer = got(agent.request("1", "tools/call", &params)).await;

        assert!(answer.body.contains(&format!("\"result\":{expected}")), "{}", answer.body);
        let sent = fake.seen_of("tools/call")[0].member("params");
        assert!(sent.contains(&format!("\"arguments\":{ODD}")), "{sent}");
        assert!(sent.contains(r#""later":{"k":0.10}"#), "{sent}");
        assert!(!sent.contains("progressToken"), "{sent}");
        placet.end().await;
    }
}

#[tokio::test]
async fn hidden_tools_do_not_show_on_any_page_and_other_pages_keep_their_bytes() {
    let second = r#"{ "tools" : [ {"name":"denied","x":1.00,"inputSchema":{}} ] , "more": 1e2 }"#;
    let first = r#"{"tools":[{"name":"open","y":0.10},{"name":"secret"}],"nextCursor":"two"}"#;
    let fake = Fake::start(move |seen| match seen.method().as_str() {
        "tools/list" if seen.body.contains("\"two\"") => fake_http::result(second),
        "tools/list" => fake_http::result(first),
        _ => fake_http::legacy(seen).unwrap_or(Answer::Status(500)),
    })
    .await;
    let placet = Placet::start(&fake).await;
    let agent = placet.legacy(ANN).await;

    let page = got(agent.request("1", "tools/list", "{}")).await;
    let next = got(agent.request("2", "tools/list", r#"{"cursor":"two"}"#)).await;

    assert_eq!(
        page.body,
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"open","y":0.10}],"nextCursor":"two"}}"#
    );
    assert_eq!(next.body, format!(r#"{{"jsonrpc":"2.0","id":2,"result":{second}}}"#));
    placet.end().await;
}

#[tokio::test]
async fn a_hidden_tool_is_answered_as_an_unknown_one_and_a_denied_one_stays_listed() {
    let (placet, fake) = super::usual().await;

    for agent in placet.both(ANN).await {
        let hidden = got(agent.call("1", "secret", "{}")).await;
        let unknown = got(agent.call("1", "no_such", "{}")).await;
        assert_eq!(hidden.json()["error"]["message"], "Unknown tool: secret");
        assert_eq!((hidden.status, hidden.error()), (200, -32602));
        assert_eq!(hidden.body.replace("secret", "no_such"), unknown.body);

        let list = got(agent.request("2", "tools/list", "{}")).await.json();
        let names: Vec<_> = list["result"]["tools"].as_array().unwrap().iter().collect();
        assert_eq!(names.len(), TOOLS.len() - 1);
        assert!(names.iter().any(|t| t["name"] == "denied"));
    }
    assert!(fake.seen_of("tools/call").is_empty());
    placet.end().await;
}

#[tokio::test]
async fn what_the_upstream_says_meanwhile_becomes_a_stream_with_its_own_progress_token() {
    let fake = legacy(|seen| {
        let params: serde_json::Value = serde_json::from_str(&seen.member("params")).unwrap();
        let token = params["_meta"]["progressToken"].to_string();
        let progress = |n: u32| {
            event(&format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{n}.50}}}}"#
            ))
        };
        Answer::Stream(vec![
            progress(0),
            progress(1),
            event(r#"{"jsonrpc":"2.0","id":$ID,"result":{"content":[]}}"#),
        ])
    })
    .await;
    let placet = Placet::start(&fake).await;

    for agent in placet.both(ANN).await {
        let stream = Stream::open(agent.call_with_progress("1", "open", "\"mine\"")).await;
        let said = stream.rest().await;

        assert_eq!(said.len(), 3, "{said:?}");
        assert_eq!(said[0]["params"]["progressToken"], "mine");
        assert_eq!(said[0]["params"]["progress"].to_string(), "0.5");
        assert_eq!(said[1]["params"]["progress"].to_string(), "1.5");
        assert_eq!(said[2]["id"], 1);
    }
    placet.end().await;
}

#[tokio::test]
async fn a_slow_answer_is_a_stream_for_who_reads_one_and_large_ones_arrive_whole() {
    let text = "a\\u0041".repeat(300_000);
    let slow = format!("{{\"content\":[],\n \"text\":\r\n\"{text}\"}}");
    let fake = legacy(move |_| {
        let body = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":$ID,\"result\":{}}}",
            slow.replace(['\n', '\r'], " ")
        );
        Answer::Stream(vec![(Duration::from_secs(1), format!("data: {body}\n\n"))])
    })
    .await;
    let placet = Placet::start(&fake).await;
    let agent = placet.legacy(ANN).await;

    let streamed = got(agent.call("1", "open", "{}")).await;
    let plain = got(agent.plain().call("2", "open", "{}")).await;

    assert!(streamed.header("content-type").starts_with("text/event-stream"));
    for answer in [streamed, plain] {
        assert!(answer.body.contains(&text));
        assert_eq!(answer.json()["result"]["text"].as_str().unwrap().len(), 600_000);
    }
    placet.end().await;
}

#[tokio::test]
async fn line_breaks_between_tokens_do_not_break_the_stream() {
    let fake = legacy(|_| fake_http::result("{\n  \"content\": [\r\n  ],\n  \"n\": 1.00\n}")).await;
    let placet = Placet::start(&fake).await;
    let agent = placet.legacy(ANN).await;

    let stream = Stream::open(agent.call("1", "gated", "{}")).await;
    placet.decide("approve").await;

    assert_eq!(stream.rest().await[0]["result"]["n"], 1.0);
    placet.end().await;
}

#[tokio::test]
async fn a_modern_client_that_leaves_cancels_its_request_and_a_legacy_one_says_so() {
    let fake = legacy(|_| Answer::Open(vec![])).await;
    let placet = Placet::start(&fake).await;
    let [old, new] = placet.both(ANN).await;
    let cancelled = async || fake.seen_of("notifications/cancelled").len();

    let stream = Stream::open(new.call("1", "open", "{}")).await;
    drop(stream);
    until("leaving cancels", async || cancelled().await == 1).await;

    let mut stream = Stream::open(old.call("\"k\"", "open", "{}")).await;
    let other = placet.legacy(ANN).await;
    other.notify("notifications/cancelled", r#"{"requestId":"k"}"#).await;
    assert!(stream.next().await.is_some());
    assert_eq!(cancelled().await, 1);
    old.notify("notifications/cancelled", r#"{"requestId":"k"}"#).await;
    assert!(stream.rest().await.is_empty(), "nothing more is sent on a cancelled request");
    until("the notification cancels", async || cancelled().await == 2).await;
    placet.end().await;
}
