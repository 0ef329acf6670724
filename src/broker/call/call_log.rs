//! Audit records of allowed calls, written in groups behind the calls.

use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::domain::audit::AuditEvent;

/// Most records written in one transaction: it keeps other writers waiting for a few milliseconds.
const GROUP: usize = 1_000;

/// One record that waits.
#[derive(Debug, Clone)]
pub struct CallRecord(pub AuditEvent);

/// The records that wait for the store.
///
/// Bounded by `audit.max_buffered`; emptied in groups as soon as the store takes them.
#[derive(Debug)]
pub struct CallLog {
    max: usize,
    /// So many are worth a transaction at once.
    full: usize,
    waiting: Mutex<Vec<AuditEvent>>,
    /// The writer is woken by the first record and by the one that makes a group full, not by those
    /// between them.
    first_came: Notify,
    full_came: Notify,
}

impl CallLog {
    /// None yet; at most `max` wait.
    pub fn new(max: u32) -> Self {
        let max = max as usize;
        Self {
            max,
            // Calls shall not find the bound reached while there is nobody who writes.
            full: GROUP.min(max / 2).max(1),
            waiting: Mutex::default(),
            first_came: Notify::new(),
            full_came: Notify::new(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<AuditEvent>> {
        self.waiting.lock().expect("no holder of this lock panics")
    }

    /// Adds one; false if too many wait.
    pub fn push(&self, record: CallRecord) -> bool {
        let mut waiting = self.waiting();
        if waiting.len() >= self.max {
            return false;
        }
        waiting.push(record.0);
        let n = waiting.len();
        drop(waiting);
        if n == 1 {
            self.first_came.notify_one();
        }
        if n == self.full {
            self.full_came.notify_one();
        }
        true
    }

    /// The next group, oldest first.
    pub fn take(&self) -> Vec<AuditEvent> {
        let mut waiting = self.waiting();
        if waiting.len() <= GROUP {
            return std::mem::take(&mut *waiting);
        }
        waiting.drain(..GROUP).collect()
    }

    /// Puts a group back that could not be written.
    pub fn put_back(&self, mut group: Vec<AuditEvent>) {
        let mut waiting = self.waiting();
        group.append(&mut waiting);
        *waiting = group;
    }

    /// Waits until there is something to write. One task at a time may wait for it.
    pub async fn filled(&self) {
        while self.waiting().is_empty() {
            self.first_came.notified().await;
        }
    }

    /// Waits until a whole group is there. One task at a time may wait for it.
    pub async fn full(&self) {
        while self.waiting().len() < self.full {
            self.full_came.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake, Waker};

    use super::*;
    use crate::domain::audit::Kind;
    use crate::domain::time::Timestamp;

    fn record() -> CallRecord {
        CallRecord(AuditEvent::new(Kind::CallAllowed, "a", Timestamp::from_micros(0)))
    }

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn records_are_kept_up_to_the_named_bound_and_not_lost_when_put_back() {
        const MAX: u32 = 1_400;
        let log = CallLog::new(MAX);

        for _ in 0..MAX {
            assert!(log.push(record()));
        }

        assert!(!log.push(record()));
        let group = log.take();
        assert_eq!(group.len(), GROUP);
        log.put_back(group);
        assert!(!log.push(record()));
    }

    #[test]
    fn the_writer_is_woken_by_the_first_record_and_by_a_full_group_and_by_none_between_them() {
        let log = CallLog::new(10_000);
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        let mut context = Context::from_waker(&waker);
        let woken = || wakes.0.swap(0, Ordering::Relaxed);

        let mut filled = pin!(log.filled());
        assert!(filled.as_mut().poll(&mut context).is_pending());
        assert!(log.push(record()));
        assert_eq!(woken(), 1);
        assert!(filled.as_mut().poll(&mut context).is_ready());
        let mut full = pin!(log.full());
        assert!(full.as_mut().poll(&mut context).is_pending());
        for _ in 2..GROUP {
            assert!(log.push(record()));
        }
        assert_eq!(woken(), 0);
        assert!(log.push(record()));
        assert_eq!(woken(), 1);
        assert!(full.as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn a_small_bound_is_written_before_it_is_reached() {
        let log = CallLog::new(4);
        let mut context = Context::from_waker(Waker::noop());
        let mut full = pin!(log.full());

        assert!(log.push(record()));
        assert!(full.as_mut().poll(&mut context).is_pending());
        assert!(log.push(record()));

        assert!(full.as_mut().poll(&mut context).is_ready());
    }
}
