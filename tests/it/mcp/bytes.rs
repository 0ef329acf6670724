//! Properties of what passes: arguments as no serialiser would write them, members nobody knows and
//! nesting nobody needs reach the upstream byte for byte, and its answer the client, through every
//! pairing of transports, allowed or approved.
//!
//! A case that failed is kept in `bytes.regressions` and tried first from then on; [`ODD`] holds
//! those worth a name.

use std::cell::Cell;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use placet::domain::json;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseResult, TestRunner};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::runtime::Runtime;

use crate::support::db::Dir;
use crate::support::fake_http::{self, Fake};
use crate::support::fake_sse::{self, Begins, FakeSse};
use crate::support::placet::{ANN, Agent, Heard, Placet, RITA, got, tool_list};
use crate::support::{soon, until};

use super::session::http_sse::Old;

/// Cases that chance makes, for each pairing.
const CASES: u32 = 24;

/// Arguments that are tried first, allowed and approved.
const ODD: [&str; 4] = [
    r#"{"z":1e2,"a":1.00,"n":[-0,-0.0,0e0,1E+400,1e-400,12345678901234567890123,0.1e-7]}"#,
    r#"{"\u0041\/":"\u0041\/\b\f\n\r\t\"\\","\ud83d\ude00":"😀\u0000\u2028\u202e","é":"e\u0301"}"#,
    "{ \"b\" :\t1 ,\n\"a\": [ ] , \"\" : { } , \"_meta\":{\"progressToken\":1}, \"name\" : null }",
    r#"{"d":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[{"e":1.0}]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}"#,
];

/// A member of an object: its key and value as they are spelled.
type Raw = (String, String);

/// One call and its answer.
#[derive(Debug, Clone)]
struct Case {
    approved: bool,
    /// Members of `params`, in order, without `_meta`.
    params: Vec<Raw>,
    /// Where `_meta` stands among them, and members of it that are nobody's business.
    meta: (usize, Vec<Raw>),
    /// Members of the result, likewise.
    result: Vec<Raw>,
    result_meta: (usize, Vec<Raw>),
    gap: &'static str,
}

fn number() -> impl Strategy<Value = String> {
    let odd = ["1e2", "1.00", "-0", "12345678901234567890123", "1E+400", "0.10", "-1e-0", "4e0"];
    prop_oneof![
        select(odd.to_vec()).prop_map(str::to_owned),
        "-?(0|[1-9][0-9]{0,24})([.][0-9]{1,5})?([eE][+-]?[0-9]{1,3})?",
    ]
}

/// The inside of a string, spelled in one of the ways JSON allows.
fn letters() -> impl Strategy<Value = String> {
    let odd = [
        r"\u0041",
        r"\/",
        "/",
        r"\ud83d\ude00",
        "😀",
        r"\uD83D\uDE00",
        "é",
        r"\u00e9",
        r"\n",
        r"\\",
        r#"\""#,
        r"\u0000",
        r"\u202e",
        "\u{202e}",
        "\u{7f}",
        r"\u000A",
        "k",
        "K",
        " ",
        "$",
        "\u{e000}",
    ];
    vec(select(odd.to_vec()), 0..6).prop_map(|pieces| pieces.concat())
}

/// Members whose keys differ however they are read: each ends in its own number.
fn members(value: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<Raw>> {
    vec((letters(), value), 0..5).prop_map(|all| {
        let numbered = all.into_iter().rev().enumerate();
        numbered.map(|(n, (key, value))| (format!("\"{key}#{n}\""), value)).collect()
    })
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        number(),
        letters().prop_map(|s| format!("\"{s}\"")),
        select(&["null", "true", "false", "[]", "{}", "[ ]", "{ }"][..]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            (vec(inner.clone(), 0..5), gap())
                .prop_map(|(all, gap)| format!("[{gap}{}{gap}]", all.join(&format!("{gap},")))),
            (members(inner.clone()), gap()).prop_map(|(all, gap)| object(&all, gap)),
            (inner, 1..44_usize).prop_map(|(v, n)| match v.matches(['[', '{']).count() {
                0..=6 => format!("{}{v}{}", "[".repeat(n), "]".repeat(n)),
                _ => v,
            }),
        ]
    })
}

