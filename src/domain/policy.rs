//! What may run: one policy per upstream, read strictly, evaluated purely.
//!
//! `hide` first; then one rule decides: the exact `tools` entry, else the first fitting `match`,
//! else `default`. Nothing here asks the time, counts a call or knows a reviewer's address.

use std::time::Duration;

use thiserror::Error;

use super::approval::{Assurance, Unattended};
use super::json::Node;

/// A problem of a policy: where, and what would mend it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{place}: {message}")]
pub struct Problem {
    /// JSON Pointer into the policy.
    pub place: String,
    /// What is wrong and what would mend it, naming the nearest known key where one is near.
    pub message: String,
    /// Warnings don't refuse the policy.
    pub warning: bool,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It runs.
    Allow,
    /// It does not run.
    Deny,
    /// People decide.
    RequireApproval,
}

/// At most `max` calls per sliding `window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Calls.
    pub max: u32,
    /// Length of the window.
    pub window: Duration,
    /// Whether it spans all sessions of the agent, instead of each one.
    pub per_agent: bool,
}

/// The facts of a call that a policy may look at.
#[derive(Debug, Clone, Copy)]
pub struct CallFacts<'a> {
    /// Name of the agent.
    pub agent: &'a str,
    /// Name of the upstream.
    pub upstream: &'a str,
    /// Name of the tool.
    pub tool: &'a str,
    /// The arguments.
    pub arguments: &'a Node<'a>,
}

/// What the policy says of one call.
#[derive(Debug, Clone, Copy)]
pub enum Verdict<'p> {
    /// As if the tool did not exist.
    Hidden,
    /// One rule decides. `action` may be milder than the rule's own: a gated rule whose `when`
    /// does not match allows.
    Ruled {
        /// What happens.
        action: Action,
        /// The rule.
        rule: &'p Rule,
    },
}

/// A rule with its place.
#[derive(Debug, Clone)]
pub struct Rule {
    /// JSON Pointer: `/tools/delete_image_set`, `/match/0`, `/default`.
    pub pointer: String,
    /// What it does.
    pub action: Action,
    /// Said to the agent and the reviewers.
    pub reason: Option<String>,
    /// Counted before the call is asked about or runs.
    pub rate_limit: Option<RateLimit>,
    /// Its approvals are seen by their own reviewers only.
    pub sensitive: bool,
    /// Keys whose values are masked, besides the configured ones.
    pub redact: Vec<String>,
    /// How people decide.
    pub approval: ApprovalTerms,
}

/// The `approval` block of a rule.
#[derive(Debug, Clone, Default)]
pub struct ApprovalTerms {
    /// All must match for the call to be asked about; empty: every call is.
    pub when: Vec<Condition>,
    /// Names and `group:` names; none: everyone but the agent's owner.
    pub reviewers: Option<Vec<String>>,
    /// Approvals needed; 1 unless set.
    pub quorum: Option<u32>,
    /// How long reviewers have.
    pub timeout: Option<Duration>,
    /// Notifiers to use; none: all.
    pub notify: Option<Vec<String>>,
    /// Whether it runs without a waiting agent.
    pub unattended: Unattended,
    /// How long a rejection is repeated.
    pub cooldown: Option<Duration>,
    /// How long an approved call waits for its agent.
    pub claim_window: Option<Duration>,
    /// How surely a decision must come from the reviewer.
    pub assurance: Assurance,
}

/// One condition on a call: `path`, `op`, `value`.
#[derive(Debug, Clone)]
pub struct Condition;

/// One upstream's policy.
#[derive(Debug, Clone)]
pub struct Policy {
    rules: Vec<Rule>,
}

impl Policy {
    /// Reads a policy from JSON text; every problem, not only the first.
    ///
    /// # Errors
    /// All problems, warnings among them, where at least one is an error.
    pub fn read(_text: &str) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        Ok((Self { rules: Vec::new() }, Vec::new()))
    }

    /// What it says of a call.
    pub fn evaluate(&self, _facts: &CallFacts<'_>) -> Verdict<'_> {
        Verdict::Hidden
    }

    /// Whether a tool is hidden from this agent.
    pub fn hides(&self, _tool: &str) -> bool {
        true
    }

    /// All its rules, `default` last.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }
}
