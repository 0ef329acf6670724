//! The methods of the extension `io.modelcontextprotocol/tasks`: flat tasks, whose result or error
//! stands in the answer to `tasks/get`.
//!
//! <https://modelcontextprotocol.io/extensions/tasks/overview>

use axum::http::StatusCode;
use axum::response::Response;

use crate::broker::call::result_delivery::OwedResult;
use crate::broker::call::tasks::{TaskError, View};
use crate::domain::json::{self, Node, edit};
use crate::domain::task::Status;
use crate::mcp::request::ClientRequest;
use crate::mcp::respond::json_response;
use crate::mcp::{Mcp, response};
use crate::protocol::{code, jsonrpc, method};

use super::errors::{failed, invalid};
use super::form::owner;
use super::wire;

/// The result of `tasks/update` and `tasks/cancel`, raw JSON.
const DONE: &str = "{\"resultType\":\"complete\"}";

/// Answers `tasks/get`, `tasks/update` and `tasks/cancel` about a task that Placet made.
pub(crate) async fn handle(
    mcp: &Mcp,
    incoming: &ClientRequest,
    params: Option<&Node<'_>>,
    id: &str,
) -> Response {
    match incoming.message.method.as_str() {
        method::TASKS_GET => get(mcp, incoming, id).await,
        method::TASKS_UPDATE => update(mcp, incoming, params, id).await,
        _ => cancel(mcp, incoming, id).await,
    }
}

async fn get(mcp: &Mcp, incoming: &ClientRequest, id: &str) -> Response {
    let view = match mcp.broker.look_at_task(&owner(incoming), id).await {
        Ok(view) => view,
        Err(error) => return failed(incoming, &error),
    };
    let (task, tale) = detailed(mcp, incoming, &view).await;
    let result = edit::with_missing(&task, &[("resultType", "\"complete\"")]);
    if let Some(tale) = tale {
        tale.handed_over();
    }
    json_response(StatusCode::OK, jsonrpc::result(incoming.message.id_raw(), &result))
}

/// A task with the members its status demands (raw JSON), and the owed result that it tells.
pub(crate) async fn detailed(
    mcp: &Mcp,
    incoming: &ClientRequest,
    view: &View,
) -> (String, Option<OwedResult>) {
    let mut view = view.clone();
    let mut told = None;
    let mut end = None;
    if view.status.is_terminal()
        && view.status != Status::Cancelled
        && let Some((answer, tale)) = mcp.broker.end_of_task(&view).await
    {
        // Asked at the one address, it is answered in the terms of its own upstream.
        let upstream = view.task.upstream.clone();
        let incoming = &ClientRequest { upstream, ..incoming.clone() };
        let (_, body) = response::of_call(mcp, incoming, answer).await;
        let node = json::parse(&body).ok();
        let member = |key: &str| Some(node.as_ref()?.get(key)?.raw.to_owned());
        // What this client can't be given as a result is an error to it, and the other way round.
        (view.status, end) = match (member("result"), member("error")) {
            (Some(result), _) => (Status::Completed, Some(("result", result))),
            (None, error) => (
                Status::Failed,
                Some((
                    "error",
                    error.unwrap_or_else(|| {
                        json::object([("code", code::INTERNAL_ERROR.to_string().as_str())])
                    }),
                )),
            ),
        };
        told = tale;
    }
    let mut members = wire::extension(mcp, &view);
    members.extend(end);
    members.extend(
        view.input_requests.clone().map(|input_requests| ("inputRequests", input_requests)),
    );
    members.extend(wire::waiting(mcp, &view));
    (wire::object(&members), told)
}

async fn update(
    mcp: &Mcp,
    incoming: &ClientRequest,
    params: Option<&Node<'_>>,
    id: &str,
) -> Response {
    let answers = params.and_then(|p| p.get("inputResponses")).filter(|a| a.is_object());
    let Some(answers) = answers else {
        return invalid(incoming, "params.inputResponses must be an object");
    };
    match mcp.broker.answer_task(&owner(incoming), id, answers.raw).await {
        Ok(()) => acknowledged(incoming),
        Err(error) => failed(incoming, &error),
    }
}

async fn cancel(mcp: &Mcp, incoming: &ClientRequest, id: &str) -> Response {
    match mcp.broker.end_task(&owner(incoming), id).await {
        // A task that has ended may be cancelled again: nothing changes.
        Ok(_) | Err(TaskError::Terminal(_)) => acknowledged(incoming),
        Err(error) => failed(incoming, &error),
    }
}

fn acknowledged(incoming: &ClientRequest) -> Response {
    json_response(StatusCode::OK, jsonrpc::result(incoming.message.id_raw(), DONE))
}
