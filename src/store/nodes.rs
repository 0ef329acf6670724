//! The processes that share the store, each alive for as long as it renews its lease.

use async_trait::async_trait;

use super::error::Result;
use crate::domain::time::Timestamp;

/// A process on the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub node: String,
    /// The fingerprint of the policies it judges by; empty where it has not told.
    pub policies: String,
}

/// The verbs about processes. Each verb is one transaction.
///
/// # Errors
/// Every verb fails with [`super::StoreError::Unavailable`], when the database can't be reached or
/// written.
#[async_trait]
pub trait NodeStore: Send + Sync {
    /// Renews this process's lease until `until`.
    async fn renew(&self, node: &str, now: Timestamp, until: Timestamp) -> Result<()>;

    /// Tells the others which policies this process judges by, by their fingerprint.
    async fn tell(&self, node: &str, policies: &str) -> Result<()>;

    /// The processes whose lease has not run out at `now`, by their names, this one among them; none
    /// where no other process can use the store.
    async fn alive(&self, now: Timestamp) -> Result<Option<Vec<Peer>>>;

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
