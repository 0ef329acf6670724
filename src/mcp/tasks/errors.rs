//! The errors that answer task requests, in both protocols.

use axum::http::StatusCode;
use axum::response::Response;

use crate::broker::call::tasks::TaskError;
use crate::domain::json;
use crate::mcp::request::ClientRequest;
use crate::mcp::respond::json_response;
use crate::protocol::{TASKS_EXTENSION, code, jsonrpc};

pub(crate) fn no_id(incoming: &ClientRequest) -> Response {
    invalid(incoming, "params.taskId must be a string")
}

pub(crate) fn invalid(incoming: &ClientRequest, text: &str) -> Response {
    let error = jsonrpc::error(incoming.message.id_raw(), code::INVALID_PARAMS, text, None);
    json_response(StatusCode::OK, error)
}

/// The client did not declare the tasks extension with this very request
/// (<https://modelcontextprotocol.io/specification/2026-07-28/basic#error-codes>).
pub(crate) fn undeclared(incoming: &ClientRequest) -> Response {
    let extensions = json::object([(TASKS_EXTENSION, "{}")]);
    let required = json::object([("extensions", extensions.as_str())]);
    let data = json::object([("requiredCapabilities", required.as_str())]);
    let text = format!("this needs the client capability extensions[{TASKS_EXTENSION:?}]");
    let id = incoming.message.id_raw();
    let error = jsonrpc::error(id, code::MISSING_CAPABILITY, &text, Some(&data));
    json_response(StatusCode::BAD_REQUEST, error)
}

/// Why the broker could not do what was asked of a task. Unknown, expired and foreign tasks are
/// answered alike.
pub(crate) fn failed(incoming: &ClientRequest, error: &TaskError) -> Response {
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

pub(crate) fn internal(incoming: &ClientRequest, text: &str) -> Response {
    let error = jsonrpc::error(incoming.message.id_raw(), code::INTERNAL_ERROR, text, None);
    json_response(StatusCode::OK, error)
}
