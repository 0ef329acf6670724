//! The composition root: the one place that names adapters. Builds the program from its
//! configuration, runs it, and stops it in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::csrf::Keys;
use crate::auth::oidc::Oidc;
use crate::auth::oidc::attempt::Sealer;
use crate::auth::oidc::provider::Provider;
use crate::broker::people::sessions::{VIA_TERMINAL, VIA_TERMINAL_SESSION};
use crate::broker::people::sign_in::one_time_token;
use crate::broker::{Broker, Parts, Stop};
use crate::clock::{Clock, SystemClock};
use crate::config::oidc::CALLBACK;
use crate::config::{Config, Reviewer};
use crate::domain::approval::Assurance;
use crate::domain::audit::{AuditEvent, Kind};
use crate::domain::time::Timestamp;
use crate::id::{IdSource, OsIds};
use crate::mcp::Mcp;
use crate::notify::deliver::{self, Deliverer};
use crate::notify::memory::Mailbox;
use crate::store::SignIn;
use crate::store::copies::PutBack;
use crate::store::sql::SqlStore;
use crate::store::sqlite_file::{CheckpointError, FileLock, LockError, SqliteFile};
use crate::store::{Store, StoreError};
use crate::tcp::connections::{Connections, Limits};
use crate::tcp::serve::Serving;
use crate::tcp::{descriptors, serve};
use crate::web::health::Readiness;
use crate::web::host_guard::Hosts;
use crate::web::{SignInMailer, Web};
use crate::{reconcilers, tcp, upstream};

mod clock;
pub mod connect;
pub mod copies;
mod faces;
mod keeper;
mod reload;
pub(crate) mod signals;
pub mod tool_list;

use faces::Faces;

/// How long everything that is left may take once the grace is over, all together.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long the store may take to be left.
const STORE_CLOSES: Duration = Duration::from_secs(2);
/// How long open connections may take after the last answer.
const CONNECTIONS_CLOSE: Duration = Duration::from_secs(2);

/// Why the program could not be built.
#[derive(Debug, Error)]
pub enum AppError {
    /// The SQLite database is another broker's.
    #[error("database.url: {0}")]
    Locked(#[from] LockError),
    /// The database is an older copy, or can't be compared with its checkpoint.
    #[error("database.url: {}", copies::with_mend(.0))]
    Checkpoint(#[from] CheckpointError),
    /// The database was put back from a copy.
    #[error("database.url: {}", copies::words(*.0))]
    PutBack(PutBack),
    /// The database can't be opened or migrated.
    #[error("database.url: {0}; check that the path or server exists and can be written")]
    Store(#[from] StoreError),
    /// The machine's clock and the database's are too far apart.
    #[error(
        "database.max_clock_skew: this machine's clock says {machine}, the database's {database}: \
         they are further apart than {limit:?}; set the clock that is wrong (NTP keeps it so)"
    )]
    Skew {
        /// What the machine's clock says.
        machine: Timestamp,
        /// What the database's says.
        database: Timestamp,
        /// How far they may be apart.
        limit: Duration,
    },
    /// The address can't be listened on.
    #[error("server.listen: can't listen on {address}: {error}")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// The system's error.
        error: std::io::Error,
    },
}

/// The program, ready to run.
pub struct App {
    /// The verbs of the program.
    pub broker: Broker,
    /// Sends the outbox.
    pub deliverer: Arc<Deliverer>,
    /// The agents' face.
    pub mcp: Mcp,
    /// What `/readyz` says.
    pub readiness: Arc<Readiness>,
    faces: Faces,
    connections: Arc<Connections>,
    store: SqlStore,
    /// The file of a SQLite database, which is this process's as long as this is held.
    file: Option<(SqliteFile, Arc<FileLock>)>,
    listener: TcpListener,
    address: SocketAddr,
    stop: Stop,
    work: TaskTracker,
    upstream_work: TaskTracker,
}

impl App {
    /// Opens the store, binds the address and puts everything together. Nothing is served yet.
    ///
    /// # Errors
    /// [`AppError`], when the database can't be opened, or the address can't be listened on.
    pub async fn build(config: Config) -> Result<Self, AppError> {
        Self::build_with(config, Mailbox::default()).await
    }

