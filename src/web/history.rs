//! `/history`: what was decided and what became of it, newest first.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::domain::approval::{ApprovalId, State as Stands};
use crate::store::Filter;

use super::Web;
use super::error::Problem;
use super::extract::{Page, encode};
use super::queue::Row;
use super::view::{Frame, page};

/// Approvals per page.
const PER_PAGE: u32 = 50;

/// What to show; empty fields don't narrow.
#[derive(Debug, Default, Deserialize)]
pub struct Narrow {
    state: Option<String>,
    upstream: Option<String>,
    tool: Option<String>,
    agent: Option<String>,
    cursor: Option<String>,
}

#[derive(Debug, Template)]
#[template(path = "approvals/history.html")]
struct HistoryPage {
    frame: Frame,
    rows: Vec<Row>,
    states: Vec<(&'static str, bool)>,
    upstream: String,
    tool: String,
    agent: String,
    older: Option<String>,
}

fn given(field: Option<&String>) -> Option<String> {
    field.filter(|f| !f.is_empty()).cloned()
}

/// `GET /history`
pub async fn show(State(web): State<Web>, who: Page, Query(narrow): Query<Narrow>) -> Response {
    let shown = async {
        let state =
            match given(narrow.state.as_ref()) {
                Some(word) => Some(Stands::parse(&word).ok_or_else(|| {
                    Problem::invalid("there is no such state; choose from the list")
                })?),
                None => None,
            };
        let before = match given(narrow.cursor.as_ref()) {
            Some(text) => Some(
                ApprovalId::parse(&text)
                    .ok_or_else(|| Problem::invalid("cursor is not one of this list's"))?
                    .to_string(),
            ),
            None => None,
        };
        let filter = Filter {
            states: state.into_iter().collect(),
            upstream: given(narrow.upstream.as_ref()),
            tool: given(narrow.tool.as_ref()),
            agent: given(narrow.agent.as_ref()),
            before,
            limit: PER_PAGE + 1,
            ..Filter::default()
        };
        let mut approvals = web.broker.list_for(&who.reviewer, filter).await?;
        let more = approvals.len() > PER_PAGE as usize;
        approvals.truncate(PER_PAGE as usize);
        let older = approvals.last().filter(|_| more).map(|a| older_link(&narrow, a.id.as_str()));
        Ok(page(
            StatusCode::OK,
            &HistoryPage {
                frame: who.frame("History", "history"),
                rows: approvals.iter().map(|a| Row::new(&web.broker, a, who.proven())).collect(),
                states: Stands::ALL.iter().map(|s| (s.as_str(), Some(*s) == state)).collect(),
                upstream: narrow.upstream.unwrap_or_default(),
                tool: narrow.tool.unwrap_or_default(),
                agent: narrow.agent.unwrap_or_default(),
                older,
            },
        ))
    };
    shown.await.unwrap_or_else(|problem: Problem| who.problem(problem))
}

fn older_link(narrow: &Narrow, last: &str) -> String {
    let mut link = format!("/history?cursor={last}");
    let fields = [
        ("state", &narrow.state),
        ("upstream", &narrow.upstream),
        ("tool", &narrow.tool),
        ("agent", &narrow.agent),
    ];
    for (name, value) in fields {
        if let Some(value) = given(value.as_ref()) {
            link.extend(["&", name, "=", &encode(&value)]);
        }
    }
    link
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_link_keeps_what_narrows() {
        let narrow = Narrow { tool: Some("a&b".to_owned()), ..Narrow::default() };

        assert_eq!(older_link(&narrow, "apr_1"), "/history?cursor=apr_1&tool=a%26b");
    }
}
