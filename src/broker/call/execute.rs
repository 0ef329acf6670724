//! Sending a call upstream: only with a permit, and an approved one at most once.
//!
//! An execution runs on the task tracker, not in the request's own future: a client that leaves
//! does not abort it, and its outcome is stored before anybody is told.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::domain::approval::{Approval, ApprovalId, Outcome, Refusal, State};
use crate::domain::call::{Method, ToolCall, params_without_task};
use crate::domain::task::{Form, Remote};
use crate::store::StoreError;
use crate::upstream::{Caller, Gate, Notifications, Reply, Request, ServerMessage, UpstreamError};

use super::permit::Permit;
use super::remote::{Followed, with_tasks};
use super::seal;
use super::send_mark::{Claimed, SendMark};
use crate::broker::Broker;

mod outcome;

/// Progress messages that wait for a slow client; more are dropped.
const PROGRESS_CAPACITY: usize = 64;
/// Longest pause between two tries to store an outcome, as an exponent: 2^6 times 100 ms, 6.4 s.
const MAX_STORE_BACKOFF: u32 = 6;

/// What a request wants to hear while its call runs.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// It sent a progress token:
    /// <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/progress#progress-flow>.
    pub progress: bool,
    /// The lowest level of log messages it asks for (modern era), raw JSON:
    /// <https://modelcontextprotocol.io/specification/2026-07-28/server/utilities/logging#per-request-log-level>.
    pub log_level: Option<String>,
    /// The form in which it follows a task, where the upstream answers with one.
    pub tasks: Option<Form>,
}

/// An approved call that is being executed.
#[derive(Debug)]
pub struct Execution {
    /// What the upstream says while it runs.
    pub notifications: mpsc::Receiver<ServerMessage>,
    /// What became of it.
    pub done: oneshot::Receiver<Done>,
}

impl Execution {
    /// An execution that never began.
    fn not_sent(why: String) -> Self {
        let (tell, done) = oneshot::channel();
        // The receiver is at hand.
        let _ = tell.send(Done::NotSent(why));
        Self { notifications: mpsc::channel(1).1, done }
    }
}

/// How a call is sent.
#[derive(Debug, Default)]
struct How {
    cancel: CancellationToken,
    overdue: Option<CancellationToken>,
    /// What an approved call must pass directly before its first byte.
    gate: Option<Arc<dyn Gate>>,
}

/// Where an execution reports its end.
struct End {
    tell: oneshot::Sender<Done>,
    /// Id of the held request that it answers: its row goes with the outcome.
    hold: Option<String>,
}

/// The stored outcome of an execution.
#[derive(Debug)]
pub struct Recorded {
    /// The approval with it.
    pub approval: Box<Approval>,
    /// Whether other requests were attached then.
    pub shared: bool,
    /// Whether the held request it answers was detached with it.
    pub detached: bool,
}

/// What became of an execution.
#[derive(Debug)]
pub enum Done {
    /// The outcome is stored.
    Recorded(Recorded),
    /// The call was certainly not sent, for this reason: it is approved still.
    NotSent(String),
}

impl Broker {
    /// Sends a permitted call and waits for its answer.
    ///
    /// # Errors
    /// [`UpstreamError`], when the upstream is not configured, was surely not sent the call, or the
    /// answer is lost.
    pub async fn dispatch(
        &self,
        mut permit: Permit,
        caller: &Caller,
        wishes: &Wishes,
        notifications: Option<Notifications>,
        cancel: CancellationToken,
    ) -> Result<Reply, UpstreamError> {
        if let Some(counted) = permit.counted.take() {
            let (call, reservation) = (permit.call.clone(), counted.begin());
            // A seal proves the further rounds of what was approved.
            let is_sealed = permit.continues.is_some();
            let sent = self.dispatch(permit, caller, wishes, notifications, cancel);
            let reply = Box::pin(sent).await;
            let round_of = (!is_sealed).then_some(caller.agent.as_str());
            self.counted_by_outcome(round_of, &call, reservation, &reply).await;
            return reply;
        }
        let sealing = permit.continues.clone().map(|continues| (continues, permit.call.clone()));
        let how = How { cancel, ..How::default() };
        let reply = self.send(permit, caller, wishes, notifications, how).await?;
        Ok(match (sealing, reply) {
            // Another round of an approved call: its state must prove that again.
            (Some((continues, call)), Reply::Result(raw)) => {
                Reply::Result(seal::seal(self, &continues, &caller.agent, &call.digest, &raw))
            }
            (_, reply) => reply,
        })
    }

