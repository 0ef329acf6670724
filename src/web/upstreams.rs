//! `/upstreams`: where calls go, in which era, and what went wrong last. Opening the page sends
//! nothing to the servers.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::broker::call::limits::LimitUse;
use crate::broker::upstreams::UpstreamRow;
use crate::config::Role;
use crate::domain::json;
use crate::domain::time::Timestamp;
use crate::domain::upstream_health::{ListKind, UpstreamState, own_words};
use crate::domain::visible_text::{mixed_script, visible};
use crate::upstream::{ServerFacts, WireEra};

use super::Web;
use super::channels;
use super::extract::Page;
use super::view::{Frame, When, page};

/// An upstream as the HTTP API shows it. What servers say is passed on as they said it, bounded.
pub(crate) fn to_json(row: &UpstreamRow) -> String {
    let text = |t: Option<&str>| t.map_or_else(|| "null".to_owned(), json::quote);
    let health = &row.report.health;
    let facts = row.report.facts.as_ref();
    let target: Vec<String> = row.target.iter().map(|word| json::quote(word)).collect();
    let lists = ListKind::ALL.map(|kind| {
        let read = health.list(kind).map_or_else(
            || "null".to_owned(),
            |read| {
                json::object([
                    ("count", read.count.to_string().as_str()),
                    ("complete", if read.next.is_none() { "true" } else { "false" }),
                    ("read_at", &json::quote(&read.at.to_string())),
                ])
            },
        );
        (kind.as_str(), read)
    });
    let error = health.failure.as_ref().map_or_else(
        || "null".to_owned(),
        |failure| {
            json::object([
                ("at", json::quote(&failure.at.to_string()).as_str()),
                ("kind", &json::quote(failure.trouble.as_str())),
                ("text", &json::quote(&failure.text)),
                ("meaning", &json::quote(failure.trouble.meaning())),
                ("answered_since", if failure.answered_since { "true" } else { "false" }),
            ])
        },
    );
    json::object([
        ("name", json::quote(&row.name).as_str()),
        ("transport", &json::quote(row.transport)),
        ("target", &format!("[{}]", target.join(","))),
        ("state", &json::quote(row.state.as_str())),
        ("era", &text(facts.map(era))),
        ("version", &text(facts.map(|f| f.version.as_str()))),
        ("server", &text(facts.and_then(|f| own_words(&f.server_info)).as_deref())),
        ("connections", &row.report.connections.to_string()),
        ("lists", &json::object(lists.each_ref().map(|(name, read)| (*name, read.as_str())))),
        ("answered_at", &text(health.answered_at.map(|t| t.to_string()).as_deref())),
        ("last_error", &error),
    ])
}

/// A limit as the HTTP API shows it. Amounts are texts: exact decimals.
pub(crate) fn limit_to_json(row: &LimitUse) -> String {
    let LimitUse { limit, used } = row;
    let text = |t: &str| if t.is_empty() { "null".to_owned() } else { json::quote(t) };
    let used = used.iter().map(|used| {
        json::object([
            ("agent", text(&used.agent).as_str()),
            ("tool", &text(&used.tool)),
            ("session", &text(&used.session)),
            ("used", &json::quote(&used.amount.to_string())),
        ])
    });
    json::object([
        ("rule", json::quote(&limit.pointer).as_str()),
        ("counter", &text(limit.counter.as_deref().unwrap_or_default())),
        ("counts", &json::quote(&limit.counts())),
        ("max", &json::quote(&limit.most().to_string())),
        ("per", &json::quote(&limit.window.word())),
        ("scope", &json::quote(limit.scope.as_str())),
        ("used", &json::array(used)),
    ])
}

const fn era(facts: &ServerFacts) -> &'static str {
    match facts.era {
        WireEra::Modern => "modern",
        WireEra::Legacy => "legacy",
    }
}

