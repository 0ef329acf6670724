//! What may run: one policy per upstream, read strictly, evaluated purely.
//!
//! `hide` first; then one rule decides: the exact `tools` entry, else the first fitting `match`,
//! else `default`. Nothing here asks the time, counts a call or knows a reviewer's address.
//!
//! A rule may say the `risk` and `severity` of its calls. A `match` by `risk` looks at the class that the
//! tool has by itself ([`super::classify`]), and fits every tool whose class is not known.
//!
//! The blocks `resources` and `prompts` do the same for resources and prompts (`governed`, `uri`).
//! Without its block every such call passes. `methods` lists the exact names of methods outside the
//! specification that may pass.
//!
//! `read` collects every problem in one walk, `lint` warns of what is allowed but surely not
//! meant, `misfits` of what fits no listed tool, `condition` looks into a call, `explain` says in words
//! what [`Policy::evaluate`] does, `cases` runs the policy's own tests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::call::{Method, ToolCall};
use super::json::{self, JsonError, Node};
use super::risk::{RiskClass, Severity};
use governed::{Block, Subject};
use pattern::Pattern;
use source::Source;

mod blocks;
pub mod cases;
#[cfg(test)]
mod cases_tests;
mod checks;
#[cfg(test)]
mod checks_tests;
mod condition;
pub mod convert;
#[cfg(test)]
mod convert_tests;
mod dialect;
#[cfg(test)]
mod dialect_tests;
pub mod draft;
#[cfg(test)]
mod draft_tests;
mod explain;
mod governed;
#[cfg(test)]
mod governed_tests;
#[cfg(test)]
mod in_doubt_tests;
mod limit;
mod lint;
mod literal;
mod misfits;
mod names;
mod path;
pub(super) mod pattern;
mod problem;
#[cfg(test)]
mod properties;
mod read;
mod read_condition;
mod read_dialects;
mod read_limits;
mod read_parts;
mod read_rule;
pub mod replay;
mod ruling;
mod schema;
mod source;
#[cfg(test)]
mod source_tests;
#[cfg(test)]
mod spelling_tests;
mod terms;
#[cfg(test)]
mod tests;
mod uri;
mod walk;
mod written;
mod yaml;

pub use checks::{Check, CheckKind, MAX_CHECKS};
pub use condition::{Condition, Finding};
pub use dialect::Dialect;
pub use limit::{Amount, Limit, NotCounted, Period, Scope, Window};
pub use misfits::Listed;
pub use pattern::MAX_GLOB;
pub use problem::{Problem, Spot};
pub use read_condition::MAX_REGEX_BYTES;
pub use read_limits::MAX_LIMITS;
pub use read_parts::MAX_NAME;
pub use read_rule::MAX_APPROVALS;
pub use ruling::Denial;
pub use source::Format;
pub use terms::{ApprovalTerms, AskedPanel, GrantLimits};
pub use uri::{MAX_URI, MAX_URI_KEY};

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The call runs.
    Allow,
    /// The call does not run.
    Deny,
    /// The call waits for an approval: people decide.
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
    /// How many calls pass within the window.
    pub max: u32,
    /// Length of the window.
    pub window: Duration,
    /// Whether it spans all sessions of the agent, instead of each one.
    pub per_agent: bool,
}

/// The facts of a call that a policy may look at.
#[derive(Debug, Clone, Copy)]
pub struct CallFacts<'a, 'n> {
    /// Name of the agent.
    pub agent: &'a str,
    /// Name of the upstream.
    pub upstream: &'a str,
    /// Name of the tool or prompt, URI of the resource.
    pub tool: &'a str,
    /// The arguments; of a read, [`super::call::uri_arguments`].
    pub arguments: &'a Node<'n>,
    /// The class of the tool's calls; none where it is not known.
    pub risk: Option<RiskClass>,
}

/// What the policy says of one call.
#[derive(Debug, Clone, Copy)]
pub enum Verdict<'p> {
    /// The call is of a prompt or a resource, and the policy has no block for these: it passes.
    Ungoverned,
    /// The tool, prompt or resource is treated as if it did not exist.
    Hidden,
    /// One rule decides. `action` may be milder than the rule's own: a gated rule whose `when`
    /// does not match allows.
    Ruled {
        /// What happens.
        action: Action,
        /// The rule; where it has several approvals, the one by which people are asked.
        rule: &'p Rule,
        /// The precondition by which the call is denied, if one denies it.
        check: Option<&'p Check>,
    },
}

