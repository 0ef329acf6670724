//! A task that a server made becomes one of Placet's: its id is replaced wherever it stands.

use std::time::Duration;

use crate::broker::call::tasks::NewTask;
use crate::domain::json::{self, Node, edit};
use crate::domain::task::{Follows, Form, Remote, Task};
use crate::mcp::Mcp;
use crate::mcp::request::ClientRequest;
use crate::protocol::meta;

use super::form::{form_of, owner};
use super::wire::related;

/// Longest that an upstream's task is remembered, whatever the upstream says.
const LONGEST_LIFE: Duration = Duration::from_hours(30 * 24);

/// The upstream answered an allowed call with a task: its answer with an id of ours.
///
/// # Errors
/// In words: the client can't follow a task of this form, or its agent has too many.
pub(crate) async fn adopt(
    mcp: &Mcp,
    incoming: &ClientRequest,
    raw: &str,
    task: Remote,
) -> Result<String, String> {
    let params = incoming.message.params.as_ref().map(json::Text::node);
    let flat = json::parse(raw).is_ok_and(|n| n.get("resultType").is_some());
    let form = form_of(incoming, params.as_ref());
    if form != Some(if flat { Form::Extension } else { Form::Core }) {
        return Err("the server answered with a task, which this client can't follow".to_owned());
    }
    let called = params.as_ref().and_then(|p| p.get("name")).and_then(Node::as_str);
    let life = task.ttl_ms.map_or(mcp.broker.config().approvals.result_retention, |ms| {
        Duration::from_millis(ms).min(LONGEST_LIFE)
    });
    let new = NewTask {
        agent: incoming.agent.name.clone(),
        upstream: incoming.upstream.clone(),
        session: incoming.session.as_ref().map(|s| s.id.clone()),
        form: owner(incoming).form,
        tool: called.unwrap_or_default().to_owned(),
        follows: Follows::Remote(task.id),
        life,
    };
    let Some(ours) = mcp.broker.store_task(new).await else {
        return Err("there are too many tasks of this agent (approvals.max_tasks_per_agent), and \
                    the server answered with one more"
            .to_owned());
    };
    Ok(if flat { renamed(raw, &ours) } else { renamed_inside(raw, &ours) })
}

/// A task with its id replaced, every other byte as it was.
pub(crate) fn renamed(raw: &str, ours: &Task) -> String {
    renamed_meta(&edit::replaced(raw, "taskId", &json::quote(ours.id.as_str())), ours)
}

/// The same for an answer that holds the task in its member `task`, as the core has it.
pub(crate) fn renamed_inside(raw: &str, ours: &Task) -> String {
    let node = json::parse(raw).ok();
    match node.as_ref().and_then(|n| n.get("task")) {
        Some(task) => renamed_meta(&edit::replaced(raw, "task", &renamed(task.raw, ours)), ours),
        None => raw.to_owned(),
    }
}

/// A result about a task, where the id stands in `_meta` alone
/// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#related-task-metadata>).
pub(crate) fn renamed_meta(raw: &str, ours: &Task) -> String {
    let is_related = json::parse(raw)
        .is_ok_and(|n| n.get("_meta").is_some_and(|meta| meta.get(meta::RELATED_TASK).is_some()));
    if is_related {
        edit::with_meta(raw, &[(meta::RELATED_TASK, related(ours.id.as_str()))])
    } else {
        raw.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_id_of_a_task_differs() {
        let raw = r#"{ "taskId":"t", "status":"working", "n":1.00 }"#;

        assert_eq!(
            edit::replaced(raw, "taskId", "\"o\""),
            r#"{"taskId":"o","status":"working","n":1.00}"#
        );
    }
}
