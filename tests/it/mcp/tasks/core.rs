//! The experimental tasks in the core of 2025-11-25 on the wire.

use serde_json::{Value, json};

use crate::support::fake_http;
use crate::support::placet::{ANN, Agent, Era, Got, Heard, Placet, Stream, got};
use crate::support::until;

use crate::mcp::{legacy, usual};

const RELATED: &str = "io.modelcontextprotocol/related-task";

async fn call(agent: &Agent, tool: &str, arguments: &str) -> Got {
    let params = format!(r#"{{"name":"{tool}","arguments":{arguments},"task":{{"ttl":60000}}}}"#);
    got(agent.request("7", "tools/call", &params)).await
}

/// A gated call that became a task: its id.
async fn task(agent: &Agent, arguments: &str) -> String {
    let made = call(agent, "gated", arguments).await.json()["result"].clone();
    made["task"]["taskId"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned()
}

fn named(id: &str) -> String {
    format!(r#"{{"taskId":"{id}"}}"#)
}

async fn ask(agent: &Agent, method: &str, id: &str) -> Got {
    got(agent.request("8", method, &named(id))).await
}

#[tokio::test]
async fn a_call_as_a_task_waits_in_tasks_result_and_ends_with_the_upstreams_own_result() {
    let (placet, fake) = usual().await;
    let agent = placet.legacy(ANN).await;

    let made = call(&agent, "gated", "{}").await.json()["result"].clone();
    let task = &made["task"];
    assert_eq!((&task["status"], &task["pollInterval"]), (&json!("working"), &json!(5000)));
    assert!(task["ttl"].as_i64().unwrap() > 24 * 3600 * 1000, "not what was asked: {task}");
    let hint = &made["_meta"]["io.modelcontextprotocol/model-immediate-response"];
    assert!(hint.as_str().unwrap().contains("Not executed yet"), "{hint}");
    let id = task["taskId"].as_str().unwrap().to_owned();
    let seen = ask(&agent, "tasks/get", &id).await.json()["result"].clone();
    assert_eq!((&seen["taskId"], &seen["status"]), (&json!(id), &json!("working")));

    let wait = agent.request_with(
        "9",
        "tasks/result",
        &named(&id),
        &[("progressToken", "\"p\"".to_owned())],
    );
    let mut stream = Stream::open(wait).await;
    let beat = stream.message().await.unwrap();
    assert_eq!(beat["method"], "notifications/progress");
    assert_eq!(beat["params"]["_meta"][RELATED]["taskId"], json!(id));
    assert_eq!(placet.approval("pending").await["waiting"], true);
    placet.decide("approve").await;
    let end: Value = serde_json::from_str(&stream.last().await).unwrap();

    assert_eq!((&end["id"], &end["result"]["content"][0]["text"]), (&json!(9), &json!("done")));
    assert_eq!(end["result"]["_meta"][RELATED]["taskId"], json!(id));
    assert_eq!(end["result"]["_meta"]["io.placet/decision"]["code"], "approved");
    assert!(end["result"].get("resultType").is_none());
    assert_eq!(ask(&agent, "tasks/get", &id).await.json()["result"]["status"], "completed");
    let again = ask(&agent, "tasks/result", &id).await;
    assert_eq!(again.json()["result"], end["result"], "and again the same");
    assert_eq!(fake.seen_of("tools/call").len(), 1);
    placet.end().await;
}

#[tokio::test]
async fn without_a_stream_the_end_comes_as_one_document_and_a_refusal_says_why() {
    let (placet, _fake) = usual().await;
    let agent = placet.legacy(ANN).await;
    let id = task(&agent, "{}").await;
    let plain = agent.plain();
    let wait = tokio::spawn(got(plain.request("9", "tasks/result", &named(&id))));
    until("a request waits", async || placet.broker.figures().await.unwrap().held == 1).await;

    placet.decide("reject").await;

    let end = wait.await.unwrap();
    assert_eq!(
        (end.header("content-type").as_str(), end.code().as_str()),
        ("application/json", "approval_rejected")
    );
    let seen = ask(&agent, "tasks/get", &id).await.json()["result"].clone();
    assert_eq!(seen["status"], "completed");
    assert!(seen["statusMessage"].as_str().unwrap().starts_with("[approval_rejected]"), "{seen}");
    placet.end().await;
}

#[tokio::test]
async fn an_ended_task_is_cancelled_at_once_and_cannot_be_ended_again() {
    let (placet, _fake) = usual().await;
    let agent = placet.legacy(ANN).await;
    let id = task(&agent, "{}").await;
    let mut stream = Stream::open(agent.request("9", "tasks/result", &named(&id))).await;
    assert_eq!(stream.next().await, Some(Heard::Comment));
    until("a request waits", async || placet.broker.figures().await.unwrap().held == 1).await;

    // The request that waits is the task's own and keeps nothing alive.
    let ended = ask(&agent, "tasks/cancel", &id).await.json()["result"].clone();
    assert_eq!((&ended["taskId"], &ended["status"]), (&json!(id), &json!("cancelled")));
    let end: Value = serde_json::from_str(&stream.last().await).unwrap();
    assert_eq!(end["result"]["_meta"]["io.placet/decision"]["code"], "approval_cancelled");
    assert_eq!(end["result"]["_meta"][RELATED]["taskId"], json!(id));
    placet.approval("cancelled").await;
    let again = ask(&agent, "tasks/cancel", &id).await;
    assert_eq!(again.error(), -32602);
    assert!(again.body.contains("already in terminal status 'cancelled'"), "{}", again.body);
    assert_eq!(ask(&agent, "tasks/cancel", "tsk_none").await.error(), -32602);
    placet.end().await;
}

#[tokio::test]
async fn the_list_has_pages_and_only_the_agents_own_tasks() {
    let (placet, _fake) = usual().await;
    let agent = placet.legacy(ANN).await;
    let mut made = Vec::new();
    for n in 0..52 {
        made.push(task(&agent, &format!(r#"{{"n":{n}}}"#)).await);
    }
    made.reverse();
    let page = async |agent: &Agent, params: &str| {
        got(agent.request("1", "tasks/list", params)).await.json()["result"].clone()
    };
    let ids = |page: &Value| {
        let tasks = page["tasks"].as_array().unwrap();
        tasks.iter().map(|t| t["taskId"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };

    let first = page(&agent, "{}").await;
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = page(&agent, &format!(r#"{{"cursor":"{cursor}"}}"#)).await;

    assert_eq!([ids(&first), ids(&second)].concat(), made);
    assert!(second.get("nextCursor").is_none());
    let foreign = placet.legacy(crate::support::placet::BOB).await;
    assert!(ids(&page(&foreign, "{}").await).is_empty());
    let wrong = got(agent.request("1", "tasks/list", r#"{"cursor":"x"}"#)).await;
    assert_eq!(wrong.error(), -32602);
    placet.end().await;
}

#[tokio::test]
async fn only_sessions_of_that_version_are_told_of_tasks_and_only_of_gated_tools() {
    let fake = legacy(|_| fake_http::error(200, -32601)).await;
    let placet = Placet::start(&fake).await;
    let agent = placet.agent(ANN, Era::Legacy { session: None });
    for (version, knows) in [("2025-11-25", true), ("2025-06-18", false), ("2024-11-05", false)] {
        let opened = agent.initialize(version).await;
        let session = Some(opened.header("mcp-session-id"));
        let capabilities = opened.json()["result"]["capabilities"].clone();
        let expected = json!({"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}});
        assert_eq!(capabilities.get("tasks"), Some(&expected).filter(|_| knows), "{version}");

        let own = placet.agent(ANN, Era::Legacy { session });
        let list = got(own.request("1", "tools/list", "{}")).await.json()["result"].clone();
        for tool in list["tools"].as_array().unwrap() {
            let gated = ["gated", "brief"].contains(&tool["name"].as_str().unwrap());
            let said = tool["execution"]["taskSupport"].as_str();
            assert_eq!(said, Some("optional").filter(|_| knows && gated), "{version}: {tool}");
        }
        let method = got(own.request("1", "tasks/list", "{}")).await;
        assert_eq!(method.json().get("error").is_none(), knows, "{version}");
    }
    // Who speaks an older version is held, whatever it asks for.
    let old = agent.initialize("2025-06-18").await.header("mcp-session-id");
    let old = placet.agent(ANN, Era::Legacy { session: Some(old) });
    let params = r#"{"name":"gated","arguments":{},"task":{}}"#;
    let stream = Stream::open(old.request("1", "tools/call", params)).await;
    drop(stream);
    placet.end().await;
}

#[tokio::test]
async fn a_broker_that_stops_ends_the_wait_and_not_the_task() {
    let (placet, _fake) = usual().await;
    let agent = placet.legacy(ANN).await;
    let id = task(&agent, "{}").await;
    let mut stream = Stream::open(agent.request("9", "tasks/result", &named(&id))).await;
    assert_eq!(stream.next().await, Some(Heard::Comment));
    let end = tokio::spawn(stream.last());

    placet.end().await;

    let end: Value = serde_json::from_str(&end.await.unwrap()).unwrap();
    assert_eq!(end["error"]["code"], -32603, "{end}");
}

#[tokio::test]
async fn the_stream_of_a_session_tells_how_its_agents_tasks_go_on() {
    let (placet, _fake) = usual().await;
    let agent = placet.legacy(ANN).await;
    let mut stream = Stream::open(agent.http(reqwest::Method::GET)).await;
    assert_eq!(stream.next().await, Some(Heard::Comment));
    let id = task(&agent, "{}").await;

    placet.decide("reject").await;

    let told = stream.message().await.unwrap();
    assert_eq!(told["method"], "notifications/tasks/status");
    assert_eq!(
        (&told["params"]["taskId"], &told["params"]["status"]),
        (&json!(id), &json!("completed"))
    );
    assert!(told["params"].get("_meta").is_none());
    placet.end().await;
}
