//! Reads one rule: what it does, how often, and who is asked.

use regex::RegexBuilder;

use super::checks::{self, CheckKind};
use super::condition::{Condition, Order, Reading, Test};
use super::literal::Literal;
use super::path::Path;
use super::pattern::{Pattern, is_glob};
use super::walk::{Walk, at, nth};
use super::{Action, ApprovalTerms, AskedPanel, GrantLimits, RateLimit, Rule};
use crate::domain::approval::{Assurance, Join, Unattended};
use crate::domain::json::Node;
use crate::domain::risk::{RiskClass, Severity};

/// Most memory that a compiled `regex` may take, bytes.
pub const MAX_REGEX_BYTES: usize = 1 << 20;

pub(super) const RULE_KEYS: [&str; 11] = [
    "action",
    "reason",
    "rate_limit",
    "sensitive",
    "redact",
    "masked_ok",
    "approval",
    "risk",
    "severity",
    "require",
    "deny_if",
];
pub(super) const CONDITION_KEYS: [&str; 5] = ["path", "op", "value", "loose", "null"];
const APPROVAL_KEYS: [&str; 10] = [
    "when",
    "reviewers",
    "quorum",
    "timeout",
    "notify",
    "unattended",
    "cooldown",
    "claim_window",
    "assurance",
    "grant",
];
const OPS: [&str; 11] =
    ["eq", "neq", "in", "not_in", "lt", "lte", "gt", "gte", "regex", "contains", "exists"];
const ACTIONS: [&str; 3] =
    [Action::Allow.as_str(), Action::Deny.as_str(), Action::RequireApproval.as_str()];

/// Keys whose values are masked, as names or globs.
fn redact(walk: &mut Walk, node: &Node<'_>, place: &str) -> Vec<String> {
    let keys = walk.names(node, place, "the key of a value to mask, or a glob", true);
    for key in keys.iter().filter(|key| is_glob(key)) {
        if let Err(why) = Pattern::read(key) {
            walk.error(place, why);
        }
    }
    keys
}

pub(super) fn rule(walk: &mut Walk, node: &Node<'_>, pointer: String, known: &[&str]) -> Rule {
    let mut rule = Rule::new(pointer, Action::Deny);
    let place = rule.pointer.clone();
    let mut read_action = None;
    for member in walk.object(node, &place, known) {
        let (node, place) = (&member.node, at(&place, &member.key));
        match member.key.as_ref() {
            "action" => read_action = action(walk, node, &place),
            "reason" => {
                rule.reason = walk
                    .name(node, &place, "why, for the agent and the reviewers")
                    .map(str::to_owned);
            }
            "rate_limit" => rule.rate_limit = rate_limit(walk, node, &place),
            "sensitive" => rule.sensitive = walk.boolean(node, &place).unwrap_or(false),
            "redact" => rule.redact = redact(walk, node, &place),
            "masked_ok" => rule.masked_ok = walk.boolean(node, &place).unwrap_or(false),
            "approval" => rule.approval = approval(walk, node, &place),
            // In a `match` the key is a list: what has to fit.
            "risk" if known.contains(&"tools") => {}
            "risk" => rule.risk = risk(walk, node, &place),
            "severity" => rule.severity = severity(walk, node, &place),
            "require" | "deny_if" => {
                let kind =
                    if member.key == "require" { CheckKind::Require } else { CheckKind::DenyIf };
                rule.checks.extend(checks::checks(walk, node, &place, kind));
            }
            _ => {}
        }
    }
    if node.is_object() && node.get("action").is_none() {
        walk.error(
            &at(&place, "action"),
            format!("is missing; write one of {}", ACTIONS.join(", ")),
        );
    }
    if let Some(action) = read_action {
        rule.action = action;
        if action != Action::RequireApproval && node.get("approval").is_some() {
            walk.error(
                &at(&place, "approval"),
                format!(
                    "has no effect with \"action\": {:?}; remove it, or write \"require_approval\"",
                    action.as_str()
                ),
            );
        }
        for key in ["rate_limit", "require", "deny_if"] {
            if action == Action::Deny && node.get(key).is_some() {
                walk.warn(&at(&place, key), "has no effect where every call is denied; remove it");
            }
        }
    }
    rule
}

pub(super) fn risk(walk: &mut Walk, node: &Node<'_>, place: &str) -> Option<RiskClass> {
    walk.word(node, place, &RiskClass::ALL.map(RiskClass::as_str)).and_then(RiskClass::parse)
}

fn severity(walk: &mut Walk, node: &Node<'_>, place: &str) -> Option<Severity> {
    walk.word(node, place, &Severity::ALL.map(Severity::as_str)).and_then(Severity::parse)
}

pub(super) fn action(walk: &mut Walk, node: &Node<'_>, place: &str) -> Option<Action> {
    walk.word(node, place, &ACTIONS).and_then(Action::parse)
}

