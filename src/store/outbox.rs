//! Messages on their way to people, and what became of each try.

use std::collections::HashMap;

use async_trait::async_trait;

use super::error::Result;
use crate::domain::approval::ApprovalId;
use crate::domain::time::Timestamp;

/// A message to be sent, stored in the same transaction as the change it tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDelivery {
    /// Its id, `dlv_…`; for webhooks the `webhook-id`.
    pub id: String,
    /// The approval it is about.
    pub approval: Option<ApprovalId>,
    /// Name of the notifier.
    pub notifier: String,
    /// What it tells: `requested`, `reminder`, `approved`, `rejected`, `expired`, `cancelled`,
    /// `completed`, `indeterminate`.
    pub topic: String,
    /// Name of the reviewer it goes to, or `list:ADDRESS` for a list's copy; none for a webhook.
    pub recipient: Option<String>,
    /// The JSON body of a webhook, which must not change between attempts; none for a mail.
    pub payload: Option<String>,
    /// Not sent before this instant.
    pub due_at: Timestamp,
    /// Given up after this instant.
    pub give_up_at: Timestamp,
}

/// A delivery that is due, leased to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// What is to be sent.
    pub new: NewDelivery,
    /// Attempts made so far.
    pub attempts: u32,
    /// When it was written.
    pub created_at: Timestamp,
}

/// What a process sends next, through one channel: a channel that hangs holds up no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// Name of the notifier.
    pub notifier: String,
    /// The process that sends. When it is dead, its messages are due again.
    pub node: String,
    /// Recipients to whom something is on its way: they get nothing more before that has ended.
    pub busy: Vec<String>,
}

/// What became of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// The other side took it.
    Delivered {
        /// The other side's answer.
        detail: String,
    },
    /// It failed, and is tried again at `next`.
    Failed {
        /// What went wrong.
        detail: String,
        /// When the next attempt is due.
        next: Timestamp,
    },
    /// No longer worth sending, or given up.
    Dropped {
        /// Why it is not sent.
        detail: String,
    },
}

/// One attempt, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
    /// Id of the delivery.
    pub delivery: String,
    /// Name of the notifier.
    pub notifier: String,
    /// What the message told, as [`NewDelivery::topic`].
    pub topic: String,
    /// Whom it went to, as [`NewDelivery::recipient`].
    pub recipient: Option<String>,
    /// When it was made.
    pub at: Timestamp,
    /// `delivered`, `failed` or `dropped`.
    pub result: String,
    /// The other side's answer, or the error.
    pub detail: String,
}

/// The verbs about messages. Each verb is one transaction.
///
/// # Errors
/// Every verb fails with [`super::StoreError`]: `Unavailable`, when the database can't be reached
/// or written; `Corrupt`, when a stored value can't be read back.
#[async_trait]
pub trait OutboxStore: Send + Sync {
    /// Makes due again what was on its way in processes that are dead; returns how many it were.
    async fn take_over(&self, now: Timestamp) -> Result<u64>;

    /// Names of the notifiers for which something is due.
    async fn due(&self, now: Timestamp) -> Result<Vec<String>>;

    /// Leases up to `limit` due deliveries of a lane to its process until `lease_until`, one for each
    /// recipient; those that were never tried come first.
    async fn claim(
        &self,
        lane: &Lane,
        now: Timestamp,
        lease_until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Delivery>>;

    /// Records an attempt and what follows from it.
    async fn record_attempt(&self, delivery: &str, attempt: &Attempt, now: Timestamp)
    -> Result<()>;

    /// Adds deliveries that belong to no change (reminders, summaries, tests).
    async fn enqueue(&self, deliveries: Vec<NewDelivery>, now: Timestamp) -> Result<()>;

    /// Attempts about an approval, oldest first.
    async fn attempts(&self, approval: &ApprovalId) -> Result<Vec<AttemptRecord>>;

    /// How many messages of a topic were delivered to a recipient since an instant, by the agents
    /// whose calls they are about; those about no call under an empty name.
    async fn delivered_since(
        &self,
        recipient: &str,
        topic: &str,
        since: Timestamp,
    ) -> Result<HashMap<String, i64>>;

    /// How many attempts there were, by notifier and result; for the metrics.
    async fn attempt_counts(&self) -> Result<Vec<(String, String, i64)>>;
}
