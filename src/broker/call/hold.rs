//! One held request: it waits for its approval to be decided, executes the call or is answered
//! with the hand-over, and is detached whatever happens.
//!
//! Every wake-up is only a hint: the hold listens first, reads the store, then waits; a poll finds
//! what no hint told.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Agent;
use crate::domain::approval::{Approval, State};
use crate::domain::call::Method;
use crate::domain::time::{Timestamp, in_words};
use crate::upstream::{Caller, ClientCapabilities, ServerMessage};

use super::answer::{Answer, Delivery, Statement, ended, pending};
use super::asking::Asking;
use super::changes::{Changes, POLL};
use super::execute::{Done, Execution, Wishes};
use super::hold_budget::own_hold;
use super::refusals::unavailable_upstream;
use super::result_delivery::OwedResult;
use super::wait_tool::WAIT_TOOL;
use crate::broker::Broker;

/// A sign of life while a request is held.
#[derive(Debug)]
pub enum Beat {
    /// Nothing happened; the text is a progress message for people.
    Alive(String),
    /// The approval is no longer pending.
    Decided,
    /// The upstream said, or asks, something about the running call.
    Upstream(ServerMessage),
}

/// How a request is held.
#[derive(Debug)]
pub struct Terms {
    /// How long it is held at most.
    pub budget: Duration,
    /// Time between signs of life.
    pub heartbeat: Duration,
    /// Where the signs of life go; they are dropped while it is full.
    pub beats: mpsc::Sender<Beat>,
    /// Cancelled when the client is gone or has cancelled the request, after
    /// <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/cancellation#cancellation-flow>.
    pub gone: CancellationToken,
    /// Cancelled when the client does not want to wait any longer: an undecided call is handed
    /// over.
    pub enough: CancellationToken,
    /// What the request wants to hear of the running call.
    pub wishes: Wishes,
}

/// How a hold ended.
#[derive(Debug)]
pub enum Ended {
    /// With an answer.
    Answered {
        /// The answer.
        answer: Answer,
        /// Present where this answer is the one hand-over of the owed result.
        owed: Option<OwedResult>,
    },
    /// The client is gone; nothing more is sent.
    Gone,
}

/// A request attached to an approval.
#[derive(Debug)]
pub struct Held {
    broker: Broker,
    asking: Asking,
    approval: Approval,
    changes: Changes,
    hold: HoldGuard,
    /// Whether others were attached to what this request executed.
    shared: bool,
    /// Whether it waits for the end of a task: the call is the task's, and outlives the request.
    for_task: bool,
    /// Whether the request has a progress token, where drops of its kind teach something.
    learns: Option<bool>,
}

impl Held {
    pub(in crate::broker) fn new(
        broker: Broker,
        asking: Asking,
        approval: Approval,
        hold: String,
        held: bool,
    ) -> Self {
        let changes = broker.changes_of(&approval.id);
        let hold = HoldGuard { broker: broker.clone(), id: held.then_some(hold) };
        Self {
            broker,
            asking,
            approval,
            changes,
            hold,
            shared: false,
            for_task: false,
            learns: None,
        }
    }

    /// A request that waits for the end of a task.
    pub(in crate::broker) fn for_task(
        broker: Broker,
        agent: Agent,
        session: Option<String>,
        approval: Approval,
        hold: String,
    ) -> Self {
        let client = approval.client.clone();
        let (features, call) = (ClientCapabilities::default(), approval.call.clone());
        let asking =
            Asking { agent, client, session, session_began: None, features, call, waits_for: None };
        Self { for_task: true, ..Self::new(broker, asking, approval, hold, true) }
    }

    /// The legacy session the request came in.
    pub(in crate::broker) fn session(&self) -> Option<&str> {
        self.asking.session.as_deref()
    }

    /// Lets the request go without an answer; what it waited for stands as it is.
    pub async fn let_go(mut self) {
        self.hold.end().await;
    }

    /// Learns from how it ends, unless the agent's own key says how long to hold.
    #[must_use]
    pub fn learning(mut self, with_progress: bool) -> Self {
        let own = own_hold(&self.asking.agent, with_progress);
        self.learns = (own.is_none() && self.hold.id.is_some()).then_some(with_progress);
        self
    }

    /// Who asked for what.
    pub fn asking(&self) -> &Asking {
        &self.asking
    }

    /// The approval it waits for.
    pub fn approval(&self) -> &Approval {
        &self.approval
    }

