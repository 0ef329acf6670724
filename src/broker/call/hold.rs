//! One held request: it waits for its approval to be decided, executes the call or is answered
//! with the hand-over, and is detached whatever happens.
//!
//! Every wake-up is only a hint: the hold listens first, reads the store, then waits; a poll finds
//! what no hint told.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Agent;
use crate::domain::approval::{Approval, State};
use crate::domain::call::Method;
use crate::domain::time::Timestamp;
use crate::upstream::{Caller, ClientCapabilities};

use super::answer::{Answer, Delivery, Statement, ended, pending, pending_unread};
use super::asking::Asking;
use super::attached::HoldGuard;
use super::beats::{Shown, beat};
use super::changes::{Changes, POLL};
use super::claiming::{Claiming, Event, Work};
use super::execute::{Done, Wishes};
use super::hold_budget::own_hold;
use super::refusals::{not_begun, unavailable_upstream, unreadable};
use super::result_delivery::OwedResult;
use super::send_mark::is_not_marked;
use super::wait_tool::WAIT_TOOL;
use crate::broker::Broker;

pub use super::beats::Beat;

/// How long a last look at the store may take, when the request is to be answered whatever it says.
pub(super) const LAST_LOOK: Duration = Duration::from_millis(500);

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
    /// Whether the approval was read when it was last looked at.
    is_read: bool,
    /// What its signs of life say.
    shown: Arc<Mutex<Shown>>,
}

impl Held {
    pub(in crate::broker) fn new(
        broker: Broker,
        asking: Asking,
        approval: Approval,
        hold: HoldGuard,
    ) -> Self {
        let changes = broker.changes_of(&approval.id);
        let shown = Arc::new(Mutex::new(Shown::of(&approval)));
        Self {
            broker,
            asking,
            approval,
            changes,
            hold,
            shared: false,
            for_task: false,
            learns: None,
            is_read: true,
            shown,
        }
    }

