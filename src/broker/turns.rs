//! People who decide about one approval at the same time take turns, instead of each computing a
//! change that all but one must compute anew.

use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};

use crate::domain::approval::ApprovalId;

/// How many approvals are changed at once; two that share a place wait for each other.
const PLACES: usize = 64;

/// The places where they wait, by the approval's id.
#[derive(Debug)]
pub(in crate::broker) struct Turns([Mutex<()>; PLACES]);

impl Default for Turns {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl Turns {
    /// The approval's turn, where nobody has it.
    pub(in crate::broker) fn free(&self, id: &ApprovalId) -> Option<MutexGuard<'_, ()>> {
        self.place(id).try_lock().ok()
    }

    /// Waits for the approval's turn; none if it does not come in time. Only this process takes
    /// turns: what another changes meanwhile is found by the approval's version.
    pub(in crate::broker) async fn of(
        &self,
        id: &ApprovalId,
        patience: Duration,
    ) -> Option<MutexGuard<'_, ()>> {
        tokio::time::timeout(patience, self.place(id).lock()).await.ok()
    }

    fn place(&self, id: &ApprovalId) -> &Mutex<()> {
        let sum: usize = id.as_str().bytes().map(usize::from).sum();
        &self.0[sum % PLACES]
    }
}
