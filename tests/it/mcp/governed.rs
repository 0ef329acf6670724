//! Resources and prompts under policy: hidden ones do not show, denied ones are refused, and what
//! needs approval waits as a tool does.

use std::sync::Arc;

use placet::domain::policy::Policy;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::fake_http::{self, Answer, Fake, Seen, event};
use crate::support::placet::{A_FEW_BEATS, ANN, BOB, Got, Placet, Stream, got};
use crate::support::until;

/// Placet's own code for what is no tool call.
const DECISION: i64 = -31100;

const POLICY: &str = r#"{ "version": "1", "default": "deny", "tools": { "open": { "action": "allow" } },
  "resources": {
    "hide": ["file:///secret/*", "db://prod/keys*"],
    "rules": {
      "file:///etc/*": { "action": "deny", "reason": "Not yours." },
      "db://*": { "action": "allow", "rate_limit": { "max": 2, "window": 60 } },
      "vault://*": { "action": "require_approval", "reason": "It is a key.",
                     "approval": { "reviewers": ["rita"] } } } },
  "prompts": {
    "hide": ["internal_*"],
    "rules": {
      "denied": { "action": "deny", "reason": "Never." },
      "deploy": { "action": "require_approval", "reason": "It ships.",
                  "approval": { "reviewers": ["rita"],
                                "when": [ { "path": "args.stage", "op": "eq", "value": "prod" } ] } } } } }"#;

const LISTS: [(&str, &str); 3] = [
    (
        "prompts/list",
        r#"{"prompts":[{"name":"open","n":1.00},{"name":"internal_x"},{"name":"denied"}]}"#,
    ),
    (
        "resources/list",
        r#"{"resources":[{"uri":"file:///a"},{"uri":"file:///secret/a"},{"uri":"FILE:///%73ecret/b"}],"nextCursor":"\u0041"}"#,
    ),
    (
        "resources/templates/list",
        r#"{"resourceTemplates":[{"uriTemplate":"file:///secret/{x}"},{"uriTemplate":"db://{env}/{name}"}]}"#,
    ),
];

