//! Calls followed as tasks, in both protocols: the extension `io.modelcontextprotocol/tasks` of
//! the modern era, and the experimental tasks in the core of 2025-11-25.
//!
//! Which one a call may use is what its client declared: the extension with each request, the
//! core by `params.task` in a session of that very version. Nobody else is ever given a task.

use axum::http::StatusCode;
use axum::response::Response;

use crate::broker::hold::Held;
use crate::broker::tasks::{Owner, TaskError};
use crate::domain::json::{self, Node, edit};
use crate::domain::task::{Follows, Form, Task};
use crate::protocol::{TASKS_EXTENSION, code, jsonrpc, meta, method, version};
use crate::upstream::WireEra;

use super::Mcp;
use super::http::Incoming;
use super::stream::json_response;

mod call;
mod core;
mod extension;
mod listed;
mod remote;
mod watch;
mod wire;

pub(super) use call::{behind_a_task, or_task};
pub(super) use listed::offer;
pub(super) use remote::adopt;
pub(super) use watch::{Watch, tell_session, watched};

/// What a server of that version says of its tasks.
const CORE_CAPABILITY: &str = "{\"list\":{},\"cancel\":{},\"requests\":{\"tools\":{\"call\":{}}}}";

/// The form in which the client of this call may be given a task; none: it is held.
pub(super) fn form_of(incoming: &Incoming, params: Option<&Node<'_>>) -> Option<Form> {
    // Neither protocol knows tasks of anything else.
    if incoming.message.method != method::TOOLS_CALL {
        return None;
    }
    match incoming.era {
        WireEra::Modern => declares_extension(params).then_some(Form::Extension),
        WireEra::Legacy => {
            let asked = params.and_then(|p| p.get("task")).is_some_and(Node::is_object);
            (asked && speaks_core(incoming)).then_some(Form::Core)
        }
    }
}

fn declares_extension(params: Option<&Node<'_>>) -> bool {
    let declared = params.and_then(|p| {
        p.get("_meta")?.get(meta::CLIENT_CAPABILITIES)?.get("extensions")?.get(TASKS_EXTENSION)
    });
    declared.is_some_and(Node::is_object)
}

fn speaks_core(incoming: &Incoming) -> bool {
    incoming.session.as_ref().is_some_and(|s| s.version == version::V2025_11_25)
}

/// Adds what the client of this version may know of tasks to the capabilities of a server.
pub(super) fn advertise(capabilities: &str, version: &str) -> String {
    match version {
        version::V2025_11_25 => edit::with_missing(capabilities, &[("tasks", CORE_CAPABILITY)]),
        version::MODERN => {
            let extensions = json::object([(TASKS_EXTENSION, "{}")]);
            edit::with_missing(capabilities, &[("extensions", extensions)])
        }
        _ => capabilities.to_owned(),
    }
}

/// Answers a call that waits with a task. Given back, it is to be held.
pub(super) async fn create(
    mcp: &Mcp,
    incoming: &Incoming,
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

/// `tasks/…` of the modern era; none: there is no such method.
pub(super) async fn modern(
    mcp: &Mcp,
    incoming: &Incoming,
    params: Option<&Node<'_>>,
) -> Option<Response> {
    let method = incoming.message.method.as_str();
    if !matches!(method, method::TASKS_GET | method::TASKS_UPDATE | method::TASKS_CANCEL) {
        return None;
    }
    Some(if declares_extension(params) {
        match (task_id(params), theirs(mcp, incoming, params).await) {
            (Some(_), Some((task, id))) => remote::forward(mcp, incoming, params, task, &id).await,
            (Some(id), None) => extension::handle(mcp, incoming, params, id).await,
            (None, _) => no_id(incoming),
        }
    } else {
        undeclared(incoming)
    })
}

/// `tasks/…` of the legacy era; none: there is no such method.
pub(super) async fn legacy(
    mcp: &Mcp,
    incoming: &Incoming,
    params: Option<&Node<'_>>,
) -> Option<Response> {
    if !speaks_core(incoming) {
        return None;
    }
    if let Some((task, id)) = theirs(mcp, incoming, params).await {
        return match incoming.message.method.as_str() {
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

/// The upstream's own task that is meant, with its id there.
async fn theirs(
    mcp: &Mcp,
    incoming: &Incoming,
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

fn task_id<'n>(params: Option<&'n Node<'_>>) -> Option<&'n str> {
    params?.get("taskId")?.as_str()
}

fn no_id(incoming: &Incoming) -> Response {
    invalid(incoming, "params.taskId must be a string")
}

fn invalid(incoming: &Incoming, text: &str) -> Response {
    let error = jsonrpc::error(incoming.message.id_raw(), code::INVALID_PARAMS, text, None);
    json_response(StatusCode::OK, error)
}

/// The client did not declare the extension with this very request.
pub(super) fn undeclared(incoming: &Incoming) -> Response {
    let extensions = json::object([(TASKS_EXTENSION, "{}")]);
    let required = json::object([("extensions", extensions.as_str())]);
    let data = json::object([("requiredCapabilities", required.as_str())]);
    let text = format!("this needs the client capability extensions[{TASKS_EXTENSION:?}]");
    let id = incoming.message.id_raw();
    let error = jsonrpc::error(id, code::MISSING_CAPABILITY, &text, Some(&data));
    json_response(StatusCode::BAD_REQUEST, error)
}

fn owner(incoming: &Incoming) -> Owner {
    let form = match incoming.era {
        WireEra::Modern => Form::Extension,
        WireEra::Legacy => Form::Core,
    };
    Owner { agent: incoming.agent.clone(), upstream: incoming.upstream.clone(), form }
}

/// The upstream of the task that a request names, if it is the client's own.
pub(super) async fn upstream_of(
    mcp: &Mcp,
    incoming: &Incoming,
    params: Option<&Node<'_>>,
) -> Option<String> {
    let view = mcp.broker.peek_at_task(&owner(incoming), task_id(params)?).await.ok()?;
    Some(view.task.upstream)
}

/// Why a verb failed. Unknown, expired and foreign tasks are answered alike.
fn failed(incoming: &Incoming, error: &TaskError) -> Response {
    match error {
        TaskError::Unknown => invalid(incoming, "Task not found"),
        TaskError::Terminal(status) => invalid(
            incoming,
            &format!("Cannot cancel task: already in terminal status '{}'", status.as_str()),
        ),
        TaskError::TooMany => internal(incoming, &error.to_string()),
        TaskError::Store(error) => {
            tracing::error!(%error, "a task could not be looked up");
            internal(incoming, "the store is unavailable, try again")
        }
    }
}

fn internal(incoming: &Incoming, text: &str) -> Response {
    let error = jsonrpc::error(incoming.message.id_raw(), code::INTERNAL_ERROR, text, None);
    json_response(StatusCode::OK, error)
}
