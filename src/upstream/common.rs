//! One upstream as all its connections see it: its settings, and what they found out about it.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::health::HealthLog;
use super::{Catalog, ServerFacts, WireEra};

/// How long a stdio server may be silent to `server/discover` before it is taken for a legacy one.
const PROBE_SILENCE: Duration = Duration::from_secs(10);
/// How long a server may take to answer `initialize` (a package runner may download it first).
const HANDSHAKE_TIMEOUT: Duration = Duration::from_mins(1);

/// How long a server's requests to clients wait, and how many.
#[derive(Debug, Clone, Copy)]
pub(super) struct ServerRequestLimits {
    /// How long a server request that belongs to no request waits for a client to listen: servers ask
    /// for roots as soon as they are initialized, before the client's request is on its way.
    pub wait: Duration,
    /// Server requests that wait for a client's own stream; more are declined.
    pub waiting: usize,
}

impl Default for ServerRequestLimits {
    fn default() -> Self {
        Self { wait: Duration::from_secs(3), waiting: 16 }
    }
}

/// One upstream: its settings, and what is known of it.
pub(super) struct Common {
    pub name: String,
    /// How long the server may be silent about a call.
    pub timeout: Duration,
    /// Largest message that is read, bytes.
    pub max_message: usize,
    /// The era the configuration says; none: find out.
    pub pin: Option<WireEra>,
    /// Whether one connection serves several agents.
    pub shared: bool,
    /// How far the server may ask clients.
    pub server_requests: ServerRequestLimits,
    pub probe_silence: Duration,
    pub handshake_timeout: Duration,
    pub stop: CancellationToken,
    pub tracker: TaskTracker,
    /// Asks for a new tool list.
    pub relist: Notify,
    /// How the contact with it goes.
    pub health: HealthLog,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    era: Option<WireEra>,
    facts: Option<ServerFacts>,
    catalog: Option<Arc<Catalog>>,
    /// When that list came.
    listed_at: Option<Instant>,
}

impl Common {
    /// An upstream of which nothing is known yet.
    pub(super) fn new(
        name: &str,
        timeout: Duration,
        max_message: usize,
        pin: Option<WireEra>,
        tracker: &TaskTracker,
    ) -> Self {
        Self {
            name: name.to_owned(),
            timeout,
            max_message,
            pin,
            shared: false,
            server_requests: ServerRequestLimits::default(),
            probe_silence: PROBE_SILENCE,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            stop: CancellationToken::new(),
            tracker: tracker.clone(),
            relist: Notify::new(),
            health: HealthLog::default(),
            known: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no holder of this lock panics")
    }

    /// The era, if the configuration says it or a connection found out.
    pub(super) fn era(&self) -> Option<WireEra> {
        self.pin.or(self.known().era)
    }

    /// Remembers what a handshake found out.
    pub(super) fn learn(&self, facts: &ServerFacts) {
        let mut known = self.known();
        known.era = Some(facts.era);
        known.facts = Some(facts.clone());
        drop(known);
        self.health.answered();
    }

    /// Forgets the era, which did not fit: the next connection finds out anew.
    pub(super) fn forget_era(&self) {
        self.known().era = None;
    }

    /// What the last handshake found out.
    pub(super) fn facts(&self) -> Option<ServerFacts> {
        self.known().facts.clone()
    }

    /// The last tool list.
    pub(super) fn catalog(&self) -> Option<Arc<Catalog>> {
        self.known().catalog.clone()
    }

    /// The last tool list, if it came at most `age` ago.
    pub(super) fn catalog_within(&self, age: Duration) -> Option<Arc<Catalog>> {
        let known = self.known();
        known.listed_at.filter(|at| at.elapsed() <= age).and(known.catalog.clone())
    }

    /// Replaces the tool list.
    pub(super) fn set_catalog(&self, catalog: Arc<Catalog>) {
        self.health.listed_tools(catalog.tools.len());
        let mut known = self.known();
        known.catalog = Some(catalog);
        known.listed_at = Some(Instant::now());
    }
}
