//! What is known of a connected server for as long as its session lasts
//! (<https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#session-management>).

use std::sync::Arc;

use reqwest::header::{HeaderMap, HeaderValue};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::super::ServerFacts;
use super::sse_conn::SseConn;
use super::target::{PROTOCOL_VERSION, SESSION_ID, Target};

/// What a connected server is addressed with.
pub(super) struct Session {
    pub(super) facts: ServerFacts,
    pub(super) id: Option<HeaderValue>,
    /// The stream and endpoint, where the server speaks HTTP+SSE.
    pub(super) sse: Option<Arc<SseConn>>,
    /// What each POST of the session carries
    /// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#protocol-version-header>).
    headers: HeaderMap,
    /// When it was opened.
    pub(super) born: Instant,
    /// Ends the session's background stream when the session is forgotten.
    pub(super) stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

impl Session {
    /// A session of Streamable HTTP; a modern one has no id.
    pub(super) fn new(target: &Target, facts: ServerFacts, id: Option<HeaderValue>) -> Self {
        let mut headers = HeaderMap::new();
        if let Ok(version) = HeaderValue::from_str(&facts.version) {
            headers.insert(PROTOCOL_VERSION, version);
        }
        if let Some(id) = &id {
            headers.insert(SESSION_ID, id.clone());
        }
        let headers = target.post_headers(headers);
        let stop = CancellationToken::new();
        let (guard, born) = (stop.clone().drop_guard(), Instant::now());
        Self { facts, id, sse: None, headers, born, _stop_on_drop: guard, stop }
    }

    /// A session on an HTTP+SSE connection.
    pub(super) fn over(conn: Arc<SseConn>, facts: ServerFacts) -> Self {
        let stop = conn.stop.clone();
        let guard = stop.clone().drop_guard();
        let (born, sse) = (Instant::now(), Some(conn));
        // The connection has its own.
        let headers = HeaderMap::new();
        Self { facts, id: None, headers, born, _stop_on_drop: guard, stop, sse }
    }

    /// Whether it can take no more requests: it was forgotten, or its HTTP+SSE stream is gone.
    pub(super) fn is_over(&self) -> bool {
        self.stop.is_cancelled() || self.sse.as_ref().is_some_and(|conn| conn.is_over())
    }

    /// The headers of a POST in it.
    pub(super) fn headers(&self) -> HeaderMap {
        self.headers.clone()
    }
}
