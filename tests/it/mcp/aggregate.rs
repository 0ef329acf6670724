//! The one address for everything: all the agent's upstreams as one server, each call the very
//! call it is on its upstream's own address.

mod owners;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use placet::domain::policy::Policy;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::fake_http::{self, Answer, Fake, Seen};
use crate::support::placet::{ANN, Agent, BOB, Era, Placet, Stream, got};
use crate::support::until;

use self::owners::library;
use super::{done, legacy, modern, usual};

/// A legacy server with these capabilities, which answers by this function.
async fn server(
    capabilities: &'static str,
    answer: impl Fn(&Seen) -> Option<Answer> + Send + Sync + 'static,
) -> Fake {
    Fake::start(move |seen| {
        if seen.method() == "initialize" {
            let facts = format!(
                r#"{{"jsonrpc":"2.0","id":$ID,"result":{{"protocolVersion":"2025-11-25","capabilities":{capabilities},"serverInfo":{{"name":"fake","version":"1"}},"instructions":"be kind"}}}}"#
            );
            return Answer::Session("s".to_owned(), facts);
        }
        answer(seen).or_else(|| fake_http::legacy(seen)).unwrap_or_else(|| done(seen))
    })
    .await
}

/// The cursor of a request, as it was sent.
fn cursor(seen: &Seen) -> String {
    let params: Value = serde_json::from_str(&seen.member("params")).unwrap_or_default();
    params["cursor"].as_str().unwrap_or_default().to_owned()
}

/// The program in front of `u` and `m`, whose tool lists are known.
async fn before(u: &Fake, m: &Fake) -> Placet {
    Placet::before_each(&[("u", &u.url), ("m", &m.url)]).start().await
}

/// An agent with a legacy session on the one address.
async fn session(placet: &Placet, token: &str) -> Agent {
    let agent = placet.agent(token, Era::Legacy { session: None }).whole();
    let answer = agent.initialize("2025-11-25").await;
    placet.agent(token, Era::Legacy { session: Some(answer.header("mcp-session-id")) }).whole()
}

/// Agents of both eras on the one address.
async fn both(placet: &Placet, token: &str) -> [Agent; 2] {
    [session(placet, token).await, placet.modern(token).whole()]
}

fn names(list: &Value, key: &str, name: &str) -> Vec<String> {
    let entries = list["result"][key].as_array().unwrap_or_else(|| panic!("{list}"));
    entries.iter().map(|e| e[name].as_str().unwrap().to_owned()).collect()
}

async fn tools(agent: &Agent) -> Vec<String> {
    names(&got(agent.request("1", "tools/list", "{}")).await.json(), "tools", "name")
}

#[tokio::test]
async fn lists_are_merged_in_order_and_what_is_hidden_is_left_out() {
    let placet = before(&legacy(done).await, &modern(done).await).await;
    let own = ["open", "limited", "limited_all", "gated", "brief", "denied"];
    let expected: Vec<String> =
        ["u", "m"].iter().flat_map(|u| own.iter().map(move |t| format!("{u}__{t}"))).collect();

    for agent in both(&placet, ANN).await {
        assert_eq!(tools(&agent).await, expected);
    }
    assert_eq!(tools(&placet.modern(BOB).whole()).await, expected[..own.len()]);
    let list = got(placet.modern(ANN).whole().request("1", "tools/list", "{}")).await.json();
    let result = &list["result"];
    assert_eq!(
        (&result["resultType"], &result["ttlMs"], &result["cacheScope"]),
        (&json!("complete"), &json!(0), &json!("private"))
    );
    placet.end().await;
}

#[tokio::test]
async fn a_merged_list_is_kept_as_long_as_the_first_of_its_parts() {
    let placet = before(&modern(done).await, &modern(done).await).await;

    let list = got(placet.modern(ANN).whole().request("1", "tools/list", "{}")).await.json();

    assert_eq!(list["result"]["ttlMs"], 5);
    assert_eq!(list["result"]["cacheScope"], "private");
    placet.end().await;
}

