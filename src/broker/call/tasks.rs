//! Tasks, calls that are followed by polling: made, looked at, awaited, ended. A task belongs to
//! the agent that made the call; to everybody else it does not exist, even if they know its id.
//!
//! A task that is looked at stands for a waiting request: what it follows runs at once when it is
//! approved. One that nobody looks at for three poll intervals waits, like any call whose agent
//! went away.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::config::Agent;
use crate::domain::approval::{Approval, ApprovalId, Outcome, Refusal, State};
use crate::domain::task::{Follows, Form, Status, Task, TaskId, lifetime};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::upstream::Reply;

use super::answer::{Answer, Code, Delivery, Statement, ended, pending};
use super::attached::HoldGuard;
use super::changes::POLL;
use super::execute::{Done, Wishes, keep, store_backoff};
use super::hold::Held;
use super::result_delivery::OwedResult;
use crate::broker::Broker;

mod view;

pub use view::View;

/// A task counts as waiting for so many poll intervals after a look.
const INTERVALS: u32 = 3;

/// Who asks for a task, and in which form.
#[derive(Debug, Clone)]
pub struct Owner {
    /// The agent.
    pub agent: Arc<Agent>,
    /// The upstream it asks at; empty: at all of its own.
    pub upstream: String,
    /// The form it asks in: core or extension.
    pub form: Form,
}

impl Owner {
    /// Whether the task is theirs; no longer so once the agent may not use its upstream any more.
    fn owns(&self, task: &Task) -> bool {
        let own = self.agent.upstreams.as_ref();
        task.form == self.form && own.is_none_or(|list| list.contains(&task.upstream))
    }
}

/// A task to be stored.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// Name of the agent.
    pub agent: String,
    /// Name of the upstream.
    pub upstream: String,
    /// Id of the legacy session; none in the modern era.
    pub session: Option<String>,
    /// The form in which it is followed: core or extension.
    pub form: Form,
    /// Name of the tool.
    pub tool: String,
    /// What it follows.
    pub follows: Follows,
    /// How long it is remembered.
    pub life: Duration,
}

/// Why a verb about a task failed.
#[derive(Debug, Error)]
pub enum TaskError {
    /// There is none, it expired, or it is somebody else's: the same to whoever asks.
    #[error("there is no such task")]
    Unknown,
    /// It has ended before, in this status.
    #[error("the task is {} already", .0.as_str())]
    Terminal(Status),
    /// Too many requests of the agent are held.
    #[error("too many requests are held: look at the task by tasks/get")]
    TooMany,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// # Errors
/// Verbs with a [`TaskError`] fail with `Unknown`, when there is no such task of theirs; with
/// `Store`; and `end_task` with `Terminal`, `await_task` with `TooMany`.
impl Broker {
    /// Makes a task of a call that is being held, and lets the request go. The error is the request,
    /// which must be held: the agent has too many tasks, or the store can't be written.
    pub async fn make_task(&self, held: Held, form: Form) -> Result<View, Box<Held>> {
        let now = self.now();
        let approval = held.approval().clone();
        let life = lifetime(&approval, self.config().approvals.result_retention, now);
        let new = NewTask {
            agent: approval.agent.clone(),
            upstream: approval.call.upstream.clone(),
            session: held.session().map(str::to_owned),
            form,
            tool: approval.call.tool.clone(),
            follows: Follows::Approval(approval.id.clone()),
            life,
        };
        let Some(task) = self.store_task(new).await else { return Err(Box::new(held)) };
        held.let_go().await;
        // A task begins as "working", whatever became of the call meanwhile.
        let mut view = self.view_of(task, Some(approval), None);
        view.status = Status::Working;
        Ok(view)
    }

    /// Stores a task; none where the agent has too many, or the store can't be written.
    pub async fn store_task(&self, new: NewTask) -> Option<Task> {
        let now = self.now();
        let task = Task {
            id: TaskId::new(&self.ids().random()),
            agent: new.agent,
            upstream: new.upstream,
            session: new.session,
            form: new.form,
            tool: new.tool,
            follows: new.follows,
            created_at: now,
            changed_at: now,
            waits_until: self.waits_until(now),
            expires_at: now.plus(new.life),
            cancelled_at: None,
        };
        let max = self.config().approvals.max_tasks_per_agent;
        match self.store().tasks().insert(&task, max).await {
            Ok(stored) => stored.then_some(task),
            Err(error) => {
                tracing::warn!(%error, "a task could not be stored; its call goes without");
                None
            }
        }
    }

    fn waits_until(&self, now: Timestamp) -> Timestamp {
        now.plus(self.config().approvals.task_poll_interval.saturating_mul(INTERVALS))
    }

    /// A task as it stands. It does not begin to count as waiting by that, and nothing runs.
    pub async fn peek_at_task(&self, owner: &Owner, id: &str) -> Result<View, TaskError> {
        let id = TaskId::parse(id).ok_or(TaskError::Unknown)?;
        let (agent, upstream) = (&owner.agent.name, &owner.upstream);
        let task = self.store().tasks().find(&id, agent, upstream, self.now()).await?;
        let task = task.filter(|t| owner.owns(t)).ok_or(TaskError::Unknown)?;
        self.view(task).await
    }