fn rate_limit(walk: &mut Walk, node: &Node<'_>, place: &str) -> Option<RateLimit> {
    let (mut max, mut window, mut per_agent) = (None, None, false);
    for member in walk.object(node, place, &["max", "window", "per"]) {
        let (node, place) = (&member.node, at(place, &member.key));
        match member.key.as_ref() {
            "max" => max = walk.count(node, &place, "the most calls"),
            "window" => window = walk.count(node, &place, "the window in seconds"),
            "per" => per_agent = walk.word(node, &place, &["agent"]).is_some(),
            _ => {}
        }
    }
    if node.is_object() {
        for (key, what) in [("max", "the most calls"), ("window", "the window in seconds")] {
            if node.get(key).is_none() {
                walk.error(&at(place, key), format!("is missing; write {what}"));
            }
        }
    }
    let window = std::time::Duration::from_secs(u64::from(window?));
    Some(RateLimit { max: max?, window, per_agent })
}

fn approval(walk: &mut Walk, node: &Node<'_>, place: &str) -> ApprovalTerms {
    let mut terms = ApprovalTerms::default();
    for member in walk.object(node, place, &APPROVAL_KEYS) {
        let (node, place) = (&member.node, at(place, &member.key));
        match member.key.as_ref() {
            "when" => {
                let nodes = walk.elements(node, &place, "a list of conditions");
                for (i, node) in nodes.iter().enumerate() {
                    terms.when.extend(whole_condition(walk, node, &nth(&place, i)));
                }
            }
            "reviewers" if node.is_object() => terms.panel = panel(walk, node, &place),
            "reviewers" => {
                let names = walk.names(node, &place, "a reviewer's name or \"group:…\"", false);
                for (i, node) in node.elements().unwrap_or_default().iter().enumerate() {
                    if node.as_str() == Some("group:") {
                        walk.error(&nth(&place, i), "names no group; write \"group:oncall\"");
                    }
                }
                terms.reviewers = Some(names);
            }
            "quorum" => terms.quorum = walk.count(node, &place, "the approvals needed"),
            "timeout" => terms.timeout = walk.some_time(node, &place),
            "notify" => {
                terms.notify = Some(walk.names(node, &place, "the name of a notifier", true));
            }
            "unattended" => match walk.word(node, &place, &["wait", "run"]) {
                Some("run") => terms.unattended = Unattended::Run,
                _ => terms.unattended = Unattended::Wait,
            },
            "cooldown" => terms.cooldown = walk.duration(node, &place),
            "claim_window" => terms.claim_window = walk.some_time(node, &place),
            "assurance" => {
                terms.assurance = walk
                    .word(node, &place, &["link", "session", "passkey"])
                    .and_then(Assurance::parse);
            }
            "grant" => terms.grant = grant_limits(walk, node, &place),
            _ => {}
        }
    }
    if terms.panel.is_some() && terms.quorum.is_some() {
        let place = at(place, "quorum");
        walk.error(&place, "stands with each of the joined reviewers; remove it here".to_owned());
    }
    terms
}

fn grant_limits(walk: &mut Walk, node: &Node<'_>, place: &str) -> Option<GrantLimits> {
    let (mut uses, mut duration) = (None, None);
    for member in walk.object(node, place, &["max_uses", "max_duration"]) {
        let (node, place) = (&member.node, at(place, &member.key));
        match member.key.as_ref() {
            "max_uses" => uses = walk.count(node, &place, "the most calls of a grant"),
            "max_duration" => duration = walk.some_time(node, &place),
            _ => {}
        }
    }
    if node.is_object() {
        for (key, what) in [("max_uses", "the most calls"), ("max_duration", "the longest time")] {
            if node.get(key).is_none() {
                walk.error(&at(place, key), format!("is missing; write {what} of a grant"));
            }
        }
    }
    Some(GrantLimits { max_uses: uses?, max_duration: duration? })
}

/// Most parts of a panel.
const MAX_PARTS: usize = 8;

/// `{"all": [{"group": "security", "quorum": 1}, {"reviewer": "ana"}]}`, or `any`.
fn panel(walk: &mut Walk, node: &Node<'_>, place: &str) -> Option<AskedPanel> {
    let mut found = Vec::new();
    for member in walk.object(node, place, &["all", "any"]) {
        let join = if member.key == "any" { Join::Any } else { Join::All };
        let place = at(place, &member.key);
        let nodes = walk.elements(&member.node, &place, "a list of groups and reviewers");
        let parts = nodes.iter().enumerate().filter_map(|(i, n)| part(walk, n, &nth(&place, i)));
        let parts: Vec<(String, u32)> = parts.collect();
        if member.node.elements().is_some_and(|all| all.is_empty() || all.len() > MAX_PARTS) {
            walk.error(&place, format!("needs one to {MAX_PARTS} groups or reviewers"));
        }
        found.push(AskedPanel { join, parts });
    }
    if found.len() != 1 {
        walk.error(place, "needs one of \"all\" and \"any\"".to_owned());
    }
    found.pop()
}

