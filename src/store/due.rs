//! Work that no request brings: what reconcilers look for.

use async_trait::async_trait;

use super::error::Result;
use crate::domain::approval::ApprovalId;
use crate::domain::time::Timestamp;

/// An approved call that runs without a waiting request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unattended {
    /// Its approval.
    pub id: ApprovalId,
    /// The upstream it goes to.
    pub upstream: String,
    /// The legacy session it was asked in, if an agent follows it as a task.
    pub session: Option<String>,
}

/// What reconcilers look for. Each verb returns at most `limit` ids.
///
/// # Errors
/// Every verb fails with [`super::StoreError`]: `Unavailable`, when the database can't be reached
/// or written; `Corrupt`, when a stored value can't be read back.
#[async_trait]
pub trait DueStore: Send + Sync {
    /// Ids of approvals past their deadline: pending ones, and approved ones that nobody claimed.
    async fn expiries(&self, now: Timestamp, limit: u32) -> Result<Vec<ApprovalId>>;

    /// Ids of running approvals whose process is dead and not `node`, which asks.
    async fn orphaned(&self, node: &str, now: Timestamp, limit: u32) -> Result<Vec<ApprovalId>>;

    /// Ids of the running approvals that `node` claimed, all of them: it knows which it executes.
    async fn claimed_by(&self, node: &str) -> Result<Vec<ApprovalId>>;

    /// Approved ones that run without a waiting agent, the nearest claim deadline first: of each
    /// upstream at most `limit`, so that one that hangs hides no other.
    async fn unattended(&self, now: Timestamp, limit: u32) -> Result<Vec<Unattended>>;
}
