//! Reads one rule: what it does, how often, and who is asked.

use super::checks::{self, CheckKind};
use super::pattern::{Pattern, is_glob};
use super::read_condition::whole_condition;
use super::read_limits::{limits, state};
use super::walk::{Walk, at, nth};
use super::{Action, ApprovalTerms, AskedPanel, GrantLimits, RateLimit, Rule};
use crate::domain::approval::{Assurance, Join, Unattended};
use crate::domain::json::Node;
use crate::domain::risk::{RiskClass, Severity};

pub(super) const RULE_KEYS: [&str; 13] = [
    "action",
    "reason",
    "rate_limit",
    "limits",
    "state",
    "sensitive",
    "redact",
    "masked_ok",
    "approval",
    "risk",
    "severity",
    "require",
    "deny_if",
];
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
            "limits" => rule.limits.extend(limits(walk, node, &place)),
            "state" => rule.limits.extend(state(walk, node, &place)),
            "sensitive" => rule.sensitive = walk.boolean(node, &place).unwrap_or(false),
            "redact" => rule.redact = redact(walk, node, &place),
            "masked_ok" => rule.masked_ok = walk.boolean(node, &place).unwrap_or(false),
            "approval" if node.elements().is_some() => {
                rule.approvals = approvals(walk, node, &place);
            }
            "approval" => rule.approval = approval(walk, node, &place, &APPROVAL_KEYS),
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
        for key in ["rate_limit", "limits", "state", "require", "deny_if"] {
            if action == Action::Deny && node.get(key).is_some() {
                walk.warn(&at(&place, key), "has no effect where every call is denied; remove it");
            }
        }
    }
    rule.spread_to_approvals();
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

/// Several approvals: a rule for each.
fn approvals(walk: &mut Walk, node: &Node<'_>, place: &str) -> Vec<Rule> {
    let nodes = walk.elements(node, place, "a list of approvals");
    if nodes.is_empty() || nodes.len() > MAX_APPROVALS {
        walk.error(place, format!("needs one to {MAX_APPROVALS} approvals"));
    }
    let mut known = APPROVAL_KEYS.to_vec();
    known.extend(["name", "reason"]);
    let mut rules = Vec::new();
    for (i, node) in nodes.iter().enumerate().take(MAX_APPROVALS) {
        let mut rule = Rule::new(nth(place, i), Action::RequireApproval);
        rule.approval = approval(walk, node, &rule.pointer, &known);
        for (key, what, to) in [
            ("name", "a name", &mut rule.name),
            ("reason", "why, for the agent and the reviewers", &mut rule.reason),
        ] {
            let place = at(&rule.pointer, key);
            *to = node.get(key).and_then(|n| walk.name(n, &place, what)).map(str::to_owned);
        }
        rules.push(rule);
    }
    let always = |rule: &Rule| rule.approval.when.is_empty();
    if let Some(first) = rules.iter().position(always).filter(|first| first + 1 < rules.len()) {
        let place = nth(place, first + 1);
        let why = "never asks: the one before it has no \"when\" and asks about every call";
        walk.warn(&place, why);
    }
    rules
}

fn approval(walk: &mut Walk, node: &Node<'_>, place: &str, known: &[&str]) -> ApprovalTerms {
    let mut terms = ApprovalTerms::default();
    for member in walk.object(node, place, known) {
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

/// Most approvals of one rule.
pub const MAX_APPROVALS: usize = 16;

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
