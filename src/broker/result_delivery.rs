//! Ends on their way to an agent. An end is owed until it was handed over, and only then marked as
//! told: a process killed in between tells it again, rather than not at all.
//!
//! While an end is on its way the identical call waits here, so that it finds the end told and
//! does not hear it twice. This is of one process; a second broker may repeat an end, never lose it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

use crate::domain::approval::{Approval, ApprovalId};
use crate::domain::call::Digest;
use crate::notified::until;

use super::Broker;

/// Longest wait of the identical call for an end on its way; a slow reader may take longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Agent and digest: what makes calls identical.
type Key = (String, Digest);

/// The ends on their way.
#[derive(Debug, Default)]
pub(super) struct ResultsUnderWay {
    under_way: Mutex<HashMap<Key, usize>>,
    over: Notify,
}

impl ResultsUnderWay {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, usize>> {
        self.under_way.lock().expect("no holder of this lock panics")
    }
}

/// An end on its way to the agent. Dropped without [`OwedResult::handed_over`], it is owed still.
#[derive(Debug)]
pub struct OwedResult {
    broker: Broker,
    id: ApprovalId,
    key: Key,
}

impl OwedResult {
    /// It went to a connection that is not known to be closed: marked as told, behind the answer.
    pub fn handed_over(self) {
        let tracker = self.broker.tracker().clone();
        tracker.spawn(self.told());
    }

    /// Marks it as told.
    pub async fn told(self) {
        if let Err(error) =
            self.broker.store().approvals().take_end(&self.id, self.broker.now()).await
        {
            tracing::error!(
                approval.id = %self.id, %error,
                "the end of approval {} is told, and may be told again", self.id
            );
        }
    }
}

impl Drop for OwedResult {
    fn drop(&mut self) {
        let results = &self.broker.inner.results_under_way;
        let mut under_way = results.lock();
        if let Some(count) = under_way.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.key);
            }
        }
        drop(under_way);
        results.over.notify_waiters();
    }
}

impl Broker {
    /// Begins to tell the end of an approval; none where it is owed no more.
    pub(super) fn owed_result(&self, approval: &Approval) -> Option<OwedResult> {
        if !approval.owed {
            return None;
        }
        let key = (approval.agent.clone(), approval.digest().clone());
        *self.inner.results_under_way.lock().entry(key.clone()).or_default() += 1;
        Some(OwedResult { broker: self.clone(), id: approval.id.clone(), key })
    }

    /// Waits until no end of this very call is on its way.
    pub(super) async fn all_told(&self, agent: &str, digest: &Digest) {
        let key = (agent.to_owned(), digest.clone());
        let results = &self.inner.results_under_way;
        let told = until(&results.over, || (!results.lock().contains_key(&key)).then_some(()));
        let _ = tokio::time::timeout(PATIENCE, told).await;
    }
}
