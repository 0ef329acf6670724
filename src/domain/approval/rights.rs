//! Who may do what to an approval. Each rule stands here once: pages and interfaces ask it before,
//! and the change itself asks it again.

use super::Approval;
use super::enums::{Assurance, Choice, State, Via};
use super::refusal::Refusal;
use crate::domain::person::{Person, Role};
use crate::domain::time::Timestamp;

/// Somebody who acts: who, how surely it is them, and through which channel.
#[derive(Debug, Clone, Copy)]
pub struct Actor<'a> {
    /// The person.
    pub who: Person<'a>,
    /// How surely it is them.
    pub assurance: Assurance,
    /// The channel that they use.
    pub via: Via,
}

impl Approval {
    /// Whether reviewers may decide it now.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.state == State::Pending && !self.is_overdue(now)
    }

    /// Whether its time is over: nobody decided it, or nobody claimed it, in time. That holds from
    /// the instant on, whether or not it was stored yet.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        match self.state {
            State::Pending => self.expires_at <= now,
            State::Approved => self.claim_deadline.is_some_and(|d| d <= now),
            _ => false,
        }
    }

    /// Whether this reviewer was among those asked when it was made.
    pub fn is_eligible(&self, reviewer: &str) -> bool {
        self.terms.reviewers.iter().any(|r| r == reviewer)
    }

    /// Whether this reviewer's agent made the call.
    pub fn is_owner(&self, reviewer: &str) -> bool {
        self.terms.owner.as_deref() == Some(reviewer)
    }

    /// Whether it waits for the approval of this person, as far as they are concerned: they were
    /// asked, their role still decides, and the call is not of their own agent.
    pub fn asks(&self, who: Person<'_>) -> bool {
        self.may_say(who, Choice::Approve).is_ok()
    }

    /// Whether this person may see it. Approvals of `sensitive` rules are seen by their eligible
    /// reviewers, the agent's owner, admins and auditors; all others by every reviewer.
    pub fn may_be_seen_by(&self, who: Person<'_>) -> bool {
        !self.terms.sensitive
            || who.role.reads_all()
            || self.is_eligible(who.name)
            || self.is_owner(who.name)
    }

    /// Whether this person has the right to say this, in whatever state the call is: reviewers who
    /// were asked may approve and reject, the agent's owner may reject, an auditor may do neither.
    ///
    /// # Errors
    /// [`Refusal::Auditor`], [`Refusal::OwnAgent`] or [`Refusal::NotEligible`].
    pub fn may_say(&self, who: Person<'_>, choice: Choice) -> Result<(), Refusal> {
        if !who.role.decides() {
            return Err(Refusal::Auditor);
        }
        match (self.is_owner(who.name), choice) {
            (true, Choice::Approve) => Err(Refusal::OwnAgent),
            (true, Choice::Reject) => Ok(()),
            (false, _) if self.is_eligible(who.name) => Ok(()),
            (false, _) => Err(Refusal::NotEligible),
        }
    }

    /// Whether they may decide so now. To repeat one's own decision takes no more than the right to
    /// have made it.
    ///
    /// # Errors
    /// Those of [`Approval::may_say`], then [`Refusal::Repeated`], [`Refusal::SignIn`],
    /// [`Refusal::TooWeak`], [`Refusal::AlreadyDecided`] or [`Refusal::Expired`], whichever comes
    /// first.
    pub fn may_decide(&self, by: Actor<'_>, choice: Choice, now: Timestamp) -> Result<(), Refusal> {
        self.may_say(by.who, choice)?;
        let before = self.decision_of(by.who.name).map(|d| d.choice);
        if before == Some(choice) {
            return Err(Refusal::Repeated);
        }
        let asked = self.terms.assurance;
        if by.via == Via::Email && asked > Assurance::Link {
            return Err(Refusal::SignIn);
        }
        if choice == Choice::Approve && by.assurance < asked {
            return Err(Refusal::TooWeak(asked));
        }
        if self.state != State::Pending && self.state != State::Expired {
            return Err(Refusal::AlreadyDecided(self.state));
        }
        if !self.is_open(now) {
            return Err(Refusal::Expired);
        }
        if before == Some(Choice::Reject) {
            return Err(Refusal::AlreadyDecided(State::Rejected));
        }
        Ok(())
    }

    /// Whether they may withdraw it. While it waits for a decision an admin may; once it is
    /// approved, an admin and whoever approved it; nobody once it is claimed.
    ///
    /// # Errors
    /// [`Refusal::NotTheirsToWithdraw`] or [`Refusal::NotCancellable`].
    pub fn may_withdraw(&self, who: Person<'_>) -> Result<(), Refusal> {
        let approved = self.decision_of(who.name).is_some_and(|d| d.choice == Choice::Approve);
        let theirs = match who.role {
            Role::Admin => true,
            Role::Reviewer => approved && self.state != State::Pending,
            Role::Auditor => false,
        };
        if !theirs {
            return Err(Refusal::NotTheirsToWithdraw);
        }
        self.is_cancellable()
    }

    /// Whether it can end before it is claimed, whoever wants that.
    ///
    /// # Errors
    /// [`Refusal::NotCancellable`] once it is claimed or has ended.
    pub(super) fn is_cancellable(&self) -> Result<(), Refusal> {
        match self.state {
            State::Pending | State::Approved => Ok(()),
            other => Err(Refusal::NotCancellable(other)),
        }
    }

    /// Whether they may say what became of an indeterminate call: an admin may, but never for a
    /// call of their own agent.
    ///
    /// # Errors
    /// [`Refusal::NotAdmin`], [`Refusal::OwnAgentSettled`], [`Refusal::NotIndeterminate`] or
    /// [`Refusal::AlreadySettled`].
    pub fn may_settle(&self, who: Person<'_>) -> Result<(), Refusal> {
        if who.role != Role::Admin {
            return Err(Refusal::NotAdmin);
        }
        if self.is_owner(who.name) {
            return Err(Refusal::OwnAgentSettled);
        }
        if self.state != State::Indeterminate {
            return Err(Refusal::NotIndeterminate(self.state));
        }
        if self.settled.is_some() {
            return Err(Refusal::AlreadySettled);
        }
        Ok(())
    }
}
