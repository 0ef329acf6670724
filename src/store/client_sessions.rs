//! Sessions of legacy MCP clients.

use std::collections::HashSet;

use async_trait::async_trait;

use super::error::Result;
use crate::domain::time::Timestamp;

/// A legacy MCP client session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSession {
    /// Value of the header `Mcp-Session-Id`, after
    /// <https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#session-management>.
    pub id: String,
    /// Name of the agent.
    pub agent: String,
    /// Name of the upstream.
    pub upstream: String,
    /// The protocol version that `initialize` agreed on, such as `2025-11-25`.
    pub version: String,
    /// `clientInfo` as `name/version`.
    pub client: Option<String>,
    /// Raw JSON of the client's capabilities.
    pub capabilities: String,
    /// When it was opened.
    pub created_at: Timestamp,
}

/// What one broker has to say of a session's use. The time that is stored of a session is that of
/// its last use, or lies ahead: so long it counts as in use, by a request or stream that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSeen {
    /// The session's id.
    pub id: String,
    /// When it was used, or until when it is in use. An earlier time never replaces a later one …
    pub at: Timestamp,
    /// … but this one, which the same broker noted before.
    pub instead_of: Option<Timestamp>,
}

/// The verbs about client sessions. Each verb is one transaction.
///
/// # Errors
/// Every verb fails with [`super::StoreError`]: `Unavailable`, when the database can't be reached
/// or written; `Corrupt`, when a stored value can't be read back.
#[async_trait]
pub trait ClientSessionStore: Send + Sync {
    /// Stores a legacy session. Where the agent has `max` or more already, those least recently
    /// used that are not in use are ended first, and returned; none, and nothing is changed, where
    /// all of them are in use.
    async fn insert(&self, session: &ClientSession, max: u32)
    -> Result<Option<Vec<ClientSession>>>;

    /// The legacy session of that id.
    async fn find(&self, id: &str) -> Result<Option<ClientSession>>;

    /// Which of these sessions there are.
    async fn living(&self, ids: &[String]) -> Result<Vec<String>>;

    /// Notes when sessions were used; no error for one that is over.
    async fn note(&self, seen: &[SessionSeen]) -> Result<()>;

    /// The ids of all sessions; none is marked as used.
    async fn ids(&self) -> Result<HashSet<String>>;

    /// Ends the session of that id; no error if there is none.
    async fn delete(&self, id: &str) -> Result<()>;
}