fn gap() -> impl Strategy<Value = &'static str> {
    select(&["", "", " ", "\t", "\n  ", "\r\n"][..])
}

fn object(members: &[Raw], gap: &str) -> String {
    let all: Vec<String> =
        members.iter().map(|(k, v)| format!("{gap}{k}{gap}:{gap}{v}{gap}")).collect();
    format!("{{{}}}", all.join(","))
}

/// The same members with `_meta` among them.
fn with_meta(members: &[Raw], (place, meta): (usize, &[Raw]), gap: &str) -> String {
    let mut all = members.to_vec();
    all.insert(place.min(all.len()), ("\"_meta\"".to_owned(), object(meta, gap)));
    object(&all, gap)
}

fn case() -> impl Strategy<Value = Case> {
    let own = || members(value()).prop_map(named);
    let name = |plain, odd| select(vec![plain, odd]).prop_map(str::to_owned);
    let call = any::<bool>().prop_flat_map(move |approved| {
        let name = match approved {
            true => name(r#""gated""#, r#""g\u0061ted""#),
            false => name(r#""open""#, r#""op\u0065n""#),
        };
        (Just(approved), name, members(value()), gap(), own()).prop_map(
            |(approved, name, arguments, gap, mut params)| {
                params.push(("\"name\"".to_owned(), name));
                params.push((r#""argum\u0065nts""#.to_owned(), object(&arguments, gap)));
                (approved, params)
            },
        )
    });
    let call =
        call.prop_flat_map(|(approved, params)| (Just(approved), Just(params).prop_shuffle()));
    let result = own().prop_map(|mut all| {
        all.insert(0, ("\"content\"".to_owned(), "[ ]".to_owned()));
        all
    });
    let metas = (0..4_usize, own(), 0..4_usize, own());
    (call, result.prop_shuffle(), metas, gap()).prop_map(
        |((approved, params), result, (place, meta, result_place, result_meta), gap)| Case {
            approved,
            params,
            meta: (place, meta),
            result,
            result_meta: (result_place, result_meta),
            gap,
        },
    )
}

/// Keys that no revision of the protocol has or will have.
fn named(members: Vec<Raw>) -> Vec<Raw> {
    members.into_iter().map(|(k, v)| (format!("\"x.example/{}", &k[1..]), v)).collect()
}

/// How the client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Legacy,
    Modern,
    /// HTTP+SSE of 2024-11-05.
    Old,
    LegacyChild,
    ModernChild,
}

/// What is behind the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behind {
    Legacy,
    Modern,
    Old,
    Child,
}

enum Client {
    Http(Agent),
    Old(Box<Old>),
    Child { _child: Box<Child>, input: ChildStdin, output: Lines<BufReader<ChildStdout>> },
}

enum Server {
    Http(Fake),
    Old(FakeSse),
    Child(Dir),
}

struct Rig {
    side: Side,
    behind: Behind,
    placet: Placet,
    client: tokio::sync::Mutex<Client>,
    server: Server,
    result: Arc<Mutex<String>>,
    ids: Cell<u32>,
}

impl Rig {
    async fn new(side: Side, behind: Behind) -> Self {
        let result: Arc<Mutex<String>> = Arc::default();
        let next = Arc::clone(&result);
        let said = move || next.lock().unwrap().clone();
        let server = match behind {
            Behind::Legacy => {
                Server::Http(super::legacy(move |_| fake_http::result(&said())).await)
            }
            Behind::Modern => {
                Server::Http(super::modern(move |_| fake_http::result(&said())).await)
            }
            Behind::Old => Server::Old(
                FakeSse::start(404, Begins::Well, move |seen| match seen.method().as_str() {
                    "tools/list" => fake_sse::result(&tool_list()),
                    _ => fake_sse::usual(seen).unwrap_or_else(|| fake_sse::result(&said())),
                })
                .await,
            ),
            Behind::Child => {
                let dir = Dir::new();
                std::fs::write(dir.0.join("tools"), tool_list()).unwrap();
                Server::Child(dir)
            }
        };
        let limits = "[approvals]\nheartbeat = \"1s\"\n\
                      max_new_per_agent = { max = 10000, window = 60 }";
        let at = match &server {
            Server::Http(fake) => format!("url = \"{}\"", fake.url),
            Server::Old(fake) => format!("url = \"{}\"", fake.url),
            Server::Child(dir) => {
                let script =
                    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/record_stdio.py");
                format!("command = [\"python3\", \"-u\", \"{script}\", \"{}\"]", dir.0.display())
            }
        };
        let placet = Placet::before_lines(&at).with(limits).start().await;
        let client = match side {
            Side::Legacy => Client::Http(placet.legacy(ANN).await),
            Side::Modern => Client::Http(placet.modern(ANN)),
            Side::Old => Client::Old(Box::new(Old::start(&placet, ANN).await)),
            Side::LegacyChild | Side::ModernChild => child(&placet.base),
        };
        let rig = Self {
            side,
            behind,
            placet,
            client: tokio::sync::Mutex::new(client),
            server,
            result,
            ids: Cell::new(0),
        };
        if side == Side::LegacyChild {
            let hello = r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}"#;
            rig.begin("initialize", hello, None).await.await;
        }
        rig
    }

    /// Whether a message must be one line on its way.
    fn is_lines(&self) -> bool {
        self.behind == Behind::Child
            || matches!(self.side, Side::Old | Side::LegacyChild | Side::ModernChild)
    }

    fn is_modern(&self) -> bool {
        matches!(self.side, Side::Modern | Side::ModernChild)
    }

    /// Raw `params` of every call that reached the server.
    fn calls(&self) -> Vec<String> {
        let lines: Vec<String> = match &self.server {
            Server::Http(fake) => fake.seen().into_iter().map(|s| s.body).collect(),
            Server::Old(fake) => fake.seen().into_iter().map(|s| s.body).collect(),
            Server::Child(dir) => {
                let seen = std::fs::read_to_string(dir.0.join("seen")).unwrap_or_default();
                seen.split_terminator('\n').map(str::to_owned).collect()
            }
        };
        let of_call = |line: &String| {
            let node = json::parse(line).ok()?;
            let is_call = node.get("method")?.as_str()? == "tools/call";
            is_call.then(|| node.get("params").unwrap().raw.to_owned())
        };
        lines.iter().filter_map(of_call).collect()
    }

    fn answers_with(&self, result: &str) {
        result.clone_into(&mut self.result.lock().unwrap());
        if let Server::Child(dir) = &self.server {
            std::fs::write(dir.0.join("result"), result).unwrap();
        }
    }

    /// Sends a request; what comes of it is its whole answer.
    async fn begin(
        &self,
        method: &str,
        params: &str,
        name: Option<&str>,
    ) -> std::pin::Pin<Box<dyn Future<Output = String> + '_>> {
        let id = self.ids.get() + 1;
        self.ids.set(id);
        let body =
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#);
        match &mut *self.client.lock().await {
            Client::Http(agent) => {
                let mut request = agent.post(&body).header("mcp-method", method);
                if let Some(name) = name {
                    request = request.header("mcp-name", name);
                }
                let answer = tokio::spawn(got(request));
                Box::pin(async move { answer.await.unwrap().body })
            }
            Client::Old(old) => {
                assert_eq!(got(old.post(&body)).await.status, 202);
                Box::pin(async move { self.hear(id).await })
            }
            Client::Child { input, .. } => {
                assert!(!body.contains(['\n', '\r']));
                input.write_all(format!("{body}\n").as_bytes()).await.unwrap();
                Box::pin(async move { self.hear(id).await })
            }
        }
    }

    async fn hear(&self, id: u32) -> String {
        let mut client = self.client.lock().await;
        loop {
            let line = match &mut *client {
                Client::Child { output, .. } => {
                    soon("a line", output.next_line()).await.unwrap().unwrap()
                }
                Client::Old(old) => match old.stream.next().await.unwrap() {
                    Heard::Message(text) => text,
                    Heard::Comment => continue,
                },
                Client::Http(_) => unreachable!("its answers come by themselves"),
            };
            let node = json::parse(&line).unwrap();
            if node.get("id").is_some_and(|n| n.raw == id.to_string()) {
                return line;
            }
        }
    }

    /// Approves what is pending, over the HTTP API. Its numbers are beyond what other parsers read.
    async fn approve(&self) {
        let url = format!("{}/api/v1/approvals", self.placet.base);
        let id = Mutex::new(String::new());
        until("an approval is pending", async || {
            let list = self.placet.http.get(format!("{url}?state=pending")).bearer_auth(RITA);
            let text = list.send().await.unwrap().text().await.unwrap();
            let node = json::parse(&text).unwrap();
            let found = node.get("approvals").unwrap().elements().unwrap();
            let found = found.first().and_then(|a| a.get("id")?.as_str().map(str::to_owned));
            id.lock().unwrap().clone_from(&found.clone().unwrap_or_default());
            found.is_some()
        })
        .await;
        let id = id.into_inner().unwrap();
        let request = self.placet.http.post(format!("{url}/{id}/decision")).bearer_auth(RITA);
        let request = request.header("content-type", "application/json");
        let said = request.body(r#"{"decision":"approve"}"#).send().await.unwrap();
        assert_eq!(said.status(), 200);
    }

    async fn check(&self, case: &Case) -> TestCaseResult {
        let flat = |raw: &str| match self.is_lines() {
            true => raw.replace(['\n', '\r'], " "),
            false => raw.to_owned(),
        };
        let each = |all: &[Raw], change: &dyn Fn(&str) -> String| -> Vec<Raw> {
            all.iter().map(|(k, v)| (k.clone(), change(v))).collect()
        };
        // An answer may always travel as an event, which is one line.
        let one_line = |raw: &str| raw.replace(['\n', '\r'], " ");
        let params = each(&case.params, &flat);
        let own = each(&case.meta.1, &flat);
        let result = each(&case.result, &one_line);
        let result_own = each(&case.result_meta.1, &one_line);
        let mut meta = own.clone();
        if self.is_modern() {
            let place = meta.len() / 2;
            let keys = [("protocolVersion", "\"2026-07-28\""), ("clientCapabilities", "{}")];
            meta.splice(
                place..place,
                keys.map(|(k, v)| (format!("\"io.modelcontextprotocol/{k}\""), v.to_owned())),
            );
        }
        let mut answered = result.clone();
        if self.behind == Behind::Modern {
            answered.push(("\"resultType\"".to_owned(), "\"complete\"".to_owned()));
        }
        let gap = one_line(case.gap);
        self.answers_with(&with_meta(&answered, (case.result_meta.0, &result_own), &gap));
        let before = self.calls().len();

        let text = with_meta(&params, (case.meta.0, &meta), &flat(case.gap));
        let name = if case.approved { "gated" } else { "open" };
        let answer = self.begin("tools/call", &text, Some(name)).await;
        if case.approved {
            self.approve().await;
        }
        let answer = answer.await;

        let calls = self.calls();
        prop_assert_eq!(calls.len(), before + 1, "calls that reached the server; {}", answer);
        let (sent, sent_meta) = split(&calls[before]);
        prop_assert_eq!(sent, params);
        prop_assert_eq!(sent_meta, own);
        let node = json::parse(&answer).unwrap();
        prop_assert!(node.get("result").is_some(), "{}", answer);
        let (told, told_meta) = split(node.get("result").unwrap().raw);
        let told: Vec<Raw> = told.into_iter().filter(|(k, _)| k != "\"resultType\"").collect();
        prop_assert_eq!(told, result);
        prop_assert_eq!(told_meta, result_own);
        Ok(())
    }
}

/// The members of an object as they are spelled, without `_meta`, and those of `_meta` that are
/// the test's own.
fn split(text: &str) -> (Vec<Raw>, Vec<Raw>) {
    let node = json::parse(text).unwrap();
    let raw = |node: &json::Node<'_>| -> Vec<Raw> {
        let members = node.members().unwrap();
        members.iter().map(|m| (m.raw_key.to_owned(), m.node.raw.to_owned())).collect()
    };
    let own = node.get("_meta").map(&raw).unwrap_or_default();
    let own = own.into_iter().filter(|(k, _)| k.starts_with("\"x.example/")).collect();
    (raw(&node).into_iter().filter(|(k, _)| k != "\"_meta\"").collect(), own)
}