/// A rule with its place.
#[derive(Debug, Clone)]
pub struct Rule {
    /// JSON Pointer: `/tools/delete_image_set`, `/match/0`, `/default`.
    pub pointer: String,
    /// What the policy calls it.
    pub name: Option<String>,
    /// What it does.
    pub action: Action,
    /// Why, in the words of the policy; told to the agent and to reviewers.
    pub reason: Option<String>,
    /// How many calls pass; counted before the call is asked about or runs.
    pub rate_limit: Option<RateLimit>,
    /// What must hold for a call, or must not; judged before anything is counted.
    pub checks: Vec<Check>,
    /// What its calls may come to together.
    pub limits: Vec<Limit>,
    /// Whether its approvals are seen only by their own reviewers, the owner, admins and auditors.
    pub sensitive: bool,
    /// Keys whose values are masked, besides the configured ones.
    pub redact: Vec<String>,
    /// Whether people may approve its calls without seeing what is masked of them.
    pub masked_ok: bool,
    /// What kind of harm its calls could do, in its author's judgement.
    pub risk: Option<RiskClass>,
    /// How grave that harm would be, in its author's judgement.
    pub severity: Option<Severity>,
    /// How people decide.
    pub approval: ApprovalTerms,
    /// Where there are several approvals: a rule for each, with its own pointer and terms. The first whose
    /// `when` matches asks.
    pub approvals: Vec<Self>,
    /// Of one of several approvals, the pointer of the rule that has them.
    pub within: Option<String>,
}

/// One upstream's policy.
#[derive(Debug, Clone)]
pub struct Policy {
    dialect: Dialect,
    description: Option<String>,
    fingerprint: String,
    source: Arc<Source>,
    hide: Vec<Pattern>,
    tools: Vec<Entry>,
    /// Index into `tools`.
    by_name: HashMap<String, usize>,
    matches: Vec<Match>,
    default: Rule,
    resources: Option<Block>,
    prompts: Option<Block>,
    methods: Vec<String>,
    /// Preconditions of every tool that is not hidden or denied.
    all_tools: Vec<Check>,
    cases: Vec<cases::Case>,
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
    /// The classes it is about. It fits every tool whose class is not known.
    risk: Option<Vec<RiskClass>>,
}

