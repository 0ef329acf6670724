//! The modern era's own rules: metadata in every request, headers that mirror the body, and
//! methods that are gone.

mod translate;

use serde_json::json;

use crate::support::fake_http::{self, Fake};
use crate::support::placet::{ANN, Placet, Stream, got};

use super::{done, legacy, modern, usual};

#[tokio::test]
async fn headers_must_mirror_the_body() {
    let (placet, fake) = usual().await;
    let agent = placet.modern(ANN);
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{{"name":"open",{meta}}}}}"#
    );
    let without_version = || {
        placet
            .http
            .post(&agent.url)
            .bearer_auth(ANN)
            .header("content-type", "application/json")
            .body(body.clone())
    };

    for (what, request) in [
        ("no version", without_version()),
        ("other version", without_version().header("mcp-protocol-version", "2025-11-25")),
        ("no method", agent.post(&body)),
        ("no name", agent.post(&body).header("mcp-method", "tools/call")),
        (
            "other method",
            agent.post(&body).header("mcp-method", "tools/list").header("mcp-name", "open"),
        ),
        (
            "other name",
            agent.post(&body).header("mcp-method", "tools/call").header("mcp-name", "denied"),
        ),
        (
            "broken name",
            agent.post(&body).header("mcp-method", "tools/call").header("mcp-name", "=?base64?*?="),
        ),
    ] {
        let refused = got(request).await;
        assert_eq!((refused.status, refused.error()), (400, -32020), "{what}");
        assert_eq!(refused.json()["id"], 5, "{what}");
    }
    assert!(fake.seen_of("tools/call").is_empty());
    let coded = agent
        .post(&body)
        .header("mcp-method", "tools/call")
        .header("mcp-name", "=?base64?b3Blbg==?=");
    assert_eq!(got(coded).await.status, 200);
    placet.end().await;
}

#[tokio::test]
async fn metadata_is_demanded_and_other_versions_are_named() {
    let (placet, _fake) = usual().await;
    let agent = placet.modern(ANN);
    let ask = |meta: &str| {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":6,"method":"tools/list","params":{{"_meta":{meta}}}}}"#
        );
        agent.post(&body).header("mcp-method", "tools/list")
    };

    for meta in [
        r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#,
        r#"{"io.modelcontextprotocol/clientCapabilities":{}}"#,
        r#"{"io.modelcontextprotocol/protocolVersion":7,"io.modelcontextprotocol/clientCapabilities":{}}"#,
        "{}",
    ] {
        let refused = got(ask(meta)).await;
        assert_eq!((refused.status, refused.error()), (400, -32602), "{meta}");
        assert_eq!(refused.json()["id"], 6);
    }

    let body = r#"{"jsonrpc":"2.0","id":6,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2099-01-01","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    let future = placet
        .http
        .post(&agent.url)
        .bearer_auth(ANN)
        .header("content-type", "application/json")
        .header("mcp-protocol-version", "2099-01-01")
        .header("mcp-method", "tools/list")
        .body(body);
    let refused = got(future).await;
    assert_eq!((refused.status, refused.error()), (400, -32022));
    assert_eq!(
        refused.json()["error"]["data"],
        json!({"supported": ["2026-07-28"], "requested": "2099-01-01"})
    );
    placet.end().await;
}

#[tokio::test]
async fn methods_that_are_gone_do_not_exist() {
    let (placet, _fake) = usual().await;
    let agent = placet.modern(ANN);

    for method in ["initialize", "ping", "logging/setLevel", "resources/subscribe", "mine/own"] {
        let refused = got(agent.request("9", method, "{}")).await;
        assert_eq!((refused.status, refused.error()), (404, -32601), "{method}");
        assert_eq!(refused.json()["id"], 9);
    }
    assert_eq!(agent.notify("notifications/cancelled", "{}").await.status, 202);
    placet.end().await;
}

