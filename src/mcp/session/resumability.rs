//! Event streams that are read on over another connection: a legacy client of 2025-11-25 that
//! lost its connection comes back with `Last-Event-ID` and gets what it missed and what comes.
//!
//! A stream is found only within its own session. What is kept is bounded in bytes per session,
//! in streams per session, and in time since somebody read it; it does not outlive the process.
//! An event's id is `{stream}.{number}`, the number counted from 0.
//!
//! <https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#resumability-and-redelivery>

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::stream;
use tokio::sync::Notify;

use crate::broker::Broker;
use crate::mcp::stream::event::COMMENT;
use crate::notified::until;
use crate::protocol::version;
use crate::store::ClientSession;

/// How long a client is asked to wait before it comes back, milliseconds.
const RETRY_MS: u32 = 1000;
/// Events that may wait for a slow client; further notifications are dropped.
const CAPACITY: u64 = 32;

/// Every stream that may be read on.
pub(crate) struct Streams {
    broker: Broker,
    sessions: Mutex<HashMap<String, Session>>,
}

#[derive(Default)]
struct Session {
    streams: VecDeque<Arc<Kept>>,
    /// Bytes kept of all of them.
    bytes: Arc<AtomicUsize>,
}

impl Streams {
    pub(crate) fn new(broker: Broker) -> Self {
        Self { broker, sessions: Mutex::default() }
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.sessions.lock().expect("no holder of this lock panics")
    }

    /// Begins a stream; none where it could not be read on: the client's revision does not know
    /// how, the configuration turned it off, or the session has too many already.
    pub(crate) fn begin(self: &Arc<Self>, session: &ClientSession) -> Option<(Writer, Body)> {
        let server = &self.broker.config().server;
        if session.version != version::V2025_11_25 || server.resume_window.is_zero() {
            return None;
        }
        let mut sessions = self.sessions();
        let own = sessions.entry(session.id.clone()).or_default();
        if own.streams.len() >= server.resume_streams as usize {
            let ended = own.streams.iter().position(|s| s.state().ended)?;
            own.streams.remove(ended);
        }
        // Not a number: a process that starts anew would give it to another stream.
        let id = self.broker.ids().token();
        let kept = Arc::new(Kept {
            id,
            room: server.resume_buffer,
            window: server.resume_window,
            session_bytes: Arc::clone(&own.bytes),
            state: Mutex::default(),
            changed: Notify::new(),
        });
        own.streams.push_back(Arc::clone(&kept));
        drop(sessions);
        kept.push(&format!("retry: {RETRY_MS}\ndata: \n\n"));
        let body = kept.read(0);
        let writer = Writer { streams: Arc::clone(self), session: session.id.clone(), kept };
        Some((writer, body))
    }

    /// Reads on after the event of this id, over a new connection; none where the session has no
    /// such stream or what was missed is not kept any more.
    pub(crate) fn resume(&self, session: &str, event: &str) -> Option<Body> {
        let (id, number) = event.rsplit_once('.')?;
        let number = number.parse::<u64>().ok()?.checked_add(1)?;
        let sessions = self.sessions();
        let kept = sessions.get(session)?.streams.iter().find(|s| s.id == id)?;
        let keeps = {
            let state = kept.state();
            number <= state.next() && !(state.ended && number < state.first)
        };
        keeps.then(|| kept.read(number))
    }

    /// The sessions with streams.
    pub(crate) fn sessions_kept(&self) -> Vec<String> {
        self.sessions().keys().cloned().collect()
    }

    /// The session is over: nobody reads on.
    pub(crate) fn forget(&self, session: &str) {
        let forgotten = self.sessions().remove(session);
        for kept in forgotten.into_iter().flat_map(|s| s.streams) {
            kept.state().over = true;
            kept.changed.notify_waiters();
        }
    }

    fn remove(&self, session: &str, kept: &Arc<Kept>) {
        let mut sessions = self.sessions();
        if let Some(own) = sessions.get_mut(session) {
            own.streams.retain(|s| !Arc::ptr_eq(s, kept));
            if own.streams.is_empty() {
                sessions.remove(session);
            }
        }
    }
}

/// One stream: the events that may be asked for again, and who reads them now.
pub(crate) struct Kept {
    id: String,
    /// Bytes that are kept for a session.
    room: usize,
    /// How long it is kept while nobody reads it.
    window: Duration,
    session_bytes: Arc<AtomicUsize>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    events: VecDeque<Bytes>,
    /// The number of the first of them.
    first: u64,
    /// The number of the connection that reads now.
    reader: Option<u64>,
    /// How many connections there were.
    readers: u64,
    /// The number of the event that the reader takes next.
    cursor: u64,
    /// Whether the reader is owed a sign of life.
    comment: bool,
    /// Nothing more is said.
    ended: bool,
    /// Nobody may read on.
    over: bool,
}

