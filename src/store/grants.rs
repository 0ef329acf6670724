//! What reviewers let through beforehand.

use async_trait::async_trait;

use crate::domain::audit::AuditEvent;
use crate::domain::grant::{Ended, Grant, GrantId};
use crate::domain::time::Timestamp;

use super::error::Result;

/// The verbs about grants. As everywhere, one verb is one transaction.
#[async_trait]
pub trait GrantStore: Send + Sync {
    /// Stores a grant with its record; false where as many of its agent are open.
    async fn insert(&self, grant: &Grant, max_open: u32, event: AuditEvent) -> Result<bool>;

    /// One grant.
    async fn find(&self, id: &GrantId) -> Result<Option<Grant>>;

    /// Those that may let a call of this tool through, the one that ends first at the front.
    async fn open(
        &self,
        agent: &str,
        upstream: &str,
        tool: &str,
        now: Timestamp,
    ) -> Result<Vec<Grant>>;

    /// The newest, open or not.
    async fn list(&self, limit: u32) -> Result<Vec<Grant>>;

    /// Takes one use, with its record; false if it lets nothing through any more.
    async fn take(&self, id: &GrantId, now: Timestamp, event: AuditEvent) -> Result<bool>;

    /// Ends it before its time, with its record; false if it had ended so before.
    async fn end(&self, id: &GrantId, end: &Ended, event: AuditEvent) -> Result<bool>;
}
