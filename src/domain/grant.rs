//! A grant: who approved a call lets further calls like it through, a few times and for a while.
//!
//! Which calls are like it is its [`Shape`]: the same tool and the same members, where those the
//! reviewer freed may have any value and all others have the value that was approved.

use std::fmt;

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::approval::ApprovalId;
use super::call::{Method, ToolCall, hex, is_own_meta};
use super::json::{self, Node, Value};
use super::time::Timestamp;

/// Most members a shape tells apart; calls with more can't be granted.
pub const MAX_PATHS: usize = 200;

/// `grt_` and a UUIDv7 in 32 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GrantId(String);

impl GrantId {
    /// The id that is made of this UUID.
    pub fn new(id: uuid::Uuid) -> Self {
        Self(format!("grt_{}", id.simple()))
    }

    /// Reads an id; none if it does not look like one.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("grt_")?;
        (hex.len() == 32 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
            .then(|| Self(text.to_owned()))
    }

    /// As printed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why no shape can be made of a call.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ShapeError {
    /// The call is not a tool call, and grants are for tools alone.
    #[error("only calls of tools can be granted")]
    NotATool,
    /// The call has so many values, more than [`MAX_PATHS`].
    #[error("the call has {0} values; one with more than {MAX_PATHS} can't be granted")]
    TooLarge(usize),
    /// No value of the arguments stands at this JSON Pointer.
    #[error("{0:?} is no value of the call")]
    NoSuchPath(String),
}

/// Which calls a grant lets through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// SHA-256, in hex, of everything of the call but its arguments.
    pub rest: String,
    /// Values that stay: JSON Pointer into the arguments, and the value in canonical JSON.
    pub pinned: Vec<(String, String)>,
    /// JSON Pointers of those that may change.
    pub free: Vec<String>,
}

impl Shape {
    /// The shape of calls like this one, where the values at these JSON Pointers may differ.
    ///
    /// # Errors
    /// [`ShapeError`]: the call is not of a tool, has more than [`MAX_PATHS`] values, or has none
    /// at a freed pointer.
    pub fn of(call: &ToolCall, free: &[String]) -> Result<Self, ShapeError> {
        let values = values(call)?;
        if let Some(path) = free.iter().find(|f| !values.iter().any(|(path, _)| path == *f)) {
            return Err(ShapeError::NoSuchPath(path.clone()));
        }
        let (free, pinned): (Vec<_>, Vec<_>) =
            values.into_iter().partition(|(path, _)| free.contains(path));
        let free = free.into_iter().map(|(path, _)| path).collect();
        Ok(Self { rest: rest(call), pinned, free })
    }

    /// Whether it lets this call of the same tool through.
    pub fn fits(&self, call: &ToolCall) -> bool {
        let Ok(values) = values(call) else { return false };
        rest(call) == self.rest
            && self.pinned.iter().all(|pin| values.contains(pin))
            // A value that the approved call did not have was seen by no reviewer.
            && values.iter().all(|value| {
                self.free.contains(&value.0) || self.pinned.contains(value)
            })
    }
}

/// Every value of the arguments that is not an object with members, as JSON Pointer and canonical
/// JSON. A list is one value.
///
/// <https://www.rfc-editor.org/rfc/rfc6901>
///
/// # Errors
/// [`ShapeError`]: the call is not of a tool, or has more than [`MAX_PATHS`] values.
pub fn values(call: &ToolCall) -> Result<Vec<(String, String)>, ShapeError> {
    if call.method != Method::CallTool {
        return Err(ShapeError::NotATool);
    }
    let raw = call.arguments();
    let mut found = Vec::new();
    if let Ok(arguments) = json::parse(&raw) {
        collect(&arguments, "", &mut found);
    }
    if found.len() > MAX_PATHS { Err(ShapeError::TooLarge(found.len())) } else { Ok(found) }
}

fn collect(node: &Node<'_>, place: &str, found: &mut Vec<(String, String)>) {
    match &node.value {
        Value::Object(members) if !members.is_empty() => {
            for member in members {
                let key = member.key.replace('~', "~0").replace('/', "~1");
                collect(&member.node, &format!("{place}/{key}"), found);
            }
        }
        // A call without arguments has the empty object for them, and no values.
        Value::Object(_) if place.is_empty() => {}
        _ => found.push((place.to_owned(), node.canonical())),
    }
}

/// What of a call is not its arguments: members that MCP does not know, and `_meta` but for the
/// protocol's own keys.
fn rest(call: &ToolCall) -> String {
    let mut parts = Vec::new();
    if let Ok(params) = json::parse(&call.params) {
        for member in params.members().unwrap_or_default() {
            if member.key == "_meta" {
                let all = member.node.members().unwrap_or_default().iter();
                let own = all.filter(|m| is_own_meta(&m.key));
                parts.extend(
                    own.map(|m| format!("_meta {}:{}", json::quote(&m.key), m.node.canonical())),
                );
            } else if !call.method.known_params().contains(&member.key.as_ref()) {
                parts.push(format!("{}:{}", json::quote(&member.key), member.node.canonical()));
            }
        }
    }
    parts.sort();
    hex(&Sha256::digest(parts.join(",")))
}

/// How a grant ended before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// When it ended.
    pub at: Timestamp,
    /// Who ended it: a reviewer's name, or `policy`.
    pub by: String,
    /// Why it ended, for people.
    pub reason: String,
}

