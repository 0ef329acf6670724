//! Whether a server still knows a session. After a restart some answer what comes in the old one
//! with 404, as they should, others with 400, 401, 410 or 500, in plain words or as a JSON-RPC error under
//! any id; and a tool's own error may speak of a session too. So the server is asked: what refuses
//! a ping as well has forgotten the session, and ran nothing in it.
//!
//! <https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#session-management>

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::StatusCode;
use tracing::debug;

use super::super::hub::next_id;
use super::super::{Reply, WireEra, message};
use super::HttpLink;
use super::answer::{self, Answered};
use super::send::post_harmless;
use super::session::Session;
use crate::protocol::{code, jsonrpc, method};

/// How long a server may take to answer the ping that shows whether it knows a session.
const PONG_WITHIN: Duration = Duration::from_secs(5);

impl HttpLink {
    /// Whether the server refuses even a ping in this session
    /// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/ping>). A server
    /// that can't be reached, is silent or answers otherwise has not forgotten it. Good enough to
    /// begin in a new session with what was not sent yet.
    pub(super) async fn seems_to_have_forgotten(&self, session: &Arc<Session>) -> bool {
        self.ping(session).await != Ping::Answered
    }

    /// Whether the server has forgotten the session, so that what it refused is sent again in a new
    /// one. Where that `must_be_sure`, the refusal must prove it: it says so, or the server is one that
    /// answers pings, if need be in a new session. A server that knows none would refuse it in a
    /// session that it knows as well; then only the next request begins in a new session.
    pub(super) async fn has_forgotten(&self, session: &Arc<Session>, must_be_sure: bool) -> bool {
        let Ping::Refused { says_so } = self.ping(session).await else { return false };
        let is_sure = says_so || self.target.answers_pings.load(Ordering::Relaxed);
        if must_be_sure && !is_sure {
            self.forget(session);
            let Ok(fresh) = self.session().await else { return false };
            self.ping(&fresh).await;
            return self.target.answers_pings.load(Ordering::Relaxed);
        }
        true
    }

    async fn ping(&self, session: &Arc<Session>) -> Ping {
        if session.facts.era != WireEra::Legacy {
            return Ping::Answered;
        }
        let id = next_id();
        let asked = async {
            let body = jsonrpc::request(id, method::PING, None);
            let response = post_harmless(&self.target, session.headers(), body).await.ok()?;
            Some(answer::read_plain(&self.target, &self.hub, id, response).await)
        };
        let patience = PONG_WITHIN.min(self.hub.common.timeout / 2);
        let Ok(Some(answered)) = tokio::time::timeout(patience, asked).await else {
            return Ping::Answered;
        };
        if let Answered::Reply(_, Reply::Result(_)) = &answered {
            self.target.answers_pings.store(true, Ordering::Relaxed);
        }
        if !refuses(&answered) {
            return Ping::Answered;
        }
        debug!(upstream = %self.hub.common.name, "a ping in the session was refused");
        Ping::Refused { says_so: says_so(&answered) }
    }
}

/// What became of a ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ping {
    /// It was answered, or nothing can be said of it.
    Answered,
    /// It was refused, and in words or by a 404 that tell of the session.
    Refused { says_so: bool },
}

/// Whether a refusal tells of the session: 404, as the specification has it, 410, or words.
fn says_so(answered: &Answered) -> bool {
    let gone = [StatusCode::NOT_FOUND, StatusCode::GONE];
    let words = match answered {
        Answered::Reply(_, Reply::Error(error)) => speaks_of_session(&message::error_text(error)),
        Answered::Reply(_, Reply::Result(_)) => false,
        Answered::Refused { said, .. } | Answered::Unreadable { said, .. } => {
            speaks_of_session(said)
        }
    };
    words || answered.status().is_some_and(|status| gone.contains(&status))
}

/// Whether this answer to a ping says that the session is unknown.
fn refuses(answered: &Answered) -> bool {
    let refusing = |status: StatusCode| matches!(status.as_u16(), 400 | 401 | 404 | 410 | 500);
    match answered {
        Answered::Reply(_, Reply::Result(_)) => false,
        Answered::Reply(status, Reply::Error(error)) => match jsonrpc::error_code(error) {
            // It knows the session, but no ping.
            Some(code::METHOD_NOT_FOUND) => false,
            _ => refusing(*status) || speaks_of_session(&message::error_text(error)),
        },
        Answered::Refused { status, said } => refusing(*status) || speaks_of_session(said),
        Answered::Unreadable { status, said, .. } => {
            status.is_some_and(refusing) || speaks_of_session(said)
        }
    }
}

/// Whether an answer may mean that the server has forgotten the session: worth asking it. `once` is
/// a call that must not be sent again on a guess: after a plain 500 it may have run.
pub(super) fn may_mean_forgotten(status: StatusCode, said: &str, once: bool) -> bool {
    match status.as_u16() {
        400 | 401 | 404 | 410 => true,
        500 if !once => true,
        _ => speaks_of_session(said),
    }
}

/// Whether a text says, as servers do in many words, that there is no such session, or that the
/// client has yet to introduce itself.
fn speaks_of_session(text: &str) -> bool {
    let text = text.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let no_session = text.contains("session")
        && has(&[
            "not found",
            "invalid",
            "unknown",
            "expired",
            "no valid",
            "missing",
            "not exist",
            "n't exist",
            "no such",
            "no session",
            "terminated",
            "closed",
            "not recogni",
            "unrecogni",
            "required",
            "no active",
            "no longer",
            "not valid",
            "gone",
            "lost",
        ]);
    no_session
        || has(&["not initialized", "not been initialized", "uninitialized", "before initializ"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_refuse_a_session_in_many_words() {
        for text in [
            "Bad Request: No valid session ID provided",
            "-32001 Session not found",
            "Unknown session",
            "Bad Request: Server not initialized",
            "Received request before initialization was complete",
            "Mcp-Session-Id header is required",
            "session expired",
        ] {
            assert!(speaks_of_session(text), "{text}");
        }
        for text in ["", "Internal Server Error", "no such file", "the session was fine"] {
            assert!(!speaks_of_session(text), "{text}");
        }
    }

    #[test]
    fn after_a_plain_500_only_what_may_be_sent_again_is_asked_about() {
        let at = |status, said, once| {
            may_mean_forgotten(StatusCode::from_u16(status).unwrap(), said, once)
        };

        assert!(at(500, "", false) && !at(500, "", true) && at(500, "unknown session", true));
        assert!([400, 401, 404, 410].iter().all(|status| at(*status, "", true)));
        assert!(!at(502, "", false) && !at(200, "no such file", false));
    }
}
