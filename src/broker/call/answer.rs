//! What Placet itself says to an agent about a call: one code, one text that a model can act on.

use crate::domain::approval::{Approval, Outcome, State};
use crate::domain::json::{self, edit};
use crate::domain::time::{Timestamp, in_words};
use crate::protocol::{code, jsonrpc, meta};
use crate::upstream::Reply;

/// How soon a handed-over call should be made again, milliseconds.
const CALL_AGAIN_MS: u64 = 1_000;

/// The stable codes of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Denied by a rule or the default.
    PolicyDenied,
    /// The rule's limit is reached.
    RateLimited,
    /// Hand-over: the approval is still waiting, or the call still running.
    ApprovalPending,
    /// A reviewer rejected it.
    ApprovalRejected,
    /// Nobody decided in time, or the claim window passed.
    ApprovalExpired,
    /// Withdrawn, or no longer permitted at the claim.
    ApprovalCancelled,
    /// Sent, and nobody knows what became of it.
    OutcomeUnknown,
    /// An admin settled it.
    OutcomeSettled,
    /// It ran, and its outcome was too large to keep.
    OutcomeNotKept,
    /// Certainly not sent: the upstream can't be reached or started.
    UpstreamUnavailable,
    /// A cap on pending or new approvals is reached.
    TooManyPending,
    /// The store can't be written: nothing was queued, nothing ran.
    Unavailable,
}

impl Code {
    /// The word of the interface.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PolicyDenied => "policy_denied",
            Self::RateLimited => "rate_limited",
            Self::ApprovalPending => "approval_pending",
            Self::ApprovalRejected => "approval_rejected",
            Self::ApprovalExpired => "approval_expired",
            Self::ApprovalCancelled => "approval_cancelled",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::OutcomeSettled => "outcome_settled",
            Self::OutcomeNotKept => "outcome_not_kept",
            Self::UpstreamUnavailable => "upstream_unavailable",
            Self::TooManyPending => "too_many_pending",
            Self::Unavailable => "unavailable",
        }
    }

    /// Whether calling again may help.
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::RateLimited
                | Self::ApprovalPending
                | Self::UpstreamUnavailable
                | Self::TooManyPending
                | Self::Unavailable
        )
    }
}

/// Something Placet says about a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// The stable code.
    pub code: Code,
    /// The text, beginning with the code in brackets.
    pub text: String,
    /// Id of the approval it is about.
    pub approval: Option<String>,
    /// The approval's state.
    pub state: Option<State>,
    /// JSON Pointer of the rule that decided.
    pub rule: Option<String>,
    /// The reason that the rule or the reviewer gave.
    pub reason: Option<String>,
    /// When to call again, milliseconds from now.
    pub retry_after_ms: Option<u64>,
    /// Until when reviewers may decide.
    pub expires_at: Option<Timestamp>,
    /// URL of the approval's page, for people.
    pub status_url: Option<String>,
}

impl Statement {
    /// A statement about a call that has no approval.
    pub fn new(code: Code, text: &str) -> Self {
        Self {
            code,
            text: format!("[{}] {text}", code.as_str()),
            approval: None,
            state: None,
            rule: None,
            reason: None,
            retry_after_ms: None,
            expires_at: None,
            status_url: None,
        }
    }

    /// A statement about an approval.
    pub fn about(approval: &Approval, code: Code, text: &str) -> Self {
        Self {
            approval: Some(approval.id.to_string()),
            state: Some(approval.state),
            rule: Some(approval.rule.clone()),
            ..Self::new(code, text)
        }
    }

    /// Adds the rule that decided.
    #[must_use]
    pub fn by_rule(mut self, rule: &str) -> Self {
        self.rule = Some(rule.to_owned());
        self
    }

    /// Adds the reason.
    #[must_use]
    pub fn because(mut self, reason: Option<String>) -> Self {
        self.reason = reason;
        self
    }

    /// Adds when to call again, milliseconds from now.
    #[must_use]
    pub fn retry_after(mut self, ms: u64) -> Self {
        self.retry_after_ms = Some(ms);
        self
    }

    /// The JSON object that stands under [`meta::DECISION`].
    pub fn decision_json(&self) -> String {
        let text = |t: Option<&str>| t.map_or_else(|| "null".to_owned(), json::quote);
        json::object([
            ("code", json::quote(self.code.as_str()).as_str()),
            ("approval", &text(self.approval.as_deref())),
            ("state", &text(self.state.map(State::as_str))),
            ("rule", &text(self.rule.as_deref())),
            ("reason", &text(self.reason.as_deref())),
            ("retryable", if self.code.is_retryable() { "true" } else { "false" }),
            ("retry_after_ms", &self.retry_after_ms.map_or("null".into(), |n| n.to_string())),
            ("expires_at", &text(self.expires_at.map(|t| t.to_string()).as_deref())),
            ("status_url", &text(self.status_url.as_deref())),
        ])
    }

