//! The two eras of MCP on one endpoint, and what changes where they meet.
//!
//! A request is judged by itself: whoever sends per-request metadata is modern, whoever uses
//! `initialize` and a session is legacy; one client may do both.

use axum::http::HeaderMap;

use crate::domain::json::{self, Node, edit};
use crate::protocol::{
    TASKS_EXTENSION, X_MCP_HEADER, code, header_name, jsonrpc, meta, method, version,
};
use crate::upstream::{Level, WireEra, is_mirrored_rightly};

use super::lists::CACHED;
use super::message::Message;

/// Which era a request belongs to.
pub fn era_of(headers: &HeaderMap, params: Option<&Node<'_>>) -> WireEra {
    let meta = params.and_then(|p| p.get("_meta"));
    let claims = meta.is_some_and(|m| {
        m.get(meta::PROTOCOL_VERSION).is_some() || m.get(meta::CLIENT_CAPABILITIES).is_some()
    });
    let header = header(headers, header_name::PROTOCOL_VERSION).unwrap_or_default();
    // Dates compare as text.
    if claims || header >= version::MODERN { WireEra::Modern } else { WireEra::Legacy }
}

/// The version that answers an `initialize`: the asked one if it is served, 2025-06-18 for
/// 2025-03-26 (whose batches are refused here), else the newest legacy one.
pub fn negotiate(asked: &str) -> &'static str {
    match asked {
        version::V2025_03_26 => version::V2025_06_18,
        asked => {
            version::SERVED_LEGACY.into_iter().find(|v| *v == asked).unwrap_or(version::V2025_11_25)
        }
    }
}

/// A header's value, if it is text.
pub fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// Why a modern request is refused: code, message and data.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    /// JSON-RPC code.
    pub code: i64,
    /// What is wrong.
    pub message: String,
    /// `data`, raw JSON.
    pub data: Option<String>,
}

