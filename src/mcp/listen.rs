//! Streams that a client opens to hear of changes: GET in the legacy era,
//! `subscriptions/listen` in the modern one.

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use tokio_util::sync::CancellationToken;

use crate::config::Agent;
use crate::domain::json::{self, Node};

use super::http::{Incoming, accepts_streams, method_not_allowed, problem};
use super::line;
use super::message;
use super::news::{Heard, News};
use super::revision::header;
use super::sessions;
use super::stream::{Events, event_stream};
use super::tasks::{self, Watch};
use super::{Mcp, aggregate};

/// What a modern client may subscribe to, and the notification it stands for.
const SUBSCRIPTIONS: [(&str, &str); 3] = [
    ("toolsListChanged", "notifications/tools/list_changed"),
    ("promptsListChanged", "notifications/prompts/list_changed"),
    ("resourcesListChanged", "notifications/resources/list_changed"),
];

/// The legacy GET stream: server messages that belong to no request.
pub(super) async fn get(mcp: &Mcp, agent: Agent, upstream: &str, headers: &HeaderMap) -> Response {
    if header(headers, "mcp-session-id").is_none() || !accepts_streams(headers) {
        return method_not_allowed();
    }
    let session = match sessions::find(mcp, &agent, upstream, headers).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    if let Some(last) = header(headers, "last-event-id") {
        return match mcp.streams.resume(&session.id, last) {
            Some(body) => event_stream(body),
            None => problem(
                StatusCode::BAD_REQUEST,
                "what came after that event is not kept: send the request again",
            ),
        };
    }
    let caller = sessions::caller(mcp, &agent, &session);
    let mut news = News::and_questions(mcp, &aggregate::behind(mcp, &agent, upstream), &caller);
    let (events, response) = Events::open();
    let (mcp, is_whole) = (mcp.clone(), upstream.is_empty());
    let told = tasks::tell_session(mcp.clone(), agent.clone(), session.clone(), events.clone());
    let told = mcp.broker.tracker().spawn(told);
    mcp.broker.tracker().clone().spawn(async move {
        let mut beat = tokio::time::interval(mcp.broker.config().approvals.heartbeat);
        let soft = mcp.broker.stop().soft.clone();
        let now = || mcp.broker.now();
        let over = CancellationToken::new();
        let _over_on_drop = over.clone().drop_guard();
        loop {
            let note = tokio::select! {
                () = events.closed() => break,
                () = soft.cancelled() => break,
                _ = beat.tick() => {
                    events.comment();
                    // Seen, as long as its stream is open; over, once the session is.
                    if let Ok(None) = mcp.broker.store().find_client_session(&session.id, now()).await {
                        break;
                    }
                    continue;
                }
                said = news.next() => match said {
                    Some((upstream, Heard::Told(note))) if is_whole => {
                        aggregate::told(&mcp, &agent, &upstream, note)
                    }
                    Some((_, Heard::Told(note))) => note,
                    Some((_, Heard::Asked(asked))) => {
                        if caller.features.take(&asked.method, asked.params.as_deref()) {
                            line::put(&mcp, &session.id, &events, asked, over.clone());
                        }
                        continue;
                    }
                    None => break,
                },
            };
            // Its own ids mean nothing here: we tell of its tasks under ours.
            if note.method.starts_with("notifications/tasks") {
                continue;
            }
            events.try_message(&message::notification(&note.method, note.params.as_deref()));
        }
        // The stream ends once nobody can send on it any more.
        told.abort();
    });
    response
}

/// `subscriptions/listen`: acknowledged with what is honoured, then only that, each message
/// tagged with the request's id.
pub(super) fn subscribe(
    mcp: &Mcp,
    incoming: &Incoming,
    params: Option<&Node<'_>>,
    tasks: Watch,
) -> Response {
    let wanted = params.and_then(|p| p.get("notifications"));
    let on = |key: &str| wanted.and_then(|w| w.get(key)).and_then(Node::as_bool) == Some(true);
    let honoured: Vec<(&str, &str)> =
        SUBSCRIPTIONS.into_iter().filter(|(key, _)| on(key)).collect();
    let mut news = News::of(
        mcp,
        &aggregate::behind(mcp, &incoming.agent, &incoming.upstream),
        &incoming.caller(),
    );
    let id = incoming.message.id_raw().to_owned();
    let tag = format!("{{\"io.modelcontextprotocol/subscriptionId\":{id}}}");
    let watched = tasks.honoured();
    let watched = watched.as_deref().map(|ids| ("taskIds", ids));
    let subset = json::object(honoured.iter().map(|(key, _)| (*key, "true")).chain(watched));
    let (events, response) = Events::open();
    let mcp = mcp.clone();
    let methods: Vec<&str> = honoured.iter().map(|(_, method)| *method).collect();
    let watcher = incoming.clone();
    mcp.broker.tracker().clone().spawn(async move {
        let params = format!("{{\"notifications\":{subset},\"_meta\":{tag}}}");
        let ack = message::notification("notifications/subscriptions/acknowledged", Some(&params));
        if !events.message(&ack).await {
            return;
        }
        let tell = tasks.run(mcp.clone(), watcher, events.clone());
        let told = mcp.broker.tracker().spawn(tell);
        let mut beat = tokio::time::interval(mcp.broker.config().approvals.heartbeat);
        let soft = mcp.broker.stop().soft.clone();
        loop {
            let method = tokio::select! {
                () = events.closed() => return,
                () = soft.cancelled() => break,
                _ = beat.tick() => {
                    events.comment();
                    continue;
                }
                said = news.next() => match said {
                    Some((_, Heard::Told(note))) => note.method,
                    Some((_, Heard::Asked(_))) => continue,
                    None => break,
                },
            };
            if methods.contains(&method.as_str()) {
                let params = format!("{{\"_meta\":{tag}}}");
                events.try_message(&message::notification(&method, Some(&params)));
            }
        }
        // The end is the last thing on the stream.
        told.abort();
        let _ = told.await;
        let end = format!("{{\"resultType\":\"complete\",\"_meta\":{tag}}}");
        events.message(&message::result(&id, &end)).await;
    });
    response
}
