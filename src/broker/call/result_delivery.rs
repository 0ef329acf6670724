//! Owed results on their way to an agent. A result is owed until it was handed over, and marked
//! only after that: if the process is killed in between, it is told twice rather than never.
//!
//! While a result is on its way the identical call waits here, so that it finds it handed over and
//! does not get it twice. Other processes do not know of that: a second broker may repeat a result,
//! but never lose it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

use crate::domain::approval::{Approval, ApprovalId};
use crate::domain::audit::AuditEvent;
use crate::domain::call::Digest;
use crate::notified::until;

use crate::broker::Broker;

/// Longest wait of the identical call for a result on its way; a slow client may take longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Name of the agent and digest of the call: together they make calls identical.
type Key = (String, Digest);

/// The results on their way, counted for each call.
#[derive(Debug, Default)]
pub(in crate::broker) struct ResultsUnderWay {
    under_way: Mutex<HashMap<Key, usize>>,
    over: Notify,
}

impl ResultsUnderWay {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, usize>> {
        self.under_way.lock().expect("no holder of this lock panics")
    }
}

/// A result on its way to the agent. Dropped without [`OwedResult::handed_over`], it stays owed.
#[derive(Debug)]
pub struct OwedResult {
    broker: Broker,
    id: ApprovalId,
    key: Key,
    /// The record that it was told.
    event: AuditEvent,
}

impl OwedResult {
    /// The result went to a connection that is not known to be closed: marks it in the background.
    pub fn handed_over(self) {
        let tracker = self.broker.tracker().clone();
        tracker.spawn(self.told());
    }

    /// Marks the result as handed over.
    pub async fn told(self) {
        let event = AuditEvent { at: self.broker.now(), ..self.event.clone() };
        if let Err(error) = self.broker.store().approvals().take_end(&self.id, event).await {
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
    /// Begins the hand-over of an approval's result; none if it is no longer owed.
    pub(in crate::broker) fn owed_result(&self, approval: &Approval) -> Option<OwedResult> {
        if !approval.owed {
            return None;
        }
        let key = (approval.agent.clone(), approval.digest().clone());
        *self.inner.results_under_way.lock().entry(key.clone()).or_default() += 1;
        let event = approval.end_told(self.now());
        Some(OwedResult { broker: self.clone(), id: approval.id.clone(), key, event })
    }

    /// Whether no result of any call is on its way.
    pub(in crate::broker) fn none_is_told(&self) -> bool {
        self.inner.results_under_way.lock().is_empty()
    }

    /// Waits until no result of this very call is on its way.
    pub(in crate::broker) async fn all_told(&self, agent: &str, digest: &Digest) {
        let key = (agent.to_owned(), digest.clone());
        let results = &self.inner.results_under_way;
        let told = until(&results.over, || (!results.lock().contains_key(&key)).then_some(()));
        let _ = tokio::time::timeout(PATIENCE, told).await;
    }
}