#[tokio::test]
async fn pages_of_the_upstreams_follow_each_other() {
    let paged = |seen: &Seen| {
        let page = |tool: &str, next: &str| {
            fake_http::result(&format!(
                r#"{{"tools":[{{"name":"{tool}","inputSchema":{{"type":"object"}}}}]{next}}}"#
            ))
        };
        (seen.method() == "tools/list").then(|| match cursor(seen).as_str() {
            "" => page("open", r#","nextCursor":"p\u00e4ge 2""#),
            "päge 2" => page("gated", ""),
            _ => fake_http::error(200, -32602),
        })
    };
    let u = server(r#"{"tools":{}}"#, paged).await;
    let placet = before(&u, &server(r#"{"tools":{}}"#, paged).await).await;
    let agent = placet.modern(ANN).whole();
    let mut found = Vec::new();
    let mut params = "{}".to_owned();

    loop {
        let page = got(agent.request("1", "tools/list", &params)).await.json();
        found.push(names(&page, "tools", "name"));
        match page["result"]["nextCursor"].as_str() {
            Some(next) => params = json!({ "cursor": next }).to_string(),
            None => break,
        }
    }

    assert_eq!(found, [vec!["u__open"], vec!["u__gated", "m__open"], vec!["m__gated"]]);
    for wrong in [r#""nonsense""#, "7", "\"\""] {
        let refused = agent.request("1", "tools/list", &format!(r#"{{"cursor":{wrong}}}"#));
        assert_eq!(got(refused).await.error(), -32602, "{wrong}");
    }
    // The place in `m` is of no use to who may not use it.
    let thief = placet.modern(BOB).whole().request("1", "tools/list", &params);
    assert_eq!(got(thief).await.error(), -32602);
    placet.end().await;
}

#[tokio::test]
async fn an_upstream_that_is_down_or_slow_takes_no_other_with_it() {
    let hangs = Arc::new(AtomicBool::new(false));
    let asleep = Arc::clone(&hangs);
    let slow = server(r#"{"tools":{}}"#, move |seen| {
        let sleeps = seen.method() == "tools/list" && asleep.load(Ordering::SeqCst);
        sleeps.then(|| Answer::Open(Vec::new()))
    })
    .await;
    let u = modern(done).await;
    let away = "http://127.0.0.1:1/mcp";
    let upstreams = [("away", away), ("slow", slow.url.as_str()), ("u", u.url.as_str())];
    let placet = Placet::before_each(&upstreams).without_tools_of(&["away"]).start().await;
    hangs.store(true, Ordering::SeqCst);

    let agent = session(&placet, ANN).await;
    let list = got(placet.modern(ANN).whole().request("1", "tools/list", "{}")).await.json();

    assert_eq!(names(&list, "tools", "name")[..2], ["slow__t", "u__open"]);
    assert_eq!(list["result"]["ttlMs"], 0);
    assert_eq!(
        got(agent.call("2", "u__open", "{}")).await.json()["result"]["content"][0]["text"],
        "done"
    );
    assert_eq!(got(agent.call("3", "away__t", "{}")).await.code(), "upstream_unavailable");
    placet.end().await;
}

#[tokio::test]
async fn arguments_reach_the_upstream_byte_for_byte() {
    let (u, m) = (legacy(done).await, modern(done).await);
    let placet = before(&u, &m).await;
    let arguments =
        r#"{ "z":1.00, "a": "\u0041\ud83d\ude00" ,"n":12345678901234567890123,"name":"u__open"}"#;

    for (upstream, fake) in [("u", &u), ("m", &m)] {
        for agent in both(&placet, ANN).await {
            let tool = format!("{upstream}__open");
            assert_eq!(got(agent.call("1", &tool, arguments)).await.status, 200);
            let call = fake.seen_of("tools/call").pop().unwrap();
            assert!(call.member("params").contains(arguments), "{}", call.body);
            assert!(call.member("params").contains(r#""name":"open""#), "{}", call.body);
        }
    }
    assert_eq!(m.seen_of("tools/call")[0].header("mcp-name"), "open");
    placet.end().await;
}

#[tokio::test]
async fn unknown_hidden_and_foreign_tools_look_alike() {
    let placet = before(&legacy(done).await, &modern(done).await).await;

    for agent in both(&placet, BOB).await {
        let ask = async |tool: &str| {
            let answer = got(agent.call("1", tool, "{}")).await;
            let error = answer.json()["error"].clone();
            assert_eq!(error["message"], format!("Unknown tool: {tool}"));
            (answer.status, error["code"].clone())
        };
        let unknown = ask("u__nope").await;

        assert_eq!(unknown, (200, json!(-32602)));
        for tool in ["u__secret", "m__open", "nope__open", "open", "__open", "u__", "u+open"] {
            assert_eq!(ask(tool).await, unknown, "{tool}");
        }
        let bad = r#"{"name":"m__open","arguments":[]}"#;
        let foreign = got(agent.request("1", "tools/call", bad)).await.json();
        let hidden = got(agent.request("1", "tools/call", &bad.replace("m__open", "u__secret")));
        assert_eq!(foreign, hidden.await.json());
    }
    placet.end().await;
}

#[tokio::test]
async fn a_call_and_the_identical_one_on_the_upstreams_own_address_are_one() {
    let (placet, fake) = usual().await;
    let (whole, own) = (session(&placet, ANN).await, placet.modern(ANN));

    let first = Stream::open(whole.call("1", "u__gated", r#"{"n":1}"#)).await;
    placet.approval("pending").await;
    let second = Stream::open(own.call("2", "gated", r#"{ "n": 1 }"#)).await;
    let approval = placet.decide("approve").await;
    let answers = [first.last().await, second.last().await];

    for answer in answers {
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let decision = &answer["result"]["_meta"]["io.placet/decision"];
        assert_eq!(
            (&decision["code"], &decision["approval"], &decision["rule"]),
            (&json!("approved"), &json!(approval), &json!("/tools/gated")),
            "{answer}"
        );
    }
    assert_eq!(fake.seen_of("tools/call").len(), 1);
    let told = placet.approvals("completed").await;
    assert_eq!(
        (told.len(), &told[0]["upstream"], &told[0]["tool"]),
        (1, &json!("u"), &json!("gated"))
    );
    placet.end().await;
}

#[tokio::test]
async fn a_task_is_its_agents_whichever_address_it_was_made_at() {
    let (u, m) = (legacy(done).await, modern(done).await);
    let placet = before(&u, &m).await;
    let whole = session(&placet, ANN).await;
    let make = async |agent: &Agent, tool: &str| {
        let params = format!(r#"{{"name":"{tool}","arguments":{{}},"task":{{"ttl":60000}}}}"#);
        let made = got(agent.request("1", "tools/call", &params)).await.json();
        made["result"]["task"]["taskId"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned()
    };
    let ask = async |agent: &Agent, method: &str, id: &str| {
        got(agent.request("2", method, &json!({ "taskId": id }).to_string())).await.json()
    };

    let of_m = make(&whole, "m__gated").await;
    placet.decide("approve").await;
    let own = placet.legacy(ANN).await;
    let of_u = make(&own, "gated").await;

    let listed = got(whole.request("3", "tasks/list", "{}")).await.json();
    assert_eq!(names(&listed, "tasks", "taskId"), [of_u.as_str(), of_m.as_str()]);
    assert_eq!(ask(&own, "tasks/get", &of_m).await["error"]["code"], -32602);
    assert_eq!(ask(&whole, "tasks/get", &of_u).await["result"]["status"], "working");
    let ended = ask(&whole, "tasks/result", &of_m).await;
    assert_eq!(ended["result"]["content"][0]["text"], "done", "{ended}");
    // Its upstream is of the modern era, the client is not.
    assert!(ended["result"].get("resultType").is_none(), "{ended}");
    let bob = session(&placet, BOB).await;
    assert_eq!(ask(&bob, "tasks/get", &of_u).await["error"]["code"], -32602);
    placet.end().await;
}

#[tokio::test]
async fn sessions_of_the_one_address_and_of_an_upstreams_own_are_apart() {
    let (placet, _fake) = usual().await;
    let whole = session(&placet, ANN).await;
    let own = placet.legacy(ANN).await;
    let other = |agent: &Agent, url: &str| {
        let mut other = agent.clone();
        other.url = url.to_owned();
        other
    };

    assert_eq!(got(whole.request("1", "ping", "{}")).await.json()["result"], json!({}));
    assert_eq!(got(other(&whole, &own.url).request("1", "ping", "{}")).await.status, 404);
    assert_eq!(got(other(&own, &whole.url).request("1", "ping", "{}")).await.status, 404);
    assert_eq!(got(other(&own, &whole.url).http(Method::DELETE)).await.status, 404);
    let bob = placet.agent(BOB, whole.era.clone()).whole();
    assert_eq!(got(bob.request("1", "ping", "{}")).await.status, 404);
    assert_eq!(whole.notify("notifications/initialized", "{}").await.status, 202);

    assert!(got(whole.http(Method::DELETE)).await.status < 300);
    assert_eq!(got(whole.request("1", "ping", "{}")).await.status, 404);
    assert_eq!(got(own.request("1", "ping", "{}")).await.status, 200);
    placet.end().await;
}

#[tokio::test]
async fn the_server_is_placet_with_what_any_of_them_can_do() {
    let u = server(r#"{"resources":{"subscribe":true},"tasks":{"list":{}}}"#, |_| None).await;
    let m = modern(done).await;
    let placet = before(&u, &m).await;
    let (tools, resources) = (json!({"listChanged": true}), json!({"subscribe": true}));

    let client = placet.agent(ANN, Era::Legacy { session: None }).whole();
    let begun = client.initialize("2025-11-25").await.json()["result"].clone();
    let discover = placet.modern(ANN).whole().request("1", "server/discover", "{}");
    let discovered = got(discover).await.json()["result"].clone();

    for facts in [&begun, &discovered] {
        let told = &facts["capabilities"];
        assert_eq!((&told["tools"], &told["resources"]), (&tools, &resources), "{told}");
        // Those are Placet's own: the upstream's are withheld.
        assert_ne!(told["tasks"], json!({"list": {}}));
    }
    assert_eq!(begun["serverInfo"]["name"], "placet");
    assert_eq!(discovered["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "placet");
    assert_eq!(begun["instructions"], "u:\nbe kind");
    placet.end().await;
}

#[tokio::test]
async fn mirrored_headers_are_those_of_the_real_tool() {
    let m = Fake::modern(done).await;
    let allow = r#"{"version":"1","default":"allow"}"#;
    let u = legacy(done).await;
    let setup = Placet::before_each(&[("u", &u.url), ("m", &m.url)]);
    let placet = setup.policy(allow).start().await;
    let agent = placet.modern(ANN).whole();
    let call = || agent.call("1", "m__t", r#"{"region":"eu"}"#);

    let without = got(call()).await;
    assert_eq!((without.status, without.error()), (400, -32020));
    assert_eq!(got(call().header("mcp-param-region", "us")).await.error(), -32020);
    assert_eq!(got(call().header("mcp-param-region", "eu")).await.status, 200);

    let sent = m.seen_of("tools/call").pop().unwrap();
    assert_eq!(
        (sent.header("mcp-name"), sent.header("mcp-param-region")),
        ("t".into(), "eu".into())
    );
    placet.end().await;
}

#[tokio::test]
async fn what_changes_behind_any_upstream_is_told_in_the_names_of_the_one_address() {
    let (u, m) = (library("u").await, library("m").await);
    let placet = before(&u, &m).await;
    let old = session(&placet, ANN).await;
    got(old.request("1", "resources/list", "{}")).await;
    let mut stream = Stream::open(old.http(Method::GET)).await;
    assert!(stream.next().await.is_some());
    let wanted = r#"{"notifications":{"toolsListChanged":true}}"#;
    let subscribe = placet.modern(ANN).whole().request("3", "subscriptions/listen", wanted);
    let mut new = Stream::open(subscribe).await;
    new.message().await.unwrap();

    for upstream in ["u", "m"] {
        let (policy, _) = Policy::read(r#"{"version":"1","hide":["open"]}"#).unwrap();
        placet.broker.policies().replace(upstream, Arc::new(policy));
        let changed = "notifications/tools/list_changed";
        assert_eq!(stream.message().await.unwrap()["method"], changed);
        assert_eq!(new.message().await.unwrap()["method"], changed);
    }
    for uri in ["doc:1", "m+doc:1", "m:7"] {
        let subscribe = json!({ "uri": uri }).to_string();
        assert_eq!(got(old.request("2", "resources/subscribe", &subscribe)).await.status, 200);
        let updated = stream.message().await.unwrap();
        assert_eq!(updated["method"], "notifications/resources/updated");
        assert_eq!(updated["params"]["uri"], uri);
    }
    drop((stream, new));
    placet.end().await;
}

#[tokio::test]
async fn a_clients_notifications_reach_all_upstreams() {
    let (u, m) = (legacy(done).await, legacy(done).await);
    let placet = before(&u, &m).await;
    let agent = session(&placet, ANN).await;
    got(agent.call("1", "u__open", "{}")).await;
    got(agent.call("1", "m__open", "{}")).await;

    agent.notify("notifications/roots/list_changed", r#"{"n":1.00}"#).await;

    for fake in [u, m] {
        until("the notification arrives", async || {
            !fake.seen_of("notifications/roots/list_changed").is_empty()
        })
        .await;
        assert_eq!(
            fake.seen_of("notifications/roots/list_changed")[0].member("params"),
            r#"{"n":1.00}"#
        );
    }
    placet.end().await;
}
