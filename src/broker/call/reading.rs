//! Reading approvals for many who wait at once: while one statement is under way, the next collects
//! whoever asks meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;

use crate::domain::approval::{Approval, ApprovalId};
use crate::store::StoreError;

use crate::broker::Broker;

/// Most approvals read in one verb of the store.
const MOST: usize = 128;

/// What was read: none where there is no such approval. The error is told to all who asked.
type Read = Result<Option<Arc<Approval>>, Arc<StoreError>>;

/// Who wants to read what.
///
/// Bounded by those who wait for approvals, each of which reads one at a time; emptied by each read.
#[derive(Debug, Default)]
pub(in crate::broker) struct Readings(Mutex<Wanted>);

#[derive(Debug, Default)]
struct Wanted {
    asked: Vec<(ApprovalId, oneshot::Sender<Read>)>,
    is_reading: bool,
}

impl Readings {
    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// One more asks; true where nobody reads yet.
    fn ask(&self, id: &ApprovalId, tell: oneshot::Sender<Read>) -> bool {
        let mut wanted = self.lock();
        wanted.asked.push((id.clone(), tell));
        !std::mem::replace(&mut wanted.is_reading, true)
    }

    /// The next who asked; none ends the reading.
    fn next(&self) -> Vec<(ApprovalId, oneshot::Sender<Read>)> {
        let mut wanted = self.lock();
        let count = wanted.asked.len().min(MOST);
        let some: Vec<_> = wanted.asked.drain(..count).collect();
        wanted.is_reading = !some.is_empty();
        some
    }
}

impl Broker {
    /// The approval as it stands after this call; who stops waiting for it harms no other.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read.
    pub(super) async fn read_with_others(&self, id: &ApprovalId) -> Read {
        let (tell, told) = oneshot::channel();
        if self.inner.readings.ask(id, tell) {
            tokio::spawn(self.clone().read_all());
        }
        // It ends without a word only where it panicked, or its runtime ends.
        told.await.unwrap_or_else(|_| Err(Arc::new(StoreError::away())))
    }

    async fn read_all(self) {
        loop {
            let asked = self.inner.readings.next();
            if asked.is_empty() {
                return;
            }
            let mut ids: Vec<ApprovalId> = asked.iter().map(|(id, _)| id.clone()).collect();
            ids.sort_unstable();
            ids.dedup();
            match self.store().changes().of(&ids, self.now()).await {
                Ok(found) => {
                    let found: HashMap<ApprovalId, Arc<Approval>> =
                        found.into_iter().map(|a| (a.id.clone(), Arc::new(a))).collect();
                    for (id, tell) in asked {
                        // Who is gone needs no answer.
                        let _ = tell.send(Ok(found.get(&id).cloned()));
                    }
                }
                Err(error) => {
                    let error = Arc::new(error);
                    for (_, tell) in asked {
                        let _ = tell.send(Err(Arc::clone(&error)));
                    }
                }
            }
        }
    }
}
