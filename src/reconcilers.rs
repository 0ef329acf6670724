//! Reconcilers: when the broker's small steps without input are taken
//! ([`crate::broker::upkeep`]). A restart, a lost hint and a second broker all take the path of the
//! ordinary case.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::broker::client_sessions::LOOK_EVERY;
use crate::broker::peers;
use crate::domain::approval::ApprovalId;
use crate::domain::time::Timestamp;
use crate::store::StoreError;

/// How often the lease is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// How often deadlines are looked at; `expired` is recorded within two seconds.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);
/// How often running calls of dead processes are looked for.
const REAP_EVERY: Duration = Duration::from_secs(3);
/// How often unattended calls are looked for.
const DISPATCH_EVERY: Duration = Duration::from_secs(1);
/// How often what is held here is compared with what the rows say.
const COMPARE_EVERY: Duration = Duration::from_secs(1);
/// How often changes get their numbers; who watches does it sooner.
const NUMBER_EVERY: Duration = Duration::from_secs(1);
/// How often the audit is sealed; a record is sealed within two seconds.
const SEAL_EVERY: Duration = Duration::from_secs(1);
/// How often old rows are removed.
const PURGE_EVERY: Duration = Duration::from_secs(3_600);
/// How often it is looked which sessions have ended.
const LEAVE_EVERY: Duration = Duration::from_secs(5);
/// How often it is looked whether a tool list or a policy is new.
const MISFITS_EVERY: Duration = Duration::from_secs(1);
/// How long records of allowed calls are gathered, unless a group is full before.
const GATHER: Duration = Duration::from_millis(200);
/// Wait after the first unattended call that could not be sent; doubles to the longest.
const RETRY_FIRST: Duration = Duration::from_secs(2);
/// Longest wait between two attempts of an unattended call.
const RETRY_LONGEST: Duration = Duration::from_secs(60);

/// Starts all reconcilers on the tracker; they end when `stop` is cancelled.
pub fn start(broker: &Broker, tracker: &TaskTracker, stop: &CancellationToken) {
    let every = |interval, step: Step| {
        let (broker, stop) = (broker.clone(), stop.clone());
        tracker.spawn(async move { repeat(interval, &stop, || step(broker.clone())).await });
    };
    every(RENEW_EVERY, |b| Box::pin(async move { b.renew_lease().await }));
    every(peers::LOOK_EVERY, |b| Box::pin(async move { b.know_peers().await }));
    every(REAP_EVERY, |b| Box::pin(async move { b.bound_leases().await }));
    every(EXPIRE_EVERY, |b| Box::pin(async move { b.expire_due().await }));
    every(REAP_EVERY, |b| Box::pin(async move { b.judge_others().await }));
    every(COMPARE_EVERY, |b| Box::pin(async move { b.reconcile().await }));
    every(REAP_EVERY, |b| Box::pin(async move { b.take_back_unknown().await }));
    every(NUMBER_EVERY, |b| Box::pin(async move { b.number_changes().await }));
    every(SEAL_EVERY, |b| Box::pin(async move { b.seal_audit().await }));
    every(PURGE_EVERY, |b| Box::pin(async move { b.purge().await }));
    every(LEAVE_EVERY, |b| Box::pin(async move { b.leave_ended_sessions().await }));
    every(MISFITS_EVERY, |b| {
        Box::pin(async move {
            b.tell_misfits();
            Ok(())
        })
    });
    let (b, s) = (broker.clone(), stop.clone());
    tracker.spawn(async move { write_calls(&b, &s).await });
    let (b, s) = (broker.clone(), stop.clone());
    tracker.spawn(async move { note_sessions(&b, &s).await });
    let (b, s) = (broker.clone(), stop.clone());
    tracker.spawn(async move {
        let mut unattended = Unattended::default();
        let mut tick = ticker(DISPATCH_EVERY);
        loop {
            tokio::select! {
                () = s.cancelled() => return,
                _ = tick.tick() => report("unattended", unattended.begin(&b).await),
            }
        }
    });
}

