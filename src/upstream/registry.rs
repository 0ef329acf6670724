//! One [`Upstream`] per configured server: which caller uses which connection, and the tool list
//! kept fresh in the background.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::common::{Common, ServerRequestLimits};
use super::health::HealthLog;
use super::http::{HttpLink, Target};
use super::hub::Hub;
use super::instance::Instance;
use super::link::{Link, RETRY_FIRST, RETRY_LONGEST};
use super::listeners::Listeners;
use super::recorded::Recorded;
use super::stdio::StdioLink;
use super::{
    Caller, Catalog, ClientCapabilities, Level, Notification, Notifications, Reply, Report,
    Request, ServerFacts, ServerRequest, Upstream, UpstreamError, Watch, Watching, WireEra,
    catalog, child,
};
use crate::clock::Clock;
use crate::config::{self, Config, Era, Instances, Transport};
use crate::domain::client_feature::ClientFeature;
use crate::protocol::method;

/// The agent name under which Placet itself asks for the tool list.
const OWN_AGENT: &str = "placet";
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
            (settings.name.clone(), server as Arc<dyn Upstream>)
        })
        .collect()
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Shared,
    Agent(String, String),
    Session(String, String),
}

enum Reach {
    Http(Arc<Target>),
    Stdio(Arc<child::Spec>),
}

