//! The application: everything the outside may ask for, as a few verbs over ports.
//!
//! It knows no HTTP and no SQL. The store is the truth; [`Hints`] only wake those who would
//! otherwise poll.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::guesses::Guesses;
use crate::clock::Clock;
use crate::config::{Config, Reviewer};
use crate::domain::approval::{Approval, ApprovalId, Refusal};
use crate::domain::mask::Masker;
use crate::domain::time::Timestamp;
use crate::id::IdSource;
use crate::store::{AttemptRecord, Filter, Store, StoreError};
use crate::telemetry::Metrics;
use crate::upstream::Upstream;

pub(crate) mod audit;
mod awaited;
pub mod call;
pub mod channels;
pub(crate) mod client_sessions;
mod clients;
pub(crate) mod health;
pub(crate) mod hints;
pub mod lease;
mod live;
pub(crate) mod misfits;
pub(crate) mod peers;
pub mod people;
pub(crate) mod policies;
pub(crate) mod reach;
pub mod restore;
mod tool_risk;
mod turns;
pub(crate) mod upkeep;
pub(crate) mod upstreams;

use call::attached::Attached;
use call::call_log::CallLog;
use call::hold_budget::Budgets;
use call::open_calls::OpenCalls;
use call::reading::Readings;
use call::result_delivery::ResultsUnderWay;
use call::send_mark::Executing;
use client_sessions::Uses;
use hints::Hints;
use lease::Lease;
use misfits::Misfits;
use peers::Peers;
use people::seen_settings::SeenSettings;
use policies::Policies;
use reach::Reach;
use turns::Turns;

/// The broker; cheap to clone.
#[derive(Clone)]
pub struct Broker {
    inner: Arc<Inner>,
}

struct Inner {
    config: Arc<Config>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    upstreams: HashMap<String, Arc<dyn Upstream>>,
    policies: Policies,
    misfits: Misfits,
    hints: Hints,
    masker: Masker,
    node: String,
    tracker: TaskTracker,
    calls: CallLog,
    attached: Attached,
    /// Held requests whose clients are gone, which are let go at once: so many.
    leaving: tokio::sync::Semaphore,
    readings: Readings,
    budgets: Budgets,
    reach: Reach,
    results_under_way: ResultsUnderWay,
    executing: Executing,
    lease: Lease,
    open_calls: OpenCalls,
    peers: Peers,
    session_uses: Uses,
    metrics: Arc<Metrics>,
    guesses: Guesses,
    seal_key: [u8; 32],
    turns: Turns,
    seen_settings: SeenSettings,
    stop: Stop,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("node", &self.inner.node).finish_non_exhaustive()
    }
}

/// The two steps of stopping.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// No new work; held requests are handed over.
    pub soft: CancellationToken,
    /// The grace is over: what still runs is given up.
    pub hard: CancellationToken,
}

/// What a broker is made of.
pub struct Parts {
    /// The configuration.
    pub config: Arc<Config>,
    /// The store.
    pub store: Arc<dyn Store>,
    /// The clock, from which `now` is taken.
    pub clock: Arc<dyn Clock>,
    /// The source of ids and random bytes.
    pub ids: Arc<dyn IdSource>,
    /// The upstreams, by their configured names.
    pub upstreams: HashMap<String, Arc<dyn Upstream>>,
    /// The key of masks' digests.
    pub masking_key: [u8; 32],
    /// Name of this process among those that share the store.
    pub node: String,
    /// Where executions run, so that a client that leaves doesn't abort them.
    pub tracker: TaskTracker,
    /// The key that seals an upstream's `requestState`.
    pub seal_key: [u8; 32],
    /// How the process is told to stop.
    pub stop: Stop,
}

