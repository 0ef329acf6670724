//! What is counted in a window, and how much of it is used.

use async_trait::async_trait;

use super::error::Result;
use crate::domain::time::Timestamp;

/// How much of its limits an agent has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// Pending and approved ones.
    pub open: i64,
    /// New ones in the window.
    pub new: i64,
    /// Uses of the rule's limit in its window.
    pub limited: Option<i64>,
}

/// The verbs about limits. As everywhere, one verb is one transaction.
#[async_trait]
pub trait LimitStore: Send + Sync {
    /// Counts one use against a sliding window: `None` if it fits, else milliseconds to wait.
    async fn take(
        &self,
        key: &str,
        max: u32,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<Option<u64>>;

    /// Takes back the use that was counted last for this key.
    async fn give_back(&self, key: &str) -> Result<()>;

    /// How much of its limits an agent has used: new approvals since `new_since`, uses of a limit's
    /// key since a time.
    async fn spent(
        &self,
        agent: &str,
        new_since: Timestamp,
        limit: Option<(String, Timestamp)>,
    ) -> Result<Spent>;
}
