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
    /// Its open legacy sessions.
    pub sessions: i64,
    /// Its pending approvals.
    pub pending: i64,
    /// Its approved ones that nobody claimed yet.
    pub approved: i64,
    /// What its client last called itself.
    pub client: Option<String>,
    /// When a session of it was last used, or it last asked for an approval.
    pub seen_at: Option<Timestamp>,
}

/// The verbs about agents. As everywhere, one verb is one transaction.
#[async_trait]
pub trait AgentStore: Send + Sync {
    /// What was learned of an agent's holds, with or without a progress token.
    async fn hold_budget(&self, agent: &str, with_progress: bool) -> Result<HoldBudget>;

    /// The agent's client dropped a hold after that long, at the time of the event. Some if that
    /// taught a new budget; then the event is recorded with it.
    async fn hold_dropped(
        &self,
        agent: &str,
        with_progress: bool,
        after: Duration,
        event: AuditEvent,
    ) -> Result<Option<Learned>>;

    /// A hold was answered: the row of drops is broken.
    async fn hold_answered(&self, agent: &str, with_progress: bool) -> Result<()>;

    /// Forgets what was learned of an agent, with its record; false if nothing was.
    async fn forget_hold_budget(&self, agent: &str, event: AuditEvent) -> Result<bool>;

    /// What an agent does now.
    async fn activity(&self, agent: &str) -> Result<Activity>;
}
