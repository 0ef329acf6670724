//! Streamable HTTP, both eras: one POST per request, its answer as JSON or as a stream of events.
//! A server that knows only the transport before it, HTTP+SSE, is spoken to over that one.
//!
//! A failure before the first byte of the request counts as not sent; so do the statuses with
//! which a server refuses before it reads. Everything after that without a readable answer is
//! lost. Nothing is sent twice except where the server has forgotten the session and so ran nothing,
//! or (allowed calls only) after a complaint about mirrored headers; lists, which run nothing, also
//! where a kept connection was dead. No redirects, no proxy of the environment.
//!
//! <https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#session-management>,
//! <https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#standard-request-headers>

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use hyper::{Method, StatusCode};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::common::Common;
use super::hub::{Hub, OnCancel, attend, next_id, outgoing_params};
use super::link::Link;
use super::{
    Notifications, Reply, Request, ServerFacts, UpstreamError, WireEra, catalog, message,
    mirrored_headers,
};
use crate::protocol::{code, jsonrpc, method};

mod address;
mod answer;
mod body;
mod conn;
mod dial;
mod forgotten;
mod get_stream;
mod io;
mod once;
mod open;
mod pool;
mod response;
mod send;
mod session;
mod sse_conn;
mod subscriptions_listen;
mod target;

pub(super) use subscriptions_listen::{GATHER, OVERLAP};
pub(super) use target::Target;

use answer::{Answered, Sending, refusal};
use forgotten::may_mean_forgotten;
use pool::Over;
use session::Session;

/// Requests that run nothing, and so may be sent again where nobody knows whether they arrived.
const RUNS_NOTHING: [&str; 5] = [
    method::PING,
    method::TOOLS_LIST,
    method::PROMPTS_LIST,
    method::RESOURCES_LIST,
    method::RESOURCES_TEMPLATES_LIST,
];
/// How long the end of a session may take at shutdown.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The connection of one caller: a session, opened when needed.
pub(super) struct HttpLink {
    target: Arc<Target>,
    hub: Arc<Hub>,
    session: StdMutex<Option<Arc<Session>>>,
    /// Held by whoever opens a session.
    opening: Mutex<()>,
}

