//! Waiting for a change of one approval, by whichever broker: the row tells, hints wake, one poll for
//! all who wait is the net ([`super::poll`]).

use std::sync::Arc;
use std::time::Duration;

use crate::domain::approval::{Approval, ApprovalId, State};
use crate::notified::until;

use crate::broker::Broker;
use crate::broker::awaited::Spot;

/// How soon a change is found of which no hint came: another broker may have heard it.
pub(in crate::broker) const POLL: Duration = Duration::from_millis(500);

/// A place among those who wait for one approval, until it is dropped.
#[derive(Debug)]
pub(in crate::broker) struct Changes {
    broker: Broker,
    id: ApprovalId,
    spot: Arc<Spot>,
    /// How much of what is heard was taken note of.
    seen: u64,
}

impl Changes {
    /// Waits until something may have changed.
    pub(in crate::broker) async fn next(&mut self) {
        let (spot, seen) = (&self.spot, self.seen);
        let look = || Some(spot.heard().count).filter(|count| *count != seen);
        self.seen = until(&self.spot.changed, look).await;
    }

    /// The same, at most so long.
    pub(in crate::broker) async fn within(&mut self, longest: Duration) {
        let _ = tokio::time::timeout(longest, self.next()).await;
    }

    /// The approval as it was stored last, where this process knows it newer than this version.
    pub(super) fn newer(&self, version: i64) -> Option<Arc<Approval>> {
        self.spot.heard().row.filter(|row| row.version > version)
    }

    /// It was read so just now, or stored so.
    pub(super) fn knows(&self, approval: &Arc<Approval>) {
        self.spot.knows(approval);
    }

    /// It stands so: who waits looks again when its time is over.
    pub(super) fn expect(&self, approval: &Approval) {
        self.spot.due(match approval.state {
            State::Pending => Some(approval.expires_at),
            State::Approved => approval.claim_deadline,
            _ => None,
        });
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.broker.hints().awaited().leave(&self.id);
    }
}

impl Broker {
    /// Listens from now on; read the store after this.
    pub(in crate::broker) fn changes_of(&self, id: &ApprovalId) -> Changes {
        self.changes_since(id, 0)
    }

    /// The same for who knows this version already.
    pub(super) fn changes_since(&self, id: &ApprovalId, version: i64) -> Changes {
        let (spot, is_first) = self.hints().awaited().enter(id, version);
        if is_first {
            self.begin_poll();
        }
        let seen = spot.heard().count;
        Changes { broker: self.clone(), id: id.clone(), spot, seen }
    }

    /// Resolves once the agent wants the running call of an approval stopped: a hint of this broker
    /// has it looked up, and the poll finds what was said to another.
    pub(in crate::broker) async fn stop_wanted(&self, changes: Changes) {
        let mut touched = 0;
        loop {
            let spot = &changes.spot;
            let look = || Some(spot.heard()).filter(|h| h.stops || h.touched != touched);
            let heard = until(&spot.changed, look).await;
            if heard.stops {
                return;
            }
            touched = heard.touched;
            match self.store().tasks().run_of(&changes.id).await {
                Ok(run) if run.stop_at.is_some() => return,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "whether a call is to stop is not known now"),
            }
        }
    }
}
