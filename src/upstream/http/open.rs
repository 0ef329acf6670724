//! Opens a session: finds out the era with `server/discover`, and says `initialize` where it is
//! the legacy one, or opens the stream of HTTP+SSE where that is not understood. A refusal for want
//! of rights, a server error or silence is no evidence of either era.
//!
//! <https://modelcontextprotocol.io/specification/2026-07-28/basic/versioning>

use std::sync::atomic::Ordering;

use hyper::StatusCode;
use reqwest::header::{HeaderMap, HeaderValue};
use tracing::debug;

use super::super::common::Opening;
use super::super::handshake::{
    Discovered, discover_params, initialize_params, read_discover, read_discover_error,
    read_initialize,
};
use super::super::hub::next_id;
use super::super::{Reply, message, mirrored_headers};
use super::HttpLink;
use super::answer::{self, Answered, refusal};
use super::send::post_harmless;
use super::session::Session;
use super::sse_conn::SseConn;
use super::target::{PROTOCOL_VERSION, SESSION_ID, put};
use crate::config::HttpKind;
use crate::protocol::{jsonrpc, method, version};

impl HttpLink {
    /// Opens a session.
    ///
    /// # Errors
    /// Why there is none, in words: refused, no answer in time, or no version in common.
    pub(super) async fn open(&self) -> Result<Session, String> {
        let limit = self.hub.common.handshake_timeout;
        let opened = async {
            if self.speaks_sse() {
                return self.open_sse().await;
            }
            let legacy_first = self.hub.listeners.legacy_first;
            let opening = self.hub.common.opening(legacy_first);
            if opening == Opening::Legacy {
                return self.initialize_or_sse().await;
            }
            if opening == Opening::LegacyElseModern
                && let Some(session) = self.initialize_of_both().await
            {
                return Ok(session);
            }
            match self.discover().await? {
                Discovered::Modern(facts) if opening == Opening::Probe && legacy_first => {
                    self.hub.common.learn(&facts);
                    let legacy = self.initialize_of_both().await;
                    Ok(legacy.unwrap_or_else(|| Session::new(&self.target, facts, None)))
                }
                Discovered::Modern(facts) => Ok(Session::new(&self.target, facts, None)),
                Discovered::Foreign(why) => Err(why),
                Discovered::NotModern if opening == Opening::Probe => {
                    self.initialize_or_sse().await
                }
                Discovered::NotModern => Err("the server does not speak the modern era".to_owned()),
            }
        };
        tokio::time::timeout(limit, opened)
            .await
            .unwrap_or_else(|_| Err(format!("no handshake within {limit:?}")))
    }

    /// Opens a legacy session at a server of the modern era, if it takes that.
    async fn initialize_of_both(&self) -> Option<Session> {
        let patience = self.hub.common.probe_silence;
        let said = tokio::time::timeout(patience, self.initialize(true)).await;
        let (why, is_refused) = match said {
            Ok(Ok(session)) => return Some(session),
            Ok(Err(Uninitialized { why, status })) => (why, status.is_some()),
            Err(_) => (format!("no answer to initialize within {patience:?}"), true),
        };
        debug!(upstream = %self.hub.common.name, "it is modern alone: {why}");
        if is_refused {
            self.hub.common.refuses_initialize();
        }
        None
    }

