//! What is known of agents: how long their clients wait, and what they do now.

use std::time::Duration;

use async_trait::async_trait;

use super::error::Result;
use crate::domain::audit::AuditEvent;
use crate::domain::hold_budget::{HoldBudget, Learned};
use crate::domain::time::Timestamp;

/// What an agent does now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Activity {
    /// How many legacy sessions it has open.
    pub sessions: i64,
    /// How many of its approvals are pending.
    pub pending: i64,
    /// How many of its approvals are approved and not yet claimed.
    pub approved: i64,
    /// What its client last called itself, `name/version`.
    pub client: Option<String>,
    /// When a session of it was last used, or it last asked for an approval.
    pub seen_at: Option<Timestamp>,
}

impl Activity {
    /// The same as seen at `now`: a session that is in use is stored with a time that lies ahead.
    #[must_use]
    pub fn until(self, now: Timestamp) -> Self {
        Self { seen_at: self.seen_at.map(|at| at.min(now)), ..self }
    }
}

/// The verbs about agents. Each verb is one transaction.
///
/// # Errors
/// Every verb fails with [`super::StoreError`]: `Unavailable`, when the database can't be reached
/// or written; `Corrupt`, when a stored value can't be read back.
#[async_trait]
pub trait AgentStore: Send + Sync {
    /// What was learned of an agent's holds, with or without a progress token.
    async fn hold_budget(&self, agent: &str, with_progress: bool) -> Result<HoldBudget>;

    /// The agent's client dropped a hold `after` that time; the event says when. Returns the new
    /// budget if one was learned from it; only then the event is recorded.
    async fn hold_dropped(
        &self,
        agent: &str,
        with_progress: bool,
        after: Duration,
        event: AuditEvent,
    ) -> Result<Option<Learned>>;

    /// A hold was answered: the count of drops in a row begins anew.
    async fn hold_answered(&self, agent: &str, with_progress: bool) -> Result<()>;

    /// Forgets what was learned of an agent, and records `event`; false if nothing was learned.
    async fn forget_hold_budget(&self, agent: &str, event: AuditEvent) -> Result<bool>;

    /// What an agent does now.
    async fn activity(&self, agent: &str) -> Result<Activity>;
}
