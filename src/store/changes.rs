//! Changes of approvals, numbered in the order in which they could be seen. Who has read up to a
//! number misses nothing by reading on from it, whichever broker made the change.

use async_trait::async_trait;

use super::error::Result;
use crate::domain::approval::Approval;
use crate::domain::time::Timestamp;

/// An approval as it is now, under the number of its last change.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The number: greater than that of every change that could be seen before.
    pub seq: i64,
    /// The approval. Changes that follow each other quickly share one number, the last.
    pub approval: Approval,
}

/// The verbs about changes. Each verb is one transaction.
///
/// # Errors
/// Every verb fails with [`super::StoreError`]: `Unavailable`, when the database can't be reached
/// or written; `Corrupt`, when a stored value can't be read back.
#[async_trait]
pub trait ChangeStore: Send + Sync {
    /// Gives numbers to changes that have none, up to `limit`; returns how many it were.
    async fn number(&self, limit: u32) -> Result<u32>;

    /// The last number that was given; 0 before the first.
    async fn last(&self) -> Result<i64>;

    /// Up to `limit` changes after a number, in order; none of those that `visible_to` may not see, nor
    /// of approvals that can't be read. Fewer than `limit` are the last ones there are.
    async fn after(
        &self,
        seq: i64,
        visible_to: Option<&str>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<Change>>;
}
