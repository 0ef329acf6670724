//! `/audit`: the sealed records, newest first, for auditors and admins.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::domain::audit::Record;
use crate::domain::visible_text::visible;

use super::Web;
use super::error::Problem;
use super::extract::Page;
use super::view::{Frame, When, page};

/// Records per page.
const PER_PAGE: i64 = 100;

/// `?before=SEQ`: only records before that sequence number.
#[derive(Debug, Deserialize)]
pub(crate) struct Before {
    before: Option<i64>,
}

#[derive(Debug)]
struct Line {
    seq: i64,
    at: When,
    kind: String,
    actor: String,
    approval: Option<String>,
    data: String,
    hash: String,
}

#[derive(Debug, Template)]
#[template(path = "audit.html")]
struct AuditPage {
    frame: Frame,
    lines: Vec<Line>,
    unsealed: i64,
    older: Option<i64>,
}

fn line(record: Record, now: crate::domain::time::Timestamp) -> Line {
    Line {
        seq: record.seq,
        at: When::new(record.at, now),
        kind: record.kind.replace('_', " "),
        actor: visible(&record.actor),
        approval: record.approval,
        data: visible(&record.data),
        hash: record.hash.chars().take(12).collect(),
    }
}

/// `GET /audit`: one page of sealed records.
pub(crate) async fn show(State(web): State<Web>, who: Page, Query(at): Query<Before>) -> Response {
    let shown = async {
        let found = web.broker.audit_for(&who.reviewer)?.page(at.before, PER_PAGE).await?;
        let now = web.broker.now();
        Ok(page(
            StatusCode::OK,
            &AuditPage {
                frame: who.frame("Audit", "audit"),
                lines: found.records.into_iter().map(|r| line(r, now)).collect(),
                unsealed: found.unsealed,
                older: found.older,
            },
        ))
    };
    shown.await.unwrap_or_else(|problem: Problem| who.problem(problem))
}
