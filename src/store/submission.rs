//! An approval that is to be made, and what comes of that.

use crate::domain::approval::Approval;
use crate::domain::audit::AuditEvent;
use crate::domain::time::Timestamp;

use super::holds::NewHold;
use super::limits::LimitKey;
use super::outbox::NewDelivery;

/// An approval to be made, and what joins or refuses it instead.
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
    /// Most held requests of the agent; beyond it the request is not attached.
    pub max_held: u32,
    /// Most pending and approved of the agent.
    pub max_pending_per_agent: u32,
    /// Most pending and approved of all.
    pub max_pending: u32,
    /// Most new ones of the agent since `new_since`.
    pub max_new: u32,
    /// Start of the sliding window for `max_new`.
    pub new_since: Timestamp,
    /// Ends older than this are no longer owed.
    pub owed_since: Timestamp,
    /// The call's rate limit: key, most, start of the window. Consumed only when an approval is made.
    pub limit: Option<(LimitKey, u32, Timestamp)>,
}

/// What became of a [`Submit`].
#[derive(Debug, Clone)]
pub enum Submitted {
    /// A new approval was made. `held` is false beyond the agent's held requests.
    Created {
        /// It.
        approval: Approval,
        /// Whether the request was attached.
        held: bool,
    },
    /// An identical call's approval is open; the request joined it.
    Attached {
        /// It.
        approval: Approval,
        /// Whether the request was attached.
        held: bool,
    },
    /// An end that is the answer; told by whoever hands it over, with [`super::approvals::ApprovalStore::take_end`].
    Ended(Approval),
    /// A cap refused it; again after so many milliseconds.
    Refused {
        /// What refused.
        cap: Cap,
        /// When to try again.
        retry_after_ms: u64,
    },
}

/// The named caps of section `[approvals]`, and the rule's own limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cap {
    /// `approvals.max_pending_per_agent`
    PendingPerAgent,
    /// `approvals.max_pending`
    Pending,
    /// `approvals.max_new_per_agent`
    NewPerAgent,
    /// The rule's `rate_limit`.
    RateLimit,
}
