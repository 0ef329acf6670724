//! The metadata and the headers of a modern request, compared with the body they mirror.
//!
//! <https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#standard-request-headers>

use axum::http::HeaderMap;

use crate::domain::json::{self, Node};
use crate::mcp::envelope::Message;
use crate::protocol::{X_MCP_HEADER, code, header_name, meta, method, version};
use crate::upstream::{Level, is_mirrored_rightly};

use super::header;

/// Why a modern request is refused: code, message and data.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// JSON-RPC error code
    /// (<https://modelcontextprotocol.io/specification/2026-07-28/basic#error-codes>).
    pub code: i64,
    /// What is wrong, for people.
    pub message: String,
    /// `data` of the error, raw JSON.
    pub data: Option<String>,
}

/// Checks a modern request's metadata
/// (<https://modelcontextprotocol.io/specification/2026-07-28/basic#_meta>) and headers
/// (<https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#standard-request-headers>).
///
/// # Errors
/// [`Wrong`]: metadata that is missing or malformed (invalid params), a header that is missing or
/// differs from the body (header mismatch), or a version that is not spoken here, with those that
/// are.
pub(crate) fn check_modern(
    headers: &HeaderMap,
    message: &Message,
    params: Option<&Node<'_>>,
) -> Result<(), Wrong> {
    let wrong = |code, message: String| Err(Wrong { code, message, data: None });
    let meta = params.and_then(|p| p.get("_meta"));
    let version = meta.and_then(|m| m.get(meta::PROTOCOL_VERSION));
    let Some(version) = version else {
        return wrong(
            code::INVALID_PARAMS,
            format!("params._meta must have {}", meta::PROTOCOL_VERSION),
        );
    };
    let Some(version) = version.as_str() else {
        return wrong(code::INVALID_PARAMS, format!("{} must be a string", meta::PROTOCOL_VERSION));
    };
    match header(headers, header_name::PROTOCOL_VERSION) {
        Some(sent) if sent == version => {}
        Some(_) => {
            return wrong(
                code::HEADER_MISMATCH,
                "header MCP-Protocol-Version differs from the body".to_owned(),
            );
        }
        None => {
            return wrong(
                code::HEADER_MISMATCH,
                "header MCP-Protocol-Version is missing".to_owned(),
            );
        }
    }
    if version != version::MODERN {
        return Err(Wrong {
            code: code::UNSUPPORTED_VERSION,
            message: "unsupported protocol version".to_owned(),
            data: Some(json::object([
                ("supported", json::array([json::quote(version::MODERN)]).as_str()),
                ("requested", &json::quote(version)),
            ])),
        });
    }
    if !meta.is_some_and(|m| m.get(meta::CLIENT_CAPABILITIES).is_some_and(Node::is_object)) {
        return wrong(
            code::INVALID_PARAMS,
            format!("params._meta must have {}, an object", meta::CLIENT_CAPABILITIES),
        );
    }
    let level = meta.and_then(|m| m.get(meta::LOG_LEVEL));
    if level.is_some_and(|l| l.as_str().and_then(Level::of).is_none()) {
        return wrong(code::INVALID_PARAMS, format!("{} must be a log level", meta::LOG_LEVEL));
    }
    let named = |key: &str| params.and_then(|p| p.get(key)).and_then(Node::as_str);
    let name = match message.method.as_str() {
        method::TOOLS_CALL | method::PROMPTS_GET => Some(named("name")),
        method::RESOURCES_READ => Some(named("uri")),
        method::TASKS_GET | method::TASKS_UPDATE | method::TASKS_CANCEL => Some(named("taskId")),
        _ => None,
    };
    let wanted =
        [(header_name::METHOD, Some(Some(message.method.as_str()))), (header_name::NAME, name)];
    for (header_name, in_body) in wanted {
        let Some(in_body) = in_body else { continue };
        let sent = header(headers, header_name).map(decode_header);
        match (sent, in_body) {
            (Some(Some(sent)), Some(in_body)) if sent == in_body => {}
            (None, _) => {
                return wrong(code::HEADER_MISMATCH, format!("header {header_name} is missing"));
            }
            // The method itself says what is wrong with its parameters.
            (Some(_), None) => {}
            _ => {
                return wrong(
                    code::HEADER_MISMATCH,
                    format!("header {header_name} differs from the body"),
                );
            }
        }
    }
    Ok(())
}

