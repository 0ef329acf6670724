//! An upstream as a child process: one JSON message per line on its standard input and output.
//!
//! A request that was not yet written when the child ended was not sent; one that was is lost.
//! The child is started again at the next request, after a pause that grows while it keeps dying.

use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::protocol::{code, jsonrpc, method};

use super::child::Spec;
use super::common::{Common, Opening};
use super::handshake::{
    Discovered, discover_params, initialize_params, read_discover, read_discover_error,
    read_initialize,
};
use super::hub::{OnCancel, attend, next_id, outgoing_params};
use super::link::{Link, Pauses};
use super::listeners::Listeners;
use super::{Notifications, Reply, Request, ServerFacts, UpstreamError, WireEra, message};

mod conn;
mod joined;
mod oversized;
mod read;
mod subscriptions_listen;
mod unread;
mod writing;

use conn::Conn;

/// After a life this long a child's earlier deaths no longer count for the pause.
pub(super) const STABLE: Duration = Duration::from_mins(1);

/// The connection of one caller: a child process, started when needed.
pub(super) struct StdioLink {
    spec: Arc<Spec>,
    common: Arc<Common>,
    listeners: Arc<Listeners>,
    state: Mutex<State>,
    /// The same connection as in `state`, for those who must not wait while one is opened.
    live: StdMutex<Option<Arc<Conn>>>,
}

#[derive(Default)]
struct State {
    pauses: Pauses,
    conn: Option<(Arc<Conn>, ServerFacts)>,
    deaths: u32,
    not_before: Option<Instant>,
    last_words: String,
}

/// The first words to a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Words {
    /// `server/discover`; a child that doesn't know it hears `initialize` next.
    Probe,
    /// `server/discover`, and nothing else.
    Discover,
    /// `initialize`; it may be silent to it for so long.
    Initialize(Duration),
}

/// Why a handshake failed.
enum Failed {
    /// The child ended before it answered: how, in words.
    Died(String),
    /// It refused, was silent or speaks no version in common: why, in words.
    Said(String),
}

impl StdioLink {
    pub(super) fn new(
        spec: &Arc<Spec>,
        common: &Arc<Common>,
        listeners: &Arc<Listeners>,
    ) -> Arc<Self> {
        Arc::new(Self {
            spec: Arc::clone(spec),
            common: Arc::clone(common),
            listeners: Arc::clone(listeners),
            state: Mutex::new(State { pauses: common.pauses, ..State::default() }),
            live: StdMutex::default(),
        })
    }

    fn live(&self) -> Option<Arc<Conn>> {
        let live = self.live.lock().expect("no holder of this lock panics");
        live.clone().filter(|conn| !conn.is_broken())
    }

    fn set_live(&self, conn: Option<&Arc<Conn>>) {
        *self.live.lock().expect("no holder of this lock panics") = conn.cloned();
    }

    /// The connection, started if need be; an error always means that nothing was sent.
    async fn conn(&self) -> Result<(Arc<Conn>, ServerFacts), UpstreamError> {
        loop {
            let mut state = self.state.lock().await;
            if let Some((conn, facts)) = &state.conn
                && !conn.is_broken()
            {
                return Ok((Arc::clone(conn), facts.clone()));
            }
            if let Some((conn, _)) = state.conn.take() {
                self.set_live(None);
                conn.ended().await;
                state.ended(&conn);
            }
            if self.common.stop.is_cancelled() {
                return Err(UpstreamError::NotSent("Placet is shutting down".to_owned()));
            }
            match state.pause() {
                None => return self.started(&mut state).await,
                // One that did its work is started again for whoever waits.
                Some(pause) if state.deaths == 0 => {
                    drop(state);
                    tokio::select! {
                        () = self.common.stop.cancelled() => {}
                        () = tokio::time::sleep(pause) => {}
                    }
                }
                Some(pause) => {
                    let why = format!("{}; started again in {pause:?}", state.last_words);
                    return Err(UpstreamError::NotSent(why));
                }
            }
        }
    }

    async fn started(&self, state: &mut State) -> Result<(Arc<Conn>, ServerFacts), UpstreamError> {
        let opening = self.common.health.opening();
        let started = self.start().await;
        drop(opening);
        match started {
            Ok((conn, facts)) => {
                info!(upstream = %self.common.name, version = %facts.version, "child started");
                self.common.learn(&facts);
                self.listeners.learn(&facts);
                conn.is_ready();
                self.set_live(Some(&conn));
                self.listeners.opened.send_modify(|n| *n += 1);
                state.conn = Some((Arc::clone(&conn), facts.clone()));
                Ok((conn, facts))
            }
            Err(why) => {
                warn!(upstream = %self.common.name, "no connection: {why}");
                self.common.forget_era();
                state.died(why.clone(), Duration::ZERO);
                Err(UpstreamError::NotSent(why))
            }
        }
    }

