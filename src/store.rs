//! What the program remembers. One verb is one transaction; what a verb stored before it returned
//! `Ok` survives a crash. Conditions that decide a race stand in the statements, not in the
//! callers.
//!
//! Each noun has a trait of its own in a file of its own, and [`Store`] hands them out.
#![warn(missing_docs)]

use async_trait::async_trait;

use crate::domain::time::Timestamp;

pub(crate) mod agents;
pub(crate) mod approvals;
pub(crate) mod audit;
pub mod changes;
pub mod channels;
pub(crate) mod client_sessions;
pub mod copies;
pub mod counters;
pub mod credentials;
pub(crate) mod driver;
pub mod due;
mod error;
pub(crate) mod grants;
pub(crate) mod holds;
pub(crate) mod limits;
pub(crate) mod nodes;
pub mod oidc;
pub(crate) mod outbox;
pub mod passkeys;
mod patience;
pub mod recorded_calls;
pub(crate) mod review_links;
pub(crate) mod sessions;
pub mod settings;
pub mod sql;
pub mod sqlite_file;
mod submission;
pub mod tasks;

pub use agents::Activity;
pub use approvals::{Filter, Fold, Mark, Marked, QueueStats};
pub use client_sessions::{ClientSession, SessionSeen};
pub use error::{Result, StoreError};
pub use holds::NewHold;
pub use limits::{Beside, Counted, LimitKey, SignInBy, Spent, TOKEN_SESSION};
pub use outbox::{Attempt, AttemptRecord, Delivery, Lane, NewDelivery};
pub use patience::Patience;
pub use review_links::ReviewLink;
pub use sessions::{Session, SignIn};
pub use submission::{Cap, Submit, Submitted};

use agents::AgentStore;
use approvals::ApprovalStore;
use audit::AuditStore;
use changes::ChangeStore;
use channels::ChannelStore;
use client_sessions::ClientSessionStore;
use copies::CopyStore;
use counters::CounterStore;
use credentials::CredentialStore;
use due::DueStore;
use grants::GrantStore;
use holds::HoldStore;
use limits::LimitStore;
use nodes::NodeStore;
use oidc::OidcStore;
use outbox::OutboxStore;
use passkeys::PasskeyStore;
use recorded_calls::RecordedCallStore;
use review_links::ReviewLinkStore;
use sessions::SessionStore;
use settings::SettingsStore;
use tasks::TaskStore;

/// What [`Store::purge`] takes as old.
#[derive(Debug, Clone, Copy)]
pub struct Old {
    /// Deliveries, grants and approvals that ended before.
    pub history_before: Timestamp,
    /// People's sessions that were not used since: they count no more.
    pub idle_before: Timestamp,
}

/// The store: one accessor for each noun, and the verbs about the whole database. The current
/// instant is always passed in as `now`.
///
/// Accessors rather than supertraits: the verbs of each noun keep short names that would collide in
/// one trait, and a fake for a test writes only the parts that are asked for.
///
/// # Errors
/// The verbs fail with [`StoreError`]: `Unavailable`, when the database can't be reached or
/// written; `Corrupt`, when a stored value can't be read back.
#[async_trait]
pub trait Store: Send + Sync {
    /// Approvals.
    fn approvals(&self) -> &dyn ApprovalStore;

    /// What reconcilers have to do: work that no request brings.
    fn due(&self) -> &dyn DueStore;

    /// Requests that wait for an approval.
    fn holds(&self) -> &dyn HoldStore;

    /// Tasks, and the server requests and answers of calls that run.
    fn tasks(&self) -> &dyn TaskStore;

    /// Grants: calls that reviewers let through in advance.
    fn grants(&self) -> &dyn GrantStore;

    /// Limits: uses counted in a sliding window.
    fn limits(&self) -> &dyn LimitStore;

    /// Counters: what calls come to within a window.
    fn counters(&self) -> &dyn CounterStore;

    /// Changes of approvals, in order.
    fn changes(&self) -> &dyn ChangeStore;

    /// Channels to people that were disabled.
    fn channels(&self) -> &dyn ChannelStore;

    /// Messages on their way to people.
    fn outbox(&self) -> &dyn OutboxStore;

    /// Links to one approval.
    fn review_links(&self) -> &dyn ReviewLinkStore;

    /// Reviewers who are signed in.
    fn sessions(&self) -> &dyn SessionStore;

    /// All that people hold to be let in or to decide, to end it together.
    fn credentials(&self) -> &dyn CredentialStore;

    /// Sign-ins through the OpenID Connect provider.
    fn oidc(&self) -> &dyn OidcStore;

    /// Passkeys, with which reviewers confirm single decisions.
    fn passkeys(&self) -> &dyn PasskeyStore;

    /// What people keep here about themselves: tokens, absences, wishes.
    fn settings(&self) -> &dyn SettingsStore;

    /// What is known of agents: how long their clients wait, and what they do now.
    fn agents(&self) -> &dyn AgentStore;

    /// Sessions of legacy MCP clients.
    fn client_sessions(&self) -> &dyn ClientSessionStore;

    /// The processes that share the store.
    fn nodes(&self) -> &dyn NodeStore;

    /// Whether the database is a copy that was put back, and what that ends.
    fn copies(&self) -> &dyn CopyStore;

    /// The audit log.
    fn audit(&self) -> &dyn AuditStore;

    /// Calls of the past.
    fn recorded_calls(&self) -> &dyn RecordedCallStore;

    /// Removes holds of dead processes, what expired, and what is old. Returns the number of rows
    /// removed.
    async fn purge(&self, now: Timestamp, old: Old) -> Result<u64>;

    /// The secret of that name, 32 bytes: `fresh` is stored at the first use, and what is stored is
    /// returned ever after.
    async fn secret(&self, name: &str, fresh: [u8; 32]) -> Result<[u8; 32]>;

    /// Succeeds if the database can be written.
    async fn check(&self) -> Result<()>;
}
