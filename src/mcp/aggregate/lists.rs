//! Lists of all upstreams as one: in the order of the configuration, then each upstream's own,
//! page by page. Who is down or slow is missed, and takes nobody with it.

use std::time::Duration;

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::domain::json::{self, Node, edit};
use crate::mcp::answer::{self, Reported};
use crate::mcp::http::Incoming;
use crate::mcp::{Mcp, methods};
use crate::protocol::{code, jsonrpc, method};
use crate::upstream::{Reply, WireEra};

use super::{names, owners, upstreams_of};

/// How long one upstream may take for a list before it is left out.
pub(super) const LIST_WITHIN: Duration = Duration::from_secs(5);

/// One of the lists.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) method: &'static str,
    /// Where the entries are.
    pub(super) key: &'static str,
    /// What names an entry.
    pub(super) name: &'static str,
    /// Without it a server is not asked; tools every server is asked for.
    capability: Option<&'static str>,
}

pub(super) const RESOURCES: Kind = Kind {
    method: method::RESOURCES_LIST,
    key: "resources",
    name: "uri",
    capability: Some("resources"),
};
pub(super) const TEMPLATES: Kind = Kind {
    method: method::RESOURCES_TEMPLATES_LIST,
    key: "resourceTemplates",
    name: "uriTemplate",
    capability: Some("resources"),
};
const TOOLS: Kind =
    Kind { method: method::TOOLS_LIST, key: "tools", name: "name", capability: None };
const PROMPTS: Kind = Kind {
    method: method::PROMPTS_LIST,
    key: "prompts",
    name: "name",
    capability: Some("prompts"),
};

impl Kind {
    /// The list this method asks for.
    pub(super) fn of(method: &str) -> Option<&'static Self> {
        [&TOOLS, &PROMPTS, &RESOURCES, &TEMPLATES].into_iter().find(|k| k.method == method)
    }

    fn is_of_resources(&self) -> bool {
        self.capability == RESOURCES.capability
    }
}

/// Where a page begins.
#[derive(Debug)]
pub(super) struct Start {
    upstreams: Vec<String>,
    /// The first upstream's own cursor, raw JSON.
    cursor: Option<String>,
}

impl Start {
    /// Reads `params.cursor`.
    pub(super) fn read(
        mcp: &Mcp,
        incoming: &Incoming,
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

/// A place in the list: the upstream, and its own cursor as it sent it.
fn cursor(upstream: &str, own: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("[{},{own}]", json::quote(upstream)))
}

fn read_cursor(text: &str) -> Option<(String, String)> {
    let decoded = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let node = json::parse(&decoded).ok()?;
    let [upstream, own] = node.elements()? else { return None };
    own.as_str()?;
    Some((upstream.as_str()?.to_owned(), own.raw.to_owned()))
}

/// What one upstream answered.
#[derive(Debug)]
pub(super) enum Asked {
    /// This.
    Replied(Reply),
    /// It does not have what was asked for, and was not bothered.
    Incapable,
    /// Nothing: it is down, slow or unreadable.
    Missing,
}

/// Asks one upstream, with patience that ends, and answers in the client's terms.
pub(super) async fn ask(
    mcp: &Mcp,
    one: &Incoming,
    capability: Option<&str>,
    cancel: &CancellationToken,
) -> Asked {
    let asked = async {
        let server = mcp.broker.upstream(&one.upstream)?;
        let caller = one.caller();
        if let Some(capability) = capability {
            let facts = server.facts(&caller).await.ok()?;
            let has = json::parse(&facts.capabilities).is_ok_and(|c| c.get(capability).is_some());
            if !has {
                return Some(Asked::Incapable);
            }
        }
        let request = methods::request_of(one);
        let reply = server.request(&caller, request, None, cancel.clone()).await.ok()?;
        Some(Asked::Replied(answer::in_terms_of(mcp, one, reply).await))
    };
    let asked = tokio::time::timeout(LIST_WITHIN, asked).await.ok().flatten();
    asked.unwrap_or_else(|| {
        tracing::debug!(upstream = %one.upstream, "left out of {}", one.message.method);
        Asked::Missing
    })
}

/// One page of one upstream.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Raw entries.
    pub(super) entries: Vec<String>,
    /// Its own cursor for the next, raw JSON.
    pub(super) next: Option<String>,
    /// How long it may be kept, milliseconds; none: as long as the others.
    ttl_ms: Option<u64>,
}

