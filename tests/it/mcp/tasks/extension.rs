//! The extension `io.modelcontextprotocol/tasks` on the wire.

use serde_json::{Value, json};

use crate::support::placet::{ANN, Agent, BOB, Got, Placet, Stream, got};
use crate::support::until;

use crate::mcp::{legacy, modern, usual};

const CAPABLE: &str = r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;

fn capable() -> [(&'static str, String); 1] {
    [("io.modelcontextprotocol/clientCapabilities", CAPABLE.to_owned())]
}

/// A request that declares the extension.
async fn ask(agent: &Agent, method: &str, params: &str) -> Got {
    got(agent.request_with("7", method, params, &capable())).await
}

async fn call(agent: &Agent, tool: &str, arguments: &str) -> Got {
    let params = format!(r#"{{"name":"{tool}","arguments":{arguments}}}"#);
    ask(agent, "tools/call", &params).await
}

/// A gated call that became a task: its id.
async fn task(agent: &Agent, arguments: &str) -> String {
    let made = call(agent, "gated", arguments).await.json()["result"].clone();
    assert_eq!(made["resultType"], "task", "{made}");
    made["taskId"].as_str().unwrap().to_owned()
}

fn named(id: &str) -> String {
    format!(r#"{{"taskId":"{id}"}}"#)
}

async fn get(agent: &Agent, id: &str) -> Value {
    ask(agent, "tasks/get", &named(id)).await.json()["result"].clone()
}

async fn ended(agent: &Agent, id: &str, status: &str) -> Value {
    until("the task's end", async || get(agent, id).await["status"] == status).await;
    get(agent, id).await
}

#[tokio::test]
async fn a_held_call_is_answered_by_a_task_that_ends_with_the_upstreams_own_result() {
    let (placet, fake) = usual().await;
    let agent = placet.modern(ANN);

    let made = call(&agent, "gated", "{}").await;
    assert_eq!((made.status, made.header("content-type")), (200, "application/json".to_owned()));
    let made = made.json()["result"].clone();
    assert_eq!((&made["resultType"], &made["status"]), (&json!("task"), &json!("working")));
    assert_eq!(made["pollIntervalMs"], 5000);
    let life = (15 * 60 + 10 * 60 + 24 * 3600) * 1000;
    assert!((life - 10_000..=life).contains(&made["ttlMs"].as_i64().unwrap()), "{made}");
    assert_eq!(made["_meta"]["io.placet/decision"]["code"], "approval_pending");
    for absent in ["result", "error", "inputRequests", "task", "ttl", "pollInterval"] {
        assert!(made.get(absent).is_none(), "{absent}: {made}");
    }
    let id = made["taskId"].as_str().unwrap();
    assert!(id.len() == 68 && id.starts_with("tsk_"), "{id}");
    let waits = get(&agent, id).await;
    assert_eq!((&waits["resultType"], &waits["status"]), (&json!("complete"), &json!("working")));
    assert_eq!(placet.approval("pending").await["waiting"], true);

    let approval = placet.decide("approve").await;
    let end = ended(&agent, id, "completed").await;

    assert_eq!(end["result"]["content"][0]["text"], "done");
    assert_eq!(end["result"]["resultType"], "complete");
    let decision = &end["result"]["_meta"]["io.placet/decision"];
    assert_eq!((&decision["code"], &decision["approval"]), (&json!("approved"), &json!(approval)));
    assert_eq!(get(&agent, id).await, end, "and again the same");
    assert_eq!(fake.seen_of("tools/call").len(), 1);
    placet.end().await;
}

#[tokio::test]
async fn refusals_are_results_and_what_needs_no_people_is_no_task() {
    let (placet, _fake) = usual().await;
    let agent = placet.modern(ANN);
    let id = task(&agent, "{}").await;
    placet.decide("reject").await;

    let end = ended(&agent, &id, "completed").await;
    assert_eq!(end["result"]["isError"], true);
    assert_eq!(end["result"]["_meta"]["io.placet/decision"]["code"], "approval_rejected");

    // The same answer for its cooldown, and so is what a rule says at once.
    assert_eq!(call(&agent, "gated", "{}").await.code(), "approval_rejected");
    assert_eq!(call(&agent, "denied", "{}").await.code(), "policy_denied");
    let allowed = call(&agent, "open", "{}").await.json()["result"].clone();
    assert_eq!(allowed["resultType"], "complete");
    placet.end().await;
}

#[tokio::test]
async fn tasks_are_for_clients_that_declare_them_with_this_very_request() {
    let (placet, _fake) = usual().await;
    let agent = placet.modern(ANN);
    let id = task(&agent, "{}").await;

    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let refused = got(agent.request("1", method, &named(&id))).await;
        assert_eq!((refused.status, refused.error()), (400, -32021), "{method}");
        let needed = &refused.json()["error"]["data"]["requiredCapabilities"];
        assert_eq!(needed, &serde_json::from_str::<Value>(CAPABLE).unwrap());
    }
    for method in ["tasks/result", "tasks/list"] {
        let refused = ask(&agent, method, &named(&id)).await;
        assert_eq!((refused.status, refused.error()), (404, -32601), "{method}");
    }
    let stream = Stream::open(agent.call("2", "gated", "{}")).await;
    drop(stream);
    placet.end().await;
}

#[tokio::test]
async fn another_agents_task_an_unknown_one_and_one_at_another_upstream_are_answered_alike() {
    let (placet, _fake) = usual().await;
    let agent = placet.modern(ANN);
    let id = task(&agent, "{}").await;
    let unknown = format!("tsk_{}", "0".repeat(64));

    for method in ["tasks/get", "tasks/cancel"] {
        let none = ask(&agent, method, &named(&unknown)).await;
        assert_eq!((none.status, none.error()), (200, -32602));
        for other in [placet.modern(BOB), agent.at("other")] {
            let foreign = ask(&other, method, &named(&id)).await;
            assert_eq!((foreign.status, foreign.body), (none.status, none.body.clone()));
        }
    }
    let answers = format!(r#"{{"taskId":"{id}","inputResponses":{{}}}}"#);
    assert_eq!(ask(&placet.modern(BOB), "tasks/update", &answers).await.error(), -32602);
    let nameless = agent.request_with("1", "tasks/get", "{}", &capable()).header("mcp-name", "x");
    assert_eq!(got(nameless).await.error(), -32602);
    assert_eq!(get(&agent, &id).await["status"], "working");
    placet.end().await;
}

#[tokio::test]
async fn ending_a_task_is_acknowledged_however_often_and_withdraws_the_call() {
    let (placet, fake) = usual().await;
    let agent = placet.modern(ANN);
    let id = task(&agent, "{}").await;

    for _ in 0..2 {
        let ack = ask(&agent, "tasks/cancel", &named(&id)).await;
        assert_eq!(ack.json()["result"], json!({"resultType": "complete"}));
    }

    let end = get(&agent, &id).await;
    assert_eq!(end["status"], "cancelled");
    assert!(end.get("result").is_none(), "{end}");
    assert_eq!(placet.approval("cancelled").await["waiting"], false);
    assert!(fake.seen_of("tools/call").is_empty());
    let answers = format!(r#"{{"taskId":"{id}","inputResponses":{{"a":{{}}}}}}"#);
    let ack = ask(&agent, "tasks/update", &answers).await;
    assert_eq!(ack.json()["result"], json!({"resultType": "complete"}));
    placet.end().await;
}

#[tokio::test]
async fn discovery_names_the_extension_and_no_slot_of_the_core() {
    for fake in [legacy(crate::mcp::done).await, modern(crate::mcp::done).await] {
        let placet = Placet::start(&fake).await;

        let facts = got(placet.modern(ANN).request("1", "server/discover", "{}")).await;

        let capabilities = facts.json()["result"]["capabilities"].clone();
        assert_eq!(capabilities["extensions"], json!({"io.modelcontextprotocol/tasks": {}}));
        assert!(capabilities.get("tasks").is_none(), "{capabilities}");
        placet.end().await;
    }
}

#[tokio::test]
async fn beyond_the_agents_tasks_a_call_is_held() {
    let fake = legacy(crate::mcp::done).await;
    let lines = "[approvals]\nhold = \"20s\"\nheartbeat = \"100ms\"\nmax_tasks_per_agent = 1\ntask_poll_interval = \"1s\"";
    let placet = Placet::before(&fake.url).with(lines).start().await;
    let agent = placet.modern(ANN);
    task(&agent, r#"{"n":1}"#).await;

    let params = r#"{"name":"gated","arguments":{"n":2}}"#;
    let stream = Stream::open(agent.request_with("2", "tools/call", params, &capable())).await;
    placet.decide("approve").await;

    let answer: Value = serde_json::from_str(&stream.last().await).unwrap();
    assert_eq!(answer["result"]["content"][0]["text"], "done");
    placet.end().await;
}

#[tokio::test]
async fn a_subscription_tells_of_its_own_agents_tasks_and_counts_as_looking() {
    let (placet, fake) = usual().await;
    let agent = placet.modern(ANN);
    let (mine, ended) = (task(&agent, r#"{"n":1}"#).await, task(&agent, r#"{"n":2}"#).await);
    let foreign = task(&placet.modern(BOB), r#"{"n":3}"#).await;
    ask(&agent, "tasks/cancel", &named(&ended)).await;
    let wanted =
        json!({"notifications": {"taskIds": [mine, foreign, "tsk_none", ended]}}).to_string();

    let refused = got(agent.request("1", "subscriptions/listen", &wanted)).await;
    assert_eq!((refused.status, refused.error()), (400, -32021));
    let listen = agent.request_with("\"l\"", "subscriptions/listen", &wanted, &capable());
    let mut stream = Stream::open(listen).await;
    let ack = stream.message().await.unwrap();
    assert_eq!(ack["params"]["notifications"], json!({"taskIds": [mine, ended]}));
    let over = stream.message().await.unwrap();
    assert_eq!(over["method"], "notifications/tasks");
    assert_eq!(
        (&over["params"]["taskId"], &over["params"]["status"]),
        (&json!(ended), &json!("cancelled"))
    );

    let all = placet.approvals("pending").await;
    let id = all.iter().find(|a| a["arguments"]["n"] == 1).unwrap()["id"].as_str().unwrap();
    placet.decide_on(id, "approve").await;
    let end = stream.message().await.unwrap()["params"].clone();

    assert_eq!((&end["taskId"], &end["status"]), (&json!(mine), &json!("completed")));
    assert_eq!(end["result"]["content"][0]["text"], "done");
    assert_eq!(end["_meta"]["io.modelcontextprotocol/subscriptionId"], "l");
    assert!(end.get("resultType").is_none());
    assert_eq!(fake.seen_of("tools/call").len(), 1);
    placet.end().await;
}