/// Why a reviewer's verb failed.
#[derive(Debug, Error)]
pub enum DecideError {
    /// There is no such approval, or this person may not see it.
    #[error("there is no such approval")]
    NotFound,
    /// The person's role does not allow it.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The request itself is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The state or the terms of the approval do not allow it.
    #[error("{refusal}")]
    Refused {
        /// Why it is refused.
        refusal: Refusal,
        /// The approval as it stands.
        approval: Box<Approval>,
    },
    /// The store failed: surely nothing was decided, unless it is [`StoreError::Unknown`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Broker {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        let masker = Masker::new(&parts.config.masking.keys, &parts.masking_key);
        let policies = Policies::new(&parts.config);
        let server = &parts.config.server;
        let guesses = Guesses::new(
            server.wrong_tokens,
            server.wrong_token_window,
            server.max_token_addresses,
        );
        let calls = CallLog::new(parts.config.audit.max_buffered);
        Self {
            inner: Arc::new(Inner {
                config: parts.config,
                store: parts.store,
                clock: parts.clock,
                ids: parts.ids,
                upstreams: parts.upstreams,
                policies,
                misfits: Misfits::default(),
                hints: Hints::default(),
                masker,
                node: parts.node,
                tracker: parts.tracker,
                calls,
                attached: Attached::default(),
                leaving: tokio::sync::Semaphore::new(call::attached::LEAVING),
                readings: Readings::default(),
                budgets: Budgets::default(),
                reach: Reach::default(),
                results_under_way: ResultsUnderWay::default(),
                turns: Turns::default(),
                seen_settings: SeenSettings::default(),
                executing: Executing::default(),
                lease: Lease::default(),
                open_calls: OpenCalls::default(),
                peers: Peers::default(),
                session_uses: Uses::default(),
                metrics: Arc::default(),
                guesses,
                seal_key: parts.seal_key,
                stop: parts.stop,
            }),
        }
    }

    /// The configuration.
    pub fn config(&self) -> &Arc<Config> {
        &self.inner.config
    }

    /// The store, which nobody but these verbs sees.
    fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    /// The source of ids and random bytes.
    pub fn ids(&self) -> &Arc<dyn IdSource> {
        &self.inner.ids
    }

    /// The current instant.
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// Time since some fixed instant, by the clock: see [`Clock::uptime`].
    fn uptime(&self) -> Duration {
        self.inner.clock.uptime()
    }

    /// Hides secrets in what people are shown.
    pub fn masker(&self) -> &Masker {
        &self.inner.masker
    }

    /// The wake-ups inside the process.
    pub fn hints(&self) -> &Hints {
        &self.inner.hints
    }

    /// The policies in force.
    pub fn policies(&self) -> &Policies {
        &self.inner.policies
    }

    /// Counters of this process, for the metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.inner.metrics
    }

    /// How often wrong bearer tokens came, and from where.
    pub(crate) fn guesses(&self) -> &Guesses {
        &self.inner.guesses
    }

    /// Records of allowed calls that wait for the store.
    pub fn call_log(&self) -> &CallLog {
        &self.inner.calls
    }

    /// Which calls may have an approval that is open or owed.
    fn open_calls(&self) -> &OpenCalls {
        &self.inner.open_calls
    }

    /// Which client sessions are in use.
    fn session_uses(&self) -> &Uses {
        &self.inner.session_uses
    }

    /// How the process is told to stop.
    pub fn stop(&self) -> &Stop {
        &self.inner.stop
    }

    /// Whether the process is stopping: no new work begins.
    pub fn stopping(&self) -> bool {
        self.inner.stop.soft.is_cancelled()
    }

    /// Where work runs that outlives a request.
    pub fn tracker(&self) -> &TaskTracker {
        &self.inner.tracker
    }

    /// Name of this process among those that share the store.
    pub fn node(&self) -> &str {
        &self.inner.node
    }

    /// The upstream of that name; none if it is not configured.
    pub fn upstream(&self, name: &str) -> Option<&Arc<dyn Upstream>> {
        self.inner.upstreams.get(name)
    }

    /// The approval of that id; none if there is none.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read.
    pub async fn get(&self, id: &ApprovalId) -> Result<Option<Approval>, StoreError> {
        self.inner.store.approvals().find(id, self.now()).await
    }

    /// One approval, if this reviewer may see it.
    ///
    /// # Errors
    /// [`DecideError::NotFound`], when there is none that they may see; [`DecideError::Store`],
    /// when the store can't be read.
    pub async fn get_for(
        &self,
        id: &ApprovalId,
        reviewer: &Reviewer,
    ) -> Result<Approval, DecideError> {
        let found = self.get(id).await?.filter(|a| a.may_be_seen_by(reviewer.person()));
        found.ok_or(DecideError::NotFound)
    }

    /// Approvals, newest first, as far as this reviewer may see them.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read.
    pub async fn list_for(
        &self,
        reviewer: &Reviewer,
        mut filter: Filter,
    ) -> Result<Vec<Approval>, StoreError> {
        if !reviewer.role.reads_all() {
            filter.visible_to = Some(reviewer.name.clone());
        }
        self.inner.store.approvals().list(&filter, self.now()).await
    }

    /// How many of the approvals that this reviewer may see are of which agent, the most first.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read.
    pub(crate) async fn count_by_agent(
        &self,
        reviewer: &Reviewer,
        mut filter: Filter,
    ) -> Result<Vec<(String, u64)>, StoreError> {
        if !reviewer.role.reads_all() {
            filter.visible_to = Some(reviewer.name.clone());
        }
        self.inner.store.approvals().count_by_agent(&filter).await
    }

    /// Attempts to tell people of an approval, oldest first.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn attempts(&self, id: &ApprovalId) -> Result<Vec<AttemptRecord>, StoreError> {
        self.inner.store.outbox().attempts(id).await
    }
}
