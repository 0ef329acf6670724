//! Channels to reviewers: which there are, and which were disabled by their other side. What was
//! disabled stays so over a restart and on every broker, until its entry in the configuration
//! changes or an admin enables it.

use crate::config::{Notifier, NotifierKind, Reviewer, Role};
use crate::domain::audit::{AuditEvent, Kind};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::channels::DisabledChannel;

use super::{Broker, DecideError};

/// One channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRow {
    /// Its configured name.
    pub name: String,
    /// `email`, `webhook` or `memory`.
    pub kind: &'static str,
    /// When its other side wanted no more messages, and what it said; none: it is in use.
    pub disabled: Option<(Timestamp, String)>,
}

impl Broker {
    /// Every configured channel, in the configuration's order.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read.
    pub async fn channel_rows(&self) -> Result<Vec<ChannelRow>, StoreError> {
        let disabled = self.store().channels().disabled().await?;
        let row = |n: &Notifier| ChannelRow {
            name: n.name.clone(),
            kind: match n.kind {
                NotifierKind::Email { .. } => "email",
                NotifierKind::Webhook { .. } => "webhook",
                NotifierKind::Memory => "memory",
            },
            disabled: disabled
                .iter()
                .find(|d| d.notifier == n.name && d.entry == n.entry())
                .map(|d| (d.at, d.detail.clone())),
        };
        Ok(self.config().notifiers.iter().map(row).collect())
    }

    /// Whether the other side of a channel wants no more messages.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read.
    pub(crate) async fn is_disabled(&self, notifier: &Notifier) -> Result<bool, StoreError> {
        let disabled = self.store().channels().disabled().await?;
        Ok(disabled.iter().any(|d| d.notifier == notifier.name && d.entry == notifier.entry()))
    }

    /// The other side of a channel wants no more messages.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be written.
    pub(crate) async fn disable_channel(
        &self,
        notifier: &Notifier,
        detail: &str,
    ) -> Result<(), StoreError> {
        let at = self.now();
        let channel = DisabledChannel {
            notifier: notifier.name.clone(),
            entry: notifier.entry(),
            at,
            detail: detail.to_owned(),
        };
        let event = AuditEvent::new(Kind::ChannelDisabled, "placet", at)
            .with("notifier", &notifier.name)
            .with("detail", detail);
        self.store().channels().disable(&channel, event).await
    }

    /// Enables a channel again.
    ///
    /// # Errors
    /// [`DecideError`]: `Forbidden` to all but admins, `Invalid` without such a channel, or the
    /// store failed.
    pub async fn enable_channel(
        &self,
        name: &str,
        reviewer: &Reviewer,
    ) -> Result<ChannelRow, DecideError> {
        if reviewer.role != Role::Admin {
            return Err(DecideError::Forbidden("only an admin enables a channel again"));
        }
        let event = AuditEvent::new(Kind::ChannelEnabled, &reviewer.name, self.now())
            .with("notifier", name);
        self.store().channels().enable(name, event).await?;
        let row = self.channel_rows().await?.into_iter().find(|row| row.name == name);
        row.ok_or_else(|| DecideError::Invalid("there is no such notifier".to_owned()))
    }
}
