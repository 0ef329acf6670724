//! A mailed review link: whose it is, and what may still be done by it.

use std::time::Duration;

use thiserror::Error;

use crate::auth::Proven;
use crate::config::Reviewer;
use crate::domain::approval::{Approval, Assurance, Choice, Refusal, Via};
use crate::domain::time::Timestamp;
use crate::store::StoreError;

use super::rights::Rights;
use crate::broker::Broker;

/// How long after it was made a link lets its reviewer decide without a sign-in.
pub(crate) const DECIDES_FOR: Duration = Duration::from_hours(24);

/// What a link leads to.
#[derive(Debug, Clone)]
pub struct Followed {
    /// The approval it is bound to.
    pub approval: Approval,
    /// Whom it was sent to.
    pub reviewer: Reviewer,
    /// What they may do by it.
    pub rights: Rights,
    /// Whether they have decided, or have nothing to decide any more.
    pub dead: bool,
}

/// Why a link leads nowhere.
#[derive(Debug, Error)]
pub enum LinkLost {
    /// There is no such link, or its approval is kept no longer.
    #[error("this link leads nowhere; was it cut off?")]
    Unknown,
    /// It was mailed to somebody whose entry in the configuration is another now or gone, or an
    /// admin ended it.
    #[error(
        "this link works no more: what is known of the person it was mailed to has changed since, \
         or they were signed out everywhere; sign in to see what waits for you"
    )]
    Ended,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Broker {
    /// What the link with this hash (SHA-256, hex) leads to.
    ///
    /// # Errors
    /// [`LinkLost`]: it or its approval is gone, it was ended, or the store failed.
    pub async fn follow_link(&self, hash: &str) -> Result<Followed, LinkLost> {
        let link = self.store().review_links().find(hash).await?.ok_or(LinkLost::Unknown)?;
        let approval = self.get(&link.approval).await?.ok_or(LinkLost::Unknown)?;
        let config = self.config();
        if config.entry_of(&link.reviewer).as_ref() != Some(&link.entry) {
            return Err(LinkLost::Ended);
        }
        let reviewer = config.reviewer(&link.reviewer).cloned().ok_or(LinkLost::Ended)?;
        let now = self.now();
        let rights = rights(&approval, &reviewer, link.created_at, now);
        let dead = !approval.is_open(now)
            || approval.decision_of(&reviewer.name).is_some()
            || approval.may_say(reviewer.person(), Choice::Reject).is_err();
        Ok(Followed { approval, reviewer, rights, dead })
    }
}

fn rights(approval: &Approval, reviewer: &Reviewer, made_at: Timestamp, now: Timestamp) -> Rights {
    let who = Proven { reviewer, assurance: Assurance::Link };
    let mut rights = Rights::of(approval, who, Via::Email, now);
    if made_at.plus(DECIDES_FOR) <= now {
        for right in [&mut rights.approve, &mut rights.reject] {
            *right = right.and(Err(Refusal::OldLink));
        }
    }
    rights
}
