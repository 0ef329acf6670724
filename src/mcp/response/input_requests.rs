//! What a server that answers with `input_required` asks of its client.
//!
//! <https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/mrtr>

use crate::domain::client_feature::ClientFeature;
use crate::domain::json::{self, Node};
use crate::mcp::Mcp;
use crate::mcp::request::ClientRequest;

/// Whether it is an `input_required` result.
pub(crate) fn is_input_required(raw: &str) -> bool {
    json::may_have(raw, "resultType")
        && json::parse(raw)
            .is_ok_and(|n| n.get("resultType").and_then(Node::as_str) == Some("input_required"))
}

/// What an `input_required` result asks that this client did not declare, or that the
/// configuration does not let pass; none where all is well.
pub(crate) fn not_offered(mcp: &Mcp, incoming: &ClientRequest, raw: &str) -> Option<String> {
    let upstream = mcp.broker.config().upstream(&incoming.upstream);
    let allowed = upstream.map(|u| u.client_features.as_slice()).unwrap_or_default();
    let features = incoming.features.within(allowed);
    let node = json::parse(raw).ok()?;
    let requests = node.get("inputRequests").and_then(Node::members)?;
    requests.iter().find_map(|member| {
        let method = member.node.get("method").and_then(Node::as_str).unwrap_or_default();
        let params = member.node.get("params").map(|p| p.raw);
        (!features.offer(method, params)).then(|| {
            let what = ClientFeature::of_method(method).map_or("something", |f| f.as_str());
            format!("the server asks for {what}, which this client or its policy does not offer")
        })
    })
}