    /// Waits until the approval ends, the budget is over, or the client is gone.
    pub async fn run(mut self, terms: Terms) -> Ended {
        // Beyond the agent's held requests: stored or joined, and handed over at once.
        let budget = if self.hold.id.is_some() { terms.budget } else { Duration::ZERO };
        let end = Instant::now() + budget;
        let began = self.broker.now();
        let mut beat = tokio::time::interval_at(Instant::now() + terms.heartbeat, terms.heartbeat);
        let mut execution: Option<Execution> = None;
        let mut executed_here = false;
        let mut told_decided = false;
        let soft = self.broker.inner.stop.soft.clone();
        loop {
            if terms.gone.is_cancelled() {
                return self.left(began).await;
            }
            let stopping = self.broker.stopping();
            // Looked at before the store, so that what expires meanwhile is never handed over.
            let over =
                Instant::now() >= end || (execution.is_none() && terms.enough.is_cancelled());
            self.reload().await;
            if self.approval.state != State::Pending && !told_decided {
                told_decided = true;
                let _ = terms.beats.try_send(Beat::Decided);
            }
            // An execution of this request tells its own end: the store may hold less of it than
            // was answered.
            let step =
                if execution.is_some() { Step::Wait } else { self.step(executed_here).await };
            match step {
                Step::Answer(ended) => return ended,
                // Nothing new is begun while stopping: it could only be cut off.
                // A server that is busy lists its tools when it is done; till then nothing is claimed.
                Step::Execute
                    if !stopping && !self.broker.lists_in_time(&self.approval.call).await => {}
                Step::Execute if !stopping => {
                    let caller = self.caller();
                    let id = self.approval.id.clone();
                    match self.broker.execute(&id, &caller, &terms.wishes).await {
                        Ok(Some(started)) => {
                            execution = Some(started);
                            executed_here = true;
                            continue;
                        }
                        Ok(None) => continue,
                        Err(error) => {
                            tracing::error!(%error, "approval {id} could not be claimed");
                        }
                    }
                }
                Step::Execute | Step::Wait => {}
            }
            if over || (stopping && execution.is_none()) {
                return self.hand_over().await;
            }
            let wake = self.next_look(end);
            tokio::select! {
                biased;
                () = terms.gone.cancelled() => {}
                event = next_event(&mut execution) => match event {
                    Event::Server(note) => {
                        let _ = terms.beats.try_send(Beat::Upstream(note));
                    }
                    Event::Done(Done::Recorded(after)) => {
                        self.shared = execution.is_some_and(|e| e.shared.load(Ordering::Relaxed));
                        return self.answered(*after, executed_here).await;
                    }
                    Event::Done(Done::NotSent(_)) => return self.not_sent().await,
                    Event::Vanished => execution = None,
                },
                _ = beat.tick() => {
                    let _ = terms.beats.try_send(Beat::Alive(self.message()));
                }
                () = soft.cancelled(), if !stopping => {}
                () = terms.enough.cancelled(), if !terms.enough.is_cancelled() => {}
                () = self.changes.next() => {}
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    /// Reads the approval again; if the store can't be read, it stays as it was.
    async fn reload(&mut self) {
        match self.broker.get(&self.approval.id).await {
            Ok(Some(now)) => self.approval = now,
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "a held approval could not be read"),
        }
    }

    async fn step(&mut self, executed_here: bool) -> Step {
        let now = self.broker.now();
        if self.approval.is_overdue(now)
            && let Ok(transition) = self.approval.clone().expire(now)
        {
            match self.broker.apply(transition).await {
                Ok(after) => self.approval = after,
                Err(crate::store::StoreError::Conflict(current)) => self.approval = *current,
                // At or after its expiry a hold answers expired, recorded or not.
                Err(error) => {
                    tracing::error!(%error, "an expiry could not be recorded");
                    self.approval.state = State::Expired;
                }
            }
        }
        match self.approval.state {
            State::Pending | State::Running => Step::Wait,
            State::Approved => Step::Execute,
            State::Completed
            | State::Rejected
            | State::Expired
            | State::Cancelled
            | State::Indeterminate => {
                let approval = self.approval.clone();
                Step::Answer(self.answered(approval, executed_here).await)
            }
        }
    }

    async fn answered(&mut self, approval: Approval, executed_here: bool) -> Ended {
        let now = self.broker.now();
        let shared = self.shared || !(executed_here || self.for_task);
        let delivery = Delivery { replayed: false, shared };
        let Some(answer) = ended(&approval, delivery, now) else {
            self.approval = approval;
            return self.hand_over().await;
        };
        let owed = self.broker.owed_result(&approval);
        self.end_answered().await;
        Ended::Answered { answer, owed }
    }

    /// The call was certainly not sent: it stays approved, and this request is answered so.
    async fn not_sent(&mut self) -> Ended {
        self.end_answered().await;
        let statement = Statement {
            approval: Some(self.approval.id.to_string()),
            state: Some(State::Approved),
            rule: Some(self.approval.rule.clone()),
            ..unavailable_upstream(&self.approval.call.upstream)
        };
        Ended::Answered { answer: statement.into(), owed: None }
    }

    async fn hand_over(&mut self) -> Ended {
        if self.approval.state.is_end() {
            // Executed here, stored, and the word of it is on its way.
            let approval = self.approval.clone();
            return Box::pin(self.answered(approval, true)).await;
        }
        self.end_answered().await;
        let url = self.broker.config().link(&format!("/approvals/{}", self.approval.id));
        let mut answer = pending(&self.approval, url, self.broker.now());
        if self.approval.call.method == Method::CallTool
            && self.broker.offers_wait(&self.asking.agent, &self.approval.call.upstream)
        {
            answer.text.push_str(&format!(
                " If you can't repeat the arguments exactly, call {WAIT_TOOL} with \
                 {{\"approval\": \"{}\"}}: it waits as well.",
                self.approval.id
            ));
        }
        Ended::Answered { answer: answer.into(), owed: None }
    }

    /// Detached with an answer. One that a stopping broker gives says nothing of the client.
    async fn end_answered(&mut self) {
        self.hold.end().await;
        if let Some(with_progress) = self.learns.take()
            && !self.broker.stopping()
        {
            self.broker.hold_answered(&self.asking.agent.name, with_progress).await;
        }
    }

    /// The client is gone: the request is detached, and its approval withdrawn if its agent wants
    /// that.
    async fn left(&mut self, began: Timestamp) -> Ended {
        let attached = self.hold.id.is_some();
        let left = self.hold.end().await;
        if let Some(with_progress) = self.learns.take()
            && !self.broker.stopping()
        {
            // As it stood a moment ago is not good enough: decided is not dropped.
            self.reload().await;
            if self.approval.state == State::Pending {
                let after = began.until(self.broker.now());
                self.broker.hold_dropped(&self.asking.agent.name, with_progress, after).await;
            }
        }
        let withdraws = self.asking.agent.withdraw_on_disconnect
            && !self.for_task
            && !self.broker.stopping()
            && attached;
        if withdraws && left == Some(0) {
            let agent = &self.asking.agent.name;
            let id = self.approval.id.clone();
            let withdrawn = self
                .broker
                .change(&id, |a| match a.state {
                    State::Pending => {
                        a.cancel(agent, "withdrawn: the client went away", self.broker.now())
                    }
                    other => Err(crate::domain::approval::Refusal::NotCancellable(other)),
                })
                .await;
            if let Err(error) = withdrawn {
                tracing::debug!(%error, "approval {id} was not withdrawn");
            }
        }
        Ended::Gone
    }

    /// When to look again if nothing wakes: the poll, the deadline or the end of the budget.
    fn next_look(&self, end: Instant) -> Instant {
        let now = self.broker.now();
        let deadline = match self.approval.state {
            State::Pending => now.until(self.approval.expires_at),
            _ => POLL,
        };
        (Instant::now() + deadline.min(POLL).max(Duration::from_millis(1))).min(end)
    }

    fn caller(&self) -> Caller {
        Caller {
            agent: self.asking.agent.name.clone(),
            session: self.asking.session.clone(),
            features: self.asking.features.clone(),
        }
    }

    fn message(&self) -> String {
        let a = &self.approval;
        match a.state {
            State::Running => format!("Approved; {} is being executed ({})", a.call.title(), a.id),
            _ => format!(
                "Waiting for approval {} of {}; {} left",
                a.id,
                a.call.title(),
                in_words(self.broker.now().until(a.expires_at))
            ),
        }
    }
}

enum Step {
    Answer(Ended),
    Execute,
    Wait,
}

enum Event {
    Server(ServerMessage),
    Done(Done),
    /// The execution's task is gone without a word; the store knows.
    Vanished,
}

/// The next event. What the upstream said is passed on before how the call ended.
async fn next_event(execution: &mut Option<Execution>) -> Event {
    let Some(execution) = execution else { return std::future::pending().await };
    // The upstream may keep its end of the notifications open for longer than the call.
    tokio::select! {
        biased;
        Some(note) = execution.notifications.recv() => Event::Server(note),
        done = &mut execution.done => done.map_or(Event::Vanished, Event::Done),
    }
}

/// Detaches the request, whatever becomes of the future that holds it.
#[derive(Debug)]
struct HoldGuard {
    broker: Broker,
    id: Option<String>,
}

impl HoldGuard {
    /// Detaches now; returns how many requests are still attached.
    async fn end(&mut self) -> Option<i64> {
        let id = self.id.take()?;
        match self.broker.store().holds().detach(&id, self.broker.now()).await {
            Ok(left) => Some(left),
            Err(error) => {
                tracing::warn!(%error, "a held request could not be detached");
                None
            }
        }
    }
}

impl Drop for HoldGuard {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            let broker = self.broker.clone();
            self.broker.tracker().spawn(async move {
                if let Err(error) = broker.store().holds().detach(&id, broker.now()).await {
                    tracing::warn!(%error, "a held request could not be detached");
                }
            });
        }
    }
}
