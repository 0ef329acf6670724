//! `placet_wait`, the tool that is Placet's own.

use serde_json::Value;

use crate::support::fake_http::{self, Fake};
use crate::support::placet::{ANN, Agent, Got, Placet, Setup, Stream, got, tool_list};

use crate::mcp::{done, legacy, modern};

/// Token of agent `wes`, who is offered the tool.
const WES: &str = "token-of-the-agent-wes";
const SHORT: &str =
    "[approvals]\nhold = \"300ms\"\nhold_with_progress = \"300ms\"\nheartbeat = \"100ms\"";

fn with_tool(fake: &Fake) -> Setup {
    let agent = format!("[[agents]]\nname = \"wes\"\ntoken = \"{WES}\"\nwait_tool = true");
    Placet::before(&fake.url).with(&agent)
}

async fn listed(agent: &Agent) -> Vec<String> {
    let list = got(agent.request("1", "tools/list", "{}")).await.json();
    let tools = list["result"]["tools"].as_array().unwrap();
    tools.iter().map(|t| t["name"].as_str().unwrap().to_owned()).collect()
}

fn wait(agent: &Agent, id: &str, approval: &str) -> reqwest::RequestBuilder {
    agent.call(id, "placet_wait", &format!(r#"{{"approval":"{approval}"}}"#))
}

fn id_of(answer: &Got) -> String {
    answer.decision()["approval"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn it_is_listed_for_agents_that_have_it_and_unknown_to_others() {
    for fake in [legacy(done).await, modern(done).await] {
        let placet = with_tool(&fake).start().await;
        for agent in placet.both(WES).await {
            assert_eq!(listed(&agent).await.last().unwrap(), "placet_wait");
        }
        for agent in placet.both(ANN).await {
            assert!(!listed(&agent).await.contains(&"placet_wait".to_owned()));
            let answer = got(wait(&agent, "2", "apr_0")).await;
            assert_eq!(answer.json()["error"]["message"], "Unknown tool: placet_wait");
        }
        placet.end().await;
    }
}

#[tokio::test]
async fn a_handed_over_call_is_waited_for_by_its_id_and_runs_once() {
    for fake in [legacy(done).await, modern(done).await] {
        let placet = with_tool(&fake).with(SHORT).start().await;
        for agent in placet.both(WES).await {
            let before = fake.seen_of("tools/call").len();
            let pending = got(agent.call("1", "gated", r#"{"n":1.00}"#)).await;
            let id = id_of(&pending);
            assert!(pending.body.contains("call placet_wait"), "{pending:?}");
            let again = got(wait(&agent, "2", &id)).await;
            assert_eq!((again.code(), id_of(&again)), ("approval_pending".to_owned(), id.clone()));
            placet.decide("approve").await;

            let answer = got(wait(&agent, "3", &id)).await;

            assert_eq!((answer.code(), id_of(&answer)), ("approved".to_owned(), id.clone()));
            assert_eq!(answer.json()["result"]["content"][0]["text"], "done");
            assert_eq!(got(wait(&agent, "4", &id)).await.decision()["replayed"], true);
            let calls = fake.seen_of("tools/call");
            assert_eq!(calls.len(), before + 1);
            assert!(calls[before].member("params").contains(r#"{"n":1.00}"#));
        }
        placet.end().await;
    }
}

#[tokio::test]
async fn it_holds_with_heartbeats_until_somebody_decides() {
    let fake = legacy(done).await;
    let placet = with_tool(&fake).start().await;
    for (n, agent) in placet.both(WES).await.into_iter().enumerate() {
        // The identical call of the other era would be answered by the rejection's cooldown.
        let call = Stream::open(agent.call("1", "gated", &format!(r#"{{"n":{n}}}"#))).await;
        let id = placet.approval("pending").await["id"].as_str().unwrap().to_owned();
        let mut waits = Stream::open(wait(&agent, "2", &id)).await;
        assert!(waits.next().await.is_some() && waits.next().await.is_some());
        placet.decide("reject").await;

        for said in [waits.rest().await, call.rest().await] {
            let decision = &said[0]["result"]["_meta"]["io.placet/decision"];
            assert_eq!(decision["code"], "approval_rejected");
        }
    }
    assert!(fake.seen_of("tools/call").is_empty());
    placet.end().await;
}

#[tokio::test]
async fn ids_that_are_not_its_own_and_bad_arguments_are_invalid_and_alike() {
    let fake = legacy(done).await;
    let placet = with_tool(&fake).start().await;
    let other = placet.legacy(ANN).await;
    let _held = Stream::open(other.call("1", "gated", "{}")).await;
    let anns = placet.approval("pending").await["id"].as_str().unwrap().to_owned();

    for agent in placet.both(WES).await {
        let mut said = Vec::new();
        for id in [anns.as_str(), "apr_00000000000000000000000000000000", "", "../x"] {
            let answer = got(wait(&agent, "2", id)).await;
            assert_eq!(answer.error(), -32602, "{answer:?}");
            said.push(answer.json()["error"].clone());
        }
        assert!(said.iter().all(|s| *s == said[0]), "{said:?}");
        for arguments in ["{}", r#"{"approval":1}"#, r#"{"approval":"apr_0","x":1}"#] {
            let answer = got(agent.call("3", "placet_wait", arguments)).await;
            assert_eq!(answer.error(), -32602, "{arguments}");
        }
    }
    assert_eq!(placet.approvals("pending,approved,completed").await.len(), 1);
    assert!(fake.seen_of("tools/call").is_empty());
    placet.end().await;
}

#[tokio::test]
async fn an_upstreams_own_tool_of_that_name_wins() {
    let fake = Fake::start(|seen| match seen.method().as_str() {
        "tools/list" => {
            let own = r#"{"name":"placet_wait","inputSchema":{"type":"object"}}"#;
            fake_http::result(&tool_list().replacen('[', &format!("[{own},"), 1))
        }
        _ => fake_http::legacy(seen).unwrap_or_else(|| done(seen)),
    })
    .await;
    let policy = r#"{"version":"1","tools":{"placet_wait":{"action":"allow"},
        "gated":{"action":"require_approval"}}}"#;
    let placet = with_tool(&fake).with(SHORT).policy(policy).start().await;
    let agent = placet.legacy(WES).await;

    let names = listed(&agent).await;
    let answer = got(wait(&agent, "2", "apr_0")).await;
    let pending: Value = got(agent.call("3", "gated", "{}")).await.json();

    assert_eq!(names.iter().filter(|n| *n == "placet_wait").count(), 1);
    assert_eq!(answer.json()["result"]["content"][0]["text"], "done");
    assert_eq!(fake.seen_of("tools/call").len(), 1);
    assert!(!pending.to_string().contains("call placet_wait"), "{pending}");
    placet.end().await;
}

#[tokio::test]
async fn at_the_one_address_it_waits_under_the_upstreams_name() {
    let fake = legacy(done).await;
    let placet = with_tool(&fake).with(SHORT).start().await;
    let mut agent = placet.modern(WES);
    agent.url = format!("{}/mcp", placet.base);
    assert!(listed(&agent).await.contains(&"u__placet_wait".to_owned()));
    let pending = got(agent.call("1", "u__gated", "{}")).await;
    let id = id_of(&pending);

    let arguments = format!(r#"{{"approval":"{id}"}}"#);
    // It is an approval of `u`: the other upstream knows nothing of it.
    let elsewhere = got(agent.call("2", "other__placet_wait", &arguments)).await;
    assert_eq!(elsewhere.error(), -32602);
    placet.decide("approve").await;
    let answer = got(agent.call("3", "u__placet_wait", &arguments)).await;

    assert_eq!((answer.code(), id_of(&answer)), ("approved".to_owned(), id));
    assert_eq!(fake.seen_of("tools/call").len(), 1);
    placet.end().await;
}
