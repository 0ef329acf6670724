//! Grants: calls that reviewers let through in advance.

use async_trait::async_trait;

use crate::domain::audit::AuditEvent;
use crate::domain::grant::{Ended, Grant, GrantId};
use crate::domain::time::Timestamp;

use super::error::Result;

/// The verbs about grants. Each verb is one transaction.
///
/// # Errors
/// Every verb fails with [`super::StoreError`]: `Unavailable`, when the database can't be reached
/// or written; `Corrupt`, when a stored value can't be read back.
#[async_trait]
pub trait GrantStore: Send + Sync {
    /// Stores a grant and records `event`; false if its agent has `max_open` open grants already.
    async fn insert(&self, grant: &Grant, max_open: u32, event: AuditEvent) -> Result<bool>;

    /// The grant of that id, open or not.
    async fn find(&self, id: &GrantId) -> Result<Option<Grant>>;

    /// The open grants for this tool, the one that ends first at the front.
    async fn open(
        &self,
        agent: &str,
        upstream: &str,
        tool: &str,
        now: Timestamp,
    ) -> Result<Vec<Grant>>;

    /// The newest grants, open or not; at most `limit`.
    async fn list(&self, limit: u32) -> Result<Vec<Grant>>;

    /// Takes one use and records `event`; false if the grant is used up, expired or ended.
    async fn take(&self, id: &GrantId, now: Timestamp, event: AuditEvent) -> Result<bool>;

    /// Ends a grant before its time and records `event`; false if it was ended so before.
    async fn end(&self, id: &GrantId, end: &Ended, event: AuditEvent) -> Result<bool>;
}
