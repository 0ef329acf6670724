//! Requests about a resource or a prompt that are no call of it, such as subscriptions and
//! completions: refused here where the policy does not let them through.

use axum::response::Response;

use crate::broker::call::admit::Admission;
use crate::domain::call::{Method, ToolCall};
use crate::domain::json;
use crate::mcp::Mcp;
use crate::mcp::request::ClientRequest;
use crate::mcp::respond::json_response;
use crate::mcp::response::{self, policy_filter};
use crate::protocol::method;

use super::rounds::asking;

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
