//! Lists of all upstreams as one: in the order of the configuration, then each upstream's own,
//! page by page. An upstream that is down or slow is left out, and keeps no other waiting.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::domain::json::{self, Node};
use crate::mcp::Mcp;
use crate::mcp::request::{ClientRequest, upstreams_of};
use crate::mcp::response::Reported;
use crate::protocol::jsonrpc;
use crate::upstream::WireEra;

use super::page::{Kind, Turned, page};
use super::{names, owners};

/// Where a page begins.
#[derive(Debug)]
pub(crate) struct Start {
    upstreams: Vec<String>,
    /// The first upstream's own cursor, raw JSON.
    cursor: Option<String>,
}

impl Start {
    /// Reads `params.cursor`.
    ///
    /// # Errors
    /// What is wrong with the cursor, in words: it is none of this list, or of an upstream that the
    /// agent no longer has.
    pub(crate) fn read(
        mcp: &Mcp,
        incoming: &ClientRequest,
        params: Option<&Node<'_>>,
    ) -> Result<Self, String> {
        let mut upstreams = upstreams_of(mcp, &incoming.agent);
        let Some(sent) = params.and_then(|p| p.get("cursor")) else {
            return Ok(Self { upstreams, cursor: None });
        };
        let read = sent.as_str().and_then(read_cursor).and_then(|(upstream, cursor)| {
            Some((upstreams.iter().position(|u| *u == upstream)?, cursor))
        });
        let Some((at, cursor)) = read else {
            return Err("params.cursor is none of this list: begin anew without it".to_owned());
        };
        upstreams.drain(..at);
        Ok(Self { upstreams, cursor: Some(cursor) })
    }
}

/// A place in the list as an opaque cursor: Base64 (URL) of `[upstream, its own cursor]`.
pub(crate) fn cursor(upstream: &str, own: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("[{},{own}]", json::quote(upstream)))
}

fn read_cursor(text: &str) -> Option<(String, String)> {
    let decoded = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let node = json::parse(&decoded).ok()?;
    let [upstream, own] = node.elements()? else { return None };
    own.as_str()?;
    Some((upstream.as_str()?.to_owned(), own.raw.to_owned()))
}

/// A page of the merged list.
pub(crate) async fn merged(
    mcp: &Mcp,
    incoming: &ClientRequest,
    kind: &'static Kind,
    start: Start,
    cancel: &CancellationToken,
) -> Reported {
    let turn = async |upstream: &str, cursor: Option<&str>| {
        page(mcp, incoming, upstream, kind, cursor, cancel).await
    };
    let mut list = Merged { mcp, incoming, kind, entries: Vec::new(), next: None, ttl_ms: None };
    let mut rest = start.upstreams.as_slice();
    let known = async {
        if kind.is_of_resources() {
            owners::refresh(mcp, incoming).await;
        }
    };
    let pages;
    if let (Some(own), Some((first, others))) = (&start.cursor, rest.split_first()) {
        // While one upstream has more pages the others need not be asked.
        let ((), turned) = tokio::join!(known, turn(first, Some(own)));
        if let Turned::Refused(raw) = turned {
            return (StatusCode::OK, jsonrpc::error_raw(incoming.message.id_raw(), &raw));
        }
        if list.takes(first, turned) {
            return list.answer();
        }
        rest = others;
        pages = join_all(rest.iter().map(|upstream| turn(upstream, None))).await;
    } else {
        let all = join_all(rest.iter().map(|upstream| turn(upstream, None)));
        ((), pages) = tokio::join!(known, all);
    }
    for (upstream, turned) in rest.iter().zip(pages) {
        if list.takes(upstream, turned) {
            break;
        }
    }
    list.answer()
}

struct Merged<'m> {
    mcp: &'m Mcp,
    incoming: &'m ClientRequest,
    kind: &'static Kind,
    entries: Vec<String>,
    next: Option<String>,
    ttl_ms: Option<u64>,
}

impl Merged<'_> {
    /// Adds a page; true if the upstream has another, so that the others' turn has not come.
    fn takes(&mut self, upstream: &str, turned: Turned) -> bool {
        let page = match turned {
            Turned::Page(page) => page,
            Turned::Refused(_) | Turned::Missing => {
                self.ttl_ms = Some(0);
                return false;
            }
        };
        self.ttl_ms = match (self.ttl_ms, page.ttl_ms) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let named = |entry: &String| self.named(upstream, entry);
        let entries: Vec<String> = page.entries.iter().filter_map(named).collect();
        self.entries.extend(entries);
        self.next = page.next.map(|own| cursor(upstream, &own));
        self.next.is_some()
    }

    /// An entry under the name it has here.
    fn named(&self, upstream: &str, entry: &str) -> Option<String> {
        let node = json::parse(entry).ok()?;
        let agent = &self.incoming.agent;
        names::renamed(&node, self.kind.name, |own| {
            if self.kind.is_of_resources() {
                owners::shown(self.mcp, agent, upstream, self.kind, own)
            } else {
                names::name(upstream, own)
            }
        })
    }

    fn answer(self) -> Reported {
        let next = self.next.as_deref();
        let result = list(self.incoming.era, self.kind, &self.entries, next, self.ttl_ms);
        (StatusCode::OK, jsonrpc::result(self.incoming.message.id_raw(), &result))
    }
}

/// The result (raw JSON) that is a list without entries.
pub(crate) fn empty(era: WireEra, kind: &Kind) -> String {
    list(era, kind, &[], None, None)
}

fn list(
    era: WireEra,
    kind: &Kind,
    entries: &[String],
    next: Option<&str>,
    ttl_ms: Option<u64>,
) -> String {
    let mut members = vec![(kind.key, json::array(entries))];
    if let Some(next) = next {
        members.push(("nextCursor", json::quote(next)));
    }
    if era == WireEra::Modern {
        members.push(("resultType", "\"complete\"".to_owned()));
        members.push(("ttlMs", ttl_ms.unwrap_or(0).to_string()));
        // Another agent has other upstreams.
        members.push(("cacheScope", "\"private\"".to_owned()));
    }
    json::object(members.iter().map(|(k, v)| (*k, v.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_was_given() {
        let place = cursor("images", r#""p\u00e4ge 2""#);

        assert_eq!(read_cursor(&place), Some(("images".to_owned(), r#""p\u00e4ge 2""#.to_owned())));
        for text in
            ["", "page 2", &URL_SAFE_NO_PAD.encode("[\"a\",7]"), &URL_SAFE_NO_PAD.encode("7")]
        {
            assert_eq!(read_cursor(text), None, "{text}");
        }
    }
}
