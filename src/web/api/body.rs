//! Request bodies, read strictly: unknown fields and wrong types are refused by name.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;

use crate::domain::approval::MAX_REASON;
use crate::domain::json::{self, Node};

use super::super::error::{Code, Problem};

/// How alike two names must be for one to be suggested in place of the other.
const ALIKE: f64 = 0.7;

/// A request's body as text.
///
/// # Errors
/// `too_large` over `server.max_form`; `invalid_request` if it breaks off or is not UTF-8.
pub(crate) fn text(body: Result<Bytes, BytesRejection>) -> Result<String, Problem> {
    let bytes = body.map_err(|rejection| unread(&rejection))?;
    String::from_utf8(bytes.into()).map_err(|_| Problem::invalid("the body is not UTF-8"))
}

/// What is said of a body that was not read to its end.
pub(crate) fn unread(rejection: &BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::new(Code::TooLarge, "the body is larger than server.max_form");
    }
    Problem::invalid("the body could not be read to its end")
}

/// A JSON object whose fields are all known.
#[derive(Debug)]
pub(crate) struct Body<'a> {
    node: Node<'a>,
}

impl<'a> Body<'a> {
    /// Reads the object; `known` are the fields it may have.
    ///
    /// # Errors
    /// `invalid_request`: not JSON, not an object, a key twice, or a field that is not in `known`.
    pub(crate) fn read(text: &'a str, known: &[&str]) -> Result<Self, Problem> {
        let node = json::parse(text)
            .map_err(|error| Problem::invalid(format!("the body can't be read: {error}")))?;
        let members =
            node.members().ok_or_else(|| Problem::invalid("the body must be a JSON object"))?;
        if let Some(unknown) = members.iter().find(|m| !known.contains(&m.key.as_ref())) {
            return Err(Problem::invalid(unknown_field(&unknown.key, known)));
        }
        Ok(Self { node })
    }

    /// A string field; none if it is absent.
    ///
    /// # Errors
    /// `invalid_request`: the field is there and is not a string.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, Problem> {
        let Some(node) = self.node.get(name) else { return Ok(None) };
        node.as_str().map(|t| Some(t.to_owned())).ok_or_else(|| wrong(name, "a string", node))
    }

    /// A boolean field; none if it is absent.
    ///
    /// # Errors
    /// `invalid_request`: the field is there and is neither true nor false.
    pub(crate) fn truth(&self, name: &str) -> Result<Option<bool>, Problem> {
        let Some(node) = self.node.get(name) else { return Ok(None) };
        node.as_bool().map(Some).ok_or_else(|| wrong(name, "true or false", node))
    }

    /// `reason`: empty where absent, at most [`MAX_REASON`] characters.
    ///
    /// # Errors
    /// `invalid_request`: not a string, or longer than [`MAX_REASON`].
    pub(crate) fn reason(&self) -> Result<String, Problem> {
        let reason = self.text("reason")?.unwrap_or_default();
        let length = reason.chars().count();
        if length > MAX_REASON {
            return Err(Problem::invalid(format!(
                "reason has {length} characters; at most {MAX_REASON}"
            )));
        }
        Ok(reason)
    }
}

fn wrong(name: &str, wanted: &str, node: &Node<'_>) -> Problem {
    Problem::invalid(format!("{name} must be {wanted}, not {}", node.kind()))
}

fn unknown_field(name: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|k| (strsim::jaro_winkler(name, k), k))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, near)) => format!("unknown field {name:?}; did you mean {near:?}?"),
        None => format!("unknown field {name:?}; known are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let read = Body::read(text, &["decision", "reason"]);
        read.and_then(|b| b.reason()).unwrap_err().detail
    }

    #[test]
    fn what_is_wrong_with_a_body_is_named() {
        assert!(refusal("{\"decisoin\":1}").contains("did you mean \"decision\"?"));
        assert!(refusal("{\"zzz\":1}").contains("known are decision, reason"));
        assert!(refusal("{\"reason\":1}").contains("must be a string, not number"));
        assert!(refusal("[]").contains("must be a JSON object"));
        assert!(refusal("").contains("can't be read"));
        assert!(refusal("{\"reason\":\"a\",\"reason\":\"b\"}").contains("duplicate key"));
    }

    #[test]
    fn a_reason_has_a_longest_length_in_characters() {
        let of = |n: usize| format!("{{\"reason\":\"{}\"}}", "é".repeat(n));

        assert!(refusal(&of(MAX_REASON + 1)).contains("2001 characters; at most 2000"));
        assert!(Body::read(&of(MAX_REASON), &["reason"]).unwrap().reason().is_ok());
    }
}
