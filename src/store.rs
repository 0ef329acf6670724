//! What the program remembers. One verb is one transaction; a verb that returned `Ok` has
//! survived a crash. Conditions that decide a race stand in the statements, not in the callers.
//!
//! Each noun has a trait of its own in a file of its own, and [`Store`] hands them out.
#![warn(missing_docs)]

use async_trait::async_trait;

use crate::domain::time::Timestamp;

pub(crate) mod agents;
pub(crate) mod approvals;
pub(crate) mod audit;
pub(crate) mod client_sessions;
pub(crate) mod driver;
pub(crate) mod due;
mod error;
pub(crate) mod grants;
pub(crate) mod holds;
pub(crate) mod limits;
pub(crate) mod nodes;
pub mod oidc;
pub(crate) mod outbox;
pub mod passkeys;
pub(crate) mod review_links;
pub(crate) mod sessions;
pub mod settings;
pub mod sql;
mod submission;
pub mod tasks;

pub use agents::Activity;
pub use approvals::{Filter, QueueStats};
pub use client_sessions::ClientSession;
pub use error::{Result, StoreError};
pub use holds::NewHold;
pub use limits::{LimitKey, SignInBy, Spent};
pub use outbox::{Attempt, AttemptRecord, Delivery, NewDelivery};
pub use review_links::ReviewLink;
pub use sessions::{Session, SignIn};
pub use submission::{Cap, Submit, Submitted};

use agents::AgentStore;
use approvals::ApprovalStore;
use audit::AuditStore;
use client_sessions::ClientSessionStore;
use due::DueStore;
use grants::GrantStore;
use holds::HoldStore;
use limits::LimitStore;
use nodes::NodeStore;
use oidc::OidcStore;
use outbox::OutboxStore;
use passkeys::PasskeyStore;
use review_links::ReviewLinkStore;
use sessions::SessionStore;
use settings::SettingsStore;
use tasks::TaskStore;

/// The store: one accessor for each noun, and what is about the whole database. `now` is always
/// passed in.
///
/// Accessors rather than supertraits: the verbs of each noun keep short names that would collide in
/// one trait, and a fake for a test writes only the parts that are asked for.
#[async_trait]
pub trait Store: Send + Sync {
    /// Approvals.
    fn approvals(&self) -> &dyn ApprovalStore;

    /// What there is to do without any request.
    fn due(&self) -> &dyn DueStore;

    /// Requests that wait for an approval.
    fn holds(&self) -> &dyn HoldStore;

    /// Tasks, and what is said to a call while it runs.
    fn tasks(&self) -> &dyn TaskStore;

    /// What reviewers let through beforehand.
    fn grants(&self) -> &dyn GrantStore;

    /// What is counted in a window.
    fn limits(&self) -> &dyn LimitStore;

    /// Messages on their way to people.
    fn outbox(&self) -> &dyn OutboxStore;

    /// Links to one approval.
    fn review_links(&self) -> &dyn ReviewLinkStore;

    /// Reviewers who are signed in.
    fn sessions(&self) -> &dyn SessionStore;

    /// Sign-ins through a provider.
    fn oidc(&self) -> &dyn OidcStore;

    /// What reviewers confirm single decisions with.
    fn passkeys(&self) -> &dyn PasskeyStore;

    /// What people keep here about themselves.
    fn settings(&self) -> &dyn SettingsStore;

    /// What is known of agents.
    fn agents(&self) -> &dyn AgentStore;

    /// Sessions of legacy MCP clients.
    fn client_sessions(&self) -> &dyn ClientSessionStore;

    /// The processes that share the store.
    fn nodes(&self) -> &dyn NodeStore;

    /// The audit log.
    fn audit(&self) -> &dyn AuditStore;

    /// Removes holds of dead nodes, used-up tokens and sessions, deliveries long done, and
    /// approvals that ended before `history_before`.
    async fn purge(&self, now: Timestamp, history_before: Timestamp) -> Result<u64>;

    /// The 32 random bytes of that name, made at first use.
    async fn secret(&self, name: &str, fresh: [u8; 32]) -> Result<[u8; 32]>;

    /// Whether the database can be written.
    async fn check(&self) -> Result<()>;
}
