//! The policies in force, one per upstream; replaced whole, never in part.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, RwLock, RwLockWriteGuard};

use sha2::{Digest as _, Sha256};
use tokio::sync::broadcast;

use crate::config::Config;
use crate::domain::call::hex;
use crate::domain::policy::Policy;

/// The policies in force.
#[derive(Debug)]
pub struct Policies {
    current: RwLock<HashMap<String, Arc<Policy>>>,
    fingerprint: RwLock<Arc<str>>,
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
        let fingerprint = RwLock::new(fingerprint_of(&current));
        Self { current: RwLock::new(current), fingerprint, changes: broadcast::channel(64).0 }
    }

    /// Names all that are in force together: 64 lower-case hex digits. Equal ones judge alike.
    pub fn fingerprint(&self) -> Arc<str> {
        Arc::clone(&self.fingerprint.read().expect("no holder of this lock panics"))
    }

    /// The policy of an upstream; none if it has none, and then every call is denied.
    pub fn of(&self, upstream: &str) -> Option<Arc<Policy>> {
        self.current.read().expect("no holder of this lock panics").get(upstream).cloned()
    }

    /// Puts a policy in force.
    pub fn replace(&self, upstream: &str, policy: Arc<Policy>) {
        let mut current = self.current.write().expect("no holder of this lock panics");
        current.insert(upstream.to_owned(), policy);
        self.in_force(current);
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
        self.in_force(current);
        for (name, _) in changes.iter().filter(|(_, change)| **change != Change::Unchanged) {
            let _ = self.changes.send(name.clone());
        }
        changes
    }

    /// Notes what is in force now, before anybody else can read it.
    fn in_force(&self, current: RwLockWriteGuard<'_, HashMap<String, Arc<Policy>>>) {
        *self.fingerprint.write().expect("no holder of this lock panics") =
            fingerprint_of(&current);
        drop(current);
    }

    /// Names of upstreams whose policy was replaced or removed: what is listed may have changed.
    pub fn changes(&self) -> broadcast::Receiver<String> {
        self.changes.subscribe()
    }
}

fn fingerprint_of(policies: &HashMap<String, Arc<Policy>>) -> Arc<str> {
    let sorted: BTreeMap<_, _> = policies.iter().collect();
    let mut hash = Sha256::new();
    for (name, policy) in sorted {
        hash.update(format!("{}:{name}={}\n", name.len(), policy.source_fingerprint()));
    }
    hex(&hash.finalize()).into()
}
