//! The full tool list of an upstream: every page of `tools/list`, bounded, each definition kept
//! as its raw text with a fingerprint that changes when the tool is redefined.
//!
//! <https://modelcontextprotocol.io/specification/2025-11-25/server/tools#listing-tools>

use std::collections::HashSet;

use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::common::{Common, ListBounds};
use super::link::Link;
use super::{
    Catalog, Known, Reply, Request, Tool, UpstreamError, WireEra, message, mirrored_headers,
};
use crate::domain::call::hex;
use crate::domain::catalogue;
use crate::domain::classify::Classified;
use crate::domain::json::{self, Node};
use crate::domain::upstream_health::Trouble;
use crate::protocol::method;

/// Why there is no list.
pub(super) enum Unfetched {
    /// There was no answer.
    Failed(UpstreamError),
    /// It is refused, unreadable or too long: why, in words.
    List(String),
}

impl Unfetched {
    /// The same as the error of a request.
    pub(super) fn error(self) -> UpstreamError {
        match self {
            Self::Failed(error) => error,
            Self::List(why) => UpstreamError::Lost(why),
        }
    }
}

/// Fetches the whole list of tools over `link`, and notes it where that can't be read.
///
/// # Errors
/// Why there is none.
pub(super) async fn fetch(link: &dyn Link, common: &Common) -> Result<Catalog, Unfetched> {
    read(link, common).await.map_err(|unread| {
        let why = match unread {
            Unread::Failed(error) => return Unfetched::Failed(error),
            Unread::Refused(error) => {
                format!("tools/list was refused: {}", message::error_text(&error))
            }
            Unread::Unreadable(why) => why,
        };
        common.health.failed(Trouble::List, &why);
        Unfetched::List(why)
    })
}

/// Reads the whole list of tools over `link`.
///
/// # Errors
/// Why it can't be read.
pub(super) async fn read(link: &dyn Link, common: &Common) -> Result<Catalog, Unread> {
    let mut catalog = Catalog::default();
    let mut names = HashSet::new();
    let most = common.lists.entries;
    pages(link, common.lists, method::TOOLS_LIST, |page| {
        // The marks for headers are binding over modern HTTP alone.
        let modern_http = link.is_http() && link.era() == Some(WireEra::Modern);
        read_page(page, modern_http, common.trusts, &common.name, &mut names, &mut catalog)?;
        if catalog.tools.len() > most {
            let why = format!("tools/list has more than {most} tools (server.max_list_entries)");
            return Err(why);
        }
        Ok(())
    })
    .await?;
    if let Some(facts) = common.facts() {
        recognise(&facts.server_info, &mut catalog);
    }
    Ok(catalog)
}

/// Looks the server up in the catalogue, and its tools there. `server_info`: raw JSON.
fn recognise(server_info: &str, catalog: &mut Catalog) {
    let Ok(info) = json::parse(server_info) else { return };
    let text = |key| info.get(key).and_then(Node::as_str).unwrap_or_default();
    let names: Vec<&str> = catalog.tools.iter().map(|tool| tool.name.as_str()).collect();
    let Some(server) = catalogue::recognise(text("name"), &names) else { return };
    for tool in &mut catalog.tools {
        let known = server.tool(&tool.name);
        if let Some(risk) = known.and_then(|known| known.judge(&tool.fingerprint, &tool.own)) {
            tool.risk = risk;
        }
    }
    catalog.known = Some(Known { server, declares: text("version").to_owned() });
}

/// Why a list was not read.
pub(super) enum Unread {
    /// There was no answer.
    Failed(UpstreamError),
    /// The server refused it: its error, raw JSON.
    Refused(String),
    /// What it answered is no list, or too long a one: why, in words.
    Unreadable(String),
}

/// Reads every page of a list; `take` gets the raw result of each. A cursor that was followed
/// already ends the list: the server would go on in a circle
/// (<https://modelcontextprotocol.io/specification/2025-11-25/server/utilities/pagination>).
///
/// # Errors
/// Why it was not read to its end; the pages before were taken.
pub(super) async fn pages(
    link: &dyn Link,
    bounds: ListBounds,
    method: &str,
    mut take: impl FnMut(&str) -> Result<(), String>,
) -> Result<(), Unread> {
    let mut cursor: Option<String> = None;
    let mut followed = HashSet::new();
    for _ in 0..bounds.pages {
        let params = cursor.as_deref().map(|c| json::object([("cursor", c)]));
        let request = Request::new(method, params);
        let page = match link.request(request, None, CancellationToken::new()).await {
            Ok(Reply::Result(page)) => page,
            Ok(Reply::Error(error)) => return Err(Unread::Refused(error)),
            Err(error) => return Err(Unread::Failed(error)),
        };
        take(&page).map_err(Unread::Unreadable)?;
        let Some((next, raw)) = next_cursor(&page) else { return Ok(()) };
        if !followed.insert(next) {
            debug!("{method} names a next page that was read already: it ends there");
            return Ok(());
        }
        cursor = Some(raw);
    }
    let most = bounds.pages;
    Err(Unread::Unreadable(format!("{method} has more than {most} pages (server.max_list_pages)")))
}