    /// The same, with the mailbox that notifiers inside the process write to.
    ///
    /// # Errors
    /// [`AppError`], as [`App::build`].
    pub async fn build_with(mut config: Config, mailbox: Mailbox) -> Result<Self, AppError> {
        let file = keeper::take(config.database.url.expose()).await?;
        let address = config.server.listen;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| AppError::Listen { address, error })?;
        let bound = listener.local_addr().map_err(|error| AppError::Listen { address, error })?;
        if let Some((_, lock)) = &file {
            keeper::tell(lock, bound);
        }
        if config.server.public_url.port() == Some(0) {
            // Port 0 stands for "any"; links need the one that was given.
            let _ = config.server.public_url.set_port(Some(bound.port()));
        }
        let store =
            SqlStore::open_with(config.database.url.expose(), &(&config.database).into()).await?;
        if let Some(put_back) = store.copies().put_back().await? {
            return Err(AppError::PutBack(put_back));
        }
        match store.recount().await {
            Ok(0) => {}
            Ok(wrong) => {
                tracing::warn!("{wrong} counters of approvals were wrong and are set right");
            }
            // They are what the triggers made them.
            Err(error) => tracing::warn!(%error, "the counters of approvals can't be compared now"),
        }
        let config = Arc::new(config);
        let ids = Arc::new(OsIds);
        let clock: Arc<dyn Clock> = Arc::new(clock::of(&store, &config).await?);
        let stop = Stop::default();
        let (work, upstream_work) = (TaskTracker::new(), TaskTracker::new());
        let node = ids.prefixed("nod_", clock.now());
        let broker = Broker::new(Parts {
            store: Arc::new(store.clone()),
            upstreams: upstream::build(&config, &clock, &upstream_work),
            masking_key: store.secret("masking", ids.random()).await?,
            seal_key: store.secret("request_state", ids.random()).await?,
            config: config.clone(),
            clock,
            ids: ids.clone(),
            node,
            tracker: work.clone(),
            stop: stop.clone(),
        });
        broker.bound_leases().await?;
        broker.renew_lease().await?;
        broker.know_peers().await?;
        let notifiers = deliver::build_with(&config, &mailbox);
        let outbox = Arc::new(store.clone());
        let deliverer = Arc::new(Deliverer::new(broker.clone(), outbox, notifiers));
        let readiness = Arc::new(Readiness::default());
        let mailer =
            config.mailer().map(|_| Arc::new(Mailer(deliverer.clone())) as Arc<dyn SignInMailer>);
        let oidc = match &config.oidc {
            None => None,
            Some(settings) => Some(Arc::new(Oidc {
                provider: Provider::new(settings, config.link(CALLBACK)),
                sealer: Sealer::new(store.secret("oidc", ids.random()).await?),
            })),
        };
        let web = Web {
            oidc,
            broker: broker.clone(),
            mailer,
            keys: Keys::new(store.secret("forms", ids.random()).await?),
            readiness: readiness.clone(),
            metrics: broker.metrics().clone(),
            shutdown: stop.soft.clone(),
        };
        let mcp = Mcp::new(broker.clone());
        let faces = Faces::new(Hosts::new(&config.server, bound), mcp.clone(), web);
        let app = Self {
            broker,
            deliverer,
            readiness,
            faces,
            connections: connections(&config),
            mcp,
            store,
            file,
            listener,
            address: bound,
            stop,
            work,
            upstream_work,
        };
        app.broker.end_strangers().await?;
        app.record_start().await?;
        Ok(app)
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How it is told to stop: cancel `soft`.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// The opened store.
    pub fn store(&self) -> &SqlStore {
        &self.store
    }

    async fn record_start(&self) -> Result<(), StoreError> {
        let now = self.broker.now();
        let config = self.broker.config();
        let file = config
            .file
            .as_ref()
            .map_or_else(|| "embedded defaults".to_owned(), |f| f.display().to_string());
        let mut events =
            vec![AuditEvent::new(Kind::ConfigLoaded, "placet", now).with("file", &file)];
        for upstream in &config.upstreams {
            if let Some(policy) = &upstream.policy {
                events.push(
                    AuditEvent::new(Kind::PolicyLoaded, "placet", now)
                        .with("upstream", &upstream.name)
                        .with("sha256", policy.source_fingerprint()),
                );
            }
        }
        self.broker.record(events).await
    }

