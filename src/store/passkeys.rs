//! Passkeys and the ceremonies in which they are added and used.

use async_trait::async_trait;

use crate::domain::audit::AuditEvent;
use crate::domain::time::Timestamp;

use super::error::Result;

/// A public key credential of a reviewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passkey {
    /// The credential's id, base64 (URL alphabet).
    pub id: String,
    /// Name of the reviewer whose it is.
    pub reviewer: String,
    /// The name they gave it.
    pub name: String,
    /// The user handle, the same in all of a person's credentials, base64.
    pub handle: String,
    /// The public key, as the verifier encodes it, base64.
    pub public_key: String,
    /// What changes with each use (signature counter, backup), as the verifier encodes it, base64.
    pub state: String,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it was last used.
    pub used_at: Option<Timestamp>,
    /// The entry of the configuration that it was made under, as of `Config::entry_of`; empty where
    /// it was ended, or is a guest's.
    pub entry: String,
}

/// A ceremony that has begun and waits for the browser's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ceremony {
    /// The challenge, 32 hexadecimal digits.
    pub challenge: String,
    /// Name of the reviewer who began it.
    pub reviewer: String,
    /// Id of the approval that it confirms; none where a passkey is added.
    pub approval: Option<String>,
    /// The digest of the call as they saw it; empty where a passkey is added.
    pub digest: String,
    /// The verifier's state, base64.
    pub state: String,
    /// Until when it may be answered.
    pub expires_at: Timestamp,
}

/// What became of a passkey that was to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// The passkey was stored.
    Done,
    /// Not stored: this person has the most that are allowed.
    TooMany,
    /// Not stored: a credential of that id is known already.
    Known,
}

/// The verbs about passkeys. Each verb is one transaction.
///
/// # Errors
/// Every verb fails with [`super::StoreError`]: `Unavailable`, when the database can't be reached
/// or written; `Corrupt`, when a stored value can't be read back.
#[async_trait]
pub trait PasskeyStore: Send + Sync {
    /// A person's passkeys, the newest first.
    async fn of(&self, reviewer: &str) -> Result<Vec<Passkey>>;

    /// Adds a passkey and records `event`, unless the person has `max` already.
    async fn add(&self, passkey: &Passkey, max: u32, event: AuditEvent) -> Result<Added>;

    /// Removes one of this person's passkeys and records `event`; false if they have none of that
    /// id.
    async fn remove(&self, reviewer: &str, id: &str, event: AuditEvent) -> Result<bool>;

    /// Begins a ceremony, in place of an earlier one of this person for the same approval.
    async fn begin(&self, ceremony: &Ceremony) -> Result<()>;

    /// Ends this person's ceremony of that challenge and returns it to the first who asks; none if
    /// there is no such ceremony, or its time is over.
    async fn take(
        &self,
        challenge: &str,
        reviewer: &str,
        now: Timestamp,
    ) -> Result<Option<Ceremony>>;

    /// Stores the `state` after a use and records `event`; false if the passkey was removed or used
    /// since `before` was read.
    async fn used(&self, before: &Passkey, state: &str, event: AuditEvent) -> Result<bool>;
}
