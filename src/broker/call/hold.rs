//! One held request: it waits for its approval to be decided, executes the call or is answered
//! with the hand-over, and is detached whatever happens.
//!
//! Every wake-up is only a hint: the hold listens first, then looks, then waits. It looks at the row
//! that came with the hint, which was stored, or has it read with others' ([`super::reading`]); what no
//! hint told, one poll for all holds finds ([`super::poll`]). While nothing happens it waits for a
//! timer and for nothing else, and what it needs only then is not kept in its future.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Agent;
use crate::domain::approval::{Approval, State};
use crate::upstream::{Caller, ClientCapabilities};

use super::answer::Answer;
use super::asking::Asking;
use super::attached::HoldGuard;
use super::beats::{Shown, beat};
use super::changes::{Changes, POLL};
use super::claiming::{Claiming, Event, Work};
use super::execute::{Done, Recorded, Wishes};
use super::hold_budget::own_hold;
use super::result_delivery::OwedResult;
use crate::broker::Broker;

pub use super::beats::{Beat, Beats, BeatsHeard, beats};

mod ending;

/// How long a last look at the store may take, when the request is to be answered whatever it says.
pub(super) const LAST_LOOK: Duration = Duration::from_millis(500);
/// The least time between two looks at an approval whose time is over.
const AT_ONCE: Duration = Duration::from_millis(1);

/// How a request is held.
#[derive(Debug)]
pub struct Terms {
    /// How long it is held at most.
    pub budget: Duration,
    /// Time between signs of life.
    pub heartbeat: Duration,
    /// Where the signs of life go; they are dropped while it is full.
    pub beats: Beats,
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
    asking: Arc<Asking>,
    approval: Arc<Approval>,
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
    shown: Shown,
}

/// What a hold looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// The row, which is read.
    Row,
    /// What is known: it was stored so just now.
    Known,
    /// Nothing; something else happened.
    Nothing,
}

