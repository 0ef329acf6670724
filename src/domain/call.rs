//! One call as data: what is asked for, by whom, and the digest that names it. A tool that is
//! called, a prompt that is fetched and a resource that is read are all calls.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::json::{self, JsonError, Node, edit};
use super::shown_uri::shown_uri;

/// Prefix of `_meta` keys that belong to the protocol, not to the call.
///
/// <https://modelcontextprotocol.io/specification/2026-07-28/basic#_meta>
pub const PROTOCOL_META_PREFIX: &str = "io.modelcontextprotocol/";

/// How a call is made: by which request of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// A tool is called: `tools/call`.
    ///
    /// <https://modelcontextprotocol.io/specification/2025-11-25/server/tools#calling-tools>
    CallTool,
    /// A prompt is fetched: `prompts/get`.
    ///
    /// <https://modelcontextprotocol.io/specification/2025-11-25/server/prompts#getting-a-prompt>
    GetPrompt,
    /// A resource is read: `resources/read`.
    ///
    /// <https://modelcontextprotocol.io/specification/2025-11-25/server/resources#reading-resources>
    ReadResource,
}

impl Method {
    /// All methods.
    pub const ALL: [Self; 3] = [Self::CallTool, Self::GetPrompt, Self::ReadResource];

    /// The protocol's name for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CallTool => "tools/call",
            Self::GetPrompt => "prompts/get",
            Self::ReadResource => "resources/read",
        }
    }

    /// Reads the protocol's name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.as_str() == text)
    }

    /// What is called.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::CallTool => "tool",
            Self::GetPrompt => "prompt",
            Self::ReadResource => "resource",
        }
    }

    /// The member of `params` that names what is called.
    pub const fn name_key(self) -> &'static str {
        match self {
            Self::CallTool | Self::GetPrompt => "name",
            Self::ReadResource => "uri",
        }
    }

    /// Members of `params` that have a place of their own or belong to the protocol; every other
    /// one is an extra member, and part of the digest.
    pub const fn known_params(self) -> &'static [&'static str] {
        match self {
            Self::CallTool => {
                &["name", "arguments", "_meta", "task", "requestState", "inputResponses"]
            }
            Self::GetPrompt => &["name", "arguments", "_meta", "requestState", "inputResponses"],
            Self::ReadResource => &["uri", "_meta", "requestState", "inputResponses"],
        }
    }

    /// The extra members of `params` as an object in JSON; none where there are none.
    pub fn further_members(self, params: &Node<'_>) -> Option<String> {
        let extra = params.keep_members(|key| !self.known_params().contains(&key));
        (extra != "{}").then_some(extra)
    }
}

/// The name of exactly this call: `sha256:` and 64 lower-case hex digits over the canonical call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Digest(String);

impl Digest {
    /// As printed, with its prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = CallError;

    fn from_str(text: &str) -> Result<Self, CallError> {
        let hex = text.strip_prefix("sha256:").ok_or(CallError::NotADigest)?;
        if hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(CallError::NotADigest)
        }
    }
}

/// Why `params` is not a call.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CallError {
    /// The text itself is refused.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// `params` is missing or not an object.
    #[error("params must be an object")]
    ParamsNotAnObject,
    /// `params.name` (for a read, `params.uri`) is missing or not a string.
    #[error("params.{0} must be a string")]
    NoName(&'static str),
    /// `params.arguments` is there and not an object.
    #[error("params.arguments must be an object")]
    ArgumentsNotAnObject,
    /// `params._meta` is there and not an object.
    #[error("params._meta must be an object")]
    MetaNotAnObject,
    /// A text is not `sha256:` and 64 lower-case hex digits.
    #[error("a digest is \"sha256:\" and 64 lower-case hex digits")]
    NotADigest,
}

/// One call for one upstream, with the exact text of its `params`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// The request that it is made by.
    pub method: Method,
    /// Name of the upstream it is for.
    pub upstream: String,
    /// Name of the tool or prompt, URI of the resource; decoded.
    pub tool: String,
    /// `params` exactly as the agent sent it.
    pub params: Arc<str>,
    /// Covers the upstream, the tool, the arguments, the extra members and, unless it is a tool
    /// call, the method.
    pub digest: Digest,
}

