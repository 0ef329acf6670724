//! `/`: what waits for people.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::auth::Proven;
use crate::broker::Broker;
use crate::broker::people::rights::Rights;
use crate::domain::approval::{Approval, State as Stands, Via};
use crate::domain::json;
use crate::domain::risk;
use crate::domain::time::in_words;
use crate::domain::visible_text::{mixed_script, mixed_script_in, visible};
use crate::store::Filter;

use super::Web;
use super::arguments::{has_secrets, one_line};
use super::call_view::progress;
use super::error::Problem;
use super::extract::Page;
use super::view::{Frame, When, page, state_words};

/// Most approvals per section.
const MAX_SHOWN: u32 = 100;

/// Longest line of arguments in a list, characters.
pub(crate) const MAX_LINE: usize = 160;

/// Seconds after which the queue reloads by itself.
const REFRESH: u32 = 15;

/// One approval in a list.
#[derive(Debug)]
pub(crate) struct Row {
    /// The approval's id.
    pub id: String,
    /// The state's word, as in the API.
    pub state: &'static str,
    /// The state in words, for people.
    pub state_words: &'static str,
    /// The title of the call, made visible: the tool's name, anything else with its method.
    pub tool: String,
    /// Whether a name or argument has letters that pass for others.
    pub look_alike: bool,
    /// The name of the upstream it goes to.
    pub upstream: String,
    /// The name of the agent that asks.
    pub agent: String,
    /// Masked arguments on one line.
    pub arguments: String,
    /// Whether a held request of the agent waits for it now.
    pub waiting: bool,
    /// Time until it expires, in words.
    pub left: Option<String>,
    /// Risk and severity, where the rule says them.
    pub risk: Option<String>,
    /// The digest of the call.
    pub digest: String,
    /// Whether less than two minutes are left.
    pub urgent: bool,
    /// Approvals given and needed, where more than one is.
    pub progress: Option<String>,
    /// When the approval was asked for.
    pub created: When,
    /// Who decided, or what ended it.
    pub decided: Option<String>,
    /// What this reviewer may do with it.
    pub rights: Rights,
}

impl Row {
    /// The row as this reviewer sees it.
    pub(crate) fn new(broker: &Broker, a: &Approval, who: Proven<'_>) -> Self {
        let now = broker.now();
        let deadline = match a.state {
            Stands::Pending => Some(a.expires_at),
            Stands::Approved => a.claim_deadline,
            _ => None,
        };
        let left = deadline.filter(|d| *d > now).map(|d| now.until(d));
        Self {
            id: a.id.to_string(),
            state: a.state.as_str(),
            state_words: state_words(a, now),
            tool: visible(&a.call.title()),
            look_alike: look_alike(broker, a),
            upstream: visible(&a.call.upstream),
            agent: visible(&a.agent),
            arguments: one_line(&a.call.arguments(), broker.masker(), &a.terms.redact, MAX_LINE),
            waiting: a.waiting,
            risk: risk::in_words(a.risk, a.severity),
            digest: a.digest().to_string(),
            urgent: left.is_some_and(|l| l.as_secs() < 120),
            left: left.map(in_words),
            progress: (a.terms.quorum > 1).then(|| progress(a)),
            created: When::new(a.created_at, now),
            decided: a
                .deciding()
                .map(|d| format!("{} by {}", super::view::verb(d.choice), d.reviewer)),
            rights: Rights::of(a, who, Via::Web, now),
        }
    }
}

/// Whether the call has letters that pass for others, in its names or anywhere in what would be
/// sent. Masked values are not looked at.
fn look_alike(broker: &Broker, a: &Approval) -> bool {
    let inside = |raw: &str| {
        let masked = broker.masker().mask(raw, &a.terms.redact);
        json::parse(&masked).is_ok_and(|n| mixed_script_in(&n).is_some())
    };
    // ASCII is nearly everything there is; only escapes can hide another letter in it.
    let params = &a.call.params;
    let names = [Some(a.agent.as_str()), Some(&a.call.upstream), a.client.as_deref()];
    names.into_iter().flatten().any(|name| mixed_script(name).is_some())
        || ((!params.is_ascii() || params.contains("\\u")) && inside(params))
}

