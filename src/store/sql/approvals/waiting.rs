//! Calls that wait to be stored. Agents take turns, many calls are stored in one transaction, and
//! beyond a bound a call is told to come again: a burst is a queue, not a failure.
//!
//! Nothing is promised to a call that waits here: whoever asked is answered when it is stored.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::oneshot;

use crate::domain::time::Timestamp;
use crate::store::driver::Db;
use crate::store::{Cap, Result, StoreError, Submit, Submitted};

use super::super::again;
use super::known::Asked;
use super::submit::{MOST_AT_ONCE, submit};

/// Most transactions under way; an agent's calls are in one of them at a time.
const WORKERS: usize = 2;
/// Longest wait for a turn; whoever waited longer is told to come again.
const LONGEST: Duration = Duration::from_secs(30);
/// Most calls of one agent in a turn. What is stored of one agent lies together: a few of each of a few
/// agents are written in a fraction of the pages that one of each of many takes.
const IN_A_TURN: usize = 8;
/// Most places of a transaction for agents whose first call waits, which go before all others.
const FIRST_CALLS: usize = MOST_AT_ONCE / 2;
/// What a call beyond a bound is told to wait, milliseconds: about as long as a full queue takes.
const COME_AGAIN_MS: u64 = 5_000;

/// Calls that wait, by agent. Bounded by `approvals.max_submitting` and
/// `max_submitting_per_agent`; emptied as they are stored, refused, or known not to be stored.
#[derive(Debug, Default)]
pub(in crate::store::sql) struct Waiting {
    turns: Mutex<Turns>,
}

#[derive(Debug, Default)]
struct Turns {
    by_agent: HashMap<String, Own>,
    /// Agents of which nothing waited and nothing was being stored when their first call came.
    first: VecDeque<String>,
    /// Other agents with waiting calls of which none is being stored, in the order of their turns.
    order: VecDeque<String>,
    /// Calls that wait or are being stored.
    all: usize,
    workers: usize,
}

/// An agent's calls.
#[derive(Debug, Default)]
struct Own {
    waiting: VecDeque<Entry>,
    /// Those of its calls that are being stored.
    under_way: usize,
}

#[derive(Debug)]
struct Entry {
    asked: Arc<Asked>,
    since: Instant,
    answer: oneshot::Sender<Result<Submitted>>,
}

impl Turns {
    /// The next calls: one of each agent whose first call waits, then a few of each other in turn, and
    /// more of both while there is room; none if nobody's turn is left.
    fn take(&mut self) -> Option<Vec<Entry>> {
        let mut taken = Vec::new();
        self.take_first_calls(FIRST_CALLS, &mut taken);
        self.take_turns(self.order.len(), &mut taken);
        self.take_first_calls(MOST_AT_ONCE, &mut taken);
        self.take_turns(usize::MAX, &mut taken);
        let by_agent = &self.by_agent;
        self.order.retain(|agent| by_agent.get(agent).is_some_and(|own| own.under_way == 0));
        (!taken.is_empty()).then_some(taken)
    }

    fn take_first_calls(&mut self, until: usize, taken: &mut Vec<Entry>) {
        while taken.len() < until {
            let Some(agent) = self.first.pop_front() else { break };
            self.take_of(agent, 1, taken);
        }
    }

    fn take_turns(&mut self, mut turns: usize, taken: &mut Vec<Entry>) {
        while taken.len() < MOST_AT_ONCE && turns > 0 {
            let Some(agent) = self.order.pop_front() else { break };
            self.take_of(agent, IN_A_TURN.min(MOST_AT_ONCE - taken.len()), taken);
            turns -= 1;
        }
    }

    fn take_of(&mut self, agent: String, most: usize, taken: &mut Vec<Entry>) {
        let Some(own) = self.by_agent.get_mut(&agent) else { return };
        let calls = most.min(own.waiting.len());
        own.under_way += calls;
        taken.extend(own.waiting.drain(..calls));
        if !own.waiting.is_empty() {
            self.order.push_back(agent);
        }
    }

    fn nobody_waits(&self) -> bool {
        self.first.is_empty() && self.order.is_empty()
    }
}

