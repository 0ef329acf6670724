//! What is remembered of tasks, and of what is said to a call while it runs.

use async_trait::async_trait;

use crate::domain::approval::{ApprovalId, Outcome};
use crate::domain::task::{Form, Task, TaskId};
use crate::domain::time::Timestamp;

use super::error::Result;

/// A cancellation, as it took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Whether it was this very request that ended the task.
    pub now: bool,
    /// Requests and tasks that still wait for the approval.
    pub others: i64,
}

/// What is said to a running call, and what it asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// Since when its agent wants it stopped.
    pub stop_at: Option<Timestamp>,
    /// What the upstream asks, raw JSON of `inputRequests`.
    pub questions: Option<String>,
    /// What was answered and not yet passed on: raw JSON of `inputResponses`, one a line.
    pub answers: Option<String>,
}

/// The verbs about tasks. As everywhere, one verb is one transaction.
#[async_trait]
pub trait TaskStore: Send + Sync {
    /// Stores a task; false beyond `max` living ones of its agent.
    async fn insert(&self, task: &Task, max: u32) -> Result<bool>;

    /// A task of this agent at this upstream, or at any where it is empty, that has not expired.
    async fn find(
        &self,
        id: &TaskId,
        agent: &str,
        upstream: &str,
        now: Timestamp,
    ) -> Result<Option<Task>>;

    /// Its agent looks at it: it waits until then.
    async fn look(&self, id: &TaskId, waits_until: Timestamp, now: Timestamp) -> Result<()>;

    /// Living tasks of an agent at an upstream, or at any where it is empty, in one form, newest first, older than `before`.
    async fn list(
        &self,
        agent: &str,
        upstream: &str,
        form: Form,
        before: Option<(Timestamp, String)>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<Task>>;

    /// Ends a task by its agent's wish.
    async fn end(&self, id: &TaskId, now: Timestamp) -> Result<Ended>;

    /// Requests, and tasks besides this one, that wait for an approval.
    async fn others(&self, id: &TaskId, approval: &ApprovalId, now: Timestamp) -> Result<i64>;

    /// How many tasks, living or ended, follow an approval.
    async fn following(&self, approval: &ApprovalId) -> Result<i64>;

    /// Keeps the answer of a call that this process runs as a task.
    async fn answer(&self, id: &TaskId, answer: &Outcome, now: Timestamp) -> Result<()>;

    /// Approved calls that a task waits for, each with that task's session.
    async fn attended(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<(ApprovalId, Option<String>)>>;

    /// What is said to the running call of an approval.
    async fn run_of(&self, approval: &ApprovalId) -> Result<Run>;

    /// Its agent wants it stopped.
    async fn stop_run(&self, approval: &ApprovalId, now: Timestamp) -> Result<()>;

    /// The upstream asks this, or nothing any more.
    async fn ask(
        &self,
        approval: &ApprovalId,
        questions: Option<&str>,
        now: Timestamp,
    ) -> Result<()>;

    /// Keeps answers for whoever runs the call.
    async fn reply(&self, approval: &ApprovalId, answers: &str, now: Timestamp) -> Result<()>;

    /// Takes the answers that were kept, once.
    async fn take_replies(&self, approval: &ApprovalId, now: Timestamp) -> Result<Option<String>>;
}
