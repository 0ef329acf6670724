//! An answer in the client's terms: its id, its era, and nothing of what the policy hides.

use std::sync::Arc;

use axum::http::StatusCode;

use crate::broker::call::answer::{Answer, Statement};
use crate::domain::call::Method;
use crate::domain::client_feature::ClientFeature;
use crate::domain::json::{self, edit};
use crate::domain::task::Remote;
use crate::mcp::revision::translate::{translate_error, translate_result};
use crate::protocol::{code, jsonrpc, method};
use crate::upstream::{Reply, Upstream, UpstreamError, WireEra};

use super::Mcp;
use super::aggregate::names;
use super::call::wait_tool;
use super::request::ClientRequest;
use super::revision::cache_hints;
use super::tasks::adopt::adopt;
use super::tasks::tool_marks::offer;
use input_requests::not_offered;

pub(crate) mod input_requests;
pub(crate) mod policy_filter;

/// HTTP status and JSON-RPC message. The status is lost once a stream has begun.
pub(crate) type Reported = (StatusCode, String);

/// The answer of a call: Placet's own word or the upstream's.
pub(crate) async fn of_call(mcp: &Mcp, incoming: &ClientRequest, answer: Answer) -> Reported {
    match answer {
        Answer::Statement(statement) => said(incoming, &statement),
        Answer::Replied(reply) => of_upstream(mcp, incoming, Ok(reply)).await,
    }
}

/// Placet's own word about a call: the result of a tool, the error of anything else.
pub(crate) fn said(incoming: &ClientRequest, statement: &Statement) -> Reported {
    if policy_filter::answers_with_errors(&incoming.message.method) {
        let error = statement.to_error();
        return (StatusCode::OK, jsonrpc::error_raw(incoming.message.id_raw(), &error));
    }
    let mut result = statement.to_result();
    if incoming.era == WireEra::Modern {
        result = edit::with_missing(&result, &[("resultType", "\"complete\"")]);
    }
    (StatusCode::OK, jsonrpc::result(incoming.message.id_raw(), &result))
}

/// What the upstream answered, or the error that it did not.
pub(crate) async fn of_upstream(
    mcp: &Mcp,
    incoming: &ClientRequest,
    reply: Result<Reply, UpstreamError>,
) -> Reported {
    let id = incoming.message.id_raw();
    let reply = match reply {
        Ok(reply) => in_terms_of(mcp, incoming, reply).await,
        Err(error) => {
            Reply::Error(internal(&format!("upstream {} failed: {error}", incoming.upstream)))
        }
    };
    match reply {
        Reply::Result(raw) => (StatusCode::OK, jsonrpc::result(id, &raw)),
        Reply::Error(raw) => (error_status(incoming.era, &raw), jsonrpc::error_raw(id, &raw)),
    }
}

/// What an upstream answered in the client's terms: its era, and nothing of what the policy
/// hides.
pub(crate) async fn in_terms_of(mcp: &Mcp, incoming: &ClientRequest, reply: Reply) -> Reply {
    let kind = match &reply {
        Reply::Result(raw) => ResultKind::of(raw),
        Reply::Error(_) => ResultKind::default(),
    };
    let from = match mcp.broker.upstream(&incoming.upstream) {
        Some(server) => server_era(server, incoming, kind.is_typed).await,
        None => incoming.era,
    };
    let method = incoming.message.method.as_str();
    let params = incoming.message.params.as_deref();
    let policy = mcp.broker.policies().of(&incoming.upstream);
    let policy = policy.as_deref();
    match reply {
        Reply::Result(raw) => {
            let task = (kind.may_be_task && method == method::TOOLS_CALL)
                .then(|| Remote::created(&raw))
                .flatten();
            let raw = match task {
                Some(task) => match adopt(mcp, incoming, &raw, task).await {
                    Ok(raw) => raw,
                    Err(why) => return Reply::Error(internal(&why)),
                },
                None => raw,
            };
            let raw = policy_filter::result(policy, method, params, raw);
            let raw = match method {
                method::TOOLS_LIST => wait_tool::listed(mcp, incoming, offer(mcp, incoming, raw)),
                _ => raw,
            };
            if kind.asks_for_input {
                if incoming.era == WireEra::Legacy {
                    let why = "the server asks for input that this client can't give";
                    return Reply::Error(internal(why));
                }
                if let Some(why) = not_offered(mcp, incoming, &raw) {
                    return Reply::Error(internal(&why));
                }
            }
            let raw = translate_result(raw, from, incoming.era, method);
            let raw = cache_hints::in_terms_of(raw, from, incoming.era, method, is_retry(incoming));
            let raw = stamped(mcp, incoming, from, raw).await;
            Reply::Result(names::as_addressed(incoming, raw))
        }
        Reply::Error(raw) => {
            let could = |capability: &str| passes(mcp, incoming, capability);
            let raw = translate_error(&raw, from, incoming.era, method, could);
            let named = incoming.named.as_ref().map(|n| n.text.as_str());
            Reply::Error(policy_filter::error(policy, incoming.era, method, params, named, raw))
        }
    }
}

/// There is no such tool, prompt or resource, or it is hidden.
pub(crate) fn unknown(incoming: &ClientRequest, kind: Method, name: &str) -> Reported {
    let name = incoming.named.as_ref().map_or(name, |n| n.text.as_str());
    let error = policy_filter::unknown(incoming.era, &incoming.message.method, kind, name);
    (StatusCode::OK, jsonrpc::error_raw(incoming.message.id_raw(), &error))
}

