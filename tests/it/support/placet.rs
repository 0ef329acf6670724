//! The whole program on a port of its own, and agents that speak to it as bytes on the wire.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use placet::app::App;
use placet::broker::{Broker, Stop};
use placet::config::Environment;
use placet::mcp::Mcp;
use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, SqliteConnection};

use super::db::Dir;
use super::fake_http::Fake;
use super::fixtures::config_of;
use super::{over, soon, until};

mod client;

pub use client::{Agent, Era, Got, Heard, Stream, got};

/// Token of agent `ann`, who may use every upstream.
pub const ANN: &str = "token-of-the-agent-ann";
/// Token of agent `bob`, who may use the first upstream alone.
pub const BOB: &str = "token-of-the-agent-bob";
/// Token of agent `wyn`, whose pending approvals are withdrawn when it leaves.
pub const WYN: &str = "token-of-the-agent-wyn";
/// Token of reviewer `rita`, an admin.
pub const RITA: &str = "token-of-the-reviewer-rita";

/// What the tests' upstream may do with its tools.
pub const POLICY: &str = r#"{
  "version": "1", "default": "deny", "hide": ["secret"],
  "tools": {
    "open": { "action": "allow" },
    "limited": { "action": "allow", "rate_limit": { "max": 1, "window": 60 } },
    "limited_all": { "action": "allow", "rate_limit": { "max": 1, "window": 60, "per": "agent" } },
    "gated": { "action": "require_approval", "reason": "Because.", "approval": { "reviewers": ["rita"] } },
    "brief": { "action": "require_approval", "approval": { "timeout": "1s" } },
    "denied": { "action": "deny", "reason": "Never." }
  }
}"#;

/// Every tool of the tests' upstream.
pub const TOOLS: [&str; 7] =
    ["open", "limited", "limited_all", "gated", "brief", "denied", "secret"];

