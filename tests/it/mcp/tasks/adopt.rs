//! Allowed calls that a server answers with a task of its own: known by an id of ours.

use serde_json::{Value, json};

use crate::support::fake_http::{self, Answer, Fake, Seen, error, result};
use crate::support::placet::{ANN, Agent, BOB, Got, Placet, got, tool_list};
use crate::support::until;

const RELATED: &str = "io.modelcontextprotocol/related-task";
const CAPABLE: &str = r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;

fn modern(seen: &Seen) -> Answer {
    match seen.method().as_str() {
        "tools/list" => {
            let list = tool_list();
            let rest = r#","resultType":"complete","ttlMs":5,"cacheScope":"private"}"#;
            result(&format!("{}{rest}", &list[..list.len() - 1]))
        }
        "tools/call" if seen.body.contains("io.modelcontextprotocol/tasks") => result(
            r#"{"resultType":"task","taskId":"t-1","status":"working","ttlMs":60000,"n":1.00}"#,
        ),
        "tools/call" => result(r#"{"resultType":"complete","content":[]}"#),
        "tasks/get" => result(
            r#"{"resultType":"complete","taskId":"t-1","status":"input_required","ttlMs":60000,"inputRequests":{"q":{}}}"#,
        ),
        "tasks/update" | "tasks/cancel" => result(r#"{"resultType":"complete"}"#),
        _ => fake_http::modern(seen).unwrap_or(Answer::Status(405)),
    }
}

/// A server of 2025-11-25; with tasks, `open` may be called as one.
fn core(seen: &Seen, with_tasks: bool) -> Answer {
    let capabilities = if with_tasks {
        r#"{"tools":{},"tasks":{"list":{},"cancel":{},"requests":{"tools":{"call":{}}}}}"#
    } else {
        r#"{"tools":{}}"#
    };
    match seen.method().as_str() {
        "initialize" => Answer::Session(
            "s".to_owned(),
            format!(
                r#"{{"jsonrpc":"2.0","id":$ID,"result":{{"protocolVersion":"2025-11-25","capabilities":{capabilities},"serverInfo":{{"name":"fake","version":"1"}}}}}}"#
            ),
        ),
        "tools/list" => {
            let open = r#"{"name":"open","#;
            let optional = r#"{"name":"open","execution":{"taskSupport":"optional"},"#;
            result(&tool_list().replace(open, if with_tasks { optional } else { open }))
        }
        "tools/call" if seen.body.contains(r#""task":"#) => result(
            r#"{"task":{"taskId":"t-1","status":"working","createdAt":"2026-01-01T00:00:00Z","lastUpdatedAt":"2026-01-01T00:00:00Z","ttl":null}}"#,
        ),
        "tasks/get" | "tasks/cancel" => result(
            r#"{"taskId":"t-1","status":"completed","createdAt":"2026-01-01T00:00:00Z","lastUpdatedAt":"2026-01-01T00:00:00Z","ttl":null}"#,
        ),
        "tasks/result" => result(
            r#"{"content":[{"type":"text","text":"theirs"}],"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t-1"}}}"#,
        ),
        "tasks/list" => error(200, -32601),
        _ => fake_http::legacy(seen).unwrap_or_else(|| crate::mcp::done(seen)),
    }
}

async fn ask(agent: &Agent, method: &str, params: &str) -> Got {
    let capable = [("io.modelcontextprotocol/clientCapabilities", CAPABLE.to_owned())];
    got(agent.request_with("7", method, params, &capable)).await
}

fn named(id: &str) -> String {
    format!(r#"{{"taskId":"{id}"}}"#)
}

#[tokio::test]
async fn a_modern_servers_task_is_reached_by_its_own_agent_under_an_id_of_ours() {
    let fake = Fake::start(modern).await;
    let placet = Placet::start(&fake).await;
    let agent = placet.modern(ANN);

    let plain = got(agent.call("1", "open", "{}")).await;
    assert_eq!(plain.json()["result"]["resultType"], "complete", "not declared, not told");
    let made = ask(&agent, "tools/call", r#"{"name":"open","arguments":{}}"#).await;
    assert!(made.body.contains(r#""n":1.00"#), "{}", made.body);
    let id = made.json()["result"]["taskId"].as_str().unwrap().to_owned();
    assert!(id.starts_with("tsk_"), "{id}");

    let seen = ask(&agent, "tasks/get", &named(&id)).await.json()["result"].clone();
    assert_eq!((&seen["taskId"], &seen["inputRequests"]), (&json!(id), &json!({"q": {}})));
    let update = format!(r#"{{"taskId":"{id}","inputResponses":{{"q":{{"n":1.00}}}}}}"#);
    for (method, params) in [("tasks/update", update.as_str()), ("tasks/cancel", &named(&id))] {
        let ack = ask(&agent, method, params).await;
        assert_eq!(ack.json()["result"]["resultType"], "complete", "{method}");
        let sent = fake.seen_of(method).pop().unwrap();
        assert_eq!((sent.header("mcp-name").as_str(), sent.body.contains("t-1")), ("t-1", true));
    }
    assert!(fake.seen_of("tasks/update")[0].body.contains(r#""inputResponses":{"q":{"n":1.00}}"#));

    for foreign in ["t-1", id.as_str()] {
        let none = ask(&placet.modern(BOB), "tasks/get", &named(foreign)).await;
        assert_eq!((none.status, none.error()), (200, -32602));
    }
    assert_eq!(ask(&agent, "tasks/get", &named("t-1")).await.error(), -32602);
    assert_eq!(fake.seen_of("tasks/get").len(), 1);
    placet.end().await;
}

#[tokio::test]
async fn the_error_of_a_servers_task_is_told_from_a_decision_of_ours() {
    let fake = Fake::start(|seen| match seen.method().as_str() {
        "tasks/get" => result(
            r#"{"resultType":"complete","taskId":"t-1","status":"failed","ttlMs":60000,"error":{"code":-31100,"message":"[approval_rejected] Not executed.","data":{"io.placet/decision":{"code":"approval_rejected"},"n":1.00}}}"#,
        ),
        _ => modern(seen),
    })
    .await;
    let placet = Placet::start(&fake).await;
    let agent = placet.modern(ANN);
    let made = ask(&agent, "tools/call", r#"{"name":"open","arguments":{}}"#).await;
    let id = made.json()["result"]["taskId"].as_str().unwrap().to_owned();

    let seen = ask(&agent, "tasks/get", &named(&id)).await;

    assert_eq!(seen.json()["result"]["error"]["data"], json!({"n": 1.0}), "{seen:?}");
    assert!(seen.body.contains(r#""data":{"n":1.00}"#), "{seen:?}");
    placet.end().await;
}

#[tokio::test]
async fn a_task_of_2025_11_25_keeps_its_id_to_itself_and_is_listed_under_ours() {
    let fake = Fake::start(|seen| core(seen, true)).await;
    let placet = Placet::start(&fake).await;
    let agent = placet.legacy(ANN).await;

    let wish = r#"{"name":"open","arguments":{},"task":{"ttl":5}}"#;
    let made = got(agent.request("1", "tools/call", wish)).await.json()["result"].clone();
    let id = made["task"]["taskId"].as_str().unwrap().to_owned();
    assert!(id.starts_with("tsk_") && made["task"]["status"] == "working", "{made}");
    assert!(fake.seen_of("tools/call")[0].body.contains(r#""task":{"ttl":5}"#));

    let end = got(agent.request("2", "tasks/result", &named(&id))).await.json()["result"].clone();
    assert_eq!(end["content"][0]["text"], "theirs");
    assert_eq!(end["_meta"][RELATED]["taskId"], json!(id));
    let list = got(agent.request("3", "tasks/list", "{}")).await.json()["result"].clone();
    assert_eq!(list["tasks"][0]["taskId"], json!(id));
    assert_eq!(list["tasks"][0]["status"], "completed", "as the server tells");
    let foreign = placet.legacy(BOB).await;
    assert_eq!(got(foreign.request("4", "tasks/get", &named(&id))).await.error(), -32602);
    placet.end().await;
}

#[tokio::test]
async fn a_wish_for_a_task_reaches_no_server_without_tasks_and_no_older_client_gets_one() {
    let fake = Fake::start(|seen| core(seen, false)).await;
    let placet = Placet::start(&fake).await;
    let agent = placet.legacy(ANN).await;

    let wish = r#"{"name":"open","arguments":{"n":1.00},"task":{"ttl":5}}"#;
    let answer = got(agent.request("1", "tools/call", wish)).await;

    assert_eq!(answer.json()["result"]["content"][0]["text"], "done");
    let sent = &fake.seen_of("tools/call")[0].body;
    assert!(!sent.contains("\"task\"") && sent.contains(r#"{"n":1.00}"#), "{sent}");
    placet.end().await;
}

#[tokio::test]
async fn a_gated_tool_that_needs_nobody_now_is_a_task_all_the_same_to_who_asked_for_one() {
    let fake = Fake::start(|seen| core(seen, false)).await;
    let policy = r#"{"version":"1","default":"deny","tools":{"gated":{"action":"require_approval",
        "approval":{"when":[{"path":"args.big","op":"eq","value":true}]}}}}"#;
    let placet = Placet::before(&fake.url).policy(policy).start().await;
    let agent = placet.legacy(ANN).await;
    let call = async |arguments: &str| {
        let wish = format!(r#"{{"name":"gated","arguments":{arguments},"task":{{}}}}"#);
        let made = got(agent.request("1", "tools/call", &wish)).await.json()["result"].clone();
        assert_eq!(made["task"]["status"], "working", "{made}");
        made["task"]["taskId"].as_str().unwrap().to_owned()
    };
    let end = async |id: &str| {
        got(agent.request("2", "tasks/result", &named(id))).await.json()["result"].clone()
    };

    let allowed = call(r#"{"big":false}"#).await;
    let ran = end(&allowed).await;
    assert_eq!(ran["content"][0]["text"], "done");
    assert_eq!(ran["_meta"][RELATED]["taskId"], json!(allowed));
    let seen = got(agent.request("3", "tasks/get", &named(&allowed))).await;
    assert_eq!(seen.json()["result"]["status"], "completed");

    call(r#"{"big":true}"#).await;
    placet.decide("reject").await;
    // Within its cooldown the same answer, at once.
    let again = call(r#"{"big":true}"#).await;
    let said: Value = end(&again).await;
    assert_eq!(said["_meta"]["io.placet/decision"]["code"], "approval_rejected");
    until("it is over", async || {
        let seen = got(agent.request("3", "tasks/get", &named(&again))).await;
        seen.json()["result"]["status"] == "completed"
    })
    .await;
    assert_eq!(fake.seen_of("tools/call").len(), 1);
    placet.end().await;
}
