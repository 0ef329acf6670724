//! `placet stdio`: MCP over stdin and stdout for clients that only start commands.
//!
//! A bridge, not a second face: each line is posted as it is to the broker's HTTP face, each
//! message that comes back is a line. With `--server` the broker runs elsewhere and no
//! configuration is read; without it, one runs here on a loopback port for as long as the client
//! does, on the configured database, so that reviewers see one queue.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Response, StatusCode};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::app::App;
use crate::domain::json::{self, Node};
use crate::mcp::message::{self, Message, MessageKind, code};
use crate::mcp::revision::{META_VERSION, MODERN};
use crate::upstream::{EventParser, request_headers};

use super::{Failure, Global, StdioArgs, load};

/// The variable with the agent's token.
const TOKEN_VARIABLE: &str = "PLACET_AGENT_TOKEN";
/// Longest line from the client, and longest message from the broker, bytes.
const MAX_MESSAGE: usize = 16 << 20;
/// Lines that wait for a slow client.
const MAX_LINES: usize = 256;
/// How long the first line waits for the upstream to start.
const SERVER_STARTS: Duration = Duration::from_secs(20);
/// How long requests under way may take once the client has closed its end.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Runs the bridge until the client closes stdin or a signal comes.
pub async fn run(global: &Global, args: StdioArgs) -> Result<(), Failure> {
    let token = std::env::var(TOKEN_VARIABLE).ok().filter(|t| !t.is_empty());
    let path = args.upstream.as_ref().map_or("/mcp".to_owned(), |name| format!("/mcp/{name}"));
    let Some(server) = args.server else {
        let mut config = load(global)?;
        if let Some(name) = &args.upstream
            && config.upstream(name).is_none()
        {
            let names: Vec<&str> = config.upstreams.iter().map(|u| u.name.as_str()).collect();
            return Err(Failure::misused(format!(
                "there is no upstream {name:?}; configured: {}",
                if names.is_empty() { "none".to_owned() } else { names.join(", ") }
            )));
        }
        config.server.listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let app = App::build(config).await.map_err(|e| super::serve::failure(&e))?;
        // The first call should not be answered "unavailable" only because the server starts. For
        // all of them the handshake waits, so that none of them keeps the client out.
        if let Some(server) = args.upstream.as_ref().and_then(|name| app.broker.upstream(name)) {
            let _ = tokio::time::timeout(SERVER_STARTS, server.refresh()).await;
        }
        let base = format!("http://{}", app.address());
        let stop = app.stop();
        tokio::spawn(super::serve::signals(stop.clone()));
        let running = tokio::spawn(app.run());
        let bridge = Bridge::new(&format!("{base}{path}"), token.as_deref());
        let done = match bridge {
            Ok(bridge) => bridge.run(&stop.soft).await,
            Err(failure) => Err(failure),
        };
        stop.soft.cancel();
        let _ = running.await;
        return done;
    };
    let endpoint = format!("{}{path}", server.as_str().trim_end_matches('/'));
    let stop = crate::broker::Stop::default();
    tokio::spawn(super::serve::signals(stop.clone()));
    Bridge::new(&endpoint, token.as_deref())?.run(&stop.soft).await
}

struct Bridge {
    endpoint: Url,
    client: reqwest::Client,
    lines: mpsc::Sender<String>,
    written: Mutex<Option<mpsc::Receiver<String>>>,
    /// The legacy session.
    session: Mutex<Option<Session>>,
    /// Requests under way by raw id: cancelled by closing their streams (modern).
    under_way: std::sync::Mutex<std::collections::HashMap<String, CancellationToken>>,
    /// Raw tool definitions by name, for the headers that mirror arguments.
    tools: std::sync::Mutex<std::collections::HashMap<String, String>>,
    /// The client has closed its end.
    ended: CancellationToken,
}

#[derive(Clone)]
struct Session {
    id: HeaderValue,
    version: Option<String>,
}

