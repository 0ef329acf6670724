//! Calls followed as tasks, in both protocols: the extension `io.modelcontextprotocol/tasks` of
//! the modern era (<https://modelcontextprotocol.io/extensions/tasks/overview>), and the
//! experimental tasks in the core of 2025-11-25
//! (<https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#creating-tasks>).
//!
//! Which one a call may use is what its client declared: the extension with each request, the
//! core by `params.task` in a session of that very version. Nobody else is ever given a task.

use axum::http::StatusCode;
use axum::response::Response;

use crate::broker::call::hold::Held;
use crate::broker::call::tasks::TaskError;
use crate::domain::json::Node;
use crate::domain::task::{Follows, Form, Task};
use crate::protocol::{jsonrpc, method};

use super::Mcp;
use super::call::admission;
use super::request::ClientRequest;
use super::respond::json_response;
use errors::{no_id, undeclared};
use form::{declares_extension, owner, speaks_core, task_id};

pub(crate) use call::{behind_a_task, or_task};
pub(crate) use watch::{Watch, tell_session, watched};

pub(crate) mod adopt;
pub(crate) mod call;
pub(crate) mod core;
pub(crate) mod errors;
pub(crate) mod extension;
pub(crate) mod form;
pub(crate) mod remote;
pub(crate) mod tool_marks;
pub(crate) mod watch;
pub(crate) mod wire;

/// Answers a held call with a task.
///
/// # Errors
/// The held call itself, where no task could be made of it: it is to be held on its request.
pub(crate) async fn create(
    mcp: &Mcp,
    incoming: &ClientRequest,
    held: Held,
    form: Form,
) -> Result<Response, Box<Held>> {
    let view = mcp.broker.make_task(held, form).await?;
    let result = match form {
        Form::Extension => wire::created_extension(mcp, &view),
        Form::Core => wire::created_core(mcp, &view),
    };
    Ok(json_response(StatusCode::OK, jsonrpc::result(incoming.message.id_raw(), &result)))
}

/// Answers `tasks/…` of the modern era; none where there is no such method.
pub(crate) async fn modern(
    mcp: &Mcp,
    incoming: &ClientRequest,
    params: Option<&Node<'_>>,
) -> Option<Response> {
    let method = incoming.message.method.as_str();
    if !matches!(method, method::TASKS_GET | method::TASKS_UPDATE | method::TASKS_CANCEL) {
        return None;
    }
    if asks_in_vain(mcp, incoming, params).await {
        return Some(admission::denied(mcp, incoming).await);
    }
    Some(if declares_extension(params) {
        match (task_id(params), theirs(mcp, incoming, params).await) {
            (Some(_), Some(_)) if ungoverned(mcp, incoming) => {
                admission::denied(mcp, incoming).await
            }
            (Some(_), Some((task, id))) => remote::forward(mcp, incoming, params, task, &id).await,
            (Some(id), None) => extension::handle(mcp, incoming, params, id).await,
            (None, _) => no_id(incoming),
        }
    } else {
        undeclared(incoming)
    })
}

/// Answers `tasks/…` of the legacy era; none where there is no such method, as in sessions of
/// versions before 2025-11-25.
pub(crate) async fn legacy(
    mcp: &Mcp,
    incoming: &ClientRequest,
    params: Option<&Node<'_>>,
) -> Option<Response> {
    if !speaks_core(incoming) {
        return None;
    }
    if asks_in_vain(mcp, incoming, params).await {
        return Some(admission::denied(mcp, incoming).await);
    }
    if let Some((task, id)) = theirs(mcp, incoming, params).await {
        return match incoming.message.method.as_str() {
            _ if ungoverned(mcp, incoming) => Some(admission::denied(mcp, incoming).await),
            method::TASKS_GET | method::TASKS_CANCEL | method::TASKS_RESULT => {
                Some(remote::forward(mcp, incoming, params, task, &id).await)
            }
            _ => None,
        };
    }
    match (incoming.message.method.as_str(), task_id(params)) {
        (method::TASKS_LIST, _) => Some(core::list(mcp, incoming, params).await),
        (method::TASKS_GET, Some(id)) => Some(core::get(mcp, incoming, id).await),
        (method::TASKS_CANCEL, Some(id)) => Some(core::cancel(mcp, incoming, id).await),
        (method::TASKS_RESULT, Some(id)) => Some(core::result(mcp, incoming, params, id).await),
        (method::TASKS_GET | method::TASKS_CANCEL | method::TASKS_RESULT, None) => {
            Some(no_id(incoming))
        }
        _ => None,
    }
}

/// Whether the upstream has no policy, so that nothing goes there.
fn ungoverned(mcp: &Mcp, incoming: &ClientRequest) -> bool {
    mcp.broker.policies().of(&incoming.upstream).is_none()
}

/// Whether the request is about no task of its agent, at an upstream without a policy: there is
/// nothing then that it could be let through to. The tasks that there are still end, and say how.
async fn asks_in_vain(mcp: &Mcp, incoming: &ClientRequest, params: Option<&Node<'_>>) -> bool {
    if incoming.message.method == method::TASKS_LIST
        || incoming.upstream.is_empty()
        || !ungoverned(mcp, incoming)
    {
        return false;
    }
    let Some(id) = task_id(params) else { return true };
    matches!(mcp.broker.peek_at_task(&owner(incoming), id).await, Err(TaskError::Unknown))
}

/// The task that the request names and its id at the upstream, if it is one of an upstream's own.
async fn theirs(
    mcp: &Mcp,
    incoming: &ClientRequest,
    params: Option<&Node<'_>>,
) -> Option<(Task, String)> {
    if incoming.message.method == method::TASKS_LIST {
        return None;
    }
    let view = mcp.broker.peek_at_task(&owner(incoming), task_id(params)?).await.ok()?;
    match view.task.follows.clone() {
        Follows::Remote(id) => Some((view.task, id)),
        _ => None,
    }
}