#[tokio::test]
async fn discovery_and_lists_carry_what_the_era_demands() {
    let (placet, _fake) = usual().await;
    let agent = placet.modern(ANN);

    let facts = got(agent.request("1", "server/discover", "{}")).await.json()["result"].clone();
    assert_eq!(facts["supportedVersions"], json!(["2026-07-28"]));
    assert_eq!(facts["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "fake");
    let list = got(agent.request("2", "tools/list", "{}")).await.json()["result"].clone();
    for result in [&facts, &list] {
        assert_eq!(result["resultType"], "complete");
        assert_eq!((&result["ttlMs"], &result["cacheScope"]), (&json!(0), &json!("private")));
    }
    let call = got(agent.call("3", "open", "{}")).await.json()["result"].clone();
    assert_eq!((&call["resultType"], &call["ttlMs"]), (&json!("complete"), &json!(null)));
    placet.end().await;
}

#[tokio::test]
async fn arguments_are_mirrored_where_a_tool_asks_but_a_hidden_tool_asks_for_nothing() {
    let tool = |name: &str| {
        format!(
            r#"{{"name":"{name}","inputSchema":{{"type":"object","properties":{{"region":{{"type":"string","x-mcp-header":"Region"}}}}}}}}"#
        )
    };
    let list = format!(r#"{{"tools":[{},{}]}}"#, tool("open"), tool("secret"));
    let fake = Fake::start(move |seen| match seen.method().as_str() {
        "tools/list" => fake_http::result(&list),
        _ => fake_http::legacy(seen).unwrap_or_else(|| done(seen)),
    })
    .await;
    let placet = Placet::start(&fake).await;
    let agent = placet.modern(ANN);
    let arguments = r#"{"region":"eu"}"#;

    let without = got(agent.call("1", "open", arguments)).await;
    assert_eq!((without.status, without.error()), (400, -32020));
    let other = agent.call("1", "open", arguments).header("mcp-param-region", "us");
    assert_eq!(got(other).await.error(), -32020);
    let superfluous = agent.call("1", "open", "{}").header("mcp-param-region", "=?base64?*?=");
    assert_eq!(got(superfluous).await.error(), -32020);
    let right = agent.call("1", "open", arguments).header("Mcp-Param-Region", "eu");
    assert_eq!(got(right).await.status, 200);

    let hidden = got(agent.call("1", "secret", arguments)).await;
    let unknown = got(agent.call("1", "no_such_tool", arguments)).await;
    assert_eq!(hidden.status, unknown.status);
    assert_eq!(hidden.body.replace("secret", "no_such_tool"), unknown.body);
    placet.end().await;
}

#[tokio::test]
async fn a_subscription_is_acknowledged_with_what_is_honoured() {
    let (placet, _fake) = usual().await;
    let wanted = r#"{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["a:b"]}}"#;
    let mut stream =
        Stream::open(placet.modern(ANN).request("\"s-1\"", "subscriptions/listen", wanted)).await;

    let first = stream.message().await.unwrap();

    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(first["params"]["notifications"], json!({"toolsListChanged": true}));
    assert_eq!(first["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], "s-1");
    let ended = tokio::spawn(stream.rest());
    placet.end().await;
    let last = ended.await.unwrap().pop().unwrap();
    assert_eq!((&last["id"], &last["result"]["resultType"]), (&json!("s-1"), &json!("complete")));
}

#[tokio::test]
async fn errors_of_the_upstream_get_the_status_of_the_era() {
    for (code, status) in [(-32601, 404), (-32602, 200)] {
        let fake = modern(move |_| fake_http::error(200, code)).await;
        let placet = Placet::start(&fake).await;

        let answer = got(placet.modern(ANN).call("1", "open", "{}")).await;

        assert_eq!((answer.status, answer.error()), (status, i64::from(code)));
        placet.end().await;
    }
    let fake = legacy(|_| fake_http::error(200, -32601)).await;
    let placet = Placet::start(&fake).await;
    let answer = got(placet.legacy(ANN).await.call("1", "open", "{}")).await;
    assert_eq!((answer.status, answer.error()), (200, -32601));
    placet.end().await;
}
