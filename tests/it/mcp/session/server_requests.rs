//! What servers ask of clients, over TCP: who is asked, who answers, and what is declined.

use serde_json::{Value, json};

use crate::support::fake_http::{self, Fake, Feed};
use crate::support::placet::{ANN, Agent, Era, Placet, Stream, got};
use crate::support::until;

use crate::mcp::legacy;

const QUESTION: &str = r#"{"jsonrpc":"2.0","id":"q1","method":"elicitation/create","params":{"message":"Sure?","requestedSchema":{"type":"object","properties":{}}}}"#;
const DONE: &str =
    r#"{"jsonrpc":"2.0","id":$ID,"result":{"content":[{"type":"text","text":"done"}]}}"#;
pub(in crate::mcp) const ALL: &str = r#"{"elicitation":{},"roots":{},"sampling":{}}"#;

/// A legacy server that asks this during a call; it answers the call when the test says so.
async fn asking(question: &'static str) -> (Fake, Feed) {
    let feed = Feed::default();
    let own = feed.clone();
    (legacy(move |_| own.after(question)).await, feed)
}

/// A legacy session at this address whose client declared that.
pub(in crate::mcp) async fn session(placet: &Placet, path: &str, declares: &str) -> Agent {
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

pub(in crate::mcp) async fn answers(agent: &Agent, question: &Value, result: &str) {
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
        let placet = Placet::start(&fake).await;
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
async fn elicitation_roots_and_sampling_reach_a_client_that_has_them_where_the_configuration_agrees()
 {
    const ROOTS: &str = r#"{"jsonrpc":"2.0","id":"q1","method":"roots/list"}"#;
    const SAMPLING: &str = r#"{"jsonrpc":"2.0","id":"q1","method":"sampling/createMessage","params":{"messages":[],"maxTokens":1}}"#;
    for (question, method, result) in [
        (QUESTION, "elicitation/create", json!({"action": "cancel"})),
        (ROOTS, "roots/list", json!({"roots": [{"uri": "file:///srv"}]})),
        (
            SAMPLING,
            "sampling/createMessage",
            json!({"role": "assistant", "model": "m", "content": {"type": "text", "text": "x"}}),
        ),
    ] {
        let (fake, feed) = asking(question).await;
        let lines = "client_features = [\"elicitation\", \"roots\", \"sampling\"]";
        let placet =
            Placet::before_lines(&format!("url = \"{}\"\n{lines}", fake.url)).start().await;
        let agent = session(&placet, "/mcp/u", ALL).await;

        let mut stream = Stream::open(agent.call("7", "open", "{}")).await;
        let asked = stream.message().await.unwrap();
        answers(&agent, &asked, &result.to_string()).await;

        assert_eq!(asked["method"], method);
        assert_eq!(answered(&fake).await["result"], result, "{method}");
        assert_eq!(declared(&fake), json!({"elicitation": {}, "roots": {}, "sampling": {}}));
        feed.say(DONE);
        assert_eq!(stream.rest().await.len(), 1, "{method}");
        placet.end().await;
    }
}

#[tokio::test]
async fn an_approved_call_may_ask_while_it_runs() {
    let (fake, feed) = asking(QUESTION).await;
    let placet = Placet::start(&fake).await;
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
        let placet = Placet::before_lines(&lines).start().await;
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
    let placet = Placet::start(&fake).await;
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
            ("GET", _) => fake_http::Answer::Fed(own.clone()),
            (_, "tools/list") => fake_http::result(&crate::support::placet::tool_list()),
            _ => fake_http::legacy(seen).unwrap_or_else(|| fake_http::result(r#"{"content":[]}"#)),
        })
        .await;
        // The listener may come late; where none comes, nothing is worth a long wait.
        let wait = if listens { "30s" } else { "300ms" };
        let lines = format!("[server]\nquestion_wait = \"{wait}\"");
        let placet = Placet::before(&fake.url).with(&lines).start().await;
        let agent = session(&placet, "/mcp/u", ALL).await;
        let mut heard = None;
        if listens {
            heard = Some(Stream::open(agent.http(reqwest::Method::GET)).await);
        }
        got(agent.call("7", "open", "{}")).await;
        // Placet's own connection has a stream of that kind too, and answers for nobody. While a
        // request is under way the question would be put to that.
        until("both connections listen", async || feed.streams() >= 2).await;
        feed.say(roots);
        if let Some(own) = &mut heard {
            let question = own.message().await.unwrap();
            assert_eq!(question["method"], "roots/list");
            answers(&agent, &question, r#"{"roots":[]}"#).await;
        }

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
