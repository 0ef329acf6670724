//! Past facts, and the hash chain that shows whether they were touched.

use sha2::{Digest as _, Sha256};

use super::call::{Method, hex};
use super::json;
use super::time::Timestamp;

/// The `prev` of the first record: 64 zeros, in place of a SHA-256 in hex.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// What happened. The codes are stable: programs may compare them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Kind { $($(#[$doc])* $name,)* }

        impl Kind {
            /// The stable code.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }
        }
    };
}

kinds! {
    /// A call is held for reviewers.
    ApprovalRequested = "approval_requested",
    /// A reviewer decided.
    DecisionRecorded = "decision_recorded",
    /// Enough reviewers said yes.
    ApprovalApproved = "approval_approved",
    /// A reviewer said no.
    ApprovalRejected = "approval_rejected",
    /// Time ran out.
    ApprovalExpired = "approval_expired",
    /// Withdrawn or no longer permitted.
    ApprovalCancelled = "approval_cancelled",
    /// Taken for execution.
    CallClaimed = "call_claimed",
    /// Certainly not run; back to approved.
    CallNotSent = "call_not_sent",
    /// The upstream answered.
    CallCompleted = "call_completed",
    /// Nobody knows what became of it.
    CallIndeterminate = "call_indeterminate",
    /// An admin, or a late answer, settled it.
    ApprovalSettled = "approval_settled",
    /// The agent was given the end.
    EndDelivered = "end_delivered",
    /// A call was denied.
    CallDenied = "call_denied",
    /// A call hit a limit.
    CallLimited = "call_limited",
    /// A call was allowed by the policy.
    CallAllowed = "call_allowed",
    /// Who approved a call lets further ones through.
    GrantMade = "grant_made",
    /// A call was let through by a grant.
    GrantUsed = "grant_used",
    /// A grant was revoked, or the policy or tool changed under it.
    GrantEnded = "grant_ended",
    /// A client dropped holds after about the same time, and later ones end before it.
    HoldBudgetLearned = "hold_budget_learned",
    /// An admin had that forgotten.
    HoldBudgetForgotten = "hold_budget_forgotten",
    /// The other side of a channel wants no more messages.
    ChannelDisabled = "channel_disabled",
    /// An admin enabled a channel again.
    ChannelEnabled = "channel_enabled",
    /// A reviewer signed in.
    SignedIn = "signed_in",
    /// Somebody came back from the sign-in provider and was not signed in.
    SignInRefused = "sign_in_refused",
    /// The sign-in provider said in which groups a person is.
    GroupsConfirmed = "groups_confirmed",
    /// A person ended one of their sessions.
    SessionEnded = "session_ended",
    /// A person made a token for themselves.
    TokenMade = "token_made",
    /// A person revoked one of their tokens.
    TokenRevoked = "token_revoked",
    /// A person added a passkey.
    PasskeyAdded = "passkey_added",
    /// A person removed one of their passkeys.
    PasskeyRemoved = "passkey_removed",
    /// A passkey confirmed a decision.
    PasskeyUsed = "passkey_used",
    /// A passkey was not accepted.
    PasskeyRefused = "passkey_refused",
    /// A person said that they will be away, and who stands in.
    AbsenceEntered = "absence_entered",
    /// A person took that back.
    AbsenceRemoved = "absence_removed",
    /// All that a person held to be let in was ended: their entry in the configuration changed or is
    /// gone, or an admin said so.
    CredentialsEnded = "credentials_ended",
    /// A one-time sign-in link was made on the terminal, or for the owner at start.
    SignInLinkMade = "sign_in_link_made",
    /// Masked values were shown raw.
    Revealed = "revealed",
    /// The configuration was loaded.
    ConfigLoaded = "config_loaded",
    /// A policy was loaded.
    PolicyLoaded = "policy_loaded",
    /// An upstream's policy was removed: everything is denied there.
    PolicyRemoved = "policy_removed",
    /// A policy could not be loaded; the old one stays.
    PolicyRefused = "policy_refused",
    /// The database was put back from an older copy, and what was open in it was marked.
    DatabaseRestored = "database_restored",
    /// A notification was attempted.
    DeliveryAttempted = "delivery_attempted",
}

/// One past fact, before it has a place in the chain.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEvent {
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub kind: Kind,
    /// Who: a reviewer's or agent's name, or `placet`.
    pub actor: String,
    /// The approval it is about.
    pub approval: Option<String>,
    /// Further facts: (key, raw JSON value in canonical form), never secrets, arguments by digest.
    pub data: Vec<(&'static str, String)>,
}

impl AuditEvent {
    /// A fact about nothing stored.
    pub fn new(kind: Kind, actor: &str, at: Timestamp) -> Self {
        Self { at, kind, actor: actor.to_owned(), approval: None, data: Vec::with_capacity(8) }
    }

