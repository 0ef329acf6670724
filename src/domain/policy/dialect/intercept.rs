//! PolicyLayer's Intercept: a list of `rules` for each tool, and for all of them under `"*"`.
//!
//! Its meaning is kept: every rule must pass, `evaluate` says what must hold and `require_approval` when it
//! applies, numbers and texts compare loosely, `null` counts as absent, counters follow the calendar in UTC
//! and are shared by all agents, and an absent `default` allows. Its defects are not: unknown keys, negative
//! increments and counters without a limit are refused, numbers compare exactly, and nothing is cut to whole
//! numbers.

use std::time::Duration;

use super::counters::{ALL, Counters, go_duration, owner, rate};
use super::hosted::period;
use crate::domain::duration::parse_duration;
use crate::domain::json::{Node, quote, whole_number};
use crate::domain::policy::checks::{Check, CheckKind};
use crate::domain::policy::condition::{Condition, Reading};
use crate::domain::policy::limit::{Amount, Limit, Period, Scope, Window};
use crate::domain::policy::path::Path;
use crate::domain::policy::read_condition::{OPS, test};
use crate::domain::policy::read_limits::most;
use crate::domain::policy::walk::{Walk, at, nth};
use crate::domain::policy::{Action, Rule};

pub(in crate::domain::policy) const TOP_KEYS: [&str; 6] =
    ["version", "description", "default", "hide", "tools", "approvals"];
const RULE_KEYS: [&str; 7] =
    ["name", "action", "conditions", "rate_limit", "on_deny", "state", "approval_timeout"];

/// Most rules of one tool.
const MAX_RULES: usize = 256;

/// How conditions read values here.
const LOOSE: Reading = Reading { loose: true, null_is_absent: true };

/// What the rules of a tool come to, or those of all tools.
#[derive(Debug, Default)]
pub(in crate::domain::policy) struct Rules {
    /// The first that denies every call.
    pub(in crate::domain::policy) deny: Option<Rule>,
    pub(in crate::domain::policy) checks: Vec<Check>,
    pub(in crate::domain::policy) limits: Vec<Limit>,
    /// Those that ask.
    pub(in crate::domain::policy) asks: Vec<Rule>,
}

impl Rules {
    /// The rule of a tool of these rules and those for all tools, whose preconditions are judged by
    /// themselves.
    pub(in crate::domain::policy) fn joined(self, pointer: String, all: &Self) -> Rule {
        if let Some(deny) = self.deny.or_else(|| all.deny.clone()) {
            return deny;
        }
        let mut rule = Rule::new(pointer, Action::Allow);
        rule.checks = self.checks;
        rule.limits = self.limits;
        rule.limits.extend(all.limits.iter().cloned());
        rule.approvals = self.asks;
        rule.approvals.extend(all.asks.iter().cloned());
        if !rule.approvals.is_empty() {
            rule.action = Action::RequireApproval;
        }
        rule.spread_to_approvals();
        rule
    }
}

/// Reads the entry of a tool, or that of all tools.
pub(in crate::domain::policy) fn entry(
    walk: &mut Walk,
    node: &Node<'_>,
    place: &str,
    tool: &str,
    counters: &Counters,
) -> Rules {
    let mut read = Reader { walk, tool: owner(tool), counters, found: Rules::default() };
    if node.is_object() {
        for member in read.walk.object(node, place, &["rules"]) {
            if member.key == "rules" {
                read.rules(&member.node, &at(place, "rules"));
            }
        }
    } else if node.kind() == "null" {
        read.walk.warn(place, "has no rules: every call is allowed; write { rules: [] }");
    } else {
        read.walk.mismatch(node, place, "{ rules: […] }");
    }
    read.found
}

struct Reader<'w> {
    walk: &'w mut Walk,
    /// As it is called under `state`.
    tool: &'w str,
    counters: &'w Counters,
    found: Rules,
}

/// The keys of one rule, as far as they could be read.
#[derive(Default)]
struct Read {
    name: Option<String>,
    on_deny: Option<String>,
    timeout: Option<Duration>,
    conditions: Vec<Condition>,
    /// Conditions on counters: the tool and the counter, what it may be at most, and where that stands.
    counted: Vec<(String, String, String, String)>,
}