/// Starts the stream on which a server speaks without being asked: GET in a legacy session,
/// `subscriptions/listen` in the modern era.
fn listen(target: &Arc<Target>, hub: &Arc<Hub>, session: &Arc<Session>) {
    let (stop, closing) = (session.stop.clone(), hub.common.stop.clone());
    let (target, again, weak) = (Arc::clone(target), Arc::clone(hub), Arc::downgrade(session));
    let era = session.facts.era;
    hub.common.tracker.spawn(async move {
        let stream = async {
            match era {
                WireEra::Legacy => get_stream::keep(target, again, weak).await,
                WireEra::Modern => subscriptions_listen::keep(target, again, weak).await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = closing.cancelled() => {}
            () = stream => {}
        }
    });
}

/// Why one attempt gave no answer.
enum Failure {
    /// The session is no longer known, so that the server ran nothing; its words.
    SessionGone(String),
    /// The server complains about mirrored headers.
    Headers(String),
    /// Anything else: it is the outcome.
    Final(UpstreamError),
}

impl From<UpstreamError> for Failure {
    fn from(error: UpstreamError) -> Self {
        Self::Final(error)
    }
}

impl HttpLink {
    pub(super) fn new(target: &Arc<Target>, hub: Arc<Hub>) -> Arc<Self> {
        let target = Arc::clone(target);
        Arc::new(Self { target, hub, session: StdMutex::default(), opening: Mutex::default() })
    }

    fn place(&self) -> MutexGuard<'_, Option<Arc<Session>>> {
        self.session.lock().expect("no holder of this lock panics")
    }

    /// The session as it is, if it takes requests.
    fn current(&self) -> Option<Arc<Session>> {
        self.place().as_ref().filter(|s| !s.is_over()).map(Arc::clone)
    }

    async fn session(&self) -> Result<Arc<Session>, UpstreamError> {
        if let Some(session) = self.current() {
            return Ok(session);
        }
        let _one_at_a_time = self.opening.lock().await;
        if let Some(session) = self.current() {
            return Ok(session);
        }
        // Dropped without the lock.
        drop(self.place().take());
        let stop = &self.hub.common.stop;
        let opening = self.hub.common.health.opening();
        let opened = tokio::select! {
            biased;
            () = stop.cancelled() => Err("Placet is shutting down".to_owned()),
            opened = self.open() => opened,
        };
        drop(opening);
        // Whatever went wrong there: the request itself was not sent.
        let session = Arc::new(opened.map_err(|why| {
            self.hub.common.forget_era();
            self.target.found_sse.store(false, Ordering::Relaxed);
            UpstreamError::NotSent(why)
        })?);
        self.hub.common.learn(&session.facts);
        self.hub.listeners.learn(&session.facts);
        self.target.found_sse.store(session.sse.is_some(), Ordering::Relaxed);
        if session.sse.is_none() {
            listen(&self.target, &self.hub, &session);
        }
        *self.place() = Some(Arc::clone(&session));
        self.hub.listeners.opened.send_modify(|n| *n += 1);
        Ok(session)
    }

    /// The session for a request. An approved call gets none whose stream may be half dead.
    async fn session_for(&self, request: &Request) -> Result<Arc<Session>, UpstreamError> {
        let session = self.session().await?;
        match &session.sse {
            Some(conn) if request.once && !conn.is_alive().await => {
                // What waits on the old stream may yet be answered there.
                self.replace(&session);
                self.session().await
            }
            _ => Ok(session),
        }
    }

    fn replace(&self, session: &Arc<Session>) {
        let mut place = self.place();
        if place.as_ref().is_some_and(|s| Arc::ptr_eq(s, session)) {
            *place = None;
        }
    }

    fn forget(&self, session: &Arc<Session>) {
        self.replace(session);
        session.stop.cancel();
    }

    async fn attempt(
        &self,
        session: &Arc<Session>,
        request: &Request,
        notifications: Option<Notifications>,
        cancel: &CancellationToken,
    ) -> Result<Reply, Failure> {
        let common = &self.hub.common;
        let era = session.facts.era;
        let route = self.hub.open(next_id(), notifications);
        if request.log_level.is_some() {
            self.hub.mark_logs(route.id);
        }
        let mut headers = session.headers();
        let params = outgoing_params(era, route.id, request, &self.hub.listeners.features);
        if era == WireEra::Modern {
            mirror(common, request, &mut headers);
        }
        let body = jsonrpc::request(route.id, &request.method, params.as_deref());
        // They are in the body now, and the answer may take long.
        drop(params);
        let sending = match request.once {
            true => Sending::Once(request.gate.clone()),
            false if RUNS_NOTHING.contains(&request.method.as_str()) => Sending::Harmless,
            false => Sending::Usual,
        };
        let work =
            answer::exchange(&self.target, sending, &self.hub, session, headers, body, route.id);
        // Whoever closes the connection waits until the server was told.
        let told = OnceLock::new();
        let on_cancel = || match (era, request.once) {
            (WireEra::Legacy, once) => {
                if let Some(task) = self.post_aside(session, message::cancelled(route.id)) {
                    // It is cancelled once.
                    let _ = told.set(task);
                }
                if once { OnCancel::Wait } else { OnCancel::Return(UpstreamError::Cancelled) }
            }
            // In the modern era closing the stream cancels; after that no answer can come.
            (WireEra::Modern, true) => {
                OnCancel::Return(UpstreamError::Lost("cancelled by closing the stream".to_owned()))
            }
            (WireEra::Modern, false) => OnCancel::Return(UpstreamError::Cancelled),
        };
        let answered =
            attend(work, &route.heard, common.timeout, request.overdue.as_ref(), cancel, on_cancel)
                .await;
        if let Err(UpstreamError::Lost(_)) = &answered
            && era == WireEra::Legacy
            && !request.once
        {
            self.post_aside(session, message::cancelled(route.id));
        }
        if let (Err(UpstreamError::Cancelled), Some(task)) = (&answered, told.into_inner()) {
            let _ = task.await;
        }
        self.judge(session, answered?, request.once).await
    }

    /// What an HTTP answer means for the call. Where it may mean that the session is forgotten the
    /// server is asked ([`HttpLink::has_forgotten`]); 404 to a session id says so by itself
    /// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#session-management>).
    async fn judge(
        &self,
        session: &Arc<Session>,
        answered: Answered,
        once: bool,
    ) -> Result<Reply, Failure> {
        let not_sent = |why: String| Failure::Final(UpstreamError::NotSent(why));
        let is_legacy = session.facts.era == WireEra::Legacy;
        let status = answered.status();
        let suspect = |said: &str| {
            is_legacy && status.is_some_and(|status| may_mean_forgotten(status, said, once))
        };
        match answered {
            Answered::Reply(_, Reply::Error(error)) => {
                let said = message::error_text(&error);
                match jsonrpc::error_code(&error) {
                    Some(code::HEADER_MISMATCH) => Err(Failure::Headers(said)),
                    Some(code::UNSUPPORTED_VERSION) => {
                        self.forget(session);
                        self.hub.common.forget_era();
                        Err(not_sent(format!("refused: {said}")))
                    }
                    _ if suspect(&said) && self.has_forgotten(session, true).await => {
                        Err(Failure::SessionGone(said))
                    }
                    _ => Ok(Reply::Error(error)),
                }
            }
            Answered::Reply(_, reply) => Ok(reply),
            Answered::Refused { status, said } => {
                let why = refusal(status, &said, &self.hub.common.name);
                let has_id = session.id.is_some();
                match status.as_u16() {
                    // It ran nothing; whether that is for the session or for this call shows a ping.
                    401 | 410
                        if is_legacy && has_id && self.has_forgotten(session, false).await =>
                    {
                        Err(Failure::SessionGone(why))
                    }
                    404 if is_legacy => Err(Failure::SessionGone(why)),
                    400 if is_legacy && (!once || self.has_forgotten(session, true).await) => {
                        Err(Failure::SessionGone(why))
                    }
                    _ => Err(not_sent(why)),
                }
            }
            Answered::Unreadable { why, said, .. } => {
                let is_error = status.is_some_and(|s| s.is_client_error() || s.is_server_error());
                if is_error && suspect(&said) && self.has_forgotten(session, once).await {
                    return Err(Failure::SessionGone(why));
                }
                Err(Failure::Final(UpstreamError::Lost(why)))
            }
        }
    }

    /// Tells the server that the session is over
    /// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#session-management>).
    async fn end(&self, session: &Session) -> Result<StatusCode, UpstreamError> {
        let mut headers = session.headers();
        headers.remove(CONTENT_TYPE);
        let address = self.target.address()?;
        let request = send::request(Method::DELETE, address, headers, io::Body::empty());
        Ok(send::send(&self.target, address, Over::New, request).await?.status())
    }

    fn opens_another(&self) {
        info!(upstream = %self.hub.common.name, "the session is gone, a new one is opened");
    }

    /// Sends a notification or an answer on the side. The task ends when it is out, or was given up;
    /// nobody need wait for it.
    fn post_aside(&self, session: &Arc<Session>, body: String) -> Option<JoinHandle<()>> {
        if let Some(conn) = &session.sse {
            return conn.send(body);
        }
        Some(answer::post_aside(&self.target, &self.hub, session, body))
    }
}