/// Whether it continues an earlier request, by what the client was asked.
fn is_retry(incoming: &ClientRequest) -> bool {
    const KEYS: [&str; 2] = ["requestState", "inputResponses"];
    let params = incoming.message.params.as_deref();
    let params = params.filter(|p| KEYS.iter().any(|key| json::may_have(p, key)));
    let params = params.and_then(|p| json::parse(p).ok());
    params.is_some_and(|p| p.get("requestState").is_some() || p.get("inputResponses").is_some())
}

/// Names the server in a legacy server's result: in the modern era each result does
/// (<https://modelcontextprotocol.io/specification/2026-07-28/basic#_meta>).
async fn stamped(mcp: &Mcp, incoming: &ClientRequest, from: WireEra, raw: String) -> String {
    if (from, incoming.era) != (WireEra::Legacy, WireEra::Modern) {
        return raw;
    }
    let Some(server) = mcp.broker.upstream(&incoming.upstream) else { return raw };
    match server.facts(&incoming.caller()).await {
        Ok(facts) if facts.server_info.starts_with('{') => {
            cache_hints::stamped(&raw, &facts.server_info)
        }
        _ => raw,
    }
}

/// Whether a capability that the client lacks would be passed on if it had it.
fn passes(mcp: &Mcp, incoming: &ClientRequest, capability: &str) -> bool {
    let config = mcp.broker.config();
    let is = |f: &ClientFeature| f.as_str() == capability;
    config.upstream(&incoming.upstream).is_some_and(|u| u.client_features.iter().any(is))
        && incoming.agent.client_features.as_ref().is_none_or(|own| own.iter().any(is))
}

fn internal(text: &str) -> String {
    jsonrpc::error_object(code::INTERNAL_ERROR, text, None)
}

/// The upstream gave no answer that this client can have.
pub(crate) fn failed(incoming: &ClientRequest, text: &str) -> Reported {
    (StatusCode::OK, jsonrpc::error_raw(incoming.message.id_raw(), &internal(text)))
}

/// The task that was to answer is gone without a word.
pub(crate) fn lost(incoming: &ClientRequest) -> Reported {
    let id = incoming.message.id_raw();
    (StatusCode::OK, jsonrpc::error(id, code::INTERNAL_ERROR, "the request was lost", None))
}

/// The era a server spoke when it answered. Results of the modern era say it themselves; of
/// others it is the era of the caller's own connection, if there ever was one since the start.
async fn server_era(
    server: &Arc<dyn Upstream>,
    incoming: &ClientRequest,
    is_typed: bool,
) -> WireEra {
    let caller = incoming.caller();
    let era = match server.era(&caller) {
        _ if server.catalog().is_none() => None,
        Some(era) => Some(era),
        None => server.facts(&caller).await.ok().map(|facts| facts.era),
    };
    let Some(era) = era else {
        return if is_typed { WireEra::Modern } else { WireEra::Legacy };
    };
    // An approved call may have run over another connection than this caller's.
    if is_typed && server.last_era() == Some(WireEra::Modern) { WireEra::Modern } else { era }
}

/// What a result says of its own kind.
#[derive(Debug, Default)]
struct ResultKind {
    /// It names its type, as results of the modern era do
    /// (<https://modelcontextprotocol.io/specification/2026-07-28/basic#result-type>).
    is_typed: bool,
    /// That type is `input_required`.
    asks_for_input: bool,
    /// It may be a task.
    may_be_task: bool,
}

impl ResultKind {
    /// Reads it, which most results of the legacy era need not be for that.
    fn of(raw: &str) -> Self {
        let names_none = |key: &str| !json::may_have(raw, key);
        if names_none("resultType") && names_none("task") {
            return Self::default();
        }
        let Ok(node) = json::parse(raw) else { return Self::default() };
        let named = node.get("resultType").and_then(json::Node::as_str);
        Self {
            is_typed: named.is_some(),
            asks_for_input: named == Some("input_required"),
            may_be_task: named == Some("task") || node.get("task").is_some(),
        }
    }
}

/// The HTTP status of an error: the modern era has its own for some
/// (<https://modelcontextprotocol.io/specification/2026-07-28/basic#error-codes>), everything else
/// is 200.
pub(crate) fn error_status(era: WireEra, raw: &str) -> StatusCode {
    if era == WireEra::Legacy {
        return StatusCode::OK;
    }
    match jsonrpc::error_code(raw) {
        Some(code::METHOD_NOT_FOUND) => StatusCode::NOT_FOUND,
        Some(code::HEADER_MISMATCH | code::MISSING_CAPABILITY | code::UNSUPPORTED_VERSION) => {
            StatusCode::BAD_REQUEST
        }
        _ => StatusCode::OK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_modern_era_has_a_status_for_errors() {
        let status = |era, code: &str| error_status(era, &format!("{{\"code\":{code}}}")).as_u16();

        assert_eq!(status(WireEra::Modern, "-32601"), 404);
        assert_eq!(status(WireEra::Modern, "-32021"), 400);
        assert_eq!(status(WireEra::Modern, "-32602"), 200);
        assert_eq!(status(WireEra::Legacy, "-32601"), 200);
    }
}
