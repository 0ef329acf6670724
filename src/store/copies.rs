//! A database that is a copy of itself: whether it was put back from a dump or a backup and nobody has
//! looked at it yet, and what is ended then.

use async_trait::async_trait;

use super::error::Result;
use crate::domain::audit::AuditEvent;
use crate::domain::time::Timestamp;

/// A database that was put back and not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutBack {
    /// When the copy was made, where it tells.
    pub copied_at: Option<Timestamp>,
    /// Whether a restore began on it and did not end.
    pub unfinished: bool,
}

/// What of a copy was let go, for it may have been used since.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LetGo {
    /// Messages that had not been delivered.
    pub messages: u64,
    /// Sessions of MCP clients.
    pub client_sessions: u64,
}

/// The verbs about them. Each verb is one transaction.
///
/// # Errors
/// Every verb fails with [`super::StoreError`]: `Unavailable`, when the database can't be reached
/// or written; `Corrupt`, when a stored value can't be read back.
#[async_trait]
pub trait CopyStore: Send + Sync {
    /// Whether the database was put back from a copy; none where it is the one that was written last.
    /// PostgreSQL is known by what no dump carries, which is noted when this is asked first.
    async fn put_back(&self) -> Result<Option<PutBack>>;

    /// Until when a broker's lease on the database lasts; none if none is alive.
    async fn lease(&self, now: Timestamp) -> Result<Option<Timestamp>>;

    /// Begins to mark what a copy has, and lets go of all that is used once or was somebody's only
    /// then: messages not delivered, begun ceremonies and sign-ins, MCP sessions, the keys of what
    /// travels sealed. May be repeated after a crash: messages planned meanwhile stay.
    async fn begin_restore(&self, now: Timestamp) -> Result<LetGo>;

    /// Takes the database for the one that is written from now on, with a record.
    async fn adopt(&self, event: AuditEvent) -> Result<()>;
}
