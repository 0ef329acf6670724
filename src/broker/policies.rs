//! The policies in force, one per upstream; replaced whole, never in part.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, RwLock};

use tokio::sync::broadcast;

use crate::config::Config;
use crate::domain::policy::Policy;

/// The policies in force.
#[derive(Debug)]
pub struct Policies {
    current: RwLock<HashMap<String, Arc<Policy>>>,
    changes: broadcast::Sender<String>,
}

/// What became of one upstream's policy when all were read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It had none before.
    Added,
    /// It reads otherwise than before.
    Changed,
    /// It is the same, byte for byte.
    Unchanged,
    /// It has none any more: everything is denied.
    Removed,
}

impl Policies {
    /// The policies of the configuration.
    pub fn new(config: &Config) -> Self {
        let current = config
            .upstreams
            .iter()
            .filter_map(|u| Some((u.name.clone(), u.policy.clone()?)))
            .collect();
        Self { current: RwLock::new(current), changes: broadcast::channel(64).0 }
    }

    /// The policy of an upstream; none if it has none, and then every call is denied.
    pub fn of(&self, upstream: &str) -> Option<Arc<Policy>> {
        self.current.read().expect("no holder of this lock panics").get(upstream).cloned()
    }

    /// Puts a policy in force.
    pub fn replace(&self, upstream: &str, policy: Arc<Policy>) {
        self.current
            .write()
            .expect("no holder of this lock panics")
            .insert(upstream.to_owned(), policy);
        // Nobody listening is fine.
        let _ = self.changes.send(upstream.to_owned());
    }

    /// Puts exactly these policies in force, all at one instant: an upstream that has none here has
    /// none from now on. Says what became of each that was or is in force, by name.
    pub fn replace_all(&self, fresh: HashMap<String, Arc<Policy>>) -> BTreeMap<String, Change> {
        let mut current = self.current.write().expect("no holder of this lock panics");
        let mut changes = BTreeMap::new();
        for (name, policy) in &fresh {
            let change = match current.get(name) {
                None => Change::Added,
                Some(old) if old.source_fingerprint() == policy.source_fingerprint() => {
                    Change::Unchanged
                }
                Some(_) => Change::Changed,
            };
            changes.insert(name.clone(), change);
        }
        for name in current.keys().filter(|name| !fresh.contains_key(*name)) {
            changes.insert(name.clone(), Change::Removed);
        }
        *current = fresh;
        drop(current);
        for (name, _) in changes.iter().filter(|(_, change)| **change != Change::Unchanged) {
            let _ = self.changes.send(name.clone());
        }
        changes
    }

    /// Names of upstreams whose policy was replaced or removed: what is listed may have changed.
    pub fn changes(&self) -> broadcast::Receiver<String> {
        self.changes.subscribe()
    }
}
