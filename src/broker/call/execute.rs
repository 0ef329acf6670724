//! Sending a call upstream: only with a permit, and an approved one at most once.
//!
//! An execution runs on the task tracker, not in the request's own future: a client that leaves
//! does not abort it, and its outcome is stored before anybody is told.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::domain::approval::{Approval, ApprovalId, Outcome, Refusal, State};
use crate::domain::call::{Method, ToolCall, params_without_task};
use crate::domain::task::{Form, Remote};
use crate::store::StoreError;
use crate::upstream::{Caller, Gate, Notifications, Reply, Request, ServerMessage, UpstreamError};

use super::permit::{Continues, Permit};
use super::remote::{Followed, with_tasks};
use super::seal;
use super::send_mark::{Claimed, SendMark};
use crate::broker::Broker;

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
    /// Whether several requests were attached when it ended; known once `done` is.
    pub shared: Arc<AtomicBool>,
}

impl Execution {
    /// An execution that never began.
    fn not_sent(why: String) -> Self {
        let (tell, done) = oneshot::channel();
        // The receiver is at hand.
        let _ = tell.send(Done::NotSent(why));
        Self { notifications: mpsc::channel(1).1, done, shared: Arc::default() }
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
    shared: Arc<AtomicBool>,
}

/// What became of an execution.
#[derive(Debug)]
pub enum Done {
    /// The outcome is stored, in this approval.
    Recorded(Box<Approval>),
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
        permit: Permit,
        caller: &Caller,
        wishes: &Wishes,
        notifications: Option<Notifications>,
        cancel: CancellationToken,
    ) -> Result<Reply, UpstreamError> {
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
        let request = Request {
            params: Some(params),
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
        let followed = self.store().tasks().following(&claimed.id).await.is_ok_and(|n| n > 0);
        let form = if params_without_task(&claimed.call.params).is_some() {
            Form::Core
        } else {
            Form::Extension
        };
        let wishes = Wishes { tasks: followed.then_some(form), ..wishes.clone() };
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
        let Some(approval) = self.get(id).await? else { return Ok(None) };
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
        if let Some(reason) = self.obstacle(&approval, &config) {
            return self.settle_transition(approval.cancel("policy", &reason, self.now())).await;
        }
        // Without it others would take the claim back at once.
        if !self.has_lease() {
            self.renew_lease().await?;
        }
        let Ok(claim) = approval.claim(self.node(), self.now()) else { return Ok(None) };
        // Known before it stands, so that a claim that stands unknown is nobody's.
        let executing = self.inner.executing.begin(id);
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
        let shared = Arc::new(AtomicBool::new(false));
        let others = Arc::clone(&shared);
        self.tracker().spawn(async move {
            let end = End { tell, shared: others };
            let claimed = Claimed { approval: claimed, began };
            broker.run_claimed(claimed, permit, &caller, &wishes, progress, end).await;
            drop(executing);
        });
        Ok(Some(Execution { notifications, done, shared }))
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
        Claimed { approval: claimed, began }: Claimed,
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
            self.stop_wanted(&id).await;
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
        // Before its end is stored: those who learn of it there detach.
        let (broker, of) = (self.clone(), id.clone());
        let verb = async move { broker.store().holds().attached(&of, broker.now()).await };
        let attached = self.asked_briefly(verb).await.unwrap_or(0);
        end.shared.store(attached > 1, Ordering::Relaxed);
        let Some(done) = self.conclude(claimed.clone(), sent).await else {
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
                    self.conclude(claimed, Ok(reply)).await;
                },
                () = self.inner.stop.soft.cancelled() => {}
            }
        }
    }

    /// Stores what became of a claimed call; none if it was not sent and the claim was taken away.
    async fn conclude(
        &self,
        claimed: Approval,
        sent: Result<Reply, UpstreamError>,
    ) -> Option<Done> {
        Some(match sent {
            Ok(reply) => {
                let outcome = match reply {
                    Reply::Result(raw) => Outcome::Result(seal::seal(
                        self,
                        &Continues { approval: claimed.id.to_string(), grant: None },
                        &claimed.agent,
                        claimed.digest(),
                        &raw,
                    )),
                    Reply::Error(raw) => Outcome::Error(raw),
                };
                let told = outcome.clone();
                let kept = keep(outcome, self.config().approvals.max_outcome);
                let after = self.record_outcome(claimed, kept).await;
                // Answered in full even where it is too large to keep.
                Done::Recorded(Box::new(Approval { outcome: Some(told), ..after }))
            }
            Err(UpstreamError::NotSent(why)) => {
                let id = &claimed.id;
                tracing::warn!(approval.id = %id, "approval {id} was not sent: {why}");
                let version = claimed.version;
                let release = |a: Approval| match a.version == version {
                    true => a.release(&why, self.now()),
                    false => Err(Refusal::WrongState(a.state)),
                };
                let after = self.record_end(claimed, release).await;
                match after.state {
                    // Given up meanwhile, as if this process were dead; people settle it.
                    State::Indeterminate => Done::Recorded(Box::new(after)),
                    State::Approved if after.version == version + 1 => Done::NotSent(why),
                    // The store could not be written to the last.
                    State::Running if after.version == version => Done::NotSent(why),
                    _ => return None,
                }
            }
            Err(UpstreamError::Lost(why)) => self.lost(claimed, &why).await,
            Err(UpstreamError::Cancelled) => self.lost(claimed, "it was cancelled").await,
        })
    }

    async fn lost(&self, claimed: Approval, why: &str) -> Done {
        tracing::error!(
            approval.id = %claimed.id,
            "nobody knows what became of approval {}: {why}", claimed.id
        );
        let version = claimed.version;
        let lose = |a: Approval| match a.version == version {
            true => a.lose(why, self.now()),
            false => Err(Refusal::WrongState(a.state)),
        };
        let after = self.record_end(claimed, lose).await;
        Done::Recorded(Box::new(after))
    }

    /// The upstream answered: stored, even when the execution was given up meanwhile.
    async fn record_outcome(&self, claimed: Approval, outcome: Outcome) -> Approval {
        self.record_end(claimed, |a: Approval| match a.state {
            State::Indeterminate => a.answer_late(outcome.clone(), self.now()),
            _ => a.complete(outcome.clone(), self.now()),
        })
        .await
    }

    /// Stores what became of an execution. While the store can't be written it tries again, since
    /// nothing else knows the outcome.
    async fn record_end(
        &self,
        mut current: Approval,
        compute: impl Fn(Approval) -> Result<crate::domain::approval::Transition, Refusal>,
    ) -> Approval {
        for attempt in 0_u32.. {
            let Ok(transition) = compute(current.clone()) else { return current };
            match self.apply(transition).await {
                Ok(after) => return after,
                Err(StoreError::Conflict(now)) => current = *now,
                Err(error) => {
                    tracing::error!(
                        approval.id = %current.id, %error,
                        "what became of approval {} could not be stored yet", current.id
                    );
                    tokio::select! {
                        () = tokio::time::sleep(store_backoff(attempt)) => {}
                        () = self.inner.stop.hard.cancelled() => return current,
                    }
                }
            }
        }
        current
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
