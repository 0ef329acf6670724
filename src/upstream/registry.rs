//! One [`Upstream`] per configured server: which caller uses which connection, and the tool list
//! kept fresh in the background.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as StdMutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::sync::{broadcast, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::catalog::{self, Unfetched};
use super::common::{Common, ListBounds, ServerRequestLimits};
use super::health::HealthLog;
use super::http::{HttpLink, Target};
use super::hub::Hub;
use super::instance::{Instance, Used};
use super::instances::{Bounds, Instances, Key};
use super::link::{Link, Pauses};
use super::list_changes::{self, Pace, UnreadList};
use super::listeners::Listeners;
use super::lists::{List, digest_of};
use super::recorded::Recorded;
use super::stdio::StdioLink;
use super::{
    Caller, Catalog, ClientCapabilities, Level, Notification, Notifications, Reply, Report,
    Request, ServerFacts, ServerRequest, Upstream, UpstreamError, Watch, Watching, WireEra, child,
};
use crate::clock::Clock;
use crate::config::{self, Config, Era, Instances as Sharing, Transport};
use crate::domain::client_feature::ClientFeature;
use crate::protocol::method;

/// How often the tool list of an HTTP upstream is fetched anew.
const RELIST_EVERY: Duration = Duration::from_mins(1);
/// Builds every configured upstream and starts to fetch their tool lists.
///
/// Must be called inside a tokio runtime, with a rustls crypto provider installed. Background
/// work runs on `tracker` and ends with [`Upstream::shutdown`].
pub fn build(
    config: &Config,
    clock: &Arc<dyn Clock>,
    tracker: &TaskTracker,
) -> HashMap<String, Arc<dyn Upstream>> {
    config
        .upstreams
        .iter()
        .map(|settings| {
            let server = Server::new(settings, &config.server, clock, tracker);
            tracker.spawn(Arc::clone(&server).keep_catalog());
            tracker.spawn(Arc::clone(&server).keep_few());
            (settings.name.clone(), server as Arc<dyn Upstream>)
        })
        .collect()
}

enum Reach {
    Http(Arc<Target>),
    Stdio(Arc<child::Spec>),
}

struct Server {
    common: Arc<Common>,
    reach: Reach,
    sharing: Sharing,
    /// The features of clients that the configuration lets the server use.
    allowed: Vec<ClientFeature>,
    instances: Instances,
    /// What those listen to who may have no instance: it is silent.
    silent: broadcast::Sender<Notification>,
    listing: tokio::sync::Mutex<()>,
    /// What is remembered of a list that can't be read.
    unread: StdMutex<UnreadList>,
}

impl Server {
    fn new(
        settings: &config::Upstream,
        server: &config::Server,
        clock: &Arc<dyn Clock>,
        tracker: &TaskTracker,
    ) -> Arc<Self> {
        let max_message = server.max_result;
        let pin = match settings.era {
            Era::Auto => None,
            Era::Legacy => Some(WireEra::Legacy),
            Era::Modern => Some(WireEra::Modern),
        };
        let mut common = Common::new(&settings.name, settings.timeout, max_message, pin, tracker);
        common.server_requests = ServerRequestLimits {
            wait: server.question_wait,
            waiting: server.max_questions as usize,
        };
        common.lists = ListBounds {
            pages: server.max_list_pages as usize,
            entries: server.max_list_entries as usize,
        };
        common.handshake_timeout = settings.handshake_timeout;
        common.pauses = Pauses { first: settings.retry_pause, longest: settings.max_retry_pause };
        common.max_starts = settings.max_child_starts;
        common.health = HealthLog::new(settings, Arc::clone(clock));
        common.shared = settings.instances == Sharing::Shared;
        common.trusts = settings.trust_annotations;
        let reach = match &settings.transport {
            Transport::Http { url, headers, kind } => {
                Reach::Http(Arc::new(Target::new(url, headers, *kind, settings.timeout)))
            }
            Transport::Stdio { command, env, cwd } => {
                Reach::Stdio(Arc::new(child::Spec::new(command, env, cwd.as_deref())))
            }
        };
        Arc::new(Self {
            unread: StdMutex::new(UnreadList::new(common.pauses)),
            common: Arc::new(common),
            reach,
            sharing: settings.instances,
            allowed: settings.client_features.clone(),
            instances: Instances::new(Bounds {
                per_agent: settings.max_instances_per_agent as usize,
                idle: settings.instance_idle,
                linger: settings.instance_linger,
            }),
            silent: broadcast::Sender::new(1),
            listing: tokio::sync::Mutex::default(),
        })
    }

