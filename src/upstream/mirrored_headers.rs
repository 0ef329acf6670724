//! The headers of the modern era that mirror the body: `Mcp-Method`, `Mcp-Name` and the
//! `Mcp-Param-*` that a tool's schema asks for with `x-mcp-header`.
//!
//! <https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#standard-request-headers>,
//! <https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#custom-headers-from-tool-parameters>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::domain::json::{self, Node, Value};
use crate::protocol::{X_MCP_HEADER, header_name, method};

/// One argument that is mirrored: the header's name and the path of keys to its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mirror {
    pub header: HeaderName,
    pub path: Vec<String>,
}

/// Which arguments a tool wants mirrored, read from its raw definition.
///
/// # Errors
/// Why the definition breaks the rules for `x-mcp-header`
/// (<https://modelcontextprotocol.io/specification/2026-07-28/server/tools#x-mcp-header>), in
/// words; such a tool can't be called.
pub(super) fn mirrors(tool: &str) -> Result<Vec<Mirror>, String> {
    let node = json::parse(tool).map_err(|e| e.to_string())?;
    let mut found = Vec::new();
    if let Some(schema) = node.get("inputSchema") {
        walk(schema, Some(&mut Vec::new()), false, &mut found)?;
    }
    Ok(found)
}

/// Collects the marks of a schema. `path` (keys of properties) is none below anything but a chain
/// of `properties`: no mark is allowed there.
fn walk(
    schema: &Node<'_>,
    mut path: Option<&mut Vec<String>>,
    is_property: bool,
    found: &mut Vec<Mirror>,
) -> Result<(), String> {
    if let Some(elements) = schema.elements() {
        return elements.iter().try_for_each(|e| walk(e, None, false, found));
    }
    for member in schema.members().unwrap_or_default() {
        match (member.key.as_ref(), path.as_deref_mut()) {
            (X_MCP_HEADER, Some(path)) if is_property => {
                found.push(mirror(schema, &member.node, path, found)?);
            }
            (X_MCP_HEADER, _) => {
                return Err("x-mcp-header stands where no plain property is".to_owned());
            }
            ("properties", Some(path)) => {
                for property in member.node.members().unwrap_or_default() {
                    path.push(property.key.to_string());
                    walk(&property.node, Some(path), true, found)?;
                    path.pop();
                }
            }
            // Data, not schemas: whatever stands in there is no annotation.
            ("const" | "enum" | "default" | "examples", _) => {}
            (
                "properties" | "$defs" | "definitions" | "patternProperties" | "dependentSchemas",
                _,
            ) => {
                for sub in member.node.members().unwrap_or_default() {
                    walk(&sub.node, None, false, found)?;
                }
            }
            _ => walk(&member.node, None, false, found)?,
        }
    }
    Ok(())
}

fn mirror(
    schema: &Node<'_>,
    name: &Node<'_>,
    path: &[String],
    found: &[Mirror],
) -> Result<Mirror, String> {
    let name = name.as_str().ok_or("x-mcp-header is not a string")?;
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        return Err("x-mcp-header is not a header name".to_owned());
    }
    let header = HeaderName::from_bytes(format!("{}{name}", header_name::PARAM_PREFIX).as_bytes())
        .map_err(|_| "x-mcp-header is not a header name")?;
    if found.iter().any(|m| m.header == header) {
        return Err("two parameters have the same x-mcp-header".to_owned());
    }
    match schema.get("type").and_then(Node::as_str) {
        Some("string" | "integer" | "boolean") => Ok(Mirror { header, path: path.to_vec() }),
        _ => {
            Err("x-mcp-header stands on a parameter that is no string, integer or boolean"
                .to_owned())
        }
    }
}

const METHOD: HeaderName = HeaderName::from_static(header_name::METHOD);
const NAME: HeaderName = HeaderName::from_static(header_name::NAME);

/// The headers for one modern request; `tool` is the raw definition of the tool it calls.
pub(super) fn for_request(method: &str, params: Option<&str>, tool: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mirrors = tool.and_then(|tool| mirrors(tool).ok()).unwrap_or_default();
    insert(&mut headers, method, params, &mirrors);
    headers
}

