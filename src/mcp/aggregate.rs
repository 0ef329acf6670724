//! The one address for everything: all the agent's upstreams as one server.
//!
//! A request that names a tool, a prompt or a resource is resolved to its upstream by replacing
//! that one name, everything else byte for byte, and then takes the very path it takes on the
//! upstream's own address: policy, digest, approval and audit know no difference. Lists are
//! merged; what is the agent's own is answered as it is.

use axum::http::StatusCode;
use axum::response::Response;
use futures_util::future::join_all;

use crate::config::Agent;
use crate::domain::json::{self, Node, edit};
use crate::protocol::{code, jsonrpc, method};
use crate::upstream::{Caller, Notification, ServerFacts};

use super::http::{Incoming, may_use};
use super::stream::{Progress, json_response};
use super::{ALL_FACTS_WITHIN, Mcp, answer, exchange, methods, shown, tasks};

mod facts;
mod lists;
mod names;
mod owners;

pub(super) use owners::Owners;

/// How the client named what was resolved to an upstream.
#[derive(Debug, Clone)]
pub(super) struct Named {
    /// The name or URI as it was sent.
    pub(super) text: String,
    /// Whether it is a URI with the upstream's name before it.
    prefixed: bool,
}

/// The upstreams an agent may use, in the order of the configuration.
pub(super) fn upstreams_of(mcp: &Mcp, agent: &Agent) -> Vec<String> {
    let all = mcp.broker.config().upstreams.iter().map(|u| u.name.clone());
    all.filter(|name| may_use(mcp, agent, name)).collect()
}

/// The upstreams behind an address: the one it names, or all the agent's where it names none.
pub(super) fn behind(mcp: &Mcp, agent: &Agent, upstream: &str) -> Vec<String> {
    if upstream.is_empty() { upstreams_of(mcp, agent) } else { vec![upstream.to_owned()] }
}

/// Finds the upstream that a request means. What means none, or all, stays as it is.
pub(super) async fn resolve(
    mcp: &Mcp,
    mut incoming: Incoming,
    params: Option<&Node<'_>>,
) -> Incoming {
    if incoming.message.method.starts_with("tasks/") {
        // A task is its agent's; its answers are those of its upstream.
        if let Some(upstream) = tasks::upstream_of(mcp, &incoming, params).await {
            incoming.upstream = upstream;
        }
        return incoming;
    }
    let Some(params) = params else { return incoming };
    let reference = params.get("ref");
    let kind = reference.and_then(|r| r.get("type")).and_then(Node::as_str);
    let found = match (incoming.message.method.as_str(), kind) {
        (method::TOOLS_CALL | method::PROMPTS_GET, _) => {
            by_name(mcp, &incoming, params.get("name"))
        }
        (
            method::RESOURCES_READ | method::RESOURCES_SUBSCRIBE | method::RESOURCES_UNSUBSCRIBE,
            _,
        ) => by_uri(mcp, &incoming, params.get("uri")).await,
        (method::COMPLETION_COMPLETE, Some("ref/prompt")) => {
            by_name(mcp, &incoming, reference.and_then(|r| r.get("name")))
        }
        (method::COMPLETION_COMPLETE, Some("ref/resource")) => {
            by_uri(mcp, &incoming, reference.and_then(|r| r.get("uri"))).await
        }
        _ => None,
    };
    if let Some(Found { place, written, upstream, own }) = found {
        incoming.message.params = Some(edit::spliced(params.raw, place.raw, &json::quote(&own)));
        incoming.named =
            Some(Named { prefixed: names::uri(&upstream, &own) == written, text: written });
        incoming.upstream = upstream;
    }
    incoming
}

/// A name in `params`, and what it means.
struct Found<'n, 's> {
    place: &'n Node<'s>,
    written: String,
    upstream: String,
    own: String,
}

fn by_name<'n, 's>(
    mcp: &Mcp,
    incoming: &Incoming,
    place: Option<&'n Node<'s>>,
) -> Option<Found<'n, 's>> {
    let place = place?;
    let written = place.as_str()?;
    let (upstream, own) = names::split(written)?;
    may_use(mcp, &incoming.agent, upstream).then(|| Found {
        place,
        written: written.to_owned(),
        upstream: upstream.to_owned(),
        own: own.to_owned(),
    })
}

async fn by_uri<'n, 's>(
    mcp: &Mcp,
    incoming: &Incoming,
    place: Option<&'n Node<'s>>,
) -> Option<Found<'n, 's>> {
    let place = place?;
    let written = place.as_str()?.to_owned();
    let (upstream, own) = owners::find(mcp, incoming, &written).await?;
    Some(Found { place, written, upstream, own })
}

/// Answers what is asked of all upstreams at once, and what none of them has.
pub(super) async fn whole(mcp: &Mcp, incoming: Incoming, params: Option<&Node<'_>>) -> Response {
    let method = incoming.message.method.as_str();
    if let Some(kind) = lists::Kind::of(method) {
        let start = match lists::Start::read(mcp, &incoming, params) {
            Ok(start) => start,
            Err(why) => return invalid(&incoming, &why),
        };
        let progress = Progress::new(None, incoming.era, false);
        let (again, asked) = (mcp.clone(), incoming.clone());
        let list =
            async move |_notes, cancel| lists::merged(&again, &asked, kind, start, &cancel).await;
        return exchange::run(mcp, &incoming, progress, list).await;
    }
    match shown::subject(method, incoming.message.params.as_deref()) {
        Some((kind, name)) => {
            let (status, body) = answer::unknown(&incoming, kind, &name);
            json_response(status, body)
        }
        None if shown::answers_with_errors(method) => {
            invalid(&incoming, "params must name what is asked for")
        }
        None => methods::no_method(&incoming),
    }
}

fn invalid(incoming: &Incoming, text: &str) -> Response {
    let id = incoming.message.id_raw();
    json_response(StatusCode::OK, jsonrpc::error(id, code::INVALID_PARAMS, text, None))
}

/// What is known of all upstreams that can be reached, as one server's.
pub(super) async fn facts(mcp: &Mcp, agent: &Agent, caller: &Caller) -> ServerFacts {
    let all = upstreams_of(mcp, agent);
    let asked = all.iter().map(|name| methods::facts_of(mcp, name, caller, ALL_FACTS_WITHIN));
    let known: Vec<(&str, ServerFacts)> = join_all(asked)
        .await
        .into_iter()
        .zip(&all)
        .filter_map(|(facts, name)| Some((name.as_str(), facts?)))
        .collect();
    facts::union(&known)
}

/// What an upstream says without being asked, in the names that are used here.
pub(super) fn told(mcp: &Mcp, agent: &Agent, upstream: &str, note: Notification) -> Notification {
    if note.method != method::NOTIFICATIONS_RESOURCES_UPDATED {
        return note;
    }
    let params = note.params.as_deref().and_then(|p| json::parse(p).ok());
    let shown = |own: &str| owners::told(mcp, agent, upstream, &lists::RESOURCES, own);
    let renamed = params.and_then(|p| names::renamed(&p, "uri", shown));
    Notification { params: renamed.or(note.params), ..note }
}

/// An answer's own URIs in the form the client uses, where it put the upstream's name before its.
pub(super) fn as_addressed(incoming: &Incoming, result: String) -> String {
    match &incoming.named {
        Some(Named { prefixed: true, .. }) if incoming.message.method == method::RESOURCES_READ => {
            names::prefixed_contents(&incoming.upstream, &result)
        }
        _ => result,
    }
}
