//! The answers to calls for which no approval is made.

use std::time::Duration;

use crate::domain::approval::ApprovalId;
use crate::domain::policy::Denial;
use crate::domain::time::in_words;
use crate::store::Cap;

use super::answer::{Code, Statement};

/// Why everything is denied that an upstream without a policy is asked for.
pub(in crate::broker) const NO_POLICY: &str = "no policy is configured";

/// A rule, or the default, denies it.
pub(in crate::broker) fn denied(title: &str, denial: &Denial) -> Statement {
    let Denial { rule, name, reason } = denial;
    let why = reason
        .as_deref()
        .map_or_else(|| "no rule allows it".to_owned(), |r| r.trim_end_matches('.').to_owned());
    let name = name.as_ref().map_or(String::new(), |name| format!(" {name:?}"));
    let text = format!(
        "Not executed. {title} is denied by policy (rule {rule}{name}): {why}. Do not retry and do not \
         try another way; tell your user."
    );
    Statement::new(Code::PolicyDenied, &text).by_rule(rule).because(reason.clone())
}

/// A rule's limit is reached.
pub(in crate::broker) fn limited(title: &str, rule: &str, wait_ms: u64) -> Statement {
    let wait = in_words(Duration::from_millis(wait_ms.max(500)));
    let text = format!(
        "Not executed. {title} has reached its rate limit (rule {rule}). Call it again in {wait}."
    );
    Statement::new(Code::RateLimited, &text).by_rule(rule).retry_after(wait_ms)
}

/// When to call again while the store is away, milliseconds from now.
pub(super) const STORE_BACK_MS: u64 = 60_000;
/// What is said to do then, where something identical may be queued or have run.
pub(super) const WHAT_TO_DO: &str = "Call again in a minute with identical arguments: what is \
     queued is joined, and no approval is executed twice. If it stays so, tell your user that \
     Placet's operator must look.";

/// This request did nothing; what became of an identical call before it can't be looked up.
pub(in crate::broker) fn uncertain() -> Statement {
    let text = format!(
        "This request was not executed and queued nothing: Placet can't use its store now. Whether \
         an identical call that you made before it waits for approval or was executed can't be \
         looked up: it may have been. {WHAT_TO_DO}"
    );
    Statement::new(Code::Unavailable, &text).retry_after(STORE_BACK_MS)
}

/// The store can't be written, and it holds nothing of an identical call that is open or not told.
pub(crate) fn unavailable() -> Statement {
    Statement::new(
        Code::Unavailable,
        "Not executed. Placet can't write its store now: nothing was queued and nothing ran. Call \
         again in a minute; if it stays so, tell your user that Placet's operator must look.",
    )
    .retry_after(STORE_BACK_MS)
}

/// An approval can't be read: it must not even be said that its call did not run.
pub(super) fn unreadable(id: &ApprovalId) -> Statement {
    let text = format!(
        "Nothing can be said of approval {id} now: Placet can't read or write its store. Whatever \
         became of it stands, executed or not executed. Call again in a minute; if it stays so, \
         tell your user that Placet's operator must look."
    );
    let statement = Statement::new(Code::Unavailable, &text).retry_after(60_000);
    Statement { approval: Some(id.to_string()), ..statement }
}

/// An approved call that was not sent, since the store could not note it.
pub(super) fn not_begun(tool: &str) -> Statement {
    let text = format!(
        "Not executed. {tool} is approved, and Placet can't write its store now, so that it was not \
         begun. Call again in a minute with identical arguments: then it runs. If it stays so, tell \
         your user that Placet's operator must look."
    );
    Statement::new(Code::Unavailable, &text).retry_after(60_000)
}

/// The upstream can't be reached.
pub(crate) fn unavailable_upstream(upstream: &str) -> Statement {
    Statement::new(
        Code::UpstreamUnavailable,
        &format!(
            "Not executed. The server behind {upstream} can't be reached or started. Call again \
             in a while; if it stays so, tell your user."
        ),
    )
    .retry_after(10_000)
}

/// The key of the configuration that a cap is set by.
pub(in crate::broker) const fn cap_name(cap: Cap) -> &'static str {
    match cap {
        Cap::PendingPerAgent => "approvals.max_pending_per_agent",
        Cap::Pending => "approvals.max_pending",
        Cap::NewPerAgent => "approvals.max_new_per_agent",
        Cap::Submitting => "approvals.max_submitting",
        Cap::SubmittingPerAgent => "approvals.max_submitting_per_agent",
        Cap::RateLimit => "rate_limit",
    }
}

pub(in crate::broker) fn too_many(cap: Cap, wait_ms: u64) -> Statement {
    let what = match cap {
        Cap::PendingPerAgent => "too many of your calls wait for approval already",
        Cap::Pending => "too many calls wait for approval already",
        Cap::NewPerAgent => "you have asked for too many approvals in a short time",
        Cap::Submitting => {
            "too many calls are being queued at this moment (approvals.max_submitting)"
        }
        Cap::SubmittingPerAgent => {
            "too many of your calls are being queued at this moment \
             (approvals.max_submitting_per_agent)"
        }
        Cap::RateLimit => "the rule's rate limit is reached",
    };
    Statement::new(
        Code::TooManyPending,
        &format!(
            "Not executed and not queued: {what}. Do not ask for more now; wait for the open ones, \
             then call again in {}.",
            in_words(Duration::from_millis(wait_ms.max(1_000)))
        ),
    )
    .because(Some(what.to_owned()))
    .retry_after(wait_ms)
}
