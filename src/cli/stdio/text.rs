//! What the client is told when it can't use the broker's answer.

use reqwest::StatusCode;

use crate::domain::error_text::in_full;
use crate::domain::json::{self, Node};

/// What the broker says in a body that is not JSON-RPC: the `detail` of a problem document
/// (<https://www.rfc-editor.org/rfc/rfc9457#section-3.1.4>).
pub(super) fn detail(status: StatusCode, body: &str) -> String {
    let said = json::parse(body)
        .ok()
        .and_then(|n| n.get("detail").and_then(Node::as_str).map(str::to_owned))
        .unwrap_or_else(|| "no readable answer".to_owned());
    format!("the broker answered {status}: {said}")
}

/// An error of the HTTP client in words.
pub(super) fn text_of(error: reqwest::Error) -> String {
    in_full(&error.without_url())
}
