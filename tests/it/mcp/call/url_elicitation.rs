//! Clients that open pages for their users are sent to the page of the approval they wait for.

use std::sync::Arc;

use placet::domain::policy::Policy;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::support::fake_http::Fake;
use crate::support::placet::{ANN, Agent, BOB, Era, Got, Heard, Placet, Stream, got};
use crate::support::until;

use crate::mcp::{done, legacy, modern, usual};

const SHORT: &str =
    "[approvals]\nhold = \"200ms\"\nhold_with_progress = \"200ms\"\nheartbeat = \"50ms\"";
const OPENS: &str = r#"{"elicitation":{"url":{}}}"#;
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// A round of a modern call: what it declares, and what it adds to the call.
fn round(agent: &Agent, arguments: &str, more: &str, declares: &str) -> RequestBuilder {
    let params = format!(r#"{{"name":"gated","arguments":{arguments}{more}}}"#);
    agent.request_with("7", "tools/call", &params, &[(CAPABILITIES, declares.to_owned())])
}

fn first(agent: &Agent) -> RequestBuilder {
    round(agent, "{}", "", OPENS)
}

/// What the next round adds.
fn with_state(answer: &Got, action: &str) -> String {
    let state = &answer.json()["result"]["requestState"];
    format!(r#","inputResponses":{{"approval":{{"action":"{action}"}}}},"requestState":{state}"#)
}

fn asks(answer: &Got) -> Value {
    let result = answer.json()["result"].clone();
    assert_eq!(result["resultType"], "input_required", "{answer:?}");
    result
}

fn is_waiting(approval: &Value) -> bool {
    approval["waiting"].as_bool().unwrap()
}

#[tokio::test]
async fn a_modern_call_is_sent_to_its_page_and_waits_on_with_its_state() {
    for fake in [legacy(done).await, modern(done).await] {
        let placet = Placet::start(&fake).await;
        let agent = placet.modern(ANN);

        let sent = got(first(&agent)).await;
        let asked = asks(&sent);
        let approval = placet.approval("pending").await;
        let id = approval["id"].as_str().unwrap();
        assert!(!is_waiting(&approval), "nothing is held while the page is opened");
        let request = &asked["inputRequests"]["approval"];
        assert_eq!(request["method"], "elicitation/create");
        assert_eq!(request["params"]["mode"], "url");
        assert_eq!(request["params"]["url"], json!(format!("{}/approvals/{id}", placet.base)));
        assert!(request["params"]["message"].as_str().unwrap().contains("gated"));
        assert_eq!(sent.code(), "approval_pending");

        let next = round(&agent, "{}", &with_state(&sent, "accept"), OPENS);
        let mut stream = Stream::open(next).await;
        assert_eq!(stream.next().await, Some(Heard::Comment), "held, with signs of life");
        assert!(is_waiting(&placet.approval("pending").await));
        placet.decide("approve").await;
        let answer = stream.rest().await.pop().unwrap();

        let decision = &answer["result"]["_meta"]["io.placet/decision"];
        assert_eq!((&decision["code"], &decision["approval"]), (&json!("approved"), &json!(id)));
        let calls = fake.seen_of("tools/call");
        assert_eq!(calls.len(), 1);
        for ours in ["requestState", "inputResponses", "placet1w"] {
            assert!(!calls[0].body.contains(ours), "{ours} reached the server");
        }
        placet.end().await;
    }
}

#[tokio::test]
async fn a_decision_between_the_rounds_answers_the_next_one() {
    let (placet, fake) = usual().await;
    let agent = placet.modern(ANN);

    for (decision, code) in [("approve", "approved"), ("reject", "approval_rejected")] {
        let arguments = format!(r#"{{"n":"{decision}"}}"#);
        let sent = got(round(&agent, &arguments, "", OPENS)).await;
        let id = placet.decide(decision).await;
        let next = || round(&agent, &arguments, &with_state(&sent, "accept"), OPENS);
        let answer = got(next()).await;
        assert_eq!((answer.code().as_str(), &answer.decision()["approval"]), (code, &json!(id)));

        // Brought again it hears of the same end, and asks nobody anew.
        let again = got(next()).await;
        assert_eq!(again.decision()["approval"], json!(id));
        assert!(placet.approvals("pending").await.is_empty());
    }
    assert_eq!(fake.seen_of("tools/call").len(), 1);
    placet.end().await;
}

#[tokio::test]
async fn undecided_rounds_go_on_without_the_page_and_end_with_a_hand_over() {
    let fake = legacy(done).await;
    let lines = format!("{SHORT}\npage_rounds = 3");
    let placet = Placet::before(&fake.url).with(&lines).start().await;
    let agent = placet.modern(ANN);

    let mut answer = got(first(&agent)).await;
    let mut rounds = 1;
    while answer.json()["result"]["resultType"] == "input_required" {
        let more = with_state(&answer, "accept");
        answer = got(round(&agent, "{}", &more, OPENS)).await;
        rounds += 1;
        assert_eq!(answer.json()["result"].get("inputRequests"), None, "nobody is asked twice");
        assert!(rounds < 20, "it never ends");
    }

    assert_eq!((rounds, answer.code().as_str()), (4, "approval_pending"));
    assert_eq!(placet.approvals("pending").await.len(), 1);
    placet.end().await;
}

#[tokio::test]
async fn who_declines_the_page_is_handed_over_at_once_and_not_asked_again() {
    let (placet, _fake) = usual().await;
    let agent = placet.modern(ANN);

    for (n, action) in ["decline", "cancel"].into_iter().enumerate() {
        let arguments = format!(r#"{{"n":{n}}}"#);
        let sent = got(round(&agent, &arguments, "", OPENS)).await;
        let more = with_state(&sent, action);
        let answer = got(round(&agent, &arguments, &more, OPENS)).await;
        assert_eq!(answer.json()["result"]["isError"], true, "{answer:?}");
        assert_eq!(answer.code(), "approval_pending");

        let again = Stream::open(round(&agent, &arguments, "", OPENS)).await;
        let id = placet.decide("approve").await;
        let answer = again.rest().await.pop().unwrap();
        assert_eq!(answer["result"]["_meta"]["io.placet/decision"]["approval"], json!(id));
    }
    placet.end().await;
}

#[tokio::test]
async fn a_state_is_good_for_its_agent_and_its_call_only() {
    let (placet, fake) = usual().await;
    let agent = placet.modern(ANN);
    let sent = got(first(&agent)).await;
    let more = with_state(&sent, "accept");
    let state = sent.json()["result"]["requestState"].as_str().unwrap().to_owned();

    let mut broken = state.clone();
    broken.insert(12, 'A');
    let relabelled = state.replacen("placet1w.", "placet1.", 1);
    for (what, request) in [
        ("other arguments", round(&agent, r#"{"n":1}"#, &more, OPENS)),
        ("another agent", round(&placet.modern(BOB), "{}", &more, OPENS)),
        ("changed", round(&agent, "{}", &more.replace(&state, &broken), OPENS)),
        ("taken for a proof", round(&agent, "{}", &more.replace(&state, &relabelled), OPENS)),
        ("no state", round(&agent, "{}", r#","inputResponses":{"approval":{}}"#, OPENS)),
    ] {
        let refused = got(request).await;
        assert_eq!(refused.error(), -32602, "{what}: {refused:?}");
    }
    assert_eq!(placet.approvals("pending").await.len(), 1);
    assert!(fake.seen_of("tools/call").is_empty());
    placet.end().await;
}

#[tokio::test]
async fn a_call_that_is_allowed_meanwhile_runs_without_the_state() {
    let (placet, fake) = usual().await;
    let agent = placet.modern(ANN);
    let sent = got(first(&agent)).await;
    let open = r#"{"version":"1","default":"allow"}"#;
    placet.broker.policies().replace("u", Arc::new(Policy::read(open).unwrap().0));

    let answer = got(round(&agent, "{}", &with_state(&sent, "accept"), OPENS)).await;

    assert_eq!(answer.json()["result"]["content"][0]["text"], "done", "{answer:?}");
    let calls = fake.seen_of("tools/call");
    assert_eq!(calls.len(), 1);
    assert!(!calls[0].body.contains("requestState") && !calls[0].body.contains("inputResponses"));
    assert_eq!(placet.approvals("cancelled").await.len(), 1);
    placet.end().await;
}

#[tokio::test]
async fn who_opens_no_pages_or_may_not_is_held() {
    const ZOE: &str = "token-of-the-agent-zoe";
    const KAI: &str = "token-of-the-agent-kai";
    let fake = legacy(done).await;
    let agents = format!(
        "[[agents]]\nname = \"zoe\"\ntoken = \"{ZOE}\"\nurl_elicitation = false\n\
         [[agents]]\nname = \"kai\"\ntoken = \"{KAI}\"\nclient_features = [\"roots\"]"
    );
    let placet = Placet::before(&fake.url).with(&agents).start().await;

    for (token, declares) in [
        (ANN, "{}"),
        (ANN, r#"{"elicitation":{}}"#),
        (ANN, r#"{"elicitation":{"form":{}}}"#),
        (ZOE, OPENS),
        (KAI, OPENS),
    ] {
        let agent = placet.modern(token);
        let stream = Stream::open(round(&agent, r#"{"n":1}"#, "", declares)).await;
        placet.decide("approve").await;
        let answer = stream.rest().await.pop().unwrap();
        assert_eq!(answer["result"]["_meta"]["io.placet/decision"]["code"], "approved");
    }
    placet.end().await;
}

/// A legacy session whose client declared this.
async fn session(placet: &Placet, version: &str, declares: &str) -> Agent {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"{version}","capabilities":{declares},"clientInfo":{{"name":"test","version":"1"}}}}}}"#
    );
    let agent = placet.agent(ANN, Era::Legacy { session: None });
    let answer = got(agent.post(&body)).await;
    let session = Some(answer.header("mcp-session-id"));
    placet.agent(ANN, Era::Legacy { session })
}

/// Opens a held call and waits for the page it is sent to.
async fn asked(agent: &Agent) -> (Stream, Value) {
    let mut stream = Stream::open(agent.call("7", "gated", "{}")).await;
    let question = stream.message().await.unwrap();
    assert_eq!(question["method"], "elicitation/create");
    (stream, question)
}

async fn answer(agent: &Agent, question: &Value, action: &str) {
    let id = &question["id"];
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"action":"{action}"}}}}"#);
    assert_eq!(got(agent.post(&body)).await.status, 202);
}

async fn legacy_call(fake: &Fake) -> (Placet, Agent) {
    let placet = Placet::start(fake).await;
    let agent = session(&placet, "2025-11-25", OPENS).await;
    (placet, agent)
}

#[tokio::test]
async fn a_legacy_client_is_sent_to_the_page_on_the_stream_of_its_call() {
    for fake in [legacy(done).await, modern(done).await] {
        let (placet, agent) = legacy_call(&fake).await;
        let (stream, question) = asked(&agent).await;
        let id = placet.approval("pending").await["id"].as_str().unwrap().to_owned();
        assert_eq!(question["params"]["mode"], "url");
        assert_eq!(question["params"]["url"], json!(format!("{}/approvals/{id}", placet.base)));
        let elicitation = question["params"]["elicitationId"].clone();

        answer(&agent, &question, "accept").await;
        placet.decide("approve").await;

        let told = stream.rest().await;
        let complete = &told[0];
        assert_eq!(complete["method"], "notifications/elicitation/complete");
        assert_eq!(complete["params"]["elicitationId"], elicitation);
        let last = told.last().unwrap();
        assert_eq!(last["id"], 7);
        assert_eq!(last["result"]["_meta"]["io.placet/decision"]["code"], "approved");
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(fake.seen_of("tools/call").len(), 1);
        placet.end().await;
    }
}

#[tokio::test]
async fn a_legacy_client_that_declines_is_handed_over_and_waits_without_the_page() {
    let fake = legacy(done).await;
    let (placet, agent) = legacy_call(&fake).await;
    let (stream, question) = asked(&agent).await;

    answer(&agent, &question, "decline").await;
    let pending = stream.rest().await.pop().unwrap();
    assert_eq!(pending["result"]["_meta"]["io.placet/decision"]["code"], "approval_pending");

    let mut again = Stream::open(agent.call("8", "gated", "{}")).await;
    until("it waits again", async || is_waiting(&placet.approval("pending").await)).await;
    placet.decide("approve").await;
    let told = again.message().await.unwrap();
    assert_eq!(told["method"], "notifications/elicitation/complete", "not asked again");
    placet.end().await;
}

#[tokio::test]
async fn a_legacy_client_that_fails_to_show_the_page_waits_on() {
    let fake = legacy(done).await;
    let (placet, agent) = legacy_call(&fake).await;
    let (stream, question) = asked(&agent).await;

    let body = format!(
        r#"{{"jsonrpc":"2.0","id":{},"error":{{"code":-32603,"message":"no window"}}}}"#,
        question["id"]
    );
    assert_eq!(got(agent.post(&body)).await.status, 202);
    placet.decide("reject").await;

    let last = stream.rest().await.pop().unwrap();
    assert_eq!(last["result"]["_meta"]["io.placet/decision"]["code"], "approval_rejected");
    placet.end().await;
}

#[tokio::test]
async fn legacy_clients_that_know_no_pages_are_not_asked() {
    let fake = legacy(done).await;
    let placet = Placet::start(&fake).await;

    for (version, declares) in
        [("2025-06-18", OPENS), ("2025-11-25", "{}"), ("2025-11-25", r#"{"elicitation":{}}"#)]
    {
        let agent = session(&placet, version, declares).await;
        let stream = Stream::open(agent.call("7", "gated", "{}")).await;
        placet.decide("approve").await;
        let told = stream.rest().await;
        assert_eq!(told.len(), 1, "{version} {declares}: {told:?}");
    }
    placet.end().await;
}
