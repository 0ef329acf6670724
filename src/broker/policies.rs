//! The policies in force, one per upstream; replaced whole, never in part.

use std::collections::HashMap;
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

    /// Names of upstreams whose policy was replaced: what is listed may have changed.
    pub fn changes(&self) -> broadcast::Receiver<String> {
        self.changes.subscribe()
    }
}