impl Bridge {
    fn new(endpoint: &str, token: Option<&str>) -> Result<Arc<Self>, Failure> {
        let endpoint = endpoint
            .parse()
            .map_err(|e| Failure::misused(format!("--server: {endpoint} is no address: {e}")))?;
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.insert("accept", HeaderValue::from_static("application/json, text/event-stream"));
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
                Failure::misused(format!("{TOKEN_VARIABLE} holds characters no token has"))
            })?;
            value.set_sensitive(true);
            headers.insert("authorization", value);
        }
        let client = reqwest::Client::builder()
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|e| Failure::failed(format!("no HTTP client: {e}")))?;
        let (lines, written) = mpsc::channel(MAX_LINES);
        Ok(Arc::new(Self {
            endpoint,
            client,
            lines,
            written: Mutex::new(Some(written)),
            session: Mutex::default(),
            under_way: std::sync::Mutex::default(),
            tools: std::sync::Mutex::default(),
            ended: CancellationToken::new(),
        }))
    }

    async fn run(self: Arc<Self>, stop: &CancellationToken) -> Result<(), Failure> {
        let written = self.written.lock().await.take();
        let writer = tokio::spawn(write_lines(written));
        let tracker = TaskTracker::new();
        let mut input = BufReader::new(tokio::io::stdin());
        loop {
            let line = tokio::select! {
                line = read_line(&mut input) => line,
                () = stop.cancelled() => break,
            };
            match line {
                Ok(Some(line)) if line.iter().all(u8::is_ascii_whitespace) => {}
                Ok(Some(line)) => self.take(line, &tracker).await,
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(%error, "stdin can't be read");
                    break;
                }
            }
        }
        self.ended.cancel();
        tracker.close();
        let _ = tokio::time::timeout(LAST_ANSWERS, tracker.wait()).await;
        if let Some(session) = self.session.lock().await.take() {
            let ending =
                self.client.delete(self.endpoint.clone()).header("mcp-session-id", session.id);
            let _ = tokio::time::timeout(LAST_ANSWERS, ending.send()).await;
        }
        drop(self);
        let _ = tokio::time::timeout(LAST_ANSWERS, writer).await;
        Ok(())
    }

    async fn take(self: &Arc<Self>, line: Vec<u8>, tracker: &TaskTracker) {
        let message = match Message::read(&line) {
            Ok(message) => message,
            Err(why) => {
                let id = why.id.as_deref().unwrap_or("null");
                self.say(message::error(id, why.code, &why.message, None)).await;
                return;
            }
        };
        if message.method == "notifications/cancelled" && self.close_stream(&message) {
            return;
        }
        let begins = message.method == "initialize";
        let message_is_ordered = begins || message.kind != MessageKind::Request;
        let bridge = Arc::clone(self);
        let work = async move { bridge.post(message, line).await };
        // The handshake and notifications keep their order; requests may overtake each other.
        if message_is_ordered {
            work.await;
        } else {
            tracker.spawn(work);
        }
        if begins {
            let bridge = Arc::clone(self);
            tracker.spawn(async move {
                tokio::select! {
                    () = bridge.listen() => {}
                    () = bridge.ended.cancelled() => {}
                }
            });
        }
    }

    /// Closes the stream of a modern request; legacy cancellations are passed on.
    fn close_stream(&self, message: &Message) -> bool {
        let Some(params) = message.params.as_deref() else { return false };
        let Ok(params) = json::parse(params) else { return false };
        let Some(id) = params.get("requestId") else { return false };
        match self.lock_under_way().get(id.raw) {
            Some(token) => {
                token.cancel();
                true
            }
            None => false,
        }
    }

    async fn post(&self, message: Message, line: Vec<u8>) {
        let session = self.session.lock().await.clone();
        let params = message.params.as_deref().and_then(|p| json::parse(p).ok());
        let modern = params
            .as_ref()
            .and_then(|p| p.get("_meta"))
            .is_some_and(|m| m.get(META_VERSION).is_some());
        let mut request = self.client.post(self.endpoint.clone()).body(line);
        let cancelled = CancellationToken::new();
        if modern {
            let tool = self.tool_of(&message.method, params.as_ref());
            let headers =
                request_headers(&message.method, message.params.as_deref(), tool.as_deref());
            request = request.header("mcp-protocol-version", MODERN).headers(headers);
            if message.kind == MessageKind::Request {
                self.lock_under_way().insert(message.id_raw().to_owned(), cancelled.clone());
            }
        } else if let Some(session) = session {
            request = request.header("mcp-session-id", session.id);
            if let Some(version) = session.version {
                request = request.header("mcp-protocol-version", version);
            }
        }
        let exchange = async {
            match request.send().await {
                Ok(response) => self.pass_on(&message, response).await,
                Err(error) => {
                    self.fail(&message, &format!("the broker can't be reached: {error}")).await;
                }
            }
        };
        tokio::select! {
            () = exchange => {}
            () = cancelled.cancelled() => {}
        }
        if modern {
            self.lock_under_way().remove(message.id_raw());
        }
    }

    async fn pass_on(&self, message: &Message, response: Response) {
        let status = response.status();
        let kind = header(&response, "content-type");
        if message.method == "initialize"
            && let Some(id) = response.headers().get("mcp-session-id").cloned()
        {
            *self.session.lock().await = Some(Session { id, version: None });
        }
        if kind.starts_with("text/event-stream") {
            if !self.stream(response).await {
                self.fail(message, "the broker's answer broke off; call again").await;
            }
            return;
        }
        let body = response.text().await.unwrap_or_default();
        if status == StatusCode::ACCEPTED || (body.is_empty() && status.is_success()) {
            return;
        }
        let answer = json::parse(&body).ok().filter(|n| n.get("jsonrpc").is_some());
        if let Some(node) = answer {
            self.learn(message, &node).await;
            self.say(body.replace(['\n', '\r'], " ")).await;
            return;
        }
        let detail = json::parse(&body)
            .ok()
            .and_then(|n| n.get("detail").and_then(Node::as_str).map(str::to_owned))
            .unwrap_or_else(|| "no readable answer".to_owned());
        self.fail(message, &format!("the broker answered {status}: {detail}")).await;
    }

    /// Remembers what later requests need: the negotiated version and the tools' schemas.
    async fn learn(&self, message: &Message, answer: &Node<'_>) {
        let Some(result) = answer.get("result") else { return };
        if message.method == "initialize"
            && let Some(session) = self.session.lock().await.as_mut()
        {
            session.version =
                result.get("protocolVersion").and_then(Node::as_str).map(str::to_owned);
        }
        if message.method == "tools/list" {
            let mut tools = self.tools.lock().expect("no holder of this lock panics");
            for tool in result.get("tools").and_then(Node::elements).unwrap_or_default() {
                if let Some(name) = tool.get("name").and_then(Node::as_str) {
                    tools.insert(name.to_owned(), tool.raw.to_owned());
                }
            }
        }
    }

    fn tool_of(&self, method: &str, params: Option<&Node<'_>>) -> Option<String> {
        let name = params.filter(|_| method == "tools/call")?.get("name")?.as_str()?;
        self.tools.lock().expect("no holder of this lock panics").get(name).cloned()
    }

    /// Passes on what a stream says; false if it broke off before its answer.
    async fn stream(&self, mut response: Response) -> bool {
        let mut parser = EventParser::new(MAX_MESSAGE);
        let mut answered = false;
        loop {
            let Ok(Some(chunk)) = response.chunk().await else { return answered };
            let Some(messages) = parser.push(&chunk) else { return answered };
            for text in messages {
                answered |= json::parse(&text).is_ok_and(|n| n.get("id").is_some());
                self.say(text).await;
            }
        }
    }

    /// The legacy stream of messages that belong to no request.
    async fn listen(&self) {
        let Some(session) = self.session.lock().await.clone() else { return };
        let request = self
            .client
            .get(self.endpoint.clone())
            .header("accept", "text/event-stream")
            .header("mcp-session-id", session.id);
        if let Ok(response) = request.send().await
            && response.status().is_success()
        {
            self.stream(response).await;
        }
    }

    async fn fail(&self, message: &Message, why: &str) {
        if message.kind == MessageKind::Request {
            self.say(message::error(message.id_raw(), code::INTERNAL, why, None)).await;
        } else {
            tracing::warn!("{}: {why}", message.method);
        }
    }

    async fn say(&self, line: String) {
        // A client that is gone needs no answer.
        let _ = self.lines.send(line).await;
    }

    fn lock_under_way(
        &self,
    ) -> std::sync::MutexGuard<'_, std::collections::HashMap<String, CancellationToken>> {
        self.under_way.lock().expect("no holder of this lock panics")
    }
}

fn header(response: &Response, name: &'static str) -> String {
    let name = HeaderName::from_static(name);
    response.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
}

/// One line without its end; none at the end of input.
async fn read_line(
    input: &mut (impl tokio::io::AsyncBufRead + Unpin),
) -> std::io::Result<Option<Vec<u8>>> {
    use tokio::io::AsyncReadExt as _;
    let mut line = Vec::new();
    let read = input.take(MAX_MESSAGE as u64 + 1).read_until(b'\n', &mut line).await?;
    if read == 0 {
        return Ok(None);
    }
    if line.len() > MAX_MESSAGE {
        let why = format!("a line is longer than {MAX_MESSAGE} bytes");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, why));
    }
    while line.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
        line.pop();
    }
    Ok(Some(line))
}

async fn write_lines(lines: Option<mpsc::Receiver<String>>) {
    let Some(mut lines) = lines else { return };
    let mut out = tokio::io::stdout();
    while let Some(mut line) = lines.recv().await {
        line.push('\n');
        if out.write_all(line.as_bytes()).await.is_err() || out.flush().await.is_err() {
            return;
        }
    }
}
