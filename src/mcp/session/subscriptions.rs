//! What legacy sessions asked for that stands until they end: a log level, and resources they
//! want to hear of. Kept in memory: after a restart a client asks again, or hears nothing.
//!
//! <https://modelcontextprotocol.io/specification/2025-11-25/server/utilities/logging#setting-log-level>,
//! <https://modelcontextprotocol.io/specification/2025-11-25/server/resources#subscriptions>

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::http::StatusCode;
use axum::response::Response;
use futures_util::future::join_all;

use crate::domain::call::params_with_meta;
use crate::domain::json::{self, Node};
use crate::domain::time::Timestamp;
use crate::mcp::request::{self, ClientRequest};
use crate::mcp::respond::{json_response, nothing};
use crate::mcp::{Mcp, response};
use crate::protocol::{code, jsonrpc, meta, method};
use crate::upstream::{Level, Notification, Reply, UpstreamError, Watch, Watching, WireEra};

/// Every session that asked for something.
///
/// Bounded by `server.max_sessions_per_agent` and, in each, `server.max_subscriptions`; emptied when
/// a session ends, and of those that ended elsewhere by [`super::forget_ended`].
#[derive(Debug)]
pub(crate) struct Subscriptions {
    max_sessions: u32,
    sessions: Mutex<HashMap<String, Wants>>,
}

#[derive(Debug)]
struct Wants {
    agent: String,
    seen: Timestamp,
    level: Option<Level>,
    /// Keeps each upstream's log at that level.
    logs: BTreeMap<String, Watch>,
    /// By upstream and URI; none while it is being made.
    watches: BTreeMap<(String, String), Option<Watch>>,
}

impl Subscriptions {
    /// None yet; at most this many sessions of one agent are kept.
    pub(crate) fn new(max_sessions: u32) -> Self {
        Self { max_sessions, sessions: Mutex::default() }
    }

