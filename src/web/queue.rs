//! `/`: what waits for people.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::broker::Broker;
use crate::config::Reviewer;
use crate::domain::approval::{Approval, State as Stands};
use crate::domain::show::visible;
use crate::domain::time::in_words;
use crate::store::Filter;

use super::Web;
use super::arguments::one_line;
use super::call::{May, may, progress};
use super::error::Problem;
use super::extract::Page;
use super::view::{Frame, When, page, state_words};

/// Most approvals per section.
const MAX_SHOWN: u32 = 100;

/// Characters of arguments in a list.
const MAX_LINE: usize = 160;

/// Seconds after which the queue reloads by itself.
const REFRESH: u32 = 15;

/// One approval in a list.
#[derive(Debug)]
pub struct Row {
    /// Its id.
    pub id: String,
    /// The state's word.
    pub state: &'static str,
    /// The state in words.
    pub state_words: &'static str,
    /// The tool.
    pub tool: String,
    /// The upstream.
    pub upstream: String,
    /// The agent.
    pub agent: String,
    /// Masked arguments on one line.
    pub arguments: String,
    /// Whether a request waits now.
    pub waiting: bool,
    /// Time until it expires, in words.
    pub left: Option<String>,
    /// Whether that is less than two minutes.
    pub urgent: bool,
    /// Approvals given and needed, where more than one is.
    pub progress: Option<String>,
    /// When it came.
    pub created: When,
    /// Who decided, or what ended it.
    pub decided: Option<String>,
    /// What this person may do.
    pub may: May,
}

impl Row {
    /// As this reviewer sees it.
    pub fn new(broker: &Broker, a: &Approval, reviewer: &Reviewer) -> Self {
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
            upstream: a.call.upstream.clone(),
            agent: a.agent.clone(),
            arguments: one_line(&a.call.arguments(), broker.masker(), &a.terms.redact, MAX_LINE),
            waiting: a.waiting,
            urgent: left.is_some_and(|l| l.as_secs() < 120),
            left: left.map(in_words),
            progress: (a.terms.quorum > 1).then(|| progress(a)),
            created: When::new(a.created_at, now),
            decided: a
                .deciding()
                .map(|d| format!("{} by {}", super::view::verb(d.choice), d.reviewer)),
            may: may(a, reviewer, now),
        }
    }
}

#[derive(Debug, Template)]
#[template(path = "approvals/queue.html")]
struct QueuePage {
    frame: Frame,
    form_token: String,
    pending: Vec<Row>,
    approved: Vec<Row>,
    unsettled: Vec<Row>,
    max_shown: usize,
}

async fn rows(web: &Web, who: &Page, state: Stands) -> Result<Vec<Row>, Problem> {
    let filter = Filter {
        states: vec![state],
        unsettled: state == Stands::Indeterminate,
        limit: MAX_SHOWN,
        ..Filter::default()
    };
    let approvals = web.broker.list_for(&who.reviewer, filter).await?;
    Ok(approvals.iter().map(|a| Row::new(&web.broker, a, &who.reviewer)).collect())
}

/// `GET /`
pub async fn show(State(web): State<Web>, who: Page) -> Response {
    let shown = async {
        let pending = rows(&web, &who, Stands::Pending).await?;
        let mut frame = who.frame("Queue", "queue");
        frame.refresh = Some(REFRESH);
        Ok(page(
            StatusCode::OK,
            &QueuePage {
                form_token: who.form_token().to_owned(),
                frame,
                pending,
                approved: rows(&web, &who, Stands::Approved).await?,
                unsettled: rows(&web, &who, Stands::Indeterminate).await?,
                max_shown: MAX_SHOWN as usize,
            },
        ))
    };
    shown.await.unwrap_or_else(|problem: Problem| who.problem(problem))
}
