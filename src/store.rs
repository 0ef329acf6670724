//! What the program remembers. One verb is one transaction; a verb that returned `Ok` has
//! survived a crash. Conditions that decide a race stand in the statements, not in the callers.
#![warn(missing_docs)]

use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

use crate::domain::approval::{Approval, ApprovalId, State, Transition};
use crate::domain::audit::{AuditEvent, Record};
use crate::domain::call::Digest;
use crate::domain::hold_budget::{HoldBudget, Learned};
use crate::domain::time::Timestamp;

pub mod driver;
pub mod grants;
mod messages;
pub mod oidc;
pub mod passkeys;
pub mod settings;
pub mod sql;
mod submission;
pub mod tasks;

pub use messages::{Attempt, AttemptRecord, Delivery, NewDelivery};
pub use submission::{Cap, NewHold, Spent, Submit, Submitted};

use grants::GrantStore;
use oidc::OidcStore;
use passkeys::PasskeyStore;
use settings::SettingsStore;
use tasks::TaskStore;

/// Why a verb failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The row has changed since it was read; here is what it is now.
    #[error("changed meanwhile: approval {} is {}", .0.id, .0.state)]
    Conflict(Box<Approval>),
    /// A stored value can't be read back.
    #[error("{table}.{column} of {id} can't be read: {what}")]
    Corrupt {
        /// Table.
        table: &'static str,
        /// Column.
        column: &'static str,
        /// The row.
        id: String,
        /// What is wrong with it.
        what: String,
    },
    /// The database can't be reached or written.
    #[error("the database is unavailable: {0}")]
    Unavailable(#[from] sqlx::Error),
}

impl StoreError {
    /// Whether a row of the same key was there already.
    pub fn is_duplicate(&self) -> bool {
        let Self::Unavailable(error) = self else { return false };
        error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
    }
}

/// Result of a store verb.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Which approvals to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Any of these states; empty: all.
    pub states: Vec<State>,
    /// Of this upstream.
    pub upstream: Option<String>,
    /// Of this tool.
    pub tool: Option<String>,
    /// Of this agent.
    pub agent: Option<String>,
    /// That have all of these words (see [`crate::domain::search_words`]); not with `by_urgency` or
    /// `changed_since`.
    pub words: Vec<String>,
    /// Only those this reviewer may see; none: all.
    pub visible_to: Option<String>,
    /// Only indeterminate ones that nobody settled (with `states`).
    pub unsettled: bool,
    /// Older than this id.
    pub before: Option<String>,
    /// Changed at or after this instant (for events), oldest change first.
    pub changed_since: Option<Timestamp>,
    /// The most urgent first, by severity and then by deadline, instead of the newest. What no
    /// rule gave a severity counts as critical.
    pub by_urgency: bool,
    /// At most so many.
    pub limit: u32,
}

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

/// A review link's token, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewLink {
    /// SHA-256 of the token, hex.
    pub hash: String,
    /// The approval it is bound to.
    pub approval: ApprovalId,
    /// The reviewer it is bound to.
    pub reviewer: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A legacy MCP client session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSession {
    /// `Mcp-Session-Id`.
    pub id: String,
    /// The agent.
    pub agent: String,
    /// The upstream.
    pub upstream: String,
    /// Negotiated protocol version.
    pub version: String,
    /// `clientInfo` as `name/version`.
    pub client: Option<String>,
    /// Raw JSON of the client's capabilities.
    pub capabilities: String,
    /// When.
    pub created_at: Timestamp,
}

/// What an agent does now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Activity {
    /// Its open legacy sessions.
    pub sessions: i64,
    /// Its pending approvals.
    pub pending: i64,
    /// Its approved ones that nobody claimed yet.
    pub approved: i64,
    /// What its client last called itself.
    pub client: Option<String>,
    /// When a session of it was last used, or it last asked for an approval.
    pub seen_at: Option<Timestamp>,
}

