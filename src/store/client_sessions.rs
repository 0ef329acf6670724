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

/// The verbs about client sessions. Each verb is one transaction.
///
/// # Errors
/// Every verb fails with [`super::StoreError`]: `Unavailable`, when the database can't be reached
/// or written; `Corrupt`, when a stored value can't be read back.
#[async_trait]
pub trait ClientSessionStore: Send + Sync {
    /// Stores a legacy session; false if the agent has `max` already, idle ones not counted.
    async fn insert(&self, session: &ClientSession, max: u32) -> Result<bool>;

    /// The legacy session of that id, which is marked as used at `now`.
    async fn find(&self, id: &str, now: Timestamp) -> Result<Option<ClientSession>>;

    /// The ids of all sessions; none is marked as used.
    async fn ids(&self) -> Result<HashSet<String>>;

    /// Ends the session of that id; no error if there is none.
    async fn delete(&self, id: &str) -> Result<()>;
}
