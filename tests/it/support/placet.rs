//! The whole program on a port of its own, and agents that speak to it as bytes on the wire.

use std::sync::Arc;
use std::time::Duration;

use placet::app::App;
use placet::broker::{Broker, Stop};
use placet::config::{Config, Environment};
use placet::domain::call::{hex, params_with_meta};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, SqliteConnection};

use super::db::Dir;
use super::fake_http::Fake;
use super::{soon, until};

mod many;

/// Token of agent `ann`, who may use every upstream.
pub const ANN: &str = "token-of-the-agent-ann";
/// Token of agent `bob`, who may use `u` alone.
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

/// Settings that most tests run with: holds of twenty seconds and heartbeats of 100 ms.
#[derive(Debug, Clone)]
pub struct Settings {
    pub approvals: String,
    pub server: String,
    pub policy: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            approvals: "hold = \"20s\"\nhold_with_progress = \"20s\"\nheartbeat = \"100ms\"".into(),
            server: String::new(),
            policy: POLICY.to_owned(),
        }
    }
}

impl Settings {
    /// With these lines in `[approvals]` instead.
    pub fn approvals(lines: &str) -> Self {
        Self { approvals: lines.to_owned(), ..Self::default() }
    }
}

/// The running program.
pub struct Placet {
    pub base: String,
    pub broker: Broker,
    pub http: Client,
    stop: Stop,
    run: tokio::task::JoinHandle<()>,
    dir: Dir,
}

impl Placet {
    /// In front of `upstream` as `u`, whose tool list is known when this returns; `other` is the
    /// same server under a second name.
    pub async fn start(upstream: &Fake, settings: &Settings) -> Self {
        let placet = Self::start_at(&upstream.url, settings).await;
        let server = Arc::clone(placet.broker.upstream("u").unwrap());
        until("the tool list is known", async || server.catalog().is_some()).await;
        placet
    }

    /// In front of whatever listens there.
    pub async fn start_at(upstream: &str, settings: &Settings) -> Self {
        Self::start_before(&format!("url = \"{upstream}\""), settings).await
    }

    /// In front of what these lines of an upstream's configuration say.
    pub async fn start_before(upstream: &str, settings: &Settings) -> Self {
        // Another test may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = Dir::new();
        std::fs::write(dir.0.join("policy.json"), &settings.policy).unwrap();
        let hash = |token: &str| hex(&Sha256::digest(token));
        let text = format!(
            r#"
            [server]
            listen = "127.0.0.1:0"
            public_url = "http://127.0.0.1:0"
            allowed_origins = ["https://inspector.example.org"]
            {server}
            [database]
            url = "sqlite:placet.db"
            [approvals]
            {approvals}
            [[upstreams]]
            name = "u"
            {upstream}
            policy = "policy.json"
            [[upstreams]]
            name = "other"
            {upstream}
            policy = "policy.json"
            [[agents]]
            name = "ann"
            token_sha256 = "{ann}"
            [[agents]]
            name = "bob"
            token_sha256 = "{bob}"
            upstreams = ["u"]
            [[agents]]
            name = "wyn"
            token_sha256 = "{wyn}"
            on_disconnect = "withdraw"
            [[reviewers]]
            name = "rita"
            role = "admin"
            token_sha256 = "{rita}"
            "#,
            server = settings.server,
            approvals = settings.approvals,
            ann = hash(ANN),
            bob = hash(BOB),
            wyn = hash(WYN),
            rita = hash(RITA),
        );
        let file = dir.0.join("placet.toml");
        let (config, _) = Config::read(&text, Some(&file), &Environment::new())
            .unwrap_or_else(|problems| panic!("{problems:?}"));
        let app = App::build(config).await.unwrap();
        let base = format!("http://{}", app.address());
        let (broker, stop) = (app.broker.clone(), app.stop());
        let run = tokio::spawn(app.run());
        let http = Client::builder().no_proxy().build().unwrap();
        Self { base, broker, http, stop, run, dir }
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

/// The era an agent speaks.
#[derive(Debug, Clone)]
pub enum Era {
    Legacy { session: Option<String> },
    Modern,
}

/// An agent's client.
#[derive(Debug, Clone)]
pub struct Agent {
    http: Client,
    pub url: String,
    token: String,
    pub era: Era,
    accept: &'static str,
}

impl Agent {
    /// At another upstream.
    pub fn at(&self, upstream: &str) -> Self {
        let url = self.url.replace("/mcp/u", &format!("/mcp/{upstream}"));
        Self { url, ..self.clone() }
    }

    /// One that reads no event streams.
    pub fn plain(&self) -> Self {
        Self { accept: "application/json", ..self.clone() }
    }

    /// A request with the usual headers and no body.
    pub fn http(&self, method: Method) -> RequestBuilder {
        let request = self
            .http
            .request(method, &self.url)
            .bearer_auth(&self.token)
            .header("accept", self.accept);
        match &self.era {
            Era::Legacy { session: Some(session) } => request
                .header("mcp-session-id", session)
                .header("mcp-protocol-version", "2025-11-25"),
            Era::Legacy { session: None } => request,
            Era::Modern => request.header("mcp-protocol-version", "2026-07-28"),
        }
    }

    /// A POST of this very body.
    pub fn post(&self, body: &str) -> RequestBuilder {
        self.http(Method::POST).header("content-type", "application/json").body(body.to_owned())
    }

    /// A JSON-RPC request as this era wants it; `params` is raw and `id` too.
    pub fn request(&self, id: &str, method: &str, params: &str) -> RequestBuilder {
        self.request_with(id, method, params, &[])
    }

    /// The same with members of `_meta`.
    pub fn request_with(
        &self,
        id: &str,
        method: &str,
        params: &str,
        meta: &[(&str, String)],
    ) -> RequestBuilder {
        let mut meta = meta.to_vec();
        if matches!(self.era, Era::Modern) {
            meta.push(("io.modelcontextprotocol/protocolVersion", "\"2026-07-28\"".to_owned()));
            if !meta.iter().any(|(key, _)| key.ends_with("/clientCapabilities")) {
                meta.push(("io.modelcontextprotocol/clientCapabilities", "{}".to_owned()));
            }
        }
        let params =
            if meta.is_empty() { params.to_owned() } else { params_with_meta(params, &meta) };
        let body =
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#);
        let request = self.post(&body);
        if matches!(self.era, Era::Legacy { .. }) {
            return request;
        }
        let request = request.header("mcp-method", method);
        let node: Value = serde_json::from_str(&params).unwrap();
        let name = match method {
            "tools/call" | "prompts/get" => node["name"].as_str(),
            "resources/read" => node["uri"].as_str(),
            "tasks/get" | "tasks/update" | "tasks/cancel" => node["taskId"].as_str(),
            _ => None,
        };
        match name {
            Some(name) => request.header("mcp-name", name),
            None => request,
        }
    }

    /// Calls a tool.
    pub fn call(&self, id: &str, tool: &str, arguments: &str) -> RequestBuilder {
        let params = format!(r#"{{"name":"{tool}","arguments":{arguments}}}"#);
        self.request(id, "tools/call", &params)
    }

    /// Calls a tool with a progress token.
    pub fn call_with_progress(&self, id: &str, tool: &str, token: &str) -> RequestBuilder {
        let params = format!(r#"{{"name":"{tool}","arguments":{{}}}}"#);
        self.request_with(id, "tools/call", &params, &[("progressToken", token.to_owned())])
    }

    /// Sends a notification of the legacy era.
    pub async fn notify(&self, method: &str, params: &str) -> Got {
        let body = format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#);
        got(self.post(&body)).await
    }

    /// Opens a legacy session.
    pub async fn initialize(&self, version: &str) -> Got {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"{version}","capabilities":{{}},"clientInfo":{{"name":"test","version":"1"}}}}}}"#
        );
        got(self.post(&body)).await
    }
}

