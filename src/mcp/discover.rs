//! What `initialize` and `server/discover` say of the servers behind an address.
//!
//! <https://modelcontextprotocol.io/specification/2025-11-25/basic/lifecycle#initialization>,
//! <https://modelcontextprotocol.io/specification/2026-07-28/server/discover>

use axum::response::Response;

use crate::domain::json::{self, edit};
use crate::protocol::{meta, version};
use crate::upstream::{Caller, ServerFacts};

use super::request::ClientRequest;
use super::respond::plain;
use super::server_facts::facts_of;
use super::tasks::form;
use super::{FACTS_WITHIN, Mcp, aggregate};

/// Capabilities that are withheld: tasks need their own support, extensions are per hop.
const WITHHELD: [&str; 2] = ["tasks", "extensions"];

/// The result of `initialize`. A server that can't be reached now does not keep the client out:
/// each call says so by itself.
pub(crate) async fn initialize_result(
    mcp: &Mcp,
    incoming: &ClientRequest,
    caller: &Caller,
    version: &str,
) -> String {
    let facts = facts(mcp, incoming, caller).await;
    let mut pairs = vec![
        ("protocolVersion", json::quote(version)),
        ("capabilities", form::advertise(&capabilities(facts.as_ref()), version)),
        ("serverInfo", server_info(facts.as_ref())),
    ];
    if let Some(text) = facts.and_then(|f| f.instructions) {
        pairs.push(("instructions", json::quote(&text)));
    }
    json::object(pairs.iter().map(|(k, v)| (*k, v.as_str())))
}

/// What is known of the servers behind the address; none of one that can't be reached in time.
pub(crate) async fn facts(
    mcp: &Mcp,
    incoming: &ClientRequest,
    caller: &Caller,
) -> Option<ServerFacts> {
    if incoming.upstream.is_empty() {
        return Some(aggregate::facts(mcp, &incoming.agent, caller).await);
    }
    facts_of(mcp, &incoming.upstream, caller, FACTS_WITHIN).await
}

fn capabilities(facts: Option<&ServerFacts>) -> String {
    let raw = facts.map_or("{}", |f| f.capabilities.as_str());
    let kept = edit::without(raw, &WITHHELD);
    // Policies change what is listed, whatever the server says of itself.
    match json::parse(&kept).ok().and_then(|n| n.get("tools").map(|t| t.raw.to_owned())) {
        Some(tools) => {
            let tools = edit::without(&tools, &["listChanged"]);
            let tools = edit::with(&tools, &[("listChanged", "true")]);
            edit::with(&edit::without(&kept, &["tools"]), &[("tools", tools)])
        }
        None if facts.is_none() => "{\"tools\":{\"listChanged\":true}}".to_owned(),
        None => kept,
    }
}

fn server_info(facts: Option<&ServerFacts>) -> String {
    facts.map(|f| f.server_info.clone()).filter(|s| !s.is_empty()).unwrap_or_else(|| {
        format!("{{\"name\":\"placet\",\"version\":\"{}\"}}", env!("CARGO_PKG_VERSION"))
    })
}

/// Answers `server/discover`.
pub(crate) async fn discover(mcp: &Mcp, incoming: &ClientRequest) -> Response {
    let facts = facts(mcp, incoming, &incoming.caller()).await;
    let mut pairs = vec![
        ("resultType", "\"complete\"".to_owned()),
        ("supportedVersions", json::array([json::quote(version::MODERN)])),
        ("capabilities", form::advertise(&capabilities(facts.as_ref()), version::MODERN)),
        ("ttlMs", "0".to_owned()),
        ("cacheScope", "\"private\"".to_owned()),
        ("_meta", json::object([(meta::SERVER_INFO, server_info(facts.as_ref()).as_str())])),
    ];
    if let Some(text) = facts.and_then(|f| f.instructions) {
        pairs.push(("instructions", json::quote(&text)));
    }
    let result = json::object(pairs.iter().map(|(k, v)| (*k, v.as_str())));
    plain(incoming, &result)
}
