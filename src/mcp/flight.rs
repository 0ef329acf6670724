//! Legacy requests under way, so that `notifications/cancelled` finds the one it names: by
//! session and id, never beyond the session it came in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio_util::sync::CancellationToken;

type Key = (String, String);

/// Every legacy request that has not been answered.
#[derive(Debug, Default)]
pub(super) struct InFlight(Mutex<HashMap<Key, Arc<CancellationToken>>>);

impl InFlight {
    /// Registers a request until the flight is dropped.
    pub(super) fn enter(self: &Arc<Self>, session: &str, id: &str) -> Flight {
        let key = (session.to_owned(), id.to_owned());
        let cancelled = Arc::new(CancellationToken::new());
        self.lock().insert(key.clone(), Arc::clone(&cancelled));
        Flight { entry: Some((Arc::clone(self), key)), cancelled }
    }

    /// Cancels a request of this very session.
    pub(super) fn cancel(&self, session: &str, id: &str) {
        if let Some(token) = self.lock().get(&(session.to_owned(), id.to_owned())) {
            token.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<CancellationToken>>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

/// One request under way.
#[derive(Debug, Default)]
pub(super) struct Flight {
    entry: Option<(Arc<InFlight>, Key)>,
    cancelled: Arc<CancellationToken>,
}

impl Flight {
    /// Fires when the client cancels the request by a notification.
    pub(super) fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let Some((registry, key)) = self.entry.take() else { return };
        let mut entries = registry.lock();
        // A client that used the id twice has another request under it now.
        if entries.get(&key).is_some_and(|token| Arc::ptr_eq(token, &self.cancelled)) {
            entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_cancelled_only_within_its_own_session() {
        let all = Arc::<InFlight>::default();
        let mine = all.enter("a", "1");
        let other = all.enter("b", "1");

        all.cancel("b", "1");
        all.cancel("a", "\"1\"");

        assert!(!mine.cancelled().is_cancelled());
        assert!(other.cancelled().is_cancelled());
    }

    #[test]
    fn nothing_stays_behind_and_an_id_used_twice_names_the_later_request() {
        let all = Arc::<InFlight>::default();
        let first = all.enter("a", "1");
        let second = all.enter("a", "1");

        drop(first);
        all.cancel("a", "1");

        assert!(second.cancelled().is_cancelled());
        drop(second);
        assert!(all.lock().is_empty());
    }
}