/// One whole answer.
#[derive(Debug, Clone)]
pub struct Got {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    /// The JSON document, or the last message of the stream.
    pub body: String,
}

impl Got {
    /// A header; empty where there is none.
    pub fn header(&self, name: &str) -> String {
        let value = self.headers.get(name).and_then(|v| v.to_str().ok());
        value.unwrap_or_default().to_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Placet's decision in the result.
    pub fn decision(&self) -> Value {
        self.json()["result"]["_meta"]["io.placet/decision"].clone()
    }

    /// Its code.
    pub fn code(&self) -> String {
        self.decision()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The JSON-RPC error code.
    pub fn error(&self) -> i64 {
        self.json()["error"]["code"].as_i64().unwrap_or_else(|| panic!("{self:?}"))
    }
}

/// Sends a request and reads its whole answer, be it a document or a stream.
pub async fn got(request: RequestBuilder) -> Got {
    let response = soon("the head of an answer", request.send()).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let is_stream = headers
        .get("content-type")
        .is_some_and(|v| v.to_str().unwrap().starts_with("text/event-stream"));
    let body = if is_stream {
        Stream::of(response).last().await
    } else {
        soon("the body of an answer", response.text()).await.unwrap()
    };
    Got { status, headers, body }
}

/// Something on an event stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Comment,
    Message(String),
}

/// An event stream.
pub struct Stream {
    response: Response,
    buffer: String,
    /// The id of the last event; empty where events have none.
    pub id: String,
}

impl Stream {
    /// Sends a request whose answer must be a stream.
    pub async fn open(request: RequestBuilder) -> Self {
        let response = soon("the head of a stream", request.send()).await.unwrap();
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        assert_eq!((response.status().as_u16(), kind.as_str()), (200, "text/event-stream"));
        Self::of(response)
    }

    fn of(response: Response) -> Self {
        Self { response, buffer: String::new(), id: String::new() }
    }

    /// The next thing on it; none at its end.
    pub async fn next(&mut self) -> Option<Heard> {
        loop {
            if let Some((event, rest)) = self.buffer.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.buffer = rest;
                let field = |name| event.lines().find_map(|l: &str| l.strip_prefix(name));
                if let Some(id) = field("id: ") {
                    self.id = id.to_owned();
                }
                // An event without data only tells its id.
                let data = field("data: ").filter(|d| !d.is_empty());
                return Some(data.map_or(Heard::Comment, |d| Heard::Message(d.to_owned())));
            }
            let chunk = soon("a piece of a stream", self.response.chunk()).await.ok()??;
            self.buffer.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next message; none at the end.
    pub async fn message(&mut self) -> Option<Value> {
        // Heartbeats alone could go on for ever.
        soon("a message on a stream", async {
            loop {
                match self.next().await? {
                    Heard::Comment => {}
                    Heard::Message(text) => return Some(serde_json::from_str(&text).unwrap()),
                }
            }
        })
        .await
    }

    /// The last message before the end; empty where there is none.
    pub async fn last(mut self) -> String {
        let mut last = String::new();
        while let Some(heard) = self.next().await {
            if let Heard::Message(text) = heard {
                last = text;
            }
        }
        last
    }

    /// The rest of it: all messages until the end.
    pub async fn rest(mut self) -> Vec<Value> {
        let mut all = Vec::new();
        while let Some(message) = self.message().await {
            all.push(message);
        }
        all
    }
}

/// How long a pause of an upstream is that outlasts a few heartbeats.
pub const A_FEW_BEATS: Duration = Duration::from_millis(450);
