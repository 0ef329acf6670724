//! A task as JSON, in the words of each protocol: times in RFC 3339, spans in milliseconds.

use crate::broker::call::tasks::View;
use crate::domain::json;
use crate::domain::task::Status;
use crate::mcp::Mcp;
use crate::protocol::meta;

/// Members of an object: key and raw value.
pub(crate) type Members = Vec<(&'static str, String)>;

/// The JSON object of these members.
pub(crate) fn object(members: &Members) -> String {
    json::object(members.iter().map(|(key, value)| (*key, value.as_str())))
}

fn shared(view: &View) -> Members {
    vec![
        ("taskId", json::quote(view.task.id.as_str())),
        ("status", json::quote(view.status.as_str())),
        ("statusMessage", json::quote(&view.message)),
        ("createdAt", json::quote(&view.task.created_at.to_string())),
        ("lastUpdatedAt", json::quote(&view.changed_at.to_string())),
    ]
}

fn poll_interval(mcp: &Mcp) -> String {
    mcp.broker.config().approvals.task_poll_interval.as_millis().max(1).to_string()
}

/// A task as the extension writes it (<https://modelcontextprotocol.io/extensions/tasks/overview>).
pub(crate) fn extension(mcp: &Mcp, view: &View) -> Members {
    let mut members = shared(view);
    members.push(("ttlMs", view.task.ttl_ms().to_string()));
    members.push(("pollIntervalMs", poll_interval(mcp)));
    members
}

/// A task as the core of 2025-11-25 writes it
/// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#getting-tasks>).
pub(crate) fn core(mcp: &Mcp, view: &View) -> Members {
    let mut members = shared(view);
    members.push(("ttl", view.task.ttl_ms().to_string()));
    members.push(("pollInterval", poll_interval(mcp)));
    members
}

/// What Placet says of the approval that a task waits for, as a member of `_meta`.
fn decision(mcp: &Mcp, view: &View) -> Option<(&'static str, String)> {
    let statement = mcp.broker.pending_task(view)?;
    Some((meta::DECISION, statement.decision_json()))
}

/// The answer of a call that became a task, in the extension.
pub(crate) fn created_extension(mcp: &Mcp, view: &View) -> String {
    let mut members = vec![("resultType", "\"task\"".to_owned())];
    members.extend(extension(mcp, view));
    members.extend(meta(&decision(mcp, view).into_iter().collect()));
    object(&members)
}

/// The answer of a call that became a task, in the core
/// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#creating-tasks>).
pub(crate) fn created_core(mcp: &Mcp, view: &View) -> String {
    let text = format!(
        "Not executed yet: {} needs a person's approval, and the call goes on by itself as task \
         {}. Do not call it again and do not try another way; go on with other work, and look at \
         the task for the result.",
        view.task.tool, view.task.id
    );
    let mut own = vec![(meta::MODEL_IMMEDIATE_RESPONSE, json::quote(&text))];
    own.push((meta::RELATED_TASK, related(view.task.id.as_str())));
    own.extend(decision(mcp, view));
    let mut members = vec![("task", object(&core(mcp, view)))];
    members.extend(meta(&own));
    object(&members)
}

/// The `_meta` of a task that waits for a decision; none for any other.
pub(crate) fn waiting(mcp: &Mcp, view: &View) -> Option<(&'static str, String)> {
    let waits = matches!(view.status, Status::Working | Status::InputRequired);
    meta(&decision(mcp, view).filter(|_| waits).into_iter().collect())
}

fn meta(own: &Members) -> Option<(&'static str, String)> {
    (!own.is_empty()).then(|| ("_meta", object(own)))
}

/// The value under [`meta::RELATED_TASK`], raw JSON
/// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#related-task-metadata>).
pub(crate) fn related(id: &str) -> String {
    format!("{{\"taskId\":{}}}", json::quote(id))
}