impl State {
    /// The number that the next event gets.
    fn next(&self) -> u64 {
        self.first + self.events.len() as u64
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let bytes = self.state().events.iter().map(Bytes::len).sum();
        self.session_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Kept {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// Adds an event: its `id:` line, then these lines.
    fn push(&self, lines: &str) {
        let mut state = self.state();
        self.push_to(&mut state, lines);
        drop(state);
        self.changed.notify_waiters();
    }

    fn push_to(&self, state: &mut State, lines: &str) {
        let event = Bytes::from(format!("id: {}.{}\n{lines}", self.id, state.next()));
        self.session_bytes.fetch_add(event.len(), Ordering::Relaxed);
        state.events.push_back(event);
        self.trim(state);
    }

    /// Lets the oldest events go while the session keeps too much, but none that a connected
    /// client has yet to read.
    fn trim(&self, state: &mut State) {
        while self.session_bytes.load(Ordering::Relaxed) > self.room
            && (state.reader.is_none() || state.first < state.cursor)
            && let Some(event) = state.events.pop_front()
        {
            state.first += 1;
            self.session_bytes.fetch_sub(event.len(), Ordering::Relaxed);
        }
    }

    /// A new connection that reads from this number on; the one before it ends.
    fn read(self: &Arc<Self>, from: u64) -> Body {
        let mut state = self.state();
        state.readers += 1;
        let number = state.readers;
        state.reader = Some(number);
        state.cursor = from.max(state.first);
        drop(state);
        self.changed.notify_waiters();
        let reader = Reader { kept: Arc::clone(self), number };
        Body::from_stream(stream::unfold(reader, |reader| async move {
            let frame = reader.next().await?;
            Some((Ok::<_, Infallible>(frame), reader))
        }))
    }

    /// Waits until this holds of the state.
    async fn until(&self, holds: impl Fn(&State) -> bool) {
        until(&self.changed, || holds(&self.state()).then_some(())).await;
    }
}

/// One connection that reads a stream.
struct Reader {
    kept: Arc<Kept>,
    number: u64,
}

impl Reader {
    /// What goes out next; none when this connection has nothing more to get.
    async fn next(&self) -> Option<Bytes> {
        until(&self.kept.changed, || {
            let mut state = self.kept.state();
            if state.reader != Some(self.number) || state.over {
                return Some(None);
            }
            let ahead = state.cursor.saturating_sub(state.first);
            let event = usize::try_from(ahead).ok().and_then(|n| state.events.get(n)).cloned();
            if event.is_some() {
                state.cursor += 1;
                self.kept.trim(&mut state);
                return Some(event);
            }
            if state.ended {
                return Some(None);
            }
            std::mem::take(&mut state.comment).then_some(Some(COMMENT))
        })
        .await
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.kept.state();
        if state.reader == Some(self.number) {
            state.reader = None;
            self.kept.trim(&mut state);
        }
        drop(state);
        self.kept.changed.notify_waiters();
    }
}

/// The sending end of a stream that may be read on; the stream ends with it.
pub(crate) struct Writer {
    streams: Arc<Streams>,
    session: String,
    kept: Arc<Kept>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("session", &self.session).finish_non_exhaustive()
    }
}

impl Writer {
    /// Says something; it is kept for a client that comes back. False if nobody reads now.
    pub(crate) fn say(&self, lines: &str) -> bool {
        self.kept.push(lines);
        self.kept.state().reader.is_some()
    }

    /// Says something only to a client that reads now; false if nobody does.
    pub(crate) fn hand(&self, lines: &str) -> bool {
        let mut state = self.kept.state();
        let reads = state.reader.is_some() && !state.over;
        if reads {
            self.kept.push_to(&mut state, lines);
        }
        drop(state);
        self.kept.changed.notify_waiters();
        reads
    }

    /// Says something unless the client is slow; false then.
    pub(crate) fn try_say(&self, lines: &str) -> bool {
        let mut state = self.kept.state();
        let room = state.reader.is_none() || state.next() - state.cursor < CAPACITY;
        if room {
            self.kept.push_to(&mut state, lines);
        }
        drop(state);
        self.kept.changed.notify_waiters();
        room
    }

    /// A sign of life, for whoever reads now.
    pub(crate) fn comment(&self) {
        self.kept.state().comment = true;
        self.kept.changed.notify_waiters();
    }

    /// Resolves when nobody reads.
    pub(crate) async fn closed(&self) {
        self.kept.until(|s| s.reader.is_none() || s.over).await;
    }

    /// Waits for a client that comes back; false if it does not within the time.
    pub(crate) async fn resumed(&self) -> bool {
        let back = self.kept.until(|s| s.reader.is_some() || s.over);
        let came = tokio::time::timeout(self.kept.window, back).await.is_ok();
        came && !self.kept.state().over
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.kept.state().ended = true;
        self.kept.changed.notify_waiters();
        // Whoever lost the connection with the last event on it may still ask for that.
        let (streams, session) = (Arc::clone(&self.streams), std::mem::take(&mut self.session));
        let kept = Arc::clone(&self.kept);
        let stop = streams.broker.stop().soft.clone();
        self.streams.broker.tracker().spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(kept.window) => {}
            }
            streams.remove(&session, &kept);
        });
    }
}