    /// Its agent looks at a task (`tasks/get`): it counts as waiting and runs if approved.
    pub async fn look_at_task(&self, owner: &Owner, id: &str) -> Result<View, TaskError> {
        let view = self.peek_at_task(owner, id).await?;
        if view.status.is_terminal() {
            return Ok(view);
        }
        let now = self.now();
        self.store().tasks().look(&view.task.id, self.waits_until(now), now).await?;
        let Some(approval) = &view.approval else { return Ok(view) };
        if approval.is_overdue(now)
            && let Ok(transition) = approval.clone().expire(now)
        {
            match self.apply(transition).await {
                Ok(_) | Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
            return self.view(view.task).await;
        }
        if approval.state == State::Approved && !self.stopping() {
            self.run_for_task(approval.id.clone(), view.task.session.clone());
        }
        Ok(view)
    }

    /// Claims and executes in the background, since even the beginning may take long.
    pub(crate) fn run_for_task(&self, id: ApprovalId, session: Option<String>) {
        let broker = self.clone();
        self.tracker().spawn(async move {
            let Ok(Some(approval)) = broker.get(&id).await else { return };
            let caller = broker.caller_without_request(&approval, session.as_deref()).await;
            match broker.execute(&id, &caller, &Wishes::default()).await {
                Ok(Some(execution)) => {
                    if let Ok(Done::NotSent(why)) = execution.done.await {
                        tracing::warn!(approval.id = %id, "approval {id} runs later: {why}");
                    }
                }
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "approval {id} could not be claimed"),
            }
        });
    }

    /// How a task ended; none while it has not.
    pub async fn end_of_task(&self, view: &View) -> Option<(Answer, Option<OwedResult>)> {
        if !view.status.is_terminal() {
            return None;
        }
        if let Follows::Call { answer, .. } = &view.task.follows {
            return Some((call_end(&view.task, answer.as_ref()), None));
        }
        let approval = view.approval.as_ref()?;
        if view.status == Status::Cancelled && !approval.state.is_end() {
            return Some((ended_alone(approval).into(), None));
        }
        let together = self.store().tasks().following(&approval.id).await.unwrap_or(1);
        let delivery = Delivery { replayed: false, shared: together > 1 };
        let answer = ended(approval, delivery, self.now())?;
        Some((answer, self.owed_result(approval)))
    }

    /// What is said of a task that waits, as of a call that was handed over.
    pub fn pending_task(&self, view: &View) -> Option<Statement> {
        let approval = view.approval.as_ref().filter(|a| !a.state.is_end())?;
        let url = self.config().link(&format!("/approvals/{}", approval.id));
        Some(pending(approval, url, self.now()))
    }

    /// A request that waits for the end of a task, attached like any other.
    pub async fn await_task(&self, owner: &Owner, view: &View) -> Result<Held, TaskError> {
        let approval = view.approval.clone().ok_or(TaskError::Unknown)?;
        let max = self.config().approvals.max_held_per_agent;
        let mut hold = self.new_hold(&owner.agent.name);
        // Who waits for the task is not somebody else who waits for the call.
        hold.id = format!("{}.{}", view.task.id, hold.id);
        let guard = HoldGuard::before(self, &hold);
        if !self.store().holds().attach(&approval.id, &hold, max, self.now()).await? {
            return Err(TaskError::TooMany);
        }
        let hold = guard.stored(&approval.id, true);
        self.hints().changed(&approval.id);
        let session = view.task.session.clone();
        Ok(Held::for_task(self.clone(), owner.agent.clone(), session, approval, hold))
    }

