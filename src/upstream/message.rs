//! JSON-RPC messages as text. What goes out is put together from raw slices and what comes in is
//! cut into raw slices, so that neither `params` nor a result is ever written anew.
//!
//! <https://modelcontextprotocol.io/specification/2025-11-25/basic#messages>

use serde::Deserialize;

use super::{Notification, Reply};
use crate::domain::json::{self, JsonError, Node};
use crate::protocol::{code, jsonrpc, method};

/// Longest foreign text in an error or a log line, characters.
pub(super) const MAX_QUOTE: usize = 300;

/// One message from the upstream.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Incoming {
    /// An answer; the id is none where it is not one of ours.
    Answer { id: Option<u64>, reply: Reply },
    /// A request of the server: its raw id, its method and its raw params.
    Request { id: String, method: String, params: Option<String> },
    /// A notification: a method without an id.
    Notification(Notification),
}

/// A text that is no message, and the request it seems to answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Unreadable {
    pub id: Option<u64>,
    /// Not JSON at all, as opposed to JSON that is refused.
    pub noise: bool,
    pub why: String,
}

/// `notifications/cancelled` for one of our requests
/// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/cancellation#cancellation-flow>).
pub(super) fn cancelled(id: u64) -> String {
    let params = format!("{{\"requestId\":{id},\"reason\":\"cancelled by the client\"}}");
    jsonrpc::notification(method::NOTIFICATIONS_CANCELLED, Some(&params))
}

/// Placet's own answer to a request of the server: to `ping`
/// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/ping>) an empty
/// result, to any other that there is no such method.
pub(super) fn answer_to(raw_id: &str, method: &str) -> String {
    if method == method::PING {
        return jsonrpc::result(raw_id, "{}");
    }
    let text = format!("Method not offered by this client: {}", printable(method));
    jsonrpc::error(raw_id, code::METHOD_NOT_FOUND, &text, None)
}

/// The client's answer to a request of the server, under the server's own id.
pub(super) fn answer_with(raw_id: &str, reply: &Reply) -> String {
    match reply {
        Reply::Result(raw) => jsonrpc::result(raw_id, raw),
        Reply::Error(raw) => jsonrpc::error_raw(raw_id, raw),
    }
}

/// The message of a raw JSON-RPC error, fit for a log or an error.
pub(super) fn error_text(error: &str) -> String {
    let parsed = json::parse(error).ok();
    let text = parsed.as_ref().and_then(|n| n.get("message")).and_then(Node::as_str);
    match (jsonrpc::error_code(error), text) {
        (Some(code), Some(text)) => format!("{code} {}", printable(text)),
        (Some(code), None) => code.to_string(),
        (None, _) => printable(error),
    }
}

/// Reads one text: a message, or a batch of them as 2025-03-26 allowed.
///
/// # Errors
/// [`Unreadable`]: no JSON, JSON that the strict reader refuses, or no JSON-RPC message.
pub(super) fn read(text: &str) -> Result<Vec<Incoming>, Unreadable> {
    let node = json::parse(text).map_err(|error| refused(text, &error))?;
    match node.elements() {
        Some(elements) => elements.iter().map(one).collect(),
        None => Ok(vec![one(&node)?]),
    }
}

/// Reads one text given as bytes.
///
/// # Errors
/// As [`read`]; [`Unreadable`] too where it is not UTF-8.
pub(super) fn read_bytes(bytes: &[u8]) -> Result<Vec<Incoming>, Unreadable> {
    match std::str::from_utf8(bytes) {
        Ok(text) => read(text),
        Err(_) => {
            Err(Unreadable { id: loose_id(bytes), noise: true, why: "it is not UTF-8".to_owned() })
        }
    }
}

fn refused(text: &str, error: &JsonError) -> Unreadable {
    // A key or a slice of the text may hold anything: it is quoted, and short.
    let why = printable(&error.to_string());
    Unreadable { id: loose_id(text.as_bytes()), noise: error.is_syntax(), why }
}

