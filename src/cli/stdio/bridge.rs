//! Lines from the client, in their order, and which of them are under way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue};
use tokio::io::BufReader;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::cli::Failure;
use crate::domain::json::{self, Node};
use crate::mcp::envelope::{Message, MessageKind};
use crate::protocol::{code, header_name, jsonrpc, meta, method};

use super::Limits;
use super::TOKEN_VARIABLE;
use super::lines::{self, Read};
use super::session::Session;

/// Lines that wait for a slow client.
const MAX_LINES: usize = 256;
/// How long requests under way may take once the client has closed its end.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// How long the broker may take to accept a notification or an answer.
pub(super) const ASIDE: Duration = Duration::from_secs(10);
/// How long a connection to the broker may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the broker's machine may be silent before the connection counts as dead.
const DEAD_AFTER: Duration = Duration::from_mins(1);
/// How often a legacy cancellation is said again while its request is still under way: it may
/// have overtaken the request.
const SAID_AGAIN: u32 = 5;

/// A client on two pipes, in front of a broker's HTTP face.
pub(super) struct Bridge {
    pub(super) limits: Limits,
    /// The broker's MCP endpoint.
    pub endpoint: Url,
    /// Carries the token and the headers of every request.
    pub client: reqwest::Client,
    lines: mpsc::Sender<String>,
    written: Mutex<Option<mpsc::Receiver<String>>>,
    /// The legacy session, once the client has said `initialize`.
    pub session: tokio::sync::Mutex<Option<Session>>,
    under_way: Mutex<HashMap<String, Arc<UnderWay>>>,
    /// Raw tool definitions by name, for the headers that mirror arguments.
    pub tools: Mutex<HashMap<String, String>>,
    pub tracker: TaskTracker,
    /// Fires when one of the two ends is closed.
    pub ended: CancellationToken,
}

/// A request of the client that has not been answered.
#[derive(Debug)]
pub(super) struct UnderWay {
    /// Whether it was sent in the modern era.
    pub modern: bool,
    /// Lives until the client cancels it.
    pub cancelled: CancellationToken,
    listens: bool,
}

