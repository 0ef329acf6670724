//! Channels to reviewers, as the API and the page of upstreams show them, and the button that enables
//! one again.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::broker::channels::ChannelRow;
use crate::domain::json;
use crate::domain::time::Timestamp;
use crate::domain::visible_text::visible;

use super::Web;
use super::error::Problem;
use super::extract::{Page, Posted};
use super::view::When;

/// A channel as the HTTP API shows it.
pub(crate) fn to_json(row: &ChannelRow) -> String {
    let disabled = row.disabled.as_ref().map_or_else(
        || "null".to_owned(),
        |(at, detail)| {
            json::object([
                ("at", json::quote(&at.to_string()).as_str()),
                ("detail", &json::quote(detail)),
            ])
        },
    );
    json::object([
        ("name", json::quote(&row.name).as_str()),
        ("kind", &json::quote(row.kind)),
        ("disabled", &disabled),
    ])
}

/// One channel on the page.
#[derive(Debug)]
pub(crate) struct Card {
    /// As in the path.
    pub name: String,
    /// `email`, `webhook` or `memory`.
    pub kind: &'static str,
    /// When it was disabled, and what its other side said.
    pub disabled: Option<(When, String)>,
}

impl Card {
    /// The channel as it is shown now.
    pub(crate) fn new(row: ChannelRow, now: Timestamp) -> Self {
        let disabled = row.disabled.map(|(at, said)| (When::new(at, now), visible(&said)));
        Self { name: row.name, kind: row.kind, disabled }
    }
}

/// The form's only field.
#[derive(Debug, Deserialize)]
pub(crate) struct Form {
    form_token: Option<String>,
}

/// `POST /channels/{name}/enable`: enables a channel again, for admins.
pub(crate) async fn enable(
    State(web): State<Web>,
    who: Page,
    Path(name): Path<String>,
    Posted(form): Posted<Form>,
) -> Response {
    let enabled = async {
        who.check_form(&web, form.form_token.as_deref())?;
        web.broker.enable_channel(&name, &who.reviewer).await?;
        Ok(Redirect::to("/upstreams").into_response())
    };
    enabled.await.unwrap_or_else(|problem: Problem| who.problem(problem))
}
