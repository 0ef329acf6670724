//! The audit log.

use async_trait::async_trait;

use super::error::Result;
use crate::domain::audit::{AuditEvent, Record};

/// The verbs about the audit log. As everywhere, one verb is one transaction.
#[async_trait]
pub trait AuditStore: Send + Sync {
    /// Appends audit records that belong to no other change.
    async fn append(&self, events: Vec<AuditEvent>) -> Result<()>;

    /// Gives up to `limit` records their place in the chain; returns how many.
    async fn seal(&self, limit: u32) -> Result<u32>;

    /// Sealed records after `seq`, in order.
    async fn list(&self, after: i64, limit: u32) -> Result<Vec<Record>>;

    /// Records not yet sealed.
    async fn unsealed(&self) -> Result<i64>;
}
