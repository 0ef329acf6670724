//! Calls of the past: what was asked for, and what the policy of that day made of it.

use async_trait::async_trait;

use super::error::Result;
use crate::domain::approval::ApprovalId;
use crate::domain::call::Method;
use crate::domain::time::Timestamp;

/// What became of a recorded call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Became {
    /// It was let through, by a rule or a grant.
    Allowed,
    /// It was refused.
    Denied,
    /// It hit a limit.
    Limited,
    /// People were asked.
    Asked,
}

/// So many calls of the same kind. Their arguments were not recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallCount {
    /// Name of the agent.
    pub agent: String,
    /// By which request of the protocol.
    pub method: Method,
    /// Name of the tool or prompt; of a resource its URI as records show it.
    pub tool: String,
    /// What became of them.
    pub became: Became,
    /// How many there were.
    pub count: u64,
}

/// One call that people were asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedCall {
    /// Id of its approval.
    pub id: ApprovalId,
    /// Name of the agent.
    pub agent: String,
    /// By which request of the protocol.
    pub method: Method,
    /// Its `params`, exactly as sent.
    pub params: String,
}

/// The verbs about recorded calls, which only read. Each takes little time: whoever reads them all
/// asks piece by piece.
///
/// # Errors
/// Every verb fails with [`super::StoreError`]: `Unavailable`, when the database can't be reached;
/// `Corrupt`, when a stored value can't be read back.
#[async_trait]
pub trait RecordedCallStore: Send + Sync {
    /// The number of the newest record; 0 where there is none.
    async fn newest(&self) -> Result<i64>;

    /// The calls to an upstream among the records numbered from `after` (without it) to `to` and not
    /// older than `since`, but for those that people were asked about.
    async fn counted(
        &self,
        upstream: &str,
        since: Timestamp,
        after: i64,
        to: i64,
    ) -> Result<Vec<CallCount>>;

    /// Up to `limit` calls to an upstream that people were asked about since then, the oldest first,
    /// from behind `after` on.
    async fn asked(
        &self,
        upstream: &str,
        since: Timestamp,
        after: Option<&ApprovalId>,
        limit: u32,
    ) -> Result<Vec<AskedCall>>;
}
