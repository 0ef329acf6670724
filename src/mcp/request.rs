//! One request of a client with everything that is known of it, and what may be asked of it.

use std::sync::Arc;

use axum::http::{HeaderMap, header};

use crate::broker::client_sessions::SessionInUse;
use crate::config::Agent;
use crate::domain::call::without_protocol_meta;
use crate::domain::json::{self, Node};
use crate::mcp::session::cancellation::InFlightRequest;
use crate::protocol::meta;
use crate::store::ClientSession;
use crate::upstream::{Caller, ClientCapabilities, Request, WireEra};

use super::Mcp;
use super::envelope::Message;
use super::reading::Share;

/// A request as it goes upstream.
pub(crate) fn request_of(incoming: &ClientRequest) -> Request {
    let params = incoming.message.params.as_ref().map(|p| without_protocol_meta(p.shared()));
    Request { params, ..Request::new(&incoming.message.method, None) }
}

/// The log level that a modern request wants, raw JSON
/// (<https://modelcontextprotocol.io/specification/2026-07-28/server/utilities/logging#per-request-log-level>).
pub(crate) fn log_level(params: Option<&Node<'_>>) -> Option<String> {
    Some(params?.get("_meta")?.get(meta::LOG_LEVEL)?.raw.to_owned())
}

/// How the client named what was resolved to an upstream.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    /// The name or URI as it was sent.
    pub(crate) text: String,
    /// Whether it is a URI with the upstream's name before it.
    pub(crate) prefixed: bool,
}

/// The upstreams an agent may use, in the order of the configuration.
pub(crate) fn upstreams_of(mcp: &Mcp, agent: &Agent) -> Vec<String> {
    let all = mcp.broker.config().upstreams.iter().map(|u| u.name.clone());
    all.filter(|name| may_use(mcp, agent, name)).collect()
}

/// The upstreams behind an address: the one it names, or all the agent's where it names none.
pub(crate) fn behind(mcp: &Mcp, agent: &Agent, upstream: &str) -> Vec<String> {
    if upstream.is_empty() { upstreams_of(mcp, agent) } else { vec![upstream.to_owned()] }
}

/// One request with everything known of it.
#[derive(Debug, Clone)]
pub(crate) struct ClientRequest {
    pub(crate) agent: Arc<Agent>,
    /// Name of the upstream; empty where all of the agent's are addressed as one and no single one
    /// is meant.
    pub(crate) upstream: String,
    /// How the client named what it asks for, where it asked all as one.
    pub(crate) named: Option<Named>,
    pub(crate) era: WireEra,
    pub(crate) message: Message,
    /// The legacy session; none in the modern era and at `initialize`.
    pub(crate) session: Option<Arc<ClientSession>>,
    /// Keeps that session from making room for another as long as the request is open.
    pub(crate) in_use: Option<Arc<SessionInUse>>,
    /// What the client calls itself.
    pub(crate) client: Option<String>,
    /// What servers may ask of it.
    pub(crate) features: ClientCapabilities,
    /// Whether it can read an event stream.
    pub(crate) streams: bool,
    /// Its share of what may be under way, until nobody works at the request any more.
    #[expect(dead_code, reason = "dropping the last copy gives it back")]
    pub(crate) room: Arc<Share>,
    /// Its entry among the requests under way, through which a notification may cancel it.
    pub(crate) flight: Arc<InFlightRequest>,
}

impl ClientRequest {
    /// The same for one upstream, with params of its own.
    pub(crate) fn to(&self, upstream: &str, params: Option<String>) -> Self {
        let mut one = self.clone();
        upstream.clone_into(&mut one.upstream);
        one.message.params = params.map(json::Text::own);
        one
    }

    /// Who the request comes from, to an upstream.
    pub(crate) fn caller(&self) -> Caller {
        Caller {
            agent: self.agent.name.clone(),
            session: self.session.as_ref().map(|s| s.id.clone()),
            features: self.features.clone(),
        }
    }
}

/// Whether the agent may use an upstream of that name; of others nothing is said, not even
/// whether there are any.
pub(crate) fn may_use(mcp: &Mcp, agent: &Agent, upstream: &str) -> bool {
    mcp.broker.config().upstream(upstream).is_some()
        && agent.upstreams.as_ref().is_none_or(|list| list.iter().any(|u| u == upstream))
}

/// Whether the client reads event streams.
pub(crate) fn accepts_streams(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT).iter().any(|value| {
        value.to_str().is_ok_and(|v| v.to_ascii_lowercase().contains("text/event-stream"))
    })
}

/// What the client calls itself, `name/version`; its own words, bounded.
pub(crate) fn client_name(params: Option<&Node<'_>>) -> Option<String> {
    /// Most characters of a client's own name that are kept.
    const MAX_CLIENT_NAME: usize = 200;
    let params = params?;
    let info = params.get("clientInfo").or_else(|| params.get("_meta")?.get(meta::CLIENT_INFO))?;
    let name = info.get("name")?.as_str()?;
    let text = match info.get("version").and_then(Node::as_str) {
        Some(version) => format!("{name}/{version}"),
        None => name.to_owned(),
    };
    Some(text.replace('\0', "\u{fffd}").chars().take(MAX_CLIENT_NAME).collect())
}