    /// The JSON-RPC error object that carries it, for requests whose result has no place for it:
    /// <https://www.jsonrpc.org/specification#error_object>.
    pub fn to_error(&self) -> String {
        self.to_error_of(code::DECISION)
    }

    /// The same under another code of JSON-RPC.
    pub fn to_error_of(&self, code: i64) -> String {
        let data = json::object([(meta::DECISION, self.decision_json().as_str())]);
        jsonrpc::error_object(code, &self.text, Some(&data))
    }

    /// The tool result that carries it, with `isError`:
    /// <https://modelcontextprotocol.io/specification/2025-11-25/server/tools#calling-tools>.
    pub fn to_result(&self) -> String {
        format!(
            "{{\"content\":[{{\"type\":\"text\",\"text\":{}}}],\"isError\":true,\"_meta\":{{{}:{}}}}}",
            json::quote(&self.text),
            json::quote(meta::DECISION),
            self.decision_json()
        )
    }
}

/// The answer of a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Placet's own statement.
    Statement(Box<Statement>),
    /// The upstream's.
    Replied(Reply),
}

impl From<Statement> for Answer {
    fn from(statement: Statement) -> Self {
        Self::Statement(Box::new(statement))
    }
}

/// How a completed call comes to be answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delivery {
    /// The call ran for an earlier request.
    pub replayed: bool,
    /// Several requests were attached when it ran.
    pub shared: bool,
}

/// The answer of a hand-over: the approval is pending, or the call not yet ended.
pub fn pending(approval: &Approval, status_url: String, now: Timestamp) -> Statement {
    let id = &approval.id;
    let tool = approval.call.title();
    let text = match approval.state {
        State::Running => format!(
            "Approved, and {tool} is being executed now; it has not answered yet. Approval {id}. \
             Call again with identical arguments for the result: it will not run twice. Do not \
             try another way."
        ),
        State::Approved => format!(
            "Not executed yet. {tool} is approved and runs when it is called again. Approval {id}. \
             Call again now with identical arguments. Do not try another way."
        ),
        _ => format!(
            "Not executed. {tool} needs a person's approval{} and nobody has decided yet; there \
             are {} left. Approval {id}. Call again now with identical arguments: the call itself \
             waits. Do not try another way.",
            approval
                .reason
                .as_deref()
                .map(|r| format!(" ({})", r.trim_end_matches('.')))
                .unwrap_or_default(),
            in_words(now.until(approval.expires_at))
        ),
    };
    Statement {
        reason: approval.reason.clone(),
        retry_after_ms: Some(CALL_AGAIN_MS),
        expires_at: Some(approval.expires_at),
        status_url: Some(status_url),
        ..Statement::about(approval, Code::ApprovalPending, &text)
    }
}

/// The hand-over of a request whose approval can't be read now: what others made of it since it was
/// read last is not known.
pub(super) fn pending_unread(approval: &Approval, status_url: String, now: Timestamp) -> Statement {
    let (id, tool) = (&approval.id, approval.call.title());
    let was = match approval.state {
        State::Pending => "waited for a person's approval",
        State::Running => "was approved and being executed",
        _ => "was approved",
    };
    let text = format!(
        "Whether it was executed can't be said now. When Placet last read approval {id}, {tool} \
         {was}; its store can't be read, so it may have been decided and executed since, also for \
         another request. Call again now with identical arguments: it is not executed twice, and what became of it \
         is told. Do not try another way."
    );
    let statement = Statement::about(approval, Code::ApprovalPending, &text);
    Statement { text: statement.text, ..pending(approval, status_url, now) }
}

