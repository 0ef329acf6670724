//! Audit records of allowed calls, written in groups behind the calls.

use std::sync::Mutex;

use tokio::sync::Notify;

use crate::domain::audit::AuditEvent;

/// Most records written in one transaction.
const GROUP: usize = 500;

/// One record that waits.
#[derive(Debug, Clone)]
pub struct CallRecord(pub AuditEvent);

/// The records that wait for the store.
///
/// Bounded by `audit.max_buffered`; emptied in groups as soon as the store takes them.
#[derive(Debug)]
pub struct CallLog {
    max: usize,
    waiting: Mutex<Vec<AuditEvent>>,
    wake: Notify,
}

impl CallLog {
    /// None yet; at most `max` wait.
    pub fn new(max: u32) -> Self {
        Self { max: max as usize, waiting: Mutex::default(), wake: Notify::new() }
    }

    /// Adds one; false if too many wait.
    pub fn push(&self, record: CallRecord) -> bool {
        let mut waiting = self.waiting.lock().expect("no holder of this lock panics");
        if waiting.len() >= self.max {
            return false;
        }
        waiting.push(record.0);
        drop(waiting);
        self.wake.notify_one();
        true
    }

    /// The next group, oldest first.
    pub fn take(&self) -> Vec<AuditEvent> {
        let mut waiting = self.waiting.lock().expect("no holder of this lock panics");
        let n = waiting.len().min(GROUP);
        waiting.drain(..n).collect()
    }

    /// Puts a group back that could not be written.
    pub fn put_back(&self, mut group: Vec<AuditEvent>) {
        let mut waiting = self.waiting.lock().expect("no holder of this lock panics");
        group.append(&mut waiting);
        *waiting = group;
    }

    /// Waits until there is something to write.
    pub async fn filled(&self) {
        self.wake.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::Kind;
    use crate::domain::time::Timestamp;

    #[test]
    fn records_are_kept_up_to_the_named_bound_and_not_lost_when_put_back() {
        const MAX: u32 = 700;
        let log = CallLog::new(MAX);
        let event = || AuditEvent::new(Kind::CallAllowed, "a", Timestamp::from_micros(0));

        for _ in 0..MAX {
            assert!(log.push(CallRecord(event())));
        }

        assert!(!log.push(CallRecord(event())));
        let group = log.take();
        assert_eq!(group.len(), GROUP);
        log.put_back(group);
        assert!(!log.push(CallRecord(event())));
    }
}
