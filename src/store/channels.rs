//! Channels to reviewers whose other side wants no more messages.

use async_trait::async_trait;

use super::error::Result;
use crate::domain::audit::AuditEvent;
use crate::domain::time::Timestamp;

/// A channel that was disabled by its other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisabledChannel {
    /// Name of the notifier.
    pub notifier: String,
    /// What the configuration said of it then ([`crate::config::Notifier::entry`]); under another
    /// entry it is not disabled.
    pub entry: String,
    /// When.
    pub at: Timestamp,
    /// What the other side said.
    pub detail: String,
}

/// The verbs about channels. Each verb is one transaction.
///
/// # Errors
/// Every verb fails with [`super::StoreError::Unavailable`], when the database can't be reached or
/// written.
#[async_trait]
pub trait ChannelStore: Send + Sync {
    /// The channels that were disabled, by name.
    async fn disabled(&self) -> Result<Vec<DisabledChannel>>;

    /// Disables a channel.
    async fn disable(&self, channel: &DisabledChannel, event: AuditEvent) -> Result<()>;

    /// Enables a channel again; false if it was not disabled.
    async fn enable(&self, notifier: &str, event: AuditEvent) -> Result<bool>;
}