/// What the server has, in words of its own.
fn answer(seen: &Seen) -> Option<Answer> {
    let params: Value = serde_json::from_str(&seen.member("params")).unwrap_or_default();
    let error = |code: i32, text: String| {
        Answer::Json(
            200,
            format!(r#"{{"jsonrpc":"2.0","id":$ID,"error":{{"code":{code},"message":"{text}"}}}}"#),
        )
    };
    let method = seen.method();
    if let Some((_, list)) = LISTS.iter().find(|(of, _)| *of == method) {
        return Some(fake_http::result(list));
    }
    Some(match method.as_str() {
        "tools/list" => fake_http::result(r#"{"tools":[{"name":"open","inputSchema":{}}]}"#),
        "prompts/get" => match params["name"].as_str().unwrap() {
            name @ ("open" | "deploy" | "internal_x" | "denied") => fake_http::result(&format!(
                r#"{{"description":"{name}", "messages":[ ],"n":1.00}}"#
            )),
            name => error(-32602, format!("Prompt {name} not found")),
        },
        "resources/read" => match params["uri"].as_str().unwrap() {
            uri if uri.contains("no-such") => error(-32002, format!("I have no {uri}")),
            uri => fake_http::result(&format!(
                r#"{{"contents":[{{"uri":"{uri}","text":"x"}}],"n":1.00}}"#
            )),
        },
        "resources/subscribe" | "resources/unsubscribe" => fake_http::result("{}"),
        "completion/complete" => fake_http::result(
            r#"{"completion":{"values":["keys1","people"],"total":2,"hasMore":false}}"#,
        ),
        _ => return None,
    })
}

async fn fakes() -> [Fake; 2] {
    let old = Fake::start(|seen| answer(seen).or_else(|| fake_http::legacy(seen)).unwrap()).await;
    let new = Fake::start(|seen| answer(seen).or_else(|| fake_http::modern(seen)).unwrap()).await;
    [old, new]
}

async fn start(fake: &Fake) -> Placet {
    Placet::before(&fake.url).policy(POLICY).start().await
}

/// Checks that it is Placet's own error about a call, and returns the decision.
fn said(got: &Got, code: &str) -> Value {
    assert_eq!((got.status, got.error()), (200, DECISION), "{}", got.body);
    let error = got.json()["error"].clone();
    let text = error["message"].as_str().unwrap();
    assert!(text.starts_with(&format!("[{code}] ")), "{text}");
    let decision = error["data"]["io.placet/decision"].clone();
    assert_eq!(decision["code"], code);
    decision
}

#[tokio::test]
async fn hidden_entries_are_left_out_of_every_list() {
    for fake in fakes().await {
        let placet = start(&fake).await;
        for agent in placet.both(ANN).await {
            for ((method, _), (key, shown)) in LISTS.into_iter().zip([
                ("prompts", r#"[{"name":"open","n":1.00},{"name":"denied"}]"#),
                ("resources", r#"[{"uri":"file:///a"}]"#),
                ("resourceTemplates", r#"[{"uriTemplate":"db://{env}/{name}"}]"#),
            ]) {
                let list = got(agent.request("1", method, "{}")).await;
                assert!(list.body.contains(&format!("\"{key}\":{shown}")), "{}", list.body);
                assert!(
                    method != "resources/list" || list.body.contains(r#""nextCursor":"\u0041""#)
                );
            }
        }
        placet.end().await;
    }
}

#[tokio::test]
async fn hidden_ones_are_answered_as_unknown_ones_and_never_reach_the_server() {
    for fake in fakes().await {
        let placet = start(&fake).await;
        let [old, new] = placet.both(ANN).await;
        for (agent, no_resource) in [(&old, -32002), (&new, -32602)] {
            let hidden = got(agent.request("1", "prompts/get", r#"{"name":"internal_x"}"#)).await;
            let unknown = got(agent.request("1", "prompts/get", r#"{"name":"no_such"}"#)).await;
            assert_eq!((hidden.status, hidden.error()), (200, -32602));
            assert_eq!(hidden.body.replace("internal_x", "no_such"), unknown.body);

            for uri in [
                "file:///secret/a",
                "FILE:///secret/a",
                "file:///x/../%73ecret/a",
                "file:///secret%2Fa",
            ] {
                let hidden =
                    got(agent.request("1", "resources/read", &json!({ "uri": uri }).to_string()))
                        .await;
                let unknown =
                    got(agent.request("1", "resources/read", r#"{"uri":"file:///no-such"}"#)).await;
                assert_eq!((hidden.status, hidden.error()), (200, no_resource), "{uri}");
                assert_eq!(hidden.json()["error"]["data"]["uri"], uri);
                assert_eq!(hidden.body.replace(uri, "file:///no-such"), unknown.body);
            }
        }
        let seen: Vec<String> = fake.seen().iter().map(|s| s.body.clone()).collect();
        assert!(!seen.iter().any(|b| b.contains("secret") || b.contains("internal")), "{seen:#?}");
        placet.end().await;
    }
}

#[tokio::test]
async fn denied_and_limited_ones_are_errors_with_the_decision() {
    let [fake, _] = fakes().await;
    let placet = start(&fake).await;
    // One token has one limit, whatever it speaks.
    for agent in [placet.legacy(ANN).await, placet.modern(BOB)] {
        let denied = got(agent.request("1", "prompts/get", r#"{"name":"denied"}"#)).await;
        let decision = said(&denied, "policy_denied");
        assert_eq!(
            (&decision["rule"], &decision["reason"]),
            (&json!("/prompts/rules/denied"), &json!("Never."))
        );
        for uri in ["file:///etc/passwd", "file:///pub/..//etc/passwd"] {
            let params = json!({ "uri": uri }).to_string();
            let denied = got(agent.request("2", "resources/read", &params)).await;
            assert_eq!(
                said(&denied, "policy_denied")["rule"],
                "/resources/rules/file:~1~1~1etc~1*"
            );
        }

        // All that one rule decides counts together.
        for n in 1..=2 {
            let read =
                got(agent.request("3", "resources/read", &format!(r#"{{"uri":"db://x/{n}"}}"#)))
                    .await;
            assert!(read.body.contains(r#""n":1.00"#), "{}", read.body);
        }
        let limited = got(agent.request("4", "resources/read", r#"{"uri":"db://x/3"}"#)).await;
        assert!(said(&limited, "rate_limited")["retry_after_ms"].as_u64().unwrap() > 0);
    }
    assert!(
        !fake.seen().iter().any(|s| s.body.contains("passwd") || s.body.contains("\"denied\""))
    );
    placet.end().await;
}

#[tokio::test]
async fn without_the_blocks_everything_passes() {
    let [fake, _] = fakes().await;
    let placet = Placet::start(&fake).await;
    let agent = placet.legacy(ANN).await;

    for (method, list) in LISTS {
        let listed = got(agent.request("1", method, "{}")).await;
        assert_eq!(listed.body, format!(r#"{{"jsonrpc":"2.0","id":1,"result":{list}}}"#));
    }
    for (method, params) in [
        ("prompts/get", r#"{"name":"internal_x"}"#),
        ("resources/read", r#"{"uri":"file:///secret/a"}"#),
        ("resources/subscribe", r#"{"uri":"file:///secret/a"}"#),
    ] {
        assert!(got(agent.request("1", method, params)).await.json()["result"].is_object());
    }
    let own = got(agent.request("1", "prompts/get", r#"{"name":"no_such"}"#)).await;
    assert_eq!(own.json()["error"]["message"], "Prompt no_such not found");
    placet.end().await;
}

#[tokio::test]
async fn subscriptions_and_completions_follow_what_they_are_about() {
    let [fake, _] = fakes().await;
    let placet = start(&fake).await;
    let [old, new] = placet.both(BOB).await;

    let on = |uri: &str| json!({ "uri": uri }).to_string();
    let hidden = got(old.request("1", "resources/subscribe", &on("file:///secret/a"))).await;
    assert_eq!(hidden.error(), -32002);
    let denied = got(old.request("1", "resources/subscribe", &on("file:///etc/a"))).await;
    assert!(denied.body.contains("resources/subscribe file:///etc/a"), "{}", denied.body);
    said(&denied, "policy_denied");
    for (method, uri) in [
        ("resources/subscribe", "file:///a"),
        ("resources/subscribe", "vault://a"),
        ("resources/unsubscribe", "file:///etc/a"),
    ] {
        assert!(
            got(old.request("1", method, &on(uri))).await.json()["result"].is_object(),
            "{uri}"
        );
    }

    for agent in [&old, &new] {
        let complete = async |about: Value, context: Value| {
            let params = json!({ "ref": about, "argument": { "name": "name", "value": "" },
                "context": { "arguments": context } });
            got(agent.request("1", "completion/complete", &params.to_string())).await
        };
        let prompt = |name: &str| json!({ "type": "ref/prompt", "name": name });
        let resource = |uri: &str| json!({ "type": "ref/resource", "uri": uri });
        let hidden = complete(prompt("internal_x"), json!({})).await;
        assert_eq!(hidden.json()["error"]["message"], "Unknown prompt: internal_x");
        assert_eq!(complete(resource("file:///secret/{x}"), json!({})).await.error(), -32602);
        said(&complete(prompt("denied"), json!({})).await, "policy_denied");
        let whole = complete(prompt("deploy"), json!({})).await;
        assert_eq!(whole.json()["result"]["completion"]["total"], 2);
        let part = complete(resource("db://{env}/{name}"), json!({ "env": "prod" })).await;
        assert_eq!(part.json()["result"]["completion"]["values"], json!(["people"]));
    }
    placet.end().await;
}

#[tokio::test]
async fn a_read_and_a_prompt_that_need_approval_are_held_and_run_once() {
    for fake in fakes().await {
        let placet = start(&fake).await;
        for agent in placet.both(ANN).await {
            for (method, params, title, key) in [
                (
                    "resources/read",
                    r#"{ "uri":"vault://\u0061/b" , "range":1.00}"#,
                    "vault://a/b",
                    "contents",
                ),
                (
                    "prompts/get",
                    r#"{"name":"deploy","arguments":{"stage": "prod"}}"#,
                    "deploy",
                    "messages",
                ),
            ] {
                let before = fake.seen_of(method).len();
                let calls = [0, 1].map(|_| tokio::spawn(got(agent.request("1", method, params))));
                let approval = placet.approval("pending").await;
                assert_eq!(
                    (&approval["method"], &approval["tool"]),
                    (&json!(method), &json!(title))
                );
                placet.decide("approve").await;
                for call in calls {
                    let answer = call.await.unwrap();
                    let result = &answer.json()["result"];
                    assert!(result[key].is_array(), "{}", answer.body);
                    assert_eq!(result["_meta"]["io.placet/decision"]["code"], "approved");
                    assert_eq!(result["_meta"]["io.placet/decision"]["approval"], approval["id"]);
                }
                let seen = fake.seen_of(method);
                assert_eq!(seen.len(), before + 1, "one execution");
                let sent = seen.last().unwrap().member("params");
                let plain = params.trim_matches(['{', '}', ' ']);
                let part = plain.split(" ,").next().unwrap();
                assert!(sent.contains(part), "{sent} lacks {part}");
            }
            let passes = r#"{"name":"deploy","arguments":{"stage":"test"}}"#;
            let free = got(agent.request("1", "prompts/get", passes)).await;
            assert_eq!(free.json()["result"]["_meta"]["io.placet/decision"], Value::Null);
        }
        placet.end().await;
    }
}

#[tokio::test]
async fn what_is_rejected_or_handed_over_is_said_as_an_error() {
    let [fake, _] = fakes().await;
    let lines = "[approvals]\nhold = \"300ms\"\nheartbeat = \"50ms\"";
    let placet = Placet::before(&fake.url).policy(POLICY).with(lines).start().await;
    for (agent, uri) in placet.both(ANN).await.iter().zip(["vault://1", "vault://2"]) {
        let read = async || {
            got(agent.request("1", "resources/read", &json!({ "uri": uri }).to_string())).await
        };
        let pending = said(&read().await, "approval_pending");
        assert!(pending["retry_after_ms"].as_u64().is_some());
        assert!(
            pending["status_url"].as_str().unwrap().contains(pending["approval"].as_str().unwrap())
        );
        // A prompt of that name, or another spelling, is another call.
        assert_eq!(placet.approvals("pending").await.len(), 1);

        let id = placet.decide("reject").await;

        let rejected = said(&read().await, "approval_rejected");
        assert_eq!((&rejected["approval"], &rejected["reason"]), (&json!(id), &json!("Seen.")));
    }
    assert!(fake.seen_of("resources/read").is_empty());
    placet.end().await;
}

#[tokio::test]
async fn a_call_without_an_id_goes_nowhere() {
    let [fake, _] = fakes().await;
    let placet = start(&fake).await;
    let agent = placet.legacy(ANN).await;
    assert!(
        got(agent.request("1", "resources/read", r#"{"uri":"file:///a"}"#)).await.status == 200
    );

    for (method, params) in [
        ("tools/call", r#"{"name":"denied"}"#),
        ("resources/read", r#"{"uri":"file:///secret/a"}"#),
    ] {
        assert_eq!(agent.notify(method, params).await.status, 202);
    }
    agent.notify("notifications/roots/list_changed", "{}").await;

    crate::support::until("a notification passes", async || {
        !fake.seen_of("notifications/roots/list_changed").is_empty()
    })
    .await;
    assert!(fake.seen_of("tools/call").is_empty());
    assert_eq!(fake.seen_of("resources/read").len(), 1);
    placet.end().await;
}

#[tokio::test]
async fn updates_of_hidden_resources_are_not_heard_and_a_changed_policy_is() {
    let said = |method: &str, uri: &str| {
        event(&format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/{method}","params":{{"uri":"{uri}"}}}}"#
        ))
    };
    let fake = Fake::start(move |seen| match seen.verb.as_str() {
        "GET" => Answer::Open(vec![
            // After the client listens.
            (A_FEW_BEATS, String::new()),
            said("resources/updated", "file:///secret/a"),
            said("resources/updated", "file:///x/%2e%2e/secret/a"),
            said("resources/updated", "file:///a"),
        ]),
        _ => answer(seen).or_else(|| fake_http::legacy(seen)).unwrap(),
    })
    .await;
    let placet = start(&fake).await;
    let agent = placet.legacy(ANN).await;
    let mut stream = Stream::open(agent.http(Method::GET)).await;
    got(agent.request("1", "resources/subscribe", r#"{"uri":"file:///a"}"#)).await;

    let heard = stream.message().await.unwrap();
    assert_eq!(heard["params"]["uri"], "file:///a", "{heard}");

    let (policy, _) = Policy::read(r#"{"version":"1","prompts":{}}"#).unwrap();
    placet.broker.policies().replace("u", Arc::new(policy));
    for list in ["tools", "prompts", "resources"] {
        let heard = stream.message().await.unwrap();
        assert_eq!(heard["method"], format!("notifications/{list}/list_changed"));
    }
    drop(stream);
    placet.end().await;
}

#[tokio::test]
async fn a_uri_is_listed_and_recorded_without_user_query_and_fragment_and_shown_whole_to_who_decides()
 {
    let [fake, _] = fakes().await;
    let placet = start(&fake).await;
    let agent = placet.legacy(ANN).await;
    let uri = "vault://ann:hunter2@prod/key?token=S3CRET\\nforged#S3CRET";
    let params = format!(r#"{{"uri":"{uri}"}}"#);

    let read = tokio::spawn(got(agent.request("1", "resources/read", &params)));
    let listed = placet.approval("pending").await;
    let id = listed["id"].as_str().unwrap().to_owned();
    let shown = placet.approval_raw(&id).await;
    placet.decide("reject").await;
    read.await.unwrap();
    until("it is recorded", async || !placet.records("approval_rejected").await.is_empty()).await;

    assert_eq!(listed["tool"], "vault://…@prod/key?…");
    assert_eq!(listed["arguments"]["uri"], "vault://…@prod/key?…");
    assert!(shown["arguments"]["uri"].as_str().unwrap().contains("token=S3CRET"), "{shown}");
    for kind in ["approval_requested", "decision_recorded", "approval_rejected"] {
        let records = placet.records(kind).await;
        let text = format!("{records:?}");
        assert!(text.contains("vault://…@prod/key?…"), "{text}");
        assert!(!text.contains("S3CRET") && !text.contains("hunter2"), "{text}");
    }
    placet.end().await;
}