/// Checks `Mcp-Param-*` headers against the arguments, as the tool's definition asks for them
/// (<https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#custom-headers-from-tool-parameters>).
///
/// # Errors
/// [`Wrong`] (header mismatch): such a header is missing, has no argument, or differs from it.
pub(crate) fn check_param_headers(
    headers: &HeaderMap,
    tool: &Node<'_>,
    arguments: Option<&Node<'_>>,
) -> Result<(), Wrong> {
    // Marks that break the rules are not shown to modern clients, or their tool is left out.
    if !is_mirrored_rightly(tool.raw) {
        return Ok(());
    }
    tool.get("inputSchema").map_or(Ok(()), |schema| check_params(headers, schema, arguments))
}

/// Checks the marked arguments of one schema and of those below it: only a chain of `properties`
/// leads to a mirrored argument
/// (<https://modelcontextprotocol.io/specification/2026-07-28/server/tools#x-mcp-header>).
fn check_params(
    headers: &HeaderMap,
    schema: &Node<'_>,
    value: Option<&Node<'_>>,
) -> Result<(), Wrong> {
    let properties = schema.get("properties").and_then(Node::members).unwrap_or_default();
    for property in properties {
        let value = value.and_then(|v| v.get(&property.key));
        if let Some(name) = property.node.get(X_MCP_HEADER).and_then(Node::as_str) {
            let in_body = match value.map(|v| &v.value) {
                None | Some(json::Value::Null) => None,
                Some(_) => value.map(|v| v.as_str().unwrap_or(v.raw)),
            };
            let sent = header(
                headers,
                &format!("{}{}", header_name::PARAM_PREFIX, name.to_ascii_lowercase()),
            );
            let same = match (sent, in_body) {
                (None, None) => true,
                (Some(sent), Some(in_body)) => {
                    let number = value.is_some_and(|v| v.as_number().is_some());
                    let sent = decode_header(sent);
                    sent.is_some_and(|sent| {
                        sent == in_body || (number && is_same_number(&sent, in_body))
                    })
                }
                _ => false,
            };
            if !same {
                return Err(Wrong {
                    code: code::HEADER_MISMATCH,
                    message: format!(
                        "header Mcp-Param-{name} differs from argument {}",
                        property.key
                    ),
                    data: None,
                });
            }
        }
        check_params(headers, &property.node, value)?;
    }
    Ok(())
}

/// Whether two spellings mean the same number: `42.0` and `42`.
fn is_same_number(a: &str, b: &str) -> bool {
    let is_number = |digits: &str| json::parse(digits).is_ok_and(|n| n.as_number().is_some());
    is_number(a) && is_number(b) && json::compare_numbers(a, b).is_eq()
}

/// A header's value as text: values outside printable ASCII travel as `=?base64?…?=`
/// (<https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#custom-headers-from-tool-parameters>).
/// None if that is no Base64 of UTF-8.
fn decode_header(value: &str) -> Option<String> {
    use base64::Engine as _;
    match value.strip_prefix("=?base64?").and_then(|v| v.strip_suffix("?=")) {
        None => Some(value.to_owned()),
        Some(coded) => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(coded).ok()?;
            String::from_utf8(bytes).ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coded_header_values_are_decoded_before_they_are_compared() {
        assert_eq!(decode_header("=?base64?w6TDtg==?=").as_deref(), Some("äö"));
        assert_eq!(decode_header("plain").as_deref(), Some("plain"));
    }

    #[test]
    fn mirrored_arguments_may_lie_deeper_and_null_counts_as_absent() {
        let tool = json::parse(
            r#"{"inputSchema":{"properties":{"at":{"properties":{"n":{"type":"integer","x-mcp-header":"N"}}}}}}"#,
        )
        .unwrap();
        let check = |sent: Option<&'static str>, arguments: &str| {
            let mut headers = HeaderMap::new();
            if let Some(sent) = sent {
                headers.insert("mcp-param-n", sent.parse().unwrap());
            }
            let arguments = json::parse(arguments).unwrap();
            check_param_headers(&headers, &tool, Some(&arguments)).is_ok()
        };

        assert!(check(Some("7"), r#"{"at":{"n":7}}"#));
        assert!(check(None, r#"{"at":{"n":null}}"#));
        assert!(!check(None, r#"{"at":{"n":7}}"#));
        assert!(!check(Some("7"), r#"{"n":7}"#));
    }
}