    /// The sessions that asked for something.
    pub(crate) fn sessions(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Wants>> {
        self.sessions.lock().expect("no holder of this lock panics")
    }

    /// The session's wants, made if need be. As many sessions as a token may have are kept; the
    /// one not seen for longest makes room, as it has in the store.
    fn with<T>(
        &self,
        agent: &str,
        session: &str,
        now: Timestamp,
        change: impl FnOnce(&mut Wants) -> T,
    ) -> T {
        let mut all = self.lock();
        let mut displaced = None;
        if !all.contains_key(session) {
            let own = all.iter().filter(|(_, w)| w.agent == agent);
            let (count, oldest) = own.fold(
                (0, None),
                |(count, oldest): (u32, Option<(Timestamp, &str)>), (id, w)| {
                    let older = oldest.is_none_or(|(seen, _)| w.seen < seen);
                    (count + 1, if older { Some((w.seen, id)) } else { oldest })
                },
            );
            let oldest = oldest.map(|(_, id)| id.to_owned());
            if count >= self.max_sessions
                && let Some(oldest) = oldest
            {
                displaced = all.remove(&oldest);
            }
        }
        let wants = all.entry(session.to_owned()).or_insert_with(|| Wants {
            agent: agent.to_owned(),
            seen: now,
            level: None,
            logs: BTreeMap::new(),
            watches: BTreeMap::new(),
        });
        wants.seen = now;
        let changed = change(wants);
        drop(all);
        // Outside the lock: the end of a watch looks at others.
        drop(displaced);
        changed
    }

    /// Notes that the session was used, or that its stream is open.
    pub(crate) fn seen(&self, session: &str, now: Timestamp) {
        if let Some(wants) = self.lock().get_mut(session) {
            wants.seen = now;
        }
    }

    /// Ends everything the session asked for.
    pub(crate) fn end(&self, session: &str) {
        let ended = self.lock().remove(session);
        drop(ended);
    }

    /// The log level of the session.
    pub(crate) fn level(&self, session: &str) -> Option<Level> {
        self.lock().get(session)?.level
    }

    /// Notes that the session is about to watch a resource, before the server is asked: what it
    /// says with its answer is for this session already. None if it has `max`.
    fn begin(
        self: &Arc<Self>,
        agent: &str,
        session: &str,
        now: Timestamp,
        key: (String, String),
        max: u32,
    ) -> Option<Begun> {
        let begun = self.with(agent, session, now, |wants| {
            if wants.watches.len() >= max as usize && !wants.watches.contains_key(&key) {
                return false;
            }
            wants.watches.entry(key.clone()).or_default();
            true
        });
        begun.then(|| Begun { all: Arc::clone(self), session: session.to_owned(), key })
    }

    /// Whether the session is told of this: a change to a resource it subscribed to, a log message
    /// that its level admits, anything else.
    pub(crate) fn admits(&self, session: &str, upstream: &str, note: &Notification) -> bool {
        match note.method.as_str() {
            method::NOTIFICATIONS_RESOURCES_UPDATED => {
                let Some(uri) = updated(note) else { return false };
                self.lock().get(session).is_some_and(|wants| {
                    wants.watches.keys().any(|(u, at)| u == upstream && covers(at, &uri))
                })
            }
            method::NOTIFICATIONS_MESSAGE => {
                self.level(session).is_none_or(|level| level.admits(note.params.as_deref()))
            }
            _ => true,
        }
    }
}

/// A watch that is being made; dropped before it was, it never began.
struct Begun {
    all: Arc<Subscriptions>,
    session: String,
    key: (String, String),
}

impl Begun {
    /// Keeps the watch that the server agreed to.
    fn made(self, watch: Watch) {
        let former = match self.all.lock().get_mut(&self.session) {
            Some(wants) => wants.watches.insert(self.key.clone(), Some(watch)).flatten(),
            // The session has ended meanwhile.
            None => Some(watch),
        };
        // Outside the lock: the end of a watch looks at others.
        drop(former);
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(wants) = self.all.lock().get_mut(&self.session)
            && wants.watches.get(&self.key).is_some_and(Option::is_none)
        {
            wants.watches.remove(&self.key);
        }
    }
}

/// The URI of the resource that changed; none if the notification names none.
pub(crate) fn updated(note: &Notification) -> Option<String> {
    Some(json::parse(note.params.as_deref()?).ok()?.get("uri")?.as_str()?.to_owned())
}

/// Whether a subscription to `watched` covers `changed`: the same URI, or one below it
/// (<https://modelcontextprotocol.io/specification/2025-11-25/server/resources#subscriptions>).
pub(crate) fn covers(watched: &str, changed: &str) -> bool {
    let Some(rest) = changed.strip_prefix(watched) else { return false };
    rest.is_empty() || watched.ends_with('/') || rest.starts_with(['/', '?', '#'])
}

fn refused(incoming: &ClientRequest, code: i64, text: &str) -> Response {
    let id = incoming.message.id_raw();
    json_response(StatusCode::OK, jsonrpc::error(id, code, text, None))
}

fn done(incoming: &ClientRequest) -> Response {
    json_response(StatusCode::OK, jsonrpc::result(incoming.message.id_raw(), "{}"))
}

/// `logging/setLevel`. A modern server is told the level with each request of the session; a
/// legacy one is told the lowest that anybody wants over the same connection.
pub(crate) async fn set_level(
    mcp: &Mcp,
    incoming: &ClientRequest,
    params: Option<&Node<'_>>,
) -> Response {
    let level = params.and_then(|p| p.get("level")).and_then(Node::as_str).and_then(Level::of);
    let Some(level) = level else {
        let text = "params.level must be debug, info, notice, warning, error, critical, alert or \
                    emergency";
        return refused(incoming, code::INVALID_PARAMS, text);
    };
    let own = incoming.message.params.as_deref().map(|p| params_with_meta(p, &[]));
    let told = async {
        if !incoming.upstream.is_empty() {
            return level_at(mcp, incoming, &incoming.upstream, level, own).await;
        }
        // Of all upstreams those that log are told.
        let all = request::behind(mcp, &incoming.agent, "");
        let told = all.iter().map(|upstream| level_at(mcp, incoming, upstream, level, None));
        let mut told = join_all(told).await;
        let done = told.iter().position(|t| matches!(t, Ok(Reply::Result(_))));
        let last = told.len().checked_sub(1);
        match done.or(last) {
            Some(one) => told.swap_remove(one),
            None => {
                Ok(Reply::Error(jsonrpc::error_object(code::METHOD_NOT_FOUND, "no log here", None)))
            }
        }
    };
    let reply = tokio::select! {
        () = incoming.flight.cancelled().cancelled() => return nothing(),
        reply = told => reply,
    };
    let (status, body) = response::of_upstream(mcp, incoming, reply).await;
    json_response(status, body)
}

/// Has one upstream log at this level for the session.
async fn level_at(
    mcp: &Mcp,
    incoming: &ClientRequest,
    upstream: &str,
    level: Level,
    params: Option<String>,
) -> Result<Reply, UpstreamError> {
    let (Some(session), Some(server)) = (&incoming.session, mcp.broker.upstream(upstream)) else {
        let error = jsonrpc::error_object(code::METHOD_NOT_FOUND, "there is no log here", None);
        return Ok(Reply::Error(error));
    };
    if mcp.broker.policies().of(upstream).is_none() {
        let error = jsonrpc::error_object(code::METHOD_NOT_FOUND, "there is no log here", None);
        return Ok(Reply::Error(error));
    }
    // What it wanted before no longer counts.
    let (agent, now) = (&incoming.agent.name, mcp.broker.now());
    let former = mcp.subscriptions.with(agent, &session.id, now, |w| w.logs.remove(upstream));
    drop(former);
    let (log, reply) = server.log_at(&incoming.caller(), level, params).await?;
    if matches!(reply, Reply::Result(_)) {
        mcp.subscriptions.with(agent, &session.id, now, |wants| {
            wants.level = Some(level);
            wants.logs.insert(upstream.to_owned(), log);
        });
    }
    Ok(reply)
}

/// `resources/subscribe` and `resources/unsubscribe`, after the policy has admitted them.
pub(crate) async fn subscription(
    mcp: &Mcp,
    incoming: &ClientRequest,
    params: Option<&Node<'_>>,
) -> Response {
    match incoming.message.method.as_str() {
        method::RESOURCES_SUBSCRIBE => subscribe(mcp, incoming, params).await,
        _ => unsubscribe(mcp, incoming, params),
    }
}

/// `resources/subscribe`. Over a connection that several sessions share a resource stays
/// subscribed until the last of them ends it.
async fn subscribe(mcp: &Mcp, incoming: &ClientRequest, params: Option<&Node<'_>>) -> Response {
    let Some(uri) = params.and_then(|p| p.get("uri")).and_then(Node::as_str) else {
        return refused(incoming, code::INVALID_PARAMS, "params.uri must be a string");
    };
    let (Some(session), Some(server)) =
        (&incoming.session, mcp.broker.upstream(&incoming.upstream).cloned())
    else {
        return refused(incoming, code::METHOD_NOT_FOUND, "there are no resources here");
    };
    let max = mcp.broker.config().server.max_subscriptions;
    let key = (incoming.upstream.clone(), uri.to_owned());
    let (agent, now) = (&incoming.agent.name, mcp.broker.now());
    let Some(begun) = mcp.subscriptions.begin(agent, &session.id, now, key, max) else {
        let text =
            format!("this session has {max} subscriptions (server.max_subscriptions): end one");
        return refused(incoming, code::INVALID_PARAMS, &text);
    };
    let own = incoming.message.params.as_deref().map(|p| params_with_meta(p, &[]));
    let caller = incoming.caller();
    let watching = tokio::select! {
        () = incoming.flight.cancelled().cancelled() => return nothing(),
        watching = server.watch(&caller, uri, own) => watching,
    };
    match watching {
        Watching::Agreed(watch) => {
            begun.made(watch);
            done(incoming)
        }
        Watching::Later(_, why) => {
            let text = format!("upstream {} failed: {why}", incoming.upstream);
            refused(incoming, code::INTERNAL_ERROR, &text)
        }
        Watching::Refused(Some(error)) => {
            let reply = Ok(Reply::Error(error));
            let (status, body) = response::of_upstream(mcp, incoming, reply).await;
            json_response(status, body)
        }
        Watching::Refused(None) => {
            let text = "the server does not tell of changes to this resource";
            refused(incoming, code::INVALID_PARAMS, text)
        }
    }
}

/// `resources/unsubscribe`; done also where there was no subscription.
fn unsubscribe(mcp: &Mcp, incoming: &ClientRequest, params: Option<&Node<'_>>) -> Response {
    let Some(uri) = params.and_then(|p| p.get("uri")).and_then(Node::as_str) else {
        return refused(incoming, code::INVALID_PARAMS, "params.uri must be a string");
    };
    let key = (incoming.upstream.clone(), uri.to_owned());
    let ended = incoming
        .session
        .as_ref()
        .and_then(|session| mcp.subscriptions.lock().get_mut(&session.id)?.watches.remove(&key));
    drop(ended);
    done(incoming)
}

/// The log level that goes upstream with a request, raw JSON, and the level that its messages
/// need to reach the client.
pub(crate) async fn level_of(
    mcp: &Mcp,
    incoming: &ClientRequest,
    params: Option<&Node<'_>>,
) -> (Option<String>, Option<Level>) {
    if incoming.era == WireEra::Modern {
        let level = request::log_level(params);
        let filter = params.and_then(|p| p.get("_meta")?.get(meta::LOG_LEVEL));
        return (level, filter.and_then(Node::as_str).and_then(Level::of));
    }
    let level = incoming.session.as_ref().and_then(|s| mcp.subscriptions.level(&s.id));
    let Some(level) = level else { return (None, None) };
    // A legacy server was told when the level was set.
    let server = mcp.broker.upstream(&incoming.upstream);
    let is_modern = match server.filter(|s| s.catalog().is_some()) {
        Some(server) => {
            let facts = server.facts(&incoming.caller()).await;
            facts.is_ok_and(|f| f.era == WireEra::Modern)
        }
        None => false,
    };
    (is_modern.then(|| json::quote(level.as_str())), Some(level))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watched_resource_covers_what_lies_below_it() {
        assert!(covers("file:///a", "file:///a"));
        assert!(covers("file:///a", "file:///a/b"));
        assert!(covers("file:///a/", "file:///a/b"));
        assert!(covers("file:///a", "file:///a#part"));
        assert!(!covers("file:///a", "file:///ab"));
        assert!(!covers("file:///a/b", "file:///a"));
    }

    #[test]
    fn the_session_not_seen_for_longest_makes_room() {
        let subscriptions = Subscriptions::new(32);
        let at = |n: u32| Timestamp::from_micros(n.into());
        for n in 0..32 {
            subscriptions.with("ann", &format!("s{n}"), at(n), |w| w.level = Some(Level::Info));
        }
        subscriptions.seen("s0", at(1000));

        subscriptions.with("bob", "other", at(2000), |w| w.level = Some(Level::Info));
        assert!(subscriptions.level("s1").is_some());
        subscriptions.with("ann", "one-more", at(2000), |w| w.level = Some(Level::Info));

        assert_eq!(
            (subscriptions.level("s0"), subscriptions.level("s1")),
            (Some(Level::Info), None)
        );
    }
}
