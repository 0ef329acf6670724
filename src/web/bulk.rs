//! `POST /bulk`: several calls of the queue decided at once. Rejecting is always safe; approving
//! is for few calls of one rule, none of them critical, each shown whole on the queue.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::broker::people::decide::DecisionRequest;
use crate::domain::approval::{Approval, ApprovalId, Choice, Via};
use crate::domain::visible_text::visible;

use super::Web;
use super::error::Problem;
use super::extract::{Page, Posted};
use super::queue::may_approve_together;
use super::view::{Frame, page, verb};

/// Most calls that are approved at once.
pub(crate) const MAX_APPROVED: usize = 20;
/// Most calls that one form may choose.
const MAX_CHOSEN: usize = 500;

type Fields = Vec<(String, String)>;

/// What became of one of the chosen calls.
#[derive(Debug)]
struct Line {
    id: String,
    tool: String,
    done: bool,
    words: String,
}

#[derive(Debug, Template)]
#[template(path = "approvals/bulk.html")]
struct BulkPage {
    frame: Frame,
    heading: String,
    lines: Vec<Line>,
}

/// `POST /bulk`: approves or rejects several calls, one after the other.
pub(crate) async fn decide(
    State(web): State<Web>,
    who: Page,
    Posted(fields): Posted<Fields>,
) -> Response {
    let decided = async {
        let field = |key: &str| fields.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
        who.check_form(&web, field("form_token"))?;
        let choice = field("decision")
            .and_then(Choice::parse)
            .ok_or_else(|| Problem::invalid("decision must be \"approve\" or \"reject\""))?;
        let chosen = chosen(&fields)?;
        if choice == Choice::Approve {
            check_together(&web, &who, &chosen).await?;
        }
        let reason = field("reason").unwrap_or_default();
        let mut lines = Vec::with_capacity(chosen.len());
        for (id, digest) in chosen {
            let decision = DecisionRequest {
                choice,
                reason: reason.to_owned(),
                digest: Some(digest),
                via: Via::Web,
                assurance: who.proven().assurance,
            };
            let (tool, result) = match web.broker.get_for(&id, &who.reviewer).await {
                Ok(a) => {
                    let tool = visible(&a.call.title());
                    (tool, web.decide(a, &who.reviewer, decision).await)
                }
                Err(error) => (String::new(), Err(error.into())),
            };
            lines.push(line(&id, tool, choice, result));
        }
        let done = lines.iter().filter(|l| l.done).count();
        let heading = format!("{done} of {} {}", lines.len(), verb(choice));
        let frame = who.frame(&heading, "queue");
        Ok(page(StatusCode::OK, &BulkPage { frame, heading, lines }))
    };
    decided.await.unwrap_or_else(|problem: Problem| who.problem(problem))
}

/// The chosen calls, each once, with the digest that was shown.
fn chosen(fields: &Fields) -> Result<Vec<(ApprovalId, String)>, Problem> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for (_, value) in fields.iter().filter(|(key, _)| key == "call") {
        let read = value
            .split_once(' ')
            .and_then(|(id, digest)| Some((ApprovalId::parse(id)?, digest.to_owned())));
        let (id, digest) = read
            .ok_or_else(|| Problem::invalid("a chosen call can't be read; open the queue again"))?;
        if seen.insert(id.as_str().to_owned()) {
            all.push((id, digest));
        }
    }
    match all.len() {
        0 => Err(Problem::invalid("nothing is chosen; tick the calls first")),
        n if n > MAX_CHOSEN => {
            Err(Problem::invalid(format!("{n} calls are chosen; at most {MAX_CHOSEN} at once")))
        }
        _ => Ok(all),
    }
}

async fn check_together(
    web: &Web,
    who: &Page,
    chosen: &[(ApprovalId, String)],
) -> Result<(), Problem> {
    if chosen.len() > MAX_APPROVED {
        return Err(Problem::invalid(format!(
            "{} calls are chosen; at most {MAX_APPROVED} are approved at once",
            chosen.len()
        )));
    }
    let mut rules = BTreeSet::new();
    for (id, _) in chosen {
        let a = web.broker.get_for(id, &who.reviewer).await?;
        if !may_approve_together(web, &a) {
            return Err(Problem::invalid(format!(
                "{} is critical, not classified, or not shown whole on the queue: approve it on \
                 its own page",
                a.call.title()
            )));
        }
        rules.insert((a.call.upstream.clone(), a.rule.clone()));
    }
    if rules.len() > 1 {
        return Err(Problem::invalid("only calls of one rule are approved at once"));
    }
    Ok(())
}

fn line(id: &ApprovalId, tool: String, choice: Choice, result: Result<Approval, Problem>) -> Line {
    let (done, words) = match result {
        Ok(_) => (true, verb(choice).to_owned()),
        Err(problem) => {
            let first = problem
                .approval
                .as_ref()
                .and_then(|a| a.deciding())
                .map(|d| format!("already {} by {}, {}", verb(d.choice), d.reviewer, d.at));
            (false, first.unwrap_or(problem.detail))
        }
    };
    Line { id: id.to_string(), tool, done, words }
}
