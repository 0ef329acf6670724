//! Methods by their names: what the specification lacks passes only where the policy lists it, and
//! without a policy nothing passes at all.

use serde_json::{Value, json};

use super::session::http_sse::Old;
use crate::support::fake_http::{self, Answer, Fake, Seen};
use crate::support::placet::{ANN, Era, Got, POLICY, Placet, got, tool_list};
use crate::support::until;

/// Names that servers may take for a method of theirs, and that no specification has.
const OUTSIDE: [&str; 12] = [
    "admin/wipe",
    "tools/Call",
    "tools/call ",
    " tools/call",
    "callTool",
    "TOOLS/CALL",
    "tools//call",
    "tools/call\\u0000",
    "rpc.discover",
    "tasks/wipe",
    "notifications/anything",
    "",
];

/// What a careless server has: an answer to everything.
fn careless(seen: &Seen) -> Answer {
    match seen.method().as_str() {
        "tools/list" => fake_http::result(&tool_list()),
        _ if seen.member("id").is_empty() => Answer::Status(202),
        _ => fake_http::result(
            r#"{"content":[],"wiped":true,"contents":[],"completion":{"values":["leak"]}}"#,
        ),
    }
}

async fn servers() -> [Fake; 2] {
    let old = Fake::start(|seen| match seen.method().as_str() {
        "initialize" | "server/discover" | "" => fake_http::legacy(seen).unwrap(),
        _ => careless(seen),
    });
    let new = Fake::start(|seen| match seen.method().as_str() {
        "server/discover" | "" => fake_http::modern(seen).unwrap(),
        _ => careless(seen),
    });
    [old.await, new.await]
}

/// What reached the server that it was asked or told, apart from what Placet asks for itself.
fn reached(fake: &Fake) -> Vec<String> {
    let own = ["", "initialize", "server/discover", "tools/list", "notifications/initialized"];
    fake.seen().iter().map(Seen::method).filter(|m| !own.contains(&m.as_str())).collect()
}

/// Checks that it is a denial under this code of JSON-RPC.
fn denied(got: &Got, code: i64, by: &str) {
    let error = got.json()["error"].clone();
    let decision = &error["data"]["io.placet/decision"];
    assert_eq!(error["code"], code, "{by}: {got:?}");
    assert_eq!(decision["code"], "policy_denied", "{by}: {got:?}");
    let text = error["message"].as_str().unwrap();
    assert!(text.starts_with("[policy_denied] Not executed. "), "{text}");
}

