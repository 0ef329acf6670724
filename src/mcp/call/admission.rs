//! What is judged without being a call: methods by their name, and requests about a resource or a
//! prompt that do not fetch it, such as subscriptions and completions.

use axum::http::StatusCode;
use axum::response::Response;

use crate::broker::call::admit::Admission;
use crate::domain::call::{Method, ToolCall};
use crate::domain::json;
use crate::mcp::Mcp;
use crate::mcp::aggregate::{merge, page};
use crate::mcp::request::ClientRequest;
use crate::mcp::respond::{json_response, no_method, plain};
use crate::mcp::response::{self, policy_filter};
use crate::protocol::{code, jsonrpc, method};
use crate::upstream::WireEra;

use super::rounds::asking;

/// What becomes of a request by the name of its method alone.
pub(crate) enum Gate {
    /// It goes on to be judged by what it asks for.
    Open,
    /// Its method is none of the specification, and the policy lists it: it passes.
    Listed,
    /// It is answered.
    Answered(Response),
}

/// Looks at the name of a request's method: the specification has it, in the client's era, or the
/// policy lists it, or it is denied. Without a policy lists are empty, and what is neither a list
/// nor the client's own is denied.
pub(crate) async fn gate(mcp: &Mcp, incoming: &ClientRequest) -> Gate {
    let name = incoming.message.method.as_str();
    let policy = mcp.broker.policies().of(&incoming.upstream);
    let known = match incoming.era {
        WireEra::Legacy => method::is_legacy_request(name),
        WireEra::Modern => method::is_modern_request(name),
    };
    if !known {
        return if method::is_request(name) {
            // A client may well probe for the other era, and reads no denial out of this code.
            Gate::Answered(no_method(mcp, incoming).await)
        } else if policy.is_some_and(|p| p.allows_method(name)) {
            Gate::Listed
        } else {
            Gate::Answered(unknown_method(mcp, incoming).await)
        };
    }
    if policy.is_some() || incoming.upstream.is_empty() {
        return Gate::Open;
    }
    if let Some(kind) = page::Kind::of(name) {
        return Gate::Answered(plain(incoming, &merge::empty(incoming.era, kind)));
    }
    let named = policy_filter::subject(name, incoming.message.params.as_deref()).is_some();
    match name {
        method::LOGGING_SET_LEVEL => Gate::Answered(denied(mcp, incoming).await),
        // Judged by what they name; what names nothing can't be.
        method::COMPLETION_COMPLETE if !named => Gate::Answered(denied(mcp, incoming).await),
        _ => Gate::Open,
    }
}

/// Denies a request by its method, and records it.
pub(crate) async fn denied(mcp: &Mcp, incoming: &ClientRequest) -> Response {
    let (agent, name) = (&incoming.agent.name, &incoming.message.method);
    let statement = mcp.broker.deny_method(agent, &incoming.upstream, name).await;
    let error = jsonrpc::error_raw(incoming.message.id_raw(), &statement.to_error());
    json_response(StatusCode::OK, error)
}

/// The same for a method that the specification lacks, under the code that clients know for it.
async fn unknown_method(mcp: &Mcp, incoming: &ClientRequest) -> Response {
    let (agent, name) = (&incoming.agent.name, &incoming.message.method);
    let statement = mcp.broker.deny_method(agent, &incoming.upstream, name).await;
    let error = statement.to_error_of(code::METHOD_NOT_FOUND);
    let status = response::error_status(incoming.era, &error);
    json_response(status, jsonrpc::error_raw(incoming.message.id_raw(), &error))
}

/// Whether a notification may be sent to an upstream: the specification has it, or the policy lists
/// it. A careless server may run a call that has no id, so that no request is ever sent as one.
pub(crate) fn may_notify(mcp: &Mcp, upstream: &str, era: WireEra, name: &str) -> bool {
    let Some(policy) = mcp.broker.policies().of(upstream) else { return false };
    let known = era == WireEra::Legacy && method::is_legacy_notification(name);
    known || (policy.allows_method(name) && !method::is_request(name))
}

/// Refuses a request about a resource or a prompt, other than the call itself, that the policy
/// does not let through; none where it passes.
pub(crate) async fn refusal(mcp: &Mcp, incoming: &ClientRequest) -> Option<Response> {
    let by = incoming.message.method.as_str();
    let answered = |(status, body)| Some(json_response(status, body));
    let (kind, name) = policy_filter::subject(by, incoming.message.params.as_deref())?;
    let (key, text) = match kind {
        Method::ReadResource => ("uri", &name),
        _ => ("name", &name),
    };
    let params = json::object([(key, json::quote(text).as_str())]);
    let Ok(call) = ToolCall::read_as(kind, &incoming.upstream, &params) else {
        return answered(response::unknown(incoming, kind, &name));
    };
    match mcp.broker.admit(&asking(incoming, call), by, by == method::RESOURCES_SUBSCRIBE).await {
        Admission::Passes => None,
        Admission::Unknown => answered(response::unknown(incoming, kind, &name)),
        // A subscription may be ended whatever the policy says now.
        Admission::Statement(_) if by == method::RESOURCES_UNSUBSCRIBE => None,
        Admission::Statement(statement) => answered(response::said(incoming, &statement)),
    }
}