impl Entry {
    fn say(self, said: Result<Submitted>) {
        // Nobody may wait for it any more.
        drop(self.answer.send(said));
    }
}

impl Waiting {
    /// Stores a call when its turn comes.
    ///
    /// # Errors
    /// [`StoreError`], when it could not be stored, or that is not known.
    pub(super) async fn submit(
        self: &Arc<Self>,
        db: Db,
        submit: Submit,
        at: Timestamp,
    ) -> Result<Submitted> {
        let (answer, said) = oneshot::channel();
        let asked = Arc::new(Asked { submit, at });
        if let Some(cap) = self.push(db, Entry { asked, since: Instant::now(), answer }) {
            return Ok(Submitted::Refused { cap, retry_after_ms: COME_AGAIN_MS });
        }
        // A task that died may have died after it had stored all.
        said.await.unwrap_or(Err(StoreError::lost()))
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a call, unless too many wait; then the limit.
    fn push(self: &Arc<Self>, db: Db, entry: Entry) -> Option<Cap> {
        let mut turns = self.turns();
        if turns.all >= entry.asked.submit.max_submitting as usize {
            return Some(Cap::Submitting);
        }
        let most = entry.asked.submit.max_submitting_per_agent as usize;
        let agent = entry.asked.agent().to_owned();
        let own = turns.by_agent.entry(agent.clone()).or_default();
        if own.waiting.len() + own.under_way >= most {
            return Some(Cap::SubmittingPerAgent);
        }
        own.waiting.push_back(entry);
        let has_its_turn = own.under_way > 0 || own.waiting.len() > 1;
        turns.all += 1;
        if !has_its_turn {
            turns.first.push_back(agent);
        }
        if turns.workers < WORKERS && !turns.nobody_waits() {
            turns.workers += 1;
            let worker = Worker { waiting: Arc::clone(self), db, left: false };
            tokio::spawn(worker.work());
        }
        None
    }

    /// Those who wait since before that instant.
    fn take_older(&self, than: Instant) -> Vec<Entry> {
        let mut turns = self.turns();
        let mut taken = Vec::new();
        for own in turns.by_agent.values_mut() {
            while own.waiting.front().is_some_and(|entry| entry.since < than) {
                taken.extend(own.waiting.pop_front());
            }
        }
        turns.all -= taken.len();
        let turns = &mut *turns;
        turns.by_agent.retain(|_, own| !own.waiting.is_empty() || own.under_way > 0);
        let by_agent = &turns.by_agent;
        let waits = |agent: &String| by_agent.get(agent).is_some_and(|own| !own.waiting.is_empty());
        turns.order.retain(waits);
        turns.first.retain(waits);
        taken
    }

    /// So many calls of the agent are no longer being stored.
    fn done(&self, agent: &str, calls: usize) {
        let mut turns = self.turns();
        turns.all = turns.all.saturating_sub(calls);
        let Some(own) = turns.by_agent.get_mut(agent) else { return };
        own.under_way = own.under_way.saturating_sub(calls);
        if own.under_way > 0 {
            return;
        }
        if own.waiting.is_empty() {
            turns.by_agent.remove(agent);
        } else {
            turns.order.push_back(agent.to_owned());
        }
    }
}

/// Calls that are being stored. They give their places back whatever becomes of their task.
struct UnderWay {
    waiting: Arc<Waiting>,
    agents: BTreeMap<String, usize>,
}

impl UnderWay {
    fn of(waiting: &Arc<Waiting>, entries: &[Entry]) -> Self {
        let mut agents = BTreeMap::new();
        for entry in entries {
            *agents.entry(entry.asked.agent().to_owned()).or_default() += 1;
        }
        Self { waiting: Arc::clone(waiting), agents }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        for (agent, calls) in &self.agents {
            self.waiting.done(agent, *calls);
        }
    }
}

/// Stores calls as long as there are any.
struct Worker {
    waiting: Arc<Waiting>,
    db: Db,
    /// Whether it is counted no more.
    left: bool,
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        let mut turns = self.waiting.turns();
        if std::thread::panicking() && !turns.nobody_waits() {
            // Another takes its place: those who wait must be answered.
            let (waiting, db) = (Arc::clone(&self.waiting), self.db.clone());
            tokio::spawn(Self { waiting, db, left: false }.work());
        } else {
            turns.workers -= 1;
        }
    }
}

