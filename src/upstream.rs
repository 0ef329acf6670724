//! MCP servers behind Placet, and the one question that matters when a call to them fails:
//! may it have happened?
//!
//! [`build`] makes one [`Upstream`] of each `[[upstreams]]` entry, over Streamable HTTP or as a
//! child process on stdio. `params` and answers pass as the bytes they are; ids, progress tokens
//! and the era's own `_meta` keys are the connection's business. This module knows nothing of
//! approvals: it sends what it is given, once, and says truly what became of it.

use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::domain::catalogue::KnownServer;
use crate::domain::classify::Classified;
use crate::domain::upstream_health::UpstreamHealth;

mod catalog;
mod child;
mod common;
mod gate;
mod handshake;
mod health;
mod http;
mod hub;
mod instance;
mod instances;
mod link;
mod list_changes;
mod listeners;
mod lists;
mod log_level;
mod marks;
mod message;
mod mirrored_headers;
mod recorded;
mod registry;
mod resource_subscriptions;
mod server_request;
mod server_request_routing;
mod sse;
mod stdio;

pub use gate::{Gate, Leave};
pub use log_level::Level;
pub use registry::build;
pub use resource_subscriptions::{Watch, Watching};
pub use server_request::{ClientCapabilities, Notifications, ServerMessage, ServerRequest};

/// Whether a tool's marks for headers (`x-mcp-header`), if it has any, follow the rules
/// (<https://modelcontextprotocol.io/specification/2026-07-28/server/tools#x-mcp-header>); `tool`
/// is its raw definition.
pub fn is_mirrored_rightly(tool: &str) -> bool {
    mirrored_headers::mirrors(tool).is_ok()
}

/// Reads a server-sent event stream into the data of its messages.
pub struct EventParser(sse::Parser);

impl EventParser {
    /// A parser that takes messages of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self(sse::Parser::new(limit))
    }

    /// The messages these bytes complete; none once one was too large or not UTF-8.
    pub fn push(&mut self, bytes: &[u8]) -> Option<Vec<String>> {
        let mut events = Vec::new();
        self.0.push(bytes, &mut events).ok()?;
        events
            .into_iter()
            .filter(|event| !event.data.is_empty())
            .map(|event| String::from_utf8(event.data).ok())
            .collect()
    }
}

/// The headers a modern request carries besides the version
/// (<https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#standard-request-headers>);
/// `tool` is the raw definition of the tool it calls, where that is known.
pub fn request_headers(
    method: &str,
    params: Option<&str>,
    tool: Option<&str>,
) -> reqwest::header::HeaderMap {
    mirrored_headers::for_request(method, params, tool)
}

/// Which of the two eras a connection speaks
/// (<https://modelcontextprotocol.io/specification/2026-07-28/basic/versioning>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireEra {
    /// `initialize` and sessions, up to 2025-11-25.
    Legacy,
    /// Metadata with each request, since 2026-07-28.
    Modern,
}

/// Whose connection a request uses; equal keys share one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Caller {
    /// Name of the agent.
    pub agent: String,
    /// Its client session (legacy: `Mcp-Session-Id`), where there is one.
    pub session: Option<String>,
    /// What its client can be asked.
    pub features: ClientCapabilities,
}

impl Caller {
    /// A caller whose client can be asked nothing.
    pub fn new(agent: &str, session: Option<&str>) -> Self {
        let session = session.map(str::to_owned);
        Self { agent: agent.to_owned(), session, features: ClientCapabilities::default() }
    }
}

/// One JSON-RPC request for an upstream. The connection chooses its id.
#[derive(Debug, Clone)]
pub struct Request {
    /// The JSON-RPC method, such as `tools/call`.
    pub method: String,
    /// Raw JSON of `params`, already without the caller's protocol `_meta` keys and progress token.
    pub params: Option<Arc<str>>,
    /// Whether progress is wanted: the connection adds a token of its own.
    pub progress: bool,
    /// The agent's `…/logLevel` (modern), raw JSON
    /// (<https://modelcontextprotocol.io/specification/2026-07-28/server/utilities/logging#per-request-log-level>).
    pub log_level: Option<String>,
    /// Whether this is an approved call: never sent over a connection that may be half dead, and
    /// never sent twice.
    pub once: bool,
    /// Where it is set, a request that ran out of time is not given up: this is cancelled, and
    /// the answer is awaited a while longer, since it may come late.
    pub overdue: Option<CancellationToken>,
    /// What it must pass directly before its first byte.
    pub gate: Option<Arc<dyn Gate>>,
    /// What `clientCapabilities` says to a modern upstream, raw JSON; none: the caller's features.
    pub capabilities: Option<String>,
    /// The `name` in the params of a `tools/call`, its escapes decoded, where whoever made the
    /// request has read it: it is not read again then.
    pub tool: Option<Arc<str>>,
}

