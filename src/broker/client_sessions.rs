//! Sessions of legacy MCP clients, after
//! <https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#session-management>.

use crate::store::{ClientSession, StoreError};

use super::Broker;

/// Most legacy sessions of one agent token; beyond that `initialize` is answered with status 429
/// (<https://www.rfc-editor.org/rfc/rfc6585#section-4>).
pub const MAX_SESSIONS_PER_AGENT: u32 = 32;

impl Broker {
    /// Opens a session; false where its agent has [`MAX_SESSIONS_PER_AGENT`] that are in use.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn open_client_session(&self, session: &ClientSession) -> Result<bool, StoreError> {
        self.store().client_sessions().insert(session, MAX_SESSIONS_PER_AGENT).await
    }

    /// The session of that id, which is marked as used. None if it belongs to another agent or
    /// another upstream.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn client_session(
        &self,
        id: &str,
        agent: &str,
        upstream: &str,
    ) -> Result<Option<ClientSession>, StoreError> {
        let found = self.store().client_sessions().find(id, self.now()).await?;
        Ok(found.filter(|session| session.agent == agent && session.upstream == upstream))
    }

    /// Keeps a session from becoming idle; false once there is none any more.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn keep_client_session(&self, id: &str) -> Result<bool, StoreError> {
        Ok(self.store().client_sessions().find(id, self.now()).await?.is_some())
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn end_client_session(&self, id: &str) -> Result<(), StoreError> {
        self.store().client_sessions().delete(id).await
    }

    /// Ends what upstreams keep for sessions that are no more: that made room for others, were
    /// idle for too long, or ended in another process.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn leave_ended_sessions(&self) -> Result<(), StoreError> {
        let names = self.config().upstreams.iter().map(|upstream| upstream.name.as_str());
        // First who uses them, then who is there: a session that begins meanwhile is among both.
        let used: Vec<_> = names
            .filter_map(|name| self.upstream(name))
            .map(|upstream| (upstream, upstream.sessions()))
            .filter(|(_, sessions)| !sessions.is_empty())
            .collect();
        if used.is_empty() {
            return Ok(());
        }
        let open = self.store().client_sessions().ids().await?;
        for (upstream, callers) in used {
            for caller in callers {
                if caller.session.as_ref().is_some_and(|id| !open.contains(id)) {
                    upstream.close_session(&caller).await;
                }
            }
        }
        Ok(())
    }
}