impl Worker {
    async fn work(mut self) {
        while let Some(entries) = self.take_or_leave() {
            self.store(entries).await;
        }
    }

    /// The next calls; where there are none, whoever comes now sees that this worker has left.
    fn take_or_leave(&mut self) -> Option<Vec<Entry>> {
        let mut turns = self.waiting.turns();
        let taken = turns.take();
        if taken.is_none() {
            turns.workers -= 1;
            drop(turns);
            self.left = true;
        }
        taken
    }

    async fn store(&self, entries: Vec<Entry>) {
        let under_way = UnderWay::of(&self.waiting, &entries);
        let begun = Instant::now();
        let too_old = |entry: &Entry| begun.duration_since(entry.since) > LONGEST;
        let (old, entries): (Vec<_>, Vec<_>) = entries.into_iter().partition(too_old);
        for entry in old {
            let retry_after_ms = COME_AGAIN_MS;
            entry.say(Ok(Submitted::Refused { cap: Cap::Submitting, retry_after_ms }));
        }
        if entries.len() == 1 {
            return say_each(&self.db, entries, None, under_way).await;
        }
        let all: Arc<Vec<_>> = Arc::new(entries.iter().map(|e| Arc::clone(&e.asked)).collect());
        let done = again(&self.db, move |db| {
            let all = Arc::clone(&all);
            async move {
                let may_be_one = |error: &StoreError| error.may_be_of_one(db.is_postgres());
                match submit(db.clone(), all).await {
                    Err(error) if may_be_one(&error) => Ok(Err(error)),
                    done => done.map(Ok),
                }
            }
        })
        .await;
        match done {
            Ok(Ok(said)) => {
                // Their places are free before they are answered.
                drop(under_way);
                for (entry, said) in entries.into_iter().zip(said) {
                    entry.say(Ok(said));
                }
            }
            // One of them, or somebody's lock: the others are stored without it.
            Ok(Err(error)) => {
                tracing::debug!(%error, "calls are stored one by one");
                let db = self.db.clone();
                tokio::spawn(async move { say_each(&db, entries, None, under_way).await });
            }
            Err(unknown @ StoreError::Unknown(_)) => {
                let db = self.db.clone();
                tokio::spawn(async move { say_each(&db, entries, Some(unknown), under_way).await });
            }
            Err(error) => {
                drop(under_way);
                // Who waited for most of it is not kept waiting for another attempt as long.
                let older = self.waiting.take_older(begun + begun.elapsed() / 2);
                for entry in entries.into_iter().chain(older) {
                    entry.say(Err(error.same()));
                }
            }
        }
    }
}

/// Stores each by itself, agents side by side. After a commit whose answer was lost each is asked
/// for again: one that was stored is joined.
async fn say_each(db: &Db, entries: Vec<Entry>, unknown: Option<StoreError>, under_way: UnderWay) {
    let mut by_agent: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for entry in entries {
        by_agent.entry(entry.asked.agent().to_owned()).or_default().push(entry);
    }
    let unknown = unknown.as_ref();
    let each = by_agent.into_values().map(|own| async move {
        let mut own = own.into_iter();
        while let Some(entry) = own.next() {
            let said = alone(db, &entry.asked, unknown).await;
            let away =
                said.as_ref().err().filter(|error| !error.was_refused() && error.is_outage());
            let away = away.map(StoreError::same);
            entry.say(said);
            if let Some(away) = away {
                // It would be waited for again, call by call.
                own.by_ref().for_each(|entry| entry.say(Err(away.same())));
            }
        }
    });
    let mut each: FuturesUnordered<_> = each.collect();
    while each.next().await.is_some() {}
    drop(each);
    drop(under_way);
}

