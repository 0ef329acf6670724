//! One instance of a server: its connection, and what the server must be told for those who
//! listen there: that it stays connected, which resources they watch, what it shall log.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex, Weak};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::debug;

use super::common::Common;
use super::handshake::{offers_logging, offers_watching};
use super::link::Link;
use super::listeners::Listeners;
use super::log_level::{Level, Wish};
use super::resource_subscriptions::{Watch, Watching};
use super::{Notifications, Reply, Request, ServerFacts, UpstreamError, WireEra};
use crate::domain::json;
use crate::protocol::{code, jsonrpc, method};

/// How long a server may take to say whether it tells of a resource, or logs at a level.
const TOLD_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked whether anybody still listens.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// A connection with its listeners.
pub(super) struct Instance {
    pub link: Arc<dyn Link>,
    pub listeners: Arc<Listeners>,
    /// What runs over it.
    pub requests: TaskTracker,
    pub common: Arc<Common>,
    tended: AtomicBool,
    closed: CancellationToken,
    /// When it was used last.
    used_at: StdMutex<Instant>,
    /// The level a legacy server was told last, and in which of its connections.
    logs_at: Mutex<Option<(u64, Level)>>,
}

/// An instance in use: it is not closed for want of use while this lives.
pub(super) struct Used {
    instance: Arc<Instance>,
    _in_use: TaskTrackerToken,
}

impl Used {
    /// Uses the instance from here on.
    pub(super) fn of(instance: &Arc<Instance>) -> Self {
        instance.touch();
        Self { instance: Arc::clone(instance), _in_use: instance.requests.token() }
    }
}

impl Deref for Used {
    type Target = Arc<Instance>;

    fn deref(&self) -> &Arc<Instance> {
        &self.instance
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        self.instance.touch();
    }
}

/// One who watches a resource.
struct Watcher {
    instance: Arc<Instance>,
    uri: String,
    /// Whether the server was asked for it.
    asked: bool,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.instance.release(&self.uri, self.asked);
    }
}

impl Instance {
    pub(super) fn new(
        link: Arc<dyn Link>,
        listeners: Arc<Listeners>,
        common: &Arc<Common>,
    ) -> Arc<Self> {
        Arc::new(Self {
            link,
            listeners,
            requests: TaskTracker::new(),
            common: Arc::clone(common),
            tended: AtomicBool::new(false),
            closed: common.stop.child_token(),
            used_at: StdMutex::new(Instant::now()),
            logs_at: Mutex::default(),
        })
    }

    /// Fires when it is ended for good.
    pub(super) fn closed(&self) -> CancellationToken {
        self.closed.clone()
    }

    /// Notes that it is used now.
    pub(super) fn touch(&self) {
        *self.used_at.lock().expect("no holder of this lock panics") = Instant::now();
    }

    /// When it was used last.
    pub(super) fn used_at(&self) -> Instant {
        *self.used_at.lock().expect("no holder of this lock panics")
    }

    /// Whether nothing runs over it and nobody listens.
    pub(super) fn is_quiet(&self) -> bool {
        self.requests.is_empty() && !self.listeners.is_wanted()
    }

    /// Whether somebody set a log level there, which a new one would not know.
    pub(super) fn logs(&self) -> bool {
        self.listeners.levels.lowest().is_some()
    }

    /// Ends it once nothing runs over it any more: an approved call runs on when its client leaves.
    pub(super) fn wind_down(self: Arc<Self>) {
        self.requests.close();
        let stop = self.common.stop.clone();
        let tracker = self.common.tracker.clone();
        tracker.spawn(async move {
            tokio::select! {
                () = self.requests.wait() => {}
                () = stop.cancelled() => {}
            }
            self.close().await;
        });
    }

    /// Ends it for good.
    pub(super) async fn close(&self) {
        self.closed.cancel();
        self.link.close().await;
    }

    /// Sends one request, as [`super::Upstream::request`].
    ///
    /// # Errors
    /// As that method.
    pub(super) async fn request(
        self: &Arc<Self>,
        request: Request,
        notifications: Option<Notifications>,
        cancel: CancellationToken,
    ) -> Result<Reply, UpstreamError> {
        let level = request.log_level.as_deref().and_then(level_of);
        let _wish = level.map(|level| self.listeners.levels.want(level));
        if self.listeners.levels.lowest().is_some() {
            self.keep_level().await;
        }
        self.link.request(request, notifications, cancel).await
    }

