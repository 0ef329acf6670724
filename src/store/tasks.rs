//! Tasks, and what passes between an agent and its running call: the wish to stop, input_requests,
//! answers.

use async_trait::async_trait;

use crate::domain::approval::{ApprovalId, Outcome};
use crate::domain::task::{Form, Task, TaskId};
use crate::domain::time::Timestamp;

use super::due::Unattended;
use super::error::Result;

/// The effect of ending a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Whether this very request ended the task.
    pub now: bool,
    /// How many other requests and tasks still wait for the approval.
    pub others: i64,
}

/// What the agent says to a running call, and what the call asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// When its agent first asked to stop it.
    pub stop_at: Option<Timestamp>,
    /// The upstream's open input_requests, raw JSON of `inputRequests`.
    pub input_requests: Option<String>,
    /// Answers not yet passed on: raw JSON of `inputResponses`, one for each line.
    pub answers: Option<String>,
}

/// The verbs about tasks. Each verb is one transaction.
///
/// # Errors
/// Every verb fails with [`super::StoreError`]: `Unavailable`, when the database can't be reached
/// or written; `Corrupt`, when a stored value can't be read back.
#[async_trait]
pub trait TaskStore: Send + Sync {
    /// Stores a task; false if its agent has `max` living ones already.
    async fn insert(&self, task: &Task, max: u32) -> Result<bool>;

    /// The task of that id, if it is this agent's, at this upstream (empty: at any), and not
    /// expired.
    async fn find(
        &self,
        id: &TaskId,
        agent: &str,
        upstream: &str,
        now: Timestamp,
    ) -> Result<Option<Task>>;

    /// Its agent looks at the task, which counts as waiting until `waits_until`.
    async fn look(&self, id: &TaskId, waits_until: Timestamp, now: Timestamp) -> Result<()>;

    /// Living tasks of an agent in one form, at an upstream (empty: at any), newest first; only
    /// those older than `before` (time and id of the last task of the page before).
    async fn list(
        &self,
        agent: &str,
        upstream: &str,
        form: Form,
        before: Option<(Timestamp, String)>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<Task>>;

    /// Ends a task because its agent wants that.
    async fn end(&self, id: &TaskId, now: Timestamp) -> Result<Ended>;

    /// How many requests, and tasks other than this one, wait for an approval.
    async fn others(&self, id: &TaskId, approval: &ApprovalId, now: Timestamp) -> Result<i64>;

    /// How many tasks, living or ended, follow an approval.
    async fn following(&self, approval: &ApprovalId) -> Result<i64>;

    /// Keeps the answer of a call that this process ran as a task.
    async fn answer(&self, id: &TaskId, answer: &Outcome, now: Timestamp) -> Result<()>;

    /// Tasks that follow a call which that process runs and has not answered, made before an
    /// instant.
    async fn unanswered(&self, node: &str, before: Timestamp) -> Result<Vec<TaskId>>;

    /// Notes that no process runs the call of a task any more: how it ended is not known.
    async fn abandon(&self, id: &TaskId, now: Timestamp) -> Result<()>;

    /// Approved calls that a task waits for, each with the id of that task's legacy session; of each
    /// upstream at most `limit`.
    async fn attended(&self, now: Timestamp, limit: u32) -> Result<Vec<Unattended>>;

    /// What was said to the running call of an approval, and what it asks.
    async fn run_of(&self, approval: &ApprovalId) -> Result<Run>;

    /// Notes that the agent wants the running call of an approval stopped.
    async fn stop_run(&self, approval: &ApprovalId, now: Timestamp) -> Result<()>;

    /// Stores what the upstream asks, raw JSON of `inputRequests`; none: it asks nothing any more.
    async fn ask(
        &self,
        approval: &ApprovalId,
        input_requests: Option<&str>,
        now: Timestamp,
    ) -> Result<()>;

    /// Keeps answers, raw JSON of `inputResponses`, for the process that runs the call.
    async fn reply(&self, approval: &ApprovalId, answers: &str, now: Timestamp) -> Result<()>;

    /// Takes the answers that were kept, one for each line; each is returned once.
    async fn take_replies(&self, approval: &ApprovalId, now: Timestamp) -> Result<Option<String>>;
}
