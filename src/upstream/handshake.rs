//! What both sides say before the first call: the words of `initialize` and `server/discover`,
//! and what their answers tell of the server.
//!
//! <https://modelcontextprotocol.io/specification/2025-11-25/basic/lifecycle#initialization>,
//! <https://modelcontextprotocol.io/specification/2026-07-28/server/discover>

use super::message::{self, readable};
use super::{ClientCapabilities, ServerFacts, WireEra};
use crate::domain::json::{self, Node};
use crate::protocol::{code, jsonrpc, meta, version};

/// What a server says to `server/discover`.
#[derive(Debug)]
pub(super) enum Discovered {
    /// It speaks the modern era.
    Modern(ServerFacts),
    /// It does not speak the modern era; it may speak the legacy one.
    NotModern,
    /// It speaks a modern revision, but none that is spoken here.
    Foreign(String),
}

/// The `_meta` keys of every modern request
/// (<https://modelcontextprotocol.io/specification/2026-07-28/basic#_meta>); `capabilities` is raw
/// JSON.
pub(super) fn modern_meta(capabilities: &str) -> [(&'static str, String); 3] {
    [
        (meta::PROTOCOL_VERSION, json::quote(version::MODERN)),
        (meta::CLIENT_CAPABILITIES, capabilities.to_owned()),
        (meta::CLIENT_INFO, client_info()),
    ]
}

fn client_info() -> String {
    let version = json::quote(env!("CARGO_PKG_VERSION"));
    json::object([("name", "\"placet\""), ("version", version.as_str())])
}

/// The `params` of `server/discover`, raw JSON.
pub(super) fn discover_params(features: &ClientCapabilities) -> String {
    crate::domain::call::params_with_meta("{}", &modern_meta(&features.to_json()))
}

/// The `params` of `initialize`, raw JSON: they declare what the client behind the connection can
/// be asked.
pub(super) fn initialize_params(features: &ClientCapabilities) -> String {
    let version = json::quote(version::SPOKEN_LEGACY[0]);
    let (info, capabilities) = (client_info(), features.live_json());
    json::object([
        ("protocolVersion", version.as_str()),
        ("capabilities", capabilities.as_str()),
        ("clientInfo", &info),
    ])
}

/// Reads the result of `initialize`.
///
/// # Errors
/// What is wrong with it, in words: no JSON, no version, or a version that is not spoken here.
pub(super) fn read_initialize(result: &str) -> Result<ServerFacts, String> {
    let result = readable(result);
    let node = json::parse(&result).map_err(|e| format!("initialize was answered badly: {e}"))?;
    let version = node
        .get("protocolVersion")
        .and_then(Node::as_str)
        .ok_or("initialize was answered without a protocolVersion")?;
    if !version::SPOKEN_LEGACY.contains(&version) {
        return Err(format!(
            "the server speaks protocol version {:?}, spoken here are {}",
            message::printable(version),
            version::SPOKEN_LEGACY.join(", ")
        ));
    }
    Ok(facts(WireEra::Legacy, version, &node, node.get("serverInfo")))
}

/// Reads the result of `server/discover`.
pub(super) fn read_discover(result: &str) -> Discovered {
    let result = readable(result);
    let Ok(node) = json::parse(&result) else { return Discovered::NotModern };
    let Some(versions) = node.get("supportedVersions").and_then(Node::elements) else {
        return Discovered::NotModern;
    };
    if versions.iter().any(|v| v.as_str() == Some(version::MODERN)) {
        let info = node
            .get("_meta")
            .and_then(|m| m.get(meta::SERVER_INFO))
            .or_else(|| node.get("serverInfo"));
        return Discovered::Modern(facts(WireEra::Modern, version::MODERN, &node, info));
    }
    let legacy = |v: &Node<'_>| v.as_str().is_some_and(|v| version::SPOKEN_LEGACY.contains(&v));
    if versions.iter().any(legacy) { Discovered::NotModern } else { foreign(versions) }
}

/// Reads an error answer to `server/discover`; `unknown_method_is_modern` where the transport
/// (HTTP 404) tells a modern server without that method from a legacy one
/// (<https://modelcontextprotocol.io/specification/2026-07-28/basic/versioning>).
pub(super) fn read_discover_error(error: &str, unknown_method_is_modern: bool) -> Discovered {
    match jsonrpc::error_code(error) {
        Some(code::UNSUPPORTED_VERSION) => {
            let Ok(node) = json::parse(error) else { return Discovered::NotModern };
            let supported =
                node.get("data").and_then(|d| d.get("supported")).and_then(Node::elements);
            let Some(versions) = supported else { return undiscovered() };
            if versions.iter().any(|v| v.as_str() == Some(version::MODERN)) {
                return undiscovered();
            }
            let legacy =
                |v: &Node<'_>| v.as_str().is_some_and(|v| version::SPOKEN_LEGACY.contains(&v));
            if versions.iter().any(legacy) { Discovered::NotModern } else { foreign(versions) }
        }
        Some(code::HEADER_MISMATCH | code::MISSING_CAPABILITY) => undiscovered(),
        Some(code::METHOD_NOT_FOUND) if unknown_method_is_modern => undiscovered(),
        _ => Discovered::NotModern,
    }
}

/// The facts of a modern server that tells nothing of itself; it is asked for tools all the same.
fn undiscovered() -> Discovered {
    Discovered::Modern(ServerFacts {
        era: WireEra::Modern,
        version: version::MODERN.to_owned(),
        capabilities: "{\"tools\":{}}".to_owned(),
        server_info: "{}".to_owned(),
        instructions: None,
    })
}

fn foreign(versions: &[Node<'_>]) -> Discovered {
    let list: Vec<_> = versions.iter().map(|v| message::printable(v.raw)).collect();
    Discovered::Foreign(format!(
        "the server supports only protocol versions {}, spoken here are {} and {}",
        message::printable(&list.join(", ")),
        version::MODERN,
        version::SPOKEN_LEGACY.join(", ")
    ))
}

/// The features of a server of these capabilities whose lists change, and the kind of
/// notification a modern one is asked for.
pub(super) fn changing(capabilities: &str) -> Vec<(&'static str, &'static str)> {
    [
        ("tools", "toolsListChanged"),
        ("prompts", "promptsListChanged"),
        ("resources", "resourcesListChanged"),
    ]
    .into_iter()
    .filter(|(feature, _)| says(capabilities, feature, "listChanged"))
    .collect()
}

/// Whether a server of these capabilities tells of changes to single resources.
pub(super) fn offers_watching(capabilities: &str) -> bool {
    says(capabilities, "resources", "subscribe")
}

/// Whether a server of these capabilities sends log messages.
pub(super) fn offers_logging(capabilities: &str) -> bool {
    json::parse(capabilities).is_ok_and(|n| n.get("logging").is_some_and(Node::is_object))
}

fn says(capabilities: &str, feature: &str, what: &str) -> bool {
    json::parse(capabilities).is_ok_and(|node| {
        node.get(feature).and_then(|f| f.get(what)).and_then(Node::as_bool) == Some(true)
    })
}

/// The `params` of `subscriptions/listen` for these kinds of notification and these resources, raw
/// JSON (<https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/subscriptions>).
pub(super) fn listen_params(kinds: &[&str], uris: &[String]) -> String {
    let list = json::array(uris.iter().map(|uri| json::quote(uri)));
    let resources = (!uris.is_empty()).then_some(("resourceSubscriptions", list.as_str()));
    let wanted = json::object(kinds.iter().map(|kind| (*kind, "true")).chain(resources));
    json::object([("notifications", wanted.as_str())])
}

fn facts(era: WireEra, version: &str, node: &Node<'_>, info: Option<&Node<'_>>) -> ServerFacts {
    let object = |n: Option<&Node<'_>>| {
        n.filter(|n| n.is_object()).map_or_else(|| "{}".to_owned(), |n| n.raw.to_owned())
    };
    ServerFacts {
        era,
        version: version.to_owned(),
        capabilities: object(node.get("capabilities")),
        server_info: object(info),
        instructions: node.get("instructions").and_then(Node::as_str).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initialize_takes_every_legacy_version_and_no_other() {
        for version in version::SPOKEN_LEGACY {
            let facts = read_initialize(&format!(
                r#"{{"protocolVersion":"{version}","capabilities":{{"tools":{{ }}}},"serverInfo":{{"name":"s"}}}}"#
            ))
            .unwrap();
            assert_eq!(
                (facts.version.as_str(), facts.capabilities.as_str()),
                (version, r#"{"tools":{ }}"#)
            );
        }
        assert!(read_initialize(r#"{"protocolVersion":"1999-01-01"}"#).is_err());
    }

    #[test]
    fn a_discovery_is_modern_only_with_a_version_spoken_here() {
        let modern = r#"{"supportedVersions":["2026-07-28"],"capabilities":{},"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s"}}}"#;

        assert!(
            matches!(read_discover(modern), Discovered::Modern(f) if f.server_info == r#"{"name":"s"}"#)
        );
        assert!(matches!(
            read_discover(r#"{"supportedVersions":["2031-01-01"]}"#),
            Discovered::Foreign(_)
        ));
        assert!(matches!(
            read_discover(r#"{"supportedVersions":["2025-11-25"]}"#),
            Discovered::NotModern
        ));
        assert!(matches!(read_discover(r#"{"tools":[]}"#), Discovered::NotModern));
    }

    #[test]
    fn only_the_modern_codes_prove_a_modern_server() {
        for code in [-32020, -32021, -32022] {
            let error = format!(r#"{{"code":{code},"message":"m"}}"#);
            assert!(matches!(read_discover_error(&error, false), Discovered::Modern(_)), "{code}");
        }
        for code in [-32601, -32602, -32000] {
            let error = format!(r#"{{"code":{code},"message":"m"}}"#);
            assert!(matches!(read_discover_error(&error, false), Discovered::NotModern), "{code}");
        }
        let unknown = r#"{"code":-32601,"message":"m"}"#;
        assert!(matches!(read_discover_error(unknown, true), Discovered::Modern(_)));
    }

    #[test]
    fn only_what_the_server_offers_is_listened_for() {
        let offered =
            r#"{"tools":{"listChanged":true},"prompts":{"listChanged":false},"resources":{}}"#;

        assert_eq!(changing(offered), [("tools", "toolsListChanged")]);
        assert!(changing("{}").is_empty() && !offers_watching(offered));
        assert_eq!(
            listen_params(&["toolsListChanged"], &["a:\"b".to_owned()]),
            r#"{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["a:\"b"]}}"#
        );
    }
}
