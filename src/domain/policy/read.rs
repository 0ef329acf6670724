//! Reads a policy strictly: every key known, every value of its type, every problem in one walk.
//!
//! Keys whose feature this version lacks are errors that say so: a policy that is half obeyed is
//! worse than one that is refused.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::blocks::{self, Kind};
use super::dialect::{self, Dialect};
use super::read_parts::{MAX_NAME, empty, patterns, tool_name, version};
use super::read_rule::{RULE_KEYS, action, risk, rule};
use super::source::{Format, Source};
use super::walk::{Walk, at, nth};
use super::{Match, Policy, Problem, cases, lint, read_dialects, read_limits};
use crate::domain::call::hex;
use crate::domain::json::{self, Node};
use crate::domain::risk::RiskClass;

const TOP_KEYS: [&str; 13] = [
    "version",
    "description",
    "default",
    "hide",
    "tools",
    "rules",
    "all_tools",
    "match",
    "resources",
    "prompts",
    "methods",
    "approvals",
    "tests",
];
const MATCH_KEYS: [&str; 15] = [
    "action",
    "reason",
    "rate_limit",
    "limits",
    "state",
    "sensitive",
    "redact",
    "masked_ok",
    "approval",
    "severity",
    "tools",
    "risk",
    "agents",
    "require",
    "deny_if",
];
const NOT_AVAILABLE: &str = "not available in this version; remove it";

/// Reads a policy from text. With it come its warnings.
///
/// # Errors
/// All problems, warnings among them, where the text can't be read or at least one is an error.
pub(super) fn policy(text: &str, format: Format) -> Result<(Policy, Vec<Problem>), Vec<Problem>> {
    let source = Arc::new(Source::read(text, format).map_err(|problem| vec![problem])?);
    let mut walk = Walk::default();
    let Ok(root) = json::parse(source.json()) else { return Err(Vec::new()) };
    let mut policy = top(&mut walk, &root, &source);
    policy.fingerprint = hex(&Sha256::digest(text.as_bytes()));
    read_limits::agree(&policy, &mut walk);
    lint::warn(&policy, &mut walk);
    source.locate(&mut walk.problems);
    if walk.problems.iter().any(|p| !p.warning) {
        return Err(walk.problems);
    }
    Ok((policy, walk.problems))
}

fn top(walk: &mut Walk, root: &Node<'_>, source: &Arc<Source>) -> Policy {
    match dialect::recognise(walk, root) {
        Dialect::Own => own(walk, root, source),
        Dialect::Hosted => read_dialects::hosted(walk, root, source),
        Dialect::Intercept => read_dialects::intercept(walk, root, source),
    }
}

fn own(walk: &mut Walk, root: &Node<'_>, source: &Arc<Source>) -> Policy {
    let mut policy = empty(source, Dialect::Own);
    let mut limits = Vec::new();
    for member in walk.object(root, "", &TOP_KEYS) {
        let (node, place) = (&member.node, at("", &member.key));
        match member.key.as_ref() {
            "version" => version(walk, node, &place),
            "description" => {
                policy.description = walk.string(node, &place, "a text").map(str::to_owned);
            }
            "default" => {
                if let Some(action) = action(walk, node, &place) {
                    policy.default.action = action;
                }
            }
            "hide" => policy.hide = patterns(walk, node, &place, "the name of a tool", true),
            "tools" => tools(walk, node, &place, &mut policy),
            "rules" => rules(walk, node, &place, &mut policy),
            "all_tools" => limits = read_dialects::all_tools(walk, node, &place, &mut policy),
            "match" => {
                for (i, node) in walk.elements(node, &place, "a list of rules").iter().enumerate() {
                    policy.matches.push(match_entry(walk, node, nth(&place, i)));
                }
            }
            "resources" => {
                policy.resources = Some(blocks::block(walk, Kind::Resources, node, &place));
            }
            "prompts" => policy.prompts = Some(blocks::block(walk, Kind::Prompts, node, &place)),
            "methods" => policy.methods = methods(walk, node, &place),
            "tests" => policy.cases = cases::cases(walk, node, &place),
            "approvals" => walk.error(&place, NOT_AVAILABLE),
            _ => {}
        }
    }
    policy.limit_all(&limits);
    if root.is_object() && root.get("version").is_none() {
        walk.warn("/version", "is missing; write \"version\": \"1\"");
    }
    policy
}

