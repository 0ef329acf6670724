//! `/approvals/{id}`: the call in full, and the forms to decide, withdraw and settle it.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::broker::people::decide::DecisionRequest;
use crate::domain::approval::{Approval, Assurance, Choice, State as Stands, Via};
use crate::domain::visible_text::visible;
use crate::store::AttemptRecord;

use super::Web;
use super::arguments::Show;
use super::call_context::{Beside, beside};
use super::call_view::{CallView, unseen};
use super::decide::approval_id;
use super::error::{Code, Problem};
use super::extract::{Page, Posted};
use super::grants::GrantForm;
use super::view::{DecisionLine, Frame, When, decision_lines, page, state_words};

/// Seconds after which the page of a call that is about to run reloads.
const REFRESH_WHILE_RUNNING: u32 = 3;

/// The query of the page: `?full=1` shows long values in full.
#[derive(Debug, Deserialize)]
pub(crate) struct Options {
    full: Option<String>,
}

impl Options {
    /// Whether long values are shown in full.
    pub(crate) fn full(&self) -> bool {
        self.full.as_deref().is_some_and(|f| !matches!(f, "" | "0"))
    }
}

/// The forms' fields; which ones count depends on the form.
#[derive(Debug, Deserialize)]
pub(crate) struct Fields {
    /// `approve` or `reject`.
    pub decision: Option<String>,
    /// The reason, for the record.
    pub reason: Option<String>,
    /// The digest of the call that the form showed.
    pub digest: Option<String>,
    /// The token of the form, against forged posts.
    pub form_token: Option<String>,
    /// `yes` or `no`: whether an indeterminate call ran.
    pub done: Option<String>,
    /// Given where the form stood under all values, the masked ones too.
    pub revealed: Option<String>,
    /// What the browser answered when it was asked for a passkey.
    pub passkey: Option<String>,
}

impl Fields {
    /// The decision of a form, which always carries the digest it showed.
    ///
    /// # Errors
    /// `invalid_request`: the form has no decision or no digest.
    pub(crate) fn decision(
        self,
        via: Via,
        assurance: Assurance,
    ) -> Result<DecisionRequest, Problem> {
        let choice = self
            .decision
            .as_deref()
            .and_then(Choice::parse)
            .ok_or_else(|| Problem::invalid("decision must be \"approve\" or \"reject\""))?;
        let digest = self.digest.filter(|d| !d.is_empty()).ok_or_else(|| {
            Problem::invalid("the form has no digest of the call it showed; open the page again")
        })?;
        Ok(DecisionRequest {
            choice,
            reason: self.reason.unwrap_or_default(),
            digest: Some(digest),
            via,
            assurance,
        })
    }
}

/// Refuses an approval of what was masked on the page, where it says more than a secret.
///
/// # Errors
/// `invalid_request`: the form stood under masked values that must be shown first.
pub(crate) fn check_seen(web: &Web, approval: &Approval, fields: &Fields) -> Result<(), Problem> {
    let approves = fields.decision.as_deref() == Some(Choice::Approve.as_str());
    if approves && fields.revealed.is_none() && unseen(&web.broker, approval) > 0 {
        return Err(Problem::invalid(
            "masked values of this call say more than a secret; show them before you approve it",
        ));
    }
    Ok(())
}

/// One attempt to tell somebody.
#[derive(Debug)]
pub(crate) struct AttemptLine {
    at: When,
    notifier: String,
    topic: String,
    recipient: String,
    result: String,
    detail: String,
}

/// The page of one approval; behind a mailed link, the page of its review.
#[derive(Debug, Template)]
#[template(path = "approvals/show.html")]
pub(crate) struct ShowPage {
    /// The frame around it.
    pub frame: Frame,
    /// The call as it is shown.
    pub call: CallView,
    /// Where its forms post to.
    pub base: String,
    /// The token of its forms.
    pub form_token: String,
    /// Whether this is the page behind a mailed link, and whose.
    pub link_of: Option<String>,
    /// A sentence in place of the buttons, where deciding needs a sign-in.
    pub sign_in: Option<&'static str>,
    /// The attempts to tell people, and how they went.
    pub attempts: Vec<AttemptLine>,
    /// Whether the browser is to be asked for a passkey.
    pub by_passkey: bool,
    /// What may be granted with it.
    pub grant: Option<GrantForm>,
    /// What stands beside the call, to judge it by.
    pub beside: Beside,
}

