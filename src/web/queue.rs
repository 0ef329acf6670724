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
use crate::store::{Filter, Fold};

use super::Web;
use super::arguments::{has_secrets, one_line};
use super::call_view::progress;
use super::error::Problem;
use super::extract::Page;
use super::view::{Frame, When, page, state_words};

/// Most approvals of a page, and of the other sections.
const MAX_SHOWN: u32 = 100;

/// An agent with many calls is folded, so that it can't bury another's.
const FOLD: Fold = Fold { over: 20, shown: 10 };

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
            arguments: one_line(
                &a.call.listed_arguments(),
                broker.masker(),
                &a.terms.redact,
                MAX_LINE,
            ),
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
    let whole =
        one_line(&a.call.listed_arguments(), web.broker.masker(), &a.terms.redact, MAX_LINE);
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
    /// How many wait, on all pages and in all folds.
    pending_text: u64,
    /// The agents with more calls than are listed, and how many more.
    folds: Vec<AgentFold>,
    /// The number of the page before this one, and of the one after it.
    before: Option<u32>,
    after: Option<u32>,
    /// The rest of the query that narrows the queue, for links to other pages.
    query: String,
    /// Whether any may be chosen, and whether several may be approved together.
    selectable: bool,
    together: bool,
    upstream: String,
    tool: String,
    agent: String,
    narrowed: bool,
}

/// Calls of one agent that are not listed.
#[derive(Debug)]
struct AgentFold {
    /// The agent's name, made visible.
    agent: String,
    /// The query that lists all of its calls.
    query: String,
    /// How many are not listed.
    more: u64,
}

/// The query that narrows the queue; empty fields don't narrow.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Narrow {
    page: Option<String>,
    upstream: Option<String>,
    tool: Option<String>,
    agent: Option<String>,
}

impl Narrow {
    fn filter(&self, state: Stands) -> Filter {
        let given = |field: &Option<String>| field.clone().filter(|f| !f.is_empty());
        Filter {
            states: vec![state],
            unsettled: state == Stands::Indeterminate,
            upstream: given(&self.upstream),
            tool: given(&self.tool),
            agent: given(&self.agent),
            limit: MAX_SHOWN,
            ..Filter::default()
        }
    }

    /// Which page of the pending ones, from 1.
    fn page(&self) -> u32 {
        self.page.as_deref().and_then(|page| page.parse().ok()).unwrap_or(1).clamp(1, 1_000)
    }

    /// The query without the page.
    fn query(&self, agent: Option<&str>) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let agent = agent.or(self.agent.as_deref());
        for (key, value) in [
            ("upstream", self.upstream.as_deref()),
            ("tool", self.tool.as_deref()),
            ("agent", agent),
        ] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                query.append_pair(key, value);
            }
        }
        query.finish()
    }
}

/// The pending approvals of one page, and what is not on it.
struct Pending {
    shown: Vec<Approval>,
    /// How many there are.
    count: u64,
    folds: Vec<AgentFold>,
    /// Whether a further page has more.
    goes_on: bool,
}

async fn pending(web: &Web, who: &Page, narrow: &Narrow) -> Result<Pending, Problem> {
    let filter = narrow.filter(Stands::Pending);
    let counts = web.broker.count_by_agent(&who.reviewer, filter.clone()).await?;
    // Whoever asks for one agent's calls wants to see them all.
    let fold = filter.agent.is_none().then_some(FOLD);
    let listed_of = |n: u64| match fold {
        Some(fold) if n > u64::from(fold.over) => u64::from(fold.shown),
        _ => n,
    };
    let folds = counts
        .iter()
        .filter(|(_, n)| listed_of(*n) < *n)
        .map(|(agent, n)| AgentFold {
            agent: visible(agent),
            query: narrow.query(Some(agent)),
            more: n - listed_of(*n),
        })
        .collect();
    let offset = (narrow.page() - 1) * MAX_SHOWN;
    let filter = Filter { by_urgency: true, fold, offset, ..filter };
    let shown = web.broker.list_for(&who.reviewer, filter).await?;
    let listed: u64 = counts.iter().map(|(_, n)| listed_of(*n)).sum();
    Ok(Pending {
        goes_on: listed > u64::from(offset) + shown.len() as u64 && !shown.is_empty(),
        shown,
        count: counts.iter().map(|(_, n)| n).sum(),
        folds,
    })
}

async fn listed(
    web: &Web,
    who: &Page,
    narrow: &Narrow,
    state: Stands,
) -> Result<Vec<Approval>, Problem> {
    Ok(web.broker.list_for(&who.reviewer, narrow.filter(state)).await?)
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
        let Pending { shown: waiting, count, folds, goes_on } =
            pending(&web, &who, &narrow).await?;
        let pending = rows(&waiting);
        let mut frame = who.frame("Queue", "queue");
        frame.refresh = Some(REFRESH);
        frame.live = true;
        if count > 0 {
            frame.title = format!("({count}) Queue");
        }
        let number = narrow.page();
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
                pending_text: count,
                folds,
                before: (number > 1).then(|| number - 1),
                after: goes_on.then_some(number + 1),
                query: narrow.query(None),
                narrowed: !(upstream.is_empty() && tool.is_empty() && agent.is_empty()),
                upstream,
                tool,
                agent,
            },
        ))
    };
    shown.await.unwrap_or_else(|problem: Problem| who.problem(problem))
}
