//! What servers ask of clients, over TCP: who is asked, who answers, and what is declined.

use serde_json::{Value, json};

use crate::support::fake_http::{self, Answer, Fake, Feed};
use crate::support::placet::{ANN, Agent, BOB, Era, Got, Placet, Settings, Stream, got};
use crate::support::until;

use super::{legacy, modern};

const QUESTION: &str = r#"{"jsonrpc":"2.0","id":"q1","method":"elicitation/create","params":{"message":"Sure?","requestedSchema":{"type":"object","properties":{}}}}"#;
const DONE: &str =
    r#"{"jsonrpc":"2.0","id":$ID,"result":{"content":[{"type":"text","text":"done"}]}}"#;
const ALL: &str = r#"{"elicitation":{},"roots":{},"sampling":{}}"#;
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// A legacy server that asks this during a call; it answers the call when the test says so.
async fn asking(question: &'static str) -> (Fake, Feed) {
    let feed = Feed::default();
    let own = feed.clone();
    (legacy(move |_| own.after(question)).await, feed)
}

/// A legacy session at this address whose client declared that.
async fn session(placet: &Placet, path: &str, declares: &str) -> Agent {
    let at = |session| {
        let mut agent = placet.agent(ANN, Era::Legacy { session });
        agent.url = format!("{}{path}", placet.base);
        agent
    };
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"2025-11-25","capabilities":{declares},"clientInfo":{{"name":"test","version":"1"}}}}}}"#
    );
    let answer = got(at(None).post(&body)).await;
    at(Some(answer.header("mcp-session-id")))
}

async fn answers(agent: &Agent, question: &Value, result: &str) {
    let body = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, question["id"]);
    assert_eq!(got(agent.post(&body)).await.status, 202);
}

/// What the server was answered to its question.
async fn answered(fake: &Fake) -> Value {
    let find = || fake.seen().into_iter().find(|s| s.member("id") == "\"q1\"");
    until("the server's question is answered", async || find().is_some()).await;
    serde_json::from_str(&find().unwrap().body).unwrap()
}

/// What was declared to the server for this client: its last `initialize`.
fn declared(fake: &Fake) -> Value {
    let last = fake.seen_of("initialize").pop().unwrap().member("params");
    serde_json::from_str::<Value>(&last).unwrap()["capabilities"].clone()
}

