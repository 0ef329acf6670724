//! What there is to do without any request.

use async_trait::async_trait;

use super::error::Result;
use crate::domain::approval::ApprovalId;
use crate::domain::time::Timestamp;

/// What reconcilers look for.
#[async_trait]
pub trait DueStore: Send + Sync {
    /// Ids of what is past its deadline: pending ones, and approved ones nobody claimed.
    async fn expiries(&self, now: Timestamp, limit: u32) -> Result<Vec<ApprovalId>>;

    /// Ids of running ones whose node is dead.
    async fn orphaned(&self, now: Timestamp, limit: u32) -> Result<Vec<ApprovalId>>;

    /// Ids of approved ones that run without a waiting agent, not tried since `tried_before`.
    async fn unattended(&self, now: Timestamp, limit: u32) -> Result<Vec<ApprovalId>>;
}
