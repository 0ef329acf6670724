//! What people do to an approval: approve, reject, withdraw, settle.

use crate::config::{Reviewer, Role};
use crate::domain::approval::{
    Approval, ApprovalId, Assurance, Choice, Decision, MAX_REASON, Refusal, State, Transition, Via,
};
use crate::store::StoreError;

use super::plan::Wishes;
use super::{Broker, DecideError};

/// How often a change is computed anew when the row has changed meanwhile.
const MAX_CONFLICTS: usize = 8;

/// One reviewer's decision, as asked for.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Yes or no.
    pub choice: Choice,
    /// Why.
    pub reason: String,
    /// The digest that was shown, where one was.
    pub digest: Option<String>,
    /// Through which channel.
    pub via: Via,
    /// How surely this comes from the reviewer.
    pub assurance: Assurance,
}

impl Broker {
    /// Records a reviewer's decision. Repeating one's own is fine and stores nothing.
    pub async fn decide(
        &self,
        id: &ApprovalId,
        reviewer: &Reviewer,
        verdict: Verdict,
    ) -> Result<Approval, DecideError> {
        // First whether it is there, then whether they may, then whether what they say is fit.
        let visible = self.get_for(id, reviewer).await?;
        if reviewer.role == Role::Auditor {
            return Err(DecideError::Forbidden("auditors read, they don't decide"));
        }
        let asked = visible.terms.assurance;
        if asked > Assurance::Link && verdict.via == Via::Email {
            return Err(DecideError::Forbidden("sign in to decide this call"));
        }
        if verdict.choice == Choice::Approve && verdict.assurance < asked {
            return Err(DecideError::Forbidden(too_weak(asked)));
        }
        if let Err(refusal) = visible.may_decide(&reviewer.name, verdict.choice) {
            return Err(DecideError::Refused { refusal, approval: Box::new(visible) });
        }
        if verdict.choice == Choice::Approve {
            self.check_confirmed(&visible, &reviewer.name).await?;
        }
        let reason = check_reason(&verdict.reason)?;
        if verdict.choice == Choice::Reject
            && reason.is_empty()
            && !matches!(verdict.via, Via::Email | Via::Web)
        {
            return Err(DecideError::Invalid("a rejection needs a reason".to_owned()));
        }
        self.change(id, |approval| {
            approval.decide(
                Decision {
                    reviewer: reviewer.name.clone(),
                    choice: verdict.choice,
                    reason: reason.clone(),
                    via: verdict.via,
                    assurance: verdict.assurance,
                    at: self.now(),
                },
                verdict.digest.as_deref(),
            )
        })
        .await
    }

    /// Withdraws a pending approval (admins) or an approved one (admins, or who approved).
    pub async fn cancel(
        &self,
        id: &ApprovalId,
        reviewer: &Reviewer,
        reason: &str,
    ) -> Result<Approval, DecideError> {
        let approval = self.get_for(id, reviewer).await?;
        let approved =
            approval.decision_of(&reviewer.name).is_some_and(|d| d.choice == Choice::Approve);
        let may = reviewer.role == Role::Admin
            || (reviewer.role == Role::Reviewer && approved && approval.state != State::Pending);
        if !may {
            return Err(DecideError::Forbidden(
                "only an admin, or who approved it, may withdraw a call",
            ));
        }
        let reason = check_reason(reason)?;
        let by = &reviewer.name;
        let reason = if reason.is_empty() { format!("withdrawn by {by}") } else { reason };
        self.change(id, |approval| approval.cancel(by, &reason, self.now())).await
    }

    /// Says what became of an indeterminate call (admins, never of their own agent's).
    pub async fn settle(
        &self,
        id: &ApprovalId,
        reviewer: &Reviewer,
        done: bool,
        reason: &str,
    ) -> Result<Approval, DecideError> {
        let visible = self.get_for(id, reviewer).await?;
        if reviewer.role != Role::Admin {
            return Err(DecideError::Forbidden("only an admin settles what is indeterminate"));
        }
        if visible.is_owner(&reviewer.name) {
            let approval = Box::new(visible);
            return Err(DecideError::Refused { refusal: Refusal::OwnAgent, approval });
        }
        let reason = check_reason(reason)?;
        self.change(id, |approval| approval.settle(done, &reviewer.name, &reason, self.now())).await
    }

    /// Reads, computes, stores; anew if somebody else was in between.
    pub(super) async fn change(
        &self,
        id: &ApprovalId,
        compute: impl Fn(Approval) -> Result<Transition, Refusal>,
    ) -> Result<Approval, DecideError> {
        let mut current = self.get(id).await?.ok_or(DecideError::NotFound)?;
        for _ in 0..MAX_CONFLICTS {
            match compute(current.clone()) {
                Ok(transition) => match self.apply(transition).await {
                    Ok(after) => return Ok(after),
                    Err(StoreError::Conflict(now)) => current = *now,
                    Err(error) => return Err(error.into()),
                },
                Err(Refusal::Repeated) => return Ok(current),
                Err(refusal) => {
                    return Err(DecideError::Refused { refusal, approval: Box::new(current) });
                }
            }
        }
        Err(DecideError::Store(StoreError::Conflict(Box::new(current))))
    }

    /// Persists a change with what must be told about it, then wakes who waits.
    pub async fn apply(&self, transition: Transition) -> Result<Approval, StoreError> {
        let now = self.now();
        let id = transition.after.id.clone();
        // An outcome is mailed to nobody, and what nothing was changed to neither.
        let tells = transition.from != transition.after.state
            && !matches!(transition.after.state, State::Running | State::Completed);
        let wishes = if tells { self.wishes().await } else { Wishes::default() };
        let deliveries = self.plan_change(&transition, &wishes, now);
        let after = self.inner.store.approvals().apply(transition, deliveries, now).await?;
        self.inner.hints.changed(&id);
        Ok(after)
    }
}

/// Why an approval was not sure enough. Rejecting is the safe thing and never asks for more than to
/// be signed in.
pub const fn too_weak(asked: Assurance) -> &'static str {
    match asked {
        Assurance::Passkey => {
            "approving this needs a passkey: open the call's page in a browser, and add a passkey \
             under Settings if you have none"
        }
        _ => {
            "approving this needs a sign-in by something other than a mailed link: sign in with \
             your token, or through the sign-in provider where there is one"
        }
    }
}

fn check_reason(reason: &str) -> Result<String, DecideError> {
    let reason = reason.trim();
    if reason.chars().count() > MAX_REASON {
        return Err(DecideError::Invalid(format!(
            "the reason has {} characters; at most {MAX_REASON}",
            reason.chars().count()
        )));
    }
    // PostgreSQL can't store NUL, and nobody can type it.
    Ok(reason.replace('\0', "\u{fffd}"))
}