/// The result of `tools/list` with all of them.
pub fn tool_list() -> String {
    let tools: Vec<String> = TOOLS
        .iter()
        .map(|name| format!(r#"{{"name":"{name}","inputSchema":{{"type":"object"}}}}"#))
        .collect();
    format!("{{\"tools\":[{}]}}", tools.join(","))
}

/// What most tests run with: holds of twenty seconds and heartbeats of 100 ms. Agents `ann`, `bob`
/// and `wyn`, reviewer `rita`.
const CONFIG: &str = r#"
[server]
listen = "127.0.0.1:0"
public_url = "http://127.0.0.1:0"
allowed_origins = ["https://inspector.example.org"]

[database]
url = "sqlite:placet.db"

[approvals]
hold = "20s"
hold_with_progress = "20s"
heartbeat = "100ms"

[[reviewers]]
name = "rita"
role = "admin"
token = "token-of-the-reviewer-rita"
"#;

/// How the program is set up before it starts.
#[derive(Debug, Clone)]
pub struct Setup {
    text: String,
    policy: String,
    upstreams: Vec<String>,
}

impl Setup {
    fn of(upstreams: &[(&str, &str)]) -> Self {
        let mut text = CONFIG.to_owned();
        for (name, lines) in upstreams {
            text +=
                &format!("[[upstreams]]\nname = \"{name}\"\npolicy = \"policy.json\"\n{lines}\n");
        }
        let first = upstreams[0].0;
        for (name, token, lines) in [
            ("ann", ANN, String::new()),
            ("bob", BOB, format!("upstreams = [\"{first}\"]")),
            ("wyn", WYN, "on_disconnect = \"withdraw\"".to_owned()),
        ] {
            text += &format!("[[agents]]\nname = \"{name}\"\ntoken = \"{token}\"\n{lines}\n");
        }
        let upstreams = upstreams.iter().map(|(name, _)| (*name).to_owned()).collect();
        Self { text, policy: POLICY.to_owned(), upstreams }
    }

    /// With these lines over its configuration.
    pub fn with(mut self, lines: &str) -> Self {
        self.text = over(&self.text, lines);
        self
    }

    /// With another policy for all its upstreams.
    pub fn policy(mut self, policy: &str) -> Self {
        policy.clone_into(&mut self.policy);
        self
    }

    /// Without any policy.
    pub fn without_policy(mut self) -> Self {
        self.text = self.text.replace("policy = \"policy.json\"\n", "");
        self
    }

    /// Without waiting for the tool lists of these upstreams, which may never come.
    pub fn without_tools_of(mut self, upstreams: &[&str]) -> Self {
        self.upstreams.retain(|name| !upstreams.contains(&name.as_str()));
        self
    }

    /// The running program, which knows its upstreams' tools.
    pub async fn start(self) -> Placet {
        // Another test may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = Dir::new();
        std::fs::write(dir.0.join("policy.json"), &self.policy).unwrap();
        let file = dir.0.join("placet.toml");
        std::fs::write(&file, &self.text).unwrap();
        let config = config_of(&self.text, Some(&file), &Environment::new());
        let app = App::build(config).await.unwrap();
        let base = format!("http://{}", app.address());
        let (broker, mcp, stop) = (app.broker.clone(), app.mcp.clone(), app.stop());
        let run = tokio::spawn(app.run());
        for name in &self.upstreams {
            let server = Arc::clone(broker.upstream(name).unwrap());
            until("the tool list is known", async || server.catalog().is_some()).await;
        }
        let http = Client::builder().no_proxy().build().unwrap();
        Placet { base, broker, mcp, http, stop, run, dir }
    }
}

/// The running program.
pub struct Placet {
    pub base: String,
    pub broker: Broker,
    pub mcp: Mcp,
    pub http: Client,
    stop: Stop,
    run: tokio::task::JoinHandle<()>,
    dir: Dir,
}

impl Placet {
    /// In front of this server, with nothing set up otherwise.
    pub async fn start(server: &Fake) -> Self {
        Self::before(&server.url).start().await
    }

    /// In front of whatever listens there, as `u` and under a second name as `other`.
    pub fn before(url: &str) -> Setup {
        Self::before_lines(&format!("url = \"{url}\""))
    }

    /// The same in front of what these lines of an upstream's configuration say.
    pub fn before_lines(lines: &str) -> Setup {
        Setup::of(&[("u", lines), ("other", lines)])
    }

    /// In front of several servers, by name and address.
    pub fn before_each(upstreams: &[(&str, &str)]) -> Setup {
        let lines: Vec<String> =
            upstreams.iter().map(|(_, url)| format!("url = \"{url}\"")).collect();
        let all = upstreams.iter().zip(&lines).map(|((name, _), lines)| (*name, lines.as_str()));
        Setup::of(&all.collect::<Vec<_>>())
    }

    /// Its configuration file.
    pub fn file(&self) -> PathBuf {
        self.dir.0.join("placet.toml")
    }

    /// An agent that opened a legacy session at `u`.
    pub async fn legacy(&self, token: &str) -> Agent {
        let agent = self.agent(token, Era::Legacy { session: None });
        let answer = agent.initialize("2025-11-25").await;
        let session = answer.header("mcp-session-id");
        assert!(!session.is_empty(), "{answer:?}");
        self.agent(token, Era::Legacy { session: Some(session) })
    }

    /// An agent that speaks 2026-07-28 at `u`.
    pub fn modern(&self, token: &str) -> Agent {
        self.agent(token, Era::Modern)
    }

    /// An agent at `u`.
    pub fn agent(&self, token: &str, era: Era) -> Agent {
        let url = format!("{}/mcp/u", self.base);
        let accept = "application/json, text/event-stream";
        Agent { http: self.http.clone(), url, token: token.to_owned(), era, accept }
    }

    /// Agents of both eras.
    pub async fn both(&self, token: &str) -> [Agent; 2] {
        [self.legacy(token).await, self.modern(token)]
    }

    async fn api(&self, request: RequestBuilder) -> Value {
        let response = soon("the API", request.bearer_auth(RITA).send()).await.unwrap();
        serde_json::from_str(&response.text().await.unwrap()).unwrap()
    }

    /// Approvals in this state, newest first.
    pub async fn approvals(&self, state: &str) -> Vec<Value> {
        let url = format!("{}/api/v1/approvals?state={state}", self.base);
        self.api(self.http.get(url)).await["approvals"].as_array().unwrap().clone()
    }

    /// The newest approval in this state, once there is one.
    pub async fn approval(&self, state: &str) -> Value {
        until(&format!("an approval is {state}"), async || !self.approvals(state).await.is_empty())
            .await;
        self.approvals(state).await.remove(0)
    }

    /// Decides the pending approval over the HTTP API; returns its id.
    pub async fn decide(&self, decision: &str) -> String {
        let id = self.approval("pending").await["id"].as_str().unwrap().to_owned();
        self.decide_on(&id, decision).await;
        id
    }

    /// Decides this pending approval over the HTTP API.
    pub async fn decide_on(&self, id: &str, decision: &str) {
        let url = format!("{}/api/v1/approvals/{id}/decision", self.base);
        let body = format!(r#"{{"decision":"{decision}","reason":"Seen."}}"#);
        let request = self.http.post(url).header("content-type", "application/json").body(body);
        let answer = self.api(request).await;
        assert_eq!(answer["id"].as_str(), Some(id), "{answer}");
    }

    /// The approval of that id as who decides sees it.
    pub async fn approval_raw(&self, id: &str) -> Value {
        self.api(self.http.get(format!("{}/api/v1/approvals/{id}", self.base))).await
    }

    /// Sealed audit records of this kind, oldest first.
    pub async fn records(&self, kind: &str) -> Vec<Value> {
        let url = format!("{}/api/v1/audit?after=0&limit=200", self.base);
        let mut records = self.api(self.http.get(url)).await["records"].take();
        let records = records.as_array_mut().map(std::mem::take).unwrap_or_default();
        records.into_iter().filter(|r| r["kind"] == kind).collect()
    }

    /// Withdraws an approval over the HTTP API.
    pub async fn cancel(&self, id: &str) {
        let url = format!("{}/api/v1/approvals/{id}/cancel", self.base);
        let body = r#"{"reason":"Changed my mind."}"#;
        let request = self.http.post(url).header("content-type", "application/json").body(body);
        let answer = self.api(request).await;
        assert_eq!(answer["state"], "cancelled", "{answer}");
    }

    /// Runs statements past the program, on its database.
    pub async fn raw(&self, sql: &str) {
        let url = format!("sqlite:{}", self.dir.0.join("placet.db").display());
        let mut link = SqliteConnection::connect(&url).await.unwrap();
        link.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
    }

    /// Stops it in order.
    pub async fn end(self) {
        self.stop.soft.cancel();
        soon("the program stops", self.run).await.unwrap();
    }
}

/// How long a pause of an upstream is that outlasts a few heartbeats.
pub const A_FEW_BEATS: Duration = Duration::from_millis(450);
