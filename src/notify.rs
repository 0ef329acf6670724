//! Channels to reviewers. A notifier sends one message and says what the other side answered;
//! queueing, retries and records are the deliverer's.

use async_trait::async_trait;
use std::time::Duration;
use thiserror::Error;

use crate::domain::time::Timestamp;

pub(crate) mod deliver;
pub(crate) mod email;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod memory;
pub(crate) mod message;
pub(crate) mod ssrf;
pub(crate) mod webhook;

/// A message, rendered and addressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A mail.
    Email(Email),
    /// A Standard Webhooks call.
    Webhook {
        /// `webhook-id`: the same at every attempt.
        id: String,
        /// `webhook-timestamp` of this attempt; sent as Unix time in seconds.
        at: Timestamp,
        /// The JSON body.
        body: String,
    },
}

/// A mail, rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email {
    /// The recipient's address.
    pub to: String,
    /// The subject; may hold anything, the notifier makes it one line.
    pub subject: String,
    /// The text part.
    pub text: String,
    /// The HTML part.
    pub html: String,
    /// `Message-ID`, without angle brackets:
    /// <https://www.rfc-editor.org/rfc/rfc5322#section-3.6.4>.
    pub message_id: String,
    /// `References` and `In-Reply-To`, without angle brackets.
    pub references: Option<String>,
}

/// Why a message was not taken.
#[derive(Debug, Clone, Error)]
pub enum NotifyError {
    /// May work later.
    #[error("{detail}")]
    Retry {
        /// The other side's answer, or what went wrong.
        detail: String,
        /// How long to wait first, if the other side said so.
        after: Option<Duration>,
    },
    /// Will never work for this message.
    #[error("{0}")]
    Permanent(String),
    /// The other side wants no more messages at all (webhook: status 410,
    /// <https://www.rfc-editor.org/rfc/rfc9110#section-15.5.11>).
    #[error("{0}")]
    Disabled(String),
}

/// A channel to reviewers.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// Its configured name.
    fn name(&self) -> &str;

    /// Sends one message; returns the other side's answer.
    ///
    /// # Errors
    /// [`NotifyError`]: whether trying again later may help, this message never can be sent, or the
    /// other side wants none at all.
    async fn send(&self, message: &Message) -> Result<String, NotifyError>;

    /// Whether the channel can be reached, without sending anything.
    ///
    /// # Errors
    /// [`NotifyError`], when the channel can't be reached or its configuration is wrong.
    async fn probe(&self) -> Result<String, NotifyError>;
}
