//! What modern servers want to know before they answer a call: asked in rounds, of clients of either
//! era.

use crate::mcp::modern;
use crate::mcp::session::server_requests::{ALL, answers, session};
use crate::support::fake_http::{self, Answer};
use crate::support::placet::{ANN, Agent, BOB, Got, Placet, Stream, got};

const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// Answers the first round of a call with a question, and any other with `done`.
fn first_asks(seen: &fake_http::Seen) -> Answer {
    if seen.body.contains("inputResponses") {
        return fake_http::result(
            r#"{"resultType":"complete","content":[{"type":"text","text":"done"}]}"#,
        );
    }
    fake_http::result(
        r#"{"resultType":"input_required","requestState":"own-state","inputRequests":{"name":{"method":"elicitation/create","params":{"mode":"form","message":"Who?","requestedSchema":{"type":"object","properties":{}}}}}}"#,
    )
}

fn round(agent: &Agent, arguments: &str, more: &str) -> reqwest::RequestBuilder {
    let params = format!(r#"{{"name":"gated","arguments":{arguments}{more}}}"#);
    let meta = [(CAPABILITIES, r#"{"elicitation":{}}"#.to_owned())];
    agent.request_with("7", "tools/call", &params, &meta)
}

fn reply(answer: &Got) -> String {
    let state = &answer.json()["result"]["requestState"];
    format!(r#","inputResponses":{{"name":{{"action":"accept"}}}},"requestState":{state}"#)
}

#[tokio::test]
async fn the_rounds_of_an_approved_call_neither_ask_again_nor_bypass() {
    let fake = modern(first_asks).await;
    let placet = Placet::start(&fake).await;
    let agent = placet.modern(ANN);
    let first = tokio::spawn(got(round(&agent, "{}", "")));
    placet.decide("approve").await;
    let first = first.await.unwrap();
    assert_eq!(first.json()["result"]["resultType"], "input_required", "{first:?}");
    let state = first.json()["result"]["requestState"].as_str().unwrap().to_owned();
    assert!(!state.contains("own-state"), "sealed");

    let more = reply(&first);
    for (what, request) in [
        ("changed arguments", round(&agent, r#"{"n":1}"#, &more)),
        ("another agent", round(&placet.modern(BOB), "{}", &more)),
        ("the server's own state", round(&agent, "{}", &more.replace(&state, "own-state"))),
        ("no state", round(&agent, "{}", r#","inputResponses":{"name":{}}"#)),
    ] {
        assert_eq!(got(request).await.error(), -32602, "{what}");
    }
    assert_eq!(fake.seen_of("tools/call").len(), 1);

    let done = got(round(&agent, "{}", &more)).await;
    assert_eq!(done.json()["result"]["content"][0]["text"], "done", "{done:?}");
    let second = fake.seen_of("tools/call").pop().unwrap().member("params");
    assert!(second.contains(r#""requestState":"own-state""#), "{second}");
    assert_eq!(got(round(&agent, "{}", &more)).await.error(), -32602, "used before");
    assert!(placet.approvals("pending").await.is_empty());
    assert_eq!(fake.seen_of("tools/call").len(), 2);
    placet.end().await;
}

#[tokio::test]
async fn a_legacy_client_is_asked_what_a_modern_server_wants_to_know() {
    let fake = modern(first_asks).await;
    let placet = Placet::start(&fake).await;
    let agent = session(&placet, "/mcp/u", ALL).await;

    for tool in ["open", "gated"] {
        let mut stream = Stream::open(agent.call("7", tool, "{}")).await;
        if tool == "gated" {
            placet.decide("approve").await;
        }
        let question = stream.message().await.unwrap();
        assert_eq!(question["method"], "elicitation/create", "{question}");
        answers(&agent, &question, r#"{"action":"accept","content":{"n":1}}"#).await;

        let last = stream.rest().await.pop().unwrap();
        assert_eq!(last["result"]["content"][0]["text"], "done", "{tool}: {last}");
        let again = fake.seen_of("tools/call").pop().unwrap().member("params");
        assert!(again.contains(r#""requestState":"own-state""#), "{again}");
        assert!(again.contains(r#""name":{"action":"accept","content":{"n":1}}"#), "{again}");
    }
    assert_eq!(fake.seen_of("tools/call").len(), 4);
    assert!(placet.approvals("pending").await.is_empty());
    placet.end().await;
}

#[tokio::test]
async fn an_answer_to_the_last_round_is_delivered() {
    let fake = modern(first_asks).await;
    let lines = "[server]
max_input_rounds = 1";
    let placet = Placet::before(&fake.url).with(lines).start().await;
    let agent = session(&placet, "/mcp/u", ALL).await;
    let mut stream = Stream::open(agent.call("7", "open", "{}")).await;

    let question = stream.message().await.unwrap();
    answers(&agent, &question, r#"{"action":"accept","content":{"n":1}}"#).await;

    let last = stream.rest().await.pop().unwrap();
    assert_eq!(last["result"]["content"][0]["text"], "done", "{last}");
    placet.end().await;
}

#[tokio::test]
async fn a_server_that_never_has_enough_is_stopped() {
    let fake =
        modern(|_| fake_http::result(r#"{"resultType":"input_required","requestState":"more"}"#))
            .await;
    let lines = "[server]\nmax_input_rounds = 2";
    let placet = Placet::before(&fake.url).with(lines).start().await;
    let agent = session(&placet, "/mcp/u", ALL).await;

    let answer = got(agent.call("7", "open", "{}")).await;

    assert_eq!(answer.error(), -32603);
    assert!(answer.body.contains("too often"), "{answer:?}");
    assert_eq!(fake.seen_of("tools/call").len(), 3, "the first and two rounds");
    placet.end().await;
}
