//! Sign-ins through a provider: which attempts were answered, and what the provider said of people.

use async_trait::async_trait;

use crate::domain::audit::AuditEvent;
use crate::domain::time::Timestamp;

use super::error::Result;
use super::sessions::Session;

/// What the provider said of a reviewer when they signed in last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderClaims {
    /// Name of the reviewer.
    pub reviewer: String,
    /// The provider's issuer, a URL.
    pub issuer: String,
    /// What it calls them: the claim `sub`.
    pub subject: String,
    /// The provider's groups that they are in, as it names them; only those that the configuration
    /// mentions.
    pub groups: Vec<String>,
    /// When the provider said so.
    pub said_at: Timestamp,
    /// Until when it counts.
    pub expires_at: Timestamp,
    /// The entry of the configuration that it was said under, as of `Config::entry_of`; empty where
    /// it was ended, or is a guest's.
    pub entry: String,
}

/// The verbs about sign-ins through a provider. Each verb is one transaction.
///
/// # Errors
/// Every verb fails with [`super::StoreError`]: `Unavailable`, when the database can't be reached
/// or written; `Corrupt`, when a stored value can't be read back.
#[async_trait]
pub trait OidcStore: Send + Sync {
    /// Marks an attempt as answered; false if it was answered before.
    async fn use_attempt(&self, hash: &str, expires_at: Timestamp) -> Result<bool>;

    /// Makes a session with its audit record. What the provider said of its reviewer replaces what
    /// it said before, and that is recorded, too.
    async fn sign_in(
        &self,
        session: &Session,
        claims: Option<(&ProviderClaims, AuditEvent)>,
    ) -> Result<()>;

    /// All claims that still count at `now`.
    async fn claims(&self, now: Timestamp) -> Result<Vec<ProviderClaims>>;
}
