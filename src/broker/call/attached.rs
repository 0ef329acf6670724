//! Which requests this process holds, beside what the rows say. A row is written before its request
//! is held and removed after it; what could not be written or removed, because the store was away,
//! is made good by comparing the two.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};

use crate::domain::approval::{ApprovalId, State};
use crate::domain::task::TaskId;
use crate::store::{NewHold, StoreError};

use crate::broker::Broker;

/// Requests that are let go at the same time after their clients left.
pub(in crate::broker) const LEAVING: usize = 16;
/// Rows removed in one transaction.
const BATCH: usize = 200;
/// A task's row is written a little before its call is known here.
const BEGINNING: std::time::Duration = std::time::Duration::from_secs(10);

/// One held request.
#[derive(Debug, Clone)]
struct Here {
    agent: String,
    /// What it waits for; none until its row is stored.
    approval: Option<ApprovalId>,
}

/// What this process holds open.
///
/// Bounded by `approvals.max_held_per_agent` and `max_tasks_per_agent`; emptied when a request or
/// call ends. Withdrawals that wait for the store are at most as many as there are open approvals.
#[derive(Debug, Default)]
pub(in crate::broker) struct Attached {
    holds: Mutex<HashMap<String, Here>>,
    /// Calls that run here and are followed as tasks.
    tasks: Mutex<HashSet<TaskId>>,
    /// Approvals whose last request was ended by its client while the store was away, with their
    /// agents.
    withdrawals: Mutex<HashMap<ApprovalId, String>>,
}

fn lock<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    map.lock().expect("no holder of this lock panics")
}

/// Detaches the request, whatever becomes of the future that holds it.
#[derive(Debug)]
pub(in crate::broker) struct HoldGuard {
    broker: Broker,
    /// None once it is detached.
    id: Option<String>,
    /// Whether there is a row of it.
    stored: bool,
}

impl HoldGuard {
    /// A request that is about to be attached. It is known here before its row can be seen.
    pub(in crate::broker) fn before(broker: &Broker, hold: &NewHold) -> Self {
        let here = Here { agent: hold.agent.clone(), approval: None };
        lock(&broker.inner.attached.holds).insert(hold.id.clone(), here);
        Self { broker: broker.clone(), id: Some(hold.id.clone()), stored: false }
    }

    /// Its row is stored, or it was refused because too many are held.
    #[must_use]
    pub(in crate::broker) fn stored(mut self, approval: &ApprovalId, held: bool) -> Self {
        if !held {
            self.forget();
            return self;
        }
        self.stored = true;
        if let Some(id) = &self.id
            && let Some(here) = lock(&self.broker.inner.attached.holds).get_mut(id)
        {
            here.approval = Some(approval.clone());
        }
        self
    }

    /// Whether the request is attached.
    pub(super) const fn is_attached(&self) -> bool {
        self.id.is_some()
    }

    /// Id of its row, where there is one.
    pub(super) fn row(&self) -> Option<String> {
        self.id.clone().filter(|_| self.stored)
    }

    /// Its row went with the end of what it waited for.
    pub(super) fn was_detached(&mut self) {
        self.forget();
    }

    fn forget(&mut self) -> Option<String> {
        let id = self.id.take()?;
        lock(&self.broker.inner.attached.holds).remove(&id);
        Some(id)
    }

    /// Detaches now; returns how many requests are still attached, if the store says so within a
    /// moment. Otherwise the row goes when the store answers again.
    pub(super) async fn end(&mut self) -> Option<i64> {
        let id = self.forget()?;
        let broker = self.broker.clone();
        let verb = async move { broker.store().holds().detach(&id, broker.now()).await };
        match self.broker.done_briefly(verb).await? {
            Ok(left) => Some(left),
            Err(error) => {
                tracing::warn!(%error, "a held request is detached later");
                None
            }
        }
    }
}

impl Drop for HoldGuard {
    fn drop(&mut self) {
        let stored = self.stored;
        let Some(id) = self.forget().filter(|_| stored) else { return };
        let broker = self.broker.clone();
        self.broker.tracker().spawn(async move {
            let again = broker.clone();
            let verb = async move { again.store().holds().detach(&id, again.now()).await };
            if let Some(Err(error)) = broker.done_briefly(verb).await {
                tracing::warn!(%error, "a held request is detached later");
            }
        });
    }
}

/// A call that runs here and is followed as a task; dropped when it is over.
#[derive(Debug)]
pub struct TaskHere {
    broker: Broker,
    id: TaskId,
}