impl Policy {
    /// Reads a policy from JSON text; every problem, not only the first.
    ///
    /// # Errors
    /// All problems, warnings among them, where at least one is an error.
    pub fn read(text: &str) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        Self::read_as(text, Format::Json)
    }

    /// Reads a policy whose own tests may fail. Otherwise as [`Policy::read_as`].
    ///
    /// # Errors
    /// All problems, warnings among them, where at least one is an error.
    pub fn read_untested(text: &str, format: Format) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        read::policy(text, format)
    }

    /// Reads a policy from text; every problem, not only the first. Where it has no other error, a test
    /// of its own that fails is one.
    ///
    /// # Errors
    /// All problems, warnings among them, where at least one is an error.
    pub fn read_as(text: &str, format: Format) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let (policy, mut problems) = read::policy(text, format)?;
        let failing = policy.failing();
        if failing.is_empty() {
            return Ok((policy, problems));
        }
        problems.extend(failing);
        Err(problems)
    }

    /// Says of each problem of this policy where in its text it stands.
    pub fn locate(&self, problems: &mut [Problem]) {
        self.source.locate(problems);
    }

    /// In which form it is written.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Its text as JSON.
    pub fn as_json(&self) -> &str {
        self.source.json()
    }

    /// The verdict on an agent's call of a tool, a prompt or a resource. `risk` is the class of the
    /// tool's calls, none where it is not known; it is needed only where the policy [looks at
    /// it](Policy::looks_at_risk). A URI of more than [`MAX_URI`] bytes is hidden.
    ///
    /// # Errors
    /// [`JsonError`], where the arguments of the call are not JSON. This can't happen to a call
    /// that was read.
    pub fn judge(
        &self,
        agent: &str,
        call: &ToolCall,
        risk: Option<RiskClass>,
    ) -> Result<Verdict<'_>, JsonError> {
        let arguments = call.arguments();
        let arguments = json::parse(&arguments)?;
        let (upstream, tool) = (call.upstream.as_str(), call.tool.as_str());
        let facts = CallFacts { agent, upstream, tool, arguments: &arguments, risk };
        Ok(self.evaluate(call.method, &facts))
    }

    /// The same, where the `params` of the call were read already.
    ///
    /// # Errors
    /// As [`Policy::judge`].
    pub fn judge_read(
        &self,
        agent: &str,
        call: &ToolCall,
        params: &Node<'_>,
        risk: Option<RiskClass>,
    ) -> Result<Verdict<'_>, JsonError> {
        match params.get("arguments").filter(|_| call.method != Method::ReadResource) {
            None => self.judge(agent, call, risk),
            Some(arguments) => {
                let (upstream, tool) = (call.upstream.as_str(), call.tool.as_str());
                let facts = CallFacts { agent, upstream, tool, arguments, risk };
                Ok(self.evaluate(call.method, &facts))
            }
        }
    }

    fn evaluate(&self, method: Method, facts: &CallFacts<'_, '_>) -> Verdict<'_> {
        if method == Method::CallTool {
            return match self.rule_for(facts.agent, facts.tool, facts.risk) {
                None => Verdict::Hidden,
                Some(rule) => rule.ruling(&self.all_tools, facts).into(),
            };
        }
        let Some(block) = self.block(method) else { return Verdict::Ungoverned };
        let subject = subject(method, facts.tool);
        subject.map_or(Verdict::Hidden, |subject| block.evaluate(&subject, facts))
    }

    /// Whether the policy has rules for this method; where it has none, every call passes.
    pub fn governs(&self, method: Method) -> bool {
        match method {
            Method::CallTool => true,
            Method::GetPrompt => self.prompts.is_some(),
            Method::ReadResource => self.resources.is_some(),
        }
    }

    /// Whether a method outside the protocol's specification may pass: its exact name is listed.
    pub fn allows_method(&self, name: &str) -> bool {
        self.methods.iter().any(|listed| listed == name)
    }

    /// The methods outside the specification that pass, in the order they are listed.
    pub fn methods(&self) -> &[String] {
        &self.methods
    }

    /// Whether a tool, a prompt or a resource is hidden.
    pub fn hides_as(&self, method: Method, name: &str) -> bool {
        if method == Method::CallTool {
            return self.hides(name);
        }
        self.block(method).is_some_and(|block| {
            subject(method, name).is_none_or(|subject| block.hidden_by(&subject).is_some())
        })
    }

    /// Whether anything of this kind may be hidden.
    pub fn hides_any(&self, method: Method) -> bool {
        match method {
            Method::CallTool => !self.hide.is_empty(),
            _ => self.block(method).is_some_and(|block| !block.hide.is_empty()),
        }
    }

    fn block(&self, method: Method) -> Option<&Block> {
        match method {
            Method::CallTool => None,
            Method::GetPrompt => self.prompts.as_ref(),
            Method::ReadResource => self.resources.as_ref(),
        }
    }

    /// Whether a tool is hidden from this agent.
    pub fn hides(&self, tool: &str) -> bool {
        self.hidden_by(tool).is_some()
    }

    /// Whether it makes a difference of which class a tool's calls are.
    pub fn looks_at_risk(&self) -> bool {
        self.matches.iter().any(|m| m.risk.is_some())
    }

    /// The one rule that decides an agent's calls of a tool of this class, whatever their arguments;
    /// none if the tool is hidden.
    pub fn rule_for(&self, agent: &str, tool: &str, risk: Option<RiskClass>) -> Option<&Rule> {
        if self.hides(tool) {
            return None;
        }
        if let Some(&index) = self.by_name.get(tool) {
            return Some(&self.tools[index].rule);
        }
        let fitting = self.matches.iter().find(|m| m.misfit(agent, tool, risk).is_none());
        Some(fitting.map_or(&self.default, |m| &m.rule))
    }

    /// All its rules, those of tools first, each `default` behind its own, and behind a rule with several
    /// approvals one for each of these.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        let tools = self.tools.iter().map(|e| &e.rule);
        let tools = tools.chain(self.matches.iter().map(|m| &m.rule)).chain([&self.default]);
        tools.chain(self.block_rules()).flat_map(|rule| [rule].into_iter().chain(&rule.approvals))
    }

    fn block_rules(&self) -> impl Iterator<Item = &Rule> {
        let blocks = self.resources.iter().chain(&self.prompts);
        blocks.flat_map(|b| b.rules.iter().map(|(_, rule)| rule).chain([&b.default]))
    }

    /// Lines that say, in order, what was looked at for a call of a tool, which rule decides and
    /// why. They quote the policy and never an argument. There are none for prompts and resources,
    /// nor for what can't be judged.
    pub fn explain(&self, agent: &str, call: &ToolCall, risk: Option<RiskClass>) -> Vec<String> {
        let arguments = call.arguments();
        let Ok(arguments) = json::parse(&arguments) else { return Vec::new() };
        let (upstream, tool) = (call.upstream.as_str(), call.tool.as_str());
        let facts = CallFacts { agent, upstream, tool, arguments: &arguments, risk };
        match call.method {
            Method::CallTool => explain::lines(self, &facts),
            Method::GetPrompt | Method::ReadResource => Vec::new(),
        }
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

impl Match {
    /// The first key that does not fit, if one doesn't.
    fn misfit(&self, agent: &str, tool: &str, risk: Option<RiskClass>) -> Option<&'static str> {
        let of_class = |classes: &Vec<RiskClass>| risk.is_none_or(|risk| classes.contains(&risk));
        if !self.risk.as_ref().is_none_or(of_class) {
            Some("risk")
        } else if !fits(self.tools.as_deref(), tool) {
            Some("tools")
        } else if !fits(self.agents.as_deref(), agent) {
            Some("agents")
        } else {
            None
        }
    }
}

/// What is asked for; none where it is too long to be judged.
fn subject(method: Method, name: &str) -> Option<Subject<'_>> {
    match method {
        Method::CallTool | Method::GetPrompt => Some(Subject::prompt(name)),
        Method::ReadResource => Subject::resource(name),
    }
}

/// Whether a list is absent or one of its patterns fits.
fn fits(patterns: Option<&[Pattern]>, name: &str) -> bool {
    patterns.is_none_or(|patterns| patterns.iter().any(|p| p.fits(name)))
}