    /// Has a legacy server log at the lowest level anybody wants; a modern one is told with each
    /// request. Where that fails the request itself will tell.
    async fn keep_level(&self) {
        let Ok(facts) = self.link.connect().await else { return };
        if facts.era == WireEra::Modern || !offers_logging(&facts.capabilities) {
            return;
        }
        let Some(level) = self.listeners.levels.lowest() else { return };
        if let Err(why) = self.tell_level(level, None).await {
            debug!(upstream = %self.common.name, "the log level was not set: {why}");
        }
    }

    /// Sets the level unless it is set; the answer is the server's where it was asked.
    async fn tell_level(
        &self,
        level: Level,
        params: Option<String>,
    ) -> Result<Reply, UpstreamError> {
        let mut logs_at = self.logs_at.lock().await;
        let connection = *self.listeners.opened.borrow();
        if params.is_none() && *logs_at == Some((connection, level)) {
            return Ok(Reply::Result("{}".to_owned()));
        }
        let own = || json::object([("level", json::quote(level.as_str()).as_str())]);
        let params = params.unwrap_or_else(own);
        let reply = self.ask(method::LOGGING_SET_LEVEL, params).await?;
        if matches!(reply, Reply::Result(_)) {
            *logs_at = Some((connection, level));
        }
        Ok(reply)
    }

    /// Has the server log at this level, as [`super::Upstream::log_at`]
    /// (<https://modelcontextprotocol.io/specification/2025-11-25/server/utilities/logging#setting-log-level>).
    ///
    /// # Errors
    /// As that method.
    pub(super) async fn log_at(
        self: &Arc<Self>,
        level: Level,
        params: Option<String>,
    ) -> Result<(Watch, Reply), UpstreamError> {
        let facts = self.link.connect().await?;
        let asks_itself = facts.era == WireEra::Legacy && params.is_some();
        if !asks_itself && !offers_logging(&facts.capabilities) {
            let error =
                jsonrpc::error_object(code::METHOD_NOT_FOUND, "this server logs nothing", None);
            return Ok((Watch::new(()), Reply::Error(error)));
        }
        let wish: Wish = self.listeners.levels.want(level);
        let done = Reply::Result("{}".to_owned());
        if facts.era == WireEra::Modern {
            return Ok((Watch::new(wish), done));
        }
        let reply = match self.listeners.levels.lowest() {
            // Others want more messages: the server stays at their level.
            Some(lowest) if lowest < level => self.tell_level(lowest, None).await?,
            _ => self.tell_level(level, params).await?,
        };
        Ok((Watch::new(wish), reply))
    }

    /// Has the server tell of a resource, as [`super::Upstream::watch`]
    /// (<https://modelcontextprotocol.io/specification/2025-11-25/server/resources#subscriptions>).
    pub(super) async fn watch(self: &Arc<Self>, uri: &str, params: Option<String>) -> Watching {
        let added = self.listeners.resource_subscriptions.add(uri);
        let mut watcher = Watcher { instance: Arc::clone(self), uri: uri.to_owned(), asked: false };
        self.tend();
        let facts = match tokio::time::timeout(TOLD_WITHIN, self.link.connect()).await {
            Ok(Ok(facts)) => facts,
            Ok(Err(error)) => return Watching::Later(Watch::new(watcher), error.to_string()),
            Err(_) => {
                let why = format!("it does not answer within {TOLD_WITHIN:?}");
                return Watching::Later(Watch::new(watcher), why);
            }
        };
        // What a legacy client asks in its own words is answered by a legacy server itself.
        let asks_itself = facts.era == WireEra::Legacy && params.is_some();
        if !asks_itself && !offers_watching(&facts.capabilities) {
            return Watching::Refused(None);
        }
        watcher.asked = true;
        if facts.era == WireEra::Modern {
            let agreed = self.listeners.resource_subscriptions.agreed(uri, added.change);
            return match tokio::time::timeout(TOLD_WITHIN, agreed).await {
                Ok(true) => Watching::Agreed(Watch::new(watcher)),
                Ok(false) => Watching::Refused(None),
                Err(_) => {
                    let why = format!("no subscription within {TOLD_WITHIN:?}");
                    Watching::Later(Watch::new(watcher), why)
                }
            };
        }
        let _turn = added.turn.lock().await;
        match self.ask(method::RESOURCES_SUBSCRIBE, params.unwrap_or_else(|| uri_params(uri))).await
        {
            Ok(Reply::Result(_)) => Watching::Agreed(Watch::new(watcher)),
            Ok(Reply::Error(error)) => {
                watcher.asked = false;
                Watching::Refused(Some(error))
            }
            Err(error) => Watching::Later(Watch::new(watcher), error.to_string()),
        }
    }

