//! The browser's half of passkeys: what it asks for before, and what it brings afterwards.

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;

use super::Web;
use super::decide::approval_id;
use super::error::Problem;
use super::extract::{Page, Posted};

/// The fields of the forms here; which ones count depends on the form.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Fields {
    form_token: Option<String>,
    digest: String,
    name: String,
    passkey: String,
}

/// Options for the script that asked, or the problem as JSON.
fn options(begun: Result<String, Problem>) -> Response {
    match begun {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(problem) => problem.respond(None),
    }
}

/// `POST /approvals/{id}/passkey`: begins to confirm an approval.
pub(crate) async fn begin_confirming(
    State(web): State<Web>,
    who: Page,
    Path(id): Path<String>,
    Posted(fields): Posted<Fields>,
) -> Response {
    let begun = async {
        who.check_form(&web, fields.form_token.as_deref())?;
        let id = approval_id(&id)?;
        Ok(web.broker.begin_confirming(&id, &who.reviewer, &fields.digest).await?)
    };
    options(begun.await)
}

/// `POST /settings/passkeys/begin`: begins to add a passkey.
pub(crate) async fn begin_adding(
    State(web): State<Web>,
    who: Page,
    Posted(fields): Posted<Fields>,
) -> Response {
    let begun = async {
        who.check_form(&web, fields.form_token.as_deref())?;
        Ok(web.broker.begin_passkey(who.proven()).await?)
    };
    options(begun.await)
}

/// `POST /settings/passkeys`: adds the one that was made.
pub(crate) async fn add(
    State(web): State<Web>,
    who: Page,
    Posted(fields): Posted<Fields>,
) -> Response {
    let added = async {
        who.check_form(&web, fields.form_token.as_deref())?;
        if fields.passkey.is_empty() {
            return Err(Problem::invalid(
                "the browser made no passkey; it needs scripts for this page",
            ));
        }
        Ok(web.broker.add_passkey(who.proven(), fields.name.trim(), &fields.passkey).await?)
    };
    match added.await {
        Ok(()) => Redirect::to("/settings").into_response(),
        Err(problem) => who.problem(problem),
    }
}
