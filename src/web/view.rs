//! What all pages share: their frame, times in words, and rendering.

use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::domain::approval::{Approval, Assurance, Choice, State};
use crate::domain::time::{Timestamp, in_words};
use crate::domain::visible_text::{mixed_script, visible};

/// What stands around every page.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// The page's title.
    pub title: String,
    /// Which entry of the navigation is this page.
    pub here: &'static str,
    /// Seconds after which the page reloads by itself; none: never.
    pub refresh: Option<u32>,
    /// Whether scripts keep it up to date, so that it need not reload with them.
    pub live: bool,
    /// Who is signed in.
    pub viewer: Option<Viewer>,
}

/// Who looks at a page.
#[derive(Debug, Clone)]
pub(crate) struct Viewer {
    /// The reviewer's name.
    pub name: String,
    /// The token of their forms.
    pub form_token: String,
    /// Whether the audit is theirs to read.
    pub reads_audit: bool,
    /// Whether other people are theirs to manage.
    pub manages: bool,
}

impl Frame {
    /// A frame for a page without a sign-in.
    pub(crate) fn anonymous() -> Self {
        Self { title: String::new(), here: "", refresh: None, live: false, viewer: None }
    }

    /// The same with another title.
    #[must_use]
    pub(crate) fn titled(mut self, title: &str) -> Self {
        title.clone_into(&mut self.title);
        self
    }
}

/// A page that says what went wrong.
#[derive(Debug, Template)]
#[template(path = "error.html")]
pub(crate) struct ErrorPage {
    /// The frame around it.
    pub frame: Frame,
    /// What went wrong, a sentence.
    pub detail: String,
}

/// A page from its template.
pub(crate) fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => {
            (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// An instant for people: when exactly, and how long from or until now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct When {
    /// For programs, RFC 3339.
    pub machine: String,
    /// `2026-11-22 20:00:00 UTC`
    pub exact: String,
    /// `5 minutes ago`, `in 5 minutes`
    pub relative: String,
}

impl When {
    /// The instant `at` as seen at `now`.
    pub(crate) fn new(at: Timestamp, now: Timestamp) -> Self {
        let machine = at.to_string();
        let exact = format!("{} UTC", machine.get(..19).unwrap_or(&machine).replace('T', " "));
        let relative = if at.seconds() == now.seconds() {
            "just now".to_owned()
        } else if at > now {
            format!("in {}", in_words(now.until(at)))
        } else {
            format!("{} ago", in_words(at.until(now)))
        };
        Self { machine, exact, relative }
    }
}

/// One reviewer's decision in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DecisionLine {
    /// The reviewer's name, made visible.
    pub reviewer: String,
    /// `approved` or `rejected`.
    pub verb: &'static str,
    /// The reason given, made visible; may be empty.
    pub reason: String,
    /// A warning where the reason has letters that pass for others.
    pub flag: Option<String>,
    /// Through which channel.
    pub via: &'static str,
    /// When it was decided.
    pub at: When,
}

/// All decisions so far, oldest first.
pub(crate) fn decision_lines(approval: &Approval, now: Timestamp) -> Vec<DecisionLine> {
    approval
        .decisions
        .iter()
        .map(|d| DecisionLine {
            reviewer: visible(&d.reviewer),
            verb: verb(d.choice),
            reason: visible(&d.reason),
            flag: mixed_script(&d.reason),
            via: match d.assurance {
                Assurance::Passkey => "the website, with a passkey",
                _ => d.via.words(),
            },
            at: When::new(d.at, now),
        })
        .collect()
}

/// `approved` or `rejected`.
pub(crate) const fn verb(choice: Choice) -> &'static str {
    match choice {
        Choice::Approve => "approved",
        Choice::Reject => "rejected",
    }
}

/// The state in words a reviewer understands.
pub(crate) fn state_words(approval: &Approval, now: Timestamp) -> &'static str {
    match approval.state {
        State::Pending if approval.is_overdue(now) => "time is up",
        State::Pending => "waiting for a decision",
        State::Approved => "approved, not executed yet",
        State::Running => "approved, being executed",
        State::Completed => match approval.outcome.as_ref() {
            Some(outcome) if outcome.is_error() => "executed, ended with an error",
            _ => "executed",
        },
        State::Rejected => "rejected, not executed",
        State::Expired => "expired, not executed",
        State::Cancelled => "withdrawn, not executed",
        State::Indeterminate => match &approval.settled {
            Some(settled) if settled.done => "settled: it ran",
            Some(_) => "settled: it did not run",
            None => "unclear whether it ran",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_told_exactly_and_in_words() {
        let at = Timestamp::from_micros(1_795_377_600_500_000);

        let when = When::new(at, at.plus(std::time::Duration::from_mins(5)));

        assert_eq!(when.exact, "2026-11-22 20:00:00 UTC");
        assert_eq!(when.relative, "5 minutes ago");
    }
}