    /// Ends one watch of a resource; the server is unsubscribed once nobody watches it.
    fn release(self: &Arc<Self>, uri: &str, asked: bool) {
        let watched = &self.listeners.resource_subscriptions;
        if !watched.remove(uri) {
            return;
        }
        let era = self.listeners.era();
        if !asked || era != Some(WireEra::Legacy) || !self.link.is_live() {
            watched.forget(uri);
            return;
        }
        let Some(turn) = watched.turn(uri) else { return };
        let (me, uri) = (Arc::clone(self), uri.to_owned());
        self.common.tracker.spawn(async move {
            let _turn = turn.lock_owned().await;
            if me.listeners.resource_subscriptions.holds(&uri) || me.closed.is_cancelled() {
                return;
            }
            if let Err(why) = me.ask(method::RESOURCES_UNSUBSCRIBE, uri_params(&uri)).await {
                debug!(upstream = %me.common.name, "not unsubscribed: {why}");
            }
            me.listeners.resource_subscriptions.forget(&uri);
        });
    }

    /// Sends a short request of Placet's own.
    async fn ask(&self, method: &str, params: String) -> Result<Reply, UpstreamError> {
        let request = Request::new(method, Some(params));
        let request = self.link.request(request, None, CancellationToken::new());
        tokio::select! {
            () = self.closed.cancelled() => {
                Err(UpstreamError::NotSent("the connection is closed".to_owned()))
            }
            answer = tokio::time::timeout(TOLD_WITHIN, request) => answer.unwrap_or_else(|_| {
                Err(UpstreamError::Lost(format!("no answer within {TOLD_WITHIN:?}")))
            }),
        }
    }

    /// Keeps it connected for as long as anybody listens.
    pub(super) fn tend(self: &Arc<Self>) {
        if self.tended.swap(true, Ordering::SeqCst) {
            return;
        }
        let (me, closed) = (Arc::downgrade(self), self.closed.clone());
        self.common.tracker.spawn(async move {
            tokio::select! {
                () = closed.cancelled() => {}
                () = Self::keep(me) => {}
            }
        });
    }

    async fn keep(me: Weak<Self>) {
        let mut set_up: Option<u64> = None;
        let mut wait = None;
        loop {
            let Some(me) = me.upgrade() else { return };
            if !me.listeners.is_wanted() {
                me.tended.store(false, Ordering::SeqCst);
                // A listener that came meanwhile found it tended, and relies on that.
                if !me.listeners.is_wanted() || me.tended.swap(true, Ordering::SeqCst) {
                    return;
                }
            }
            let mut opened = me.listeners.opened.subscribe();
            match me.link.connect().await {
                Ok(facts) => {
                    wait = None;
                    let connection = *opened.borrow_and_update();
                    if set_up.is_some_and(|before| before != connection) {
                        me.reopened(&facts).await;
                    }
                    set_up = Some(connection);
                    tokio::select! {
                        () = me.link.lost() => {}
                        _ = opened.changed() => {}
                        () = tokio::time::sleep(LOOK_EVERY) => {}
                    }
                }
                Err(error) => {
                    debug!(upstream = %me.common.name, "not connected for listeners: {error}");
                    let pauses = me.common.pauses;
                    let pause = wait.unwrap_or(pauses.first);
                    tokio::time::sleep(pause).await;
                    wait = Some(pauses.after(pause));
                }
            }
        }
    }

    /// A new connection in place of one that was lost: the server knows nothing of what it was
    /// told before, and what it said meanwhile was not heard.
    async fn reopened(&self, facts: &ServerFacts) {
        if facts.era == WireEra::Legacy && offers_watching(&facts.capabilities) {
            for uri in self.listeners.resource_subscriptions.snapshot().1 {
                let Some(turn) = self.listeners.resource_subscriptions.turn(&uri) else { continue };
                let _turn = turn.lock().await;
                if !self.listeners.resource_subscriptions.holds(&uri) {
                    continue;
                }
                if let Err(why) = self.ask(method::RESOURCES_SUBSCRIBE, uri_params(&uri)).await {
                    debug!(upstream = %self.common.name, "not subscribed again: {why}");
                }
            }
        }
        if self.listeners.levels.lowest().is_some() {
            self.keep_level().await;
        }
        self.common.relist.notify_one();
        self.listeners.missed(&facts.capabilities);
    }
}

fn uri_params(uri: &str) -> String {
    json::object([("uri", json::quote(uri).as_str())])
}

/// The level in a raw JSON string.
fn level_of(raw: &str) -> Option<Level> {
    json::parse(raw).ok().and_then(|node| node.as_str().and_then(Level::of))
}
