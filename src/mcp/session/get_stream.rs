//! The GET stream of a legacy session: it carries what belongs to no request, or, with
//! `Last-Event-ID`, goes on with a stream that broke off
//! (<https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#resumability-and-redelivery>).

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use tokio_util::sync::CancellationToken;

use crate::broker::client_sessions::SessionInUse;
use crate::config::Agent;
use crate::mcp::notifications::{Heard, News};
use crate::mcp::request::{self, accepts_streams};
use crate::mcp::respond::{event_stream, method_not_allowed, problem};
use crate::mcp::revision::header;
use crate::mcp::stream::stream_limit::Listener;
use crate::mcp::stream::{Events, request_stream};
use crate::mcp::{Mcp, aggregate, session, tasks};
use crate::protocol::{header_name, jsonrpc, method};
use crate::store::ClientSession;

/// Opens the stream, or resumes another.
pub(crate) async fn get(
    mcp: &Mcp,
    agent: Arc<Agent>,
    upstream: &str,
    headers: &HeaderMap,
) -> Response {
    if header(headers, header_name::SESSION_ID).is_none() || !accepts_streams(headers) {
        return method_not_allowed();
    }
    let (session, in_use) = match session::find(mcp, &agent, upstream, headers).await {
        Ok(found) => found,
        Err(response) => return response,
    };
    if let Some(last) = header(headers, header_name::LAST_EVENT_ID) {
        return match mcp.streams.resume(&session.id, last) {
            Some(body) => event_stream(body),
            None => problem(
                StatusCode::BAD_REQUEST,
                "what came after that event is not kept: send the request again",
            ),
        };
    }
    let max = mcp.broker.config().server.max_streams_per_agent;
    let Some(open) = mcp.listeners.open(&agent.name, max) else {
        let why = format!("this token has {max} open streams (server.max_streams_per_agent)");
        return problem(StatusCode::TOO_MANY_REQUESTS, &why);
    };
    stream(mcp, agent, session, (in_use, Some(open))).await
}

/// What happens in a session and belongs to no request, told until the client leaves; what is
/// `held` is dropped then.
pub(crate) async fn stream(
    mcp: &Mcp,
    agent: Arc<Agent>,
    session: Arc<ClientSession>,
    held: (SessionInUse, Option<Listener>),
) -> Response {
    // The other brokers must know before the client does.
    if let Err(error) = mcp.broker.note_all_sessions().await {
        tracing::warn!(%error, "it could not be noted yet that a session is in use");
    }
    let upstream = session.upstream.as_str();
    let caller = session::caller(mcp, &agent, &session);
    let mut news = News::and_questions(mcp, &request::behind(mcp, &agent, upstream), &caller);
    let (events, response) = Events::open();
    let (mcp, is_whole) = (mcp.clone(), session.upstream.is_empty());
    let told = tasks::tell_session(mcp.clone(), agent.clone(), session.clone(), events.clone());
    let told = mcp.broker.tracker().spawn(told);
    mcp.broker.tracker().clone().spawn(async move {
        let mut beat = tokio::time::interval(mcp.broker.config().approvals.heartbeat);
        let soft = mcp.broker.stop().soft.clone();
        let _held = held;
        let over = CancellationToken::new();
        let _over_on_drop = over.clone().drop_guard();
        loop {
            let note = tokio::select! {
                () = events.closed() => break,
                () = soft.cancelled() => break,
                _ = beat.tick() => {
                    events.comment();
                    // The stream ends with its session.
                    let ids = std::slice::from_ref(&session.id);
                    let living = mcp.broker.living_client_sessions(ids).await;
                    if living.is_ok_and(|living| living.is_empty()) {
                        mcp.subscriptions.end(&session.id);
                        break;
                    }
                    mcp.subscriptions.seen(&session.id, mcp.broker.now());
                    continue;
                }
                said = news.next() => match said {
                    // Not told: a resource or a log level that the session did not ask for.
                    Some((upstream, Heard::Notification(note)))
                        if !mcp.subscriptions.admits(&session.id, &upstream, &note) => continue,
                    Some((upstream, Heard::Notification(note))) if is_whole => {
                        aggregate::told(&mcp, &agent, &upstream, note)
                    }
                    Some((_, Heard::Notification(note))) => note,
                    Some((_, Heard::Request(asked))) => {
                        if caller.features.take(&asked.method, asked.params.as_deref()) {
                            request_stream::put(&mcp, &session.id, &events, asked, over.clone());
                        }
                        continue;
                    }
                    None => break,
                },
            };
            // An upstream's task ids mean nothing to the client: `tasks::watch` tells under ours.
            if note.method.starts_with(method::NOTIFICATIONS_TASKS) {
                continue;
            }
            events.try_message(&jsonrpc::notification(&note.method, note.params.as_deref()));
        }
        // The stream ends once nobody can send on it any more.
        told.abort();
    });
    response
}