/// Puts in the headers for one call of a tool that is known already, with the arguments that the tool
/// wants mirrored.
pub(super) fn insert_for_call(
    headers: &mut HeaderMap,
    tool: &str,
    params: Option<&str>,
    mirrors: &[Mirror],
) {
    headers.insert(METHOD, HeaderValue::from_static(method::TOOLS_CALL));
    headers.insert(NAME, encode(tool));
    if !mirrors.is_empty()
        && let Some(Ok(params)) = params.map(json::parse)
    {
        insert_arguments(headers, &params, mirrors);
    }
}

/// Puts in the headers for one request, with the arguments that the tool it calls wants mirrored.
pub(super) fn insert(
    headers: &mut HeaderMap,
    method: &str,
    params: Option<&str>,
    mirrors: &[Mirror],
) {
    headers.insert(METHOD, encode(method));
    let named_by = match method {
        method::TOOLS_CALL | method::PROMPTS_GET => "name",
        method::RESOURCES_READ => "uri",
        method::TASKS_GET | method::TASKS_UPDATE | method::TASKS_CANCEL => "taskId",
        _ => return,
    };
    let Some(Ok(params)) = params.map(json::parse) else { return };
    if let Some(name) = params.get(named_by).and_then(Node::as_str) {
        headers.insert(NAME, encode(name));
    }
    insert_arguments(headers, &params, mirrors);
}

fn insert_arguments(headers: &mut HeaderMap, params: &Node<'_>, mirrors: &[Mirror]) {
    for mirror in mirrors {
        let mut value = params.get("arguments");
        for key in &mirror.path {
            value = value.and_then(|v| v.get(key));
        }
        match value.map(|v| &v.value) {
            Some(Value::String(text)) => headers.insert(mirror.header.clone(), encode(text)),
            Some(Value::Number(digits)) => headers.insert(mirror.header.clone(), encode(digits)),
            Some(Value::Bool(b)) => {
                headers.insert(mirror.header.clone(), encode(if *b { "true" } else { "false" }))
            }
            Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => None,
        };
    }
}

/// A header value: as it is where it is plain ASCII, else as `=?base64?…?=`
/// (<https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#custom-headers-from-tool-parameters>).
fn encode(text: &str) -> HeaderValue {
    let plain = text.bytes().all(|b| (b' '..=b'~').contains(&b))
        && text.trim() == text
        && !(text.starts_with("=?base64?") && text.ends_with("?="));
    let value = match plain {
        true => HeaderValue::from_str(text),
        false => HeaderValue::try_from(format!("=?base64?{}?=", STANDARD.encode(text))),
    };
    value.expect("printable ASCII is a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_outside_plain_ascii_travel_in_base64() {
        for (text, want) in [
            ("us-west1", "us-west1"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        ] {
            assert_eq!(encode(text), want);
        }
    }

    #[test]
    fn annotated_arguments_are_mirrored_where_they_are_present() {
        let tool = r#"{"name":"q","inputSchema":{"type":"object","properties":{
            "region":{"type":"string","x-mcp-header":"Region"},
            "opts":{"type":"object","properties":{"n":{"type":"integer","x-mcp-header":"N"}}},
            "gone":{"type":"boolean","x-mcp-header":"Gone"}}}}"#;

        let headers = for_request(
            "tools/call",
            Some(r#"{"name":"q","arguments":{"region":"eu","opts":{"n":42},"gone":null}}"#),
            Some(tool),
        );

        assert_eq!(headers["mcp-name"], "q");
        assert_eq!(headers["mcp-param-region"], "eu");
        assert_eq!(headers["mcp-param-n"], "42");
        assert!(!headers.contains_key("mcp-param-gone"));
    }

    #[test]
    fn annotations_against_the_rules_make_the_tool_invalid() {
        for schema in [
            r#"{"properties":{"a":{"type":"number","x-mcp-header":"A"}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-header":""}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"a b"}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}}"#,
            r#"{"properties":{"a":{"type":"array","items":{"type":"string","x-mcp-header":"A"}}}}"#,
            r#"{"anyOf":[{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}]}"#,
        ] {
            assert!(mirrors(&format!(r#"{{"inputSchema":{schema}}}"#)).is_err(), "{schema}");
        }
    }
}