impl Reader<'_> {
    fn rules(&mut self, node: &Node<'_>, place: &str) {
        let nodes = self.walk.elements(node, place, "a list of rules");
        if nodes.len() > MAX_RULES {
            self.walk.error(place, format!("are more than {MAX_RULES} rules; join some of them"));
            return;
        }
        for (i, node) in nodes.iter().enumerate() {
            self.rule(node, nth(place, i));
        }
    }

    fn rule(&mut self, node: &Node<'_>, pointer: String) {
        let mut read = Read::default();
        let mut action = "evaluate";
        for member in self.walk.object(node, &pointer, &RULE_KEYS) {
            let (node, place) = (&member.node, at(&pointer, &member.key));
            match member.key.as_ref() {
                "name" => {
                    read.name = self.walk.name(node, &place, "a name").map(str::to_owned);
                }
                "action" => {
                    let known = ["evaluate", "deny", "require_approval"];
                    action = self.walk.word(node, &place, &known).unwrap_or(action);
                }
                "on_deny" => {
                    let what = "what the agent is told";
                    read.on_deny = self.walk.name(node, &place, what).map(str::to_owned);
                }
                "approval_timeout" => read.timeout = self.timeout(node, &place),
                "conditions" => {
                    let nodes = self.walk.elements(node, &place, "a list of conditions");
                    for (i, node) in nodes.iter().enumerate() {
                        self.condition(node, &nth(&place, i), &mut read);
                    }
                }
                _ => {}
            }
        }
        if node.members().is_none() {
            return;
        }
        if node.get("name").is_none() {
            let why = "is missing; write what the rule is called";
            self.walk.error(&at(&pointer, "name"), why);
        }
        self.allowed_keys(node, &pointer, action);
        let has_conditions = !read.conditions.is_empty() || !read.counted.is_empty();
        match action {
            "deny" => {
                let Read { name, on_deny, .. } = read;
                let rule = Rule { name, reason: on_deny, ..Rule::new(pointer, Action::Deny) };
                self.found.deny.get_or_insert(rule);
            }
            "require_approval" => self.asks(read, pointer),
            _ if node.get("rate_limit").is_some() => self.rate(node, read, pointer),
            _ => {
                if !has_conditions
                    && node.get("conditions").and_then(Node::elements).is_none_or(<[_]>::is_empty)
                {
                    let why = "are missing; write what must hold, or \"action\": \"deny\"";
                    self.walk.error(&at(&pointer, "conditions"), why);
                }
                self.evaluate(node, read, pointer);
            }
        }
    }

    /// Notes the keys that a rule of this action can't have.
    fn allowed_keys(&mut self, node: &Node<'_>, pointer: &str, action: &str) {
        let alone = node.get("rate_limit").is_some();
        for key in ["conditions", "rate_limit", "state", "approval_timeout"] {
            let why = match (key, action) {
                ("approval_timeout" | "conditions", "require_approval") => {
                    continue;
                }
                ("approval_timeout", _) => "is for rules of \"action\": \"require_approval\" alone",
                (_, "deny") => "has no effect where every call is denied",
                (_, "require_approval") => {
                    "can't stand in a rule that asks; write a rule of its own"
                }
                ("conditions" | "state", _) if alone => {
                    "can't stand beside rate_limit; write a rule of its own"
                }
                _ => continue,
            };
            if node.get(key).is_some() {
                self.walk.error(&at(pointer, key), format!("{why}; remove it"));
            }
        }
    }

    fn asks(&mut self, read: Read, pointer: String) {
        for (_, _, _, place) in &read.counted {
            self.walk.error(
                place,
                "counters can't say when people are asked; write a rule that evaluates it",
            );
        }
        let mut rule = Rule::new(pointer, Action::RequireApproval);
        // Reviewers see why they are asked, even where the rule has no words for the agent.
        rule.reason = read.on_deny.or_else(|| read.name.clone());
        rule.name = read.name;
        rule.approval.when = read.conditions;
        rule.approval.timeout = read.timeout;
        self.found.asks.push(rule);
    }

    fn rate(&mut self, node: &Node<'_>, read: Read, pointer: String) {
        const WHAT: &str = "how many calls pass in a minute, hour or day, such as \"40/minute\"";
        let place = at(&pointer, "rate_limit");
        let Some(node) = node.get("rate_limit") else { return };
        let Some(text) = self.walk.string(node, &place, WHAT) else { return };
        match rate(text) {
            None => self.walk.error(&place, format!("{text:?} is no rate; write {WHAT}")),
            Some((max, name, period)) => {
                let limit = Limit {
                    pointer,
                    counter: None,
                    amount: Amount::Fixed(1),
                    max: max.to_string(),
                    window: Window::Calendar(period),
                    scope: Scope::Upstream,
                    on_deny: read.on_deny,
                };
                self.limit(self.tool, &name, limit, &place);
            }
        }
    }

    fn evaluate(&mut self, node: &Node<'_>, read: Read, pointer: String) {
        let state = node.get("state").map(|node| self.state(node, &at(&pointer, "state")));
        let mut counts_own = false;
        for (i, (tool, name, max, place)) in read.counted.iter().enumerate() {
            let own = state.as_ref().and_then(Option::as_ref);
            let own = own.filter(|own| *tool == self.tool && own.0 == *name);
            counts_own |= own.is_some();
            let (amount, period) = if let Some((_, amount, period)) = own {
                (amount.clone(), *period)
            } else {
                // Looked at, and counted by another rule.
                let Some(period) = self.counters.period(tool, name) else {
                    let why = format!(
                        "no rule counts {tool}.{name}, so this could never hold; write its \
                             \"state\" in a rule of {tool}"
                    );
                    self.walk.error(place, why);
                    continue;
                };
                (Amount::Fixed(0), period)
            };
            let limit = Limit {
                pointer: if i == 0 {
                    pointer.clone()
                } else {
                    place.trim_end_matches("/path").to_owned()
                },
                counter: None,
                amount,
                max: max.clone(),
                window: Window::Calendar(period),
                scope: Scope::Upstream,
                on_deny: read.on_deny.clone(),
            };
            self.limit(tool, name, limit, place);
        }
        if let (Some(Some((name, ..))), false) = (&state, counts_own) {
            let path = format!("state.{}.{name}", self.tool);
            let why = format!(
                "would count and never limit; write a condition {{path: {path}, op: lte, value: …}}"
            );
            self.walk.error(&at(&pointer, "state"), why);
        }
        if !read.conditions.is_empty() {
            let Read { name, on_deny, conditions, .. } = read;
            self.found.checks.push(Check {
                pointer,
                name,
                kind: CheckKind::Require,
                conditions,
                on_deny,
            });
        }
    }

    /// Keeps a limit under the name of its counter, which one limit of a tool has.
    fn limit(&mut self, tool: &str, name: &str, limit: Limit, place: &str) {
        let counter = Some(format!("{tool}.{name}"));
        if self.found.limits.iter().any(|other| other.counter == counter) {
            let why = format!("the counter {name:?} is limited twice for this tool; keep one rule");
            self.walk.error(place, why);
            return;
        }
        self.found.limits.push(Limit { counter, ..limit });
    }

    /// The counter's name, how much a call counts, and by what.
    fn state(&mut self, node: &Node<'_>, place: &str) -> Option<(String, Amount, Period)> {
        let (mut name, mut window, mut amount) = (None, None, Some(Amount::Fixed(1)));
        let known = ["counter", "window", "increment", "increment_from"];
        for member in self.walk.object(node, place, &known) {
            let (node, place) = (&member.node, at(place, &member.key));
            match member.key.as_ref() {
                "counter" => {
                    name = self.walk.name(node, &place, "the counter's name").map(str::to_owned);
                }
                "window" => window = period(self.walk, node, &place),
                "increment" => amount = self.increment(node, &place).map(Amount::Fixed),
                "increment_from" => {
                    let text = self.walk.name(node, &place, "a path such as \"args.cents\"");
                    amount = text.and_then(|t| self.path(t, &place)).map(Amount::SumOf);
                }
                _ => {}
            }
        }
        node.members()?;
        if node.get("increment").is_some() && node.get("increment_from").is_some() {
            let why = "stands beside \"increment_from\"; keep one of the two";
            self.walk.error(&at(place, "increment"), why);
        }
        for (key, what) in [("counter", "its name"), ("window", "\"minute\", \"hour\" or \"day\"")]
        {
            if node.get(key).is_none() {
                self.walk.error(&at(place, key), format!("is missing; write {what}"));
            }
        }
        Some((name?, amount?, window?))
    }

    fn increment(&mut self, node: &Node<'_>, place: &str) -> Option<u64> {
        const WHAT: &str = "how much each call counts: a whole number from 0";
        let Some(digits) = node.as_number() else {
            self.walk.mismatch(node, place, WHAT);
            return None;
        };
        let amount = whole_number(digits);
        if amount.is_none() {
            self.walk.error(place, format!("{digits} can't be counted; write {WHAT}"));
        }
        amount
    }

    /// A condition on an argument, or on a counter.
    fn condition(&mut self, node: &Node<'_>, place: &str, read: &mut Read) {
        self.walk.object(node, place, &["path", "op", "value"]);
        if !node.is_object() {
            return;
        }
        for (key, what) in
            [("path", "where to look, such as \"args.name\""), ("op", &OPS.join(", "))]
        {
            if node.get(key).is_none() {
                self.walk.error(&at(place, key), format!("is missing; write {what}"));
            }
        }
        let path_at = at(place, "path");
        let path = node.get("path").and_then(|n| self.walk.name(n, &path_at, "a path"));
        let op = node.get("op").and_then(|n| self.walk.word(n, &at(place, "op"), &OPS));
        let (Some(path), Some(op)) = (path, op) else { return };
        if let Some(counter) = path.strip_prefix("state.") {
            let max = self.counted_at_most(op, node.get("value"), place);
            match counter.rsplit_once('.') {
                Some((tool, name)) if !tool.is_empty() && !name.is_empty() => {
                    let found = max.map(|max| (tool.to_owned(), name.to_owned(), max, path_at));
                    read.counted.extend(found);
                }
                _ => self.walk.error(
                    &path_at,
                    format!("{path:?} is no counter; write state.{}.NAME", self.tool),
                ),
            }
            return;
        }
        let path = self.path(path, &path_at);
        let test = test(self.walk, op, node.get("value"), &at(place, "value"));
        if let (Some(path), Some(test)) = (path, test) {
            let pointer = place.to_owned();
            read.conditions.push(Condition { pointer, path, test, reading: LOOSE });
        }
    }

    /// The most that a counter may be by a condition on it.
    fn counted_at_most(
        &mut self,
        op: &str,
        value: Option<&Node<'_>>,
        place: &str,
    ) -> Option<String> {
        if !matches!(op, "lt" | "lte") {
            let why = format!("{op:?} can't be asked of a counter; write \"lte\" or \"lt\"");
            self.walk.error(&at(place, "op"), why);
            return None;
        }
        let place = at(place, "value");
        let Some(value) = value else {
            self.walk.error(&place, "is missing; write the most that may be counted");
            return None;
        };
        let max = most(self.walk, value, &place)?;
        if op == "lte" {
            return Some(max);
        }
        let less = whole_number(&max).and_then(|n| n.checked_sub(1));
        if less.is_none() {
            self.walk.error(
                &place,
                "is no whole number from 1; write \"lte\" with the most that may be",
            );
        }
        less.map(|n| n.to_string())
    }

    /// A path of keys between dots, in which nothing else has a meaning.
    fn path(&mut self, text: &str, place: &str) -> Option<Path> {
        let keys: Vec<&str> = text.split('.').collect();
        if keys[0] != "args" || keys.len() < 2 || keys.iter().any(|key| key.is_empty()) {
            let near = "it begins with \"args.\", such as \"args.name\", or with \"state.\"";
            self.walk.error(place, format!("{text:?} is not a path; {near}"));
            return None;
        }
        let mut written = "args".to_owned();
        for key in &keys[1..] {
            if key.contains(['[', ']']) || *key == "*" {
                let why = format!("{key:?} is the name of one key here, and reaches into no list");
                self.walk.warn(place, why);
                written.push_str(&format!("[{}]", quote(key)));
            } else {
                written.push('.');
                written.push_str(key);
            }
        }
        match Path::read(&written) {
            Ok(path) => Some(path),
            Err(why) => {
                self.walk.error(place, why);
                None
            }
        }
    }

    /// A duration such as `30m`, `1h30m` or `1.5h`.
    fn timeout(&mut self, node: &Node<'_>, place: &str) -> Option<Duration> {
        let text = self.walk.string(node, place, "a duration such as \"30m\"")?;
        let length = parse_duration(text).ok().or_else(|| go_duration(text));
        match length {
            Some(length) if !length.is_zero() => Some(length),
            Some(_) => {
                let why =
                    "is no time at all: every approval would expire at once; write a longer one";
                self.walk.error(place, why);
                None
            }
            None => {
                let why = format!("{text:?} is not a duration; write such as \"30m\" or \"1h30m\"");
                self.walk.error(place, why);
                None
            }
        }
    }
}

/// Reads `hide`: exact names, or `"*"`; none of them empty or twice.
pub(in crate::domain::policy) fn hide(
    walk: &mut Walk,
    node: &Node<'_>,
    place: &str,
) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let nodes = walk.elements(node, place, "a list of names, or [\"*\"]");
    for (i, node) in nodes.iter().enumerate() {
        let place = nth(place, i);
        let Some(name) = walk.name(node, &place, "the name of a tool") else { continue };
        if name != ALL && name.contains(['*', '?', '[', '{', '\\']) {
            let why =
                format!("{name:?} would never fit: names here are exact; write each, or \"*\"");
            walk.error(&place, why);
        } else if names.iter().any(|other| other == name) {
            walk.error(&place, format!("{name:?} is given twice; remove one"));
        } else {
            names.push(name.to_owned());
        }
    }
    names
}
