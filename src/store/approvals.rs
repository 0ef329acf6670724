//! Approvals, as they stand and as they change.

use async_trait::async_trait;

use super::error::Result;
use super::outbox::NewDelivery;
use super::submission::{Submit, Submitted};
use crate::domain::approval::{Approval, ApprovalId, State, Transition};
use crate::domain::audit::AuditEvent;
use crate::domain::call::Digest;
use crate::domain::time::Timestamp;

/// Which approvals to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// In any of these states; empty: in all.
    pub states: Vec<State>,
    /// Only those of this upstream.
    pub upstream: Option<String>,
    /// Only those of this tool.
    pub tool: Option<String>,
    /// Only those of this agent.
    pub agent: Option<String>,
    /// Only those that have all of these words (see [`crate::domain::search_words`]); not to be
    /// combined with `by_urgency` or `changed_since`.
    pub words: Vec<String>,
    /// Only those that this reviewer may see; none: all.
    pub visible_to: Option<String>,
    /// Of the indeterminate ones only those that nobody settled (used with `states`).
    pub unsettled: bool,
    /// Only those older than the approval of this id.
    pub before: Option<String>,
    /// Only those changed at or after this instant, the oldest change first (for the event stream).
    pub changed_since: Option<Timestamp>,
    /// The most urgent first, by severity and then by deadline, instead of the newest first. An
    /// approval without a severity counts as critical.
    pub by_urgency: bool,
    /// Of agents with many, only some; not to be combined with `words` or `changed_since`.
    pub fold: Option<Fold>,
    /// One that can't be read fails the list, which else leaves it out.
    pub whole: bool,
    /// How many rows to leave out at the beginning.
    pub offset: u32,
    /// Most rows to return.
    pub limit: u32,
}

/// How many approvals of one agent are listed, so that one that floods can't bury another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fold {
    /// An agent with more than so many…
    pub over: u32,
    /// … is listed with its first so many.
    pub shown: u32,
}

/// Figures of the queue.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QueueStats {
    /// Approvals per state.
    pub by_state: Vec<(String, i64)>,
    /// When the oldest pending approval was made.
    pub oldest_pending: Option<Timestamp>,
    /// Requests held by processes that are alive.
    pub held: i64,
}

/// That a claimed call is about to be sent.
#[derive(Debug, Clone)]
pub struct Mark {
    /// The claimed approval.
    pub id: ApprovalId,
    /// Its version as claimed: which claim it is.
    pub version: i64,
    /// The process that claimed it.
    pub node: String,
    /// Until when that process's lease is renewed, where it is alive and runs out before
    /// `lease_least`.
    pub lease_until: Timestamp,
    /// Until when its lease must last at least.
    pub lease_least: Timestamp,
}

/// What became of a [`Mark`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    /// It stands: from now on the call may have been sent.
    Sent,
    /// The claim still stands, but the process's lease is over.
    LeaseIsOver,
    /// The claim no longer stands.
    Taken,
}

/// The verbs about approvals. Each verb is one transaction.
///
/// # Errors
/// Every verb fails with [`super::StoreError`]: `Unavailable`, when the database can't be reached
/// or written; `Corrupt`, when a stored value can't be read back.
#[async_trait]
pub trait ApprovalStore: Send + Sync {
    /// Makes an approval, or joins the open one of the identical call, or finds the owed result of
    /// that call, or refuses. All in one transaction.
    async fn submit(&self, submit: Submit, now: Timestamp) -> Result<Submitted>;

    /// Stores a change with its audit events and messages, if the row is still what the change
    /// was computed from and its time conditions hold.
    ///
    /// # Errors
    /// [`super::StoreError::Conflict`] with the approval as it is now, when the row has changed or
    /// a time condition fails; and what every verb fails with.
    async fn apply(
        &self,
        transition: Transition,
        deliveries: Vec<NewDelivery>,
        now: Timestamp,
    ) -> Result<Approval>;

    /// The approval of that id, as it stands.
    async fn find(&self, id: &ApprovalId, now: Timestamp) -> Result<Option<Approval>>;

    /// The open approval of the identical call (pending, approved, running, or indeterminate and
    /// not settled); else the latest that ended after `owed_since` and whose result is still owed.
    async fn find_identical(
        &self,
        agent: &str,
        digest: &Digest,
        owed_since: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Approval>>;

    /// Agent and digest of every call whose approval is open (see
    /// [`ApprovalStore::find_identical`]) or whose result is owed, however long ago it ended.
    async fn open_calls(&self) -> Result<Vec<(String, Digest)>>;

    /// The approvals that `filter` lets through, in its order; without one the newest first. Those
    /// that can't be read are left out and named in the log, unless `filter.whole`.
    async fn list(&self, filter: &Filter, now: Timestamp) -> Result<Vec<Approval>>;

    /// How many approvals `filter` lets through, by agent, the most first; its order, fold, offset
    /// and limit don't count.
    async fn count_by_agent(&self, filter: &Filter) -> Result<Vec<(String, u64)>>;

    /// Marks the owed result of an approval as handed over, with the event that tells of it
    /// ([`Approval::end_told`]); false, and no event, if it was handed over before.
    async fn take_end(&self, id: &ApprovalId, told: AuditEvent) -> Result<bool>;

    /// Marks that a claimed call is about to be sent, if the claim stands and the process's lease is
    /// alive. May be repeated under one claim. Without a mark the call surely did not run.
    async fn mark_sent(&self, mark: &Mark, now: Timestamp) -> Result<Marked>;

    /// Figures of the queue.
    async fn stats(&self, now: Timestamp) -> Result<QueueStats>;
}
