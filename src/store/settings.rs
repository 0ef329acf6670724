//! What people keep here about themselves: tokens, absences, wishes.

use async_trait::async_trait;

use crate::domain::absence::{Absence, Clash};
use crate::domain::approval::Assurance;
use crate::domain::audit::AuditEvent;
use crate::domain::preferences::Preferences;
use crate::domain::time::Timestamp;

use super::error::Result;

/// A token that a reviewer made for themselves; of the token itself only the hash is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonalToken {
    /// Its id, `tok_…`.
    pub id: String,
    /// Name of the reviewer whose it is.
    pub reviewer: String,
    /// The name they gave it.
    pub name: String,
    /// What it may be used for.
    pub scopes: Vec<String>,
    /// The assurance of the session that made it; the token proves no more.
    pub assurance: Assurance,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// When it was last used, to the minute.
    pub used_at: Option<Timestamp>,
    /// The entry of the configuration that it was made under, as of `Config::entry_of`; empty where
    /// it was ended, or is a guest's.
    pub entry: String,
}

/// Why an absence was not entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotEntered {
    /// It does not fit beside the other absences.
    Clash(Clash),
    /// This person has the most that are allowed.
    TooMany,
}

/// The verbs about people. Each verb is one transaction.
///
/// # Errors
/// Every verb fails with [`super::StoreError`]: `Unavailable`, when the database can't be reached
/// or written; `Corrupt`, when a stored value can't be read back.
#[async_trait]
pub trait SettingsStore: Send + Sync {
    /// Stores a token by its hash and records `event`; false if the person has `max` unexpired
    /// ones.
    async fn insert_token(
        &self,
        hash: &str,
        token: &PersonalToken,
        max: u32,
        event: AuditEvent,
    ) -> Result<bool>;

    /// The unexpired token of that hash, which is marked as used.
    async fn find_token(&self, hash: &str, now: Timestamp) -> Result<Option<PersonalToken>>;

    /// A person's unexpired tokens, the newest first.
    async fn tokens(&self, reviewer: &str, now: Timestamp) -> Result<Vec<PersonalToken>>;

    /// Revokes one of this person's tokens and records `event`; false if they have none of that id.
    async fn delete_token(&self, reviewer: &str, id: &str, event: AuditEvent) -> Result<bool>;

    /// All absences that are not over.
    async fn absences(&self, now: Timestamp) -> Result<Vec<Absence>>;

    /// Enters an absence and records `event`. The inner result says why it was not entered: it does
    /// not fit beside the others, or the person has `max` already.
    async fn insert_absence(
        &self,
        absence: &Absence,
        max: u32,
        event: AuditEvent,
    ) -> Result<std::result::Result<(), NotEntered>>;

    /// Removes one of this person's absences and records `event`; false if they have none of that
    /// id.
    async fn delete_absence(&self, reviewer: &str, id: &str, event: AuditEvent) -> Result<bool>;

    /// Everybody's wishes that differ from the default.
    async fn preferences(&self) -> Result<Vec<(String, Preferences)>>;

    /// Sets a person's wishes.
    async fn set_preferences(&self, reviewer: &str, wishes: &Preferences) -> Result<()>;
}
