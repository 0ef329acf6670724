//! JSON-RPC messages as text. What goes out is put together from raw slices and what comes in is
//! cut into raw slices, so that neither `params` nor a result is ever written anew.
//!
//! <https://modelcontextprotocol.io/specification/2025-11-25/basic#messages>

use std::borrow::Cow;

use super::{Notification, Reply};
use crate::domain::json::{self, lenient};
use crate::protocol::{code, jsonrpc, method};

/// Longest foreign text in an error or a log line, characters.
pub(super) const MAX_QUOTE: usize = 300;

/// One message from the upstream.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Incoming {
    /// An answer.
    Answer { to: Whose, reply: Reply },
    /// A request of the server: its raw id, its method and its raw params.
    Request { id: String, method: String, params: Option<String> },
    /// A notification: a method without an id.
    Notification(Notification),
}

/// Which request an answer says it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// The one of this id, however the id was spelled.
    Request(u64),
    /// It does not say: its id is `null` or missing.
    Unsaid,
    /// One that was never sent.
    Nobody,
}

impl Whose {
    /// Reads a raw id. Some servers give a number back as text, or as the fraction that their
    /// language makes of every number.
    fn read(id: Option<&str>) -> Self {
        let Some(raw) = id.filter(|raw| *raw != "null") else { return Self::Unsaid };
        let text = lenient::string(raw).unwrap_or(Cow::Borrowed(raw));
        json::whole_number(&text).map_or(Self::Nobody, Self::Request)
    }

    fn request(self) -> Option<u64> {
        match self {
            Self::Request(id) => Some(id),
            Self::Unsaid | Self::Nobody => None,
        }
    }
}

/// A text that is no message, and the request it seems to answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Unreadable {
    pub id: Option<u64>,
    /// Nothing in it belongs to anybody.
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
    let text = lenient::member(error, "message").and_then(lenient::string);
    match (jsonrpc::error_code(error), text) {
        (Some(code), Some(text)) => format!("{code} {}", printable(&text)),
        (Some(code), None) => code.to_string(),
        (None, _) => printable(error),
    }
}

/// A result as JSON that Placet can read itself, whatever the upstream made of it.
pub(super) fn readable(raw: &str) -> Cow<'_, str> {
    lenient::readable(raw, &str::to_owned).unwrap_or(Cow::Borrowed(raw))
}

/// Reads one text: a message, or a batch of them as 2025-03-26 allowed. What is inside a result or
/// an error is not looked at: it passes as it came.
///
/// # Errors
/// [`Unreadable`]: no JSON object, or one that is no JSON-RPC message.
pub(super) fn read(text: &str) -> Result<Vec<Incoming>, Unreadable> {
    let Some(elements) = lenient::elements(text) else { return Ok(vec![one(text)?]) };
    let (mut messages, mut noise) = (Vec::new(), None);
    for element in elements {
        match one(element) {
            Ok(message) => messages.push(message),
            Err(what) => noise = Some(what),
        }
    }
    let answers = messages.iter().any(|m| matches!(m, Incoming::Answer { .. }));
    match noise {
        // Where it answers a request, that is told at once; but not at the cost of other answers.
        Some(what) if messages.is_empty() || (what.id.is_some() && !answers) => Err(what),
        _ => Ok(messages),
    }
}

/// Reads one text given as bytes. What is not UTF-8 in it is replaced as decoders do, and U+0000,
/// which no database keeps in a text, by its escape.
///
/// # Errors
/// As [`read`].
pub(super) fn read_bytes(bytes: &[u8]) -> Result<Vec<Incoming>, Unreadable> {
    let text = String::from_utf8_lossy(bytes);
    if text.contains('\0') { read(&text.replace('\0', "\\u0000")) } else { read(&text) }
}

/// Whether a text that can't be read begins as a JSON-RPC message does, so that somebody waits for it.
pub(super) fn seems_a_message(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let first = lenient::first_members(&text);
    let has = |key| lenient::last(&first, key).is_some();
    !has("method") && (has("jsonrpc") || has("result") || has("error"))
}

fn one(text: &str) -> Result<Incoming, Unreadable> {
    let unreadable =
        |id: Option<u64>, why: String| Unreadable { id, noise: id.is_none(), why: printable(&why) };
    let Some(members) = lenient::members(text) else {
        // So that the one request it answers can be told at once, instead of at its timeout.
        let first = lenient::first_members(text);
        let is_theirs = lenient::last(&first, "method").is_some();
        let id = Whose::read(lenient::last(&first, "id").filter(|_| !is_theirs)).request();
        let why = json::parse(text).err().map_or("it is no object".to_owned(), |e| e.to_string());
        return Err(unreadable(id, why));
    };
    let member = |key: &str| lenient::last(&members, key);
    let said = |key: &str| member(key).filter(|raw| *raw != "null");
    let to = Whose::read(member("id"));
    let (result, error) = (member("result"), said("error"));
    let no_result = result.is_none_or(|raw| raw == "null");
    if let Some(method) = said("method").filter(|_| no_result && error.is_none()) {
        let method = lenient::string(method)
            .ok_or_else(|| unreadable(to.request(), "its method is not a string".to_owned()))?
            .into_owned();
        let params = said("params").map(str::to_owned);
        return Ok(match said("id") {
            Some(id) => Incoming::Request { id: id.to_owned(), method, params },
            None => Incoming::Notification(Notification { method, params }),
        });
    }
    let reply = match (result, error) {
        (_, Some(error)) if no_result || is_told(error) => Reply::Error(error_object(error)),
        (Some(result), _) => Reply::Result(result.to_owned()),
        (None, _) => {
            let why = "it has neither method, result nor error";
            return Err(unreadable(to.request(), why.to_owned()));
        }
    };
    Ok(Incoming::Answer { to, reply })
}

/// Whether an error beside a result tells of one: some write an empty one where there is none.
fn is_told(error: &str) -> bool {
    lenient::members(error).is_some_and(|members| !members.is_empty())
}

/// An error as it came, or where it is no object the object that says the same.
fn error_object(raw: &str) -> String {
    if raw.starts_with('{') {
        return raw.to_owned();
    }
    let text = lenient::string(raw).unwrap_or(Cow::Borrowed(raw));
    jsonrpc::error_object(code::INTERNAL_ERROR, &text, None)
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
mod tests;
