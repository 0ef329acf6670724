//! The one address for everything: all the agent's upstreams as one server.
//!
//! A request that names a tool, a prompt or a resource is resolved to its upstream by replacing
//! that one name, everything else byte for byte, and then takes the very path it takes on the
//! upstream's own address: policy, digest, approval and audit know no difference. Lists are
//! merged; what is the agent's own is answered as it is.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use futures_util::future::join_all;

use crate::config::Agent;
use crate::domain::json::{self, Node, edit};
use crate::mcp::stream::progress::Progress;
use crate::protocol::{code, jsonrpc, method};
use crate::upstream::{Caller, Notification, ServerFacts};

use super::request::{ClientRequest, Named, may_use, upstreams_of};
use super::respond::{self, json_response};
use super::response::{self, policy_filter};
use super::stream::relay;
use super::tasks::form;
use super::{ALL_FACTS_WITHIN, Mcp, server_facts};

pub(crate) mod facts;
pub(crate) mod merge;
pub(crate) mod names;
pub(crate) mod owners;
pub(crate) mod page;

/// Finds the upstream that a request means; a request that means none, or all, stays as it is.
pub(crate) async fn resolve(
    mcp: &Mcp,
    mut incoming: ClientRequest,
    params: Option<&Node<'_>>,
) -> ClientRequest {
    if incoming.message.method.starts_with("tasks/") {
        // A task belongs to its agent at every address; it is answered in its upstream's terms.
        if let Some(upstream) = form::upstream_of(mcp, &incoming, params).await {
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
        incoming.message.params =
            Some(json::Text::own(edit::spliced(params.raw, place.raw, &json::quote(&own))));
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
    incoming: &ClientRequest,
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
    incoming: &ClientRequest,
    place: Option<&'n Node<'s>>,
) -> Option<Found<'n, 's>> {
    let place = place?;
    let written = place.as_str()?.to_owned();
    let (upstream, own) = owners::find(mcp, incoming, &written).await?;
    Some(Found { place, written, upstream, own })
}

/// Answers what is asked of all upstreams at once, and what none of them has.
pub(crate) async fn whole(
    mcp: &Mcp,
    incoming: ClientRequest,
    params: Option<&Node<'_>>,
) -> Response {
    let method = incoming.message.method.as_str();
    if let Some(kind) = page::Kind::of(method) {
        let start = match merge::Start::read(mcp, &incoming, params) {
            Ok(start) => start,
            Err(why) => return invalid(&incoming, &why),
        };
        let progress = Progress::new(None, incoming.era, false);
        let incoming = Arc::new(incoming);
        let (again, asked) = (mcp.clone(), Arc::clone(&incoming));
        let list =
            async move |_notes, cancel| merge::merged(&again, &asked, kind, start, &cancel).await;
        return relay::run(mcp, &incoming, progress, list).await;
    }
    match policy_filter::subject(method, incoming.message.params.as_deref()) {
        Some((kind, name)) => {
            let (status, body) = response::unknown(&incoming, kind, &name);
            json_response(status, body)
        }
        None if policy_filter::answers_with_errors(method) => {
            invalid(&incoming, "params must name what is asked for")
        }
        // An upstream's own addresses have what only one of them can answer.
        None => respond::no_method(mcp, &incoming).await,
    }
}

fn invalid(incoming: &ClientRequest, text: &str) -> Response {
    let id = incoming.message.id_raw();
    json_response(StatusCode::OK, jsonrpc::error(id, code::INVALID_PARAMS, text, None))
}

/// What is known of all upstreams that can be reached, as one server's.
pub(crate) async fn facts(mcp: &Mcp, agent: &Agent, caller: &Caller) -> ServerFacts {
    let all = upstreams_of(mcp, agent);
    let asked = all.iter().map(|name| server_facts::facts_of(mcp, name, caller, ALL_FACTS_WITHIN));
    let known: Vec<(&str, ServerFacts)> = join_all(asked)
        .await
        .into_iter()
        .zip(&all)
        .filter_map(|(facts, name)| Some((name.as_str(), facts?)))
        .collect();
    facts::union(&known)
}

/// What an upstream says without being asked, in the names that are used here.
pub(crate) fn told(mcp: &Mcp, agent: &Agent, upstream: &str, note: Notification) -> Notification {
    if note.method != method::NOTIFICATIONS_RESOURCES_UPDATED {
        return note;
    }
    let params = note.params.as_deref().and_then(|p| json::parse(p).ok());
    let shown = |own: &str| owners::told(mcp, agent, upstream, &page::RESOURCES, own);
    let renamed = params.and_then(|p| names::renamed(&p, "uri", shown));
    Notification { params: renamed.or(note.params), ..note }
}
