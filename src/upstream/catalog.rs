//! The full tool list of an upstream: every page of `tools/list`, bounded, each definition kept
//! as its raw text with a fingerprint that changes when the tool is redefined.
//!
//! <https://modelcontextprotocol.io/specification/2025-11-25/server/tools#listing-tools>

use std::collections::HashSet;

use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::common::Common;
use super::link::Link;
use super::{Catalog, Reply, Request, Tool, UpstreamError, WireEra, message, mirrored_headers};
use crate::domain::call::hex;
use crate::domain::json::{self, Node};
use crate::domain::upstream_health::Trouble;
use crate::protocol::method;

/// Most tools of one upstream; with more, its list counts as unreadable.
pub(super) const MAX_TOOLS: usize = 10_000;
/// Most pages of one list.
pub(super) const MAX_PAGES: usize = 1_000;

/// Fetches the whole list over `link`.
///
/// # Errors
/// That of the request; [`UpstreamError::Lost`] for a list that is refused, unreadable or too long.
pub(super) async fn fetch(link: &dyn Link, common: &Common) -> Result<Catalog, UpstreamError> {
    let mut catalog = Catalog::default();
    let mut names = HashSet::new();
    let mut cursor: Option<String> = None;
    for _ in 0..MAX_PAGES {
        let params = cursor.as_deref().map(|c| json::object([("cursor", c)]));
        let request = Request::new(method::TOOLS_LIST, params);
        let page = match link.request(request, None, CancellationToken::new()).await? {
            Reply::Result(page) => page,
            Reply::Error(error) => {
                let why = format!("tools/list was refused: {}", message::error_text(&error));
                return Err(unreadable(common, why));
            }
        };
        // The marks for headers are binding over modern HTTP alone.
        let modern_http = link.is_http() && common.era() == Some(WireEra::Modern);
        cursor = read_page(&page, modern_http, &common.name, &mut names, &mut catalog)
            .map_err(|why| unreadable(common, why))?;
        if cursor.is_none() {
            return Ok(catalog);
        }
    }
    Err(unreadable(common, format!("tools/list has more than {MAX_PAGES} pages")))
}

/// Notes that the server answers, but not with a list.
fn unreadable(common: &Common, why: String) -> UpstreamError {
    common.health.failed(Trouble::List, &why);
    UpstreamError::Lost(why)
}

/// Adds the tools of one page; returns the raw cursor of the next.
fn read_page(
    page: &str,
    check_headers: bool,
    upstream: &str,
    names: &mut HashSet<String>,
    catalog: &mut Catalog,
) -> Result<Option<String>, String> {
    let page = message::readable(page);
    let node = json::parse(&page).map_err(|e| format!("tools/list was answered badly: {e}"))?;
    let tools = node
        .get("tools")
        .and_then(Node::elements)
        .ok_or("tools/list was answered without a list of tools")?;
    for tool in tools {
        let Some(name) = tool.get("name").and_then(Node::as_str) else {
            warn!(%upstream, "a tool without a name was left out");
            continue;
        };
        if check_headers && let Err(why) = mirrored_headers::mirrors(tool.raw) {
            warn!(%upstream, tool = %message::printable(name), "a tool was left out: {why}");
            continue;
        }
        if !names.insert(name.to_owned()) {
            warn!(%upstream, tool = %message::printable(name), "a second tool of that name was left out");
            continue;
        }
        if catalog.tools.len() == MAX_TOOLS {
            return Err(format!("tools/list has more than {MAX_TOOLS} tools"));
        }
        catalog.tools.push(Tool {
            name: name.to_owned(),
            raw: tool.raw.to_owned(),
            fingerprint: hex(&Sha256::digest(tool.canonical())),
        });
    }
    Ok(node.get("nextCursor").filter(|c| c.as_str().is_some()).map(|c| c.raw.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Result<Catalog, String> {
        let mut catalog = Catalog::default();
        read_page(text, true, "u", &mut HashSet::new(), &mut catalog).map(|_| catalog)
    }

    #[test]
    fn the_fingerprint_follows_the_meaning_not_the_spelling() {
        let a = page(r#"{"tools":[{"name":"t","description":"A","inputSchema":{}}]}"#).unwrap();
        let b =
            page(r#"{"tools":[{"inputSchema":{ },"description":"\u0041","name":"t"}]}"#).unwrap();
        let c = page(r#"{"tools":[{"name":"t","description":"B","inputSchema":{}}]}"#).unwrap();

        assert_eq!(a.tools[0].fingerprint, b.tools[0].fingerprint);
        assert_ne!(a.tools[0].fingerprint, c.tools[0].fingerprint);
    }

    #[test]
    fn tools_that_cannot_be_named_or_called_are_left_out() {
        let catalog = page(
            r#"{"tools":[{"title":"x"},{"name":"a","v":1},{"name":"a","v":2},
                {"name":"b","inputSchema":{"x-mcp-header":"X"}}]}"#,
        )
        .unwrap();

        assert_eq!(catalog.tools.len(), 1);
        assert_eq!(catalog.tools[0].raw, r#"{"name":"a","v":1}"#);
    }

    #[test]
    fn more_tools_than_the_limit_are_refused() {
        let list = |n: usize| {
            let tools: Vec<_> = (0..n).map(|i| format!(r#"{{"name":"t{i}"}}"#)).collect();
            format!(r#"{{"tools":[{}]}}"#, tools.join(","))
        };

        assert!(page(&list(MAX_TOOLS)).is_ok());
        assert!(page(&list(MAX_TOOLS + 1)).is_err());
    }

    /// A server whose list never ends.
    struct Endless;

    #[async_trait::async_trait]
    impl Link for Endless {
        async fn request(
            &self,
            _: Request,
            _: Option<crate::upstream::Notifications>,
            _: CancellationToken,
        ) -> Result<Reply, UpstreamError> {
            Ok(Reply::Result(r#"{"tools":[],"nextCursor":"more"}"#.to_owned()))
        }

        async fn notify(&self, _: &str, _: Option<&str>) {}

        async fn connect(&self) -> Result<crate::upstream::ServerFacts, UpstreamError> {
            Err(UpstreamError::Cancelled)
        }

        fn is_live(&self) -> bool {
            true
        }

        fn is_http(&self) -> bool {
            false
        }

        async fn lost(&self) {}

        async fn close(&self) {}
    }

    #[tokio::test]
    async fn a_list_without_end_is_refused() {
        let tracker = tokio_util::task::TaskTracker::new();
        let common = Common::new("u", std::time::Duration::from_secs(1), 1000, None, &tracker);

        let error = fetch(&Endless, &common).await.unwrap_err();

        assert!(error.to_string().contains("more than 1000 pages"), "{error}");
    }
}
