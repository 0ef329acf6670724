//! The processes that share the store, each alive for as long as it renews its lease.

use async_trait::async_trait;

use super::error::Result;
use crate::domain::time::Timestamp;

/// The verbs about processes. As everywhere, one verb is one transaction.
#[async_trait]
pub trait NodeStore: Send + Sync {
    /// Renews this node's lease until `until`.
    async fn renew(&self, node: &str, now: Timestamp, until: Timestamp) -> Result<()>;

    /// Ends this node's lease and detaches its requests.
    async fn end(&self, node: &str, now: Timestamp) -> Result<()>;

    /// Whether the process that runs a call is alive.
    async fn is_alive(&self, node: &str, now: Timestamp) -> Result<bool>;
}