type Step = fn(Broker) -> std::pin::Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

async fn repeat<F>(interval: Duration, stop: &CancellationToken, step: impl Fn() -> F)
where
    F: Future<Output = Result<(), StoreError>>,
{
    let mut tick = ticker(interval);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        // A step may be left half way: what it writes is written whole, and the rest is due again.
        tokio::select! {
            () = stop.cancelled() => return,
            done = step() => report("reconciler", done),
        }
    }
}

fn ticker(interval: Duration) -> tokio::time::Interval {
    let mut tick = tokio::time::interval(interval);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}

fn report(what: &str, result: Result<(), StoreError>) {
    if let Err(error) = result {
        tracing::warn!(%error, "{what} will try again: {error}");
    }
}

/// Notes which client sessions are in use, while there are any.
async fn note_sessions(broker: &Broker, stop: &CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = broker.sessions_used() => {}
        }
        report("the use of sessions", broker.note_sessions().await);
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    report("the use of sessions", broker.note_all_sessions().await);
}

/// Writes the records of allowed calls in groups, until told to stop and none is left.
async fn write_calls(broker: &Broker, stop: &CancellationToken) {
    let log = broker.call_log();
    loop {
        tokio::select! {
            () = stop.cancelled() => {}
            () = log.filled() => {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = log.full() => {}
                    () = tokio::time::sleep(GATHER) => {}
                }
            }
        }
        let group = Arc::new(log.take());
        if group.is_empty() && stop.is_cancelled() {
            return;
        }
        if !group.is_empty()
            && let Err(error) = broker.record_calls(group.clone()).await
        {
            tracing::error!(%error, "records of allowed calls wait for the store");
            log.put_back(Arc::unwrap_or_clone(group));
            if stop.is_cancelled() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// Runs approved calls whose rule says `"unattended": "run"`, and those that an agent follows as a
/// task, with a growing pause while their upstream can't be reached. Each upstream has a lane of its
/// own: one that hangs holds up no other.
#[derive(Debug, Default)]
pub struct Unattended {
    waits: HashMap<ApprovalId, (Timestamp, Duration)>,
    lanes: HashMap<String, JoinHandle<()>>,
}

impl Unattended {
    /// Begins with the calls that are due now, in the lanes that are free.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read.
    pub async fn begin(&mut self, broker: &Broker) -> Result<(), StoreError> {
        if broker.stopping() || !broker.has_lease() {
            return Ok(());
        }
        let now = broker.now();
        let due = broker.to_run_unattended().await?;
        let open: HashSet<&ApprovalId> = due.iter().map(|one| &one.id).collect();
        self.waits.retain(|id, _| open.contains(id));
        self.lanes.retain(|_, lane| !lane.is_finished());
        let mut lanes: HashMap<String, Vec<_>> = HashMap::new();
        for one in due {
            let waits = self.waits.get(&one.id);
            if self.lanes.contains_key(&one.upstream)
                || waits.is_some_and(|(not_before, _)| *not_before > now)
            {
                continue;
            }
            let pause =
                waits.map_or(RETRY_FIRST, |(_, last)| last.saturating_mul(2).min(RETRY_LONGEST));
            self.waits.insert(one.id.clone(), (now.plus(pause), pause));
            lanes.entry(one.upstream.clone()).or_default().push(one);
        }
        for (upstream, due) in lanes {
            let broker = broker.clone();
            let lane =
                broker.tracker().clone().spawn(async move { broker.run_unattended(due).await });
            self.lanes.insert(upstream, lane);
        }
        Ok(())
    }

    /// Runs the calls that are due now, once, and waits until all have begun.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read.
    pub async fn run_once(&mut self, broker: &Broker) -> Result<(), StoreError> {
        self.begin(broker).await?;
        for (_, lane) in self.lanes.drain() {
            let _ = lane.await;
        }
        Ok(())
    }
}