    async fn send(
        &self,
        permit: Permit,
        caller: &Caller,
        wishes: &Wishes,
        notifications: Option<Notifications>,
        how: How,
    ) -> Result<Reply, UpstreamError> {
        let Some(upstream) = self.upstream(&permit.call.upstream) else {
            return Err(UpstreamError::NotSent("the upstream is not configured".to_owned()));
        };
        let params = self.outgoing(&permit.call, caller, wishes.tasks).await;
        let tool =
            (permit.call.method == Method::CallTool).then(|| permit.call.tool.as_str().into());
        let request = Request {
            params: Some(params),
            tool,
            progress: wishes.progress,
            log_level: wishes.log_level.clone(),
            once: permit.once,
            overdue: how.overdue,
            gate: how.gate,
            capabilities: wishes.tasks.map(|_| with_tasks(&self.offered(caller, &permit.call))),
            ..Request::new(permit.call.method.as_str(), None)
        };
        upstream.request(caller, request, notifications, how.cancel).await
    }

    /// Sends a claimed call. Where its server answers with a task, that is followed to its end.
    async fn send_claimed(
        &self,
        claimed: &Approval,
        permit: Permit,
        caller: &Caller,
        wishes: &Wishes,
        progress: Notifications,
        how: How,
    ) -> Result<Reply, UpstreamError> {
        // Whoever waits as a task may be given the time that a task of the server takes.
        let form = if params_without_task(&claimed.call.params).is_some() {
            Form::Core
        } else {
            Form::Extension
        };
        let wishes = Wishes { tasks: claimed.followed.then_some(form), ..wishes.clone() };
        let (stop, gate) = (how.cancel.clone(), how.gate.clone());
        let reply = self.send(permit, caller, &wishes, Some(progress), how).await?;
        let Reply::Result(raw) = &reply else { return Ok(reply) };
        match (Remote::created(raw), Followed::new(self, caller, claimed, raw, gate)) {
            (Some(task), Some(followed)) => followed.to_its_end(task, &stop).await,
            _ => Ok(reply),
        }
    }

