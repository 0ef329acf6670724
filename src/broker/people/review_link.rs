//! A mailed review link: whose it is, and what may still be done by it.

use std::time::Duration;

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

impl Broker {
    /// What the link with this hash (SHA-256, hex) leads to; none if it or its approval is gone.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn follow_link(&self, hash: &str) -> Result<Option<Followed>, StoreError> {
        let Some(link) = self.store().review_links().find(hash).await? else { return Ok(None) };
        let Some(approval) = self.get(&link.approval).await? else { return Ok(None) };
        let Some(reviewer) = self.config().reviewer(&link.reviewer).cloned() else {
            return Ok(None);
        };
        let now = self.now();
        let rights = rights(&approval, &reviewer, link.created_at, now);
        let dead = !approval.is_open(now)
            || approval.decision_of(&reviewer.name).is_some()
            || approval.may_say(reviewer.person(), Choice::Reject).is_err();
        Ok(Some(Followed { approval, reviewer, rights, dead }))
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
