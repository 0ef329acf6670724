//! One `tools/call` as data: what is asked for, by whom, and the digest that names it.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::json::{self, JsonError, Node};

/// Members of `params` that the protocol itself uses; every other one is part of the digest.
const PROTOCOL_PARAMS: [&str; 6] =
    ["name", "arguments", "_meta", "task", "requestState", "inputResponses"];

/// Prefix of `_meta` keys that belong to the protocol, not to the call.
pub const PROTOCOL_META_PREFIX: &str = "io.modelcontextprotocol/";

/// How a call is made: by which request of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// A tool is called.
    CallTool,
    /// A prompt is fetched.
    GetPrompt,
    /// A resource is read.
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
}

/// `sha256:` and 64 hex digits over the canonical call: the name of "exactly this".
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

/// Why `params` is not a tool call.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CallError {
    /// The text itself is refused.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// `params` is missing or not an object.
    #[error("params must be an object")]
    ParamsNotAnObject,
    /// `params.name` is missing or not a string.
    #[error("params.name must be a string")]
    NoName,
    /// `params.arguments` is there and not an object.
    #[error("params.arguments must be an object")]
    ArgumentsNotAnObject,
    /// `params._meta` is there and not an object.
    #[error("params._meta must be an object")]
    MetaNotAnObject,
    /// Not `sha256:` and 64 lower-case hex digits.
    #[error("a digest is \"sha256:\" and 64 lower-case hex digits")]
    NotADigest,
}

/// One `tools/call` for one upstream, with the exact text of its `params`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// Name of the upstream it is for.
    pub upstream: String,
    /// Name of the tool, decoded.
    pub tool: String,
    /// `params` exactly as the agent sent it.
    pub params: String,
    /// Names upstream, tool, arguments and extra members.
    pub digest: Digest,
}

impl ToolCall {
    /// Reads the call out of `params`.
    ///
    /// # Errors
    /// [`CallError`], when the text is refused or is not a call.
    pub fn read(upstream: &str, params: &str) -> Result<Self, CallError> {
        let node = json::parse(params)?;
        if !node.is_object() {
            return Err(CallError::ParamsNotAnObject);
        }
        let tool = node.get("name").and_then(Node::as_str).ok_or(CallError::NoName)?.to_owned();
        if node.get("arguments").is_some_and(|a| !a.is_object()) {
            return Err(CallError::ArgumentsNotAnObject);
        }
        if node.get("_meta").is_some_and(|m| !m.is_object()) {
            return Err(CallError::MetaNotAnObject);
        }
        let digest = digest(upstream, &tool, &node);
        Ok(Self { upstream: upstream.to_owned(), tool, params: params.to_owned(), digest })
    }

    /// The arguments exactly as sent; `{}` where there were none.
    pub fn arguments(&self) -> &str {
        match json::parse(&self.params) {
            Ok(node) => node.get("arguments").map_or("{}", |a| a.raw),
            Err(_) => "{}",
        }
    }

    /// Whether the digest still fits the bytes: checked again before a stored call is sent.
    pub fn is_intact(&self) -> bool {
        Self::read(&self.upstream, &self.params)
            .is_ok_and(|again| again.digest == self.digest && again.tool == self.tool)
    }

    /// `params` to send: the stored bytes, with the protocol's own `_meta` keys taken out and
    /// `meta` (key and raw value each) put in.
    pub fn params_with_meta(&self, meta: &[(&str, String)]) -> String {
        params_with_meta(&self.params, meta)
    }
}

/// Rebuilds `params` from its own (key, raw value) pairs; only `_meta` differs: protocol keys and
/// the progress token are dropped, `meta` is added. An empty `_meta` is left out.
pub fn params_with_meta(params: &str, meta: &[(&str, String)]) -> String {
    let Ok(node) = json::parse(params) else { return params.to_owned() };
    let Some(members) = node.members() else { return params.to_owned() };
    let mut pairs: Vec<(&str, String)> = Vec::with_capacity(members.len() + 1);
    let mut own_meta: Vec<(String, &str)> = Vec::new();
    let mut place = None;
    for member in members {
        if member.key == "_meta" {
            place = Some(pairs.len());
            for m in member.node.members().unwrap_or_default() {
                if m.key != "progressToken" && !m.key.starts_with(PROTOCOL_META_PREFIX) {
                    own_meta.push((m.raw_key.to_owned(), m.node.raw));
                }
            }
        } else {
            pairs.push((member.raw_key, member.node.raw.to_owned()));
        }
    }
    if !own_meta.is_empty() || !meta.is_empty() {
        let members = own_meta
            .iter()
            .map(|(k, v)| format!("{k}:{v}"))
            .chain(meta.iter().map(|(k, v)| format!("{}:{v}", json::quote(k))))
            .collect::<Vec<_>>()
            .join(",");
        pairs.insert(place.unwrap_or(pairs.len()), ("\"_meta\"", format!("{{{members}}}")));
    }
    let body = pairs.iter().map(|(k, v)| format!("{k}:{v}")).collect::<Vec<_>>().join(",");
    format!("{{{body}}}")
}

fn digest(upstream: &str, tool: &str, params: &Node<'_>) -> Digest {
    let arguments = params.get("arguments").map_or_else(|| "{}".to_owned(), Node::canonical);
    let extra: Vec<_> = params
        .members()
        .unwrap_or_default()
        .iter()
        .filter(|m| !PROTOCOL_PARAMS.contains(&m.key.as_ref()))
        .map(|m| format!("{}:{}", m.raw_key, m.node.raw))
        .collect();
    let mut whole = format!("{{\"arguments\":{arguments},");
    if !extra.is_empty() {
        let text = format!("{{{}}}", extra.join(","));
        // The members were just parsed out of a valid object, so they form one.
        let canonical = json::parse(&text).map_or(text.clone(), |n| n.canonical());
        whole.push_str(&format!("\"extra\":{canonical},"));
    }
    whole.push_str(&format!(
        "\"tool\":{},\"upstream\":{}}}",
        json::quote(tool),
        json::quote(upstream)
    ));
    Digest(format!("sha256:{}", hex(&Sha256::digest(whole.as_bytes()))))
}

/// Lower-case hex digits.
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
    fn arguments_must_be_an_object() {
        assert_eq!(
            ToolCall::read("images", r#"{"name":"t","arguments":[1]}"#),
            Err(CallError::ArgumentsNotAnObject)
        );
    }
}