impl ToolCall {
    /// Reads a `tools/call` out of its `params`.
    ///
    /// # Errors
    /// [`CallError`], when the text is refused or is not a call.
    pub fn read(upstream: &str, params: &str) -> Result<Self, CallError> {
        Self::read_as(Method::CallTool, upstream, params)
    }

    /// Reads a call out of the `params` of a request with this method.
    ///
    /// # Errors
    /// [`CallError`], when the text is refused or is not a call.
    pub fn read_as(method: Method, upstream: &str, params: &str) -> Result<Self, CallError> {
        Self::read_shared(method, upstream, &params.into())
    }

    /// The same, without a copy of `params`.
    ///
    /// # Errors
    /// As [`ToolCall::read_as`].
    pub fn read_shared(
        method: Method,
        upstream: &str,
        params: &Arc<str>,
    ) -> Result<Self, CallError> {
        Self::of_read(method, upstream, params, &json::parse(params)?)
    }

    /// The same, where `params` were read already: `node` is what they say.
    ///
    /// # Errors
    /// [`CallError`], when it is not a call.
    pub fn of_read(
        method: Method,
        upstream: &str,
        params: &Arc<str>,
        node: &Node<'_>,
    ) -> Result<Self, CallError> {
        if !node.is_object() {
            return Err(CallError::ParamsNotAnObject);
        }
        let key = method.name_key();
        let tool = node.get(key).and_then(Node::as_str).ok_or(CallError::NoName(key))?.to_owned();
        if method != Method::ReadResource && node.get("arguments").is_some_and(|a| !a.is_object()) {
            return Err(CallError::ArgumentsNotAnObject);
        }
        if node.get("_meta").is_some_and(|m| !m.is_object()) {
            return Err(CallError::MetaNotAnObject);
        }
        let digest = digest(method, upstream, &tool, node);
        Ok(Self { method, upstream: upstream.to_owned(), tool, params: Arc::clone(params), digest })
    }

    /// The arguments exactly as sent, a JSON object; `{}` where there were none. The arguments of a
    /// read are its URI.
    pub fn arguments(&self) -> Cow<'_, str> {
        if self.method == Method::ReadResource {
            return Cow::Owned(uri_arguments(&self.tool));
        }
        Cow::Borrowed(match json::parse(&self.params) {
            Ok(node) => node.get("arguments").map_or("{}", |a| a.raw),
            Err(_) => "{}",
        })
    }

    /// What is called, for lists and records: of a URI without user, query and fragment.
    pub fn shown_tool(&self) -> Cow<'_, str> {
        match self.method {
            Method::ReadResource => shown_uri(&self.tool),
            Method::CallTool | Method::GetPrompt => Cow::Borrowed(&self.tool),
        }
    }

    /// The arguments for lists and records, before values under secret names are masked: of a read,
    /// its URI as [`Self::shown_tool`].
    pub fn listed_arguments(&self) -> Cow<'_, str> {
        match self.method {
            Method::ReadResource => Cow::Owned(uri_arguments(&self.shown_tool())),
            Method::CallTool | Method::GetPrompt => self.arguments(),
        }
    }

    /// What is called, for people: the tool's name alone, anything else with its method.
    pub fn title(&self) -> Cow<'_, str> {
        match self.method {
            Method::CallTool => Cow::Borrowed(&self.tool),
            method => Cow::Owned(format!("{} {}", method.as_str(), self.shown_tool())),
        }
    }

    /// Whether the digest still fits the bytes. This is checked again before a stored call is sent.
    pub fn is_intact(&self) -> bool {
        Self::read_shared(self.method, &self.upstream, &self.params)
            .is_ok_and(|again| again.digest == self.digest && again.tool == self.tool)
    }

    /// `params` to send: the stored bytes, with the protocol's own `_meta` keys taken out.
    pub fn params_to_send(&self) -> Arc<str> {
        without_protocol_meta(&self.params)
    }
}

/// `params` with nothing of the protocol's in `_meta`, as [`params_with_meta`]; the very same text
/// where there is no `_meta`.
pub fn without_protocol_meta(params: &Arc<str>) -> Arc<str> {
    if !json::may_have(params, "_meta") {
        return Arc::clone(params);
    }
    match json::parse(params) {
        Ok(node) if node.get("_meta").is_some() => with_meta(&node, &[]).into(),
        _ => Arc::clone(params),
    }
}

