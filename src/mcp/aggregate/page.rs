//! One page of one upstream's list, asked for within a time limit.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::json::{self, Node, edit};
use crate::mcp::request::{self, ClientRequest};
use crate::mcp::{Mcp, response};
use crate::protocol::{code, jsonrpc, method};
use crate::upstream::Reply;

/// How long one upstream may take for a list before it is left out.
pub(crate) const LIST_WITHIN: Duration = Duration::from_secs(5);

/// One of the lists.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) method: &'static str,
    /// The member of a result that holds the entries.
    pub(crate) key: &'static str,
    /// The member of an entry that names it.
    pub(crate) name: &'static str,
    /// The capability without which a server is not asked; none for tools, which every server is
    /// asked for.
    capability: Option<&'static str>,
}

pub(crate) const RESOURCES: Kind = Kind {
    method: method::RESOURCES_LIST,
    key: "resources",
    name: "uri",
    capability: Some("resources"),
};

pub(crate) const TEMPLATES: Kind = Kind {
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
    pub(crate) fn of(method: &str) -> Option<&'static Self> {
        [&TOOLS, &PROMPTS, &RESOURCES, &TEMPLATES].into_iter().find(|k| k.method == method)
    }

    pub(crate) fn is_of_resources(&self) -> bool {
        self.capability == RESOURCES.capability
    }
}

/// What one upstream answered.
#[derive(Debug)]
pub(crate) enum Asked {
    /// Its result or error, in the client's terms.
    Replied(Reply),
    /// It does not declare the capability, so it was not asked.
    Incapable,
    /// It did not answer: it is down, slow or unreadable.
    Missing,
}

/// Asks one upstream, at most [`LIST_WITHIN`], and answers in the client's terms.
pub(crate) async fn ask(
    mcp: &Mcp,
    one: &ClientRequest,
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
        let request = request::request_of(one);
        let reply = server.request(&caller, request, None, cancel.clone()).await.ok()?;
        Some(Asked::Replied(response::in_terms_of(mcp, one, reply).await))
    };
    let asked = tokio::time::timeout(LIST_WITHIN, asked).await.ok().flatten();
    asked.unwrap_or_else(|| {
        tracing::debug!(upstream = %one.upstream, "left out of {}", one.message.method);
        Asked::Missing
    })
}

/// One page of one upstream.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Raw entries.
    pub(crate) entries: Vec<String>,
    /// Its own cursor for the next, raw JSON.
    pub(crate) next: Option<String>,
    /// How long it may be kept, milliseconds; none: as long as the others.
    pub(crate) ttl_ms: Option<u64>,
}

/// What became of asking for a page.
pub(crate) enum Turned {
    Page(Page),
    /// The upstream refuses its cursor, raw JSON.
    Refused(String),
    Missing,
}

/// Fetches one page of one upstream.
pub(crate) async fn page(
    mcp: &Mcp,
    incoming: &ClientRequest,
    upstream: &str,
    kind: &Kind,
    cursor: Option<&str>,
    cancel: &CancellationToken,
) -> Turned {
    if mcp.broker.policies().of(upstream).is_none() {
        // Nothing of it is for anybody.
        return Turned::Page(Page::default());
    }
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
async fn known_tools(mcp: &Mcp, one: &ClientRequest) -> Option<Page> {
    let catalog = mcp.broker.upstream(&one.upstream)?.catalog()?;
    let tools = json::array(catalog.tools.iter().map(|t| &t.raw));
    let list = Reply::Result(json::object([("tools", tools.as_str())]));
    let Reply::Result(raw) = response::in_terms_of(mcp, one, list).await else { return None };
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

#[cfg(test)]
mod tests {
    use super::*;

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