impl Drop for TaskHere {
    fn drop(&mut self) {
        lock(&self.broker.inner.attached.tasks).remove(&self.id);
    }
}

impl Broker {
    /// The row of a held request is about to go: it is not missed any more.
    pub(super) fn lets_go_of(&self, hold: &str) {
        if let Some(here) = lock(&self.inner.attached.holds).get_mut(hold) {
            here.approval = None;
        }
    }

    /// Notes that the call of a task runs here.
    pub fn runs_here(&self, id: &TaskId) -> TaskHere {
        lock(&self.inner.attached.tasks).insert(id.clone());
        TaskHere { broker: self.clone(), id: id.clone() }
    }

    /// Withdraws an approval whose last request was ended by its client; later, where the store does
    /// not answer within a moment.
    pub(super) async fn withdraw_soon(&self, id: &ApprovalId, agent: &str) {
        lock(&self.inner.attached.withdrawals).insert(id.clone(), agent.to_owned());
        let (broker, id, agent) = (self.clone(), id.clone(), agent.to_owned());
        let verb = async move {
            broker.withdraw_left(&id, &agent).await?;
            lock(&broker.inner.attached.withdrawals).remove(&id);
            Ok(())
        };
        if let Some(Err(error)) = self.done_briefly(verb).await {
            tracing::warn!(%error, "an approval is withdrawn later");
        }
    }

    /// Withdraws an approval that is pending and that nobody waits for: no request on any broker,
    /// and no task.
    async fn withdraw_left(&self, id: &ApprovalId, agent: &str) -> Result<(), StoreError> {
        let Some(mut current) = self.get(id).await? else { return Ok(()) };
        loop {
            if current.state != State::Pending {
                return Ok(());
            }
            let version = current.version;
            let why = "withdrawn: the client went away";
            let Ok(mut end) = current.cancel(agent, why, self.now()) else { return Ok(()) };
            end.unless_attached = true;
            match self.apply(end).await {
                Ok(_) => return Ok(()),
                // Somebody waits for it.
                Err(StoreError::Conflict(now)) if now.version == version => return Ok(()),
                Err(StoreError::Conflict(now)) => current = *now,
                Err(error) => return Err(error),
            }
        }
    }

    /// Compares what this process holds with what the rows say: removes rows of requests that are
    /// over, writes again those that are missing, and gives up tasks whose call is gone. Whether
    /// the store answers is known by this.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn reconcile(&self) -> Result<(), StoreError> {
        let done = self.reconcile_holds().await;
        self.store_answers(!done.as_ref().is_err_and(StoreError::is_outage));
        done?;
        self.reconcile_tasks().await
    }

    async fn reconcile_holds(&self) -> Result<(), StoreError> {
        // First who is here, then the rows: of those that were stored by then none may be missing.
        let stored: Vec<(String, ApprovalId, String)> = lock(&self.inner.attached.holds)
            .iter()
            .filter_map(|(id, h)| Some((id.clone(), h.approval.clone()?, h.agent.clone())))
            .collect();
        let rows: HashSet<String> =
            self.store().holds().of_node(self.node()).await?.into_iter().collect();
        // Whoever has a row by now was known here before it.
        let strays: Vec<String> = {
            let here = lock(&self.inner.attached.holds);
            rows.iter().filter(|id| !here.contains_key(*id)).cloned().collect()
        };
        for some in strays.chunks(BATCH) {
            for id in self.store().holds().detach_all(some, self.now()).await? {
                self.hints().changed(&id);
            }
        }
        for (id, approval, agent) in stored {
            if rows.contains(&id) || !lock(&self.inner.attached.holds).contains_key(&id) {
                continue;
            }
            let hold = NewHold { id, node: self.node().to_owned(), agent };
            self.store().holds().attach_again(&approval, &hold, self.now()).await?;
            self.hints().changed(&approval);
        }
        let owed: Vec<(ApprovalId, String)> =
            lock(&self.inner.attached.withdrawals).clone().into_iter().collect();
        for (id, agent) in owed {
            self.withdraw_left(&id, &agent).await?;
            lock(&self.inner.attached.withdrawals).remove(&id);
        }
        Ok(())
    }

    async fn reconcile_tasks(&self) -> Result<(), StoreError> {
        let before = self.now().minus(BEGINNING);
        for id in self.store().tasks().unanswered(self.node(), before).await? {
            if !lock(&self.inner.attached.tasks).contains(&id) {
                tracing::error!("nobody knows how a call ended that is followed as a task");
                self.store().tasks().abandon(&id, self.now()).await?;
            }
        }
        Ok(())
    }
}