    /// Whether this caller's connection is spoken to in the legacy era where the server speaks
    /// both: a legacy client is then asked and told as it is by the server itself.
    fn is_legacy_first(&self, caller: &Caller) -> bool {
        self.common.pin.is_none() && self.sharing != Sharing::Shared && caller.features.is_live()
    }

    fn key(&self, caller: &Caller) -> Key {
        match (self.sharing, &caller.session) {
            (Sharing::Shared, _) => Key::Shared,
            (Sharing::Session, Some(session)) => {
                Key::Session { agent: caller.agent.clone(), session: session.clone() }
            }
            (Sharing::Session, None) | (Sharing::Agent, _) => Key::Agent {
                agent: caller.agent.clone(),
                features: self.asked_of(caller),
                legacy_first: self.is_legacy_first(caller),
            },
        }
    }

    /// What the caller's client can be asked while a request runs. Where it can be asked nothing,
    /// it makes no difference which era it speaks.
    fn asked_of(&self, caller: &Caller) -> ClientCapabilities {
        let features = caller.features.within(&self.allowed).alive();
        if features.is_empty() { ClientCapabilities::default() } else { features }
    }

    /// The caller's instance, made if need be.
    fn instance(&self, caller: &Caller) -> Result<Used, UpstreamError> {
        let features = match self.sharing {
            // Each server request goes to one request, whose own client is looked at then.
            Sharing::Shared => self.everything(),
            Sharing::Agent | Sharing::Session => self.asked_of(caller),
        };
        let session = caller.session.as_deref().map(|session| (caller.agent.as_str(), session));
        let legacy_first = self.is_legacy_first(caller);
        let taken =
            self.instances.take(self.key(caller), session, || self.make(features, legacy_first));
        let (used, displaced) = taken.map_err(UpstreamError::NotSent)?;
        if let Some(displaced) = displaced {
            displaced.wind_down();
        }
        Ok(used)
    }

    fn make(&self, features: ClientCapabilities, legacy_first: bool) -> Arc<Instance> {
        let listeners = Listeners::new(features, legacy_first);
        let link: Arc<dyn Link> = match &self.reach {
            Reach::Http(target) => HttpLink::new(target, Hub::new(&self.common, &listeners)),
            Reach::Stdio(spec) => StdioLink::new(spec, &self.common, &listeners),
        };
        let made = Instance::new(Recorded::new(link, &self.common), listeners, &self.common);
        let (looks, closed) = (list_changes::keep(Arc::downgrade(&made)), made.closed());
        self.common.tracker.spawn(async move {
            tokio::select! {
                () = closed.cancelled() => {}
                () = looks => {}
            }
        });
        made
    }

