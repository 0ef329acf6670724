//! `placet_wait`, the one tool that is Placet's own: listed for agents that have it switched on,
//! answered here, never upstream, and no subject of any policy.

use crate::broker::call::wait_by_id::Waiting;
use crate::broker::call::wait_tool::WAIT_TOOL;
use crate::domain::call::{Method, ToolCall};
use crate::domain::json::{self, Node, edit};
use crate::mcp::Mcp;
use crate::mcp::request::ClientRequest;
use crate::protocol::method;

/// What is said of an id that is unknown, another agent's, or past being told.
pub(crate) const NO_APPROVAL: &str =
    "you have no such approval here; take its id from an approval_pending answer";

/// How the tool is listed.
const DEFINITION: &str = concat!(
    r#"{"name":"placet_wait","title":"Wait for an approval","description":"Waits for a person's "#,
    r#"decision on an earlier call of yours that was answered approval_pending, and then answers "#,
    r#"as that call: with its result once it was approved, or why it did not run. Calling the "#,
    r#"tool again with identical arguments does the same. It runs nothing twice and asks nobody "#,
    r#"anew.","inputSchema":{"type":"object","properties":{"approval":{"type":"string","#,
    r#""description":"The approval's id, apr_ and 32 hex digits, from the pending answer"}},"#,
    r#""required":["approval"],"additionalProperties":false}}"#,
);

/// Who waits for which approval; none if this is no call of the wait tool.
///
/// # Errors
/// What its arguments must be, in words, where they are something else.
pub(crate) fn asked(
    mcp: &Mcp,
    incoming: &ClientRequest,
    call: &ToolCall,
) -> Option<Result<Waiting, String>> {
    let is_wait = call.method == Method::CallTool && call.tool == WAIT_TOOL;
    if !is_wait || !mcp.broker.offers_wait(&incoming.agent, &incoming.upstream) {
        return None;
    }
    let wrong = || Err("arguments must be {\"approval\": \"apr_…\"}".to_owned());
    let sent = call.arguments();
    let Ok(arguments) = json::parse(&sent) else { return Some(wrong()) };
    let [only] = arguments.members().unwrap_or_default() else { return Some(wrong()) };
    let Some(approval) = only.node.as_str().filter(|_| only.key == "approval") else {
        return Some(wrong());
    };
    Some(Ok(Waiting {
        agent: incoming.agent.clone(),
        client: incoming.client.clone(),
        session: incoming.session.as_ref().map(|s| s.id.clone()),
        features: incoming.features.clone(),
        upstream: incoming.upstream.clone(),
        approval: approval.to_owned(),
    }))
}

/// Adds the tool to the last page of an upstream's list, where the agent is offered it.
pub(crate) fn listed(mcp: &Mcp, incoming: &ClientRequest, raw: String) -> String {
    let wanted = incoming.message.method == method::TOOLS_LIST
        && mcp.broker.offers_wait(&incoming.agent, &incoming.upstream);
    if wanted { with_tool(&raw).unwrap_or(raw) } else { raw }
}

fn with_tool(raw: &str) -> Option<String> {
    let node = json::parse(raw).ok()?;
    if node.get("nextCursor").and_then(Node::as_str).is_some() {
        return None;
    }
    let tools = node.get("tools")?.elements()?;
    let all =
        node.with(&[("tools", json::array(tools.iter().map(|tool| tool.raw).chain([DEFINITION])))]);
    // The list is this agent's own now.
    Some(edit::replaced(&all, "cacheScope", "\"private\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_json_and_names_the_tool() {
        let node = json::parse(DEFINITION).unwrap();

        assert_eq!(node.get("name").unwrap().as_str(), Some(WAIT_TOOL));
        assert!(
            node.get("inputSchema").unwrap().get("properties").unwrap().get("approval").is_some()
        );
    }

    #[test]
    fn the_tool_stands_at_the_end_of_the_last_page_and_makes_it_private() {
        let added = with_tool(r#"{"tools":[{"name":"a","x":1.0}],"cacheScope":"public","y":1e2}"#);

        assert_eq!(
            added.unwrap(),
            format!(
                r#"{{"tools":[{{"name":"a","x":1.0}},{DEFINITION}],"cacheScope":"private","y":1e2}}"#
            )
        );
        assert_eq!(with_tool(r#"{"tools":[],"nextCursor":"c"}"#), None);
        assert!(with_tool(r#"{"tools":[],"nextCursor":null}"#).is_some());
        for odd in ["{}", "[]", "{\"tools\":7}", "no"] {
            assert_eq!(with_tool(odd), None, "{odd}");
        }
    }
}