    /// Serves until `soft` is cancelled, then drains: no new connections, held requests handed
    /// over, running calls given `server.shutdown_grace`, messages and records written.
    pub async fn run(self) {
        let grace = self.broker.config().server.shutdown_grace;
        let heartbeat = self.broker.config().approvals.heartbeat;
        let background = CancellationToken::new();
        let reconcilers = TaskTracker::new();
        reconcilers::start(&self.broker, &reconcilers, &background);
        reconcilers.spawn(self.mcp.upkeep(background.clone()));
        reconcilers.spawn(deliver::run(self.deliverer.clone(), background.clone()));
        if let Some((file, lock)) = &self.file {
            let (file, lock) = (file.clone(), Arc::clone(lock));
            let taken = self.stop.soft.clone();
            let kept = keeper::keep(file, lock, self.address, taken, background.clone());
            reconcilers.spawn(kept);
        }
        let soft = self.stop.soft.clone();
        let server = serve::serve(
            self.listener,
            self.faces,
            Serving {
                connections: self.connections,
                max_head: self.broker.config().server.max_headers,
                prepare: |stream, heartbeat| tcp::watch(&socket2::SockRef::from(stream), heartbeat),
                heartbeat,
                stop: soft.clone(),
            },
        );
        let mut server = tokio::spawn(server);
        tokio::select! {
            biased;
            () = soft.cancelled() => {}
            ended = &mut server => {
                tracing::error!("the server ended by itself: {ended:?}");
                soft.cancel();
            }
        }
        let serving = !server.is_finished();
        tracing::info!("stopping: held requests are handed over, running calls have {grace:?}");
        self.work.close();
        if tokio::time::timeout(grace, self.work.wait()).await.is_err() {
            tracing::warn!("the grace is over: running calls are given up as indeterminate");
        }
        self.stop.hard.cancel();
        // Whatever hangs, be it a child or the database: all of it together has so long.
        let end = Instant::now() + LAST_WORDS;
        let _ = timeout_at(end, self.work.wait()).await;
        if serving && tokio::time::timeout(CONNECTIONS_CLOSE, &mut server).await.is_err() {
            server.abort();
        }
        background.cancel();
        reconcilers.close();
        let servers = self.broker.config().upstreams.iter().filter_map(|u| {
            let server = Arc::clone(self.broker.upstream(&u.name)?);
            Some(async move { server.shutdown().await })
        });
        let left = async {
            join_all(servers).await;
            self.upstream_work.close();
            self.upstream_work.wait().await;
        };
        let _ = timeout_at(end, async { tokio::join!(left, reconcilers.wait()) }).await;
        if tokio::time::timeout(STORE_CLOSES, leave_store(&self.broker, &self.store)).await.is_err()
        {
            tracing::warn!("the store does not answer: this process's lease runs out by itself");
        }
        if let Some((file, _)) = &self.file
            && tokio::time::timeout(STORE_CLOSES, keeper::finish(file)).await.is_err()
        {
            tracing::warn!("the last checkpoint is not written: the database does not answer");
        }
        tracing::info!("stopped");
    }
}

/// The last records, the end of the lease, and of the connections.
async fn leave_store(broker: &Broker, store: &SqlStore) {
    if let Err(error) = broker.seal_audit().await {
        tracing::warn!(%error, "the last audit records are sealed at the next start");
    }
    if let Err(error) = broker.end_lease().await {
        tracing::warn!(%error, "this process's lease runs out by itself");
    }
    store.close().await;
}

/// Descriptors that SQLite may have open: its connections, and each one's files; or those that
/// PostgreSQL needs besides one for each connection.
const DATABASE_DESCRIPTORS: usize = 32;
/// Descriptors that one upstream may have open besides those of its calls: listeners and lists, or
/// a child's pipes.
const UPSTREAM_DESCRIPTORS: usize = 16;

/// The limits of connections, by the configuration and by what the system gives.
fn connections(config: &Config) -> Arc<Connections> {
    let server = &config.server;
    let database = &config.database;
    let links = if database.url.expose().starts_with("sqlite:") {
        0
    } else {
        database.connections.saturating_add(database.agent_connections) as usize
    };
    let kept = DATABASE_DESCRIPTORS + links + UPSTREAM_DESCRIPTORS * config.upstreams.len();
    let room = descriptors::room(server.max_connections.map(|n| n as usize), kept);
    let max = room.connections;
    if let (Some(wished), Some(all)) = (room.too_many, room.descriptors) {
        tracing::warn!(
            "server.max_connections is {wished}, but with {all} descriptors there can be {max}: \
             raise the limit of open files (ulimit -n, LimitNOFILE)"
        );
    }
    let per_address = server.max_connections_per_address.map_or(max.div_ceil(2), |n| n as usize);
    Connections::new(Limits {
        max,
        max_per_address: per_address.min(max),
        shared: server.trusted_proxies.clone(),
        head: server.header_timeout,
        body: server.body_timeout,
        idle: server.idle_timeout,
    })
}

struct Mailer(Arc<Deliverer>);

#[async_trait]
impl SignInMailer for Mailer {
    async fn send_sign_in(&self, reviewer: &Reviewer, link: String) {
        self.0.send_sign_in(reviewer, &link).await;
    }
}

/// A one-time sign-in link for a reviewer, good for `people.link_life`; recorded. Its session proves
/// `assurance`: no more than a mailed link does, or as much as a token.
///
/// # Errors
/// [`StoreError`], when the store can't be read or written.
pub async fn sign_in_link(
    config: &Config,
    store: &dyn Store,
    reviewer: &str,
    assurance: Assurance,
) -> Result<String, StoreError> {
    let told = store.nodes().time().await?;
    let now = told.unwrap_or_else(|| SystemClock.now());
    let expires_at = now.plus(config.people.link_life);
    let (via, assurance) = match assurance {
        Assurance::Link => (VIA_TERMINAL, Assurance::Link),
        Assurance::Session | Assurance::Passkey => (VIA_TERMINAL_SESSION, Assurance::Session),
    };
    let sign_in = SignIn {
        reviewer: reviewer.to_owned(),
        via: via.to_owned(),
        entry: config.entry_of(reviewer).unwrap_or_default(),
    };
    let event = AuditEvent::new(Kind::SignInLinkMade, "placet", now)
        .with("reviewer", reviewer)
        .with("assurance", assurance.as_str());
    let token = one_time_token(store, &OsIds, &sign_in, expires_at, Some(event)).await?;
    Ok(config.link(&format!("/sign-in/{token}")))
}
