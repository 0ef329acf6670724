//! One upstream as all its connections see it: its settings, and what they found out about it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::health::HealthLog;
use super::link::Pauses;
use super::mirrored_headers::{self, Mirror};
use super::{Catalog, ServerFacts, WireEra};

/// How long a stdio server may be silent to `server/discover` before it is taken for a legacy one.
const PROBE_SILENCE: Duration = Duration::from_secs(10);

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

/// How much of one list is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct ListBounds {
    /// Most pages.
    pub pages: usize,
    /// Most entries; a longer list counts as unreadable.
    pub entries: usize,
}

impl Default for ListBounds {
    fn default() -> Self {
        Self { pages: 1_000, entries: 10_000 }
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
    /// Whether what its tools claim of themselves may make their class milder.
    pub trusts: bool,
    /// How far the server may ask clients.
    pub server_requests: ServerRequestLimits,
    /// How much of its lists is read.
    pub lists: ListBounds,
    /// How long a stdio server may be silent to `server/discover`.
    pub probe_silence: Duration,
    /// How long a handshake may take (a package runner may download the server first).
    pub handshake_timeout: Duration,
    /// The waits between attempts to reach it.
    pub pauses: Pauses,
    /// Most children that one request is sent to, one after the other, each of which left before it
    /// read it. Each of them answered another request first, so it is how many may wait with it.
    pub max_starts: u32,
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
    /// Whether it speaks the modern era.
    modern: Option<bool>,
    /// Whether it takes `initialize`.
    legacy: Option<bool>,
    /// What it said of itself in the modern era.
    modern_facts: Option<ServerFacts>,
    /// What it said of itself in the legacy era.
    legacy_facts: Option<ServerFacts>,
    catalog: Option<Arc<Catalog>>,
    /// The arguments that its tools want mirrored; those that want none are not in it. Replaced with
    /// the list, which bounds it.
    mirrors: HashMap<String, Arc<[Mirror]>>,
    /// When that list came.
    listed_at: Option<Instant>,
}

/// How a connection is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// With `initialize` alone.
    Legacy,
    /// With `server/discover` alone.
    Modern,
    /// With `initialize`; a server that refuses it is known to speak the modern era.
    LegacyElseModern,
    /// With `server/discover`, which finds out.
    Probe,
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
            trusts: false,
            server_requests: ServerRequestLimits::default(),
            lists: ListBounds::default(),
            probe_silence: PROBE_SILENCE,
            handshake_timeout: Duration::from_mins(1),
            pauses: Pauses::default(),
            max_starts: 1_000,
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

    /// How a connection is begun, by the configuration and by what is known; `legacy_first`: a
    /// server of both eras is spoken to in the legacy one.
    pub(super) fn opening(&self, legacy_first: bool) -> Opening {
        match self.pin {
            Some(WireEra::Legacy) => return Opening::Legacy,
            Some(WireEra::Modern) => return Opening::Modern,
            None => {}
        }
        let known = self.known();
        match (known.modern, known.legacy) {
            (None, _) => Opening::Probe,
            (Some(false), _) => Opening::Legacy,
            (Some(true), Some(true)) if legacy_first => Opening::Legacy,
            (Some(true), None) if legacy_first => Opening::LegacyElseModern,
            (Some(true), _) => Opening::Modern,
        }
    }

    /// Remembers what a handshake found out.
    pub(super) fn learn(&self, facts: &ServerFacts) {
        let mut known = self.known();
        match facts.era {
            WireEra::Modern => {
                known.modern = Some(true);
                known.modern_facts = Some(facts.clone());
            }
            WireEra::Legacy => {
                known.legacy = Some(true);
                known.legacy_facts = Some(facts.clone());
                // Nobody says `initialize` first to a server that may be modern.
                if !*known.modern.get_or_insert(false) {
                    known.modern_facts = None;
                }
            }
        }
        drop(known);
        self.health.answered();
    }

    /// Remembers that a modern server does not take `initialize`.
    pub(super) fn refuses_initialize(&self) {
        let mut known = self.known();
        known.legacy = Some(false);
        known.legacy_facts = None;
    }

    /// Forgets the era, which did not fit: the next connection finds out anew.
    pub(super) fn forget_era(&self) {
        let mut known = self.known();
        (known.modern, known.legacy) = (None, None);
    }

    /// What the last handshake found out, of the modern era if there is any.
    pub(super) fn facts(&self) -> Option<ServerFacts> {
        let known = self.known();
        known.modern_facts.clone().or_else(|| known.legacy_facts.clone())
    }

    /// The era of these.
    pub(super) fn era(&self) -> Option<WireEra> {
        let known = self.known();
        known.modern_facts.as_ref().or(known.legacy_facts.as_ref()).map(|facts| facts.era)
    }

    /// The era of [`Common::facts_for`].
    pub(super) fn era_for(&self, legacy_first: bool) -> Option<WireEra> {
        self.look_for(legacy_first, |facts| facts.era)
    }

    /// What a connection would find out that is begun now; none where it has to be begun for that.
    pub(super) fn facts_for(&self, legacy_first: bool) -> Option<ServerFacts> {
        self.look_for(legacy_first, Clone::clone)
    }

    fn look_for<T>(&self, legacy_first: bool, look: impl Fn(&ServerFacts) -> T) -> Option<T> {
        let opening = self.opening(legacy_first);
        let known = self.known();
        let (legacy, modern) = (known.legacy_facts.as_ref(), known.modern_facts.as_ref());
        let facts = match opening {
            Opening::Legacy => legacy,
            Opening::Modern => modern,
            Opening::LegacyElseModern => None,
            Opening::Probe if legacy_first => legacy.or(modern),
            Opening::Probe => modern.or(legacy),
        };
        facts.map(look)
    }

    /// The last tool list.
    pub(super) fn catalog(&self) -> Option<Arc<Catalog>> {
        self.known().catalog.clone()
    }

    /// The arguments that this tool wants mirrored in headers; none where it wants none.
    pub(super) fn mirrors_of(&self, tool: &str) -> Option<Arc<[Mirror]>> {
        let known = self.known();
        if known.mirrors.is_empty() { None } else { known.mirrors.get(tool).cloned() }
    }

    /// The last tool list, if it came at most `age` ago.
    pub(super) fn catalog_within(&self, age: Duration) -> Option<Arc<Catalog>> {
        let known = self.known();
        known.listed_at.filter(|at| at.elapsed() <= age).and(known.catalog.clone())
    }

    /// Replaces the tool list.
    pub(super) fn set_catalog(&self, catalog: Arc<Catalog>) {
        self.health.listed_tools(catalog.tools.len());
        let wanted = catalog.tools.iter().filter_map(|tool| {
            let mirrors = mirrored_headers::mirrors(&tool.raw).ok()?;
            (!mirrors.is_empty()).then(|| (tool.name.clone(), mirrors.into()))
        });
        let mirrors = wanted.collect();
        let mut known = self.known();
        known.mirrors = mirrors;
        known.catalog = Some(catalog);
        known.listed_at = Some(Instant::now());
    }
}
