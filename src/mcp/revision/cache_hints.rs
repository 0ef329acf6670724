//! Results in the terms of the modern era besides their type: how long they may be cached
//! (`ttlMs`, milliseconds) and for whom (`cacheScope`), which server they come from, and tools
//! without what only the legacy era knows.

use crate::domain::json::{self, Node, edit};
use crate::protocol::{X_MCP_HEADER, meta, method};
use crate::upstream::{WireEra, is_mirrored_rightly};

/// Methods whose results carry hints for caches.
pub(crate) const CACHED: [&str; 6] = [
    method::TOOLS_LIST,
    method::PROMPTS_LIST,
    method::RESOURCES_LIST,
    method::RESOURCES_TEMPLATES_LIST,
    method::RESOURCES_READ,
    method::SERVER_DISCOVER,
];

/// Makes a modern result say how it may be cached: for this agent alone, since policies filter it.
/// The answer to a retry depends on more than its request shows, so it is not cached at all.
pub(crate) fn kept(raw: &str, retried: bool) -> String {
    let Ok(node) = json::parse(raw) else { return raw.to_owned() };
    if node.get("resultType").and_then(Node::as_str).is_some_and(|t| t != "complete") {
        return raw.to_owned();
    }
    let age = node.get("ttlMs").map(|ttl| ttl.raw);
    let age_is_right = age.is_some_and(|ttl| ttl.bytes().all(|b| b.is_ascii_digit()));
    let is_private = node.get("cacheScope").and_then(Node::as_str) == Some("private");
    let mut wrong = Vec::new();
    if !age_is_right || (retried && age != Some("0")) {
        wrong.push("ttlMs");
    }
    if !is_private {
        wrong.push("cacheScope");
    }
    if wrong.is_empty() {
        return raw.to_owned();
    }
    let rest = edit::without(raw, &wrong);
    edit::with_missing(&rest, &[("ttlMs", "0"), ("cacheScope", "\"private\"")])
}

/// The tools of a legacy server as a modern client may see them: without `execution`, and without
/// `x-mcp-header` marks that break the rules, for which the client would have to drop the tool
/// (<https://modelcontextprotocol.io/specification/2026-07-28/server/tools#x-mcp-header>).
pub(crate) fn tools(raw: &str) -> String {
    let Ok(node) = json::parse(raw) else { return raw.to_owned() };
    let Some(tools) = node.get("tools").and_then(Node::elements) else { return raw.to_owned() };
    let fine = |tool: &Node<'_>| tool.get("execution").is_none() && is_mirrored_rightly(tool.raw);
    if tools.iter().all(fine) {
        return raw.to_owned();
    }
    let shown = tools.iter().map(|tool| {
        let text = edit::without(tool.raw, &["execution"]);
        match json::parse(&text) {
            Ok(tool) if !is_mirrored_rightly(tool.raw) => unmarked(&tool),
            _ => text,
        }
    });
    node.with(&[("tools", json::array(shown))])
}

fn unmarked(node: &Node<'_>) -> String {
    if node.is_object() {
        node.map_members(|m| (m.key != X_MCP_HEADER).then(|| unmarked(&m.node).into()))
    } else if let Some(elements) = node.elements() {
        json::array(elements.iter().map(unmarked))
    } else {
        node.raw.to_owned()
    }
}

/// Adds to a result's `_meta` which server it comes from (raw JSON), unless it says so already
/// (<https://modelcontextprotocol.io/specification/2026-07-28/basic#_meta>).
pub(crate) fn stamped(raw: &str, server_info: &str) -> String {
    let Ok(node) = json::parse(raw) else { return raw.to_owned() };
    let fits = node
        .get("_meta")
        .is_none_or(|meta| meta.is_object() && meta.get(meta::SERVER_INFO).is_none());
    if fits { edit::with_meta(raw, &[(meta::SERVER_INFO, server_info)]) } else { raw.to_owned() }
}

/// What the border between eras demands of a result besides its type; nothing for a legacy client.
pub(crate) fn in_terms_of(
    raw: String,
    from: WireEra,
    to: WireEra,
    method: &str,
    retried: bool,
) -> String {
    if to == WireEra::Legacy {
        return raw;
    }
    let raw =
        if from == WireEra::Legacy && method == method::TOOLS_LIST { tools(&raw) } else { raw };
    if CACHED.contains(&method) { kept(&raw, retried) } else { raw }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_private_and_their_age_is_a_number() {
        let fine = r#"{ "tools":[],"ttlMs":5,"cacheScope":"private","resultType":"complete"}"#;

        assert_eq!(kept(fine, false), fine);
        assert_eq!(
            kept(r#"{"tools":[ ],"ttlMs":5,"cacheScope":"public"}"#, false),
            r#"{"tools":[ ],"ttlMs":5,"cacheScope":"private"}"#
        );
        assert_eq!(
            kept(r#"{"ttlMs":-1,"cacheScope":"private"}"#, false),
            r#"{"cacheScope":"private","ttlMs":0}"#
        );
        assert_eq!(
            kept(r#"{"contents":[],"ttlMs":9,"cacheScope":"private"}"#, true),
            r#"{"contents":[],"cacheScope":"private","ttlMs":0}"#
        );
        let asks = r#"{"resultType":"input_required","requestState":"s"}"#;
        assert_eq!(kept(asks, false), asks);
    }

    #[test]
    fn tools_of_the_legacy_era_lose_what_the_modern_one_does_not_know() {
        let list = r#"{"tools":[{"name":"a","execution":{"taskSupport":"optional"},"n":1.0},{"name":"b","inputSchema":{"properties":{"x":{"type":"number","x-mcp-header":"X"}}}}],"nextCursor":"c"}"#;

        assert_eq!(
            tools(list),
            r#"{"tools":[{"name":"a","n":1.0},{"name":"b","inputSchema":{"properties":{"x":{"type":"number"}}}}],"nextCursor":"c"}"#
        );
        let fine = r#"{ "tools":[{"name":"a" }]}"#;
        assert_eq!(tools(fine), fine);
    }

    #[test]
    fn a_result_is_stamped_once() {
        let info = r#"{"name":"s"}"#;
        let stamp = r#""io.modelcontextprotocol/serverInfo":{"name":"s"}"#;

        assert_eq!(stamped(r#"{"a":1}"#, info), format!(r#"{{"a":1,"_meta":{{{stamp}}}}}"#));
        assert_eq!(
            stamped(r#"{"_meta":{"m":1e2},"a":1}"#, info),
            format!(r#"{{"_meta":{{"m":1e2,{stamp}}},"a":1}}"#)
        );
        let own = r#"{"_meta":{"io.modelcontextprotocol/serverInfo":{}}}"#;
        assert_eq!(stamped(own, info), own);
    }
}
