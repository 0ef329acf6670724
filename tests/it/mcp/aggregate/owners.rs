//! Resources, prompts and completions at the one address: whose they are, and what is nobody's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use placet::domain::policy::Policy;
use serde_json::{Value, json};

use super::{before, both, names, server};
use crate::support::fake_http::{self, Answer, Fake, event};
use crate::support::placet::{ANN, Agent, BOB, Placet, got};

/// A server that lists `doc:1`, `doc:{name}` and something of its own.
pub(super) async fn library(name: &'static str) -> Fake {
    let own = format!("{name}:7");
    server(r#"{"resources":{"subscribe":true},"completions":{},"prompts":{}}"#, move |seen| {
        Some(match seen.method().as_str() {
            "resources/list" => fake_http::result(&format!(
                r#"{{"resources":[{{"uri":"doc:1","name":"{name}"}},{{"uri":"{own}","name":"own"}},{{"uri":"https://{name}.example.org","name":"web"}}]}}"#
            )),
            "resources/templates/list" => fake_http::result(&format!(
                r#"{{"resourceTemplates":[{{"uriTemplate":"doc:{{name}}","name":"{name}"}},{{"uriTemplate":"{name}s:{{+x}}","name":"all"}}]}}"#
            )),
            "prompts/list" => fake_http::result(r#"{"prompts":[{"name":"greet"}]}"#),
            "resources/read" => {
                let params: Value = serde_json::from_str(&seen.member("params")).unwrap();
                let contents = json!([{"uri": params["uri"], "text": name}]);
                fake_http::result(&json!({ "contents": contents }).to_string())
            }
            // Says at once that the resource was updated.
            "resources/subscribe" => {
                let updated = json!({
                    "jsonrpc": "2.0",
                    "method": "notifications/resources/updated",
                    "params": serde_json::from_str::<Value>(&seen.member("params")).unwrap()
                });
                Answer::Stream(vec![
                    event(&updated.to_string()),
                    event(r#"{"jsonrpc":"2.0","id":$ID,"result":{}}"#),
                ])
            }
            "prompts/get" | "completion/complete" => {
                fake_http::result(&json!({"from": name, "messages": []}).to_string())
            }
            _ => return None,
        })
    })
    .await
}

#[tokio::test]
async fn the_first_upstream_that_lists_a_resource_owns_it() {
    let (u, m) = (library("u").await, library("m").await);
    let placet = before(&u, &m).await;

    for agent in both(&placet, ANN).await {
        let list = got(agent.request("1", "resources/list", "{}")).await.json();
        assert_eq!(
            names(&list, "resources", "uri"),
            ["doc:1", "u:7", "https://u.example.org", "m+doc:1", "m:7", "https://m.example.org"]
        );
        let list = got(agent.request("1", "resources/templates/list", "{}")).await.json();
        let templates = names(&list, "resourceTemplates", "uriTemplate");
        assert_eq!(templates, ["doc:{name}", "us:{+x}", "m+doc:{name}", "ms:{+x}"]);

        for (uri, owner) in [
            ("doc:1", "u"),
            ("m+doc:1", "m"),
            ("u+doc:1", "u"),
            ("m:7", "m"),
            ("doc:2", "u"),
            ("m+doc:2", "m"),
            ("ms:a/b", "m"),
            ("https://m.example.org/", "m"),
            ("m+unlisted:1", "m"),
        ] {
            let read = agent.request("1", "resources/read", &json!({ "uri": uri }).to_string());
            let read = got(read).await.json();
            assert_eq!(read["result"]["contents"][0]["text"], owner, "{uri}: {read}");
            assert_eq!(read["result"]["contents"][0]["uri"], uri, "{read}");
        }
    }
    assert_eq!(m.seen_of("resources/read")[0].member("params"), r#"{"uri":"doc:1"}"#);
    placet.end().await;
}

#[tokio::test]
async fn a_resource_that_nobody_lists_is_not_found_and_one_that_is_new_is_asked_for() {
    let more = Arc::new(AtomicBool::new(false));
    let grown = Arc::clone(&more);
    let u = server(r#"{"resources":{}}"#, move |seen| match seen.method().as_str() {
        "resources/list" if grown.load(Ordering::SeqCst) => {
            Some(fake_http::result(r#"{"resources":[{"uri":"new:1","name":"n"}]}"#))
        }
        "resources/list" => Some(fake_http::result(r#"{"resources":[]}"#)),
        "resources/read" => Some(fake_http::result(r#"{"contents":[]}"#)),
        _ => {
            Some(fake_http::error(200, -32601)).filter(|_| seen.method().starts_with("resources/"))
        }
    })
    .await;
    let placet = before(&u, &library("m").await).await;
    let [old, new] = both(&placet, ANN).await;
    let read = |agent: &Agent| agent.request("1", "resources/read", r#"{"uri":"new:1"}"#);

    assert_eq!(got(read(&old)).await.error(), -32002);
    let missing = got(read(&new)).await;
    assert_eq!((missing.status, missing.error()), (200, -32602));
    let foreign = placet.modern(BOB).whole().request("1", "resources/read", r#"{"uri":"m+doc:1"}"#);
    assert_eq!(got(foreign).await.error(), -32602);
    assert!(u.seen_of("resources/read").is_empty());

    more.store(true, Ordering::SeqCst);
    assert_eq!(got(read(&new)).await.json()["result"]["contents"], json!([]));
    placet.end().await;
}

#[tokio::test]
async fn prompts_and_completions_go_where_they_belong() {
    let (u, m) = (library("u").await, library("m").await);
    let placet = before(&u, &m).await;

    for agent in both(&placet, ANN).await {
        let list = got(agent.request("1", "prompts/list", "{}")).await.json();
        assert_eq!(names(&list, "prompts", "name"), ["u__greet", "m__greet"]);
        let from = async |method: &str, params: &str| {
            got(agent.request("1", method, params)).await.json()["result"]["from"].clone()
        };

        assert_eq!(from("prompts/get", r#"{"name":"m__greet"}"#).await, "m");
        let of = |reference: &str| {
            format!(r#"{{"ref":{reference},"argument":{{"name":"name","value":"m__greet"}}}}"#)
        };
        for (reference, owner) in [
            (r#"{"type":"ref/prompt","name":"m__greet"}"#, "m"),
            (r#"{"type":"ref/resource","uri":"doc:{name}"}"#, "u"),
            (r#"{"type":"ref/resource","uri":"m+doc:{name}"}"#, "m"),
            (r#"{"type":"ref/resource","uri":"ms:{+x}"}"#, "m"),
        ] {
            assert_eq!(from("completion/complete", &of(reference)).await, owner, "{reference}");
        }
        let sent = m.seen_of("completion/complete");
        assert!(
            sent[0].member("params").starts_with(
                r#"{"ref":{"type":"ref/prompt","name":"greet"},"argument":{"name":"name","value":"m__greet"}"#
            ),
            "{}",
            sent[0].body
        );
        for (method, params) in [
            ("prompts/get", r#"{"name":"greet"}"#.to_owned()),
            ("completion/complete", of(r#"{"type":"ref/prompt","name":"x__greet"}"#)),
            ("completion/complete", of(r#"{"type":"ref/resource","uri":"no:1"}"#)),
        ] {
            assert_eq!(got(agent.request("1", method, &params)).await.error(), -32602, "{params}");
        }
    }
    placet.end().await;
}

#[tokio::test]
async fn what_a_policy_hides_is_unknown_here_too_and_owns_nothing() {
    let (u, m) = (library("u").await, library("m").await);
    let placet = before(&u, &m).await;
    let hiding = r#"{"version":"1","resources":{"hide":["doc:*"]},"prompts":{"hide":["greet"]}}"#;
    let (policy, _) = Policy::read(hiding).unwrap();
    placet.broker.policies().replace("u", Arc::new(policy));

    for agent in both(&placet, ANN).await {
        let list = got(agent.request("1", "resources/list", "{}")).await.json();
        let uris = ["u:7", "https://u.example.org", "doc:1", "m:7", "https://m.example.org"];
        assert_eq!(names(&list, "resources", "uri"), uris);
        let list = got(agent.request("1", "prompts/list", "{}")).await.json();
        assert_eq!(names(&list, "prompts", "name"), ["m__greet"]);
        let same = async |method: &str, key: &str, hidden: &str, unknown: &str| {
            let ask = async |name: &str| {
                let params = json!({ key: name }).to_string();
                got(agent.request("1", method, &params)).await.body.replace(name, "NAME")
            };
            assert_eq!(ask(hidden).await, ask(unknown).await, "{hidden}");
        };
        same("prompts/get", "name", "u__greet", "x__greet").await;
        same("resources/read", "uri", "u+doc:1", "x+doc:1").await;
        let read = agent.request("1", "resources/read", r#"{"uri":"doc:1"}"#);
        assert_eq!(got(read).await.json()["result"]["contents"][0]["text"], "m");
    }
    placet.end().await;
}

/// A server whose list of resources never ends: page n has `doc:n`, and leads to the cursor that
/// `next` makes of n.
async fn endless(next: impl Fn(usize) -> String + Send + Sync + 'static) -> Fake {
    let pages = AtomicUsize::new(0);
    server(r#"{"resources":{}}"#, move |seen| {
        Some(match seen.method().as_str() {
            "resources/list" => {
                let n = pages.fetch_add(1, Ordering::SeqCst);
                let page =
                    json!({"resources": [{"uri": format!("doc:{n}")}], "nextCursor": next(n)});
                fake_http::result(&page.to_string())
            }
            "resources/templates/list" => fake_http::result(r#"{"resourceTemplates":[]}"#),
            "resources/read" => {
                fake_http::result(&json!({"contents": [{"uri": "doc:0"}]}).to_string())
            }
            _ => return None,
        })
    })
    .await
}

#[tokio::test]
async fn whose_a_resource_is_is_found_in_bounded_pages_also_where_cursors_never_end() {
    for (wheel, pages) in [("on and on", 3), ("always the same", 2), ("in a circle", 3)] {
        let fake = endless(move |n| match wheel {
            "on and on" => n.to_string(),
            "always the same" => String::new(),
            _ => ["a", "b"][n % 2].to_owned(),
        })
        .await;
        let lines = "[server]\nmax_list_pages = 3";
        let placet = Placet::before_each(&[("u", &fake.url)]).with(lines).start().await;
        let agent = placet.modern(ANN).whole();

        let read = got(agent.request("1", "resources/read", r#"{"uri":"doc:0"}"#)).await.json();

        assert_eq!(read["result"]["contents"][0]["uri"], "doc:0", "{wheel}: {read}");
        assert_eq!(fake.seen_of("resources/list").len(), pages, "{wheel}");
        placet.end().await;
    }
}