    fn unread(&self) -> MutexGuard<'_, UnreadList> {
        self.unread.lock().expect("no holder of this lock panics")
    }

    fn everything(&self) -> ClientCapabilities {
        ClientCapabilities::all(&self.allowed)
    }

    /// The instance over which Placet itself asks: of a child process any that lives and shows
    /// as much, else its own.
    fn own_instance(&self) -> Result<Used, UpstreamError> {
        let features = self.everything();
        if matches!(self.reach, Reach::Stdio(_))
            && let Some(live) = self.instances.all().iter().find(|i| {
                i.link.is_live() && i.listeners.features == features && !i.listeners.legacy_first
            })
        {
            return Ok(Used::of(live));
        }
        let key = if self.sharing == Sharing::Shared { Key::Shared } else { Key::Own };
        let taken = self.instances.take(key, None, || self.make(features, false));
        Ok(taken.map_err(UpstreamError::NotSent)?.0)
    }

    /// Closes the instances that nobody uses any more.
    async fn keep_few(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.common.stop.cancelled() => return,
                () = tokio::time::sleep(self.instances.look_every()) => {}
            }
            for idle in self.instances.take_idle(Instant::now()) {
                debug!(upstream = %self.common.name, "a connection that nobody used is closed");
                idle.wind_down();
            }
        }
    }

    /// Fetches the tool list as soon as the upstream can be reached, and again when it may have
    /// changed.
    async fn keep_catalog(self: Arc<Self>) {
        let pauses = self.common.pauses;
        let mut wait = pauses.first;
        let mut pace = Pace::new(pauses);
        loop {
            let listed = tokio::select! {
                () = self.common.stop.cancelled() => return,
                listed = self.refresh() => listed,
            };
            pace.done(Instant::now());
            let pause = match listed {
                Ok(_) => {
                    wait = pauses.first;
                    match self.reach {
                        Reach::Http(_) => RELIST_EVERY,
                        Reach::Stdio(_) => Duration::MAX,
                    }
                }
                Err(error) => {
                    // The first failure and then the slow ones: no flood while a server is away.
                    if wait == pauses.first || wait == pauses.longest {
                        warn!(upstream = %self.common.name, "no tool list: {error}");
                    }
                    let pause = wait;
                    wait = pauses.after(wait);
                    pause
                }
            };
            tokio::select! {
                () = self.common.stop.cancelled() => return,
                () = self.common.relist.notified() => tokio::select! {
                    () = self.common.stop.cancelled() => return,
                    () = tokio::time::sleep_until(pace.due(Instant::now())) => {}
                },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

fn closing() -> UpstreamError {
    UpstreamError::NotSent("Placet is shutting down".to_owned())
}

#[async_trait]
impl Upstream for Server {
    async fn request(
        &self,
        caller: &Caller,
        mut request: Request,
        notifications: Option<Notifications>,
        cancel: CancellationToken,
    ) -> Result<Reply, UpstreamError> {
        // A modern upstream is told with each request what can be asked.
        let features = || caller.features.within(&self.allowed).to_json();
        request.capabilities.get_or_insert_with(features);
        if self.common.stop.is_cancelled() {
            return Err(closing());
        }
        self.instance(caller)?.request(request, notifications, cancel).await
    }

    async fn notify(&self, caller: &Caller, method: &str, params: Option<String>) {
        // These two are the connection's own: it says `initialize` itself, and its request ids are
        // not the client's.
        if matches!(method, method::NOTIFICATIONS_INITIALIZED | method::NOTIFICATIONS_CANCELLED) {
            return;
        }
        let instance = self.instances.find(&self.key(caller));
        if let Some(instance) = instance {
            instance.link.notify(method, params.as_deref()).await;
        }
    }

    async fn facts(&self, caller: &Caller) -> Result<ServerFacts, UpstreamError> {
        let own = self.instances.find(&self.key(caller)).and_then(|i| i.listeners.facts());
        let legacy_first = self.is_legacy_first(caller);
        if let Some(facts) = own.or_else(|| self.common.facts_for(legacy_first)) {
            return Ok(facts);
        }
        if self.common.stop.is_cancelled() {
            return Err(closing());
        }
        let connected = self.instance(caller)?.link.connect().await;
        connected.or_else(|error| self.common.facts().ok_or(error))
    }

    fn era(&self, caller: &Caller) -> Option<WireEra> {
        let own = self.instances.find(&self.key(caller)).and_then(|i| i.listeners.era());
        own.or_else(|| self.common.era_for(self.is_legacy_first(caller)))
    }

    fn last_era(&self) -> Option<WireEra> {
        self.common.era()
    }

    fn catalog(&self) -> Option<Arc<Catalog>> {
        self.common.catalog()
    }

    fn report(&self) -> Report {
        let live = |i: &&Arc<Instance>| i.link.is_live();
        Report {
            health: self.common.health.read(),
            opening: self.common.health.is_opening(),
            connections: self.instances.all().iter().filter(live).count(),
            speaks_sse: matches!(&self.reach, Reach::Http(target) if target.is_sse()),
            facts: self.common.facts(),
        }
    }

    async fn tools_within(&self, age: Duration) -> Result<Arc<Catalog>, UpstreamError> {
        if let Some(catalog) = self.common.catalog_within(age) {
            return Ok(catalog);
        }
        let unread = self.unread().why(Instant::now()).map(str::to_owned);
        match unread {
            Some(why) => Err(UpstreamError::Lost(why)),
            None => self.refresh().await,
        }
    }

    async fn refresh(&self) -> Result<Arc<Catalog>, UpstreamError> {
        let _one_at_a_time = self.listing.lock().await;
        if self.common.stop.is_cancelled() {
            return Err(closing());
        }
        let own = self.own_instance()?;
        let fetched = catalog::fetch(own.link.as_ref(), &self.common).await;
        match &fetched {
            Err(Unfetched::List(why)) => self.unread().failed(Instant::now(), why),
            Ok(_) | Err(Unfetched::Failed(_)) => self.unread().is_over(),
        }
        let catalog = Arc::new(fetched.map_err(Unfetched::error)?);
        let old = self.common.catalog().as_deref().map(digest_of);
        let new = digest_of(&catalog);
        let changed = old.is_some_and(|old| old != new);
        if old.is_none() || changed {
            info!(upstream = %self.common.name, tools = catalog.tools.len(), "tool list fetched");
        }
        self.common.set_catalog(Arc::clone(&catalog));
        if changed {
            // A server need not say so itself; its clients are promised that they hear of it.
            for instance in self.instances.all() {
                if instance.listeners.lists.note(List::Tools, Some(new)) {
                    instance.listeners.tell(List::Tools.notification(), None);
                }
            }
        }
        Ok(catalog)
    }

    fn subscribe(&self, caller: &Caller) -> broadcast::Receiver<Notification> {
        let Ok(instance) = self.instance(caller) else { return self.silent.subscribe() };
        let listeners = &instance.listeners;
        if listeners.events.receiver_count() == 0 {
            // What changes from here on is news.
            listeners.lists.note(List::Tools, self.common.catalog().as_deref().map(digest_of));
        }
        let heard = listeners.events.subscribe();
        instance.tend();
        heard
    }

    fn server_requests(&self, caller: &Caller) -> mpsc::Receiver<ServerRequest> {
        match self.instance(caller) {
            Ok(instance) => instance.listeners.server_requests.listen(self.common.server_requests),
            Err(_) => mpsc::channel(1).1,
        }
    }

    async fn watch(&self, caller: &Caller, uri: &str, params: Option<String>) -> Watching {
        if self.common.stop.is_cancelled() {
            return Watching::Refused(None);
        }
        match self.instance(caller) {
            Ok(instance) => instance.watch(uri, params).await,
            Err(_) => Watching::Refused(None),
        }
    }

    async fn log_at(
        &self,
        caller: &Caller,
        level: Level,
        params: Option<String>,
    ) -> Result<(Watch, Reply), UpstreamError> {
        if self.common.stop.is_cancelled() {
            return Err(closing());
        }
        self.instance(caller)?.log_at(level, params).await
    }

    async fn close_session(&self, caller: &Caller) {
        let Some(session) = &caller.session else { return };
        let Some(instance) = self.instances.leave(&caller.agent, session) else { return };
        if instance.requests.is_empty() {
            return instance.close().await;
        }
        instance.wind_down();
    }

    fn sessions(&self) -> Vec<Caller> {
        let sessions = self.instances.sessions();
        sessions.iter().map(|(agent, session)| Caller::new(agent, Some(session))).collect()
    }

    async fn shutdown(&self) {
        self.common.stop.cancel();
        join_all(self.instances.drain().iter().map(|i| i.close())).await;
    }
}
