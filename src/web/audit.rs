//! `/audit`: the sealed records, newest first, for auditors and admins.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::config::Role;
use crate::domain::audit::Record;
use crate::domain::visible_text::visible;
use crate::store::{Store, StoreError};

use super::Web;
use super::error::{Code, Problem};
use super::extract::Page;
use super::view::{Frame, When, page};

/// Records per page.
const PER_PAGE: i64 = 100;

/// `?before=SEQ`
#[derive(Debug, Deserialize)]
pub struct Before {
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

/// The last sealed `seq`. The store lists upwards only, so its end is found by halving.
async fn last_seq(store: &dyn Store) -> Result<i64, StoreError> {
    let (mut low, mut step) = (0_i64, 1_i64);
    if !exists_after(store, 0).await? {
        return Ok(0);
    }
    while exists_after(store, low + step).await? {
        low += step;
        step = step.saturating_mul(2);
    }
    // Something is after `low`, nothing is after `high`.
    let mut high = low + step;
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if exists_after(store, middle).await? {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(high)
}

async fn exists_after(store: &dyn Store, seq: i64) -> Result<bool, StoreError> {
    Ok(!store.audit().list(seq, 1).await?.is_empty())
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

/// `GET /audit`
pub async fn show(State(web): State<Web>, who: Page, Query(at): Query<Before>) -> Response {
    let shown = async {
        if who.reviewer.role == Role::Reviewer {
            return Err(Problem::new(Code::Forbidden, "the audit is for auditors and admins"));
        }
        let store = web.broker.store();
        let end = match at.before {
            Some(before) => before.saturating_sub(1).max(0),
            None => last_seq(store.as_ref()).await?,
        };
        let start = end.saturating_sub(PER_PAGE).max(0);
        let limit = u32::try_from(end - start).unwrap_or(0);
        let records = match limit {
            0 => Vec::new(),
            limit => store.audit().list(start, limit).await?,
        };
        let now = web.broker.now();
        Ok(page(
            StatusCode::OK,
            &AuditPage {
                frame: who.frame("Audit", "audit"),
                lines: records.into_iter().rev().map(|r| line(r, now)).collect(),
                unsealed: store.audit().unsealed().await?,
                older: (start > 0).then_some(start + 1),
            },
        ))
    };
    shown.await.unwrap_or_else(|problem: Problem| who.problem(problem))
}
