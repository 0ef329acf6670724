//! How people decide on the calls of a rule.

use std::time::Duration;

use super::condition::Condition;
use crate::domain::approval::{Assurance, Join, Unattended};

/// The `approval` block of a rule.
#[derive(Debug, Clone, Default)]
pub struct ApprovalTerms {
    /// Conditions that all must match for people to be asked; where there are none, every call is
    /// asked about.
    pub when: Vec<Condition>,
    /// Names, and groups as `group:NAME`, of who is asked; none: every reviewer but the agent's
    /// owner.
    pub reviewers: Option<Vec<String>>,
    /// Joined reviewers, in place of `reviewers` and `quorum`.
    pub panel: Option<AskedPanel>,
    /// How many approvals are needed; 1 unless set.
    pub quorum: Option<u32>,
    /// How long reviewers have to decide; as configured unless set.
    pub timeout: Option<Duration>,
    /// Names of the notifiers to use; none: all.
    pub notify: Option<Vec<String>>,
    /// What happens to the approved call when no request waits for it.
    pub unattended: Unattended,
    /// How long a rejection is repeated to the identical call; as configured unless set.
    pub cooldown: Option<Duration>,
    /// How long an approved call waits for its agent; as configured unless set.
    pub claim_window: Option<Duration>,
    /// How surely a decision must come from the reviewer; as configured unless set.
    pub assurance: Option<Assurance>,
    /// Whether a reviewer who approves may give a grant for further calls, and its limits.
    pub grant: Option<GrantLimits>,
}

/// The most that a grant may let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrantLimits {
    /// How many calls it may let through.
    pub max_uses: u32,
    /// How long it may hold.
    pub max_duration: Duration,
}

/// `reviewers` as `{"all": […]}` or `{"any": […]}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedPanel {
    /// How the parts are joined.
    pub join: Join,
    /// For each part, a reviewer's name or `group:NAME`, and how many approvals it needs.
    pub parts: Vec<(String, u32)>,
}
