//! Work that no request brings: deadlines, lost processes, the seal of the audit, old rows. Each
//! step reads the store, does what is due, and may be repeated at any time, on any process.

use std::collections::HashSet;

use crate::domain::approval::{Approval, ApprovalId, Transition};
use crate::domain::time::Timestamp;
use crate::store::due::Unattended;
use crate::store::{Old, StoreError};

use super::Broker;
use super::call::execute::{Done, Wishes};

/// The change by which a claim that nobody will carry out is taken back; none where it is no claim.
fn take_back(approval: Approval, why: &str, now: Timestamp) -> Option<Transition> {
    let id = approval.id.clone();
    if approval.unsent {
        tracing::warn!(approval.id = %id, "approval {id} was not sent and is approved again: {why}");
        return approval.give_back(&format!("{why} before it was sent"), now).ok();
    }
    tracing::error!(approval.id = %id, "nobody knows what became of approval {id}: {why}");
    approval.lose(&format!("{why} before an answer came"), now).ok()
}

/// Most approvals of one step; the next step takes the rest.
const BATCH: u32 = 200;
/// Audit records sealed in one transaction.
const SEAL_BATCH: u32 = 500;

impl Broker {
    /// Ends what nobody decided, or nobody claimed, in time.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn expire_due(&self) -> Result<(), StoreError> {
        let now = self.now();
        for id in self.store().due().expiries(now, BATCH).await? {
            let end = |approval: Approval| approval.expire(now).ok();
            if self.end_one(&id, end).await? {
                tracing::info!(approval.id = %id, "approval {id} expired");
            }
        }
        Ok(())
    }

    /// Takes the claims of dead processes back: a call that surely was not sent is approved again,
    /// another becomes indeterminate and is never sent again.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn lose_orphaned(&self) -> Result<(), StoreError> {
        self.lose_orphaned_while(|| true).await
    }

    /// The same, while this process may judge others by their leases.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn judge_others(&self) -> Result<(), StoreError> {
        if !self.may_judge_others() {
            return Ok(());
        }
        // What is read may have been waited for during all of an outage.
        self.lose_orphaned_while(|| self.may_judge_others()).await
    }

    async fn lose_orphaned_while(&self, may: impl Fn() -> bool) -> Result<(), StoreError> {
        let now = self.now();
        for id in self.store().due().orphaned(self.node(), now, BATCH).await? {
            if !may() {
                return Ok(());
            }
            let end = |approval: Approval| {
                let lost = take_back(approval, "the broker that ran it died", now)?;
                Some(lost.if_executor_is_dead(now))
            };
            self.end_one(&id, end).await?;
        }
        Ok(())
    }

    /// Takes back what this process has claimed, by the store's word, and does not execute: the
    /// answer to its claim was lost.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn take_back_unknown(&self) -> Result<(), StoreError> {
        for id in self.store().due().claimed_by(self.node()).await? {
            if self.inner.executing.has(&id) {
                continue;
            }
            let own = |a: &Approval| a.executor.as_deref() == Some(self.node());
            let end = |approval: Approval| {
                // It was claimed again since it was listed.
                if !own(&approval) || self.inner.executing.has(&id) {
                    return None;
                }
                take_back(approval, "this broker does not run it", self.now())
            };
            self.end_one(&id, end).await?;
        }
        Ok(())
    }

    /// Ends an approval, unless that is no longer due, somebody else was faster, or it can't be read;
    /// says whether it did.
    async fn end_one(
        &self,
        id: &ApprovalId,
        end: impl FnOnce(Approval) -> Option<Transition>,
    ) -> Result<bool, StoreError> {
        let Some(transition) = self.readable(id).await?.and_then(end) else { return Ok(false) };
        match self.apply(transition).await {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The approval, as it stands; none also where its row is damaged, which the log is told: work for
    /// the others goes on.
    async fn readable(&self, id: &ApprovalId) -> Result<Option<Approval>, StoreError> {
        match self.get(id).await {
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!(approval.id = %id, %error, "nothing can be done for approval {id}: {error}");
                Ok(None)
            }
            found => found,
        }
    }

    /// Seals audit records: gives them their place in the hash chain.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn seal_audit(&self) -> Result<(), StoreError> {
        while self.store().audit().seal(SEAL_BATCH).await? == SEAL_BATCH {}
        Ok(())
    }

    /// Removes what is older than it must be kept.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn purge(&self) -> Result<(), StoreError> {
        let now = self.now();
        let old = Old {
            history_before: now.minus(self.config().approvals.history_retention),
            idle_before: self.idle_since(now),
        };
        let gone = self.store().purge(now, old).await?;
        if gone > 0 {
            tracing::debug!("{gone} old rows removed");
        }
        Ok(())
    }

    /// Approved calls that run without a request.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn to_run_unattended(&self) -> Result<Vec<Unattended>, StoreError> {
        let now = self.now();
        let mut due = self.store().tasks().attended(now, BATCH).await?;
        let followed: HashSet<ApprovalId> = due.iter().map(|one| one.id.clone()).collect();
        let others = self.store().due().unattended(now, BATCH).await?;
        due.extend(others.into_iter().filter(|one| !followed.contains(&one.id)));
        Ok(due)
    }

    /// Runs such calls of one upstream, one after the other, until all have begun. While the server
    /// does not list its tools nothing is claimed.
    pub async fn run_unattended(&self, due: Vec<Unattended>) {
        for Unattended { id, session, .. } in due {
            if self.stopping() {
                return;
            }
            match self.run_one_unattended(&id, session.as_deref()).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(approval.id = %id, %error, "approval {id} runs later");
                    return;
                }
            }
        }
    }

    /// False where the server does not answer.
    async fn run_one_unattended(
        &self,
        id: &ApprovalId,
        session: Option<&str>,
    ) -> Result<bool, StoreError> {
        let Some(approval) = self.readable(id).await? else { return Ok(true) };
        let caller = self.caller_without_request(&approval, session).await;
        let listed = tokio::select! {
            listed = self.lists_in_time(&approval.call) => listed,
            () = self.stop().soft.cancelled() => false,
        };
        if !listed {
            return Ok(false);
        }
        if let Some(execution) = self.execute(id, &caller, &Wishes::default()).await? {
            let id = id.clone();
            self.tracker().spawn(async move {
                if let Ok(Done::NotSent(why)) = execution.done.await {
                    tracing::warn!(approval.id = %id, "approval {id} runs later: {why}");
                }
            });
        }
        Ok(true)
    }
}