fn part(walk: &mut Walk, node: &Node<'_>, place: &str) -> Option<(String, u32)> {
    let (mut name, mut quorum, mut names) = (None, 1, 0);
    for member in walk.object(node, place, &["group", "reviewer", "quorum"]) {
        let (node, place) = (&member.node, at(place, &member.key));
        match member.key.as_ref() {
            "group" => {
                names += 1;
                name = walk.name(node, &place, "the name of a group").map(|g| format!("group:{g}"));
            }
            "reviewer" => {
                names += 1;
                name = walk.name(node, &place, "a reviewer's name").map(str::to_owned);
            }
            "quorum" => quorum = walk.count(node, &place, "the approvals needed").unwrap_or(1),
            _ => {}
        }
    }
    if node.is_object() && names != 1 {
        walk.error(place, "needs one of \"group\" and \"reviewer\"".to_owned());
    }
    Some((name?, quorum))
}

/// A condition that is an object by itself.
pub(super) fn whole_condition(walk: &mut Walk, node: &Node<'_>, place: &str) -> Option<Condition> {
    walk.object(node, place, &CONDITION_KEYS);
    condition(walk, node, place)
}

/// A condition among the keys of an object; others are left to the caller.
pub(super) fn condition(walk: &mut Walk, node: &Node<'_>, place: &str) -> Option<Condition> {
    node.members()?;
    let mut reading = Reading::default();
    if let Some(node) = node.get("loose") {
        reading.loose = walk.boolean(node, &at(place, "loose")).unwrap_or(false);
    }
    if let Some(node) = node.get("null") {
        reading.null_is_absent = walk.word(node, &at(place, "null"), &["absent"]).is_some();
    }
    let path = match node.get("path") {
        None => {
            walk.error(
                &at(place, "path"),
                "is missing; write where to look, such as \"args.name\"",
            );
            None
        }
        Some(node) => {
            let place = at(place, "path");
            let text = walk.name(node, &place, "a path such as \"args.name\"");
            text.and_then(|text| Path::read(text).map_err(|m| walk.error(&place, m)).ok())
        }
    };
    let op = match node.get("op") {
        None => {
            walk.error(&at(place, "op"), format!("is missing; write one of {}", OPS.join(", ")));
            None
        }
        Some(node) => walk.word(node, &at(place, "op"), &OPS),
    };
    let test = op.and_then(|op| test(walk, op, node.get("value"), &at(place, "value")));
    Some(Condition { pointer: place.to_owned(), path: path?, test: test?, reading })
}

pub(super) fn test(
    walk: &mut Walk,
    op: &str,
    value: Option<&Node<'_>>,
    place: &str,
) -> Option<Test> {
    let Some(value) = value else {
        if op == "exists" {
            return Some(Test::Exists(true));
        }
        walk.error(place, format!("is missing; write what {op:?} compares with"));
        return None;
    };
    match op {
        "eq" => Some(Test::Eq(Literal::of(value))),
        "neq" => Some(Test::Neq(Literal::of(value))),
        "contains" => Some(Test::Contains(Literal::of(value))),
        "in" => list(walk, value, place).map(Test::In),
        "not_in" => list(walk, value, place).map(Test::NotIn),
        "lt" => number(walk, value, place).map(|digits| Test::Order(Order::Lt, digits)),
        "lte" => number(walk, value, place).map(|digits| Test::Order(Order::Lte, digits)),
        "gt" => number(walk, value, place).map(|digits| Test::Order(Order::Gt, digits)),
        "gte" => number(walk, value, place).map(|digits| Test::Order(Order::Gte, digits)),
        "regex" => {
            let text = walk.string(value, place, "a regular expression")?;
            match RegexBuilder::new(text).size_limit(MAX_REGEX_BYTES).build() {
                Ok(regex) => Some(Test::Regex(regex)),
                Err(error) => {
                    walk.error(place, bad_regex(&error));
                    None
                }
            }
        }
        "exists" => walk.boolean(value, place).map(Test::Exists),
        _ => None,
    }
}

fn list(walk: &mut Walk, value: &Node<'_>, place: &str) -> Option<Vec<Literal>> {
    let elements = walk.elements(value, place, "a list of values");
    if value.elements()?.is_empty() {
        walk.error(place, "is an empty list; write the values to compare with");
    }
    Some(elements.iter().map(Literal::of).collect())
}

fn number(walk: &mut Walk, value: &Node<'_>, place: &str) -> Option<String> {
    let digits = value.as_number().map(str::to_owned);
    if digits.is_none() {
        walk.mismatch(value, place, "a number");
    }
    digits
}

/// What is wrong with a `regex`: the last line of the parser's message, whose other lines draw the
/// place.
fn bad_regex(error: &regex::Error) -> String {
    if let regex::Error::CompiledTooBig(_) = error {
        return format!(
            "is a regular expression of more than {MAX_REGEX_BYTES} bytes compiled; shorten it or its repetitions"
        );
    }
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    let what = last.trim().trim_start_matches("error: ");
    format!("is not a regular expression: {what}; mend it, or escape special characters with \\\\")
}
