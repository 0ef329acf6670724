//! What may run: one policy per upstream, read strictly, evaluated purely.
//!
//! `hide` first; then one rule decides: the exact `tools` entry, else the first fitting `match`,
//! else `default`. Nothing here asks the time, counts a call or knows a reviewer's address, and
//! nothing here knows a tool's risk: a `match` by `risk` fits every tool.
//!
//! `read` collects every problem in one walk, `lint` warns of what is allowed but surely not
//! meant, `condition` looks into a call, `explain` says in words what [`Policy::evaluate`] does.

use std::collections::HashMap;
use std::time::Duration;

use thiserror::Error;

use super::approval::{Assurance, Unattended};
use super::json::Node;
use pattern::Pattern;

mod condition;
mod explain;
mod lint;
mod literal;
mod path;
mod pattern;
#[cfg(test)]
mod properties;
mod read;
#[cfg(test)]
mod tests;
mod walk;

pub use condition::{Condition, Finding};
pub use pattern::MAX_GLOB;
pub use read::{MAX_NAME, MAX_REGEX_BYTES};

/// A problem of a policy: where, and what would mend it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}: {message}", if place.is_empty() { "the whole policy" } else { place })]
pub struct Problem {
    /// JSON Pointer into the policy; empty for the whole of it.
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

impl Action {
    /// All actions.
    pub const ALL: [Self; 3] = [Self::Allow, Self::Deny, Self::RequireApproval];

    /// The word used everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::RequireApproval => "require_approval",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.as_str() == text)
    }
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

/// One upstream's policy.
#[derive(Debug, Clone)]
pub struct Policy {
    description: Option<String>,
    fingerprint: String,
    hide: Vec<Pattern>,
    tools: Vec<Entry>,
    /// Index into `tools`.
    by_name: HashMap<String, usize>,
    matches: Vec<Match>,
    default: Rule,
}

/// An exact `tools` entry.
#[derive(Debug, Clone)]
struct Entry {
    name: String,
    rule: Rule,
}

/// A `match` entry: all that is given must fit.
#[derive(Debug, Clone)]
struct Match {
    rule: Rule,
    tools: Option<Vec<Pattern>>,
    agents: Option<Vec<Pattern>>,
    /// Words of risk classes. Kept for comparing entries; fits every tool.
    risk: Option<Vec<String>>,
}

impl Policy {
    /// Reads a policy from JSON text; every problem, not only the first.
    ///
    /// # Errors
    /// All problems, warnings among them, where at least one is an error.
    pub fn read(text: &str) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        read::policy(text)
    }

    /// What it says of a call.
    pub fn evaluate(&self, facts: &CallFacts<'_>) -> Verdict<'_> {
        match self.rule_for(facts.agent, facts.tool) {
            None => Verdict::Hidden,
            Some(rule) => Verdict::Ruled { action: rule.action_on(facts), rule },
        }
    }

    /// Whether a tool is hidden from this agent.
    pub fn hides(&self, tool: &str) -> bool {
        self.hidden_by(tool).is_some()
    }

    /// The one rule that decides an agent's calls of a tool, whatever their arguments; none if
    /// the tool is hidden.
    pub fn rule_for(&self, agent: &str, tool: &str) -> Option<&Rule> {
        if self.hides(tool) {
            return None;
        }
        if let Some(&index) = self.by_name.get(tool) {
            return Some(&self.tools[index].rule);
        }
        let fitting = self.matches.iter().find(|m| m.misfit(agent, tool).is_none());
        Some(fitting.map_or(&self.default, |m| &m.rule))
    }

    /// All its rules, `default` last.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        let tools = self.tools.iter().map(|e| &e.rule);
        tools.chain(self.matches.iter().map(|m| &m.rule)).chain([&self.default])
    }

    /// The rules that can decide a call of this agent, `default` last.
    pub fn rules_reached_by<'p>(&'p self, agent: &'p str) -> impl Iterator<Item = &'p Rule> {
        let tools = self.tools.iter().filter(|e| !self.hides(&e.name)).map(|e| &e.rule);
        let matches = self.matches.iter().filter(|m| fits(m.agents.as_deref(), agent));
        tools.chain(matches.map(|m| &m.rule)).chain([&self.default])
    }

    /// Lines that say, in order, what was looked at, which rule decides and why. They quote the
    /// policy and never an argument.
    pub fn explain(&self, facts: &CallFacts<'_>) -> Vec<String> {
        explain::lines(self, facts)
    }

    /// What its author says it is for.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// SHA-256 of the text it was read from, in 64 hex digits: which policy was in force.
    pub fn source_fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn hidden_by(&self, tool: &str) -> Option<(usize, &Pattern)> {
        self.hide.iter().enumerate().find(|(_, pattern)| pattern.fits(tool))
    }
}

impl Rule {
    /// A rule without terms.
    fn new(pointer: String, action: Action) -> Self {
        Self {
            pointer,
            action,
            reason: None,
            rate_limit: None,
            sensitive: false,
            redact: Vec::new(),
            approval: ApprovalTerms::default(),
        }
    }

    /// What it does with this call: a gated one is allowed where any condition does not match.
    fn action_on(&self, facts: &CallFacts<'_>) -> Action {
        match self.action {
            Action::Allow => Action::Allow,
            Action::Deny => Action::Deny,
            Action::RequireApproval => {
                if self.approval.when.iter().all(|c| c.examine(facts).asks()) {
                    Action::RequireApproval
                } else {
                    Action::Allow
                }
            }
        }
    }
}

impl Match {
    /// The first key that does not fit, if one doesn't.
    fn misfit(&self, agent: &str, tool: &str) -> Option<&'static str> {
        if !fits(self.tools.as_deref(), tool) {
            Some("tools")
        } else if !fits(self.agents.as_deref(), agent) {
            Some("agents")
        } else {
            None
        }
    }
}

/// Whether a list is absent or one of its patterns fits.
fn fits(patterns: Option<&[Pattern]>, name: &str) -> bool {
    patterns.is_none_or(|patterns| patterns.iter().any(|p| p.fits(name)))
}