/// The answer that an approval gives that has ended or is indeterminate; none while it is open.
pub fn ended(approval: &Approval, delivery: Delivery, now: Timestamp) -> Option<Answer> {
    let id = &approval.id;
    let tool = approval.call.title();
    let answer = match approval.state {
        State::Pending | State::Approved | State::Running => return None,
        State::Completed => return Some(completed(approval, delivery)),
        State::Rejected => {
            let reason = approval.deciding().map(|d| d.reason.clone()).filter(|r| !r.is_empty());
            let why = reason
                .as_deref()
                .map_or_else(|| "No reason was given.".to_owned(), |r| format!("Reason: {r}"));
            let cooling = approval
                .cooldown_until()
                .filter(|until| *until > now)
                .map(|until| {
                    format!(" The same call gets this answer for {}.", in_words(now.until(until)))
                })
                .unwrap_or_default();
            Statement::about(
                approval,
                Code::ApprovalRejected,
                &format!(
                    "Not executed. A reviewer rejected {tool}. {why} Approval {id}.{cooling} Do \
                     not call it again with the same arguments and do not try another way; tell \
                     your user, or change what you ask for according to the reason."
                ),
            )
            .because(reason)
        }
        State::Expired => Statement::about(
            approval,
            Code::ApprovalExpired,
            &format!(
                "Not executed. The approval of {tool} expired: {}. Approval {id}. Calling it \
                 again asks the reviewers anew; do so only if your user still wants it.",
                approval.end_reason.as_deref().unwrap_or("nobody decided in time")
            ),
        )
        .because(approval.end_reason.clone()),
        State::Cancelled => Statement::about(
            approval,
            Code::ApprovalCancelled,
            &format!(
                "Not executed. The approval of {tool} was cancelled: {}. Approval {id}. Do not \
                 try another way; ask your user before you call it again.",
                approval.end_reason.as_deref().unwrap_or("withdrawn")
            ),
        )
        .because(approval.end_reason.clone()),
        State::Indeterminate => match (&approval.settled, &approval.outcome) {
            (Some(settled), Some(_)) if settled.by == "upstream" => {
                return Some(completed(approval, delivery));
            }
            (Some(settled), _) => {
                let (word, next) = if settled.done {
                    ("executed", "Do not call it again for the same effect.")
                } else {
                    ("not executed", "Calling it again asks the reviewers anew.")
                };
                let reason = format!(
                    "{}{}{}",
                    if settled.done { "done" } else { "not done" },
                    if settled.reason.is_empty() { "" } else { ": " },
                    settled.reason
                );
                Statement::about(
                    approval,
                    Code::OutcomeSettled,
                    &format!(
                        "It was {word}, as an administrator found out afterwards: {reason}. \
                         The upstream's own answer to {tool} is lost. Approval {id}. {next}"
                    ),
                )
                .because(Some(reason))
            }
            (None, _) => {
                let why = approval.end_reason.as_deref().unwrap_or("the connection was lost");
                let why = if approval.was_put_back() {
                    why.to_owned()
                } else {
                    format!("it was approved and sent, and no answer came back ({why})")
                };
                Statement::about(
                    approval,
                    Code::OutcomeUnknown,
                    &format!(
                        "It is not known whether {tool} was executed or not executed: {why}. \
                         Approval {id}. It is never sent again by itself. Do not try another way; \
                         tell your user that an administrator must settle it."
                    ),
                )
                .because(approval.end_reason.clone())
            }
        },
    };
    Some(answer.into())
}

fn completed(approval: &Approval, delivery: Delivery) -> Answer {
    let raw = match &approval.outcome {
        Some(Outcome::Error(raw)) => return Answer::Replied(Reply::Error(raw.clone())),
        Some(Outcome::Result(raw)) => raw,
        Some(Outcome::NotKept { .. }) | None => {
            let text = format!(
                "Executed. {} was approved and ran once; its answer was too large to keep and \
                 can't be given again. Approval {}. Do not call it again for the same effect.",
                approval.call.title(),
                approval.id
            );
            return Statement::about(approval, Code::OutcomeNotKept, &text).into();
        }
    };
    Answer::Replied(Reply::Result(mark(raw, &approved_json(approval, delivery))))
}

/// The decision that is added to an approved call's own result.
pub fn approved_json(approval: &Approval, delivery: Delivery) -> String {
    let by: Vec<String> = approval.decisions.iter().map(|d| json::quote(&d.reviewer)).collect();
    let mut pairs = vec![
        ("code", "\"approved\"".to_owned()),
        ("approval", json::quote(approval.id.as_str())),
        ("state", json::quote(approval.state.as_str())),
        ("rule", json::quote(&approval.rule)),
        ("approved_by", json::array(by)),
    ];
    if delivery.replayed {
        pairs.push(("replayed", "true".to_owned()));
        if let Some(at) = approval.finished_at {
            pairs.push(("executed_at", json::quote(&at.to_string())));
        }
    }
    if delivery.shared {
        pairs.push(("shared", "true".to_owned()));
    }
    json::object(pairs.iter().map(|(k, v)| (*k, v.as_str())))
}

/// Adds the decision to the `_meta` of a result, leaving every other byte as it is.
pub fn mark(result: &str, decision: &str) -> String {
    edit::with_meta(result, &[(meta::DECISION, decision)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marking_a_result_leaves_its_other_bytes_alone() {
        let result = r#"{ "content": [ ], "n":1.00,"_meta":{"x":1e2} }"#;

        assert_eq!(
            mark(result, r#"{"code":"approved"}"#),
            r#"{"content":[ ],"n":1.00,"_meta":{"x":1e2,"io.placet/decision":{"code":"approved"}}}"#
        );
    }

    #[test]
    fn every_statement_begins_with_its_code() {
        let statement = Statement::new(Code::PolicyDenied, "Not executed.").by_rule("/default");

        let result = statement.to_result();

        assert!(
            result
                .starts_with(r#"{"content":[{"type":"text","text":"[policy_denied] Not executed."#)
        );
        assert!(result.contains(r#""isError":true"#) && result.contains(r#""rule":"/default""#));
        assert!(result.contains(r#""retryable":false,"retry_after_ms":null"#));
    }
}
