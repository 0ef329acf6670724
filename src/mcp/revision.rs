//! The two eras of MCP on one endpoint, and what changes where they meet.
//!
//! A request is judged by itself: whoever sends per-request metadata is modern, whoever uses
//! `initialize` and a session is legacy; one client may do both
//! (<https://modelcontextprotocol.io/specification/2026-07-28/basic/versioning>).

use axum::http::HeaderMap;

use crate::domain::json::Node;
use crate::protocol::{header_name, meta, method, version};
use crate::upstream::WireEra;

pub(crate) mod cache_hints;
pub(crate) mod headers;
pub(crate) mod translate;

/// Which era a request belongs to: modern if its `_meta` has the version or the client's
/// capabilities, or if `MCP-Protocol-Version` is 2026-07-28 or later; else legacy.
///
/// <https://modelcontextprotocol.io/specification/2026-07-28/basic/versioning>
pub(crate) fn era_of(headers: &HeaderMap, params: Option<&Node<'_>>) -> WireEra {
    let meta = params.and_then(|p| p.get("_meta"));
    let claims = meta.is_some_and(|m| {
        m.get(meta::PROTOCOL_VERSION).is_some() || m.get(meta::CLIENT_CAPABILITIES).is_some()
    });
    let header = header(headers, header_name::PROTOCOL_VERSION).unwrap_or_default();
    // Versions are dates (YYYY-MM-DD), which compare as text.
    if claims || header >= version::MODERN { WireEra::Modern } else { WireEra::Legacy }
}

/// The version that answers an `initialize`: the asked one if it is served, 2025-06-18 for
/// 2025-03-26 (whose batches are refused here), else the newest legacy one.
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/basic/lifecycle#initialization>
pub(crate) fn negotiate(asked: &str) -> &'static str {
    match asked {
        version::V2025_03_26 => version::V2025_06_18,
        asked => {
            version::SERVED_LEGACY.into_iter().find(|v| *v == asked).unwrap_or(version::V2025_11_25)
        }
    }
}

/// A header's value; none if it is absent or not visible ASCII.
pub(crate) fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// Whether a notification does not exist in the modern era: a request's method without an id, or
/// what that era has done away with.
pub(crate) fn is_gone(notification: &str) -> bool {
    !notification.starts_with("notifications/")
        || matches!(
            notification,
            method::NOTIFICATIONS_INITIALIZED
                | method::NOTIFICATIONS_ROOTS_LIST_CHANGED
                | method::NOTIFICATIONS_ELICITATION_COMPLETE
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::json;

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
}