/// The cursor of the page after this one: its JSON escapes decoded, and raw.
fn next_cursor(page: &str) -> Option<(String, String)> {
    let page = message::readable(page);
    let page = json::parse(&page).ok()?;
    let next = page.get("nextCursor")?;
    Some((next.as_str()?.to_owned(), next.raw.to_owned()))
}

/// Adds the tools of one page; `trusted`: what they claim of themselves counts.
fn read_page(
    page: &str,
    check_headers: bool,
    trusted: bool,
    upstream: &str,
    names: &mut HashSet<String>,
    catalog: &mut Catalog,
) -> Result<(), String> {
    let page = message::readable(page);
    let node = json::parse(&page).map_err(|e| format!("tools/list was answered badly: {e}"))?;
    let tools = node
        .get("tools")
        .and_then(Node::elements)
        .ok_or("tools/list was answered without a list of tools")?;
    let mut again = 0_usize;
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
            again += 1;
            continue;
        }
        let own = Classified::of(tool.raw, trusted);
        catalog.tools.push(Tool {
            name: name.to_owned(),
            raw: tool.raw.to_owned(),
            fingerprint: hex(&Sha256::digest(tool.canonical())),
            risk: own.clone(),
            own,
        });
    }
    if again > 0 {
        warn!(%upstream, "{again} tools whose names were listed before were left out");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn page(text: &str) -> Result<Catalog, String> {
        let mut catalog = Catalog::default();
        read_page(text, true, false, "u", &mut HashSet::new(), &mut catalog).map(|()| catalog)
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

    /// A server whose next page is made of the cursor it is asked with, raw JSON.
    struct Pages<F>(F, AtomicUsize);

    #[async_trait::async_trait]
    impl<F: Fn(usize, Option<&str>) -> String + Send + Sync> Link for Pages<F> {
        async fn request(
            &self,
            request: Request,
            _: Option<crate::upstream::Notifications>,
            _: CancellationToken,
        ) -> Result<Reply, UpstreamError> {
            let count = self.1.fetch_add(1, Ordering::SeqCst);
            let params = request.params.unwrap_or_else(|| "{}".into());
            let node = json::parse(&params).unwrap();
            Ok(Reply::Result(self.0(count, node.get("cursor").map(|c| c.raw))))
        }

        async fn notify(&self, _: &str, _: Option<&str>) {}

        async fn connect(&self) -> Result<crate::upstream::ServerFacts, UpstreamError> {
            Err(UpstreamError::Cancelled)
        }

        fn is_live(&self) -> bool {
            true
        }

        fn era(&self) -> Option<WireEra> {
            None
        }

        fn is_http(&self) -> bool {
            false
        }

        async fn lost(&self) {}

        async fn close(&self) {}
    }

    async fn fetched(
        answer: impl Fn(usize, Option<&str>) -> String + Send + Sync,
    ) -> (Result<Vec<String>, String>, usize, bool) {
        let tracker = tokio_util::task::TaskTracker::new();
        let mut common = Common::new("u", std::time::Duration::from_secs(1), 1000, None, &tracker);
        common.lists = ListBounds { pages: 7, entries: 5 };
        let link = Pages(answer, AtomicUsize::new(0));
        let names = |list: Catalog| list.tools.into_iter().map(|tool| tool.name).collect();
        let list =
            fetch(&link, &common).await.map(names).map_err(|error| error.error().to_string());
        (list, link.1.load(Ordering::SeqCst), common.health.read().is_list_unread())
    }

    #[tokio::test]
    async fn a_cursor_that_was_followed_already_ends_the_list_which_is_used() {
        let always = fetched(|_, _| r#"{"tools":[{"name":"a"}],"nextCursor":""}"#.to_owned()).await;
        let circle = fetched(|_, cursor| match cursor {
            None => r#"{"tools":[{"name":"a"}],"nextCursor":"A"}"#.to_owned(),
            Some("\"A\"") => r#"{"tools":[{"name":"b"}],"nextCursor":"B"}"#.to_owned(),
            _ => r#"{"tools":[{"name":"c"}],"nextCursor":"\u0041"}"#.to_owned(),
        })
        .await;

        assert_eq!(always, (Ok(vec!["a".to_owned()]), 2, false));
        assert_eq!(circle, (Ok(["a", "b", "c"].map(str::to_owned).into()), 3, false));
    }

    #[tokio::test]
    async fn a_list_of_more_pages_or_tools_than_the_limits_can_not_be_read() {
        let (pages, count, unread) =
            fetched(|n, _| format!(r#"{{"tools":[],"nextCursor":"{n}"}}"#)).await;
        assert!(pages.unwrap_err().contains("more than 7 pages (server.max_list_pages)"));
        assert_eq!((count, unread), (7, true));

        let of = |n: usize| {
            let tools: Vec<_> = (0..n).map(|i| format!(r#"{{"name":"t{i}"}}"#)).collect();
            format!(r#"{{"tools":[{}]}}"#, tools.join(","))
        };
        assert_eq!(fetched(|_, _| of(5)).await.0.unwrap().len(), 5);
        let (tools, _, unread) = fetched(|_, _| of(6)).await;
        assert!(tools.unwrap_err().contains("more than 5 tools (server.max_list_entries)"));
        assert!(unread);
    }
}
