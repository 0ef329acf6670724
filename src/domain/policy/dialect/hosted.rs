//! PolicyLayer's hosted form: `{}` allows a tool, `require`, `deny_if` and `limits` restrict it, and
//! `all_tools` restricts every tool that is not hidden or denied.
//!
//! Conditions are read as in Placet's own form, but for `null`, which counts as absent. `require` is no
//! approval here but a precondition.

use crate::domain::json::Node;
use crate::domain::policy::checks::{self, Check, CheckKind};
use crate::domain::policy::limit::{Amount, Limit, Period, Scope, Window};
use crate::domain::policy::read_limits::most;
use crate::domain::policy::ruling::Denial;
use crate::domain::policy::walk::{Walk, at, nth};
use crate::domain::policy::{Action, Rule};

pub(in crate::domain::policy) const TOP_KEYS: [&str; 6] =
    ["version", "description", "default", "hide", "all_tools", "tools"];

/// Most limits of a tool, or of all tools.
const MAX_LIMITS: usize = 16;

/// Reads the entry of a tool.
pub(in crate::domain::policy) fn tool(walk: &mut Walk, node: &Node<'_>, pointer: String) -> Rule {
    let mut rule = Rule::new(pointer, Action::Allow);
    let place = rule.pointer.clone();
    for member in walk.object(node, &place, &["require", "deny_if", "limits"]) {
        let (node, place) = (&member.node, at(&place, &member.key));
        match member.key.as_ref() {
            "require" => rule.checks.extend(checks(walk, node, &place, CheckKind::Require)),
            "deny_if" => rule.checks.extend(checks(walk, node, &place, CheckKind::DenyIf)),
            "limits" => rule.limits.extend(limits(walk, node, &place)),
            _ => {}
        }
    }
    // An entry that lets nothing through is told as such wherever the rules of tools are shown.
    if let Some(always) = rule.checks.iter().find(|check| check.always_denies()) {
        let Denial { rule, name, reason } = rule.denial(Some(always));
        return Rule { name, reason, ..Rule::new(rule, Action::Deny) };
    }
    rule
}

/// Reads preconditions in which `null` counts as absent.
pub(in crate::domain::policy) fn checks(
    walk: &mut Walk,
    node: &Node<'_>,
    place: &str,
    kind: CheckKind,
) -> Vec<Check> {
    let mut checks = checks::checks(walk, node, place, kind);
    for condition in checks.iter_mut().flat_map(|check| &mut check.conditions) {
        condition.reading.null_is_absent = true;
    }
    checks
}

/// Reads `[{"counter": "pace", "window": "minute", "max": 40, "scope": "grant"}]`.
pub(in crate::domain::policy) fn limits(
    walk: &mut Walk,
    node: &Node<'_>,
    place: &str,
) -> Vec<Limit> {
    let nodes = walk.elements(node, place, "a list of limits");
    if nodes.len() > MAX_LIMITS {
        walk.error(place, format!("are more than {MAX_LIMITS} limits; remove some"));
        return Vec::new();
    }
    nodes.iter().enumerate().filter_map(|(i, node)| limit(walk, node, nth(place, i))).collect()
}

fn limit(walk: &mut Walk, node: &Node<'_>, pointer: String) -> Option<Limit> {
    let (mut counter, mut window, mut max) = (None, None, None);
    let mut on_deny = None;
    for member in walk.object(node, &pointer, &["counter", "window", "max", "scope", "on_deny"]) {
        let (node, place) = (&member.node, at(&pointer, &member.key));
        match member.key.as_ref() {
            "counter" => {
                counter = walk.name(node, &place, "the counter's name").map(str::to_owned);
            }
            "window" => window = period(walk, node, &place),
            "max" => max = most(walk, node, &place),
            "scope" => {
                let _ = walk.word(node, &place, &["grant"]);
            }
            "on_deny" => {
                on_deny = walk.name(node, &place, "what the agent is told").map(str::to_owned);
            }
            _ => {}
        }
    }
    if node.is_object() {
        for (key, what) in [
            ("counter", "the counter's name"),
            ("window", "\"minute\", \"hour\" or \"day\""),
            ("max", "the most calls"),
        ] {
            if node.get(key).is_none() {
                walk.error(&at(&pointer, key), format!("is missing; write {what}"));
            }
        }
    }
    Some(Limit {
        pointer,
        counter: Some(counter?),
        amount: Amount::Fixed(1),
        max: max?,
        window: Window::Calendar(window?),
        // A grant is one agent's right to use one server.
        scope: Scope::Agent,
        on_deny,
    })
}

/// A part of the calendar that PolicyLayer counts by.
pub(super) fn period(walk: &mut Walk, node: &Node<'_>, place: &str) -> Option<Period> {
    Some(match walk.word(node, place, &["minute", "hour", "day"])? {
        "minute" => Period::Minute,
        "hour" => Period::Hour,
        _ => Period::Day,
    })
}