struct Server {
    common: Arc<Common>,
    reach: Reach,
    sharing: Instances,
    /// The features of clients that the configuration lets the server use.
    allowed: Vec<ClientFeature>,
    instances: Mutex<HashMap<Key, Arc<Instance>>>,
    listing: tokio::sync::Mutex<()>,
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
        common.health = HealthLog::new(settings, Arc::clone(clock));
        common.shared = settings.instances == Instances::Shared;
        let reach = match &settings.transport {
            Transport::Http { url, headers, kind } => {
                Reach::Http(Arc::new(Target::new(url, headers, *kind, settings.timeout)))
            }
            Transport::Stdio { command, env, cwd } => {
                Reach::Stdio(Arc::new(child::Spec::new(command, env, cwd.as_deref())))
            }
        };
        Arc::new(Self {
            common: Arc::new(common),
            reach,
            sharing: settings.instances,
            allowed: settings.client_features.clone(),
            instances: Mutex::default(),
            listing: tokio::sync::Mutex::default(),
        })
    }

    fn instances(&self) -> MutexGuard<'_, HashMap<Key, Arc<Instance>>> {
        self.instances.lock().expect("no holder of this lock panics")
    }

    fn key(&self, caller: &Caller) -> Key {
        match (self.sharing, &caller.session) {
            (Instances::Shared, _) => Key::Shared,
            (Instances::Session, Some(session)) => {
                Key::Session(caller.agent.clone(), session.clone())
            }
            (Instances::Session, None) | (Instances::Agent, _) => {
                let features = caller.features.within(&self.allowed);
                Key::Agent(caller.agent.clone(), features.live_json().to_owned())
            }
        }
    }

    fn instance(&self, caller: &Caller) -> Arc<Instance> {
        let key = self.key(caller);
        let mut instances = self.instances();
        let instance = instances.entry(key).or_insert_with(|| {
            let features = match self.sharing {
                // Each server request goes to one request, whose own client is looked at then.
                Instances::Shared => self.everything(),
                Instances::Agent | Instances::Session => {
                    caller.features.within(&self.allowed).alive()
                }
            };
            let listeners = Listeners::new(features);
            let link: Arc<dyn Link> = match &self.reach {
                Reach::Http(target) => HttpLink::new(target, Hub::new(&self.common, &listeners)),
                Reach::Stdio(spec) => StdioLink::new(spec, &self.common, &listeners),
            };
            Instance::new(Recorded::new(link, &self.common), listeners, &self.common)
        });
        Arc::clone(instance)
    }

    fn everything(&self) -> ClientCapabilities {
        ClientCapabilities::all(&self.allowed)
    }

    /// The connection over which Placet itself asks: of a child process any that lives and shows
    /// as much, else its own.
    fn own_link(&self) -> Arc<dyn Link> {
        let features = self.everything();
        if matches!(self.reach, Reach::Stdio(_))
            && let Some(live) = self
                .instances()
                .values()
                .find(|i| i.link.is_live() && i.listeners.features == features)
        {
            return Arc::clone(&live.link);
        }
        let own = Caller { agent: OWN_AGENT.to_owned(), session: None, features };
        Arc::clone(&self.instance(&own).link)
    }

    /// Fetches the tool list as soon as the upstream can be reached, and again when it may have
    /// changed.
    async fn keep_catalog(self: Arc<Self>) {
        let mut wait = RETRY_FIRST;
        loop {
            let listed = tokio::select! {
                () = self.common.stop.cancelled() => return,
                listed = self.refresh() => listed,
            };
            let pause = match listed {
                Ok(_) => {
                    wait = RETRY_FIRST;
                    match self.reach {
                        Reach::Http(_) => RELIST_EVERY,
                        Reach::Stdio(_) => Duration::MAX,
                    }
                }
                Err(error) => {
                    // The first failure and then the slow ones: no flood while a server is away.
                    if wait == RETRY_FIRST || wait == RETRY_LONGEST {
                        warn!(upstream = %self.common.name, "no tool list: {error}");
                    }
                    let pause = wait;
                    wait = (wait * 2).min(RETRY_LONGEST);
                    pause
                }
            };
            tokio::select! {
                () = self.common.stop.cancelled() => return,
                () = self.common.relist.notified() => {}
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
        let features = || caller.features.within(&self.allowed).as_json().to_owned();
        request.capabilities.get_or_insert_with(features);
        if self.common.stop.is_cancelled() {
            return Err(closing());
        }
        self.instance(caller).request(request, notifications, cancel).await
    }

    async fn notify(&self, caller: &Caller, method: &str, params: Option<String>) {
        // These two are the connection's own: it says `initialize` itself, and its request ids are
        // not the client's.
        if matches!(method, method::NOTIFICATIONS_INITIALIZED | method::NOTIFICATIONS_CANCELLED) {
            return;
        }
        let key = self.key(caller);
        let instance = self.instances().get(&key).cloned();
        if let Some(instance) = instance {
            instance.link.notify(method, params.as_deref()).await;
        }
    }

    async fn facts(&self, caller: &Caller) -> Result<ServerFacts, UpstreamError> {
        if let Some(facts) = self.common.facts() {
            return Ok(facts);
        }
        if self.common.stop.is_cancelled() {
            return Err(closing());
        }
        let instance = self.instance(caller);
        instance.link.connect().await
    }

    fn catalog(&self) -> Option<Arc<Catalog>> {
        self.common.catalog()
    }

    fn report(&self) -> Report {
        let live = |i: &&Arc<Instance>| i.link.is_live();
        Report {
            health: self.common.health.read(),
            opening: self.common.health.is_opening(),
            connections: self.instances().values().filter(live).count(),
            speaks_sse: matches!(&self.reach, Reach::Http(target) if target.is_sse()),
            facts: self.common.facts(),
        }
    }

    async fn tools_within(&self, age: Duration) -> Result<Arc<Catalog>, UpstreamError> {
        match self.common.catalog_within(age) {
            Some(catalog) => Ok(catalog),
            None => self.refresh().await,
        }
    }

    async fn refresh(&self) -> Result<Arc<Catalog>, UpstreamError> {
        let _one_at_a_time = self.listing.lock().await;
        if self.common.stop.is_cancelled() {
            return Err(closing());
        }
        let link = self.own_link();
        let catalog = Arc::new(catalog::fetch(link.as_ref(), &self.common).await?);
        let old = self.common.catalog();
        let changed = old.as_ref().is_some_and(|old| differ(old, &catalog));
        if old.is_none() || changed {
            info!(upstream = %self.common.name, tools = catalog.tools.len(), "tool list fetched");
        }
        self.common.set_catalog(Arc::clone(&catalog));
        for instance in self.instances().values() {
            // A server need not say so itself; its clients are promised that they hear of it.
            if !instance.listeners.told.swap(false, Ordering::Relaxed) && changed {
                instance.listeners.tell(method::NOTIFICATIONS_TOOLS_LIST_CHANGED, None);
            }
        }
        Ok(catalog)
    }

    fn subscribe(&self, caller: &Caller) -> broadcast::Receiver<Notification> {
        let instance = self.instance(caller);
        let heard = instance.listeners.events.subscribe();
        instance.tend();
        heard
    }

    fn server_requests(&self, caller: &Caller) -> mpsc::Receiver<ServerRequest> {
        self.instance(caller).listeners.server_requests.listen(self.common.server_requests)
    }

    async fn watch(&self, caller: &Caller, uri: &str, params: Option<String>) -> Watching {
        if self.common.stop.is_cancelled() {
            return Watching::Refused(None);
        }
        self.instance(caller).watch(uri, params).await
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
        self.instance(caller).log_at(level, params).await
    }

    async fn close_session(&self, caller: &Caller) {
        let key = self.key(caller);
        if !matches!(key, Key::Session(..)) {
            return;
        }
        let instance = self.instances().remove(&key);
        let Some(instance) = instance else { return };
        instance.requests.close();
        if instance.requests.is_empty() {
            return instance.close().await;
        }
        // An approved call runs on when its client leaves.
        let stop = self.common.stop.clone();
        self.common.tracker.spawn(async move {
            tokio::select! {
                () = instance.requests.wait() => {}
                () = stop.cancelled() => {}
            }
            instance.close().await;
        });
    }

    async fn shutdown(&self) {
        self.common.stop.cancel();
        let instances: Vec<_> = self.instances().drain().map(|(_, i)| i).collect();
        join_all(instances.iter().map(|i| i.close())).await;
    }
}

fn differ(old: &Catalog, new: &Catalog) -> bool {
    let prints = |c: &Catalog| c.tools.iter().map(|t| t.fingerprint.clone()).collect::<Vec<_>>();
    prints(old) != prints(new)
}