    async fn discover(&self) -> Result<Discovered, String> {
        let id = next_id();
        let body = jsonrpc::request(
            id,
            method::SERVER_DISCOVER,
            Some(&discover_params(&self.hub.listeners.features)),
        );
        let mut headers = mirrored_headers::for_request(method::SERVER_DISCOVER, None, None);
        headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(version::MODERN));
        let response = post_harmless(&self.target, self.target.post_headers(headers), body)
            .await
            .map_err(|error| format!("server/discover: {error}"))?;
        let answered = answer::read_plain(&self.target, &self.hub, id, response).await;
        match answered {
            Answered::Reply(_, Reply::Result(result)) => Ok(read_discover(&result)),
            Answered::Reply(status, Reply::Error(error)) if lacks_rights(status) => {
                let said = message::error_text(&error);
                let refusal = refusal(status, &said, &self.hub.common.name);
                Err(format!("server/discover was {refusal}"))
            }
            Answered::Reply(status, Reply::Error(error)) => {
                Ok(read_discover_error(&error, status.as_u16() == 404))
            }
            Answered::Refused { status, said } if lacks_rights(status) => Err(format!(
                "server/discover was {}",
                refusal(status, &said, &self.hub.common.name)
            )),
            Answered::Refused { .. } => Ok(Discovered::NotModern),
            Answered::Unreadable { status, why, .. } => match status {
                Some(status) if status.is_success() || status.is_client_error() => {
                    Ok(Discovered::NotModern)
                }
                _ => Err(format!("server/discover: {why}")),
            },
        }
    }

    fn speaks_sse(&self) -> bool {
        match self.target.kind {
            HttpKind::Auto => self.target.found_sse.load(Ordering::Relaxed),
            HttpKind::Streamable => false,
            HttpKind::Sse => true,
        }
    }

    async fn open_sse(&self) -> Result<Session, String> {
        let opened = SseConn::open(&self.target, &self.hub).await;
        let (conn, facts) = opened.map_err(|why| format!("HTTP+SSE: {why}"))?;
        Ok(Session::over(conn, facts))
    }

    /// Says `initialize`. A server of 2024-11-05 takes no POST here: then it may have a stream to
    /// GET.
    async fn initialize_or_sse(&self) -> Result<Session, String> {
        match self.initialize(false).await {
            Ok(session) => Ok(session),
            Err(Uninitialized { why, status }) => {
                let old = matches!(status.map(|s| s.as_u16()), Some(400 | 404 | 405));
                if !old || self.target.kind != HttpKind::Auto {
                    return Err(why);
                }
                self.open_sse().await.map_err(|then| format!("{why}; {then}"))
            }
        }
    }

    /// Opens a legacy session
    /// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/lifecycle#initialization>).
    ///
    /// A server that is known to be modern gets the headers that those want with each POST.
    async fn initialize(&self, is_modern: bool) -> Result<Session, Uninitialized> {
        let mirrored = |method| match is_modern {
            true => mirrored_headers::for_request(method, None, None),
            false => HeaderMap::new(),
        };
        let id = next_id();
        let body = jsonrpc::request(
            id,
            method::INITIALIZE,
            Some(&initialize_params(&self.hub.listeners.features)),
        );
        let headers = self.target.post_headers(mirrored(method::INITIALIZE));
        let response = post_harmless(&self.target, headers, body)
            .await
            .map_err(|error| format!("initialize: {error}"))?;
        let session_id = response.headers().get(SESSION_ID).cloned();
        let answered = answer::read_plain(&self.target, &self.hub, id, response).await;
        let status = answered.status();
        let refused = |why: String| Uninitialized { why, status };
        let result = match answered {
            Answered::Reply(_, Reply::Result(result)) => result,
            Answered::Reply(_, Reply::Error(error)) => {
                let why = format!("initialize was refused: {}", message::error_text(&error));
                return Err(refused(why));
            }
            Answered::Refused { status, said } => {
                return Err(refused(format!(
                    "initialize was {}",
                    refusal(status, &said, &self.hub.common.name)
                )));
            }
            Answered::Unreadable { why, .. } => return Err(refused(format!("initialize: {why}"))),
        };
        let session = Session::new(&self.target, read_initialize(&result)?, session_id);
        let body = jsonrpc::notification(method::NOTIFICATIONS_INITIALIZED, None);
        let mut headers = session.headers();
        put(&mut headers, mirrored(method::NOTIFICATIONS_INITIALIZED));
        let accepted = post_harmless(&self.target, headers, body)
            .await
            .map_err(|error| format!("notifications/initialized: {error}"))?;
        if accepted.status().is_success() {
            Ok(session)
        } else {
            let status = accepted.status();
            Err(format!("notifications/initialized was answered HTTP {status}").into())
        }
    }
}

/// Whether an HTTP status says nothing of an era: whoever asks lacks rights, or asks too often.
fn lacks_rights(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 403 | 429)
}

/// Why a POST of `initialize` opened no session.
struct Uninitialized {
    why: String,
    /// The HTTP status, where it may tell that the server knows only HTTP+SSE.
    status: Option<StatusCode>,
}

impl From<String> for Uninitialized {
    fn from(why: String) -> Self {
        Self { why, status: None }
    }
}
