//! What people do to an approval: approve, reject, withdraw, settle.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Reviewer;
use crate::domain::approval::{
    Approval, ApprovalId, Assurance, Choice, Decision, MAX_REASON, Refusal, State, Transition, Via,
};
use crate::store::StoreError;

use super::plan::{Wishes, is_answered_late};
use super::rights::Verb;
use crate::broker::{Broker, DecideError};

/// Longest pause before a change is computed anew that another process was faster with.
const MAX_PAUSE_MS: u64 = 100;

/// One reviewer's decision, as asked for.
#[derive(Debug, Clone)]
pub struct DecisionRequest {
    /// Approve or reject.
    pub choice: Choice,
    /// The reviewer's reason, free text; may be empty.
    pub reason: String,
    /// The digest of the call as it was shown; none if none was shown.
    pub digest: Option<String>,
    /// Through which channel.
    pub via: Via,
    /// How surely the reviewer is who they say.
    pub assurance: Assurance,
}

impl Broker {
    /// Records a reviewer's decision. Repeating one's own is fine and stores nothing.
    ///
    /// # Errors
    /// [`DecideError`]: not found; not theirs to decide, another digest or too late (`Refused`); an
    /// unfit reason (`Invalid`); or the store failed.
    pub async fn decide(
        &self,
        id: &ApprovalId,
        reviewer: &Reviewer,
        request: DecisionRequest,
    ) -> Result<Approval, DecideError> {
        let visible = self.get_for(id, reviewer).await?;
        self.decide_on(visible, reviewer, request).await
    }

    /// The same for an approval that was read for this request, or is known by
    /// [`Broker::permit_known`]: what changed since is found by its version.
    ///
    /// # Errors
    /// As [`Broker::decide`].
    pub async fn decide_on(
        &self,
        visible: Approval,
        reviewer: &Reviewer,
        request: DecisionRequest,
    ) -> Result<Approval, DecideError> {
        // First whether it is there, then whether they may, then whether what they say is fit.
        let DecisionRequest { choice, assurance, via, .. } = request;
        let visible = self.permit_on(visible, reviewer, Verb::Decide { choice, assurance, via })?;
        let said = visible.decision_of(&reviewer.name).map(|d| d.choice);
        if choice == Choice::Approve && said != Some(Choice::Approve) {
            self.check_confirmed(&visible, &reviewer.name).await?;
        }
        let reason = check_reason(&request.reason)?;
        self.change_known(visible, |approval| {
            approval.decide(
                Decision {
                    reviewer: reviewer.name.clone(),
                    choice,
                    reason: reason.clone(),
                    via,
                    assurance,
                    at: self.now(),
                },
                reviewer.role,
                request.digest.as_deref(),
            )
        })
        .await
    }

    /// Withdraws a pending approval (admins) or an approved one (admins, or who approved).
    ///
    /// # Errors
    /// [`DecideError`]: not found; not theirs to withdraw, begun or ended (`Refused`); an unfit
    /// reason (`Invalid`); or the store failed.
    pub async fn cancel(
        &self,
        id: &ApprovalId,
        reviewer: &Reviewer,
        reason: &str,
    ) -> Result<Approval, DecideError> {
        self.permit(id, reviewer, Verb::Withdraw).await?;
        let reason = check_reason(reason)?;
        let by = reviewer.person();
        let reason = if reason.is_empty() { format!("withdrawn by {}", by.name) } else { reason };
        self.change(id, |approval| approval.withdraw(by, &reason, self.now())).await
    }

    /// Says what became of an indeterminate call (admins, never of their own agent's).
    ///
    /// # Errors
    /// [`DecideError`]: not found; not theirs to settle, not indeterminate (`Refused`); an unfit
    /// reason (`Invalid`); or the store failed.
    pub async fn settle(
        &self,
        id: &ApprovalId,
        reviewer: &Reviewer,
        done: bool,
        reason: &str,
    ) -> Result<Approval, DecideError> {
        self.permit(id, reviewer, Verb::Settle).await?;
        let reason = check_reason(reason)?;
        let by = reviewer.person();
        self.change(id, |approval| approval.settle(done, by, &reason, self.now())).await
    }

    /// Reads the approval, computes the change and stores it; again if somebody else was faster.
    ///
    /// # Errors
    /// [`DecideError::NotFound`]; [`DecideError::Refused`], when `compute` refuses;
    /// [`DecideError::Store`], when the store failed, or others were faster for all of
    /// `database.retry_for`.
    pub(in crate::broker) async fn change(
        &self,
        id: &ApprovalId,
        compute: impl Fn(Approval) -> Result<Transition, Refusal>,
    ) -> Result<Approval, DecideError> {
        let patience = self.config().database.retry_for;
        let until = Instant::now() + patience;
        let _turn = self.inner.turns.of(id, patience).await;
        let current = self.get(id).await?.ok_or(DecideError::NotFound)?;
        self.change_from(current, compute, until).await
    }

    /// The same for an approval that is known. It is read where somebody else has its turn, and before
    /// anything is refused, since it may have changed.
    async fn change_known(
        &self,
        known: Approval,
        compute: impl Fn(Approval) -> Result<Transition, Refusal>,
    ) -> Result<Approval, DecideError> {
        let id = known.id.clone();
        if let Some(_turn) = self.inner.turns.free(&id)
            && compute(known.clone()).is_ok()
        {
            let until = Instant::now() + self.config().database.retry_for;
            return self.change_from(known, compute, until).await;
        }
        self.change(&id, compute).await
    }

    async fn change_from(
        &self,
        mut current: Approval,
        compute: impl Fn(Approval) -> Result<Transition, Refusal>,
        until: Instant,
    ) -> Result<Approval, DecideError> {
        let mut pause = 1;
        loop {
            match compute(current.clone()) {
                Ok(transition) => match self.apply(transition).await {
                    Ok(after) => return Ok(after),
                    Err(StoreError::Conflict(now)) if Instant::now() < until => {
                        current = *now;
                        tokio::time::sleep(Duration::from_millis(pause)).await;
                        pause = (pause * 2).min(MAX_PAUSE_MS);
                    }
                    Err(error) => return Err(error.into()),
                },
                Err(Refusal::Repeated) => return Ok(current),
                Err(refusal) => {
                    return Err(DecideError::Refused { refusal, approval: Box::new(current) });
                }
            }
        }
    }

    /// Stores a change with the messages about it, then wakes those who wait.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], when the row has changed since the transition was computed; else
    /// as the store fails.
    pub async fn apply(&self, transition: Transition) -> Result<Approval, StoreError> {
        let now = self.now();
        // An outcome is mailed to nobody, and what nothing was changed to neither.
        let late = transition.from == transition.after.state && is_answered_late(&transition.after);
        let tells = late
            || transition.from != transition.after.state
                && !matches!(transition.after.state, State::Running | State::Completed);
        let wishes = if tells { self.wishes().await } else { Wishes::default() };
        let deliveries = self.plan_change(&transition, &wishes, now);
        let delivers = !deliveries.is_empty();
        let after = self.inner.store.approvals().apply(transition, deliveries, now).await?;
        self.inner.hints.stands(&after);
        if delivers {
            self.inner.hints.deliver();
        }
        Ok(after)
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