fn one(node: &Node<'_>) -> Result<Incoming, Unreadable> {
    let id = node.get("id");
    let own_id = id.and_then(Node::as_number).and_then(|digits| digits.parse::<u64>().ok());
    let unreadable =
        |why: &str| Unreadable { id: own_id, noise: own_id.is_none(), why: why.to_owned() };
    if let Some(method) = node.get("method") {
        let method = method.as_str().ok_or_else(|| unreadable("its method is not a string"))?;
        return Ok(match id {
            Some(id) => Incoming::Request {
                id: id.raw.to_owned(),
                method: method.to_owned(),
                params: node.get("params").map(|p| p.raw.to_owned()),
            },
            None => Incoming::Notification(Notification {
                method: method.to_owned(),
                params: node.get("params").map(|p| p.raw.to_owned()),
            }),
        });
    }
    match (node.get("result"), node.get("error")) {
        (Some(result), None) => {
            Ok(Incoming::Answer { id: own_id, reply: Reply::Result(result.raw.to_owned()) })
        }
        (None, Some(error)) if error.is_object() => {
            Ok(Incoming::Answer { id: own_id, reply: Reply::Error(error.raw.to_owned()) })
        }
        (None, Some(_)) => Err(unreadable("its error is not an object")),
        (Some(_), Some(_)) => Err(unreadable("it has a result and an error")),
        (None, None) => Err(unreadable("it has neither method, result nor error")),
    }
}

/// The id of a text that the strict reader refused, so that the one request it answers can be
/// told at once instead of waiting for its timeout.
fn loose_id(bytes: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Loose {
        id: Option<u64>,
    }
    serde_json::from_slice::<Loose>(bytes).ok()?.id
}

/// Foreign text made harmless and short: control, bidirectional and zero-width characters as
/// escapes, at most [`MAX_QUOTE`] characters.
pub(super) fn printable(text: &str) -> String {
    let mut out = String::new();
    for (n, c) in text.chars().enumerate() {
        if n == MAX_QUOTE {
            out.push('…');
            break;
        }
        let hidden = c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if hidden { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_and_errors_are_cut_out_as_they_were_sent() {
        let result = read(r#"{"jsonrpc":"2.0","id":7, "result": { "z":1.00,"a":"\u0041" } }"#);
        let error = read(r#"{"id":8,"error":{"code":-32602,"message":"no","x":1e2}}"#);

        let want = Reply::Result(r#"{ "z":1.00,"a":"\u0041" }"#.into());
        assert_eq!(result, Ok(vec![Incoming::Answer { id: Some(7), reply: want }]));
        let want = Reply::Error(r#"{"code":-32602,"message":"no","x":1e2}"#.into());
        assert_eq!(error, Ok(vec![Incoming::Answer { id: Some(8), reply: want }]));
    }

    #[test]
    fn an_answer_with_duplicate_keys_is_unreadable_and_names_its_request() {
        let found = read(r#"{"id":7,"result":{"a":1,"a":2}}"#).unwrap_err();

        assert_eq!((found.id, found.noise), (Some(7), false));
    }

    #[test]
    fn text_that_is_no_json_is_noise_of_nobody() {
        let found = read("Server listening on stdio").unwrap_err();

        assert_eq!((found.id, found.noise), (None, true));
    }

    #[test]
    fn an_answer_with_both_or_neither_is_unreadable() {
        assert_eq!(read(r#"{"id":7,"result":1,"error":{}}"#).unwrap_err().id, Some(7));
        assert_eq!(read(r#"{"id":7}"#).unwrap_err().id, Some(7));
    }

    #[test]
    fn a_ping_is_answered_and_everything_else_declined() {
        assert_eq!(answer_to("\"a\"", "ping"), r#"{"jsonrpc":"2.0","id":"a","result":{}}"#);
        assert!(answer_to("1", "sampling/createMessage").contains("\"code\":-32601"));
    }

    #[test]
    fn foreign_text_is_made_harmless_and_short() {
        assert_eq!(printable("a\u{1b}[31m\u{202e}b"), "a\\u{1b}[31m\\u{202e}b");
        assert_eq!(printable(&"x".repeat(MAX_QUOTE + 1)).chars().count(), MAX_QUOTE + 1);
    }
}
