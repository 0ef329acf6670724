//! Sign-ins through a provider: which attempts were answered, and what the provider said of people.

use async_trait::async_trait;

use crate::domain::audit::AuditEvent;
use crate::domain::time::Timestamp;

use super::error::Result;
use super::sessions::Session;

/// What the provider said of a reviewer when they signed in last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderClaims {
    /// The reviewer.
    pub reviewer: String,
    /// Which provider.
    pub issuer: String,
    /// What it calls them.
    pub subject: String,
    /// Those of its groups that they are in and the configuration mentions, as it calls them.
    pub groups: Vec<String>,
    /// When.
    pub said_at: Timestamp,
    /// Until when it counts.
    pub expires_at: Timestamp,
}

/// The verbs about sign-ins through a provider. As everywhere, one verb is one transaction.
#[async_trait]
pub trait OidcStore: Send + Sync {
    /// Uses an attempt up; false if that was done before.
    async fn use_attempt(&self, hash: &str, expires_at: Timestamp) -> Result<bool>;

    /// Makes a session with its audit record, and keeps what was said of its reviewer in place of
    /// what was said before, with the record of that.
    async fn sign_in(
        &self,
        session: &Session,
        claims: Option<(&ProviderClaims, AuditEvent)>,
    ) -> Result<()>;

    /// All that was said and counts still.
    async fn claims(&self, now: Timestamp) -> Result<Vec<ProviderClaims>>;
}
