//! The one poll for all approvals that this process waits for: the net under the hints. It runs while
//! somebody waits.
//!
//! Twice a second it reads what changed since it looked last, by the time that is written with each
//! change, and a little of before: a transaction may be committed a moment after that. What is
//! committed later still is found by a look at all that are waited for, every ten seconds.
//!
//! It also wakes those whose time is over. They watch the time themselves; but the clock that all is
//! judged by may be put right, and goes on in a machine that sleeps.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::approval::ApprovalId;
use crate::domain::time::Timestamp;
use crate::store::StoreError;

use super::changes::POLL;
use crate::broker::{Broker, Inner};

/// How long a transaction may take from its time to its commit, to be found by the next poll.
const OVERLAP: Duration = Duration::from_secs(1);
/// After how long all are looked at.
const WHOLE: Duration = Duration::from_secs(10);
/// Beyond so many changes all are looked at instead.
const MOST: u32 = 4_096;

/// Where the poll stands.
struct Poll {
    /// What changed before was seen.
    since: Timestamp,
    whole: Instant,
    /// Whether this process had its lease at the last look.
    had_lease: bool,
}

impl Broker {
    /// Polls until nobody waits any more. Not on the task tracker: who waits is there.
    pub(super) fn begin_poll(&self) {
        let mut since = self.now().minus(POLL + OVERLAP);
        let (broker, had_lease) = (Arc::downgrade(&self.inner), self.has_lease());
        tokio::spawn(async move {
            loop {
                let poll = Poll { since, whole: Instant::now() + WHOLE, had_lease };
                match tokio::spawn(poll.run(broker.clone())).await {
                    Ok(()) => return,
                    Err(error) => tracing::error!(%error, "the poll begins again"),
                }
                let Some(inner) = broker.upgrade() else { return };
                since = inner.clock.now().minus(WHOLE);
            }
        });
    }
}

impl Poll {
    async fn run(mut self, broker: Weak<Inner>) {
        loop {
            tokio::time::sleep(POLL).await;
            let Some(inner) = broker.upgrade() else { return };
            let broker = Broker { inner };
            if broker.hints().awaited().is_over() {
                return;
            }
            if let Err(error) = self.look(&broker).await {
                tracing::warn!(%error, "what is waited for could not be looked at");
            }
        }
    }

    async fn look(&mut self, broker: &Broker) -> Result<(), StoreError> {
        let awaited = broker.hints().awaited();
        let has_lease = broker.has_lease();
        // Without it nothing is begun, and what is held is handed over.
        if std::mem::replace(&mut self.had_lease, has_lease) != has_lease {
            awaited.tell_all();
        }
        let now = broker.now();
        awaited.tell_due(now);
        let changes = broker.store().changes();
        let seen = changes.since(self.since, MOST).await?;
        let whole = seen.len() >= MOST as usize || Instant::now() >= self.whole;
        let mut unknown = awaited.saw(&seen);
        if whole {
            unknown.extend(awaited.saw(&changes.glimpses(&awaited.ids()).await?));
            self.whole = Instant::now() + WHOLE;
        }
        unknown.sort_unstable();
        unknown.dedup();
        broker.hear(&unknown).await?;
        self.since = now.minus(OVERLAP);
        Ok(())
    }
}

impl Broker {
    /// Tells who waits how these stand.
    async fn hear(&self, ids: &[ApprovalId]) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        for approval in self.store().changes().of(ids, self.now()).await? {
            self.hints().awaited().stands(&approval);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