    /// A request that waits for the end of a task.
    pub(in crate::broker) fn for_task(
        broker: Broker,
        agent: Arc<Agent>,
        session: Option<String>,
        approval: Approval,
        hold: HoldGuard,
    ) -> Self {
        let client = approval.client.clone();
        let (features, call) = (ClientCapabilities::default(), approval.call.clone());
        let asking =
            Asking { agent, client, session, session_began: None, features, call, waits_for: None };
        Self { for_task: true, ..Self::new(broker, asking, approval, hold) }
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
        self.learns = (own.is_none() && self.hold.is_attached()).then_some(with_progress);
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

    /// Waits until the approval ends, the budget is over, or the client is gone. Signs of life go on
    /// whatever the store does.
    pub async fn run(self, terms: Terms) -> Ended {
        let beating = beat(
            self.broker.clone(),
            Arc::clone(&self.shown),
            terms.heartbeat,
            terms.beats.clone(),
        );
        tokio::select! {
            biased;
            ended = self.wait(terms) => ended,
            never = beating => match never {},
        }
    }

    async fn wait(mut self, terms: Terms) -> Ended {
        // Beyond the agent's held requests: stored or joined, and handed over at once.
        let budget = if self.hold.is_attached() { terms.budget } else { Duration::ZERO };
        let end = Instant::now() + budget;
        let began = self.broker.now();
        let mut work = Work::default();
        let mut told_decided = false;
        let soft = self.broker.inner.stop.soft.clone();
        loop {
            if terms.gone.is_cancelled() {
                return self.left(began).await;
            }
            // An execution of this request tells its own end: the store may hold less of it than
            // was answered.
            let step = if work.is_under_way() {
                Step::Wait
            } else {
                tokio::select! {
                    biased;
                    step = self.look(work.executed_here) => step,
                    () = enough_looked(&terms, &soft, end) => Step::Unread,
                }
            };
            // Without a lease it counts as dead to the others: as if it stopped, nothing is begun.
            let ending = self.broker.stopping();
            let stopping = ending || !self.broker.has_lease();
            // What expired meanwhile is answered so, never handed over.
            let over = Instant::now() >= end || terms.enough.is_cancelled();
            if self.approval.state != State::Pending && !told_decided {
                told_decided = true;
                let _ = terms.beats.try_send(Beat::Decided);
            }
            match step {
                Step::Answer(ended) => return *ended,
                // Nothing new is begun while stopping: it could only be cut off.
                Step::Execute if !stopping && Instant::now() >= work.not_before => {
                    work.claiming = Some(self.claim(&terms));
                    if over {
                        // It was decided in time; whether it runs is known in a moment.
                        let _ = tokio::time::timeout(LAST_LOOK, work.claimed()).await;
                    }
                }
                // The end of the budget, or of the program, came while the store did not answer.
                Step::Unread => {
                    if terms.gone.is_cancelled() {
                        continue;
                    }
                    return self.hand_over().await;
                }
                Step::Execute | Step::Wait => {}
            }
            if work.execution.is_some() && self.approval.state == State::Approved {
                self.stands(Approval { state: State::Running, ..self.approval.clone() });
            }
            let waits =
                if work.execution.is_some() { Instant::now() < end } else { !over && !stopping };
            if !waits {
                return self.hand_over_last(&mut work).await;
            }
            let wake = self.next_look(end);
            tokio::select! {
                biased;
                () = terms.gone.cancelled() => {}
                event = work.next() => match event {
                    Event::Claimed => {}
                    Event::Server(note) => {
                        let _ = terms.beats.try_send(Beat::Upstream(note));
                    }
                    Event::Done(Done::Recorded(after)) => {
                        self.shared =
                            work.execution.is_some_and(|e| e.shared.load(Ordering::Relaxed));
                        return self.answered(*after, work.executed_here).await;
                    }
                    Event::Done(Done::NotSent(why)) => return self.not_sent(&why).await,
                    Event::Vanished => work.execution = None,
                },
                () = soft.cancelled(), if !ending => {}
                () = terms.enough.cancelled(), if !terms.enough.is_cancelled() => {}
                () = self.changes.next(), if !work.is_under_way() => {}
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    /// The end of the budget: what was executed here may have ended just now. A process whose lease
    /// is over may have slept, and others have run the call since it read how it stands.
    async fn hand_over_last(&mut self, work: &mut Work) -> Ended {
        if work.execution.is_some() || !self.broker.has_lease() {
            let _ = tokio::time::timeout(LAST_LOOK, self.reload()).await;
        }
        self.hand_over().await
    }

    /// Claims and executes beside the hold, which goes on whatever the store and the server do. What
    /// is not claimed yet when the hold ends stays as it is.
    fn claim(&self, terms: &Terms) -> Claiming {
        let (broker, caller, wishes) = (self.broker.clone(), self.caller(), terms.wishes.clone());
        let (id, call) = (self.approval.id.clone(), self.approval.call.clone());
        let (gone, over) = (terms.gone.clone(), CancellationToken::new());
        let ended = over.clone();
        let task = self.broker.tracker().spawn(async move {
            // A server that is busy lists its tools when it is done; till then nothing is claimed.
            let listed = tokio::select! {
                listed = broker.lists_in_time(&call) => listed,
                () = ended.cancelled() => false,
            };
            if !listed || gone.is_cancelled() || ended.is_cancelled() || broker.stopping() {
                return Ok(None);
            }
            broker.execute(&id, &caller, &wishes).await
        });
        Claiming { task, _over: over.drop_guard() }
    }

    /// Reads the approval again, and finds what follows from it.
    async fn look(&mut self, executed_here: bool) -> Step {
        self.reload().await;
        self.step(executed_here).await
    }

    /// Reads the approval again; if the store can't be read, it stays as it was.
    async fn reload(&mut self) {
        let (broker, id) = (self.broker.clone(), self.approval.id.clone());
        self.is_read = false;
        // Of its own, since the hold may not wait for its end.
        match tokio::spawn(async move { broker.get(&id).await }).await {
            Ok(Ok(Some(now))) => {
                self.is_read = true;
                self.stands(now);
            }
            Ok(Ok(None)) => self.is_read = true,
            Ok(Err(error)) => tracing::warn!(%error, "a held approval could not be read"),
            Err(error) => tracing::error!(%error, "a held approval could not be read"),
        }
    }

    /// The approval stands so now.
    fn stands(&mut self, now: Approval) {
        self.shown.lock().expect("no holder of this lock panics").take_from(&now);
        self.approval = now;
    }

    async fn step(&mut self, executed_here: bool) -> Step {
        let now = self.broker.now();
        if self.approval.is_overdue(now)
            && let Ok(transition) = self.approval.clone().expire(now)
        {
            match self.broker.apply(transition).await {
                Ok(after) => self.stands(after),
                Err(crate::store::StoreError::Conflict(current)) => self.stands(*current),
                // At or after its expiry a hold answers expired, recorded or not.
                Err(error) if self.is_read => {
                    tracing::error!(%error, "an expiry could not be recorded");
                    self.stands(Approval { state: State::Expired, ..self.approval.clone() });
                }
                Err(error) => tracing::warn!(%error, "a held approval may have expired"),
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
                Step::Answer(Box::new(self.answered(approval, executed_here).await))
            }
        }
    }

    async fn answered(&mut self, approval: Approval, executed_here: bool) -> Ended {
        let now = self.broker.now();
        let shared = self.shared || !(executed_here || self.for_task);
        let delivery = Delivery { replayed: false, shared };
        let Some(answer) = ended(&approval, delivery, now) else {
            self.stands(approval);
            return self.hand_over().await;
        };
        let owed = self.broker.owed_result(&approval);
        self.end_answered().await;
        Ended::Answered { answer, owed }
    }

    /// The call was certainly not sent: it stays approved, and this request is answered so.
    async fn not_sent(&mut self, why: &str) -> Ended {
        self.end_answered().await;
        let said = if is_not_marked(why) {
            not_begun(&self.approval.call.title())
        } else {
            unavailable_upstream(&self.approval.call.upstream)
        };
        let statement = Statement {
            approval: Some(self.approval.id.to_string()),
            state: Some(State::Approved),
            rule: Some(self.approval.rule.clone()),
            ..said
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
        if !self.is_read && self.approval.is_overdue(self.broker.now()) {
            // Others may have decided it, and even run it: nothing is known of that.
            let answer = unreadable(&self.approval.id).into();
            return Ended::Answered { answer, owed: None };
        }
        let url = self.broker.config().link(&format!("/approvals/{}", self.approval.id));
        let now = self.broker.now();
        let mut answer = if self.is_read {
            pending(&self.approval, url, now)
        } else {
            pending_unread(&self.approval, url, now)
        };
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
        let attached = self.hold.is_attached();
        let left = self.hold.end().await;
        let withdraws = self.asking.agent.withdraw_on_disconnect
            && !self.for_task
            && !self.broker.stopping()
            && attached;
        if withdraws && left.is_none_or(|left| left == 0) {
            self.broker.withdraw_soon(&self.approval.id, &self.asking.agent.name).await;
        }
        if let Some(with_progress) = self.learns.take()
            && !self.broker.stopping()
            && !withdraws
        {
            // As it stood a moment ago is not good enough: decided is not dropped.
            self.reload().await;
            if self.approval.state == State::Pending {
                let after = began.until(self.broker.now());
                self.broker.hold_dropped(&self.asking.agent.name, with_progress, after).await;
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
}

enum Step {
    Answer(Box<Ended>),
    Execute,
    Wait,
    /// The store did not answer in time.
    Unread,
}

/// Resolves when a look at the store may take no longer: the client is gone; or the request is to be
/// answered and a last look had its time.
async fn enough_looked(terms: &Terms, soft: &CancellationToken, end: Instant) {
    let last = async {
        tokio::select! {
            () = soft.cancelled() => {}
            () = terms.enough.cancelled() => {}
            () = tokio::time::sleep_until(end) => {}
        }
        tokio::time::sleep(LAST_LOOK).await;
    };
    tokio::select! {
        () = terms.gone.cancelled() => {}
        () = last => {}
    }
}
