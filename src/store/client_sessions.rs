//! Sessions of legacy MCP clients.

use async_trait::async_trait;

use super::error::Result;
use crate::domain::time::Timestamp;

/// A legacy MCP client session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSession {
    /// `Mcp-Session-Id`.
    pub id: String,
    /// The agent.
    pub agent: String,
    /// The upstream.
    pub upstream: String,
    /// Negotiated protocol version.
    pub version: String,
    /// `clientInfo` as `name/version`.
    pub client: Option<String>,
    /// Raw JSON of the client's capabilities.
    pub capabilities: String,
    /// When.
    pub created_at: Timestamp,
}

/// The verbs about client sessions. As everywhere, one verb is one transaction.
#[async_trait]
pub trait ClientSessionStore: Send + Sync {
    /// Stores a legacy client session; false beyond `max` of the agent, idle ones not counted.
    async fn insert(&self, session: &ClientSession, max: u32) -> Result<bool>;

    /// The legacy client session of that id; marks it seen.
    async fn find(&self, id: &str, now: Timestamp) -> Result<Option<ClientSession>>;

    /// Ends one.
    async fn delete(&self, id: &str) -> Result<()>;
}
