//! The audit log.

use std::sync::Arc;

use async_trait::async_trait;

use super::error::Result;
use crate::domain::audit::{AuditEvent, Record};

/// The verbs about the audit log. Each verb is one transaction.
///
/// # Errors
/// Every verb fails with [`super::StoreError`]: `Unavailable`, when the database can't be reached
/// or written; `Corrupt`, when a stored value can't be read back.
#[async_trait]
pub trait AuditStore: Send + Sync {
    /// Appends audit records that belong to no other change.
    async fn append(&self, events: Vec<AuditEvent>) -> Result<()>;

    /// Appends many audit records that belong to no other change, and gives them their places in the
    /// hash chain at once, after all that were not sealed yet. Where too many were not, these are left
    /// to [`AuditStore::seal`], too.
    async fn append_sealed(&self, events: Arc<Vec<AuditEvent>>) -> Result<()>;

    /// Gives up to `limit` records their place in the hash chain; returns how many it sealed.
    async fn seal(&self, limit: u32) -> Result<u32>;

    /// Up to `limit` sealed records whose number is greater than `after`, in order.
    async fn list(&self, after: i64, limit: u32) -> Result<Vec<Record>>;

    /// How many records are not yet sealed.
    async fn unsealed(&self) -> Result<i64>;
}
