//! Requests that are held until their approval is decided.

use async_trait::async_trait;

use super::error::Result;
use crate::domain::approval::ApprovalId;
use crate::domain::time::Timestamp;

/// A request that waits for an approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHold {
    /// Its id, unique.
    pub id: String,
    /// The node that keeps it open.
    pub node: String,
    /// The agent.
    pub agent: String,
}

/// The verbs about held requests. As everywhere, one verb is one transaction.
#[async_trait]
pub trait HoldStore: Send + Sync {
    /// Attaches a request; false beyond `max_held`.
    async fn attach(
        &self,
        id: &ApprovalId,
        hold: &NewHold,
        max_held: u32,
        now: Timestamp,
    ) -> Result<bool>;

    /// Detaches a request; returns how many are still attached.
    async fn detach(&self, hold: &str, now: Timestamp) -> Result<i64>;

    /// How many live requests are attached.
    async fn attached(&self, id: &ApprovalId, now: Timestamp) -> Result<i64>;
}
