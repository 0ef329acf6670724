//! Wake-ups inside the process. A hint may be lost or superfluous: who is woken reads the store.

use tokio::sync::{Notify, broadcast};

use crate::domain::approval::ApprovalId;

/// Most hints a slow listener may miss before it is told that it lagged.
const CAPACITY: usize = 1024;

/// Tells listeners which approval changed, and the deliverer that there is work.
#[derive(Debug)]
pub struct Hints {
    changes: broadcast::Sender<ApprovalId>,
    deliveries: Notify,
}

impl Default for Hints {
    fn default() -> Self {
        Self { changes: broadcast::channel(CAPACITY).0, deliveries: Notify::new() }
    }
}

impl Hints {
    /// An approval changed, and so there may be something to deliver.
    pub fn changed(&self, id: &ApprovalId) {
        // Nobody listening is fine.
        let _ = self.changes.send(id.clone());
        self.deliveries.notify_one();
    }

    /// Register first, then read the store, then wait.
    pub fn listen(&self) -> broadcast::Receiver<ApprovalId> {
        self.changes.subscribe()
    }

    /// Waits for something to deliver.
    pub async fn delivery(&self) {
        self.deliveries.notified().await;
    }
}