fn tools(walk: &mut Walk, node: &Node<'_>, place: &str, policy: &mut Policy) {
    for member in walk.members(node, place) {
        let (name, place) = (member.key.as_ref(), at(place, &member.key));
        named(walk, name, &place);
        let rule = rule(walk, &member.node, place.clone(), &RULE_KEYS);
        policy.add_tool(walk, name, rule, &place);
    }
}

fn named(walk: &mut Walk, name: &str, place: &str) {
    tool_name(walk, name, place, || format!("write a \"match\" entry with \"tools\": [{name:?}]"));
}

/// The flat form as a list, each rule with the `tool` it is for.
fn rules(walk: &mut Walk, node: &Node<'_>, place: &str, policy: &mut Policy) {
    let mut known = RULE_KEYS.to_vec();
    known.push("tool");
    let what = "a list of rules, each with its \"tool\"";
    for (i, node) in walk.elements(node, place, what).iter().enumerate() {
        let place = nth(place, i);
        let rule = rule(walk, node, place.clone(), &known);
        let at_tool = at(&place, "tool");
        let Some(tool) = node.get("tool") else {
            if node.is_object() {
                walk.error(&at_tool, "is missing; write the name of the tool");
            }
            continue;
        };
        if let Some(name) = walk.name(tool, &at_tool, "the name of a tool") {
            named(walk, name, &at_tool);
            policy.add_tool(walk, name, rule, &at_tool);
        }
    }
}

/// Exact names; a glob would never fit, for no method is meant by half its name.
fn methods(walk: &mut Walk, node: &Node<'_>, place: &str) -> Vec<String> {
    let names = walk.names(node, place, "the exact name of a method", true);
    for (i, element) in node.elements().unwrap_or_default().iter().enumerate() {
        let Some(name) = element.as_str() else { continue };
        if name.len() > MAX_NAME {
            walk.error(&nth(place, i), format!("a name of more than {MAX_NAME} bytes; shorten it"));
        } else if name.contains('*') {
            walk.error(
                &nth(place, i),
                format!("{name:?} would never fit: names here are exact; write each method"),
            );
        }
    }
    names
}

fn match_entry(walk: &mut Walk, node: &Node<'_>, place: String) -> Match {
    let rule = rule(walk, node, place, &MATCH_KEYS);
    let mut entry = Match { rule, tools: None, agents: None, risk: None };
    for member in node.members().unwrap_or_default() {
        let (node, place) = (&member.node, at(&entry.rule.pointer, &member.key));
        match member.key.as_ref() {
            "tools" => {
                entry.tools = Some(patterns(walk, node, &place, "a glob over tool names", false));
            }
            "agents" => {
                entry.agents = Some(patterns(walk, node, &place, "the name of an agent", false));
            }
            "risk" => entry.risk = Some(risks(walk, node, &place)),
            _ => {}
        }
    }
    entry
}

/// The classes that a `match` is about.
fn risks(walk: &mut Walk, node: &Node<'_>, place: &str) -> Vec<RiskClass> {
    if node.as_str().is_some() {
        walk.error(
            place,
            "is a text, which gives one tool its risk; a \"match\" lists the classes that it is \
             about: write [\"destructive\"]",
        );
        return Vec::new();
    }
    let _ = walk.names(node, place, "a risk class such as \"destructive\"", false);
    let mut risks = Vec::new();
    for (i, element) in node.elements().unwrap_or_default().iter().enumerate() {
        if element.as_str().is_some_and(|word| !word.trim().is_empty()) {
            risks.extend(risk(walk, element, &nth(place, i)));
        }
    }
    risks
}