/// One grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// The approval it was given with.
    pub approval: ApprovalId,
    /// The reviewer who gave it.
    pub by: String,
    /// The agent it is for.
    pub agent: String,
    /// Name of the upstream that the calls are for.
    pub upstream: String,
    /// Name of the tool that is called.
    pub tool: String,
    /// JSON Pointer of the rule that asks for approval, and offers grants.
    pub rule: String,
    /// Fingerprint of the policy it was given under, hex.
    pub policy: String,
    /// Fingerprint of the tool's definition it was given under, hex.
    pub tool_fingerprint: String,
    /// Which calls it lets through.
    pub shape: Shape,
    /// How many calls it lets through at most.
    pub max_uses: u32,
    /// How many calls it has let through so far.
    pub used: u32,
    /// When it was given.
    pub created_at: Timestamp,
    /// Until when it holds.
    pub expires_at: Timestamp,
    /// How it ended before that, if it did.
    pub ended: Option<Ended>,
}

/// Where a grant stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantState {
    /// It lets calls through.
    Open,
    /// Every use was made.
    UsedUp,
    /// Its time is over.
    Expired,
    /// A reviewer revoked it, or the policy or the tool changed.
    Ended,
}

impl GrantState {
    /// The word of the interface.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::UsedUp => "used_up",
            Self::Expired => "expired",
            Self::Ended => "ended",
        }
    }
}

impl Grant {
    /// Where it stands.
    pub fn state(&self, now: Timestamp) -> GrantState {
        if self.ended.is_some() {
            GrantState::Ended
        } else if self.used >= self.max_uses {
            GrantState::UsedUp
        } else if self.expires_at <= now {
            GrantState::Expired
        } else {
            GrantState::Open
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(params: &str) -> ToolCall {
        ToolCall::read("images", params).unwrap()
    }

    fn with(arguments: &str) -> ToolCall {
        call(&format!(r#"{{"name":"t","arguments":{arguments}}}"#))
    }

    const APPROVED: &str = r#"{"store":"prod","id":"7f","opts":{"dry":true,"tags":[1,2]}}"#;

    #[test]
    fn freed_values_may_differ_and_all_others_must_be_as_approved() {
        let shape = Shape::of(&with(APPROVED), &["/id".to_owned()]).unwrap();

        for (arguments, fits) in [
            (APPROVED, true),
            (r#"{"id":{"$ne":1},"store":"prod","opts":{"dry":true,"tags":[1,2]}}"#, false),
            (r#"{"id":[8],"store":"prod","opts":{"tags":[1,2],"dry":true}}"#, true),
            (r#"{"store":"prod","opts":{"dry":true,"tags":[1,2]}}"#, true),
            (r#"{"id":"7f","store":"test","opts":{"dry":true,"tags":[1,2]}}"#, false),
            (r#"{"id":"7f","store":"prod","opts":{"dry":true,"tags":[2,1]}}"#, false),
            (r#"{"id":"7f","store":"prod","opts":{"dry":true}}"#, false),
            (r#"{"id":"7f","store":"prod","opts":{"dry":true,"tags":[1,2]},"force":true}"#, false),
            (r#"{"id":"7f","store":"prod","opts":{"dry":true,"tags":[1,2],"x":1}}"#, false),
            (r#"{"id":"7f","store":"prod","opts":{"dry":1,"tags":[1,2]}}"#, false),
            (r#"{"id":"7f","store":"prod","opts":{"dry":true,"tags":[1.0,2]}}"#, false),
            ("{}", false),
        ] {
            assert_eq!(shape.fits(&with(arguments)), fits, "{arguments}");
        }
    }

    #[test]
    fn what_is_not_an_argument_must_be_the_same() {
        let shape = Shape::of(&call(r#"{"name":"t","arguments":{},"dry":true}"#), &[]).unwrap();

        assert!(shape.fits(&call(
            r#"{"dry":true,"name":"t","_meta":{"progressToken":1,"io.modelcontextprotocol/x":2}}"#
        )));
        assert!(!shape.fits(&call(r#"{"name":"t"}"#)));
        assert!(!shape.fits(&call(r#"{"name":"t","dry":false}"#)));
        assert!(!shape.fits(&call(r#"{"name":"t","dry":true,"_meta":{"own":1}}"#)));
    }

    #[test]
    fn keys_with_slashes_and_tildes_are_pointers_of_their_own() {
        let shape = Shape::of(&with(r#"{"a/b":1,"a":{"b":2},"c~":3}"#), &["/a~1b".to_owned()]);
        let shape = shape.unwrap();

        assert!(shape.fits(&with(r#"{"a/b":9,"a":{"b":2},"c~":3}"#)));
        assert!(!shape.fits(&with(r#"{"a/b":1,"a":{"b":9},"c~":3}"#)));
        assert_eq!(shape.pinned[1].0, "/c~0");
    }

    #[test]
    fn what_can_not_be_granted_says_why() {
        let free = |path: &str| Shape::of(&with(r#"{"a":{"b":1}}"#), &[path.to_owned()]);
        assert_eq!(free("/a"), Err(ShapeError::NoSuchPath("/a".to_owned())));
        let many: Vec<String> = (0..=MAX_PATHS).map(|n| format!("\"{n}\":0")).collect();
        let many = with(&format!("{{{}}}", many.join(",")));
        assert_eq!(Shape::of(&many, &[]), Err(ShapeError::TooLarge(MAX_PATHS + 1)));
        let prompt = ToolCall::read_as(Method::GetPrompt, "u", r#"{"name":"t"}"#).unwrap();
        assert_eq!(Shape::of(&prompt, &[]), Err(ShapeError::NotATool));
    }
}
