//! The processes that share the store, each alive for as long as it renews its lease.

use async_trait::async_trait;

use super::error::Result;
use crate::domain::time::Timestamp;

/// The verbs about processes. Each verb is one transaction.
///
/// # Errors
/// Every verb fails with [`super::StoreError::Unavailable`], when the database can't be reached or
/// written.
#[async_trait]
pub trait NodeStore: Send + Sync {
    /// Renews this process's lease until `until`.
    async fn renew(&self, node: &str, now: Timestamp, until: Timestamp) -> Result<()>;

    /// What time it is by the database's clock; none where it has no clock of its own.
    async fn time(&self) -> Result<Option<Timestamp>>;

    /// The latest time that is known to have been: until when the lease of any process lasts, and
    /// when anything changed last.
    async fn latest(&self) -> Result<(Option<Timestamp>, Option<Timestamp>)>;

    /// Ends leases that last longer than `beyond` at `until`.
    async fn bound(&self, beyond: Timestamp, until: Timestamp) -> Result<()>;

    /// Ends this process's lease and detaches its held requests.
    async fn end(&self, node: &str, now: Timestamp) -> Result<()>;

    /// Whether the process of that name is alive at `now`: its lease has not run out.
    async fn is_alive(&self, node: &str, now: Timestamp) -> Result<bool>;
}
