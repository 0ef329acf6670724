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

/// When the lease was renewed last, by the clock's [`uptime`](crate::clock::Clock::uptime); none
/// before the first time.
#[derive(Debug, Default)]
pub(in crate::broker) struct Lease(Mutex<Option<Duration>>);

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
        let mut renewed = self.inner.lease.0.lock().expect("no holder of this lock panics");
        *renewed = (*renewed).max(Some(begun));
        Ok(())
    }

    /// Whether this process is alive to the others: its lease was renewed a short while ago. Without
    /// it nothing is claimed, and held requests are handed over.
    pub fn has_lease(&self) -> bool {
        let renewed = *self.inner.lease.0.lock().expect("no holder of this lock panics");
        renewed.is_none_or(|at| self.uptime().saturating_sub(at) < LEASE)
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