impl Bridge {
    /// A bridge to the MCP endpoint at this address; requests carry `token` where there is one.
    ///
    /// # Errors
    /// The address or the token can't be used (exit code 2), or the HTTP client can't be made (exit
    /// code 1).
    pub(super) fn new(
        endpoint: &str,
        token: Option<&str>,
        limits: Limits,
    ) -> Result<Arc<Self>, Failure> {
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
            // Whether a request is sent again is decided here, by what is known of it.
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT)
            .tcp_keepalive(DEAD_AFTER / 4)
            .tcp_keepalive_interval(DEAD_AFTER / 4)
            .tcp_user_timeout(DEAD_AFTER)
            .build()
            .map_err(|e| Failure::failed(format!("no HTTP client: {e}")))?;
        let (lines, written) = mpsc::channel(MAX_LINES);
        Ok(Arc::new(Self {
            endpoint,
            limits,
            client,
            lines,
            written: Mutex::new(Some(written)),
            session: tokio::sync::Mutex::default(),
            under_way: Mutex::default(),
            tools: Mutex::default(),
            tracker: TaskTracker::new(),
            ended: CancellationToken::new(),
        }))
    }

    /// Runs until one end is closed or `stop` fires.
    ///
    /// # Errors
    /// None today: a client that is gone is the ordinary end.
    pub(super) async fn run(self: Arc<Self>, stop: &CancellationToken) -> Result<(), Failure> {
        let written = self.written.lock().expect("no holder of this lock panics").take();
        let gone = CancellationToken::new();
        let writer = written.map(|lines| tokio::spawn(lines::write(lines, gone.clone())));
        let mut input = BufReader::with_capacity(64 * 1024, tokio::io::stdin());
        loop {
            let line = tokio::select! {
                line = lines::read(&mut input, self.limits.line) => line,
                () = stop.cancelled() => break,
                () = gone.cancelled() => break,
            };
            match line {
                Ok(Read::Line(line)) if line.iter().all(u8::is_ascii_whitespace) => {}
                Ok(Read::Line(line)) => self.take(line).await,
                Ok(Read::TooLong) => {
                    let limit = self.limits.line;
                    let why = format!("a line is longer than {limit} bytes (--max-line)");
                    self.say(jsonrpc::error("null", code::INVALID_REQUEST, &why, None)).await;
                }
                Ok(Read::End) => break,
                Err(error) => {
                    tracing::error!(%error, "stdin can't be read");
                    break;
                }
            }
        }
        self.ended.cancel();
        for request in self.under_way().values().filter(|r| r.listens) {
            request.cancelled.cancel();
        }
        self.tracker.close();
        let _ = tokio::time::timeout(LAST_ANSWERS, self.tracker.wait()).await;
        if let Some(session) = self.session.lock().await.take() {
            let ending = self
                .client
                .delete(self.endpoint.clone())
                .header(header_name::SESSION_ID, session.id);
            let _ = tokio::time::timeout(LAST_ANSWERS, ending.send()).await;
        }
        drop(self);
        if let Some(writer) = writer {
            let _ = tokio::time::timeout(LAST_ANSWERS, writer).await;
        }
        Ok(())
    }

    async fn take(self: &Arc<Self>, line: Vec<u8>) {
        let line = json::without_mark(&line).to_vec();
        let message = match Message::read(&line) {
            Ok(message) => message,
            Err(why) => {
                let id = why.id.as_deref().unwrap_or("null");
                self.say(jsonrpc::error(id, why.code, &why.message, None)).await;
                return;
            }
        };
        match (message.kind, message.method.as_str()) {
            (MessageKind::Request, method::INITIALIZE) if !is_modern(&message) => {
                // What follows belongs to its session.
                self.begin(message, line).await;
            }
            (MessageKind::Request, _) => {
                // Before anything else is read: a cancellation may be the next line.
                let request = self.enter(&message);
                let bridge = Arc::clone(self);
                self.tracker.spawn(async move {
                    bridge.exchange(&message, &line, &request).await;
                    bridge.leave(&message, &request);
                });
            }
            (MessageKind::Notification, method::NOTIFICATIONS_CANCELLED) => {
                self.cancel(&message, line);
            }
            // Notifications and answers keep their order.
            _ => self.aside(&message, line).await,
        }
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<String, Arc<UnderWay>>> {
        self.under_way.lock().expect("no holder of this lock panics")
    }

    fn enter(&self, message: &Message) -> Arc<UnderWay> {
        let request = Arc::new(UnderWay {
            modern: is_modern(message),
            cancelled: CancellationToken::new(),
            listens: message.method == method::SUBSCRIPTIONS_LISTEN,
        });
        self.under_way().insert(message.id_raw().to_owned(), Arc::clone(&request));
        request
    }

    fn leave(&self, message: &Message, request: &Arc<UnderWay>) {
        let mut all = self.under_way();
        // A client that used the id twice has another request under it now.
        if all.get(message.id_raw()).is_some_and(|r| Arc::ptr_eq(r, request)) {
            all.remove(message.id_raw());
        }
    }

    /// Cancels a request under way: a modern one by closing its stream, a legacy one by telling
    /// the broker. A request that is not under way has ended, and there is nothing to do.
    /// <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/cancellation#cancellation-flow>
    fn cancel(self: &Arc<Self>, message: &Message, line: Vec<u8>) {
        let params = message.params.as_ref().map(json::Text::node);
        let Some(id) = params.as_ref().and_then(|p| p.get("requestId")) else { return };
        let Some(request) = self.under_way().get(id.raw).cloned() else { return };
        if request.modern {
            request.cancelled.cancel();
            return;
        }
        let (bridge, id, message) = (Arc::clone(self), id.raw.to_owned(), message.clone());
        self.tracker.spawn(async move {
            let mut pause = Duration::from_millis(50);
            for _ in 0..SAID_AGAIN {
                bridge.aside(&message, line.clone()).await;
                tokio::time::sleep(pause).await;
                pause *= 2;
                if bridge.under_way().get(&id).is_none_or(|r| !Arc::ptr_eq(r, &request)) {
                    return;
                }
            }
        });
    }

    /// Answers a request that got no answer from the broker; of any other message, logs it.
    pub(super) async fn fail(&self, message: &Message, why: &str) {
        if message.kind == MessageKind::Request {
            self.say(jsonrpc::error(message.id_raw(), code::INTERNAL_ERROR, why, None)).await;
        } else {
            let what = if message.method.is_empty() { "an answer" } else { &message.method };
            tracing::warn!("{what}: {why}");
        }
    }

    /// Queues one line for the client; line ends inside a message become spaces.
    pub(super) async fn say(&self, line: String) {
        let line = if line.contains(['\n', '\r']) { line.replace(['\n', '\r'], " ") } else { line };
        // A client that is gone needs no answer.
        let _ = self.lines.send(line).await;
    }
}

/// Whether a message claims the modern era: its `_meta` has a protocol version or capabilities
/// (<https://modelcontextprotocol.io/specification/2026-07-28/basic#_meta>).
pub(super) fn is_modern(message: &Message) -> bool {
    let params = message.params.as_ref().map(json::Text::node);
    let meta = params.as_ref().and_then(|p| p.get("_meta"));
    meta.is_some_and(|m: &Node<'_>| {
        m.get(meta::PROTOCOL_VERSION).is_some() || m.get(meta::CLIENT_CAPABILITIES).is_some()
    })
}