/// `params` with another `_meta`, and every other byte as it was. Protocol keys and the progress
/// token are dropped, `meta` (key and raw JSON value each) is added. An empty `_meta` is left out.
pub fn params_with_meta(params: &str, meta: &[(&str, String)]) -> String {
    match json::parse(params) {
        Ok(node) if node.is_object() => with_meta(&node, meta),
        _ => params.to_owned(),
    }
}

fn with_meta(node: &Node<'_>, meta: &[(&str, String)]) -> String {
    let own = node.get("_meta").map_or_else(|| "{}".to_owned(), |m| m.keep_members(is_own_meta));
    match edit::with(&own, meta) {
        empty if empty == "{}" => node.keep_members(|key| key != "_meta"),
        meta => node.with(&[("_meta", meta)]),
    }
}

/// Whether a key of `_meta` is the sender's own, as opposed to the protocol's: a reserved prefix or
/// the progress token.
///
/// <https://modelcontextprotocol.io/specification/2026-07-28/basic#_meta>,
/// <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/progress#progress-flow>
pub fn is_own_meta(key: &str) -> bool {
    key != "progressToken" && !key.starts_with(PROTOCOL_META_PREFIX)
}

/// `params` without the member `task`, by which a client asks for a task in the core's protocol;
/// every other byte stays. None where there is no such member.
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#creating-tasks>
pub fn params_without_task(params: &str) -> Option<String> {
    if !json::may_have(params, "task") {
        return None;
    }
    let node = json::parse(params).ok()?;
    node.get("task")?;
    Some(node.keep_members(|key| key != "task"))
}

/// The arguments that conditions see of a read: an object with the member `uri`.
pub fn uri_arguments(uri: &str) -> String {
    format!("{{\"uri\":{}}}", json::quote(uri))
}

fn digest(method: Method, upstream: &str, tool: &str, params: &Node<'_>) -> Digest {
    let arguments = match method {
        // The name is the argument.
        Method::ReadResource => uri_arguments(tool),
        _ => params.get("arguments").map_or_else(|| "{}".to_owned(), Node::canonical),
    };
    let mut whole = format!("{{\"arguments\":{arguments},");
    if let Some(extra) = method.further_members(params) {
        // The members were just parsed out of a valid object, so they form one.
        let canonical = json::parse(&extra).map_or(extra.clone(), |n| n.canonical());
        whole.push_str(&format!("\"extra\":{canonical},"));
    }
    // Only a tool call leaves its method out, so that no other call can have the digest of one.
    if method != Method::CallTool {
        whole.push_str(&format!("\"method\":{},", json::quote(method.as_str())));
    }
    whole.push_str(&format!(
        "\"tool\":{},\"upstream\":{}}}",
        json::quote(tool),
        json::quote(upstream)
    ));
    Digest(format!("sha256:{}", hex(&Sha256::digest(whole.as_bytes()))))
}

