//! Reviewers who are signed in, and the links that sign them in.

use async_trait::async_trait;

use super::error::Result;
use crate::domain::audit::AuditEvent;
use crate::domain::time::Timestamp;

/// A one-time link that signs somebody in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignIn {
    /// The reviewer.
    pub reviewer: String,
    /// What the session's `via` will be: `link` (mailed) or `terminal`.
    pub via: String,
}

/// A reviewer's signed-in session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of its cookie, hex.
    pub hash: String,
    /// The reviewer.
    pub reviewer: String,
    /// How they signed in: `link`, `terminal`, `token`, …
    pub via: String,
    /// What their browser calls itself; its own words.
    pub client: Option<String>,
    /// When.
    pub created_at: Timestamp,
    /// Last use.
    pub seen_at: Timestamp,
}

/// The verbs about sign-ins and sessions. As everywhere, one verb is one transaction.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Stores a one-time sign-in token.
    async fn insert_sign_in(
        &self,
        hash: &str,
        sign_in: &SignIn,
        expires_at: Timestamp,
    ) -> Result<()>;

    /// Whom an unused, unexpired sign-in token signs in.
    async fn find_sign_in(&self, hash: &str, now: Timestamp) -> Result<Option<SignIn>>;

    /// Uses it up and makes the session, once, with its audit record.
    async fn consume_sign_in(&self, hash: &str, session: &Session, now: Timestamp) -> Result<bool>;

    /// Makes a session, with its audit record.
    async fn insert(&self, session: &Session) -> Result<()>;

    /// The session of that hash, seen since `idle_since`; marks it seen.
    async fn find(
        &self,
        hash: &str,
        idle_since: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Session>>;

    /// Ends a session.
    async fn delete(&self, hash: &str) -> Result<()>;

    /// A person's sessions in use since then, the newest first.
    async fn of(&self, reviewer: &str, idle_since: Timestamp) -> Result<Vec<Session>>;

    /// Ends one of this person's sessions, by the beginning of its hash; false if there is none.
    async fn end(&self, reviewer: &str, handle: &str, event: AuditEvent) -> Result<bool>;
}