impl Held {
    pub(in crate::broker) fn new(
        broker: Broker,
        asking: Asking,
        approval: Approval,
        hold: HoldGuard,
    ) -> Self {
        let changes = broker.changes_since(&approval.id, approval.version);
        changes.expect(&approval);
        let approval = Arc::new(approval);
        changes.knows(&approval);
        let shown = Arc::new(Mutex::new(Arc::clone(&approval)));
        Self {
            broker,
            asking: Arc::new(asking),
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
    pub fn asking(&self) -> &Arc<Asking> {
        &self.asking
    }

    /// The approval it waits for.
    pub fn approval(&self) -> &Approval {
        &self.approval
    }

    /// Waits until the approval ends, the budget is over, or the client is gone. Signs of life go on
    /// whatever the store does.
    pub async fn run(self, terms: Terms) -> Ended {
        let (broker, shown) = (self.broker.clone(), Arc::clone(&self.shown));
        let beating = beat(&broker, shown, terms.heartbeat, &terms.beats);
        tokio::select! {
            biased;
            ended = self.wait(&terms) => ended,
            never = beating => match never {},
        }
    }

    async fn wait(mut self, terms: &Terms) -> Ended {
        // Beyond the agent's held requests: stored or joined, and handed over at once.
        let budget = if self.hold.is_attached() { terms.budget } else { Duration::ZERO };
        let end = Instant::now() + budget;
        let began = self.broker.now();
        let mut work = Work::default();
        let mut told_decided = false;
        let soft = self.broker.inner.stop.soft.clone();
        // What was just made is as it was made; if not, the poll says so in a moment.
        let is_new = self.approval.version <= 1 && self.approval.state == State::Pending;
        let mut look = if is_new && !budget.is_zero() { Look::Known } else { Look::Row };
        loop {
            if terms.gone.is_cancelled() {
                return Box::pin(self.left(began)).await;
            }
            // An execution of this request tells its own end: the store may hold less of it than
            // was answered.
            let step = if work.is_under_way() || look == Look::Nothing {
                Step::Wait
            } else {
                let looked = Box::pin(self.look(look, work.executed_here));
                tokio::select! {
                    biased;
                    step = looked => step,
                    () = Box::pin(enough_looked(terms, &soft, end)) => Step::Unread,
                }
            };
            look = Look::Nothing;
            // Without a lease it counts as dead to the others: as if it stopped, nothing is begun.
            let ending = self.broker.stopping();
            let stopping = ending || !self.broker.has_lease();
            // What expired meanwhile is answered so, never handed over.
            let over = Instant::now() >= end || terms.enough.is_cancelled();
            if self.approval.state != State::Pending && !told_decided {
                told_decided = true;
                terms.beats.tell(Beat::Decided);
            }
            match step {
                Step::Answer(ended) => return *ended,
                // Nothing new is begun while stopping: it could only be cut off.
                Step::Execute if !stopping && Instant::now() >= work.not_before => {
                    work.claiming = Some(self.claim(terms));
                    if over {
                        // It was decided in time; whether it runs is known in a moment.
                        let _ = tokio::time::timeout(LAST_LOOK, work.claimed()).await;
                        look = Look::Row;
                    }
                }
                // The end of the budget, or of the program, came while the store did not answer.
                Step::Unread => {
                    if terms.gone.is_cancelled() {
                        continue;
                    }
                    return Box::pin(self.hand_over()).await;
                }
                Step::Execute | Step::Wait => {}
            }
            if work.execution.is_some() && self.approval.state == State::Approved {
                let running = Approval { state: State::Running, ..(*self.approval).clone() };
                self.stands(running.into());
            }
            let waits =
                if work.execution.is_some() { Instant::now() < end } else { !over && !stopping };
            if !waits {
                return Box::pin(self.hand_over_last(&work)).await;
            }
            let wake = self.next_look(end, &work);
            tokio::select! {
                biased;
                () = terms.gone.cancelled() => {}
                event = work.next() => match event {
                    Event::Claimed => look = Look::Row,
                    Event::Server(note) => terms.beats.tell(Beat::Upstream(note)),
                    Event::Done(Done::Recorded(recorded)) => {
                        return Box::pin(self.recorded(recorded, work.executed_here)).await;
                    }
                    Event::Done(Done::NotSent(why)) => {
                        return Box::pin(self.not_sent(&why)).await;
                    }
                    Event::Vanished => {
                        work.execution = None;
                        look = Look::Row;
                    }
                },
                () = soft.cancelled(), if !ending => look = Look::Row,
                () = terms.enough.cancelled(), if !terms.enough.is_cancelled() => look = Look::Row,
                () = self.changes.next() => if !work.is_under_way() {
                    look = self.heard();
                },
                () = tokio::time::sleep_until(wake) => look = Look::Row,
            }
        }
    }

    /// What to look at after a hint.
    fn heard(&mut self) -> Look {
        match self.changes.newer(self.approval.version) {
            Some(now) => {
                self.is_read = true;
                self.stands(now);
                Look::Known
            }
            None => Look::Row,
        }
    }

    /// Claims and executes beside the hold, which goes on whatever the store and the server do. What
    /// is not claimed yet when the hold ends stays as it is.
    fn claim(&self, terms: &Terms) -> Claiming {
        let (broker, caller, wishes) = (self.broker.clone(), self.caller(), terms.wishes.clone());
        let (approval, hold) = (Arc::clone(&self.approval), self.hold.row());
        let (gone, over) = (terms.gone.clone(), CancellationToken::new());
        let ended = over.clone();
        let task = self.broker.tracker().spawn(async move {
            // A server that is busy lists its tools when it is done; till then nothing is claimed.
            let listed = tokio::select! {
                listed = broker.lists_in_time(&approval.call) => listed,
                () = ended.cancelled() => false,
            };
            if !listed || gone.is_cancelled() || ended.is_cancelled() || broker.stopping() {
                return Ok(None);
            }
            broker.execute_known(&approval, &caller, &wishes, hold).await
        });
        Claiming { task, _over: over.drop_guard() }
    }

    /// Looks at the approval, and finds what follows from it.
    async fn look(&mut self, look: Look, executed_here: bool) -> Step {
        if look == Look::Row {
            self.reload().await;
        }
        self.step(executed_here).await
    }

    /// Reads the approval again; if the store can't be read, it stays as it was.
    async fn reload(&mut self) {
        self.is_read = false;
        match self.broker.read_with_others(&self.approval.id).await {
            Ok(Some(now)) => {
                self.is_read = true;
                self.stands(now);
            }
            Ok(None) => self.is_read = true,
            Err(error) => tracing::warn!(%error, "a held approval could not be read"),
        }
    }

    /// The approval stands so now.
    fn stands(&mut self, now: Arc<Approval>) {
        self.changes.expect(&now);
        *self.shown.lock().expect("no holder of this lock panics") = Arc::clone(&now);
        self.approval = now;
    }

    async fn step(&mut self, executed_here: bool) -> Step {
        let now = self.broker.now();
        if self.approval.is_overdue(now)
            && let Ok(transition) = (*self.approval).clone().expire(now)
        {
            match self.broker.apply(transition).await {
                Ok(after) => self.stands(after.into()),
                Err(crate::store::StoreError::Conflict(current)) => self.stands((*current).into()),
                // At or after its expiry a hold answers expired, recorded or not.
                Err(error) if self.is_read => {
                    tracing::error!(%error, "an expiry could not be recorded");
                    let expired = Approval { state: State::Expired, ..(*self.approval).clone() };
                    self.stands(expired.into());
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
                let approval = Arc::clone(&self.approval);
                Step::Answer(Box::new(self.answered(&approval, executed_here).await))
            }
        }
    }

    /// When to look again if nothing wakes: the deadline, the end of the budget, or when a claim that
    /// failed is tried again.
    fn next_look(&self, end: Instant, work: &Work) -> Instant {
        let (now, at) = (self.broker.now(), Instant::now());
        let deadline = match self.approval.state {
            State::Pending => at + now.until(self.approval.expires_at),
            // Decided, and neither claimed here nor known to be elsewhere.
            State::Approved if !work.is_under_way() => work.not_before.max(at + POLL),
            _ => end,
        };
        // One that could not be read is looked at again soon, and one that is over not at once.
        let wake = if self.is_read { deadline.max(at + AT_ONCE) } else { at + POLL };
        wake.min(end)
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
