//! What [`Policy::evaluate`] does, in words, for people who wonder why.

use super::limit::explained;
use super::{Action, CallFacts, Policy, Rule};
use crate::domain::risk;

impl Policy {
    /// The JSON Pointer of the pattern that hides a tool, if one does.
    pub fn hide_pointer(&self, tool: &str) -> Option<String> {
        self.hidden_by(tool).map(|(i, _)| format!("/hide/{i}"))
    }
}

pub(super) fn lines(policy: &Policy, facts: &CallFacts<'_, '_>) -> Vec<String> {
    let mut lines = Vec::new();
    let tool = facts.tool;
    if let Some((i, pattern)) = policy.hidden_by(tool) {
        lines.push(format!("hide: /hide/{i} ({:?}) fits {tool:?}", pattern.text));
        lines.push("verdict: hidden, as if the tool did not exist".to_owned());
        return lines;
    }
    lines.push(format!("hide: nothing fits {tool:?}"));
    let rule = decider(policy, facts, &mut lines);
    let ruling = rule.ruling(&policy.all_tools, facts);
    if rule.action != Action::Deny {
        let checks = rule.checks.iter().chain(&policy.all_tools);
        checks.for_each(|check| check.explain(facts, &mut lines));
    }
    if ruling.check.is_none() {
        conditions(rule, facts, &mut lines);
    }
    let rule = ruling.rule;
    if let Some(limit) = rule.rate_limit {
        lines.push(format!(
            "limit: at most {} calls in {} s, per {}",
            limit.max,
            limit.window.as_secs(),
            if limit.per_agent { "agent" } else { "session" }
        ));
    }
    lines.extend(rule.limits.iter().map(|limit| explained(limit, facts)));
    if let Some(words) = risk::in_words(rule.risk, rule.severity) {
        lines.push(format!("risk: {words}"));
    }
    let denial = rule.denial(ruling.check);
    if let Some(reason) = &denial.reason {
        lines.push(format!("reason: {reason}"));
    }
    lines.push(format!("verdict: {} by {}", ruling.action.as_str(), denial.rule));
    lines
}

/// The rule that decides, found the way [`Policy::rule_for`] finds it, telling.
fn decider<'p>(policy: &'p Policy, facts: &CallFacts<'_, '_>, lines: &mut Vec<String>) -> &'p Rule {
    if let Some(&index) = policy.by_name.get(facts.tool) {
        let rule = &policy.tools[index].rule;
        lines.push(format!("tools: {} is the tool's own entry and decides", rule.pointer));
        return rule;
    }
    lines.push(format!("tools: no entry for {:?}", facts.tool));
    for entry in &policy.matches {
        let pointer = &entry.rule.pointer;
        if let Some(key) = entry.misfit(facts.agent, facts.tool, facts.risk) {
            lines.push(format!("match: {pointer} does not fit: {pointer}/{key}"));
            continue;
        }
        let unknown = match (&entry.risk, facts.risk) {
            (Some(_), None) => " (the tool's risk is not known)".to_owned(),
            (Some(_), Some(risk)) => format!(" (its calls are {})", risk.as_str()),
            (None, _) => String::new(),
        };
        lines.push(format!("match: {pointer} is the first that fits{unknown} and decides"));
        return &entry.rule;
    }
    if policy.matches.is_empty() {
        lines.push("match: no entries".to_owned());
    }
    lines.push(format!("default: {} decides", policy.default.action.as_str()));
    &policy.default
}

fn conditions(rule: &Rule, facts: &CallFacts<'_, '_>, lines: &mut Vec<String>) {
    if rule.action != Action::RequireApproval {
        return;
    }
    for approval in &rule.approvals {
        if asks(approval, facts, lines) {
            return;
        }
    }
    if rule.approvals.is_empty() {
        asks(rule, facts, lines);
    }
}

/// Says whether the call is asked about by these terms.
fn asks(rule: &Rule, facts: &CallFacts<'_, '_>, lines: &mut Vec<String>) -> bool {
    // Of several approvals the one is named that is meant.
    let of = if rule.within.is_some() { format!("{}: ", rule.pointer) } else { String::new() };
    if rule.approval.when.is_empty() {
        lines.push(format!("when: {of}no conditions, so every call is asked about"));
        return true;
    }
    let mut all = true;
    for condition in &rule.approval.when {
        let finding = condition.examine(facts);
        all &= finding.asks();
        lines.push(format!("when: {}: {condition}: {}", condition.pointer, finding.as_str()));
    }
    lines.push(match (all, rule.within.is_some()) {
        (true, _) => format!("when: {of}all match, so the call is asked about"),
        (false, true) => format!("when: {of}not all match"),
        (false, false) => "when: not all match, so the call is allowed".to_owned(),
    });
    all
}
