//! Legacy requests under way, so that `notifications/cancelled` finds the one it names: by
//! session and id, never beyond the session it came in. Each message is a POST of its own, so that
//! a cancellation may come first; it is kept for a moment, for the request that is on its way.
//!
//! <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/cancellation#cancellation-flow>

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::time::Timestamp;

/// Session and request id, the latter raw JSON.
type Key = (String, String);

/// How long a cancellation waits for a request that it overtook. Short, since it can't be told from
/// one that came too late.
const EARLY_WITHIN: Duration = Duration::from_secs(10);
/// The longest id that is kept for that, bytes of raw JSON; those of clients are short.
const MAX_EARLY_ID: usize = 256;

/// Every legacy request that has not been answered.
#[derive(Debug, Default)]
pub(crate) struct InFlight(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    under_way: HashMap<Key, Arc<CancellationToken>>,
    /// By session, oldest first: cancelled before they came.
    early: HashMap<String, VecDeque<(Timestamp, String)>>,
}

impl Known {
    /// Keeps a cancellation; the oldest of its session's makes room.
    fn keep(&mut self, session: &str, id: &str, now: Timestamp, max: u32) {
        self.early.retain(|_, kept| {
            kept.retain(|(since, _)| since.until(now) < EARLY_WITHIN);
            !kept.is_empty()
        });
        if id.len() > MAX_EARLY_ID {
            return;
        }
        let kept = self.early.entry(session.to_owned()).or_default();
        kept.retain(|(_, other)| other != id);
        if kept.len() >= max as usize {
            kept.pop_front();
        }
        kept.push_back((now, id.to_owned()));
    }

    /// Whether this request was cancelled before it came; said once.
    fn was_early(&mut self, session: &str, id: &str, now: Timestamp) -> bool {
        let Some(kept) = self.early.get_mut(session) else { return false };
        let Some(at) = kept.iter().position(|(_, other)| other == id) else { return false };
        let found = kept.remove(at);
        if kept.is_empty() {
            self.early.remove(session);
        }
        found.is_some_and(|(since, _)| since.until(now) < EARLY_WITHIN)
    }
}

impl InFlight {
    /// Registers a request until the flight is dropped. It may be cancelled already.
    pub(crate) fn enter(
        self: &Arc<Self>,
        session: &str,
        id: &str,
        now: Timestamp,
    ) -> InFlightRequest {
        let key = (session.to_owned(), id.to_owned());
        let cancelled = Arc::new(CancellationToken::new());
        let mut known = self.lock();
        if known.was_early(session, id, now) {
            cancelled.cancel();
        }
        known.under_way.insert(key.clone(), Arc::clone(&cancelled));
        drop(known);
        InFlightRequest { entry: Some((Arc::clone(self), key)), cancelled }
    }

    /// Cancels a request of this very session, also one that comes right after this: at most `max`
    /// cancellations of a session wait for their requests.
    pub(crate) fn cancel(&self, session: &str, id: &str, now: Timestamp, max: u32) {
        let mut known = self.lock();
        match known.under_way.get(&(session.to_owned(), id.to_owned())) {
            Some(token) => token.cancel(),
            None => known.keep(session, id, now, max),
        }
    }

    /// Cancels all requests of a session that has ended: nobody can be answered there any more.
    pub(crate) fn end(&self, session: &str) {
        let mut known = self.lock();
        for ((of, _), token) in &known.under_way {
            if of == session {
                token.cancel();
            }
        }
        known.early.remove(session);
    }

    /// The sessions that have requests under way.
    pub(crate) fn sessions(&self) -> Vec<String> {
        self.lock().under_way.keys().map(|(session, _)| session.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

/// One request under way.
#[derive(Debug, Default)]
pub(crate) struct InFlightRequest {
    entry: Option<(Arc<InFlight>, Key)>,
    cancelled: Arc<CancellationToken>,
}

impl InFlightRequest {
    /// Fires when the client cancels the request by a notification.
    pub(crate) fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }
}

impl Drop for InFlightRequest {
    fn drop(&mut self) {
        let Some((registry, key)) = self.entry.take() else { return };
        let entries = &mut registry.lock().under_way;
        // A client that used the id twice has another request under it now.
        if entries.get(&key).is_some_and(|token| Arc::ptr_eq(token, &self.cancelled)) {
            entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u32 = 2;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn is_cancelled(all: &Arc<InFlight>, session: &str, id: &str, now: Timestamp) -> bool {
        all.enter(session, id, now).cancelled().is_cancelled()
    }

    #[test]
    fn a_request_is_cancelled_only_within_its_own_session() {
        let all = Arc::<InFlight>::default();
        let mine = all.enter("a", "1", at(0));
        let other = all.enter("b", "1", at(0));

        all.cancel("b", "1", at(0), MAX);
        all.cancel("a", "\"1\"", at(0), MAX);

        assert!(!mine.cancelled().is_cancelled());
        assert!(other.cancelled().is_cancelled());
    }

    #[test]
    fn the_end_of_a_session_cancels_what_is_under_way_in_it_and_nothing_else() {
        let all = Arc::<InFlight>::default();
        let (one, two) = (all.enter("a", "1", at(0)), all.enter("a", "2", at(0)));
        let other = all.enter("b", "1", at(0));
        all.cancel("a", "3", at(0), MAX);

        all.end("a");

        assert!(one.cancelled().is_cancelled() && two.cancelled().is_cancelled());
        assert!(!other.cancelled().is_cancelled());
        assert!(!is_cancelled(&all, "a", "3", at(0)));
        drop((one, two));
        assert_eq!(all.sessions(), ["b"]);
    }

    #[test]
    fn nothing_stays_behind_and_an_id_used_twice_names_the_later_request() {
        let all = Arc::<InFlight>::default();
        let first = all.enter("a", "1", at(0));
        let second = all.enter("a", "1", at(0));

        drop(first);
        all.cancel("a", "1", at(0), MAX);

        assert!(second.cancelled().is_cancelled());
        drop(second);
        let known = all.lock();
        assert!(known.under_way.is_empty() && known.early.is_empty());
    }

    #[test]
    fn a_cancellation_that_overtook_its_request_cancels_it_once_and_not_for_long() {
        let all = Arc::<InFlight>::default();
        for id in ["1", "2"] {
            all.cancel("a", id, at(0), MAX);
        }

        assert!(!is_cancelled(&all, "b", "1", at(1)), "of another session");
        assert!(is_cancelled(&all, "a", "1", at(9)));
        assert!(!is_cancelled(&all, "a", "1", at(9)), "once");
        assert!(!is_cancelled(&all, "a", "2", at(10)), "too late");
        assert!(all.lock().early.is_empty());
    }

    #[test]
    fn few_early_cancellations_of_a_session_are_kept_and_none_with_a_long_id() {
        let all = Arc::<InFlight>::default();
        for id in ["1", "2", "2", "3"] {
            all.cancel("a", id, at(0), MAX);
        }
        let long = "9".repeat(MAX_EARLY_ID + 1);
        all.cancel("b", &long, at(0), MAX);

        assert!(!is_cancelled(&all, "a", "1", at(1)), "the oldest made room");
        assert!(is_cancelled(&all, "a", "2", at(1)) && is_cancelled(&all, "a", "3", at(1)));
        assert!(!is_cancelled(&all, "b", &long, at(1)));

        all.cancel("a", "4", at(0), MAX);
        all.cancel("b", "5", at(20), MAX);
        assert_eq!(all.lock().early.len(), 1, "what is over makes room by itself");
    }
}
