//! Changes of approvals, numbered in the order in which they could be seen. Who has read up to a
//! number misses nothing by reading on from it, whichever broker made the change.

use async_trait::async_trait;

use super::error::Result;
use crate::domain::approval::{Approval, ApprovalId};
use crate::domain::time::Timestamp;

/// An approval as it is now, under the number of its last change.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The number: greater than that of every change that could be seen before.
    pub seq: i64,
    /// The approval. Changes that follow each other quickly share one number, the last.
    pub approval: Approval,
}

/// How far an approval has come, for who waits for it: as little as tells whether to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glimpse {
    /// The approval.
    pub id: ApprovalId,
    /// Its version.
    pub version: i64,
    /// Whether its agent wants its running call stopped.
    pub stops: bool,
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

    /// Approvals that changed at or after an instant since they were made, and those whose calls
    /// are wanted stopped since then; at most `limit`, in no order.
    async fn since(&self, at: Timestamp, limit: u32) -> Result<Vec<Glimpse>>;

    /// How far these have come; those that are gone are left out.
    async fn glimpses(&self, ids: &[ApprovalId]) -> Result<Vec<Glimpse>>;

    /// These approvals as they stand, in no order; those that are gone are left out.
    async fn of(&self, ids: &[ApprovalId], now: Timestamp) -> Result<Vec<Approval>>;
}
