//! This process's lease: who is alive among those that share the store, and the time by which they
//! all judge it.

use std::sync::Mutex;
use std::time::Duration;

use crate::domain::time::Timestamp;
use crate::store::StoreError;

use super::Broker;

/// How long after its last renewal a process counts as dead to the others.
pub(crate) const LEASE: Duration = Duration::from_secs(15);
/// How much further than that a lease may reach before the clock it was made by is not believed.
const CLOCKS_APART: Duration = Duration::from_secs(5);

/// A longer pause between two renewals is an interruption: the others may have had it, too.
const INTERRUPTED: Duration = Duration::from_secs(8);
/// How long after an interruption nobody is judged by an old lease: whoever lives renews it by then.
const JUDGES_AFTER: Duration = Duration::from_secs(10);

/// The lease, by the clock's [`uptime`](crate::clock::Clock::uptime); none before the first time.
#[derive(Debug, Default)]
pub(in crate::broker) struct Lease(Mutex<Option<Renewals>>);

#[derive(Debug, Clone, Copy)]
struct Renewals {
    last: Duration,
    /// When it was renewed first, or for the first time after an interruption.
    since: Duration,
}

/// The machine's clock against the time that is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skew {
    /// What the machine's clock says.
    pub machine: Timestamp,
    /// What time it is by the database.
    pub now: Timestamp,
}

impl Skew {
    /// How far they are apart.
    pub fn length(self) -> Duration {
        self.now.until(self.machine).max(self.machine.until(self.now))
    }

    /// The same in seconds, below zero where the machine's clock is behind.
    pub fn seconds(self) -> f64 {
        let ahead = self.now.until(self.machine).as_secs_f64();
        if ahead > 0.0 { ahead } else { -self.machine.until(self.now).as_secs_f64() }
    }
}

impl Broker {
    /// Renews this process's lease, and asks the database what time it is.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn renew_lease(&self) -> Result<(), StoreError> {
        let nodes = self.store().nodes();
        let asked = self.uptime();
        if let Some(told) = nodes.time().await? {
            self.inner.clock.learn(told, asked);
        }
        let (begun, now) = (self.uptime(), self.now());
        nodes.renew(self.node(), now, now.plus(LEASE)).await?;
        let mut lease = self.inner.lease.0.lock().expect("no holder of this lock panics");
        let since = match *lease {
            Some(before) if begun.saturating_sub(before.last) <= INTERRUPTED => before.since,
            _ => begun,
        };
        let last = lease.map_or(begun, |before| before.last.max(begun));
        *lease = Some(Renewals { last, since });
        Ok(())
    }

    /// Whether leases of others that are over say that they are dead. Not at once after a start, or
    /// after a while in which this process could not renew its own: they live, and are about to.
    pub fn may_judge_others(&self) -> bool {
        let lease = *self.inner.lease.0.lock().expect("no holder of this lock panics");
        let ago = |at: Duration| self.uptime().saturating_sub(at);
        lease
            .is_some_and(|lease| ago(lease.last) <= INTERRUPTED && ago(lease.since) >= JUDGES_AFTER)
    }

    /// Since when this process has been alive to the others without a gap, by the clock's `uptime`.
    pub(super) fn alive_since(&self) -> Duration {
        let lease = *self.inner.lease.0.lock().expect("no holder of this lock panics");
        lease.map_or(Duration::ZERO, |lease| lease.since)
    }

    /// Whether this process is alive to the others: its lease was renewed a short while ago. Without
    /// it nothing is claimed, and held requests are handed over.
    pub fn has_lease(&self) -> bool {
        let lease = *self.inner.lease.0.lock().expect("no holder of this lock panics");
        lease.is_none_or(|lease| self.uptime().saturating_sub(lease.last) < LEASE)
    }

    /// Ends this process's lease, and lets go of its requests.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn end_lease(&self) -> Result<(), StoreError> {
        self.store().nodes().end(self.node(), self.now()).await
    }

    /// Shortens leases that reach further than any that is made now: a clock that was set back since
    /// must not keep the dead alive.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn bound_leases(&self) -> Result<(), StoreError> {
        let longest = self.now().plus(LEASE);
        self.store().nodes().bound(longest.plus(CLOCKS_APART), longest).await
    }

    /// How the machine's clock stands.
    pub fn skew(&self) -> Skew {
        Skew { machine: self.inner.clock.machine(), now: self.now() }
    }
}
