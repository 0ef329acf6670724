//! Waiting for a change of one approval, by whichever broker: the row tells, hints wake, a poll is
//! the net.

use std::time::Duration;

use tokio::sync::broadcast;

use crate::domain::approval::ApprovalId;

use crate::broker::Broker;

/// How often the store is read when no hint comes: another broker may have heard it.
pub(in crate::broker) const POLL: Duration = Duration::from_millis(500);

/// Hints about one approval.
#[derive(Debug)]
pub(in crate::broker) struct Changes {
    all: broadcast::Receiver<ApprovalId>,
    id: ApprovalId,
}

impl Changes {
    /// Waits for a hint; for ever, where none can come any more.
    pub(in crate::broker) async fn next(&mut self) {
        loop {
            match self.all.recv().await {
                Ok(id) if id == self.id => return,
                Ok(_) => {}
                // It may have been among those that were missed.
                Err(broadcast::error::RecvError::Lagged(_)) => return,
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    /// Waits for a hint, at most so long.
    pub(in crate::broker) async fn within(&mut self, longest: Duration) {
        let _ = tokio::time::timeout(longest, self.next()).await;
    }
}

impl Broker {
    /// Listens from now on; read the store after this.
    pub(in crate::broker) fn changes_of(&self, id: &ApprovalId) -> Changes {
        Changes { all: self.hints().listen(), id: id.clone() }
    }

    /// Resolves once the agent wants the running call of an approval stopped.
    pub(in crate::broker) async fn stop_wanted(&self, id: &ApprovalId) {
        let mut changes = self.changes_of(id);
        loop {
            match self.store().tasks().run_of(id).await {
                Ok(run) if run.stop_at.is_some() => return,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "whether a call is to stop is not known now"),
            }
            changes.within(POLL).await;
        }
    }
}
