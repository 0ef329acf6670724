//! `/grants`: what reviewers let through beforehand; and the form that gives a grant on the page
//! of an approved call.

use std::time::Duration;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use crate::broker::call::grants::{GrantRow, Offer, Wanted};
use crate::domain::approval::Approval;
use crate::domain::grant::{Grant, GrantId, GrantState};
use crate::domain::json;
use crate::domain::mask::Masker;
use crate::domain::time::{Timestamp, in_words};
use crate::domain::visible_text::visible;

use super::Web;
use super::decide::approval_id;
use super::error::{Code, Problem};
use super::extract::{Page, Posted};
use super::view::{Frame, When, page};

/// Most characters of a value that are shown.
const MAX_VALUE: usize = 120;

/// The grant as JSON, values masked.
pub(crate) fn grant_json(row: &GrantRow, masker: &Masker, now: Timestamp) -> String {
    let g = &row.grant;
    let pairs = |members: Vec<(String, String)>| {
        let all: Vec<String> =
            members.iter().map(|(k, v)| format!("{}:{v}", json::quote(k))).collect();
        format!("{{{}}}", all.join(","))
    };
    let pinned = g.shape.pinned.iter().map(|(path, value)| {
        let shown = match masked(path, value, masker, &row.redact) {
            Some(mask) => json::quote(&mask),
            None => value.clone(),
        };
        (path.clone(), shown)
    });
    let free: Vec<String> = g.shape.free.iter().map(|f| json::quote(f)).collect();
    let ended = g.ended.as_ref().map_or_else(
        || "null".to_owned(),
        |e| {
            json::object([
                ("at", json::quote(&e.at.to_string()).as_str()),
                ("by", &json::quote(&e.by)),
                ("reason", &json::quote(&e.reason)),
            ])
        },
    );
    json::object([
        ("id", json::quote(g.id.as_str()).as_str()),
        ("standing", &json::quote(g.state(now).as_str())),
        ("approval", &json::quote(g.approval.as_str())),
        ("granted_by", &json::quote(&g.by)),
        ("agent", &json::quote(&g.agent)),
        ("upstream", &json::quote(&g.upstream)),
        ("tool", &json::quote(&g.tool)),
        ("rule", &json::quote(&g.rule)),
        ("pinned", &pairs(pinned.collect())),
        ("free", &format!("[{}]", free.join(","))),
        ("max_uses", &g.max_uses.to_string()),
        ("used", &g.used.to_string()),
        ("created_at", &json::quote(&g.created_at.to_string())),
        ("expires_at", &json::quote(&g.expires_at.to_string())),
        ("ended", &ended),
    ])
}

/// The mask of a value that stands under a secret key; none where it may be shown.
fn masked(path: &str, value: &str, masker: &Masker, redact: &[String]) -> Option<String> {
    let secret = path
        .split('/')
        .any(|key| masker.is_secret(&key.replace("~1", "/").replace("~0", "~"), redact));
    let plain = || json::parse(value).ok().and_then(|n| n.as_str().map(str::to_owned));
    secret.then(|| masker.mask_of(&plain().unwrap_or_else(|| value.to_owned())))
}

/// A value for people, bounded.
pub(super) fn shown(path: &str, value: &str, masker: &Masker, redact: &[String]) -> String {
    let text = masked(path, value, masker, redact).unwrap_or_else(|| visible(value));
    if text.chars().count() <= MAX_VALUE {
        return text;
    }
    let cut: String = text.chars().take(MAX_VALUE).collect();
    format!("{cut}… ({} characters)", text.chars().count())
}

/// One value of a call.
#[derive(Debug)]
pub(crate) struct ValueLine {
    /// JSON Pointer of the value (<https://www.rfc-editor.org/rfc/rfc6901#section-5>).
    pub path: String,
    /// The pointer for people, made visible.
    pub path_shown: String,
    /// The value for people: made visible, masked where it is secret, and cut.
    pub value: String,
}

fn line(path: &str, value: &str, masker: &Masker, redact: &[String]) -> ValueLine {
    ValueLine {
        path: path.to_owned(),
        path_shown: visible(path),
        value: shown(path, value, masker, redact),
    }
}

/// The form on the page of an approved call.
#[derive(Debug)]
pub(crate) struct GrantForm {
    /// Most calls that the grant may allow.
    pub max_uses: u32,
    /// Longest time, minutes.
    pub max_minutes: u64,
    /// The longest time in words.
    pub max_words: String,
    /// The call's values.
    pub values: Vec<ValueLine>,
}

impl GrantForm {
    /// The form for what may be granted.
    pub(crate) fn new(offer: &Offer, approval: &Approval, masker: &Masker) -> Self {
        let redact = &approval.terms.redact;
        Self {
            max_uses: offer.limits.max_uses,
            max_minutes: (offer.limits.max_duration.as_secs() / 60).max(1),
            max_words: in_words(offer.limits.max_duration),
            values: offer.values.iter().map(|(p, v)| line(p, v, masker, redact)).collect(),
        }
    }
}

