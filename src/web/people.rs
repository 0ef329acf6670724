//! `/people`: who there is and what each holds, for admins, who end it.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;

use crate::broker::people::sign_out::PersonRow;
use crate::domain::json;
use crate::domain::time::Timestamp;
use crate::domain::visible_text::visible;
use crate::store::credentials::Ended;

use super::Web;
use super::error::{Code, Problem};
use super::extract::{Page, Posted};
use super::view::{Frame, When, page};
use crate::broker::DecideError;

/// One person on the page.
#[derive(Debug)]
struct Card {
    name: String,
    shown: String,
    role: &'static str,
    groups: String,
    sessions: usize,
    seen: Option<When>,
    tokens: usize,
    passkeys: usize,
}

impl Card {
    fn new(row: &PersonRow, now: Timestamp) -> Self {
        Self {
            name: row.name.clone(),
            shown: visible(&row.name),
            role: row.reviewer.as_ref().map_or("guest", |r| r.role.as_str()),
            groups: row.reviewer.as_ref().map_or_else(String::new, |r| r.groups.join(", ")),
            sessions: row.sessions,
            seen: row.seen_at.map(|at| When::new(at, now)),
            tokens: row.tokens,
            passkeys: row.passkeys,
        }
    }
}

#[derive(Debug, Template)]
#[template(path = "people.html")]
struct PeoplePage {
    frame: Frame,
    form_token: String,
    people: Vec<Card>,
}

/// `GET /people`: everybody, and what they hold.
pub(crate) async fn show(State(web): State<Web>, who: Page) -> Response {
    let rows = match web.broker.people_rows(&who.reviewer).await {
        Ok(rows) => rows,
        Err(error) => return who.problem(error),
    };
    let now = web.broker.now();
    page(
        StatusCode::OK,
        &PeoplePage {
            frame: who.frame("People", "people"),
            form_token: who.form_token().to_owned(),
            people: rows.iter().map(|row| Card::new(row, now)).collect(),
        },
    )
}

/// The fields of the form that signs somebody out.
#[derive(Debug, Deserialize)]
pub(crate) struct Fields {
    name: Option<String>,
    form_token: Option<String>,
}

/// Nobody has that name.
pub(crate) fn refused(error: DecideError) -> Problem {
    match error {
        DecideError::NotFound => Problem::new(Code::NotFound, "there is no such person"),
        other => other.into(),
    }
}

/// `POST /people/sign-out`: ends all that somebody holds.
pub(crate) async fn sign_out(
    State(web): State<Web>,
    who: Page,
    Posted(fields): Posted<Fields>,
) -> Response {
    let done = async {
        who.check_form(&web, fields.form_token.as_deref())?;
        let name = fields.name.unwrap_or_default();
        web.broker.sign_out_everywhere(&name, &who.reviewer).await.map_err(refused)?;
        Ok::<_, Problem>(Redirect::to("/people").into_response())
    };
    done.await.unwrap_or_else(|problem| who.problem(problem))
}

/// What was ended, as the HTTP API says it.
pub(crate) fn ended_json(name: &str, ended: Ended) -> String {
    json::object([
        ("name", json::quote(name).as_str()),
        ("sessions", &ended.sessions.to_string()),
        ("tokens", &ended.tokens.to_string()),
        ("sign_in_links", &ended.sign_ins.to_string()),
        ("review_links", &ended.review_links.to_string()),
    ])
}