/// What became of asking for a page.
pub(super) enum Turned {
    Page(Page),
    /// The upstream refuses its cursor, raw JSON.
    Refused(String),
    Missing,
}

/// Fetches one page of one upstream.
pub(super) async fn page(
    mcp: &Mcp,
    incoming: &Incoming,
    upstream: &str,
    kind: &Kind,
    cursor: Option<&str>,
    cancel: &CancellationToken,
) -> Turned {
    let mut one = incoming.to(upstream, list_params(incoming.message.params.as_deref(), cursor));
    kind.method.clone_into(&mut one.message.method);
    match ask(mcp, &one, kind.capability, cancel).await {
        Asked::Replied(Reply::Result(raw)) => {
            read_page(kind, &raw).map_or(Turned::Missing, Turned::Page)
        }
        Asked::Incapable => Turned::Page(Page::default()),
        Asked::Replied(Reply::Error(raw)) => match jsonrpc::error_code(&raw) {
            Some(code::METHOD_NOT_FOUND) => Turned::Page(Page::default()),
            Some(code::INVALID_PARAMS) if cursor.is_some() => Turned::Refused(raw),
            _ => Turned::Missing,
        },
        Asked::Missing if *kind == TOOLS && cursor.is_none() => {
            known_tools(mcp, &one).await.map_or(Turned::Missing, Turned::Page)
        }
        Asked::Missing => Turned::Missing,
    }
}

/// The tools an upstream had when it was reached last.
async fn known_tools(mcp: &Mcp, one: &Incoming) -> Option<Page> {
    let catalog = mcp.broker.upstream(&one.upstream)?.catalog()?;
    let tools = json::array(catalog.tools.iter().map(|t| &t.raw));
    let list = Reply::Result(json::object([("tools", tools.as_str())]));
    let Reply::Result(raw) = answer::in_terms_of(mcp, one, list).await else { return None };
    Some(Page { ttl_ms: Some(0), ..read_page(&TOOLS, &raw)? })
}

fn list_params(sent: Option<&str>, cursor: Option<&str>) -> Option<String> {
    let rest = sent.map(|p| edit::without(p, &["cursor"]));
    match (rest, cursor) {
        (rest, None) => rest,
        (rest, Some(cursor)) => {
            Some(edit::with(rest.as_deref().unwrap_or("{}"), &[("cursor", cursor)]))
        }
    }
}

fn read_page(kind: &Kind, raw: &str) -> Option<Page> {
    let node = json::parse(raw).ok()?;
    let entries = node.get(kind.key)?.elements()?.iter().map(|e| e.raw.to_owned()).collect();
    let next = node.get("nextCursor").filter(|c| c.as_str().is_some());
    let ttl = node.get("ttlMs").and_then(Node::as_number).and_then(|n| n.parse().ok());
    Some(Page { entries, next: next.map(|c| c.raw.to_owned()), ttl_ms: Some(ttl.unwrap_or(0)) })
}

/// A page of the merged list.
pub(super) async fn merged(
    mcp: &Mcp,
    incoming: &Incoming,
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
    incoming: &'m Incoming,
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
        let mut members = vec![(self.kind.key, json::array(&self.entries))];
        if let Some(next) = self.next {
            members.push(("nextCursor", json::quote(&next)));
        }
        if self.incoming.era == WireEra::Modern {
            members.push(("resultType", "\"complete\"".to_owned()));
            members.push(("ttlMs", self.ttl_ms.unwrap_or(0).to_string()));
            // Another agent has other upstreams.
            members.push(("cacheScope", "\"private\"".to_owned()));
        }
        let result = json::object(members.iter().map(|(k, v)| (*k, v.as_str())));
        (StatusCode::OK, jsonrpc::result(self.incoming.message.id_raw(), &result))
    }
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

    #[test]
    fn only_the_cursor_of_the_params_differs() {
        let sent = r#"{"cursor":"mine","x":1.0}"#;

        assert_eq!(list_params(Some(sent), None).as_deref(), Some(r#"{"x":1.0}"#));
        assert_eq!(
            list_params(Some(sent), Some("\"c\"")).as_deref(),
            Some(r#"{"x":1.0,"cursor":"c"}"#)
        );
        assert_eq!(list_params(None, None), None);
        assert_eq!(list_params(None, Some("\"c\"")).as_deref(), Some(r#"{"cursor":"c"}"#));
    }
}
