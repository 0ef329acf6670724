//! What one person may do to one approval, computed once and read by every channel: pages, the
//! HTTP API, mailed links, the terminal. The rules are the domain's (`domain/approval/rights`);
//! a change asks them again.

use crate::auth::Proven;
use crate::config::Reviewer;
use crate::domain::approval::{
    Actor, Approval, ApprovalId, Assurance, Choice, Refusal, State, Via,
};
use crate::domain::time::Timestamp;

use crate::broker::{Broker, DecideError};

/// A right, or why it is refused.
pub type Right = Result<(), Refusal>;

/// What somebody wants to do to an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Approve or reject it.
    Decide {
        /// Approve or reject.
        choice: Choice,
        /// How surely the reviewer is who they say.
        assurance: Assurance,
        /// Through which channel.
        via: Via,
    },
    /// Withdraw it before it is claimed.
    Withdraw,
    /// Settle it: say what became of an indeterminate call.
    Settle,
}

/// What this person may do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// Approve it, provided that everything was shown.
    pub approve: Right,
    /// Reject.
    pub reject: Right,
    /// Withdraw it before it is claimed.
    pub withdraw: Right,
    /// Settle an indeterminate one.
    pub settle: Right,
    open: bool,
}

impl Rights {
    /// The rights of `who` through the channel `via`.
    pub fn of(approval: &Approval, who: Proven<'_>, via: Via, now: Timestamp) -> Self {
        let person = who.reviewer.person();
        let by = Actor { who: person, assurance: who.assurance, via };
        Self {
            approve: approval.may_decide(by, Choice::Approve, now),
            reject: approval.may_decide(by, Choice::Reject, now),
            withdraw: approval.may_withdraw(person),
            settle: approval.may_settle(person),
            open: approval.is_open(now),
        }
    }

    /// Whether there is anything for them to say.
    pub const fn decides(&self) -> bool {
        self.approve.is_ok() || self.reject.is_ok()
    }

    /// Why they can't approve what waits, in words.
    pub fn why_not_approve(&self) -> Option<&'static str> {
        self.approve.err().filter(|_| self.open).and_then(Refusal::hint)
    }
}

impl Broker {
    /// Their rights on the call's own page. If the approval asks for a passkey and they have one,
    /// they can use it there, so the rights are those of somebody who did.
    ///
    /// # Errors
    /// [`DecideError::Store`], when the store can't be read or written.
    pub async fn rights_on_page(
        &self,
        approval: &Approval,
        mut who: Proven<'_>,
    ) -> Result<Rights, DecideError> {
        let asked =
            approval.terms.assurance == Assurance::Passkey && approval.state == State::Pending;
        if asked && !self.passkeys(&who.reviewer.name).await?.is_empty() {
            who.assurance = Assurance::Passkey;
        }
        Ok(Rights::of(approval, who, Via::Web, self.now()))
    }

    /// The approval, if this person may do that to it. Its state is not looked at yet: a refusal
    /// for that comes only after the rest of the request was checked.
    ///
    /// # Errors
    /// [`DecideError::NotFound`], when there is none that they may see; `Refused`, when that is not
    /// for them to do; `Store`.
    pub async fn permit(
        &self,
        id: &ApprovalId,
        reviewer: &Reviewer,
        verb: Verb,
    ) -> Result<Approval, DecideError> {
        self.permit_on(self.get_for(id, reviewer).await?, reviewer, verb)
    }

    /// The same for who will change it: it may be an older one that a request of this process waits
    /// for, which permits that; whoever changes it finds by its version that it is older.
    ///
    /// # Errors
    /// As [`Broker::permit`].
    pub async fn permit_known(
        &self,
        id: &ApprovalId,
        reviewer: &Reviewer,
        verb: Verb,
    ) -> Result<Approval, DecideError> {
        let known = self.hints().awaited().row(id);
        match known.filter(|known| known.may_be_seen_by(reviewer.person())) {
            Some(known) => match self.permit_on((*known).clone(), reviewer, verb) {
                Ok(approval) => Ok(approval),
                Err(_) => self.permit(id, reviewer, verb).await,
            },
            None => self.permit(id, reviewer, verb).await,
        }
    }

    /// The same for an approval that was read for this request and that they may see.
    pub(super) fn permit_on(
        &self,
        approval: Approval,
        reviewer: &Reviewer,
        verb: Verb,
    ) -> Result<Approval, DecideError> {
        let who = reviewer.person();
        let right = match verb {
            Verb::Decide { choice, assurance, via } => {
                approval.may_decide(Actor { who, assurance, via }, choice, self.now())
            }
            Verb::Withdraw => approval.may_withdraw(who),
            Verb::Settle => approval.may_settle(who),
        };
        match right {
            Err(refusal) if refusal.is_about_the_person() => {
                Err(DecideError::Refused { refusal, approval: Box::new(approval) })
            }
            _ => Ok(approval),
        }
    }
}
