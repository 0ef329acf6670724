//! Wake-ups inside the process. A hint may be lost or superfluous: who is woken reads the store,
//! or takes the row that came with it, which was committed before.

use tokio::sync::{Notify, broadcast};

use crate::domain::approval::{Approval, ApprovalId};

use super::awaited::Awaited;

/// Most hints a slow listener may miss before it is told that it lagged.
const CAPACITY: usize = 1024;

/// Tells who waits for an approval that it changed, listeners which did, and the deliverer that there
/// is work.
#[derive(Debug)]
pub struct Hints {
    awaited: Awaited,
    changes: broadcast::Sender<ApprovalId>,
    deliveries: Notify,
}

impl Default for Hints {
    fn default() -> Self {
        Self {
            awaited: Awaited::default(),
            changes: broadcast::channel(CAPACITY).0,
            deliveries: Notify::new(),
        }
    }
}

impl Hints {
    /// Who waits for single approvals.
    pub(super) fn awaited(&self) -> &Awaited {
        &self.awaited
    }

    /// Something about an approval changed, and so there may be something to deliver.
    pub fn changed(&self, id: &ApprovalId) {
        self.awaited.tell(id);
        self.announce(id);
        self.deliver();
    }

    /// An approval was changed, and stored so, with nothing to deliver.
    pub(super) fn stands(&self, approval: &Approval) {
        self.awaited.stands(approval);
        self.announce(&approval.id);
    }

    /// Something to deliver was stored.
    pub(super) fn deliver(&self) {
        self.deliveries.notify_one();
    }

    fn announce(&self, id: &ApprovalId) {
        // Most often nobody listens to all.
        if self.changes.receiver_count() > 0 {
            let _ = self.changes.send(id.clone());
        }
    }

    /// Hears of every change. Register first, then read the store, then wait.
    pub fn listen(&self) -> broadcast::Receiver<ApprovalId> {
        self.changes.subscribe()
    }

    /// Waits for something to deliver.
    pub async fn delivery(&self) {
        self.deliveries.notified().await;
    }
}
