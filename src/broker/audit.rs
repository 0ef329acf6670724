//! Reading the audit, and adding to it what belongs to no other change.

use std::sync::Arc;

use crate::config::Reviewer;
use crate::domain::audit::{AuditEvent, Record};
use crate::store::{Cap, StoreError};

use super::call::call_log::CallRecord;
use super::{Broker, DecideError};

/// The right to read the audit.
#[derive(Debug, Clone, Copy)]
pub struct Audit<'b> {
    broker: &'b Broker,
}

/// Sealed records, newest first.
#[derive(Debug, Clone)]
pub struct AuditPage {
    /// The records.
    pub records: Vec<Record>,
    /// How many are not sealed yet.
    pub unsealed: i64,
    /// The `seq` before which the next page begins; none if there is nothing older.
    pub older: Option<i64>,
}

impl Broker {
    /// The audit, for those who may read it.
    ///
    /// # Errors
    /// [`DecideError::Forbidden`], when this person's role may not read it.
    pub fn audit_for(&self, reviewer: &Reviewer) -> Result<Audit<'_>, DecideError> {
        if !reviewer.role.reads_all() {
            return Err(DecideError::Forbidden("the audit is for auditors and admins"));
        }
        Ok(Audit { broker: self })
    }

    /// Appends audit records that belong to no other change.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn record(&self, events: Vec<AuditEvent>) -> Result<(), StoreError> {
        self.store().audit().append(events).await
    }

    /// Appends a group of records of allowed calls, which get their places in the hash chain at once.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn record_calls(&self, group: Arc<Vec<AuditEvent>>) -> Result<(), StoreError> {
        self.store().audit().append_sealed(group).await
    }
}

impl Broker {
    /// Records that something was refused. The refusal stands without the store: while that is away
    /// the record waits with those of allowed calls.
    pub(super) async fn record_refusal(&self, event: AuditEvent) {
        if self.store_is_away() {
            if !self.call_log().push(CallRecord(event)) {
                tracing::error!("a refusal could not be recorded; it stands all the same");
            }
            return;
        }
        let broker = self.clone();
        let verb = async move { broker.record(vec![event]).await };
        if let Some(Err(error)) = self.done_briefly(verb).await {
            tracing::error!(%error, "a refusal could not be recorded; it stands all the same");
        }
    }
}

impl Broker {
    /// Records that a limit of section `[approvals]` refused a call. Where the store has more to do
    /// than it can, the record waits with those of allowed calls.
    pub(super) async fn record_limit_hit(&self, cap: Cap, event: AuditEvent) {
        let busy = matches!(cap, Cap::Submitting | Cap::SubmittingPerAgent);
        if busy {
            if !self.call_log().push(CallRecord(event)) {
                tracing::error!("a refusal could not be recorded; it stands all the same");
            }
        } else if let Err(error) = self.record(vec![event]).await {
            tracing::error!(%error, "a limit hit could not be recorded");
        }
    }
}

impl Audit<'_> {
    /// Sealed records after that `seq`, in order.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn after(&self, seq: i64, limit: u32) -> Result<Vec<Record>, StoreError> {
        self.broker.store().audit().list(seq, limit).await
    }

    /// The page of `per_page` records before that `seq`; the newest if there is none.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn page(&self, before: Option<i64>, per_page: i64) -> Result<AuditPage, StoreError> {
        let end = match before {
            Some(before) => before.saturating_sub(1).max(0),
            None => self.last_seq().await?,
        };
        let start = end.saturating_sub(per_page).max(0);
        let mut records = match u32::try_from(end - start).unwrap_or(0) {
            0 => Vec::new(),
            limit => self.after(start, limit).await?,
        };
        records.reverse();
        let unsealed = self.broker.store().audit().unsealed().await?;
        Ok(AuditPage { records, unsealed, older: (start > 0).then_some(start + 1) })
    }

    /// The last sealed `seq`. The store lists upwards only, so its end is found by halving.
    async fn last_seq(&self) -> Result<i64, StoreError> {
        let (mut low, mut step) = (0_i64, 1_i64);
        if !self.exists_after(0).await? {
            return Ok(0);
        }
        while self.exists_after(low + step).await? {
            low += step;
            step = step.saturating_mul(2);
        }
        // Something is after `low`, nothing is after `high`.
        let mut high = low + step;
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.exists_after(middle).await? {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(high)
    }

    async fn exists_after(&self, seq: i64) -> Result<bool, StoreError> {
        Ok(!self.after(seq, 1).await?.is_empty())
    }
}