/// One grant on the page.
#[derive(Debug)]
struct Card {
    id: String,
    approval: String,
    agent: String,
    upstream: String,
    tool: String,
    by: String,
    state: &'static str,
    open: bool,
    used: u32,
    max_uses: u32,
    created: When,
    expires: When,
    pinned: Vec<ValueLine>,
    free: String,
    ended: Option<(String, String, When)>,
    may_revoke: bool,
}

impl Card {
    fn new(row: &GrantRow, masker: &Masker, now: Timestamp) -> Self {
        let g = &row.grant;
        let state = g.state(now);
        let pinned = g.shape.pinned.iter().map(|(p, v)| line(p, v, masker, &row.redact));
        let free: Vec<String> = g.shape.free.iter().map(|f| visible(f)).collect();
        Self {
            id: g.id.to_string(),
            approval: g.approval.to_string(),
            agent: visible(&g.agent),
            upstream: g.upstream.clone(),
            tool: visible(&g.tool),
            by: g.by.clone(),
            state: match state {
                GrantState::Open => "open",
                GrantState::UsedUp => "used up",
                GrantState::Expired => "expired",
                GrantState::Ended => "ended",
            },
            open: state == GrantState::Open,
            used: g.used,
            max_uses: g.max_uses,
            created: When::new(g.created_at, now),
            expires: When::new(g.expires_at, now),
            pinned: pinned.collect(),
            free: free.join(", "),
            ended: g
                .ended
                .as_ref()
                .map(|e| (e.by.clone(), visible(&e.reason), When::new(e.at, now))),
            may_revoke: row.may_revoke && state == GrantState::Open,
        }
    }
}

#[derive(Debug, Template)]
#[template(path = "grants.html")]
struct GrantsPage {
    frame: Frame,
    form_token: String,
    grants: Vec<Card>,
}

/// `GET /grants`: the newest grants, open or not.
pub(crate) async fn show(State(web): State<Web>, who: Page) -> Response {
    let rows = match web.broker.grants_for(&who.reviewer).await {
        Ok(rows) => rows,
        Err(error) => return who.problem(error),
    };
    let (masker, now) = (web.broker.masker(), web.broker.now());
    page(
        StatusCode::OK,
        &GrantsPage {
            frame: who.frame("Grants", "grants"),
            form_token: who.form_token().to_owned(),
            grants: rows.iter().map(|row| Card::new(row, masker, now)).collect(),
        },
    )
}

/// Fields of a form in which one may stand several times.
type Fields = Vec<(String, String)>;

fn field<'f>(fields: &'f Fields, key: &str) -> Option<&'f str> {
    fields.iter().find(|(k, _)| k == key).map(|(_, value)| value.trim())
}

/// `POST /approvals/{id}/grant`: gives a grant for calls like an approved one.
pub(crate) async fn give(
    State(web): State<Web>,
    who: Page,
    Path(id): Path<String>,
    Posted(fields): Posted<Fields>,
) -> Response {
    let given = async {
        who.check_form(&web, field(&fields, "form_token"))?;
        let number = |key: &str| {
            field(&fields, key)
                .and_then(|text| text.parse::<u32>().ok())
                .ok_or_else(|| Problem::invalid(format!("{key} must be a whole number")))
        };
        let wanted = Wanted {
            uses: number("uses")?,
            duration: Duration::from_secs(60 * u64::from(number("minutes")?)),
            free: fields.iter().filter(|(k, _)| k == "free").map(|(_, v)| v.clone()).collect(),
        };
        web.broker.grant(&approval_id(&id)?, &who.reviewer, wanted).await?;
        Ok(Redirect::to("/grants").into_response())
    };
    given.await.unwrap_or_else(|problem: Problem| who.problem(problem))
}

/// Reads a grant's id out of a path.
///
/// # Errors
/// `not_found`: it is not a grant's id.
pub(crate) fn grant_id(text: &str) -> Result<GrantId, Problem> {
    GrantId::parse(text).ok_or_else(|| {
        Problem::new(Code::NotFound, "there is no such grant, or it is not yours to see")
    })
}

/// `POST /grants/{id}/revoke`: ends a grant.
pub(crate) async fn revoke(
    State(web): State<Web>,
    who: Page,
    Path(id): Path<String>,
    Posted(fields): Posted<Fields>,
) -> Response {
    let revoked = async {
        who.check_form(&web, field(&fields, "form_token"))?;
        let _: Grant = web.broker.revoke_grant(&grant_id(&id)?, &who.reviewer).await?.grant;
        Ok(Redirect::to("/grants").into_response())
    };
    revoked.await.unwrap_or_else(|problem: Problem| who.problem(problem))
}