/// Submitting is joining where it was stored: once more does no harm, and tells.
async fn alone(db: &Db, asked: &Arc<Asked>, unknown: Option<&StoreError>) -> Result<Submitted> {
    let verb = || {
        let all = Arc::new(vec![Arc::clone(asked)]);
        again(db, move |db| submit(db, Arc::clone(&all)))
    };
    let one = |said: Vec<Submitted>| said.into_iter().next().ok_or_else(StoreError::lost);
    let unknown = match unknown {
        Some(unknown) => unknown.same(),
        None => match verb().await {
            Err(unknown @ StoreError::Unknown(_)) => unknown,
            done => return done.and_then(one),
        },
    };
    match verb().await.and_then(one) {
        Ok(Submitted::Attached { approval, held }) if approval.id == asked.submit.approval.id => {
            Ok(Submitted::Created { approval, held })
        }
        Err(_) => Err(unknown),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::approval::ApprovalId;
    use crate::fixtures::pending;
    use crate::store::NewHold;

    fn waiting(turns: &mut Turns, agent: &str, calls: usize) {
        for _ in 0..calls {
            let at = Timestamp::from_micros(0);
            let id = ApprovalId::parse(&format!("apr_{:032x}", 1)).unwrap();
            let mut approval = pending(id, r#"{"name":"delete_image_set"}"#, &["ana"], at);
            agent.clone_into(&mut approval.agent);
            let hold = NewHold { id: String::new(), node: String::new(), agent: agent.to_owned() };
            let submit = Submit {
                approval,
                events: Vec::new(),
                deliveries: Vec::new(),
                hold,
                max_held: 1,
                max_pending_per_agent: 1,
                max_pending: 1,
                max_submitting: 1,
                max_submitting_per_agent: 1,
                max_new: 1,
                new_since: at,
                owed_since: at,
                limit: None,
                draws: Vec::new(),
            };
            let (answer, _) = oneshot::channel();
            let asked = Arc::new(Asked { submit, at });
            let own = turns.by_agent.entry(agent.to_owned()).or_default();
            own.waiting.push_back(Entry { asked, since: Instant::now(), answer });
            if own.waiting.len() == 1 {
                turns.first.push_back(agent.to_owned());
            }
        }
    }

    fn agents(taken: Option<Vec<Entry>>) -> BTreeMap<String, usize> {
        let mut agents = BTreeMap::new();
        for entry in taken.unwrap_or_default() {
            *agents.entry(entry.asked.agent().to_owned()).or_default() += 1;
        }
        agents
    }

    #[test]
    fn a_first_call_goes_before_floods_and_floods_take_turns_of_a_few_calls() {
        let mut turns = Turns::default();
        for flood in 0..10 {
            waiting(&mut turns, &format!("flood-{flood}"), 100);
        }
        let first = agents(turns.take());
        assert_eq!(first.values().sum::<usize>(), MOST_AT_ONCE);
        assert!(turns.take().is_none(), "an agent's calls are in one transaction at a time");
        for agent in first.keys() {
            turns.by_agent.get_mut(agent).unwrap().under_way = 0;
            turns.order.push_back(agent.clone());
        }
        for quiet in 0..3 {
            waiting(&mut turns, &format!("quiet-{quiet}"), 1);
        }

        let second = agents(turns.take());

        assert!((0..3).all(|quiet| second[&format!("quiet-{quiet}")] == 1), "{second:?}");
        let floods = second.iter().filter(|(agent, _)| agent.starts_with("flood"));
        assert!(floods.clone().all(|(_, calls)| *calls <= IN_A_TURN), "{second:?}");
        assert_eq!(floods.count(), 8, "{second:?}");
    }

    #[test]
    fn many_first_calls_leave_places_for_those_who_wait_longer() {
        let mut turns = Turns::default();
        waiting(&mut turns, "flood", 100);
        turns.first.clear();
        turns.order.push_back("flood".to_owned());
        for quiet in 0..100 {
            waiting(&mut turns, &format!("quiet-{quiet}"), 1);
        }

        let taken = agents(turns.take());

        assert_eq!(taken["flood"], IN_A_TURN, "{taken:?}");
        assert_eq!(taken.values().sum::<usize>(), MOST_AT_ONCE);
    }
}