#[tokio::test]
async fn a_question_reaches_the_client_on_its_calls_stream_and_the_answer_the_server() {
    for path in ["/mcp/u", "/mcp"] {
        let (fake, feed) = asking(QUESTION).await;
        let placet = Placet::start(&fake, &Settings::default()).await;
        let agent = session(&placet, path, ALL).await;
        let tool = if path == "/mcp" { "u__open" } else { "open" };

        let mut stream = Stream::open(agent.call("7", tool, "{}")).await;
        let question = stream.message().await.unwrap();
        assert_eq!(question["method"], "elicitation/create");
        assert_eq!(question["params"]["message"], "Sure?");
        assert_ne!(question["id"], "q1", "its id is ours");
        answers(&agent, &question, r#"{"action":"accept","content":{"n":1.00}}"#).await;

        let answer = answered(&fake).await;
        assert_eq!(answer["result"]["action"], "accept", "{path}");
        feed.say(DONE);
        let last = stream.rest().await.pop().unwrap();
        assert_eq!(last["result"]["content"][0]["text"], "done", "{path}");
        // Sampling needs the configuration's consent.
        assert_eq!(declared(&fake), json!({"elicitation": {}, "roots": {}}));
        placet.end().await;
    }
}

#[tokio::test]
async fn an_approved_call_may_ask_while_it_runs() {
    let (fake, feed) = asking(QUESTION).await;
    let placet = Placet::start(&fake, &Settings::default()).await;
    let agent = session(&placet, "/mcp/u", ALL).await;

    let mut stream = Stream::open(agent.call("7", "gated", "{}")).await;
    placet.decide("approve").await;
    let question = stream.message().await.unwrap();
    answers(&agent, &question, r#"{"action":"decline"}"#).await;

    assert_eq!(answered(&fake).await["result"]["action"], "decline");
    feed.say(DONE);
    let last = stream.rest().await.pop().unwrap();
    assert_eq!(last["result"]["_meta"]["io.placet/decision"]["code"], "approved");
    placet.end().await;
}

#[tokio::test]
async fn what_the_client_or_the_policy_does_not_offer_is_declined() {
    const SAMPLING: &str =
        r#"{"jsonrpc":"2.0","id":"q1","method":"sampling/createMessage","params":{}}"#;
    const NOTHING: &str = "client_features = []";
    for (question, declares, configured) in [
        (QUESTION, "{}", ""),
        (QUESTION, r#"{"roots":{}}"#, ""),
        (QUESTION, ALL, NOTHING),
        (SAMPLING, ALL, ""),
    ] {
        let (fake, feed) = asking(question).await;
        let lines = format!("url = \"{}\"\n{configured}", fake.url);
        let placet = Placet::start_before(&lines, &Settings::default()).await;
        let server = std::sync::Arc::clone(placet.broker.upstream("u").unwrap());
        until("the tool list is known", async || server.catalog().is_some()).await;
        let agent = session(&placet, "/mcp/u", declares).await;

        let stream = Stream::open(agent.call("7", "open", "{}")).await;
        let answer = answered(&fake).await;
        assert!(answer.get("error").is_some(), "{declares} {configured}: {answer}");
        feed.say(DONE);
        let told = stream.rest().await;
        assert_eq!(told.len(), 1, "the client hears nothing of it: {told:?}");
        placet.end().await;
    }
}

#[tokio::test]
async fn a_question_is_answered_in_its_own_session_only() {
    let (fake, feed) = asking(QUESTION).await;
    let placet = Placet::start(&fake, &Settings::default()).await;
    let (agent, other) =
        (session(&placet, "/mcp/u", ALL).await, session(&placet, "/mcp/u", ALL).await);
    let mut stream = Stream::open(agent.call("7", "open", "{}")).await;
    let question = stream.message().await.unwrap();

    answers(&other, &question, r#"{"action":"accept","content":{"from":"other"}}"#).await;
    answers(&agent, &question, r#"{"action":"accept","content":{"from":"own"}}"#).await;

    assert_eq!(answered(&fake).await["result"]["content"]["from"], "own");
    feed.say(DONE);
    stream.rest().await;
    placet.end().await;
}

#[tokio::test]
async fn a_question_that_came_with_no_request_waits_for_a_listener_and_is_then_declined() {
    let roots: &str = r#"{"jsonrpc":"2.0","id":"q1","method":"roots/list"}"#;
    for listens in [true, false] {
        let feed = Feed::default();
        let own = feed.clone();
        let fake = Fake::start(move |seen| match (seen.verb.as_str(), seen.method().as_str()) {
            ("GET", _) => own.after(roots),
            (_, "tools/list") => fake_http::result(&crate::support::placet::tool_list()),
            _ => fake_http::legacy(seen).unwrap_or_else(|| fake_http::result(r#"{"content":[]}"#)),
        })
        .await;
        // The listener may come late; where none comes, nothing is worth a long wait.
        let wait = if listens { "30s" } else { "300ms" };
        let settings =
            Settings { server: format!("question_wait = \"{wait}\""), ..Settings::default() };
        let placet = Placet::start(&fake, &settings).await;
        let agent = session(&placet, "/mcp/u", ALL).await;
        let heard = if listens {
            let mut own = Stream::open(agent.http(reqwest::Method::GET)).await;
            // The server asks as soon as the session upstream is open.
            got(agent.call("7", "open", "{}")).await;
            let question = own.message().await.unwrap();
            assert_eq!(question["method"], "roots/list");
            answers(&agent, &question, r#"{"roots":[]}"#).await;
            Some(own)
        } else {
            got(agent.call("7", "open", "{}")).await;
            None
        };

        // Placet's own connection has a stream of that kind too, and answers for nobody.
        until("the question is answered as it should be", async || {
            let answers = fake.seen().into_iter().filter(|s| s.member("id") == "\"q1\"");
            let (mut accepted, mut declined) = (0, 0);
            for answer in answers {
                if answer.member("result") == r#"{"roots":[]}"# {
                    accepted += 1;
                } else {
                    declined += 1;
                }
            }
            if listens { accepted == 1 } else { accepted == 0 && declined >= 2 }
        })
        .await;
        drop(heard);
        placet.end().await;
    }
}

// A modern server.

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
    let placet = Placet::start(&fake, &Settings::default()).await;
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
    let placet = Placet::start(&fake, &Settings::default()).await;
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
    let settings = Settings { server: "max_input_rounds = 1".to_owned(), ..Settings::default() };
    let placet = Placet::start(&fake, &settings).await;
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
    let settings = Settings { server: "max_input_rounds = 2".to_owned(), ..Settings::default() };
    let placet = Placet::start(&fake, &settings).await;
    let agent = session(&placet, "/mcp/u", ALL).await;

    let answer = got(agent.call("7", "open", "{}")).await;

    assert_eq!(answer.error(), -32603);
    assert!(answer.body.contains("too often"), "{answer:?}");
    assert_eq!(fake.seen_of("tools/call").len(), 3, "the first and two rounds");
    placet.end().await;
}
