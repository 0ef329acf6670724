//! Why somebody may not do something to an approval: one word for programs, a sentence for people.

use thiserror::Error;

use super::enums::{Assurance, State};

/// Why a change is not possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Their role only reads.
    #[error("auditors read, they don't decide")]
    Auditor,
    /// The reviewer is not among those asked.
    #[error("you are not among the reviewers of this call")]
    NotEligible,
    /// The agent is the reviewer's own.
    #[error("this is your own agent's call: you may reject it, never approve it")]
    OwnAgent,
    /// The agent is the admin's own.
    #[error("this is your own agent's call: another admin settles it")]
    OwnAgentSettled,
    /// The rule does not accept a decision by a mailed link.
    #[error("sign in to decide this call")]
    SignIn,
    /// The link is too old to decide by.
    #[error("this link is too old to decide by: sign in")]
    OldLink,
    /// An approval needs this stronger assurance. A rejection is the safe choice and never needs
    /// more than a sign-in.
    #[error("{}", too_weak(*.0))]
    TooWeak(Assurance),
    /// They were asked as one of a group that the sign-in provider does not confirm.
    #[error(
        "you may approve this only as one of a group that the sign-in provider must have confirmed \
         lately, and it has not: sign in through it again; to reject needs no more"
    )]
    Unconfirmed,
    /// Only an admin, or a reviewer who approved it, withdraws a call.
    #[error("only an admin, or who approved it, may withdraw a call")]
    NotTheirsToWithdraw,
    /// Only admins settle.
    #[error("only an admin settles what is indeterminate")]
    NotAdmin,
    /// The digest sent is not that of the call.
    #[error("the call shown is not the call stored")]
    DigestMismatch,
    /// Its time ran out before it was decided or claimed.
    #[error("it expired before it was decided")]
    Expired,
    /// Somebody else decided first; it is in this state.
    #[error("it is already {0}")]
    AlreadyDecided(State),
    /// It can't be withdrawn in this state.
    #[error("it can't be withdrawn: it is {0}")]
    NotCancellable(State),
    /// Only what is indeterminate is settled.
    #[error("it is {0}, not indeterminate")]
    NotIndeterminate(State),
    /// It was settled before.
    #[error("it is already settled")]
    AlreadySettled,
    /// No valid change from this state.
    #[error("not possible while it is {0}")]
    WrongState(State),
    /// The reviewer said the same before; nothing to store.
    #[error("you have already said so")]
    Repeated,
}

const fn too_weak(asked: Assurance) -> &'static str {
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

impl Refusal {
    /// Whether it is about the person, whatever the state of the call.
    pub const fn is_about_the_person(self) -> bool {
        matches!(
            self,
            Self::Auditor
                | Self::NotEligible
                | Self::OwnAgent
                | Self::OwnAgentSettled
                | Self::SignIn
                | Self::OldLink
                | Self::TooWeak(_)
                | Self::Unconfirmed
                | Self::NotTheirsToWithdraw
                | Self::NotAdmin
        )
    }

    /// What the page of a call that waits says to somebody who can't decide it, before they try.
    pub const fn hint(self) -> Option<&'static str> {
        Some(match self {
            Self::Auditor => "You read only: auditors don't decide.",
            Self::OwnAgent => {
                "This is your own agent's call: you may reject it, somebody else approves it."
            }
            Self::NotEligible => "You are not among the reviewers of this call.",
            Self::Repeated => {
                "You have approved it; the others have not yet. You may still reject it."
            }
            Self::SignIn => "The rule wants you to be signed in to decide this call.",
            Self::OldLink => "This link is older than 24 hours: sign in to decide.",
            Self::TooWeak(Assurance::Passkey) => {
                "Approving this call needs a passkey of yours: add one under Settings, on a device \
                 that you have with you. You may reject it."
            }
            Self::TooWeak(_) => {
                "You are signed in by a mailed link, or one from the terminal. Approving this call \
                 needs more: sign in with your token, or through the sign-in provider where there is \
                 one. You may reject it."
            }
            _ => return None,
        })
    }
}
