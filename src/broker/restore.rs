//! A database that was put back from an older copy: what was open in it may have been decided, sent,
//! used up or revoked since, and nothing of that may happen again without a word.

use std::collections::BTreeSet;

use crate::domain::approval::State;
use crate::domain::audit::{AuditEvent, Kind};
use crate::domain::grant::GrantState;
use crate::domain::time::Timestamp;
use crate::store::copies::{LetGo, PutBack};
use crate::store::credentials::Ended;
use crate::store::{Filter, StoreError};

use super::Broker;

/// Approvals read at once.
const BATCH: u32 = 200;
/// Why a grant ends then.
const GRANT_ENDS: &str = "the database was put back from an older copy: it may have been revoked or \
                          used up since";

/// What is known of the copy, and what is wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Restoring {
    /// When the copy was made, where that is known.
    pub copied_at: Option<Timestamp>,
    /// What was pending is cancelled, so that the identical call asks anew; else it is
    /// `indeterminate`, as is all that was approved or running.
    pub ask_again: bool,
}

/// What was marked and ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restored {
    /// Approvals that are `indeterminate` now.
    pub indeterminate: u64,
    /// Approvals that are cancelled, so that the identical call asks anew.
    pub asked_anew: u64,
    /// Grants that were open.
    pub grants: u64,
    /// What people held to be let in.
    pub ended: Ended,
    /// What else was let go.
    pub let_go: LetGo,
}

impl Broker {
    /// Whether the database is a copy that was put back and not looked at yet.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn put_back(&self) -> Result<Option<PutBack>, StoreError> {
        self.store().copies().put_back().await
    }

    /// Marks all that was open in a copy, each with its record, and takes it for the database from
    /// now on. `told` hears how many approvals are marked. May be repeated after it was cut off: until
    /// its end no broker starts on the database.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn mark_restored(
        &self,
        how: Restoring,
        told: &(dyn Fn(u64) + Sync),
    ) -> Result<Restored, StoreError> {
        let mut done = Restored {
            let_go: self.store().copies().begin_restore(self.now()).await?,
            ..Restored::default()
        };
        self.mark_open(how, &mut done, told).await?;
        self.end_grants(&mut done).await?;
        self.end_credentials(&mut done).await?;
        let mut event = AuditEvent::new(Kind::DatabaseRestored, "placet", self.now());
        if let Some(at) = how.copied_at {
            event = event.with("copied_at", &at.to_string());
        }
        for (what, n) in [
            ("indeterminate", done.indeterminate),
            ("asked_anew", done.asked_anew),
            ("grants", done.grants),
            ("messages", done.let_go.messages),
        ] {
            event = event.with_raw(what, n.to_string());
        }
        self.store().copies().adopt(event).await?;
        self.seal_audit().await?;
        Ok(done)
    }

    /// Takes a copy for the database as it is, for nothing happened since it was made.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn adopt_unchanged(&self, copied_at: Option<Timestamp>) -> Result<(), StoreError> {
        let mut event = AuditEvent::new(Kind::DatabaseRestored, "placet", self.now())
            .with_raw("nothing_ran_since", "true".to_owned());
        if let Some(at) = copied_at {
            event = event.with("copied_at", &at.to_string());
        }
        self.store().copies().adopt(event).await?;
        self.seal_audit().await
    }

    async fn mark_open(
        &self,
        how: Restoring,
        done: &mut Restored,
        told: &(dyn Fn(u64) + Sync),
    ) -> Result<(), StoreError> {
        let open = Filter {
            states: vec![State::Pending, State::Approved, State::Running],
            limit: BATCH,
            // What can't be read can't be marked: the copy is damaged.
            whole: true,
            ..Filter::default()
        };
        loop {
            // What is marked is open no more, so that the first page is always the next one.
            let page = self.store().approvals().list(&open, self.now()).await?;
            if page.is_empty() {
                return Ok(());
            }
            for approval in page {
                let Ok(transition) = approval.put_back(how.ask_again, how.copied_at, self.now())
                else {
                    continue;
                };
                let asks_anew = transition.after.state == State::Cancelled;
                match self.apply(transition).await {
                    Ok(_) if asks_anew => done.asked_anew += 1,
                    Ok(_) => done.indeterminate += 1,
                    Err(StoreError::Conflict(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            told(done.asked_anew + done.indeterminate);
        }
    }

    async fn end_grants(&self, done: &mut Restored) -> Result<(), StoreError> {
        let now = self.now();
        for grant in self.store().grants().list(u32::MAX).await? {
            if grant.state(now) == GrantState::Open {
                self.end_grant(&grant, "placet", GRANT_ENDS.to_owned()).await?;
                done.grants += 1;
            }
        }
        Ok(())
    }

    async fn end_credentials(&self, done: &mut Restored) -> Result<(), StoreError> {
        let mut people: BTreeSet<String> =
            self.config().reviewers.iter().map(|r| r.name.clone()).collect();
        people.extend(self.store().credentials().holders().await?);
        for name in people {
            let ended = self.store().credentials().end_all(&name, "placet", self.now()).await?;
            done.ended.sessions += ended.sessions;
            done.ended.tokens += ended.tokens;
            done.ended.sign_ins += ended.sign_ins;
            done.ended.review_links += ended.review_links;
        }
        Ok(())
    }
}
