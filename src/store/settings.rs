//! What people keep here about themselves: tokens, absences, wishes.

use async_trait::async_trait;

use crate::domain::absence::{Absence, Clash};
use crate::domain::approval::Assurance;
use crate::domain::audit::AuditEvent;
use crate::domain::preferences::Preferences;
use crate::domain::time::Timestamp;

use super::error::Result;

/// A token somebody made for themselves; the token itself is kept as a hash only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonalToken {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub reviewer: String,
    /// What they call it.
    pub name: String,
    /// What it may be used for.
    pub scopes: Vec<String>,
    /// How surely whoever made it was its owner; it proves no more.
    pub assurance: Assurance,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it is good.
    pub expires_at: Timestamp,
    /// Last use, to the minute.
    pub used_at: Option<Timestamp>,
}

/// Why an absence was not entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotEntered {
    /// It does not fit.
    Clash(Clash),
    /// This person has as many as may be.
    TooMany,
}

/// The verbs about people. As everywhere, one verb is one transaction.
#[async_trait]
pub trait SettingsStore: Send + Sync {
    /// Stores a token by its hash; false where the person has as many that are still good.
    async fn insert_token(
        &self,
        hash: &str,
        token: &PersonalToken,
        max: u32,
        event: AuditEvent,
    ) -> Result<bool>;

    /// The unexpired token of that hash; marks it used.
    async fn find_token(&self, hash: &str, now: Timestamp) -> Result<Option<PersonalToken>>;

    /// A person's unexpired tokens, the newest first.
    async fn tokens(&self, reviewer: &str, now: Timestamp) -> Result<Vec<PersonalToken>>;

    /// Revokes one of this person's tokens; false if there is none.
    async fn delete_token(&self, reviewer: &str, id: &str, event: AuditEvent) -> Result<bool>;

    /// All absences that are not over.
    async fn absences(&self, now: Timestamp) -> Result<Vec<Absence>>;

    /// Enters an absence that fits beside the others, at most `max` of a person.
    async fn insert_absence(
        &self,
        absence: &Absence,
        max: u32,
        event: AuditEvent,
    ) -> Result<std::result::Result<(), NotEntered>>;

    /// Takes back one of this person's absences; false if there is none.
    async fn delete_absence(&self, reviewer: &str, id: &str, event: AuditEvent) -> Result<bool>;

    /// Everybody's wishes that differ from the default.
    async fn preferences(&self) -> Result<Vec<(String, Preferences)>>;

    /// Sets a person's wishes.
    async fn set_preferences(&self, reviewer: &str, wishes: &Preferences) -> Result<()>;
}
