//! Any form of a policy, written in Placet's own, by which the same is decided.

use std::collections::HashSet;

use super::checks::{Check, CheckKind};
use super::condition::{Condition, Test};
use super::dialect::Dialect;
use super::limit::{Amount, Limit, Window};
use super::written::{Doc, Noted};
use super::{Action, Policy, Rule};
use crate::domain::duration::shown;
use crate::domain::json;

/// A policy in Placet's own form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// As YAML, with comments that say where each part comes from.
    pub yaml: String,
    /// As JSON.
    pub json: String,
}

/// Members of an object.
type Members = Vec<(String, Noted)>;

/// Writes a policy in Placet's own form. `file` is what its file is called in the comments.
pub fn convert(policy: &Policy, file: &str) -> Converted {
    let mut head = vec![format!("In Placet's own form; {} in {file}.", policy.dialect().as_str())];
    let doc = match policy.dialect() {
        Dialect::Own => own(policy),
        Dialect::Hosted => lowered(policy),
        Dialect::Intercept => {
            head.push(
                "loose: 5 and \"5\" are equal. null: absent: null counts as nothing.".to_owned(),
            );
            lowered(policy)
        }
    };
    Converted { yaml: doc.as_yaml(&head), json: doc.as_json() }
}

fn own(policy: &Policy) -> Doc {
    json::parse(policy.as_json()).map_or_else(|_| Doc::Map(Vec::new()), |root| Doc::of(&root))
}

fn put(members: &mut Members, key: &str, value: impl Into<Noted>) {
    members.push((key.to_owned(), value.into()));
}

fn put_text(members: &mut Members, key: &str, text: Option<&String>) {
    if let Some(text) = text {
        put(members, key, Doc::text(text));
    }
}

/// Whether a part stands for all tools: of such a limit each rule has a copy.
fn is_for_all(pointer: &str) -> bool {
    pointer.starts_with("/all_tools/") || pointer.starts_with("/tools/*/")
}

fn lowered(policy: &Policy) -> Doc {
    let mut top = Vec::new();
    put(&mut top, "version", Doc::text("1"));
    put_text(&mut top, "description", policy.description.as_ref());
    let default = &policy.default;
    // A default is one word: what says more of all other tools is a match that fits them.
    // Without the rule of any tool, it is also what shows the form.
    let is_word = default.approvals.is_empty()
        && default.reason.is_none()
        && (!policy.tools.is_empty() || default.action == Action::Deny);
    let word = if is_word { default.action } else { Action::Deny };
    let is_unwritten =
        json::parse(policy.as_json()).is_ok_and(|root| root.get("default").is_none());
    let note = is_unwritten
        .then(|| "No default was written: Intercept allows what is not listed.".to_owned());
    put(&mut top, "default", Noted { note, doc: Doc::text(word.as_str()) });
    if !policy.hide.is_empty() {
        let names = policy.hide.iter().map(|pattern| Doc::text(&pattern.text).into()).collect();
        put(&mut top, "hide", Doc::Line(Box::new(Doc::List(names))));
    }
    let mut all = Vec::new();
    put_checks(&mut all, &policy.all_tools);
    let mut seen = HashSet::new();
    let limits = policy.rules().flat_map(|rule| &rule.limits);
    let limits = limits.filter(|l| is_for_all(&l.pointer) && seen.insert(l.pointer.as_str()));
    put_limits(&mut all, limits);
    let shows_form = !policy.tools.is_empty() || !is_word;
    if shows_form && !all.is_empty() {
        put(&mut top, "all_tools", Doc::Map(all));
    }
    let tools: Members = policy
        .tools
        .iter()
        .map(|entry| (entry.name.clone(), Noted::from(Doc::Map(rule(&entry.rule)))))
        .collect();
    if !tools.is_empty() {
        put(&mut top, "tools", Doc::Map(tools));
    }
    if !is_word {
        let mut others = Vec::new();
        put(&mut others, "tools", Doc::Line(Box::new(Doc::List(vec![Doc::text("*").into()]))));
        others.extend(rule(default));
        let note = Some("Tools that are not listed.".to_owned());
        put(&mut top, "match", Doc::List(vec![Noted { note, doc: Doc::Map(others) }]));
    }
    Doc::Map(top)
}