fn child(server: &str) -> Client {
    let mut child = Command::new(env!("CARGO_BIN_EXE_placet"))
        .args(["stdio", "--upstream", "u", "--server", server])
        .env("PLACET_AGENT_TOKEN", ANN)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let input = child.stdin.take().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap()).lines();
    Client::Child { _child: Box::new(child), input, output }
}

fn odd_cases() -> Vec<Case> {
    let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    let all = ODD.iter().flat_map(|arguments| [(arguments, false), (arguments, true)]);
    all.map(|(arguments, approved)| Case {
        approved,
        params: vec![
            pair("\"x.example/before\"", "1.00"),
            pair("\"arguments\"", arguments),
            pair("\"name\"", if approved { "\"gated\"" } else { "\"open\"" }),
            pair("\"x.example/after\"", r#"{"b":-0,"a":"\/"}"#),
        ],
        meta: (1, vec![pair("\"x.example/own\"", "[1e0, 1E0]")]),
        result: vec![pair("\"content\"", "[]"), pair("\"x\"", arguments)],
        result_meta: (0, vec![pair("\"x.example/own\"", "-0")]),
        gap: "",
    })
    .collect()
}

fn every_server(side: Side) {
    let runtime = Runtime::new().unwrap();
    for behind in [Behind::Legacy, Behind::Modern, Behind::Old, Behind::Child] {
        let rig = runtime.block_on(Rig::new(side, behind));
        for case in odd_cases() {
            if let Err(why) = runtime.block_on(rig.check(&case)) {
                panic!("{side:?} to {behind:?}: {why}: {case:?}");
            }
        }
        let regressions = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/mcp/bytes.regressions");
        let config = Config {
            cases: CASES,
            // Each step of a search for a smaller case is a call over the network.
            max_shrink_iters: 200,
            failure_persistence: Some(Box::new(FileFailurePersistence::Direct(regressions))),
            ..Config::default()
        };
        let found = TestRunner::new(config).run(&case(), |case| runtime.block_on(rig.check(&case)));
        if let Err(why) = found {
            panic!("{side:?} to {behind:?}: {why}");
        }
        runtime.block_on(rig.placet.end());
    }
}

#[test]
fn a_legacy_client_and_every_server_read_each_others_bytes() {
    every_server(Side::Legacy);
}

#[test]
fn a_modern_client_and_every_server_read_each_others_bytes() {
    every_server(Side::Modern);
}

#[test]
fn a_client_of_the_old_transport_and_every_server_read_each_others_bytes() {
    every_server(Side::Old);
}

#[test]
fn a_legacy_client_behind_the_bridge_and_every_server_read_each_others_bytes() {
    every_server(Side::LegacyChild);
}

#[test]
fn a_modern_client_behind_the_bridge_and_every_server_read_each_others_bytes() {
    every_server(Side::ModernChild);
}
