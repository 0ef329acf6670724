//! Preconditions: what must hold for a call, or must not, before anything is counted or anybody is asked.
//!
//! In doubt the call is denied. `require` holds only where every condition certainly does: nothing at the
//! path, another type of value and a value that a server may read otherwise do not hold, and with `[*]` all
//! elements must. `deny_if` denies where every condition matches; another type and an unsure reading count as
//! a match, and with `[*]` one element is enough. Where nothing is at its path it does not match.

use super::condition::{Condition, Finding};
use super::walk::{Walk, at, nth};
use super::{CallFacts, read_condition};
use crate::domain::json::Node;

/// Most preconditions of a rule, and of all tools together.
pub const MAX_CHECKS: usize = 64;

/// Whether conditions must hold or must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckKind {
    /// All conditions must hold.
    Require,
    /// The call is denied where all conditions match; always where there are none.
    DenyIf,
}

/// One precondition.
#[derive(Debug, Clone)]
pub struct Check {
    /// JSON Pointer of the precondition in its policy.
    pub pointer: String,
    /// What the policy calls it.
    pub name: Option<String>,
    /// What its conditions mean.
    pub kind: CheckKind,
    pub(super) conditions: Vec<Condition>,
    /// What the agent is told where it denies, in the words of the policy.
    pub on_deny: Option<String>,
}

impl CheckKind {
    /// The key of the policy.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Require => "require",
            Self::DenyIf => "deny_if",
        }
    }

    /// What decides of a condition: its finding of the first value that does.
    fn finding(self, condition: &Condition, facts: &CallFacts<'_, '_>) -> Finding {
        match self {
            Self::Require => condition.look(facts, |finding| finding != Finding::Matches),
            Self::DenyIf => condition.look(facts, counts_against),
        }
    }
}

fn counts_against(finding: Finding) -> bool {
    matches!(finding, Finding::Matches | Finding::WrongType | Finding::Ambiguous)
}

impl Check {
    /// Whether it denies the call.
    pub(super) fn denies(&self, facts: &CallFacts<'_, '_>) -> bool {
        let finding = |condition: &Condition| self.kind.finding(condition, facts);
        match self.kind {
            CheckKind::Require => self.conditions.iter().any(|c| finding(c) != Finding::Matches),
            CheckKind::DenyIf => self.conditions.iter().all(|c| counts_against(finding(c))),
        }
    }

    /// Whether it denies every call.
    pub(super) fn always_denies(&self) -> bool {
        self.kind == CheckKind::DenyIf && self.conditions.is_empty()
    }

    /// What the agent is told where it denies: the policy's words, else where it looks, never for what.
    pub fn told(&self) -> String {
        if let Some(words) = &self.on_deny {
            return words.clone();
        }
        let paths: Vec<&str> = self.conditions.iter().map(|c| c.path.text.as_str()).collect();
        let paths = paths.join(", ");
        match self.kind {
            CheckKind::Require => format!("a condition on {paths} does not hold"),
            CheckKind::DenyIf if paths.is_empty() => "every such call is refused".to_owned(),
            CheckKind::DenyIf => format!("its arguments are refused ({paths})"),
        }
    }

    /// Lines that say what it makes of a call.
    pub(super) fn explain(&self, facts: &CallFacts<'_, '_>, lines: &mut Vec<String>) {
        let (word, pointer) = (self.kind.as_str(), &self.pointer);
        let name = self.name.as_ref().map_or(String::new(), |name| format!(" ({name})"));
        for condition in &self.conditions {
            let finding = in_words(self.kind, self.kind.finding(condition, facts));
            lines.push(format!("{word}: {}: {condition}: {finding}", condition.pointer));
        }
        let denies = match (self.denies(facts), self.kind) {
            (true, _) => "denies the call",
            (false, CheckKind::Require) => "holds",
            (false, CheckKind::DenyIf) => "does not apply",
        };
        lines.push(format!("{word}: {pointer}{name} {denies}"));
    }
}

fn in_words(kind: CheckKind, finding: Finding) -> &'static str {
    const UNSURE: &str = "a server may read another value there (keys that differ by case only, or a \
                          number that is not the shortest spelling of its double)";
    match (kind, finding) {
        (CheckKind::Require, Finding::Matches) => "holds",
        (CheckKind::Require, Finding::Differs) => "does not hold",
        (CheckKind::Require, Finding::Missing) => "nothing is there, so it does not hold",
        (CheckKind::Require, Finding::WrongType) => {
            "another type of value is there, so it does not hold"
        }
        (CheckKind::DenyIf, Finding::Matches) => "matches",
        (CheckKind::DenyIf, Finding::Differs) => "does not match",
        (CheckKind::DenyIf, Finding::Missing) => "nothing is there, so it does not match",
        (CheckKind::DenyIf, Finding::WrongType) => {
            "another type of value is there, which counts as a match"
        }
        (_, Finding::Ambiguous) => UNSURE,
    }
}

/// Reads `require` or `deny_if`: a list of `{conditions, on_deny, name}`, or of single conditions.
pub(super) fn checks(walk: &mut Walk, node: &Node<'_>, place: &str, kind: CheckKind) -> Vec<Check> {
    let nodes = walk.elements(node, place, "a list of {\"conditions\": […], \"on_deny\": \"…\"}");
    if nodes.len() > MAX_CHECKS {
        walk.error(place, format!("has more than {MAX_CHECKS} entries; join some of them"));
        return Vec::new();
    }
    nodes.iter().enumerate().filter_map(|(i, n)| check(walk, n, nth(place, i), kind)).collect()
}

fn check(walk: &mut Walk, node: &Node<'_>, pointer: String, kind: CheckKind) -> Option<Check> {
    let is_single = node.get("path").is_some() && node.get("conditions").is_none();
    let mut check = Check { name: None, kind, conditions: Vec::new(), on_deny: None, pointer };
    let place = check.pointer.clone();
    let mut known = vec!["name", "on_deny"];
    if is_single {
        known.extend(read_condition::CONDITION_KEYS);
        check.conditions.extend(read_condition::condition(walk, node, &place));
    } else {
        known.push("conditions");
    }
    for member in walk.object(node, &place, &known) {
        let (node, place) = (&member.node, at(&place, &member.key));
        match member.key.as_ref() {
            "name" => check.name = walk.name(node, &place, "a name").map(str::to_owned),
            "on_deny" => {
                check.on_deny =
                    walk.name(node, &place, "what the agent is told").map(str::to_owned);
            }
            "conditions" => {
                let nodes = walk.elements(node, &place, "a list of conditions");
                for (i, node) in nodes.iter().enumerate() {
                    let condition = read_condition::whole_condition(walk, node, &nth(&place, i));
                    check.conditions.extend(condition);
                }
                if kind == CheckKind::Require && node.elements().is_some_and(<[_]>::is_empty) {
                    walk.error(&place, "is an empty list; write what must hold, or remove it");
                }
            }
            _ => {}
        }
    }
    if !is_single && node.is_object() && node.get("conditions").is_none() {
        let mend = match kind {
            CheckKind::Require => "write what must hold",
            CheckKind::DenyIf => "write when the call is denied ([] denies every call)",
        };
        walk.error(&at(&place, "conditions"), format!("is missing; {mend}"));
        return None;
    }
    Some(check)
}
