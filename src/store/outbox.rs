//! Messages on their way to people, and what became of each try.

use async_trait::async_trait;

use super::error::Result;
use crate::domain::approval::ApprovalId;
use crate::domain::time::Timestamp;

/// A message to be sent: written with the change it tells of.
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
    /// The reviewer it goes to; none for a webhook. `list:ADDRESS` for a list's copy.
    pub recipient: Option<String>,
    /// The body, where it must not change between attempts (webhooks).
    pub payload: Option<String>,
    /// Not before.
    pub due_at: Timestamp,
    /// Given up after this.
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

/// What became of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// The other side took it.
    Delivered {
        /// Its answer.
        detail: String,
    },
    /// It failed; again at `next`.
    Failed {
        /// What went wrong.
        detail: String,
        /// The next attempt.
        next: Timestamp,
    },
    /// No longer worth sending, or given up.
    Dropped {
        /// Why.
        detail: String,
    },
}

/// One attempt, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
    /// The delivery.
    pub delivery: String,
    /// Name of the notifier.
    pub notifier: String,
    /// What it told.
    pub topic: String,
    /// The reviewer.
    pub recipient: Option<String>,
    /// When.
    pub at: Timestamp,
    /// `delivered`, `failed` or `dropped`.
    pub result: String,
    /// The other side's answer, or the error.
    pub detail: String,
}

/// The verbs about messages. As everywhere, one verb is one transaction.
#[async_trait]
pub trait OutboxStore: Send + Sync {
    /// Leases due deliveries until `lease_until`.
    async fn claim(
        &self,
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

    /// Delivered messages of a topic to a recipient since an instant.
    async fn delivered_since(&self, recipient: &str, topic: &str, since: Timestamp) -> Result<i64>;

    /// Attempts per notifier and result, for the metrics.
    async fn attempt_counts(&self) -> Result<Vec<(String, String, i64)>>;
}