impl Request {
    /// A plain request: no progress, no log messages, may be sent again.
    pub fn new(method: &str, params: Option<String>) -> Self {
        Self {
            method: method.to_owned(),
            params: params.map(Into::into),
            progress: false,
            log_level: None,
            once: false,
            overdue: None,
            gate: None,
            capabilities: None,
            tool: None,
        }
    }

    /// Whether whoever made it has given it up: it must not be sent, or sent again, any more.
    pub(crate) fn is_given_up(&self) -> bool {
        self.overdue.as_ref().is_some_and(CancellationToken::is_cancelled)
    }
}

/// A notification of the upstream that belongs to a request: method and raw params. Progress has
/// the upstream's own token in it; the receiver puts the client's in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The JSON-RPC method, such as `notifications/progress`.
    pub method: String,
    /// Raw JSON of `params`.
    pub params: Option<String>,
}

/// What the upstream answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Raw JSON of `result`.
    Result(String),
    /// Raw JSON of `error`.
    Error(String),
}

/// Why there is no answer.
#[derive(Debug, Clone, Error)]
pub enum UpstreamError {
    /// It certainly did not happen: process not started; DNS, TCP or TLS failure; refused before
    /// it was read.
    #[error("not sent: {0}")]
    NotSent(String),
    /// It may have happened: the connection broke, timed out or answered unreadably after sending.
    #[error("sent, no readable answer: {0}")]
    Lost(String),
    /// Cancelled by the caller's token after sending.
    #[error("cancelled")]
    Cancelled,
}

impl UpstreamError {
    /// The reason alone.
    pub(crate) fn into_words(self) -> String {
        match self {
            Self::NotSent(why) | Self::Lost(why) => why,
            Self::Cancelled => "cancelled".to_owned(),
        }
    }
}

/// What a connection learned of its server.
#[derive(Debug, Clone)]
pub struct ServerFacts {
    /// The era it speaks.
    pub era: WireEra,
    /// The negotiated protocol version, a date (YYYY-MM-DD).
    pub version: String,
    /// Raw JSON of `capabilities`.
    pub capabilities: String,
    /// Raw JSON of `serverInfo`.
    pub server_info: String,
    /// `instructions`, for the model.
    pub instructions: Option<String>,
}

/// What is known of an upstream without asking it.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How the contact with it went.
    pub health: UpstreamHealth,
    /// Whether a connection is being opened, or a process started.
    pub opening: bool,
    /// Number of connections that are open, or of child processes that run.
    pub connections: usize,
    /// Whether it speaks HTTP+SSE (2024-11-05), by its configuration or as was found.
    pub speaks_sse: bool,
    /// What the last handshake found out.
    pub facts: Option<ServerFacts>,
}

/// One tool of the upstream's list.
#[derive(Debug, Clone)]
pub struct Tool {
    /// Its name, its JSON escapes decoded.
    pub name: String,
    /// The whole definition, raw JSON.
    pub raw: String,
    /// SHA-256 (hex) of its canonical definition: changes when the tool is redefined.
    pub fingerprint: String,
    /// What harm its calls could do: by the catalogue where that knows it, else by its definition.
    pub risk: Classified,
    /// What its definition says of that.
    pub own: Classified,
}

/// The upstream's full tool list.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// The tools in the upstream's order.
    pub tools: Vec<Tool>,
    /// The server, where the catalogue knows it.
    pub known: Option<Known>,
}

/// A server that the catalogue knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// What is known of it.
    pub server: &'static KnownServer,
    /// The version that it declares itself; empty where it gives none.
    pub declares: String,
}

impl Known {
    /// Which one, and what it says of itself where that is not what was read:
    /// `awslabs.eks 0.1.15`, `mcp-git 2026.10.19 (it declares 2027.1.1)`.
    pub fn in_words(&self) -> String {
        let title = self.server.title();
        if self.is_version_read() {
            return title;
        }
        let declares = match self.declares.chars().take(MAX_VERSION_SHOWN).collect::<String>() {
            none if none.is_empty() => "no version".to_owned(),
            version => version,
        };
        let read = match self.server.declared_version {
            "" => "no version",
            version => version,
        };
        format!("{title} (it declares {declares}; {read} was read)")
    }

