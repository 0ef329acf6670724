//! `tasks/get`, `tasks/cancel` and `tasks/list` in the core of 2025-11-25; `tasks/result`, which
//! waits for the end, is in `waiting`.

use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::broker::call::tasks::View;
use crate::domain::json::{self, Node};
use crate::domain::time::Timestamp;
use crate::mcp::Mcp;
use crate::mcp::request::ClientRequest;
use crate::mcp::respond::json_response;
use crate::protocol::jsonrpc;

use super::errors::{failed, invalid};
use super::form::owner;
use super::{remote, wire};

pub(crate) use waiting::result;

pub(crate) mod waiting;

/// Tasks on one page of the list.
const PAGE: u32 = 50;

fn task(mcp: &Mcp, incoming: &ClientRequest, view: &View) -> Response {
    let mut members = wire::core(mcp, view);
    members.extend(wire::waiting(mcp, view));
    let body = jsonrpc::result(incoming.message.id_raw(), &wire::object(&members));
    json_response(StatusCode::OK, body)
}

/// Answers `tasks/get` about a task that Placet made
/// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#getting-tasks>).
pub(crate) async fn get(mcp: &Mcp, incoming: &ClientRequest, id: &str) -> Response {
    match mcp.broker.look_at_task(&owner(incoming), id).await {
        Ok(view) => task(mcp, incoming, &view),
        Err(error) => failed(incoming, &error),
    }
}

/// Answers `tasks/cancel` about a task that Placet made
/// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#cancelling-tasks>).
pub(crate) async fn cancel(mcp: &Mcp, incoming: &ClientRequest, id: &str) -> Response {
    match mcp.broker.end_task(&owner(incoming), id).await {
        Ok(view) => task(mcp, incoming, &view),
        Err(error) => failed(incoming, &error),
    }
}

/// Answers `tasks/list`: the agent's tasks at this address, page by page
/// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#listing-tasks>).
pub(crate) async fn list(
    mcp: &Mcp,
    incoming: &ClientRequest,
    params: Option<&Node<'_>>,
) -> Response {
    let before = match params.and_then(|p| p.get("cursor")) {
        None => None,
        Some(cursor) => match cursor.as_str().and_then(place) {
            Some(place) => Some(place),
            None => return invalid(incoming, "params.cursor is not one that was given out"),
        },
    };
    let (views, next) = match mcp.broker.list_tasks(&owner(incoming), before, PAGE).await {
        Ok(page) => page,
        Err(error) => return failed(incoming, &error),
    };
    let tasks = views.iter().map(|view| remote::listed(mcp, incoming, view));
    let tasks: Vec<String> = futures_util::future::join_all(tasks).await;
    let mut members = vec![("tasks", json::array(tasks))];
    if let Some(next) = next {
        members.push(("nextCursor", json::quote(&cursor(&next))));
    }
    let body = jsonrpc::result(incoming.message.id_raw(), &wire::object(&members));
    json_response(StatusCode::OK, body)
}

/// Where a page ends, as an opaque text: Base64 (URL) of `{microseconds}.{task id}`.
fn cursor((at, id): &(Timestamp, String)) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}.{id}", at.micros()))
}

fn place(cursor: &str) -> Option<(Timestamp, String)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (at, id) = text.split_once('.')?;
    Some((Timestamp::from_micros(at.parse().ok()?), id.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_place_and_other_texts_to_none() {
        let end = (Timestamp::from_micros(-7), "tsk_1".to_owned());

        assert_eq!(place(&cursor(&end)), Some(end));
        assert_eq!(place("tsk_1"), None);
        assert_eq!(place(""), None);
    }
}