    /// Starts a child and finds out how to talk to it. Some legacy servers leave at the first
    /// word they don't know: then a second child is spoken to in the legacy way
    /// (<https://modelcontextprotocol.io/specification/2026-07-28/basic/versioning>).
    async fn start(&self) -> Result<(Arc<Conn>, ServerFacts), String> {
        let legacy_first = self.listeners.legacy_first;
        let patience = self.common.handshake_timeout;
        let started = match self.common.opening(legacy_first) {
            Opening::Legacy => self.speak(Words::Initialize(patience)).await,
            Opening::Modern => self.speak(Words::Discover).await,
            Opening::LegacyElseModern => self.speak_either().await,
            Opening::Probe => match self.speak(Words::Probe).await {
                Ok((conn, facts)) if facts.era == WireEra::Modern && legacy_first => {
                    self.common.learn(&facts);
                    conn.close().await;
                    self.speak_either().await
                }
                Err(Failed::Died(why)) => {
                    debug!(upstream = %self.common.name, "the child left at server/discover: {why}");
                    self.speak(Words::Initialize(patience)).await
                }
                probed => probed,
            },
        };
        started.map_err(|(Failed::Died(why) | Failed::Said(why))| why)
    }

    /// Starts a child that is known to speak the modern era, and speaks to it in the legacy way if
    /// it takes that. Another child is spoken to in the modern way, since none has to take both.
    async fn speak_either(&self) -> Result<(Arc<Conn>, ServerFacts), Failed> {
        match self.speak(Words::Initialize(self.common.probe_silence)).await {
            Err(Failed::Died(why) | Failed::Said(why)) => {
                debug!(upstream = %self.common.name, "it is modern alone: {why}");
                self.common.refuses_initialize();
                self.speak(Words::Discover).await
            }
            legacy => legacy,
        }
    }

    /// Starts a child and says these words to it.
    async fn speak(&self, words: Words) -> Result<(Arc<Conn>, ServerFacts), Failed> {
        let conn = Conn::start(&self.spec, &self.common, &self.listeners).map_err(Failed::Said)?;
        match self.shake_hands(&conn, words).await {
            Ok(facts) => Ok((conn, facts)),
            Err(failed) => {
                conn.close().await;
                Err(match failed {
                    Failed::Died(_) => Failed::Died(conn.obituary()),
                    said @ Failed::Said(_) => said,
                })
            }
        }
    }

    async fn shake_hands(&self, conn: &Arc<Conn>, words: Words) -> Result<ServerFacts, Failed> {
        let features = &self.listeners.features;
        let died = || Failed::Died(String::new());
        let limit = match words {
            Words::Initialize(patience) => patience,
            Words::Probe | Words::Discover => {
                let patience = match words {
                    Words::Probe => self.common.probe_silence,
                    _ => self.common.handshake_timeout,
                };
                let params = discover_params(features);
                let found = match conn.ask(method::SERVER_DISCOVER, &params, patience).await {
                    Ok(Reply::Result(result)) => read_discover(&result),
                    Ok(Reply::Error(error)) => read_discover_error(&error, false),
                    Err(_) if conn.is_broken() => return Err(died()),
                    Err(_) => Discovered::NotModern,
                };
                match found {
                    Discovered::Modern(facts) => {
                        subscriptions_listen::start(conn, &facts.capabilities);
                        return Ok(facts);
                    }
                    Discovered::Foreign(why) => return Err(Failed::Said(why)),
                    Discovered::NotModern if words == Words::Discover => {
                        let why = "the server does not speak the modern era";
                        return Err(Failed::Said(why.to_owned()));
                    }
                    Discovered::NotModern => self.common.handshake_timeout,
                }
            }
        };
        match conn.ask(method::INITIALIZE, &initialize_params(features), limit).await {
            Ok(Reply::Result(result)) => {
                let facts = read_initialize(&result).map_err(Failed::Said)?;
                conn.send(jsonrpc::notification(method::NOTIFICATIONS_INITIALIZED, None));
                Ok(facts)
            }
            Ok(Reply::Error(error)) => {
                let why = format!("initialize was refused: {}", message::error_text(&error));
                Err(Failed::Said(why))
            }
            Err(_) if conn.is_broken() => Err(died()),
            Err(error) => Err(Failed::Said(format!("initialize: {error}"))),
        }
    }