/// Puts in the headers that mirror the request.
fn mirror(common: &Common, request: &Request, headers: &mut HeaderMap) {
    let params = request.params.as_deref();
    if request.method != method::TOOLS_CALL {
        return mirrored_headers::insert(headers, &request.method, params, &[]);
    }
    let read = || {
        let node = crate::domain::json::parse(params?).ok()?;
        node.get("name")?.as_str().map(Arc::from)
    };
    match request.tool.clone().or_else(read) {
        Some(tool) => {
            let mirrors = common.mirrors_of(&tool);
            let mirrors = mirrors.as_deref().unwrap_or_default();
            mirrored_headers::insert_for_call(headers, &tool, params, mirrors);
        }
        None => mirrored_headers::insert(headers, &request.method, params, &[]),
    }
}

#[async_trait]
impl Link for HttpLink {
    async fn request(
        &self,
        request: Request,
        notifications: Option<Notifications>,
        cancel: CancellationToken,
    ) -> Result<Reply, UpstreamError> {
        let (mut asked, mut reopened, mut relisted) = (!request.once, false, false);
        let began = Instant::now();
        loop {
            let found = async {
                let session = self.session_for(&request).await?;
                // Whoever decided took their time: the server may have been started again since.
                let fresh = session.born >= began || session.sse.is_some();
                let gone = !asked && !fresh && self.seems_to_have_forgotten(&session).await;
                Ok::<_, UpstreamError>((session, gone))
            };
            let (session, gone) = tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    return Err(UpstreamError::NotSent("cancelled before it was sent".to_owned()));
                }
                found = found => found?,
            };
            asked = true;
            // Given up meanwhile, it must not run after all: people may have settled it.
            if request.is_given_up() {
                return Err(UpstreamError::NotSent("it was given up before".to_owned()));
            }
            if gone {
                self.forget(&session);
                self.opens_another();
                continue;
            }
            if let Some(conn) = &session.sse {
                let sent = conn.request(&request, notifications.clone(), &cancel).await;
                if !reopened && matches!(sent, Err(UpstreamError::NotSent(_))) && conn.is_over() {
                    self.replace(&session);
                    reopened = true;
                    self.opens_another();
                    continue;
                }
                return sent;
            }
            match self.attempt(&session, &request, notifications.clone(), &cancel).await {
                Ok(reply) => return Ok(reply),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::SessionGone(why)) => {
                    self.forget(&session);
                    if reopened {
                        return Err(UpstreamError::NotSent(format!(
                            "{why}, also in a new session"
                        )));
                    }
                    reopened = true;
                    self.opens_another();
                }
                Err(Failure::Headers(why)) => {
                    if request.once || relisted || request.method != method::TOOLS_CALL {
                        self.hub.common.relist.notify_one();
                        return Err(UpstreamError::NotSent(format!("refused: {why}")));
                    }
                    relisted = true;
                    let catalog = catalog::fetch(self, &self.hub.common).await.map_err(|e| {
                        UpstreamError::NotSent(format!("refused: {why}; then {}", e.error()))
                    })?;
                    self.hub.common.set_catalog(Arc::new(catalog));
                }
            }
        }
    }

    async fn notify(&self, method: &str, params: Option<&str>) {
        // Whoever opens a session is waited for.
        drop(self.opening.lock().await);
        let session = self.place().clone();
        // The modern era has no client notifications over HTTP.
        if let Some(session) = session.filter(|s| s.facts.era == WireEra::Legacy) {
            let sent = self.post_aside(&session, jsonrpc::notification(method, params));
            // Whoever sends many is slowed down by it.
            if let Some(sent) = sent {
                let _ = sent.await;
            }
        }
    }

    async fn connect(&self) -> Result<ServerFacts, UpstreamError> {
        Ok(self.session().await?.facts.clone())
    }

    fn is_live(&self) -> bool {
        self.current().is_some()
    }

    fn era(&self) -> Option<WireEra> {
        self.hub.listeners.era()
    }

    fn is_http(&self) -> bool {
        true
    }

    async fn lost(&self) {
        drop(self.opening.lock().await);
        let session = self.place().clone();
        let ends = session.map(|s| (s.stop.clone(), s.sse.as_ref().map(|conn| conn.over())));
        let Some((stop, over)) = ends else { return };
        match over {
            Some(over) => tokio::select! {
                () = stop.cancelled() => {}
                () = over.cancelled() => {}
            },
            None => stop.cancelled().await,
        }
    }

    async fn close(&self) {
        let _none_opens = self.opening.lock().await;
        let session = self.place().take();
        let Some(session) = session else { return };
        session.stop.cancel();
        if session.id.is_none() {
            return;
        }
        let ended = tokio::time::timeout(CLOSE_TIMEOUT, self.end(&session)).await;
        let upstream = &self.hub.common.name;
        match ended {
            Ok(Ok(status)) => debug!(%upstream, "session ended: {status}"),
            Ok(Err(error)) => debug!(%upstream, "session not ended: {error}"),
            Err(_) => debug!(%upstream, "session not ended within {CLOSE_TIMEOUT:?}"),
        }
    }
}
