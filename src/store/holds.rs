//! Requests that are held until their approval is decided.

use async_trait::async_trait;

use super::error::Result;
use crate::domain::approval::ApprovalId;
use crate::domain::time::Timestamp;

/// A request that waits for an approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHold {
    /// Its id, unique among all holds.
    pub id: String,
    /// The process that keeps the request open.
    pub node: String,
    /// Name of the agent.
    pub agent: String,
}

/// The verbs about held requests. Each verb is one transaction.
///
/// # Errors
/// Every verb fails with [`super::StoreError::Unavailable`], when the database can't be reached or
/// written.
#[async_trait]
pub trait HoldStore: Send + Sync {
    /// Attaches a request to an approval; false if its agent has `max_held` held requests already.
    async fn attach(
        &self,
        id: &ApprovalId,
        hold: &NewHold,
        max_held: u32,
        now: Timestamp,
    ) -> Result<bool>;

    /// Detaches a request; returns how many are still attached to its approval.
    async fn detach(&self, hold: &str, now: Timestamp) -> Result<i64>;

    /// The ids of the requests that a process holds.
    async fn of_node(&self, node: &str) -> Result<Vec<String>>;

    /// Detaches requests that are over; returns the approvals they were attached to.
    async fn detach_all(&self, holds: &[String], now: Timestamp) -> Result<Vec<ApprovalId>>;

    /// Attaches a request again whose row was removed while its process seemed dead.
    async fn attach_again(&self, id: &ApprovalId, hold: &NewHold, now: Timestamp) -> Result<()>;

    /// How many requests of live processes are attached to an approval.
    async fn attached(&self, id: &ApprovalId, now: Timestamp) -> Result<i64>;
}
