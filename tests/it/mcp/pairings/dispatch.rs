//! Everything else that passes, and what each hop answers for itself.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Server, clients, done, pairings, placet};
use crate::support::fake_http::{self, Answer, Seen, event};
use crate::support::placet::{ANN, Era, Placet, Stream, got};
use crate::support::until;

/// Answers by the method, in the words of the era that the request is in.
fn everything(seen: &Seen) -> Answer {
    let is_modern = !seen.header("mcp-method").is_empty();
    let typed =
        if is_modern { r#","resultType":"complete","ttlMs":7,"cacheScope":"public""# } else { "" };
    match seen.method().as_str() {
        "prompts/list" => fake_http::result(&format!(r#"{{"prompts":[{{"name":"p"}}]{typed}}}"#)),
        "prompts/get" => fake_http::result(&format!(r#"{{"messages":[],"n":1.00{typed}}}"#)),
        "resources/list" => fake_http::result(&format!(r#"{{"resources":[]{typed}}}"#)),
        "resources/templates/list" => {
            fake_http::result(&format!(r#"{{"resourceTemplates":[]{typed}}}"#))
        }
        "resources/read" if seen.body.contains("a:gone") => {
            let code = if is_modern { -32602 } else { -32002 };
            let error = json!({"code": code, "message": "no", "data": {"uri": "a:gone"}});
            Answer::Json(200, format!(r#"{{"jsonrpc":"2.0","id":$ID,"error":{error}}}"#))
        }
        "resources/read" => fake_http::result(&format!(r#"{{"contents":[],"n":1.00{typed}}}"#)),
        "completion/complete" => {
            fake_http::result(&format!(r#"{{"completion":{{"values":["x"]}}{typed}}}"#))
        }
        _ => done(seen),
    }
}

#[tokio::test]
async fn prompts_resources_and_completions_pass_in_every_pairing() {
    for (server, placet) in pairings(everything).await {
        for agent in clients(&placet).await {
            for (method, params, key, is_cached) in [
                ("prompts/list", "{}", "prompts", true),
                ("prompts/get", r#"{"name":"p","arguments":{"a": "\u0041"}}"#, "messages", false),
                ("resources/list", r#"{"cursor":"c"}"#, "resources", true),
                ("resources/templates/list", "{}", "resourceTemplates", true),
                ("resources/read", r#"{"uri":"a:1","more":1.00}"#, "contents", true),
                (
                    "completion/complete",
                    r#"{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"a","value":""}}"#,
                    "completion",
                    false,
                ),
            ] {
                let answer = got(agent.request("1", method, params)).await;
                let result = answer.json()["result"].clone();
                assert!(result.get(key).is_some(), "{method}: {answer:?}");
                let to_modern = matches!(agent.era, Era::Modern);
                assert_eq!(result.get("resultType").is_some(), to_modern, "{result}");
                if to_modern && is_cached {
                    let age = if server.is_modern { 7 } else { 0 };
                    assert_eq!(result["ttlMs"], age, "{result}");
                    assert_eq!(result["cacheScope"], "private", "{result}");
                }
                if to_modern && !server.is_modern {
                    let stamp = &result["_meta"]["io.modelcontextprotocol/serverInfo"];
                    assert_eq!(stamp["name"], "fake");
                }
                let sent = server.fake.seen_of(method).pop().unwrap().member("params");
                assert!(sent.starts_with(&params[..params.len() - 1]), "{sent}");
            }
        }
        placet.end().await;
    }
}

#[tokio::test]
async fn a_resource_that_is_not_there_has_the_code_of_the_clients_era() {
    for (_server, placet) in pairings(everything).await {
        let [old, new] = clients(&placet).await;
        let params = json!({"uri": "a:gone"}).to_string();

        let to_old = got(old.request("1", "resources/read", &params)).await;
        let to_new = got(new.request("1", "resources/read", &params)).await;

        assert_eq!((to_old.error(), to_new.error()), (-32002, -32602));
        assert_eq!(to_new.json()["error"]["data"]["uri"], "a:gone");
        placet.end().await;
    }
}

/// A call that reports progress under the token it was given.
fn progressing(seen: &Seen) -> Answer {
    let params: Value = serde_json::from_str(&seen.member("params")).unwrap_or_default();
    let token = params["_meta"]["progressToken"].to_string();
    let progress = |n: u32| {
        event(&format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{n},"total":9}}}}"#
        ))
    };
    let foreign = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":999999,"progress":1}}"#;
    let answer = event(r#"{"jsonrpc":"2.0","id":$ID,"result":{"content":[]}}"#);
    Answer::Stream(vec![progress(1), event(foreign), progress(1), progress(2), answer])
}

#[tokio::test]
async fn progress_rises_under_the_clients_own_token_in_every_pairing() {
    for (_server, placet) in pairings(progressing).await {
        for agent in clients(&placet).await {
            for token in [r#""mine""#, "17"] {
                let stream = Stream::open(agent.call_with_progress("1", "open", token)).await;
                let said = stream.rest().await;

                let told: Vec<_> = said[..said.len() - 1].iter().map(|m| &m["params"]).collect();
                let token: Value = serde_json::from_str(token).unwrap();
                assert!(told.iter().all(|p| p["progressToken"] == token), "{said:?}");
                let numbers: Vec<_> = told.iter().map(|p| p["progress"].as_u64()).collect();
                assert_eq!(numbers, [Some(1), Some(2)]);
                assert_eq!(said.last().unwrap()["id"], 1);
            }
        }
        placet.end().await;
    }
}

#[tokio::test]
async fn what_a_client_cancels_is_cancelled_at_the_server_in_every_pairing() {
    for (server, placet) in pairings(|_| Answer::Open(vec![])).await {
        let [old, new] = clients(&placet).await;
        let cancelled = || server.fake.seen_of("notifications/cancelled").len();
        for method in ["tools/call", "prompts/get"] {
            let params = r#"{"name":"open"}"#;
            let before = cancelled();
            let stream = Stream::open(new.request("1", method, params)).await;
            drop(stream);
            let stream = Stream::open(old.request("\"k\"", method, params)).await;
            old.notify("notifications/cancelled", r#"{"requestId":"k"}"#).await;
            assert!(stream.rest().await.is_empty(), "nothing more is said of it");
            if server.is_modern {
                // Closing the stream is all there is; nothing may be said on the side.
                assert_eq!(cancelled(), 0);
            } else {
                until("both are cancelled", async || cancelled() == before + 2).await;
            }
        }
        placet.end().await;
    }
}

#[tokio::test]
async fn each_hop_answers_a_ping_for_itself() {
    let asks = |seen: &Seen| {
        if seen.method().is_empty() {
            return Answer::Status(202);
        }
        let ping = r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#;
        let answer = r#"{"jsonrpc":"2.0","id":$ID,"result":{"content":[]}}"#;
        Answer::Stream(vec![event(ping), event(answer)])
    };
    let server = Server::start(false, asks).await;
    let placet = placet(&server).await;
    let agent = placet.legacy(ANN).await;

    assert_eq!(got(agent.request("1", "ping", "{}")).await.json()["result"], json!({}));
    got(agent.call("2", "open", "{}")).await;

    let pong = async || server.fake.seen().iter().any(|s| s.member("id") == "\"p\"");
    until("the server gets its pong", pong).await;
    assert!(server.fake.seen_of("ping").is_empty());
    placet.end().await;
}

#[tokio::test]
async fn what_the_modern_era_has_done_away_with_is_not_found() {
    for (server, placet) in pairings(done).await {
        let agent = placet.modern(ANN);
        for method in [
            "initialize",
            "ping",
            "logging/setLevel",
            "resources/subscribe",
            "resources/unsubscribe",
            "roots/list",
            "mine/own",
        ] {
            let refused = got(agent.request("9", method, "{}")).await;
            assert_eq!((refused.status, refused.error()), (404, -32601), "{method}");
            assert_eq!(refused.json()["id"], 9);
            let said = agent.notify(method, "{}").await;
            assert_eq!((said.status, said.error()), (404, -32601), "{method}");
        }
        for gone in ["notifications/initialized", "notifications/roots/list_changed"] {
            assert_eq!(agent.notify(gone, "{}").await.status, 404, "{gone}");
        }
        for fine in ["notifications/cancelled", "notifications/mine"] {
            let accepted = agent.notify(fine, "{}").await;
            assert_eq!((accepted.status, accepted.body.as_str()), (202, ""), "{fine}");
        }
        assert_eq!(got(agent.http(Method::GET)).await.status, 405);
        assert_eq!(got(agent.http(Method::DELETE)).await.status, 405);
        assert!(server.fake.seen_of("mine/own").is_empty());
        placet.end().await;
    }
}

#[tokio::test]
async fn errors_about_placets_own_request_do_not_blame_the_client() {
    let lacking = |capability: &'static str| {
        move |_: &Seen| {
            let error = json!({"code": -32021, "message": "no",
                "data": {"requiredCapabilities": {capability: {}}}});
            Answer::Json(400, format!(r#"{{"jsonrpc":"2.0","id":$ID,"error":{error}}}"#))
        }
    };
    for (capability, to_modern, status) in [("roots", -32021, 400), ("sampling", -32603, 200)] {
        let server = Server::start(true, lacking(capability)).await;
        let placet = placet(&server).await;
        let [old, new] = clients(&placet).await;

        let modern = got(new.call("1", "open", "{}")).await;
        assert_eq!((modern.status, modern.error()), (status, to_modern), "{capability}");
        assert_eq!(got(old.call("1", "open", "{}")).await.error(), -32603);
        placet.end().await;
    }
    for (code, to_modern) in [(-32042, -32603), (-32002, -32602), (-31000, -31000)] {
        for is_modern in [false, true] {
            let server = Server::start(is_modern, move |_| fake_http::error(200, code)).await;
            let placet = placet(&server).await;
            let answer = got(placet.modern(ANN).call("1", "open", "{}")).await;
            assert_eq!(answer.error(), to_modern, "{code}");
            placet.end().await;
        }
    }
}

#[tokio::test]
async fn tools_of_a_legacy_server_are_shown_as_a_modern_client_can_call_them() {
    let list = r#"{"tools":[
        {"name":"open","execution":{"taskSupport":"forbidden"},"inputSchema":{"type":"object","properties":{"n":{"type":"integer","x-mcp-header":"N"}}}},
        {"name":"denied","inputSchema":{"type":"object","properties":{"n":{"type":"number","x-mcp-header":"N"}}}}]}"#;
    let fake = fake_http::Fake::start(move |seen| match seen.method().as_str() {
        "tools/list" => fake_http::result(list),
        _ => fake_http::legacy(seen).unwrap_or_else(|| done(seen)),
    })
    .await;
    let placet = Placet::start(&fake).await;
    let [old, new] = clients(&placet).await;

    let to_old = got(old.request("1", "tools/list", "{}")).await.json()["result"].clone();
    let to_new = got(new.request("1", "tools/list", "{}")).await.json()["result"].clone();

    assert_eq!(to_old["tools"][0]["execution"]["taskSupport"], "forbidden");
    assert!(to_new["tools"][0].get("execution").is_none());
    let of = |n: usize| to_new["tools"][n]["inputSchema"]["properties"]["n"].clone();
    assert_eq!(of(0)["x-mcp-header"], "N");
    assert!(of(1).get("x-mcp-header").is_none());
    // The header is wanted where the mark is shown, and numbers are compared as numbers.
    let missing = got(new.call("2", "open", r#"{"n":7}"#)).await;
    assert_eq!((missing.status, missing.error()), (400, -32020));
    let mirrored = new.call("3", "open", r#"{"n":7}"#).header("mcp-param-n", "7.0");
    assert_eq!(got(mirrored).await.status, 200);
    let unmarked = got(new.call("4", "denied", r#"{"n":7}"#)).await;
    assert_eq!(unmarked.code(), "policy_denied");
    placet.end().await;
}
