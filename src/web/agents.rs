//! `/agents`: who calls, how long each is held and why, and what it does now.

use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;

use crate::broker::call::hold_budget::{AgentRow, HoldRow, Source};
use crate::config::Role;
use crate::domain::json;
use crate::domain::time::{Timestamp, in_words};
use crate::domain::visible_text::visible;

use super::Web;
use super::error::Problem;
use super::extract::{Page, Posted};
use super::view::{Frame, When, page};

/// An agent as the HTTP API shows it.
pub(crate) fn to_json(row: &AgentRow) -> String {
    let text = |t: Option<&str>| t.map_or_else(|| "null".to_owned(), json::quote);
    let list = |all: Vec<String>| format!("[{}]", all.join(","));
    let (agent, activity) = (&row.agent, &row.activity);
    json::object([
        ("name", json::quote(&agent.name).as_str()),
        ("owner", &text(agent.owner.as_deref())),
        ("upstreams", &list(row.upstreams.iter().map(|u| json::quote(u)).collect())),
        ("holds", &list(row.holds.iter().map(hold_json).collect())),
        ("client", &text(activity.client.as_deref())),
        ("seen_at", &text(activity.seen_at.map(|t| t.to_string()).as_deref())),
        ("sessions", &activity.sessions.to_string()),
        ("pending", &activity.pending.to_string()),
        ("approved", &activity.approved.to_string()),
    ])
}

fn hold_json(hold: &HoldRow) -> String {
    let drops: Vec<String> = hold.drops.iter().map(u64::to_string).collect();
    let learned = hold.learned.map_or_else(
        || "null".to_owned(),
        |l| {
            json::object([
                ("budget_ms", l.budget_ms.to_string().as_str()),
                ("at", &json::quote(&l.at.to_string())),
                ("until", &json::quote(&l.until().to_string())),
            ])
        },
    );
    json::object([
        ("with_progress", if hold.with_progress { "true" } else { "false" }),
        ("budget_ms", &hold.budget.as_millis().to_string()),
        ("source", &json::quote(hold.source.as_str())),
        ("learned", &learned),
        ("drops_ms", &format!("[{}]", drops.join(","))),
    ])
}

/// One agent on the page.
#[derive(Debug)]
struct Card {
    name: String,
    name_shown: String,
    owner: Option<String>,
    upstreams: String,
    holds: Vec<Line>,
    client: Option<String>,
    seen: Option<When>,
    sessions: i64,
    pending: i64,
    approved: i64,
    may_forget: bool,
}

/// One kind of hold in words.
#[derive(Debug)]
struct Line {
    kind: &'static str,
    budget: String,
    source: &'static str,
    why: String,
    until: Option<When>,
    drops: String,
}

impl Card {
    fn new(row: &AgentRow, admin: bool, now: Timestamp) -> Self {
        let activity = &row.activity;
        Self {
            name: row.agent.name.clone(),
            name_shown: visible(&row.agent.name),
            owner: row.agent.owner.clone(),
            upstreams: row.upstreams.join(", "),
            holds: row.holds.iter().map(|h| Line::new(h, now)).collect(),
            client: activity.client.as_deref().map(visible),
            seen: activity.seen_at.map(|at| When::new(at, now)),
            sessions: activity.sessions,
            pending: activity.pending,
            approved: activity.approved,
            may_forget: admin && row.has_learned(),
        }
    }
}

impl Line {
    fn new(hold: &HoldRow, now: Timestamp) -> Self {
        let (section, own) = if hold.with_progress {
            ("approvals.hold_with_progress", "its own hold_with_progress")
        } else {
            ("approvals.hold", "its own hold")
        };
        let why = match hold.source {
            Source::Approvals => format!("from {section}"),
            Source::Agent => format!("from {own}"),
            Source::Learned => "learned: its client gives up soon after".to_owned(),
        };
        let drops: Vec<String> =
            hold.drops.iter().map(|ms| in_words(Duration::from_millis(*ms))).collect();
        Self {
            kind: if hold.with_progress { "with a progress token" } else { "without one" },
            budget: in_words(hold.budget),
            source: hold.source.as_str(),
            why,
            until: hold.learned.map(|l| When::new(l.until(), now)),
            drops: drops.join(", "),
        }
    }
}

#[derive(Debug, Template)]
#[template(path = "agents.html")]
struct AgentsPage {
    frame: Frame,
    form_token: String,
    agents: Vec<Card>,
}

/// `GET /agents`: the agents, and how long their clients wait.
pub(crate) async fn show(State(web): State<Web>, who: Page) -> Response {
    let rows = match web.broker.agent_rows().await {
        Ok(rows) => rows,
        Err(error) => return who.problem(error),
    };
    let (admin, now) = (who.reviewer.role == Role::Admin, web.broker.now());
    page(
        StatusCode::OK,
        &AgentsPage {
            frame: who.frame("Agents", "agents"),
            form_token: who.form_token().to_owned(),
            agents: rows.iter().map(|row| Card::new(row, admin, now)).collect(),
        },
    )
}

/// The fields of the form that forgets a hold budget.
#[derive(Debug, Deserialize)]
pub(crate) struct Fields {
    agent: Option<String>,
    form_token: Option<String>,
}

/// `POST /agents/forget`: forgets how long an agent's client waits.
pub(crate) async fn forget(State(web): State<Web>, who: Page, fields: Posted<Fields>) -> Response {
    let Posted(fields) = fields;
    let forgotten = async {
        who.check_form(&web, fields.form_token.as_deref())?;
        let agent = fields.agent.ok_or_else(|| Problem::invalid("the form names no agent"))?;
        web.broker.forget_hold_budget(&agent, &who.reviewer).await?;
        Ok(Redirect::to("/agents").into_response())
    };
    forgotten.await.unwrap_or_else(|problem: Problem| who.problem(problem))
}
