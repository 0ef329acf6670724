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

    /// Ends this process's lease and detaches its held requests.
    async fn end(&self, node: &str, now: Timestamp) -> Result<()>;

    /// Whether the process of that name is alive at `now`: its lease has not run out.
    async fn is_alive(&self, node: &str, now: Timestamp) -> Result<bool>;
}
