//! Work that no request brings: what reconcilers look for.

use async_trait::async_trait;

use super::error::Result;
use crate::domain::approval::ApprovalId;
use crate::domain::time::Timestamp;

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

    /// Ids of approved ones that run without a waiting agent, not tried since `tried_before`.
    async fn unattended(&self, now: Timestamp, limit: u32) -> Result<Vec<ApprovalId>>;
}
