//! The JSON-RPC envelope: read strictly, kept raw, answered with the caller's own id.
//!
//! <https://www.jsonrpc.org/specification>,
//! <https://modelcontextprotocol.io/specification/2025-11-25/basic#messages>. Stricter than these:
//! what two parsers could read differently (duplicate keys, keys that differ only in case) is
//! refused, so that the policy judges what the upstream will read.

use serde::Deserialize;

use crate::domain::json::{self, JsonError, Node};
use crate::protocol::code;
use crate::upstream::Reply;

const TOP_KEYS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];
const PARAM_KEYS: [&str; 14] = [
    "name",
    "arguments",
    "_meta",
    "task",
    "requestState",
    "inputResponses",
    "uri",
    "cursor",
    "taskId",
    "ref",
    "level",
    "requestId",
    "protocolVersion",
    "progressToken",
];

/// The three kinds of JSON-RPC messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MessageKind {
    /// Has a method and an id.
    Request,
    /// Has a method and no id.
    Notification,
    /// Has a result or an error.
    Response,
}

/// A message from a client.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// Request, notification or response.
    pub kind: MessageKind,
    /// The id as sent, raw JSON.
    pub id: Option<String>,
    /// The method; empty for a response.
    pub method: String,
    /// `params` as sent, raw JSON; shared by everything that is made of the message.
    pub params: Option<json::Text>,
    /// The result or error of a response; none for the other kinds.
    pub reply: Option<Reply>,
}

/// A message that is refused before anything looks at what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// JSON-RPC error code (<https://www.jsonrpc.org/specification#error_object>).
    pub code: i64,
    /// What is wrong, for people.
    pub message: String,
    /// The id, where it could be read; raw JSON.
    pub id: Option<String>,
}

impl Message {
    /// Reads one message.
    ///
    /// # Errors
    /// [`Refused`]: not JSON or not UTF-8 (-32700); a batch, a duplicate key, a key that equals a
    /// known one but for case, too deep, a lone surrogate, not a JSON-RPC 2.0 message (-32600).
    pub(crate) fn read(body: &[u8]) -> Result<Self, Refused> {
        Self::read_within(body, usize::MAX)
    }

    /// Reads one message of at most `max_nodes` values.
    ///
    /// # Errors
    /// [`Refused`]: as [`Message::read`], and -32600 for more values.
    pub(crate) fn read_within(body: &[u8], max_nodes: usize) -> Result<Self, Refused> {
        let body = json::without_mark(body);
        let refuse = |code, message: String| Refused { code, message, id: readable_id(body) };
        let text = std::str::from_utf8(body)
            .map_err(|_| refuse(code::PARSE_ERROR, "the body is not UTF-8".to_owned()))?;
        let node = json::parse_within(text, max_nodes).map_err(|error| match error {
            JsonError::TooMany { limit } => {
                let text =
                    format!("the message has more than {limit} values (server.max_message_nodes)");
                refuse(code::INVALID_REQUEST, text)
            }
            JsonError::Syntax { .. } => refuse(code::PARSE_ERROR, error.to_string()),
            other => refuse(code::INVALID_REQUEST, other.to_string()),
        })?;
        let invalid = |message: &str| refuse(code::INVALID_REQUEST, message.to_owned());
        if node.elements().is_some() {
            return Err(invalid("batches are refused: send one message at a time"));
        }
        let Some(members) = node.members() else {
            return Err(invalid("a message is a JSON object"));
        };
        let params = node.get("params");
        let sent = members.iter().map(|m| (m.key.as_ref(), &TOP_KEYS[..])).chain(
            params
                .and_then(Node::members)
                .unwrap_or_default()
                .iter()
                .map(|m| (m.key.as_ref(), &PARAM_KEYS[..])),
        );
        for (key, known) in sent {
            if let Some(like) = known.iter().find(|k| json::differ_by_case(k, key)) {
                return Err(invalid(&format!(
                    "key {key:?} differs from {like:?} only in case: servers may read it as that"
                )));
            }
        }
        if node.get("jsonrpc").and_then(Node::as_str) != Some("2.0") {
            return Err(invalid("jsonrpc must be \"2.0\""));
        }
        let id = match node.get("id") {
            None => None,
            Some(id) if id.as_str().is_some() => Some(id.raw.to_owned()),
            Some(id) if id.as_number().is_some_and(is_integer) => Some(id.raw.to_owned()),
            Some(_) => return Err(invalid("id must be a string or an integer")),
        };
        let is_answer = node.get("result").is_some() || node.get("error").is_some();
        let method = match (node.get("method").map(Node::as_str), is_answer) {
            (Some(Some(method)), false) => method.to_owned(),
            (None, true) => String::new(),
            (Some(_), true) => return Err(invalid("a message has a method or a result, not both")),
            _ => return Err(invalid("method must be a string")),
        };
        if params.is_some_and(|p| !p.is_object()) {
            return Err(Refused {
                code: code::INVALID_PARAMS,
                message: "params must be an object".to_owned(),
                id,
            });
        }
        let kind = match (is_answer, &id) {
            (true, _) => MessageKind::Response,
            (false, Some(_)) => MessageKind::Request,
            (false, None) => MessageKind::Notification,
        };
        let reply = match (node.get("result"), node.get("error")) {
            (Some(result), None) => Some(Reply::Result(result.raw.to_owned())),
            (None, Some(error)) => Some(Reply::Error(error.raw.to_owned())),
            (Some(_), Some(_)) => {
                return Err(invalid("a response has a result or an error, not both"));
            }
            (None, None) => None,
        };
        Ok(Self { kind, id, method, params: params.map(json::Text::of), reply })
    }