/// Checks a modern request's metadata and headers against its body.
pub fn check_modern(
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

/// Checks `Mcp-Param-*` headers against the arguments, as the tool's definition asks for them.
pub fn check_param_headers(
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

/// Only a chain of `properties` leads to a mirrored argument.
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

/// Header values outside printable ASCII travel as `=?base64?…?=`.
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

/// Whether a notification is none of the modern era: a request's method without an id, or what
/// the era has done away with.
pub fn is_gone(notification: &str) -> bool {
    !notification.starts_with("notifications/")
        || matches!(
            notification,
            method::NOTIFICATIONS_INITIALIZED
                | method::NOTIFICATIONS_ROOTS_LIST_CHANGED
                | method::NOTIFICATIONS_ELICITATION_COMPLETE
        )
}

/// Turns an upstream's result into what the client's era demands; unchanged within one era.
pub fn translate_result(raw: &str, from: WireEra, to: WireEra, method: &str) -> String {
    match (from, to) {
        (WireEra::Legacy, WireEra::Modern) => {
            let mut extra = vec![("resultType", "\"complete\"")];
            if CACHED.contains(&method) {
                extra.extend([("ttlMs", "0"), ("cacheScope", "\"private\"")]);
            }
            edit::with_missing(raw, &extra)
        }
        (WireEra::Modern, WireEra::Legacy) => {
            // Only a list has these; elsewhere such a member is the tool's own.
            let cached: &[&str] = if CACHED.contains(&method) {
                &["resultType", "ttlMs", "cacheScope"]
            } else {
                &["resultType"]
            };
            edit::without(raw, cached)
        }
        _ => raw.to_owned(),
    }
}

/// Turns an upstream's error into what the client's era demands. `declarable` says of a
/// capability whether the client could declare it and have it passed on.
pub fn translate_error(
    raw: &str,
    from: WireEra,
    to: WireEra,
    method: &str,
    declarable: impl Fn(&str) -> bool,
) -> String {
    let Ok(node) = json::parse(raw) else { return raw.to_owned() };
    let code = match (jsonrpc::code_of(&node), to) {
        // It is the client itself that lacks something it could have.
        (Some(code::MISSING_CAPABILITY), WireEra::Modern) if could_have(&node, declarable) => {
            return raw.to_owned();
        }
        // What else the upstream says of our own hop is ours to answer for; the last is of
        // 2025-11-25 alone.
        (Some(code::HEADER_MISMATCH | code::MISSING_CAPABILITY | code::UNSUPPORTED_VERSION), _)
        | (Some(code::URL_ELICITATION_REQUIRED), WireEra::Modern) => code::INTERNAL_ERROR,
        // Resource not found has another code in each era.
        (Some(code::RESOURCE_NOT_FOUND), WireEra::Modern) => code::INVALID_PARAMS,
        (Some(code::INVALID_PARAMS), WireEra::Legacy)
            if from == WireEra::Modern
                && matches!(method, method::RESOURCES_READ | method::RESOURCES_SUBSCRIBE)
                && node.get("data").and_then(|d| d.get("uri")).is_some() =>
        {
            code::RESOURCE_NOT_FOUND
        }
        _ => return raw.to_owned(),
    };
    node.with(&[("code", code.to_string())])
}

/// Whether a client could have everything that an upstream says is required of it.
fn could_have(error: &Node<'_>, declarable: impl Fn(&str) -> bool) -> bool {
    let needed = error.get("data").and_then(|d| d.get("requiredCapabilities"));
    let needed = needed.and_then(Node::members).unwrap_or_default();
    !needed.is_empty()
        && needed.iter().all(|m| match m.key.as_ref() {
            // Of extensions this one alone is passed on.
            "extensions" => {
                let names = m.node.members().unwrap_or_default();
                !names.is_empty() && names.iter().all(|n| n.key == TASKS_EXTENSION)
            }
            feature => declarable(feature),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_capability_is_the_clients_only_where_it_could_have_it() {
        let told = |required: &str| {
            let raw = format!(
                r#"{{"code":-32021,"message":"no","data":{{"requiredCapabilities":{required}}}}}"#
            );
            let could = |feature: &str| feature == "elicitation";
            let told = translate_error(&raw, WireEra::Modern, WireEra::Modern, "tools/call", could);
            told.contains("-32021")
        };

        assert!(told(r#"{"elicitation":{"url":{}}}"#));
        assert!(told(r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#));
        assert!(!told(r#"{"sampling":{}}"#) && !told("{}"));
        assert!(!told(r#"{"extensions":{"com.example/other":{}}}"#));
        assert!(!told(r#"{"extensions":{}}"#));
    }

    #[test]
    fn a_progress_token_alone_is_no_modern_claim() {
        let params = json::parse(r#"{"_meta":{"progressToken":1}}"#).unwrap();

        assert_eq!(era_of(&HeaderMap::new(), Some(&params)), WireEra::Legacy);
    }

    #[test]
    fn versions_are_negotiated_as_promised() {
        assert_eq!(negotiate("2025-06-18"), "2025-06-18");
        assert_eq!(negotiate("2025-03-26"), "2025-06-18");
        assert_eq!(negotiate("2026-07-28"), "2025-11-25");
        assert_eq!(negotiate("1.0"), "2025-11-25");
    }

    #[test]
    fn results_change_only_at_the_border_of_eras() {
        use WireEra::{Legacy, Modern};
        let raw = r#"{ "tools":[ ] }"#;

        assert_eq!(translate_result(raw, Legacy, Legacy, "tools/list"), raw);
        assert_eq!(
            translate_result(raw, Legacy, Modern, "tools/list"),
            r#"{"tools":[ ],"resultType":"complete","ttlMs":0,"cacheScope":"private"}"#
        );
        assert_eq!(
            translate_result(r#"{"resultType":"complete","n":1.0}"#, Modern, Legacy, "tools/call"),
            r#"{"n":1.0}"#
        );
    }

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