fn rule(rule: &Rule) -> Members {
    let mut members = Vec::new();
    let name = rule.name.as_ref().map(|name| format!("{name}: {}", rule.pointer));
    put(&mut members, "action", Noted { note: name, doc: Doc::text(rule.action.as_str()) });
    let single = match rule.approvals.as_slice() {
        [single] => Some(single),
        _ => None,
    };
    put_text(&mut members, "reason", single.unwrap_or(rule).reason.as_ref());
    put_checks(&mut members, &rule.checks);
    put_limits(&mut members, rule.limits.iter().filter(|limit| !is_for_all(&limit.pointer)));
    if let Some(single) = single {
        let terms = approval(single);
        if !terms.is_empty() {
            put(&mut members, "approval", noted(single.name.as_ref(), &single.pointer, terms));
        }
    } else if !rule.approvals.is_empty() {
        let each = rule.approvals.iter().map(|asked| {
            let mut terms = Vec::new();
            put_text(&mut terms, "name", asked.name.as_ref());
            put_text(&mut terms, "reason", asked.reason.as_ref());
            terms.extend(approval(asked));
            noted(None, &asked.pointer, terms)
        });
        put(&mut members, "approval", Doc::List(each.collect()));
    }
    members
}

/// With where it comes from.
fn noted(name: Option<&String>, pointer: &str, members: Members) -> Noted {
    let note = name.map_or_else(|| pointer.to_owned(), |name| format!("{name}: {pointer}"));
    Noted { note: Some(note), doc: Doc::Map(members) }
}

fn approval(rule: &Rule) -> Members {
    let mut terms = Vec::new();
    if !rule.approval.when.is_empty() {
        put(&mut terms, "when", conditions(&rule.approval.when));
    }
    if let Some(timeout) = rule.approval.timeout {
        put(&mut terms, "timeout", Doc::text(shown(timeout)));
    }
    terms
}

fn put_checks(members: &mut Members, checks: &[Check]) {
    // The first that denies is the one that is told, so their order stays.
    let mut kinds: Vec<CheckKind> = Vec::new();
    for check in checks {
        if !kinds.contains(&check.kind) {
            kinds.push(check.kind);
        }
    }
    for kind in kinds {
        let each = checks.iter().filter(|check| check.kind == kind).map(|check| {
            let mut members = Vec::new();
            put_text(&mut members, "name", check.name.as_ref());
            put(&mut members, "conditions", conditions(&check.conditions));
            put_text(&mut members, "on_deny", check.on_deny.as_ref());
            noted(None, &check.pointer, members)
        });
        put(members, kind.as_str(), Doc::List(each.collect()));
    }
}

fn conditions(conditions: &[Condition]) -> Doc {
    Doc::List(conditions.iter().map(|condition| condition_line(condition).into()).collect())
}

fn condition_line(condition: &Condition) -> Doc {
    let mut members = Vec::new();
    put(&mut members, "path", Doc::text(&condition.path.text));
    put(&mut members, "op", Doc::text(condition.test.word()));
    put(&mut members, "value", Doc::Raw(value(&condition.test)));
    if condition.reading.loose {
        put(&mut members, "loose", Doc::Raw("true".to_owned()));
    }
    if condition.reading.null_is_absent {
        put(&mut members, "null", Doc::text("absent"));
    }
    Doc::Line(Box::new(Doc::Map(members)))
}

/// The value of a condition as JSON.
fn value(test: &Test) -> String {
    match test {
        Test::Eq(value) | Test::Neq(value) | Test::Contains(value) => value.text.clone(),
        Test::In(values) | Test::NotIn(values) => {
            json::array(values.iter().map(|value| value.text.as_str()))
        }
        Test::Order(_, digits) => digits.clone(),
        Test::Regex(regex) => json::quote(regex.as_str()),
        Test::Exists(wanted) => wanted.to_string(),
    }
}

fn put_limits<'l>(members: &mut Members, limits: impl Iterator<Item = &'l Limit>) {
    let each: Vec<Noted> =
        limits.map(|limit| noted(None, &limit.pointer, limit_members(limit))).collect();
    if !each.is_empty() {
        put(members, "limits", Doc::List(each));
    }
}

fn limit_members(limit: &Limit) -> Members {
    let mut members = Vec::new();
    match &limit.amount {
        Amount::Fixed(1) => {}
        Amount::Fixed(n) => put(&mut members, "increment", Doc::Raw(n.to_string())),
        Amount::SumOf(path) => put(&mut members, "sum_of", Doc::text(&path.text)),
        Amount::CountOf(path) => put(&mut members, "count_of", Doc::text(&path.text)),
    }
    put(&mut members, "max", Doc::Raw(limit.max.clone()));
    put(
        &mut members,
        "per",
        Doc::text(match limit.window {
            Window::Sliding(length) => shown(length),
            Window::Calendar(period) => period.as_str().to_owned(),
            Window::Call => "call".to_owned(),
        }),
    );
    put(&mut members, "scope", Doc::text(limit.scope.as_str()));
    put_text(&mut members, "counter", limit.counter.as_ref());
    put_text(&mut members, "on_deny", limit.on_deny.as_ref());
    members
}
