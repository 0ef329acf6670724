//! Tasks of an upstream's own. Each is known to its agent by an id of ours, so that one agent
//! never reaches another's, whatever the upstream thinks of ids; everything else passes.

use std::time::Duration;

use axum::response::Response;

use crate::broker::remote::with_tasks;
use crate::broker::tasks::{NewTask, View};
use crate::domain::json::{self, Node, edit};
use crate::domain::task::{Follows, Form, Remote, Task};
use crate::protocol::{meta, method};
use crate::upstream::{Caller, Reply, Request, WireEra};
use tokio_util::sync::CancellationToken;

use crate::mcp::http::Incoming;
use crate::mcp::stream::{Progress, progress_token};
use crate::mcp::{Mcp, answer, exchange};

use super::wire::{self, related};
use super::{form_of, owner};

/// Longest that an upstream's task is remembered, whatever the upstream says.
const LONGEST_LIFE: Duration = Duration::from_hours(30 * 24);

/// The upstream answered an allowed call with a task: its answer with an id of ours.
pub(in crate::mcp) async fn adopt(
    mcp: &Mcp,
    incoming: &Incoming,
    raw: &str,
    task: Remote,
) -> Result<String, String> {
    let params = incoming.message.params.as_deref().and_then(|p| json::parse(p).ok());
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
fn renamed(raw: &str, ours: &Task) -> String {
    renamed_meta(&edit::replaced(raw, "taskId", &json::quote(ours.id.as_str())), ours)
}

fn renamed_inside(raw: &str, ours: &Task) -> String {
    let node = json::parse(raw).ok();
    match node.as_ref().and_then(|n| n.get("task")) {
        Some(task) => renamed_meta(&edit::replaced(raw, "task", &renamed(task.raw, ours)), ours),
        None => raw.to_owned(),
    }
}

/// What is said about a task, where the id stands in `_meta` alone.
fn renamed_meta(raw: &str, ours: &Task) -> String {
    let is_related = json::parse(raw)
        .is_ok_and(|n| n.get("_meta").is_some_and(|meta| meta.get(meta::RELATED_TASK).is_some()));
    if is_related {
        edit::with_meta(raw, &[(meta::RELATED_TASK, related(ours.id.as_str()))])
    } else {
        raw.to_owned()
    }
}

fn caller(incoming: &Incoming, task: &Task) -> Caller {
    Caller { session: task.session.clone(), ..incoming.caller() }
}

fn request(incoming: &Incoming, method: &str, params: String, progress: bool) -> Request {
    let modern = incoming.era == WireEra::Modern;
    let capabilities = modern.then(|| with_tasks("{}"));
    Request { progress, capabilities, ..Request::new(method, Some(params)) }
}

/// Passes a request about an upstream's task on, under the id it has there.
pub(super) async fn forward(
    mcp: &Mcp,
    incoming: &Incoming,
    params: Option<&Node<'_>>,
    task: Task,
    theirs: &str,
) -> Response {
    let method = incoming.message.method.clone();
    let token = progress_token(params);
    let raw = incoming.message.params.as_deref().unwrap_or("{}");
    let sent = edit::replaced(raw, "taskId", &json::quote(theirs));
    let sent = crate::domain::call::params_with_meta(&sent, &[]);
    let request = request(incoming, &method, sent, token.is_some());
    let progress = Progress::new(token, incoming.era, false);
    let caller = caller(incoming, &task);
    let (again, asked) = (mcp.clone(), incoming.clone());
    let send = async move |notes, cancel| {
        let Some(server) = again.broker.upstream(&asked.upstream).cloned() else {
            return answer::lost(&asked);
        };
        let reply = server.request(&caller, request, Some(notes), cancel).await;
        let reply = reply.map(|reply| match reply {
            Reply::Result(raw) if method == method::TASKS_RESULT => {
                Reply::Result(renamed_meta(&raw, &task))
            }
            Reply::Result(raw) => Reply::Result(renamed(&raw, &task)),
            error @ Reply::Error(_) => error,
        });
        answer::of_upstream(&again, &asked, reply).await
    };
    exchange::run(mcp, incoming, progress, send).await
}

/// A task for the list: as the upstream tells of it, or as far as we know it.
pub(super) async fn listed(mcp: &Mcp, incoming: &Incoming, view: &View) -> String {
    let known = || wire::object(&wire::core(mcp, view));
    let Follows::Remote(theirs) = &view.task.follows else { return known() };
    let Some(server) = mcp.broker.upstream(&view.task.upstream) else { return known() };
    let params = related(theirs);
    let request = request(incoming, method::TASKS_GET, params, false);
    let caller = caller(incoming, &view.task);
    match server.request(&caller, request, None, CancellationToken::new()).await {
        Ok(Reply::Result(raw)) if Remote::got(&raw).is_some() => renamed(&raw, &view.task),
        _ => known(),
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