/// Figures of the queue.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QueueStats {
    /// Approvals per state.
    pub by_state: Vec<(String, i64)>,
    /// When the oldest pending one came.
    pub oldest_pending: Option<Timestamp>,
    /// Requests held by live nodes.
    pub held: i64,
}

/// The store. `now` is always passed in.
#[async_trait]
pub trait Store: Send + Sync {
    /// Makes an approval, or joins the open one of the identical call, or finds the end that is
    /// owed to it, or refuses. One transaction.
    async fn submit(&self, submit: Submit, now: Timestamp) -> Result<Submitted>;

    /// Persists a change with its audit events and messages, if the row is still what the change
    /// was computed from and its time conditions hold.
    async fn apply(
        &self,
        transition: Transition,
        deliveries: Vec<NewDelivery>,
        now: Timestamp,
    ) -> Result<Approval>;

    /// One approval.
    async fn find(&self, id: &ApprovalId, now: Timestamp) -> Result<Option<Approval>>;

    /// The open one of the identical call: pending, approved, running or unsettled; else the
    /// latest end still owed since `owed_since`.
    async fn find_identical(
        &self,
        agent: &str,
        digest: &Digest,
        owed_since: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Approval>>;

    /// Approvals, newest first.
    async fn list(&self, filter: &Filter, now: Timestamp) -> Result<Vec<Approval>>;

    /// Marks an end as told; false if it was told before.
    async fn take_end(&self, id: &ApprovalId, now: Timestamp) -> Result<bool>;

    /// Attaches a request; false beyond `max_held`.
    async fn attach(
        &self,
        id: &ApprovalId,
        hold: &NewHold,
        max_held: u32,
        now: Timestamp,
    ) -> Result<bool>;

    /// Detaches a request; returns how many are still attached.
    async fn detach(&self, hold: &str, now: Timestamp) -> Result<i64>;

    /// How many live requests are attached.
    async fn attached(&self, id: &ApprovalId, now: Timestamp) -> Result<i64>;

    /// Ids of what is past its deadline: pending ones, and approved ones nobody claimed.
    async fn due_expiries(&self, now: Timestamp, limit: u32) -> Result<Vec<ApprovalId>>;

    /// Ids of running ones whose node is dead.
    async fn orphaned(&self, now: Timestamp, limit: u32) -> Result<Vec<ApprovalId>>;

    /// Ids of approved ones that run without a waiting agent, not tried since `tried_before`.
    async fn unattended(&self, now: Timestamp, limit: u32) -> Result<Vec<ApprovalId>>;

    /// Renews this node's lease until `until`.
    async fn renew_node(&self, node: &str, now: Timestamp, until: Timestamp) -> Result<()>;

    /// Ends this node's lease and detaches its requests.
    async fn end_node(&self, node: &str, now: Timestamp) -> Result<()>;

    /// Removes holds of dead nodes, used-up tokens and sessions, deliveries long done, and
    /// approvals that ended before `history_before`.
    async fn purge(&self, now: Timestamp, history_before: Timestamp) -> Result<u64>;

    /// Counts one use against a sliding window: `None` if it fits, else milliseconds to wait.
    async fn take_limit(
        &self,
        key: &str,
        max: u32,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<Option<u64>>;

    /// How much of its limits an agent has used: new approvals since `new_since`, uses of a limit's
    /// key since a time.
    async fn spent(
        &self,
        agent: &str,
        new_since: Timestamp,
        limit: Option<(String, Timestamp)>,
    ) -> Result<Spent>;

    /// Takes back the use that was counted last for this key.
    async fn give_back_limit(&self, key: &str) -> Result<()>;

    // Messages.

    /// Leases due deliveries until `lease_until`.
    async fn claim_deliveries(
        &self,
        now: Timestamp,
        lease_until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Delivery>>;

    /// Records an attempt and what follows from it.
    async fn record_attempt(&self, delivery: &str, attempt: &Attempt, now: Timestamp)
    -> Result<()>;

    /// Adds deliveries that belong to no change (reminders, summaries, tests).
    async fn enqueue(&self, deliveries: Vec<NewDelivery>, now: Timestamp) -> Result<()>;

    /// Attempts about an approval, oldest first.
    async fn attempts(&self, approval: &ApprovalId) -> Result<Vec<AttemptRecord>>;

    /// Delivered messages of a topic to a recipient since an instant.
    async fn delivered_since(&self, recipient: &str, topic: &str, since: Timestamp) -> Result<i64>;

    /// Attempts per notifier and result, for the metrics.
    async fn attempt_counts(&self) -> Result<Vec<(String, String, i64)>>;

    // People.

    /// Stores a review link.
    async fn insert_review_link(&self, link: &ReviewLink) -> Result<()>;

    /// The review link of that hash.
    async fn find_review_link(&self, hash: &str) -> Result<Option<ReviewLink>>;

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
    async fn insert_session(&self, session: &Session) -> Result<()>;

    /// The session of that hash, seen since `idle_since`; marks it seen.
    async fn find_session(
        &self,
        hash: &str,
        idle_since: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Session>>;

    /// Ends a session.
    async fn delete_session(&self, hash: &str) -> Result<()>;

    // Clients.

    /// Stores a legacy client session; false beyond `max` of the agent, idle ones not counted.
    async fn insert_client_session(&self, session: &ClientSession, max: u32) -> Result<bool>;

    /// The legacy client session of that id; marks it seen.
    async fn find_client_session(&self, id: &str, now: Timestamp) -> Result<Option<ClientSession>>;

    /// Ends one.
    async fn delete_client_session(&self, id: &str) -> Result<()>;

    // Agents.

    /// What was learned of an agent's holds, with or without a progress token.
    async fn hold_budget(&self, agent: &str, with_progress: bool) -> Result<HoldBudget>;

    /// The agent's client dropped a hold after that long, at the time of the event. Some if that
    /// taught a new budget; then the event is recorded with it.
    async fn hold_dropped(
        &self,
        agent: &str,
        with_progress: bool,
        after: Duration,
        event: AuditEvent,
    ) -> Result<Option<Learned>>;

    /// A hold was answered: the row of drops is broken.
    async fn hold_answered(&self, agent: &str, with_progress: bool) -> Result<()>;

    /// Forgets what was learned of an agent, with its record; false if nothing was.
    async fn forget_hold_budget(&self, agent: &str, event: AuditEvent) -> Result<bool>;

    /// What an agent does now.
    async fn activity(&self, agent: &str) -> Result<Activity>;

    // The rest.

    /// What is remembered of tasks.
    fn tasks(&self) -> &dyn TaskStore;

    /// What reviewers let through beforehand.
    fn grants(&self) -> &dyn GrantStore;

    /// What is remembered of sign-ins through a provider.
    fn oidc(&self) -> &dyn OidcStore;

    /// What people keep here about themselves.
    fn settings(&self) -> &dyn SettingsStore;

    /// What reviewers confirm single decisions with.
    fn passkeys(&self) -> &dyn PasskeyStore;

    /// Appends audit records that belong to no other change.
    async fn append_audit(&self, events: Vec<AuditEvent>) -> Result<()>;

    /// Gives up to `limit` records their place in the chain; returns how many.
    async fn seal_audit(&self, limit: u32) -> Result<u32>;

    /// Sealed records after `seq`, in order.
    async fn list_audit(&self, after: i64, limit: u32) -> Result<Vec<Record>>;

    /// Records not yet sealed.
    async fn unsealed_audit(&self) -> Result<i64>;

    /// The 32 random bytes of that name, made at first use.
    async fn secret(&self, name: &str, fresh: [u8; 32]) -> Result<[u8; 32]>;

    /// Figures of the queue.
    async fn stats(&self, now: Timestamp) -> Result<QueueStats>;

    /// Whether the database can be written.
    async fn check(&self) -> Result<()>;
}