    /// Claims an approved call and executes it. None if it can't be claimed any more: somebody else
    /// did, its time is over, or the policy no longer permits it (then it is cancelled). After that
    /// the caller reads the approval again.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn execute(
        &self,
        id: &ApprovalId,
        caller: &Caller,
        wishes: &Wishes,
    ) -> Result<Option<Execution>, StoreError> {
        match self.get(id).await? {
            Some(approval) => self.execute_known(&approval, caller, wishes, None).await,
            None => Ok(None),
        }
    }

    /// The same for an approval that was read just now: if it changed since, the claim fails. The
    /// row of that held request goes with the outcome, which answers it.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub(super) async fn execute_known(
        &self,
        approval: &Approval,
        caller: &Caller,
        wishes: &Wishes,
        hold: Option<String>,
    ) -> Result<Option<Execution>, StoreError> {
        let id = &approval.id;
        if approval.state != State::Approved {
            return Ok(None);
        }
        // Whether the tool is still the one that was approved can't be said without the list, nor
        // by an old one: not every server says that its list changed.
        if approval.call.method == Method::CallTool
            && let Err(error) = self.list_tools(&approval.call.upstream).await
        {
            tracing::warn!(approval.id = %id, "approval {id} can't be executed yet: {error}");
            return Ok(Some(Execution::not_sent(error)));
        }
        let config = self.confirmed().await?;
        if let Some(reason) = self.obstacle(approval, &config) {
            let cancelled = approval.clone().cancel("policy", &reason, self.now());
            return self.settle_transition(cancelled).await;
        }
        // Without it others would take the claim back at once.
        if !self.has_lease() {
            self.renew_lease().await?;
        }
        let Ok(claim) = approval.clone().claim(self.node(), self.now()) else { return Ok(None) };
        // Known before it stands, so that a claim that stands unknown is nobody's.
        let executing = self.inner.executing.begin(id);
        let changes = self.changes_since(id, approval.version);
        let began = self.uptime();
        let claimed = match self.apply(claim).await {
            Ok(claimed) => claimed,
            Err(StoreError::Conflict(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(permit) = Permit::claimed(&claimed) else {
            // The bytes changed between the check above and the claim: nothing was sent.
            tracing::error!(approval.id = %claimed.id, "stored call differs from its digest");
            return self
                .settle_transition(claimed.release("the stored call is damaged", self.now()))
                .await;
        };
        let (progress, notifications) = mpsc::channel(PROGRESS_CAPACITY);
        let (tell, done) = oneshot::channel();
        let (broker, caller, wishes) = (self.clone(), caller.clone(), wishes.clone());
        self.tracker().spawn(async move {
            let end = End { tell, hold };
            let claimed = Claimed { approval: claimed, began, changes };
            broker.run_claimed(claimed, permit, &caller, &wishes, progress, end).await;
            drop(executing);
        });
        Ok(Some(Execution { notifications, done }))
    }

    /// Whether the tools that a call is one of can be listed within a heartbeat, or are known not to
    /// be listed at all; not while the server is busy with something else.
    pub(in crate::broker) async fn lists_in_time(&self, call: &ToolCall) -> bool {
        let Some(server) = self.upstream(&call.upstream) else { return true };
        let limits = &self.config().approvals;
        call.method != Method::CallTool
            || tokio::time::timeout(limits.heartbeat, server.tools_within(limits.tool_list_age))
                .await
                .is_ok()
    }

    /// Has the tools of an upstream listed, where that was not done just now.
    ///
    /// # Errors
    /// Why they can't be listed.
    pub(in crate::broker) async fn list_tools(&self, upstream: &str) -> Result<(), String> {
        let Some(server) = self.upstream(upstream) else { return Ok(()) };
        let limits = &self.config().approvals;
        // Whoever holds the call must hear a sign of life.
        let listed = server.tools_within(limits.tool_list_age);
        match tokio::time::timeout(limits.heartbeat, listed).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("its tools were not listed in time".to_owned()),
        }
    }

    async fn settle_transition(
        &self,
        transition: Result<crate::domain::approval::Transition, Refusal>,
    ) -> Result<Option<Execution>, StoreError> {
        if let Ok(transition) = transition {
            match self.apply(transition).await {
                Ok(_) | Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Sends the call, stores its outcome, and tells the holder. If nobody waits any more, the
    /// stored outcome stays owed.
    async fn run_claimed(
        &self,
        Claimed { approval: claimed, began, changes }: Claimed,
        permit: Permit,
        caller: &Caller,
        wishes: &Wishes,
        progress: Notifications,
        end: End,
    ) {
        let id = claimed.id.clone();
        tracing::info!(approval.id = %id, "approval {id} is being executed");
        let (cancel, overdue) = (CancellationToken::new(), CancellationToken::new());
        let how = How {
            cancel: cancel.clone(),
            overdue: Some(overdue.clone()),
            gate: Some(SendMark::gate(self, &claimed, began)),
        };
        let call = claimed.clone();
        let sending = self.send_claimed(&call, permit, caller, wishes, progress, how);
        // A panic in the execution must not leave the approval running for ever.
        let mut sending = std::pin::pin!(AssertUnwindSafe(sending).catch_unwind());
        // An answer after that still counts.
        let stopping = async {
            self.stop_wanted(changes).await;
            cancel.cancel();
            std::future::pending::<std::convert::Infallible>().await
        };
        let sent = tokio::select! {
            biased;
            sent = &mut sending => sent.unwrap_or_else(|_| {
                Err(UpstreamError::Lost("the broker failed while it ran".to_owned()))
            }),
            () = overdue.cancelled() => {
                Err(UpstreamError::Lost("no answer within the upstream's timeout".to_owned()))
            }
            () = self.inner.stop.hard.cancelled() => {
                Err(UpstreamError::Lost("the broker was stopped while it ran".to_owned()))
            }
            never = stopping => match never {},
        };
        let concluded = Box::pin(self.conclude(claimed.clone(), sent, end.hold.as_deref()));
        let Some(done) = concluded.await else {
            // Nothing was sent, and others have the claim now: the store tells how it goes on.
            return;
        };
        if matches!(done, Done::NotSent(_))
            && cancel.is_cancelled()
            && let Err(error) = self.withdraw(&id, &claimed.agent).await
        {
            tracing::warn!(approval.id = %id, %error, "approval {id} was not withdrawn");
        }
        let _ = end.tell.send(done);
        if overdue.is_cancelled() {
            // Given up, and yet the answer may come: then it is the truth.
            tokio::select! {
                sent = &mut sending => if let Ok(Ok(reply)) = sent {
                    tracing::warn!(approval.id = %id, "the answer to approval {id} came late");
                    Box::pin(self.conclude(claimed, Ok(reply), None)).await;
                },
                () = self.inner.stop.soft.cancelled() => {}
            }
        }
    }
}

/// The pause before what the store did not take is stored again.
pub(in crate::broker) fn store_backoff(attempt: u32) -> Duration {
    Duration::from_millis(100 << attempt.min(MAX_STORE_BACKOFF))
}

/// The part of an outcome that is stored: beyond `max` bytes only whether it failed.
pub(in crate::broker) fn keep(outcome: Outcome, max: usize) -> Outcome {
    let size = match &outcome {
        Outcome::Result(raw) | Outcome::Error(raw) => raw.len(),
        Outcome::NotKept { .. } => 0,
    };
    if size <= max { outcome } else { Outcome::NotKept { is_error: outcome.is_error() } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_above_max_outcome_are_not_kept_but_say_whether_they_failed() {
        let result = Outcome::Result(r#"{"content":[],"isError":true}"#.to_owned());

        assert_eq!(keep(result.clone(), 1_000), result);
        assert_eq!(keep(result, 10), Outcome::NotKept { is_error: true });
    }
}