    /// Resolves once a task was ended by its agent, or is gone.
    pub async fn task_over(&self, owner: &Owner, task: &Task) {
        let mut changes = match &task.follows {
            Follows::Approval(id) => Some(self.changes_of(id)),
            _ => None,
        };
        loop {
            match self.peek_at_task(owner, task.id.as_str()).await {
                Ok(now) if now.status != Status::Cancelled => {}
                Err(TaskError::Store(_)) => {}
                _ => return,
            }
            match &mut changes {
                Some(changes) => changes.within(POLL).await,
                None => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// Keeps the answer of a call that this process ran as a task; tries again while the store can't
    /// be written, since nothing else knows the answer.
    pub async fn keep_answer(&self, task: &Task, answer: Outcome) {
        let kept = keep(answer, self.config().approvals.max_outcome);
        for attempt in 0.. {
            let Err(error) = self.store().tasks().answer(&task.id, &kept, self.now()).await else {
                return;
            };
            tracing::error!(%error, "the answer of a call that is followed as a task waits");
            tokio::select! {
                () = tokio::time::sleep(store_backoff(attempt)) => {}
                () = self.stop().hard.cancelled() => return,
            }
        }
    }

    /// Ends a task by its agent's wish, and with it the call, unless somebody else waits for that.
    /// What runs already is asked to stop; its outcome stays owed.
    pub async fn end_task(&self, owner: &Owner, id: &str) -> Result<View, TaskError> {
        let view = self.peek_at_task(owner, id).await?;
        if view.status.is_terminal() {
            return Err(TaskError::Terminal(view.status));
        }
        let task = &view.task.id;
        let Some(approval) = &view.approval else {
            self.store().tasks().end(task, self.now()).await?;
            return self.peek_at_task(owner, id).await;
        };
        let (id, now) = (&approval.id, self.now());
        // In the core a task is over once its end was asked for:
        // https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#cancelling-tasks
        // In the extension it is over with its call, if that runs and nobody else waits for it.
        let others = self.store().tasks().others(task, id, now).await?;
        let mut stops = approval.state == State::Running && others == 0;
        if !stops || owner.form == Form::Core {
            let ended = self.store().tasks().end(task, now).await?;
            if ended.others == 0 && !stops {
                stops = !self.withdraw(id, &owner.agent.name).await?;
            }
        }
        if stops {
            self.store().tasks().stop_run(id, now).await?;
        }
        self.hints().changed(id);
        self.peek_at_task(owner, view.task.id.as_str()).await
    }

    /// Withdraws an approval whose call has not begun; false if the call runs.
    pub(in crate::broker) async fn withdraw(
        &self,
        id: &ApprovalId,
        agent: &str,
    ) -> Result<bool, StoreError> {
        let withdrawn = self
            .change(id, |a| {
                let mut end = a.cancel(agent, "withdrawn by the agent", self.now())?;
                // The agent knows.
                end.after.owed = false;
                Ok(end)
            })
            .await;
        match withdrawn {
            Err(crate::broker::DecideError::Refused {
                refusal: Refusal::NotCancellable(state),
                ..
            }) => Ok(state != State::Running),
            Err(crate::broker::DecideError::Store(error)) => Err(error),
            Ok(_) | Err(_) => Ok(true),
        }
    }

    /// One page of an agent's tasks, newest first, and the place where the next page begins.
    pub async fn list_tasks(
        &self,
        owner: &Owner,
        before: Option<(Timestamp, String)>,
        limit: u32,
    ) -> Result<(Vec<View>, Option<(Timestamp, String)>), TaskError> {
        let (agent, upstream) = (&owner.agent.name, &owner.upstream);
        let store = self.store().tasks();
        let mut tasks =
            store.list(agent, upstream, owner.form, before, limit + 1, self.now()).await?;
        let more = tasks.len() > limit as usize;
        tasks.truncate(limit as usize);
        let next = tasks.last().filter(|_| more).map(|t| (t.created_at, t.id.to_string()));
        let mut views = Vec::with_capacity(tasks.len());
        for task in tasks.into_iter().filter(|t| owner.owns(t)) {
            match self.view(task).await {
                Ok(view) => views.push(view),
                Err(TaskError::Unknown) => {}
                Err(error) => return Err(error),
            }
        }
        Ok((views, next))
    }

    /// Answers what the running call asks. Answers to what was not asked are ignored.
    pub async fn answer_task(
        &self,
        owner: &Owner,
        id: &str,
        answers: &str,
    ) -> Result<(), TaskError> {
        let view = self.peek_at_task(owner, id).await?;
        let (Some(approval), Some(_)) = (&view.approval, &view.input_requests) else {
            return Ok(());
        };
        self.store().tasks().reply(&approval.id, answers, self.now()).await?;
        self.hints().changed(&approval.id);
        Ok(())
    }
}

/// What a call that ran as a task was answered with.
fn call_end(task: &Task, answer: Option<&Outcome>) -> Answer {
    let tool = &task.tool;
    let unknown =
        |why: &str| format!("It is not known whether {tool} was executed or not executed: {why}.");
    let (code, text) = match answer {
        Some(Outcome::Result(raw)) => return Answer::Replied(Reply::Result(raw.clone())),
        Some(Outcome::Error(raw)) => return Answer::Replied(Reply::Error(raw.clone())),
        Some(Outcome::NotKept { .. }) => (
            Code::OutcomeNotKept,
            format!("Executed. The answer of {tool} was too large to keep and can't be given."),
        ),
        None if task.cancelled_at.is_some() => {
            (Code::OutcomeUnknown, unknown("its task was ended by its agent while it ran"))
        }
        None => {
            (Code::OutcomeUnknown, unknown("the broker that ran it died before an answer came"))
        }
    };
    Statement::new(code, &text).into()
}

/// The end of a task whose call goes on for others, or runs to its end without it.
fn ended_alone(approval: &Approval) -> Statement {
    let tool = &approval.call.tool;
    let text = format!(
        "This task was ended by its agent. The call of {tool} itself is {}, executed or not \
         executed as approval {} goes on; calling again with identical arguments joins it.",
        approval.state, approval.id
    );
    Statement::about(approval, Code::ApprovalCancelled, &text)
        .because(Some("the task was ended by its agent".to_owned()))
}
