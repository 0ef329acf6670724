//! Approvals, as they stand and as they change.

use async_trait::async_trait;

use super::error::Result;
use super::outbox::NewDelivery;
use super::submission::{Submit, Submitted};
use crate::domain::approval::{Approval, ApprovalId, State, Transition};
use crate::domain::call::Digest;
use crate::domain::time::Timestamp;

/// Which approvals to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Any of these states; empty: all.
    pub states: Vec<State>,
    /// Of this upstream.
    pub upstream: Option<String>,
    /// Of this tool.
    pub tool: Option<String>,
    /// Of this agent.
    pub agent: Option<String>,
    /// That have all of these words (see [`crate::domain::search_words`]); not with `by_urgency` or
    /// `changed_since`.
    pub words: Vec<String>,
    /// Only those this reviewer may see; none: all.
    pub visible_to: Option<String>,
    /// Only indeterminate ones that nobody settled (with `states`).
    pub unsettled: bool,
    /// Older than this id.
    pub before: Option<String>,
    /// Changed at or after this instant (for events), oldest change first.
    pub changed_since: Option<Timestamp>,
    /// The most urgent first, by severity and then by deadline, instead of the newest. What was not
    /// classified counts as critical.
    pub by_urgency: bool,
    /// At most so many.
    pub limit: u32,
}

/// Figures of the queue.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QueueStats {
    /// Approvals per state.
    pub by_state: Vec<(String, i64)>,
    /// When the oldest pending one came.
    pub oldest_pending: Option<Timestamp>,
    /// Requests held by live nodes.
    pub held: i64,
}

/// The verbs about approvals. As everywhere, one verb is one transaction.
#[async_trait]
pub trait ApprovalStore: Send + Sync {
    /// Makes an approval, or joins the open one of the identical call, or finds the end that is
    /// owed to it, or refuses. One transaction.
    async fn submit(&self, submit: Submit, now: Timestamp) -> Result<Submitted>;

    /// Persists a change with its audit events and messages, if the row is still what the change
    /// was computed from and its time conditions hold.
    async fn apply(
        &self,
        transition: Transition,
        deliveries: Vec<NewDelivery>,
        now: Timestamp,
    ) -> Result<Approval>;

    /// One approval.
    async fn find(&self, id: &ApprovalId, now: Timestamp) -> Result<Option<Approval>>;

    /// The open one of the identical call: pending, approved, running or unsettled; else the
    /// latest end still owed since `owed_since`.
    async fn find_identical(
        &self,
        agent: &str,
        digest: &Digest,
        owed_since: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Approval>>;

    /// Approvals, newest first.
    async fn list(&self, filter: &Filter, now: Timestamp) -> Result<Vec<Approval>>;

    /// Marks an end as told; false if it was told before.
    async fn take_end(&self, id: &ApprovalId, now: Timestamp) -> Result<bool>;

    /// Figures of the queue.
    async fn stats(&self, now: Timestamp) -> Result<QueueStats>;
}