    /// Whether it declares the version that was read.
    pub fn is_version_read(&self) -> bool {
        self.declares == self.server.declared_version
    }
}

/// How much of the version that a server declares is shown, characters.
const MAX_VERSION_SHOWN: usize = 40;

impl Catalog {
    /// The tool of that name.
    pub fn find(&self, name: &str) -> Option<&Tool> {
        self.tools.iter().find(|t| t.name == name)
    }
}

/// One MCP server.
///
/// # Errors
/// The methods that ask the server fail alike: [`UpstreamError::NotSent`] where it certainly did
/// not read the request (not connected, refused, shutting down), [`UpstreamError::Lost`] where it
/// may have and gave no readable answer, [`UpstreamError::Cancelled`] where the caller gave up.
#[async_trait]
pub trait Upstream: Send + Sync {
    /// Sends one request and waits for its answer, at most the configured timeout since the
    /// upstream's last message about it.
    ///
    /// `cancel` tells the upstream to stop: by `notifications/cancelled`
    /// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/cancellation#cancellation-flow>),
    /// or over modern HTTP by closing the stream.
    async fn request(
        &self,
        caller: &Caller,
        request: Request,
        notifications: Option<Notifications>,
        cancel: CancellationToken,
    ) -> Result<Reply, UpstreamError>;

    /// Sends one notification of the client; lost without a trace where nothing is connected.
    async fn notify(&self, caller: &Caller, method: &str, params: Option<String>);

    /// What is known of the server; connects if nothing is known yet.
    async fn facts(&self, caller: &Caller) -> Result<ServerFacts, UpstreamError>;

    /// The era that it speaks with this caller, where that is known without asking it.
    fn era(&self, _caller: &Caller) -> Option<WireEra> {
        None
    }

    /// The era that it spoke last with anybody, modern if it speaks both.
    fn last_era(&self) -> Option<WireEra> {
        self.report().facts.map(|facts| facts.era)
    }

    /// The full tool list, fetched at connect and refreshed when the server says it changed;
    /// none before the first success.
    fn catalog(&self) -> Option<Arc<Catalog>>;

    /// The tool list, fetched anew where the last one is older than `age`: a server need not say
    /// that it changed.
    ///
    /// # Errors
    /// [`UpstreamError`], when it had to be fetched and could not be.
    async fn tools_within(&self, _age: std::time::Duration) -> Result<Arc<Catalog>, UpstreamError> {
        match self.catalog() {
            Some(catalog) => Ok(catalog),
            None => self.refresh().await,
        }
    }

    /// What is known of the server, without asking it.
    fn report(&self) -> Report {
        Report::default()
    }

    /// Connects if need be and fetches the tool list anew.
    async fn refresh(&self) -> Result<Arc<Catalog>, UpstreamError>;

    /// Server notifications that belong to no request (list changed, resource updated, log), for
    /// the sessions of this caller.
    fn subscribe(&self, caller: &Caller) -> tokio::sync::broadcast::Receiver<Notification>;

    /// Requests of the server that belong to no request, for a client that listens; dropping
    /// the receiver ends it.
    fn server_requests(&self, caller: &Caller) -> tokio::sync::mpsc::Receiver<ServerRequest>;

    /// Has the server tell of changes to a resource while the watch is kept; what it tells comes
    /// to everybody of this caller's connection. `params` are a legacy client's own, raw.
    async fn watch(&self, _caller: &Caller, _uri: &str, _params: Option<String>) -> Watching {
        Watching::Refused(None)
    }

    /// Has the server log at this level at least while the watch is kept. `params` are the
    /// client's own, raw; the answer is the server's where it was asked.
    async fn log_at(
        &self,
        _caller: &Caller,
        _level: Level,
        _params: Option<String>,
    ) -> Result<(Watch, Reply), UpstreamError> {
        Err(UpstreamError::NotSent("it logs nothing".to_owned()))
    }

    /// Ends whatever belongs to one client session.
    async fn close_session(&self, caller: &Caller);

    /// The client sessions that something is kept for.
    fn sessions(&self) -> Vec<Caller> {
        Vec::new()
    }

    /// Ends every connection and child process.
    async fn shutdown(&self);
}
