//! What `tools/list` says of tasks to a session of 2025-11-25: a tool whose calls people decide
//! may be called as a task
//! (<https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#creating-tasks>).

use std::borrow::Cow;

use crate::domain::json::{self, Node, edit};
use crate::domain::policy::Action;
use crate::mcp::Mcp;
use crate::mcp::request::ClientRequest;

use super::form::speaks_core;

/// Marks the gated tools of a page, where the tool itself says nothing else.
pub(crate) fn offer(mcp: &Mcp, incoming: &ClientRequest, raw: String) -> String {
    if !speaks_core(incoming) {
        return raw;
    }
    let Some(policy) = mcp.broker.policies().of(&incoming.upstream) else { return raw };
    let gated = |name: &str| {
        let rule = mcp.broker.rule_for(&policy, &incoming.upstream, &incoming.agent.name, name);
        rule.is_some_and(|rule| rule.action == Action::RequireApproval)
    };
    marked(&raw, gated).unwrap_or(raw)
}

/// The page with marks; none where nothing is to be marked.
fn marked(raw: &str, gated: impl Fn(&str) -> bool) -> Option<String> {
    let node = json::parse(raw).ok()?;
    let tools = node.get("tools")?.elements()?;
    let is_silent = |tool: &Node<'_>| {
        let name = tool.get("name").and_then(Node::as_str);
        let said = tool.get("execution").and_then(|e| e.get("taskSupport"));
        said.is_none() && name.is_some_and(&gated)
    };
    if !tools.iter().any(is_silent) {
        return None;
    }
    let tools = tools.iter().map(|tool| {
        if !is_silent(tool) {
            return Cow::Borrowed(tool.raw);
        }
        let own = tool.get("execution").filter(|e| e.is_object()).map_or("{}", |e| e.raw);
        let execution = edit::with(own, &[("taskSupport", "\"optional\"")]);
        let rest = edit::without(tool.raw, &["execution"]);
        edit::with(&rest, &[("execution", execution)]).into()
    });
    Some(node.with(&[("tools", json::array(tools))]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gated_tools_may_be_tasks_unless_they_say_otherwise() {
        let page = r#"{"tools":[{"name":"a","n":1.0},{"name":"b"},{"name":"c","execution":{"taskSupport":"required"}}],"nextCursor":"2"}"#;

        let shown = marked(page, |name| name != "b").unwrap();

        assert_eq!(
            shown,
            r#"{"tools":[{"name":"a","n":1.0,"execution":{"taskSupport":"optional"}},{"name":"b"},{"name":"c","execution":{"taskSupport":"required"}}],"nextCursor":"2"}"#
        );
        assert_eq!(marked(page, |_| false), None);
    }
}
