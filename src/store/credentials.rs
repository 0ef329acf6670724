//! All that people hold to be let in or to decide: sessions, sign-in links, personal tokens, review
//! links, passkeys. Here they are ended together.

use async_trait::async_trait;

use super::error::Result;
use crate::domain::time::Timestamp;

/// How much of each was ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ended {
    /// Sessions of browsers.
    pub sessions: u64,
    /// Personal tokens.
    pub tokens: u64,
    /// Unused links to sign in.
    pub sign_ins: u64,
    /// Links to approvals.
    pub review_links: u64,
    /// Passkeys.
    pub passkeys: u64,
}

impl Ended {
    /// Whether there was nothing to end.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// The verbs about them. Each verb is one transaction.
///
/// # Errors
/// Every verb fails with [`super::StoreError`]: `Unavailable`, when the database can't be reached
/// or written; `Corrupt`, when a stored value can't be read back.
#[async_trait]
pub trait CredentialStore: Send + Sync {
    /// Ends for good what was made under another entry than `people` have (name and entry), and what
    /// belongs to nobody among them, with a record for each person who held something. Guests, whose
    /// names begin with `guest`, keep their sessions if `guests`. What was made before entries were
    /// kept counts for the entry of now.
    async fn keep_only(
        &self,
        people: &[(String, String)],
        guest: &str,
        guests: bool,
        now: Timestamp,
    ) -> Result<Vec<(String, Ended)>>;

    /// Ends everything that this person holds but their passkeys, and records that `by` did it.
    async fn end_all(&self, reviewer: &str, by: &str, now: Timestamp) -> Result<Ended>;

    /// The names of all who hold a session or a personal token.
    async fn holders(&self) -> Result<Vec<String>>;
}