/// The bytes as lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(params: &str) -> ToolCall {
        ToolCall::read("images", params).unwrap()
    }

    #[test]
    fn the_digest_ignores_spelling_but_not_value() {
        let a = call(r#"{"name":"t","arguments":{"b":1,"a":"x"}}"#);
        let b = call(r#"{ "arguments": {"a":"\u0078","b":1}, "name":"t", "_meta":{"id":7} }"#);
        let c = call(r#"{"name":"t","arguments":{"b":1.0,"a":"x"}}"#);

        assert_eq!(a.digest, b.digest);
        assert_ne!(a.digest, c.digest);
    }

    #[test]
    fn the_digest_is_the_hash_of_the_canonical_call() {
        let call = call(r#"{"name":"t"}"#);
        let canonical = r#"{"arguments":{},"tool":"t","upstream":"images"}"#;

        assert_eq!(call.digest.as_str(), format!("sha256:{}", hex(&Sha256::digest(canonical))));
    }

    #[test]
    fn what_is_no_tool_call_names_its_method_in_the_digest() {
        let as_method = |method, params: &str| ToolCall::read_as(method, "u", params).unwrap();
        let prompt = as_method(Method::GetPrompt, r#"{"name":"t","arguments":{"a":"b"}}"#);
        let read = as_method(Method::ReadResource, r#"{"uri":"a:b","_meta":{"x":1}}"#);

        let of = |canonical: &str| format!("sha256:{}", hex(&Sha256::digest(canonical)));
        let canonical =
            r#"{"arguments":{"a":"b"},"method":"prompts/get","tool":"t","upstream":"u"}"#;
        assert_eq!(prompt.digest.as_str(), of(canonical));
        let canonical =
            r#"{"arguments":{"uri":"a:b"},"method":"resources/read","tool":"a:b","upstream":"u"}"#;
        assert_eq!(read.digest.as_str(), of(canonical));
        assert_eq!(read.arguments(), r#"{"uri":"a:b"}"#);
        assert_eq!(
            (prompt.title().as_ref(), call(r#"{"name":"t"}"#).title().as_ref()),
            ("prompts/get t", "t")
        );
        assert!(prompt.is_intact() && read.is_intact());
        // A tool can't take another method's digest by an extra member of that name.
        let tool =
            ToolCall::read("u", r#"{"name":"t","arguments":{"a":"b"},"method":"prompts/get"}"#);
        assert_ne!(tool.unwrap().digest, prompt.digest);
    }

    #[test]
    fn whatever_a_read_carries_besides_its_uri_is_part_of_the_digest() {
        let read = |params: &str| ToolCall::read_as(Method::ReadResource, "u", params).unwrap();
        let plain = read(r#"{"uri":"a:b"}"#);

        for more in
            [r#""arguments":{"x":1}"#, r#""name":"n""#, r#""task":{"ttl":1}"#, r#""range":2"#]
        {
            let other = read(&format!(r#"{{"uri":"a:b",{more}}}"#));
            assert_ne!(other.digest, plain.digest, "{more}");
        }
        assert_eq!(
            ToolCall::read_as(Method::ReadResource, "u", r#"{"name":"t"}"#),
            Err(CallError::NoName("uri"))
        );
    }

    #[test]
    fn unknown_params_are_part_of_the_digest_and_protocol_ones_are_not() {
        let plain = call(r#"{"name":"t"}"#);

        assert_ne!(plain.digest, call(r#"{"name":"t","dryRun":true}"#).digest);
        assert_eq!(plain.digest, call(r#"{"name":"t","task":{"ttl":1}}"#).digest);
    }

    #[test]
    fn params_are_rebuilt_from_the_bytes_that_came() {
        let sent = r#"{"name":"t","_meta":{"progressToken":1,"mine":1e2,"io.modelcontextprotocol/x":0},"arguments":{"z":1.00,"a":"\u0041"}}"#;

        assert_eq!(
            params_with_meta(sent, &[("progressToken", "\"p-1\"".into())]),
            r#"{"name":"t","_meta":{"mine":1e2,"progressToken":"p-1"},"arguments":{"z":1.00,"a":"\u0041"}}"#
        );
        assert_eq!(
            params_with_meta(r#"{"name":"t","_meta":{"progressToken":1}}"#, &[]),
            r#"{"name":"t"}"#
        );
    }

    #[test]
    fn the_wish_for_a_task_can_be_taken_out_and_nothing_else_changes() {
        let sent = r#"{ "name":"t", "task":{"ttl":1}, "arguments":{"z":1.00} }"#;

        assert_eq!(
            params_without_task(sent).as_deref(),
            Some(r#"{"name":"t","arguments":{"z":1.00}}"#)
        );
        assert_eq!(params_without_task(r#"{"name":"t"}"#), None);
    }

    #[test]
    fn two_normal_forms_are_two_calls() {
        let of = |args: &str| {
            let params = format!(r#"{{"name":"t","arguments":{args}}}"#);
            let call = ToolCall::read("images", &params).unwrap();
            assert!(call.is_intact());
            call.digest
        };

        assert_ne!(of(r#"{"k":"é"}"#), of("{\"k\":\"e\u{301}\"}"));
        assert_ne!(of(r#"{"é":1}"#), of("{\"e\u{301}\":1}"));
        assert_eq!(of(r#"{"k":"é"}"#), of(r#"{"k":"\u00e9"}"#), "an escape is no other text");
    }

    #[test]
    fn arguments_must_be_an_object() {
        assert_eq!(
            ToolCall::read("images", r#"{"name":"t","arguments":[1]}"#),
            Err(CallError::ArgumentsNotAnObject)
        );
    }
}