    /// Sends a request to a child; that child, and what came of it.
    async fn attempt(
        &self,
        request: &Request,
        notifications: Option<Notifications>,
        cancel: &CancellationToken,
    ) -> Result<(Arc<Conn>, Result<Reply, UpstreamError>), UpstreamError> {
        let (conn, facts) = tokio::select! {
            biased;
            () = cancel.cancelled() => {
                return Err(UpstreamError::NotSent("cancelled before it was sent".to_owned()));
            }
            conn = self.conn() => conn?,
        };
        let mut route = conn.hub.open(next_id(), notifications);
        let id = route.id;
        if request.log_level.is_some() {
            conn.hub.mark_logs(id);
        }
        let params = outgoing_params(facts.era, id, request, &self.listeners.features);
        let line = jsonrpc::request(id, &request.method, params.as_deref());
        // They are in the line now, and the answer may take long.
        drop(params);
        let heard = Arc::clone(&route.heard);
        let work = async {
            conn.write(id, line, request.gate.clone()).await?;
            // The sender lives in the hub until it was used.
            (&mut route.answer).await.unwrap_or_else(|_| Err(conn.lost()))
        };
        let on_cancel = || {
            conn.send(message::cancelled(id));
            if request.once { OnCancel::Wait } else { OnCancel::Return(UpstreamError::Cancelled) }
        };
        let answer =
            attend(work, &heard, self.common.timeout, request.overdue.as_ref(), cancel, on_cancel)
                .await;
        if let Err(UpstreamError::Lost(_)) = &answer
            && !request.once
        {
            conn.send(message::cancelled(id));
        }
        drop(route);
        Ok((conn, answer))
    }
}

impl State {
    /// A child that was connected has ended. If it had answered anything before, it is started
    /// again at once where it left in order, and after the first pause where not.
    fn ended(&mut self, conn: &Conn) {
        if !conn.has_served() {
            return self.died(conn.obituary(), conn.born.elapsed());
        }
        self.deaths = 0;
        self.last_words = conn.obituary();
        self.not_before = (!conn.has_finished()).then(|| Instant::now() + self.pauses.first);
    }

    fn died(&mut self, last_words: String, lived: Duration) {
        if lived >= STABLE {
            self.deaths = 0;
        }
        let doubled = self.pauses.first.saturating_mul(1 << self.deaths.min(16));
        let pause = doubled.min(self.pauses.longest);
        self.deaths += 1;
        self.not_before = Some(Instant::now() + pause);
        self.last_words = last_words;
    }

    fn pause(&self) -> Option<Duration> {
        let left = self.not_before?.checked_duration_since(Instant::now())?;
        (!left.is_zero())
            .then(|| Duration::from_millis(u64::try_from(left.as_millis()).unwrap_or(0) + 1))
    }
}

#[async_trait]
impl Link for StdioLink {
    async fn request(
        &self,
        request: Request,
        notifications: Option<Notifications>,
        cancel: CancellationToken,
    ) -> Result<Reply, UpstreamError> {
        let mut attempts = 0;
        let answer = loop {
            // Given up meanwhile, it must not run after all: people may have settled it.
            if request.is_given_up() {
                return Err(UpstreamError::NotSent("it was given up before".to_owned()));
            }
            attempts += 1;
            let (conn, answer) = self.attempt(&request, notifications.clone(), &cancel).await?;
            match answer {
                // It left before it read this, as some do after each answer.
                Err(UpstreamError::NotSent(_))
                    if conn.has_served()
                        && conn.is_broken()
                        && attempts < self.common.max_starts => {}
                answer => break answer,
            }
        };
        match answer? {
            Reply::Error(error) => match jsonrpc::error_code(&error) {
                Some(code::HEADER_MISMATCH) => Err(refused(&error)),
                Some(code::UNSUPPORTED_VERSION) => {
                    self.common.forget_era();
                    Err(refused(&error))
                }
                _ => Ok(Reply::Error(error)),
            },
            reply @ Reply::Result(_) => Ok(reply),
        }
    }

    async fn notify(&self, method: &str, params: Option<&str>) {
        if let Some(conn) = self.live() {
            conn.send(jsonrpc::notification(method, params));
        }
    }

    async fn connect(&self) -> Result<ServerFacts, UpstreamError> {
        Ok(self.conn().await?.1)
    }

    fn is_live(&self) -> bool {
        self.live().is_some()
    }

    fn era(&self) -> Option<WireEra> {
        self.listeners.era()
    }

    fn is_http(&self) -> bool {
        false
    }

    async fn lost(&self) {
        if let Some(conn) = self.live() {
            conn.broken().await;
        }
    }

    async fn close(&self) {
        let mut state = self.state.lock().await;
        self.set_live(None);
        if let Some((conn, _)) = state.conn.take() {
            conn.close().await;
        }
    }
}

fn refused(error: &str) -> UpstreamError {
    UpstreamError::NotSent(format!("refused: {}", message::error_text(error)))
}

#[cfg(test)]
mod tests;