/// What was decided, without the call itself.
#[derive(Debug, Template)]
#[template(path = "approvals/decided.html")]
pub(crate) struct DecidedPage {
    /// The frame around it.
    pub frame: Frame,
    /// The first sentence of the page.
    pub heading: String,
    /// The state's word, as in the API.
    pub state: &'static str,
    /// The state in words, for people.
    pub state_words: &'static str,
    /// The decisions, oldest first.
    pub decisions: Vec<DecisionLine>,
    /// When it ended, where nobody decided.
    pub ended: Option<When>,
    /// Link to the page of the whole approval.
    pub link: String,
}

impl DecidedPage {
    /// What became of it.
    pub(crate) fn new(web: &Web, frame: Frame, heading: String, a: &Approval) -> Self {
        let now = web.broker.now();
        let ended = match a.state {
            Stands::Pending if a.is_overdue(now) => Some(a.expires_at),
            _ => a.finished_at.or(a.decided_at),
        };
        Self {
            frame: frame.titled(&heading),
            heading,
            state: a.state.as_str(),
            state_words: state_words(a, now),
            decisions: decision_lines(a, now),
            ended: ended.map(|t| When::new(t, now)),
            link: format!("/approvals/{}", a.id),
        }
    }
}

/// What to tell somebody whose decision came too late or twice.
pub(crate) fn refused_page(web: &Web, frame: Frame, problem: Problem) -> Response {
    let status = problem.code.status();
    match problem.approval {
        Some(a) if problem.code == Code::AlreadyDecided || problem.code == Code::Expired => {
            let heading = match a.deciding() {
                Some(d) if a.state != Stands::Expired => {
                    format!("Already {} by {}", super::view::verb(d.choice), d.reviewer)
                }
                _ => "Too late: nobody decided in time".to_owned(),
            };
            page(status, &DecidedPage::new(web, frame, heading, &a))
        }
        _ => problem.into_page(frame),
    }
}

async fn render(
    web: &Web,
    who: &Page,
    approval: &Approval,
    show: Show,
) -> Result<Response, Problem> {
    let attempts = web.broker.attempts(&approval.id).await?;
    let rights = web.broker.rights_on_page(approval, who.proven()).await?;
    let mut frame = who.frame(&visible(&approval.call.title()), "queue");
    let moving = match approval.state {
        Stands::Running => true,
        Stands::Approved => approval.waiting,
        _ => false,
    };
    frame.refresh = (moving && !show.revealed).then_some(REFRESH_WHILE_RUNNING);
    let now = web.broker.now();
    Ok(page(
        StatusCode::OK,
        &ShowPage {
            frame,
            call: CallView::new(&web.broker, approval, &who.reviewer.name, rights, show),
            by_passkey: approval.terms.assurance == Assurance::Passkey,
            base: format!("/approvals/{}", approval.id),
            form_token: who.form_token().to_owned(),
            link_of: None,
            sign_in: None,
            attempts: attempts.iter().map(|a| attempt_line(a, now)).collect(),
            grant: web
                .broker
                .grant_offer(approval, &who.reviewer)
                .map(|offer| GrantForm::new(&offer, approval, web.broker.masker())),
            beside: beside(&web.broker, approval, &who.reviewer).await?,
        },
    ))
}

fn attempt_line(a: &AttemptRecord, now: crate::domain::time::Timestamp) -> AttemptLine {
    AttemptLine {
        at: When::new(a.at, now),
        notifier: a.notifier.clone(),
        topic: a.topic.clone(),
        recipient: a.recipient.clone().unwrap_or_default(),
        result: a.result.clone(),
        detail: visible(&a.detail),
    }
}