    /// Adds a fact.
    #[must_use]
    pub fn with(self, key: &'static str, value: &str) -> Self {
        self.with_canonical(key, json::quote(value))
    }

    /// Adds the method of a call that is not a tool call.
    #[must_use]
    pub fn by_method(self, method: &str) -> Self {
        if method == Method::CallTool.as_str() { self } else { self.with("method", method) }
    }

    /// Adds a fact that is JSON already.
    #[must_use]
    pub fn with_raw(self, key: &'static str, raw: String) -> Self {
        let canonical = json::parse(&raw).map(|node| node.canonical());
        self.with_canonical(key, canonical.unwrap_or(raw))
    }

    fn with_canonical(mut self, key: &'static str, raw: String) -> Self {
        self.data.push((key, raw));
        self
    }

    /// `data` as it is stored: canonical JSON. The keys are ASCII, whose order is that of their bytes.
    ///
    /// <https://www.rfc-editor.org/rfc/rfc8785#section-3.2.3>
    pub fn data_json(&self) -> String {
        let mut facts: Vec<(&str, &str)> =
            self.data.iter().map(|(k, v)| (*k, v.as_str())).collect();
        facts.sort_by_key(|(key, _)| *key);
        json::object(facts)
    }
}

/// One record of the chain, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place, from 1.
    pub seq: i64,
    /// When it happened, in microseconds since the Unix epoch.
    pub at: Timestamp,
    /// The code of what happened, as of [`Kind::as_str`].
    pub kind: String,
    /// Who did it: a reviewer's or agent's name, or `placet`.
    pub actor: String,
    /// The id of the approval that it is about.
    pub approval: Option<String>,
    /// Further facts, a JSON object in canonical form.
    pub data: String,
    /// The hash of the record before it, 64 hex digits.
    pub prev: String,
    /// The hash of this record, 64 hex digits.
    pub hash: String,
}

impl Record {
    /// The record as JSON; `hash` last.
    pub fn to_json(&self) -> String {
        let body = self.canonical();
        format!("{},\"hash\":{}}}", &body[..body.len() - 1], json::quote(&self.hash))
    }

    /// The canonical record: without `hash`, with `prev`. The keys stand in order here and `data`
    /// is stored in canonical form, so that any changed byte of it shows.
    ///
    /// <https://www.rfc-editor.org/rfc/rfc8785#section-3.2>
    fn canonical(&self) -> String {
        json::object([
            ("actor", json::quote(&self.actor).as_str()),
            ("approval", &self.approval.as_deref().map_or("null".to_owned(), json::quote)),
            ("at", &json::quote(&self.at.to_string())),
            ("data", &self.data),
            ("kind", &json::quote(&self.kind)),
            ("prev", &json::quote(&self.prev)),
            ("seq", &self.seq.to_string()),
        ])
    }

    /// SHA-256 over the canonical record, 64 hex digits.
    pub fn compute_hash(&self) -> String {
        hex(&Sha256::digest(self.canonical()))
    }
}

/// Walks sealed records in order and finds the first one that was changed. It can't see that
/// records are missing after the last one it was shown: compare [`Chain::head`] with a head noted
/// before.
#[derive(Debug, Clone)]
pub struct Chain {
    records: i64,
    head: String,
}

/// Where a chain is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("record {seq}: {what}")]
pub struct BrokenAt {
    /// The place of the first record that does not fit, counted from 1.
    pub seq: i64,
    /// What is wrong there.
    pub what: String,
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

impl Chain {
    /// A chain of which no record was checked yet.
    pub fn new() -> Self {
        Self { records: 0, head: GENESIS.to_owned() }
    }

    /// Checks the next record: its place, its link to the one before, its own bytes.
    ///
    /// # Errors
    /// [`BrokenAt`] names the place at which the chain is broken and what is wrong there.
    pub fn check(&mut self, record: &Record) -> Result<(), BrokenAt> {
        let seq = self.records + 1;
        let broken = |what: String| Err(BrokenAt { seq, what });
        if record.seq > seq {
            return broken(format!("it is missing; the next is {}", record.seq));
        }
        if record.seq < seq {
            return broken(format!("{} stands in its place", record.seq));
        }
        if record.prev != self.head {
            return broken("prev is not the hash of the record before".to_owned());
        }
        if record.hash != record.compute_hash() {
            return broken("its hash does not fit what it says".to_owned());
        }
        self.records = seq;
        self.head.clone_from(&record.hash);
        Ok(())
    }

    /// Hash of the last record checked, 64 hex digits; [`GENESIS`] before the first.
    pub fn head(&self) -> &str {
        &self.head
    }

    /// How many records were checked.
    pub fn records(&self) -> i64 {
        self.records
    }
}