    /// The id of a request, raw JSON; `null` where there is none.
    pub(crate) fn id_raw(&self) -> &str {
        self.id.as_deref().unwrap_or("null")
    }
}

/// MCP narrows the ids of JSON-RPC to strings and integers
/// (<https://modelcontextprotocol.io/specification/2025-11-25/basic#messages>).
fn is_integer(digits: &str) -> bool {
    !digits.contains(['.', 'e', 'E'])
}

/// The id of a message that is refused, if a lenient reader finds one.
fn readable_id(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Lenient<'a> {
        #[serde(borrow)]
        id: Option<&'a serde_json::value::RawValue>,
    }
    let id = serde_json::from_slice::<Lenient<'_>>(body).ok()?.id?.get();
    let node = json::parse(id).ok()?;
    (node.as_str().is_some() || node.as_number().is_some_and(is_integer)).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> Refused {
        Message::read(body.as_bytes()).unwrap_err()
    }

    #[test]
    fn params_stay_as_sent() {
        let body = r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{ "name":"t", "arguments":{"n":1.00} }}"#;

        let message = Message::read(body.as_bytes()).unwrap();

        assert_eq!(message.kind, MessageKind::Request);
        assert_eq!(message.params.as_deref(), Some(r#"{ "name":"t", "arguments":{"n":1.00} }"#));
        assert_eq!(message.id_raw(), "\"a\"");
    }

    #[test]
    fn a_byte_order_mark_before_a_message_is_ignored() {
        let body = "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}";

        assert_eq!(Message::read(body.as_bytes()).unwrap().method, "ping");
        assert_eq!(refused("\u{feff}\u{feff}{}").code, code::PARSE_ERROR);
    }

    #[test]
    fn what_is_not_json_or_not_utf_8_is_a_parse_error() {
        assert_eq!(refused("{").code, code::PARSE_ERROR);
        assert_eq!(Message::read(b"\"\xff\"").unwrap_err().code, code::PARSE_ERROR);
    }

    #[test]
    fn what_parsers_could_read_differently_is_refused_with_its_id() {
        for body in [
            r#"{"jsonrpc":"2.0","id":7,"method":"m","params":{"name":"a","n\u0061me":"b"}}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":"m","params":{"a":{"b":1,"b":2}}}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":"m","params":{"Name":"a"}}"#,
            r#"{"jsonrpc":"2.0","id":7,"Method":"x","method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":"m","params":{"argument\u017f":{}}}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":"m","params":{"tas\u212a":{}}}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":"m","params":{"a":"\ud800"}}"#,
        ] {
            let refused = refused(body);
            assert_eq!(
                (refused.code, refused.id.as_deref()),
                (code::INVALID_REQUEST, Some("7")),
                "{body}"
            );
        }
        assert_eq!(refused("[]").code, code::INVALID_REQUEST);
    }

    #[test]
    fn ids_are_strings_or_integers() {
        for id in ["null", "1.5", "{}", "1e3"] {
            let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"m"}}"#);
            assert_eq!(refused(&body).code, code::INVALID_REQUEST, "{id}");
        }
    }
}