/// `GET /approvals/{id}`: the page of one approval, masked.
pub(crate) async fn show(
    State(web): State<Web>,
    who: Page,
    Path(id): Path<String>,
    Query(options): Query<Options>,
) -> Response {
    let shown = async {
        let approval = web.broker.get_for(&approval_id(&id)?, &who.reviewer).await?;
        render(&web, &who, &approval, Show { full: options.full(), revealed: false }).await
    };
    shown.await.unwrap_or_else(|problem: Problem| who.problem(problem))
}

/// `POST /approvals/{id}/reveal`: the page with everything on it, recorded before it is shown.
pub(crate) async fn reveal(
    State(web): State<Web>,
    who: Page,
    Path(id): Path<String>,
    Posted(fields): Posted<Fields>,
) -> Response {
    let shown = async {
        who.check_form(&web, fields.form_token.as_deref())?;
        let approval = web.broker.get_for(&approval_id(&id)?, &who.reviewer).await?;
        web.record_reveal(&approval, &who.reviewer, Via::Web).await?;
        render(&web, &who, &approval, Show { full: true, revealed: true }).await
    };
    shown.await.unwrap_or_else(|problem: Problem| who.problem(problem))
}

/// `POST /approvals/{id}`: approves or rejects.
pub(crate) async fn decide(
    State(web): State<Web>,
    who: Page,
    Path(id): Path<String>,
    Posted(fields): Posted<Fields>,
) -> Response {
    let decided = async {
        who.check_form(&web, fields.form_token.as_deref())?;
        let id = approval_id(&id)?;
        let visible = web.broker.get_for(&id, &who.reviewer).await?;
        check_seen(&web, &visible, &fields)?;
        let assurance = match fields.passkey.as_deref().filter(|answer| !answer.is_empty()) {
            Some(answer) => {
                let digest = fields.digest.as_deref().unwrap_or_default();
                web.broker.confirm(&id, &who.reviewer, digest, answer).await?
            }
            None => who.proven().assurance,
        };
        web.decide(visible, &who.reviewer, fields.decision(Via::Web, assurance)?).await
    };
    answer(&web, &who, &id, decided.await.map(|_| ()))
}

/// `POST /approvals/{id}/cancel`: withdraws an approval that has not run.
pub(crate) async fn cancel(
    State(web): State<Web>,
    who: Page,
    Path(id): Path<String>,
    Posted(fields): Posted<Fields>,
) -> Response {
    let cancelled = async {
        who.check_form(&web, fields.form_token.as_deref())?;
        let reason = fields.reason.unwrap_or_default();
        web.broker.cancel(&approval_id(&id)?, &who.reviewer, &reason).await?;
        Ok(())
    };
    answer(&web, &who, &id, cancelled.await)
}

/// `POST /approvals/{id}/settle`: says whether an indeterminate call ran.
pub(crate) async fn settle(
    State(web): State<Web>,
    who: Page,
    Path(id): Path<String>,
    Posted(fields): Posted<Fields>,
) -> Response {
    let settled = async {
        who.check_form(&web, fields.form_token.as_deref())?;
        let done = match fields.done.as_deref() {
            Some("yes") => true,
            Some("no") => false,
            _ => return Err(Problem::invalid("done must be \"yes\" or \"no\"")),
        };
        let reason = fields.reason.unwrap_or_default();
        web.broker.settle(&approval_id(&id)?, &who.reviewer, done, &reason).await?;
        Ok(())
    };
    answer(&web, &who, &id, settled.await)
}

fn answer(web: &Web, who: &Page, id: &str, done: Result<(), Problem>) -> Response {
    match done {
        // The id was parsed before, so it is safe in a path.
        Ok(()) => Redirect::to(&format!("/approvals/{id}")).into_response(),
        Err(problem) => refused_page(web, who.frame("", ""), problem),
    }
}
