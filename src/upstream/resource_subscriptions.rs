//! The resources of one connection that somebody wants to hear of: counted, so that the server is
//! asked for each while anybody cares, and left alone once nobody does.
//!
//! <https://modelcontextprotocol.io/specification/2025-11-25/server/resources#subscriptions>,
//! <https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/subscriptions>

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Mutex as AsyncMutex, watch};

/// Keeps a resource watched; dropping it ends that, unless somebody else watches it too.
pub struct Watch {
    _kept: Box<dyn Send + Sync>,
}

impl Watch {
    /// A watch that keeps `kept` until it is dropped itself.
    pub fn new(kept: impl Send + Sync + 'static) -> Self {
        Self { _kept: Box::new(kept) }
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}

/// What came of the wish to hear of a resource.
#[derive(Debug)]
pub enum Watching {
    /// The server tells of it.
    Agreed(Watch),
    /// The server could not be asked, for this reason; it is asked again as soon as it can be.
    Later(Watch, String),
    /// The server does not tell of it; raw JSON of its error, where it gave one.
    Refused(Option<String>),
}

/// All watched resources of one connection.
#[derive(Debug, Default)]
pub(super) struct ResourceSubscriptions {
    entries: Mutex<BTreeMap<String, Entry>>,
    /// Counts the changes of the set.
    changes: watch::Sender<u64>,
    agreed: watch::Sender<Agreed>,
}

#[derive(Debug, Default)]
struct Entry {
    count: u32,
    /// Held while the server is asked about this resource, so that the end of one watch can't
    /// overtake the begin of the next.
    turn: Arc<AsyncMutex<()>>,
}

/// What a modern server agreed to tell of, and after how many changes.
#[derive(Debug, Default)]
struct Agreed {
    change: u64,
    uris: BTreeSet<String>,
}

/// A watch that was counted.
pub(super) struct Added {
    /// The lock to hold while the server is asked about the resource.
    pub turn: Arc<AsyncMutex<()>>,
    /// The set holds it from this change on.
    pub change: u64,
}

impl ResourceSubscriptions {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.entries.lock().expect("no holder of this lock panics")
    }

    /// Counts one more who watches this resource.
    pub(super) fn add(&self, uri: &str) -> Added {
        let mut entries = self.entries();
        let entry = entries.entry(uri.to_owned()).or_default();
        entry.count += 1;
        if entry.count == 1 {
            self.changes.send_modify(|n| *n += 1);
        }
        Added { turn: Arc::clone(&entry.turn), change: *self.changes.borrow() }
    }

    /// Counts one less; true if nobody is left. The entry stays until it is [`Self::forget`].
    pub(super) fn remove(&self, uri: &str) -> bool {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(uri) else { return false };
        entry.count = entry.count.saturating_sub(1);
        if entry.count > 0 {
            return false;
        }
        self.changes.send_modify(|n| *n += 1);
        true
    }

    /// Whether anybody watches it.
    pub(super) fn holds(&self, uri: &str) -> bool {
        self.entries().get(uri).is_some_and(|e| e.count > 0)
    }

    /// The lock to hold while the server is asked about the resource; none if it is not kept.
    pub(super) fn turn(&self, uri: &str) -> Option<Arc<AsyncMutex<()>>> {
        self.entries().get(uri).map(|e| Arc::clone(&e.turn))
    }

    /// Drops the entry of a resource that nobody watches any more.
    pub(super) fn forget(&self, uri: &str) {
        let mut entries = self.entries();
        if entries.get(uri).is_some_and(|e| e.count == 0) {
            entries.remove(uri);
        }
    }

    /// Whether nobody watches anything.
    pub(super) fn is_empty(&self) -> bool {
        self.entries().values().all(|e| e.count == 0)
    }

    /// Everything that is watched, and the number of the last change.
    pub(super) fn snapshot(&self) -> (u64, Vec<String>) {
        let entries = self.entries();
        let uris = entries.iter().filter(|(_, e)| e.count > 0).map(|(uri, _)| uri.clone());
        (*self.changes.borrow(), uris.collect())
    }

    /// Receives the number of each change of the set.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// A modern server has agreed to these, asked with the set of that change.
    pub(super) fn agree(&self, change: u64, uris: BTreeSet<String>) {
        self.agreed.send_if_modified(|agreed| {
            let newer = change >= agreed.change;
            if newer {
                *agreed = Agreed { change, uris };
            }
            newer
        });
    }

    /// A modern server that has not answered to the set of that change will not.
    pub(super) fn decline(&self, change: u64) {
        self.agreed.send_if_modified(|agreed| {
            let newer = change > agreed.change;
            if newer {
                *agreed = Agreed { change, uris: BTreeSet::new() };
            }
            newer
        });
    }

    /// Waits until a modern server has answered to the set of that change, or to a later one.
    pub(super) async fn answered(&self, change: u64) {
        // The sender lives as long as we do.
        let _ = self.agreed.subscribe().wait_for(|a| a.change >= change).await;
    }

    /// Waits until a modern server has answered to the set of that change; whether it tells of
    /// the resource.
    pub(super) async fn agreed(&self, uri: &str, change: u64) -> bool {
        let mut agreed = self.agreed.subscribe();
        // The sender lives as long as we do.
        agreed.wait_for(|a| a.change >= change).await.is_ok_and(|a| a.uris.contains(uri))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_who_leaves_ends_it_and_only_new_ones_change_the_set() {
        let watched = ResourceSubscriptions::default();
        let first = watched.add("a:1").change;
        let second = watched.add("a:1").change;
        watched.add("a:2");

        assert_eq!((first, second), (1, 1));
        assert_eq!(watched.snapshot(), (2, vec!["a:1".to_owned(), "a:2".to_owned()]));
        assert!(!watched.remove("a:1"));
        assert!(watched.holds("a:1"));
        assert!(watched.remove("a:1"));
        assert_eq!(watched.snapshot(), (3, vec!["a:2".to_owned()]));
        watched.forget("a:1");
        assert!(!watched.remove("a:1") && watched.turn("a:1").is_none());
    }

    #[tokio::test]
    async fn an_agreement_counts_for_the_set_it_answers() {
        let watched = ResourceSubscriptions::default();
        let change = watched.add("a:1").change;
        watched.agree(change, ["a:1".to_owned()].into());
        assert!(watched.agreed("a:1", change).await);

        let change = watched.add("a:2").change;
        watched.agree(change, ["a:1".to_owned()].into());
        assert!(!watched.agreed("a:2", change).await);
        assert!(watched.agreed("a:1", change).await);
    }
}
