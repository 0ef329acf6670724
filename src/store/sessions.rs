//! Reviewers who are signed in, and the links that sign them in.

use async_trait::async_trait;

use super::error::Result;
use crate::domain::audit::AuditEvent;
use crate::domain::time::Timestamp;

/// A one-time link that signs somebody in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignIn {
    /// Name of the reviewer.
    pub reviewer: String,
    /// What the session's `via` will be: `link` (mailed), `terminal` or `terminal-session`.
    pub via: String,
    /// The entry of the configuration that it was made under, as of `Config::entry_of`; empty where
    /// it was ended, or is a guest's.
    pub entry: String,
}

/// A reviewer's signed-in session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of its cookie, hex.
    pub hash: String,
    /// Name of the reviewer.
    pub reviewer: String,
    /// How they signed in: `link`, `terminal`, `token`, …
    pub via: String,
    /// What their browser calls itself, unchecked (`User-Agent`).
    pub client: Option<String>,
    /// When they signed in.
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    pub seen_at: Timestamp,
    /// The entry of the configuration that it was made under, as of `Config::entry_of`; empty where
    /// it was ended, or is a guest's.
    pub entry: String,
}

/// The verbs about sign-ins and sessions. Each verb is one transaction.
///
/// # Errors
/// Every verb fails with [`super::StoreError`]: `Unavailable`, when the database can't be reached
/// or written; `Corrupt`, when a stored value can't be read back.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Stores a one-time sign-in token by its hash (SHA-256, hex), with its record where it has one.
    async fn insert_sign_in(
        &self,
        hash: &str,
        sign_in: &SignIn,
        expires_at: Timestamp,
        event: Option<AuditEvent>,
    ) -> Result<()>;

    /// Whom the sign-in token of that hash signs in; none if it is used or expired.
    async fn find_sign_in(&self, hash: &str, now: Timestamp) -> Result<Option<SignIn>>;

    /// Uses the token up and makes the session with its audit record; false if it was used before.
    async fn consume_sign_in(&self, hash: &str, session: &Session, now: Timestamp) -> Result<bool>;

    /// Makes a session, with its audit record.
    async fn insert(&self, session: &Session) -> Result<()>;

    /// The session of that hash, if it was used since `idle_since`; marks it as used.
    async fn find(
        &self,
        hash: &str,
        idle_since: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Session>>;

    /// Ends a session.
    async fn delete(&self, hash: &str) -> Result<()>;

    /// A person's sessions that were used since `idle_since`, the newest first.
    async fn of(&self, reviewer: &str, idle_since: Timestamp) -> Result<Vec<Session>>;

    /// Ends the session of this person whose hash begins with `handle` and records `event`; false
    /// if there is none.
    async fn end(&self, reviewer: &str, handle: &str, event: AuditEvent) -> Result<bool>;
}
