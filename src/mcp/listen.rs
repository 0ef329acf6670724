//! Streams that a client opens to hear of changes: GET in the legacy era,
//! `subscriptions/listen` in the modern one.

use axum::http::HeaderMap;
use axum::response::Response;
use tokio::sync::broadcast;

use crate::config::Agent;
use crate::domain::json::{self, Node};
use crate::upstream::{Caller, Notification};

use super::Mcp;
use super::http::{Incoming, accepts_streams, find_session, method_not_allowed};
use super::message;
use super::revision::header;
use super::stream::Events;

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
    let session = match find_session(mcp, &agent, upstream, headers).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    let Some(server) = mcp.broker.upstream(upstream) else { return method_not_allowed() };
    let caller = Caller { agent: agent.name, session: Some(session.id.clone()) };
    let mut heard = server.subscribe(&caller);
    let mut policies = mcp.broker.policies().changes();
    let (events, response) = Events::open();
    let (mcp, upstream) = (mcp.clone(), upstream.to_owned());
    mcp.broker.tracker().clone().spawn(async move {
        let mut beat = tokio::time::interval(mcp.broker.config().approvals.heartbeat);
        let soft = mcp.broker.stop().soft.clone();
        let now = || mcp.broker.now();
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
                changed = policies.recv() => match changed {
                    Ok(name) if name == upstream => Notification {
                        method: "notifications/tools/list_changed".to_owned(),
                        params: None,
                    },
                    Err(broadcast::error::RecvError::Closed) => break,
                    _ => continue,
                },
                note = heard.recv() => match note {
                    Ok(note) => note,
                    Err(broadcast::error::RecvError::Lagged(_)) => continue,
                    Err(broadcast::error::RecvError::Closed) => break,
                },
            };
            events.try_message(&message::notification(&note.method, note.params.as_deref()));
        }
    });
    response
}

/// `subscriptions/listen`: acknowledged with what is honoured, then only that, each message
/// tagged with the request's id.
pub(super) fn subscribe(mcp: &Mcp, incoming: Incoming, params: Option<&Node<'_>>) -> Response {
    let wanted = params.and_then(|p| p.get("notifications"));
    let on = |key: &str| wanted.and_then(|w| w.get(key)).and_then(Node::as_bool) == Some(true);
    let honoured: Vec<(&str, &str)> =
        SUBSCRIPTIONS.into_iter().filter(|(key, _)| on(key)).collect();
    let Some(server) = mcp.broker.upstream(&incoming.upstream) else {
        return method_not_allowed();
    };
    let mut heard = server.subscribe(&incoming.caller());
    let mut policies = mcp.broker.policies().changes();
    let id = incoming.message.id_raw().to_owned();
    let tag = format!("{{\"io.modelcontextprotocol/subscriptionId\":{id}}}");
    let subset = json::object(honoured.iter().map(|(key, _)| (*key, "true")));
    let (events, response) = Events::open();
    let (mcp, upstream) = (mcp.clone(), incoming.upstream);
    let methods: Vec<&str> = honoured.iter().map(|(_, method)| *method).collect();
    mcp.broker.tracker().clone().spawn(async move {
        let params = format!("{{\"notifications\":{subset},\"_meta\":{tag}}}");
        let ack = message::notification("notifications/subscriptions/acknowledged", Some(&params));
        if !events.message(&ack).await {
            return;
        }
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
                changed = policies.recv() => match changed {
                    Ok(name) if name == upstream => "notifications/tools/list_changed".to_owned(),
                    Err(broadcast::error::RecvError::Closed) => break,
                    _ => continue,
                },
                note = heard.recv() => match note {
                    Ok(note) => note.method,
                    Err(broadcast::error::RecvError::Lagged(_)) => continue,
                    Err(broadcast::error::RecvError::Closed) => break,
                },
            };
            if methods.contains(&method.as_str()) {
                let params = format!("{{\"_meta\":{tag}}}");
                events.try_message(&message::notification(&method, Some(&params)));
            }
        }
        let end = format!("{{\"resultType\":\"complete\",\"_meta\":{tag}}}");
        events.message(&message::result(&id, &end)).await;
    });
    response
}
