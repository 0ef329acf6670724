//! What the client is told where the broker gave no answer it can use.

use reqwest::StatusCode;

use crate::domain::error_text::in_full;
use crate::domain::json::{self, Node};

/// What the broker says where it does not speak JSON-RPC.
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