/// One upstream on the page.
#[derive(Debug)]
struct Card {
    name: String,
    transport: &'static str,
    target: String,
    state: &'static str,
    state_words: &'static str,
    era: Option<(&'static str, String)>,
    server: Option<String>,
    flags: Vec<String>,
    connections: String,
    lists: Vec<ListLine>,
    answered: Option<When>,
    failure: Option<FailureLine>,
}

#[derive(Debug)]
struct ListLine {
    count: String,
    at: When,
}

#[derive(Debug)]
struct FailureLine {
    text: String,
    meaning: &'static str,
    at: When,
    answered_since: bool,
}

impl Card {
    fn new(row: &UpstreamRow, now: Timestamp) -> Self {
        let health = &row.report.health;
        let facts = row.report.facts.as_ref();
        let server = facts.and_then(|f| own_words(&f.server_info));
        let failure = health.failure.as_ref();
        let open = row.report.connections;
        Self {
            name: visible(&row.name),
            transport: match row.transport {
                "stdio" => "a child process (stdio)",
                "sse" => "HTTP+SSE",
                _ => "Streamable HTTP",
            },
            target: visible(&row.target.join(" ")),
            state: row.state.as_str(),
            state_words: row.state.words(),
            era: facts.map(|f| (era(f), visible(&f.version))),
            flags: [
                ("What the server calls itself", server.as_deref()),
                ("What the error says", failure.map(|f| f.text.as_str())),
            ]
            .into_iter()
            .filter_map(|(whose, text)| {
                Some(format!("{whose} may mislead. {}", mixed_script(text?)?))
            })
            .collect(),
            server: server.as_deref().map(visible),
            connections: match (row.transport, open) {
                ("stdio", 0) => "no process runs now; the next request starts one".to_owned(),
                ("stdio", 1) => "1 process runs".to_owned(),
                ("stdio", n) => format!("{n} processes run"),
                (_, 1) => "1 open".to_owned(),
                (_, n) => format!("{n} open"),
            },
            lists: ListKind::ALL
                .into_iter()
                .filter_map(|kind| {
                    let read = health.list(kind)?;
                    let least = if read.next.is_some() { "at least " } else { "" };
                    let count = format!("{least}{} {}", read.count, noun(kind, read.count));
                    Some(ListLine { count, at: When::new(read.at, now) })
                })
                .collect(),
            answered: health.answered_at.map(|at| When::new(at, now)),
            failure: failure.map(|f| FailureLine {
                text: visible(&f.text),
                meaning: f.trouble.meaning(),
                at: When::new(f.at, now),
                answered_since: f.answered_since,
            }),
        }
    }
}

const fn noun(kind: ListKind, count: usize) -> &'static str {
    match (kind, count) {
        (ListKind::Tools, 1) => "tool",
        (ListKind::Tools, _) => "tools",
        (ListKind::Prompts, 1) => "prompt",
        (ListKind::Prompts, _) => "prompts",
        (ListKind::Resources, 1) => "resource",
        (ListKind::Resources, _) => "resources",
        (ListKind::Templates, 1) => "resource template",
        (ListKind::Templates, _) => "resource templates",
    }
}

#[derive(Debug, Template)]
#[template(path = "upstreams.html")]
struct UpstreamsPage {
    frame: Frame,
    failing: usize,
    upstreams: Vec<Card>,
    channels: Vec<channels::Card>,
    form_token: String,
    admin: bool,
}

/// `GET /upstreams`: the upstreams as they were last seen.
pub(crate) async fn show(State(web): State<Web>, who: Page) -> Response {
    let (rows, now) = (web.broker.upstream_rows(), web.broker.now());
    let channels = match web.broker.channel_rows().await {
        Ok(channels) => channels,
        Err(error) => return who.problem(error),
    };
    page(
        StatusCode::OK,
        &UpstreamsPage {
            frame: who.frame("Upstreams", "upstreams"),
            failing: rows.iter().filter(|row| row.state == UpstreamState::Failing).count(),
            upstreams: rows.iter().map(|row| Card::new(row, now)).collect(),
            channels: channels.into_iter().map(|row| channels::Card::new(row, now)).collect(),
            form_token: who.form_token().to_owned(),
            admin: who.reviewer.role == Role::Admin,
        },
    )
}
