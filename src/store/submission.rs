//! An approval to be made, and what becomes of it: made, joined, answered or refused.

use crate::domain::approval::Approval;
use crate::domain::audit::AuditEvent;
use crate::domain::time::Timestamp;

use super::counters::{Draw, Over};
use super::holds::NewHold;
use super::limits::LimitKey;
use super::outbox::NewDelivery;

/// An approval to be made, with the limits that may refuse it.
#[derive(Debug, Clone)]
pub struct Submit {
    /// The approval as it would be stored.
    pub approval: Approval,
    /// Audit events of its making.
    pub events: Vec<AuditEvent>,
    /// Messages of its making.
    pub deliveries: Vec<NewDelivery>,
    /// The request that would be attached.
    pub hold: NewHold,
    /// Most held requests of the agent; beyond that the request is not attached.
    pub max_held: u32,
    /// Most pending and approved approvals of the agent.
    pub max_pending_per_agent: u32,
    /// Most pending and approved approvals of all agents.
    pub max_pending: u32,
    /// Most calls of all agents that wait to be stored or are being stored.
    pub max_submitting: u32,
    /// The same of the agent alone.
    pub max_submitting_per_agent: u32,
    /// Most new approvals of the agent since `new_since`.
    pub max_new: u32,
    /// Start of the sliding window for `max_new`.
    pub new_since: Timestamp,
    /// Results of approvals that ended before this are no longer owed.
    pub owed_since: Timestamp,
    /// The call's rate limit: key, most uses, start of the window. A use is counted only when an
    /// approval is made.
    pub limit: Option<(LimitKey, u32, Timestamp)>,
    /// What the call takes of counters, where an approval is made.
    pub draws: Vec<Draw>,
}

/// What became of a [`Submit`].
#[derive(Debug, Clone)]
pub enum Submitted {
    /// A new approval was made. `held` is false beyond the agent's most held requests.
    Created {
        /// The new approval.
        approval: Approval,
        /// Whether the request was attached.
        held: bool,
    },
    /// An identical call's approval is open; the request joined it.
    Attached {
        /// The open approval.
        approval: Approval,
        /// Whether the request was attached.
        held: bool,
    },
    /// The identical call has ended, and its result is still owed. Whoever hands it over marks it
    /// with [`super::approvals::ApprovalStore::take_end`].
    Ended(Approval),
    /// A limit refused it.
    Refused {
        /// The limit.
        cap: Cap,
        /// When to try again, in milliseconds from now.
        retry_after_ms: u64,
    },
    /// A counter of its rule has too little left.
    Over(Over),
}

/// The limits of section `[approvals]`, by their key, and the rule's own limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cap {
    /// `approvals.max_pending_per_agent`
    PendingPerAgent,
    /// `approvals.max_pending`
    Pending,
    /// `approvals.max_new_per_agent`
    NewPerAgent,
    /// `approvals.max_submitting`
    Submitting,
    /// `approvals.max_submitting_per_agent`
    SubmittingPerAgent,
    /// The rule's `rate_limit`.
    RateLimit,
}