/// Whether a call may be approved together with others: its rule gives a severity that is not
/// critical, and the queue showed the whole call.
pub(crate) fn may_approve_together(web: &Web, a: &Approval) -> bool {
    let whole = one_line(&a.call.arguments(), web.broker.masker(), &a.terms.redact, MAX_LINE);
    risk::may_be_decided_lightly(a.severity)
        && !whole.ends_with('…')
        && !has_secrets(&a.call.arguments(), web.broker.masker(), &a.terms.redact)
}

#[derive(Debug, Template)]
#[template(path = "approvals/queue.html")]
struct QueuePage {
    frame: Frame,
    form_token: String,
    pending: Vec<Row>,
    approved: Vec<Row>,
    unsettled: Vec<Row>,
    /// How many wait, in words: `100+` where more wait than are shown.
    pending_text: String,
    /// Whether any may be chosen, and whether several may be approved together.
    selectable: bool,
    together: bool,
    upstream: String,
    tool: String,
    agent: String,
    narrowed: bool,
}

/// The query that narrows the queue; empty fields don't narrow.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Narrow {
    upstream: Option<String>,
    tool: Option<String>,
    agent: Option<String>,
}

async fn listed(
    web: &Web,
    who: &Page,
    narrow: &Narrow,
    state: Stands,
) -> Result<Vec<Approval>, Problem> {
    let given = |field: &Option<String>| field.clone().filter(|f| !f.is_empty());
    let filter = Filter {
        states: vec![state],
        unsettled: state == Stands::Indeterminate,
        upstream: given(&narrow.upstream),
        tool: given(&narrow.tool),
        agent: given(&narrow.agent),
        by_urgency: state == Stands::Pending,
        limit: MAX_SHOWN,
        ..Filter::default()
    };
    Ok(web.broker.list_for(&who.reviewer, filter).await?)
}

/// `GET /`: the queue of this reviewer.
pub(crate) async fn show(
    State(web): State<Web>,
    who: Page,
    Query(narrow): Query<Narrow>,
) -> Response {
    let shown = async {
        let rows = |all: &[Approval]| {
            all.iter().map(|a| Row::new(&web.broker, a, who.proven())).collect::<Vec<_>>()
        };
        let waiting = listed(&web, &who, &narrow, Stands::Pending).await?;
        let pending = rows(&waiting);
        let mut frame = who.frame("Queue", "queue");
        frame.refresh = Some(REFRESH);
        frame.live = true;
        let more = if pending.len() >= MAX_SHOWN as usize { "+" } else { "" };
        let pending_text = format!("{}{more}", pending.len());
        if !pending.is_empty() {
            frame.title = format!("({pending_text}) Queue");
        }
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (upstream, tool, agent) =
            (text(&narrow.upstream), text(&narrow.tool), text(&narrow.agent));
        Ok(page(
            StatusCode::OK,
            &QueuePage {
                form_token: who.form_token().to_owned(),
                frame,
                selectable: pending.iter().any(|row| row.rights.reject.is_ok()),
                together: waiting
                    .iter()
                    .zip(&pending)
                    .any(|(a, row)| row.rights.approve.is_ok() && may_approve_together(&web, a)),
                pending,
                approved: rows(&listed(&web, &who, &narrow, Stands::Approved).await?),
                unsettled: rows(&listed(&web, &who, &narrow, Stands::Indeterminate).await?),
                pending_text,
                narrowed: !(upstream.is_empty() && tool.is_empty() && agent.is_empty()),
                upstream,
                tool,
                agent,
            },
        ))
    };
    shown.await.unwrap_or_else(|problem: Problem| who.problem(problem))
}