async fn methods_of(placet: &Placet) -> Vec<String> {
    let records = placet.records("call_denied").await;
    records.iter().filter_map(|r| r["data"]["method"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn without_a_policy_lists_are_empty_and_all_else_is_denied_and_recorded() {
    for fake in servers().await {
        let placet = Placet::before(&fake.url).without_policy().start().await;
        let [old, new] = placet.both(ANN).await;
        let asked = [
            ("prompts/get", r#"{"name":"p"}"#),
            ("resources/read", r#"{"uri":"a:b"}"#),
            ("completion/complete", r#"{"ref":{"type":"ref/prompt","name":"p"}}"#),
            ("completion/complete", r#"{"ref":{"type":"ref/other"}}"#),
        ];
        for agent in [&old, &new] {
            for (method, key) in [
                ("tools/list", "tools"),
                ("prompts/list", "prompts"),
                ("resources/list", "resources"),
                ("resources/templates/list", "resourceTemplates"),
            ] {
                let list = got(agent.request("1", method, "{}")).await.json();
                assert_eq!(list["result"][key], json!([]), "{list}");
            }
            for (method, params) in asked {
                denied(&got(agent.request("1", method, params)).await, -31100, method);
            }
            for tool in ["open", "gated", "no_such"] {
                let call = got(agent.call("1", tool, "{}")).await;
                assert_eq!(call.code(), "policy_denied", "{call:?}");
            }
            let wiped = got(agent.request("1", "admin/wipe", "{}")).await;
            denied(&wiped, -32601, "admin/wipe");
        }
        for (method, params) in [
            ("logging/setLevel", r#"{"level":"debug"}"#),
            ("resources/subscribe", r#"{"uri":"a:b"}"#),
        ] {
            denied(&got(old.request("1", method, params)).await, -31100, method);
        }
        old.notify("notifications/roots/list_changed", "{}").await;
        assert_eq!(got(old.request("1", "ping", "{}")).await.json()["result"], json!({}));
        old.notify("notifications/initialized", "{}").await;

        until("all is recorded", async || placet.records("call_denied").await.len() == 19).await;
        assert_eq!(reached(&fake), [] as [String; 0]);
        let recorded = methods_of(&placet).await;
        for method in ["prompts/get", "resources/read", "admin/wipe", "logging/setLevel"] {
            assert!(recorded.iter().any(|m| m == method), "{method}: {recorded:?}");
        }
        placet.end().await;
    }
}

#[tokio::test]
async fn a_method_that_has_no_place_in_an_era_is_refused_and_recorded_like_any_other() {
    for fake in servers().await {
        for governed in [true, false] {
            let setup = Placet::before(&fake.url);
            let setup = if governed { setup } else { setup.without_policy() };
            let placet = setup.start().await;
            let [old, new] = placet.both(ANN).await;
            let older = placet.agent(ANN, Era::Legacy { session: None });
            let session = Some(older.initialize("2025-06-18").await.header("mcp-session-id"));
            let older = placet.agent(ANN, Era::Legacy { session });
            let legacy: &[_] = &["server/discover", "subscriptions/listen", "tasks/update"];
            let before_tasks: &[_] = &["tasks/list", "tasks/get", "tasks/result", "tasks/cancel"];
            let modern: &[_] =
                &["ping", "logging/setLevel", "tasks/list", "tasks/result", "resources/subscribe"];
            let mut asked = Vec::new();
            for (agent, methods) in
                [(&old, legacy), (&older, legacy), (&older, before_tasks), (&new, modern)]
            {
                for method in methods {
                    let refused = got(agent.request("1", method, r#"{"taskId":"t"}"#)).await;
                    assert_eq!(refused.error(), -32601, "{method}: {refused:?}");
                    let is_modern = matches!(agent.era, Era::Modern);
                    assert_eq!(refused.status, if is_modern { 404 } else { 200 }, "{method}");
                    asked.push((*method).to_owned());
                }
            }
            asked.sort();

            until("all is recorded", async || {
                let mut recorded = methods_of(&placet).await;
                recorded.sort();
                recorded == asked
            })
            .await;
            let rule = if governed { "/methods" } else { "/default" };
            for record in placet.records("call_denied").await {
                assert_eq!(
                    (&record["data"]["rule"], &record["data"]["agent"]),
                    (&json!(rule), &json!("ann"))
                );
            }
            assert_eq!(reached(&fake), [] as [String; 0]);
            placet.end().await;
        }
    }
}

#[tokio::test]
async fn a_task_that_is_nobodys_is_denied_without_a_policy() {
    let [fake, _] = servers().await;
    let placet = Placet::before(&fake.url).without_policy().start().await;
    let [old, new] = placet.both(ANN).await;
    let id = r#"{"taskId":"tsk_00000000000000000000000000000001"}"#;

    for (agent, methods) in [
        (&old, ["tasks/get", "tasks/result", "tasks/cancel"]),
        (&new, ["tasks/get", "tasks/update", "tasks/cancel"]),
    ] {
        for method in methods {
            denied(&got(agent.request("1", method, id)).await, -31100, method);
        }
    }
    let list = got(old.request("1", "tasks/list", "{}")).await.json();

    assert_eq!(list["result"]["tasks"], json!([]), "a list is empty");
    until("all is recorded", async || methods_of(&placet).await.len() == 6).await;
    assert_eq!(reached(&fake), [] as [String; 0]);
    placet.end().await;
}

#[tokio::test]
async fn an_upstream_without_a_policy_has_nothing_at_the_address_of_all() {
    let [fake, _] = servers().await;
    let placet = Placet::before(&fake.url).without_policy().start().await;
    let whole = placet.agent(ANN, Era::Modern).whole();

    let list = got(whole.request("1", "tools/list", "{}")).await.json();
    let call = got(whole.call("1", "u__open", "{}")).await;
    let prompt = got(whole.request("1", "prompts/get", r#"{"name":"u__p"}"#)).await;
    let odd = got(whole.request("1", "admin/wipe", "{}")).await;

    assert_eq!(list["result"]["tools"], json!([]));
    assert_eq!(call.code(), "policy_denied", "{call:?}");
    denied(&prompt, -31100, "prompts/get");
    denied(&odd, -32601, "admin/wipe");
    until("all is recorded", async || placet.records("call_denied").await.len() == 3).await;
    assert_eq!(reached(&fake), [] as [String; 0]);
    placet.end().await;
}

#[tokio::test]
async fn a_method_outside_the_specification_is_denied_in_every_spelling_and_recorded() {
    for fake in servers().await {
        let placet = Placet::start(&fake).await;
        let mut count = 0;
        for agent in placet.both(ANN).await {
            for address in [agent.clone(), agent.whole()] {
                let is_old = matches!(agent.era, Era::Legacy { .. });
                let whole = address.url != agent.url;
                if whole && is_old {
                    // A session belongs to one address.
                    continue;
                }
                for method in OUTSIDE.into_iter().filter(|m| is_old || usable_as_header(m)) {
                    let answer = got(address.request("1", method, r#"{"name":"open"}"#)).await;
                    assert_eq!(answer.status, if is_old { 200 } else { 404 });
                    denied(&answer, -32601, method);
                    count += 1;
                }
            }
        }
        let mut sse = Old::start(&placet, ANN).await;
        for method in OUTSIDE {
            sse.ask("7", method, "{}").await;
            assert_eq!(sse.told().await["error"]["code"], -32601, "{method}");
            count += 1;
        }

        assert_eq!(reached(&fake), [] as [String; 0]);
        until("all is recorded", async || methods_of(&placet).await.len() == count).await;
        placet.end().await;
    }
}

fn usable_as_header(method: &str) -> bool {
    !method.is_empty() && method.trim() == method && !method.contains('\\')
}

#[tokio::test]
async fn a_listed_method_passes_by_its_exact_name_alone() {
    let policy = POLICY.replacen('{', r#"{ "methods": ["admin/count", "notifications/mine"],"#, 1);
    for fake in servers().await {
        let placet = Placet::before(&fake.url).policy(&policy).start().await;
        for agent in placet.both(ANN).await {
            let passed = got(agent.request("1", "admin/count", r#"{"n":1.00}"#)).await.json();
            assert_eq!(passed["result"]["wiped"], true, "{passed}");
            for near in ["admin/Count", "admin/count/", "admin", "count"] {
                denied(&got(agent.request("1", near, "{}")).await, -32601, near);
            }
            agent.notify("notifications/mine", r#"{"n":1.00}"#).await;
            agent.notify("notifications/min", "{}").await;
            agent.notify("notifications/Mine", "{}").await;
        }
        // A modern server takes no notifications over HTTP.
        if !fake.seen_of("notifications/initialized").is_empty() {
            until("it is told", async || fake.seen_of("notifications/mine").len() == 2).await;
        }
        let params: Value =
            serde_json::from_str(&fake.seen_of("admin/count")[0].member("params")).unwrap();
        assert_eq!(params["n"], 1.0);
        let others = reached(&fake).into_iter();
        let mut others = others.filter(|m| m != "admin/count" && m != "notifications/mine");
        assert_eq!(others.next(), None);
        placet.end().await;
    }
}

#[tokio::test]
async fn a_request_is_never_passed_on_as_a_notification_whatever_the_policy_lists() {
    let policy = POLICY.replacen('{', r#"{ "methods": ["tools/call", "resources/read"],"#, 1);
    let [fake, _] = servers().await;
    let placet = Placet::before(&fake.url).policy(&policy).start().await;

    for agent in placet.both(ANN).await {
        for method in ["tools/call", "resources/read", "notifications/anything", "callTool"] {
            agent.notify(method, r#"{"name":"denied","uri":"a:b"}"#).await;
        }
    }
    until("all is recorded", async || methods_of(&placet).await.len() == 8).await;

    assert_eq!(reached(&fake), [] as [String; 0]);
    placet.end().await;
}
