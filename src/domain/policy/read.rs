//! Reads a policy strictly: every key known, every value of its type, every problem in one walk.
//!
//! Keys whose feature this version lacks are errors that say so: a policy that is half obeyed is
//! worse than one that is refused.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::blocks::{self, Kind};
use super::checks::{self, Check, CheckKind};
use super::pattern::Pattern;
use super::read_rule::{RULE_KEYS, action, risk, rule};
use super::source::{Format, Source};
use super::walk::{Walk, at, nth};
use super::{Action, Entry, Match, Policy, Problem, Rule, lint};
use crate::domain::call::hex;
use crate::domain::json::{self, Node};
use crate::domain::risk::RiskClass;

/// Most bytes of a tool's name in `tools`.
pub const MAX_NAME: usize = 256;

const TOP_KEYS: [&str; 12] = [
    "version",
    "description",
    "default",
    "hide",
    "tools",
    "all_tools",
    "match",
    "resources",
    "prompts",
    "methods",
    "approvals",
    "tests",
];
const MATCH_KEYS: [&str; 13] = [
    "action",
    "reason",
    "rate_limit",
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
    lint::warn(&policy, &mut walk);
    source.locate(&mut walk.problems);
    if walk.problems.iter().any(|p| !p.warning) {
        return Err(walk.problems);
    }
    Ok((policy, walk.problems))
}

fn top(walk: &mut Walk, root: &Node<'_>, source: &Arc<Source>) -> Policy {
    let mut policy = Policy {
        description: None,
        fingerprint: String::new(),
        source: Arc::clone(source),
        hide: Vec::new(),
        tools: Vec::new(),
        by_name: HashMap::new(),
        matches: Vec::new(),
        default: Rule::new("/default".to_owned(), Action::Deny),
        resources: None,
        prompts: None,
        methods: Vec::new(),
        all_tools: Vec::new(),
    };
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
            "all_tools" => policy.all_tools = all_tools(walk, node, &place),
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
            "approvals" | "tests" => walk.error(&place, NOT_AVAILABLE),
            _ => {}
        }
    }
    if root.is_object() && root.get("version").is_none() {
        walk.warn("/version", "is missing; write \"version\": \"1\"");
    }
    policy
}

fn version(walk: &mut Walk, node: &Node<'_>, place: &str) {
    if let Some(version) = walk.string(node, place, "\"1\"")
        && version != "1"
    {
        walk.error(place, format!("version {version:?} is not known; write \"1\""));
    }
}

fn tools(walk: &mut Walk, node: &Node<'_>, place: &str, policy: &mut Policy) {
    for member in walk.members(node, place) {
        let (name, place) = (member.key.as_ref(), at(place, &member.key));
        if name.trim().is_empty() {
            walk.error(&place, "a tool's name is empty; write the name of a tool");
        } else if name.len() > MAX_NAME {
            walk.error(&place, format!("a tool's name of more than {MAX_NAME} bytes; shorten it"));
        } else if name.contains(['*', '?']) {
            walk.error(
                &place,
                format!(
                    "{name:?} would never fit: names here are exact; \
                     write a \"match\" entry with \"tools\": [{name:?}]"
                ),
            );
        }
        let rule = rule(walk, &member.node, place, &RULE_KEYS);
        policy.by_name.insert(name.to_owned(), policy.tools.len());
        policy.tools.push(Entry { name: name.to_owned(), rule });
    }
}

/// What joins the rule of every tool.
fn all_tools(walk: &mut Walk, node: &Node<'_>, place: &str) -> Vec<Check> {
    let mut found = Vec::new();
    for member in walk.object(node, place, &["require", "deny_if"]) {
        let kind = match member.key.as_ref() {
            "require" => CheckKind::Require,
            "deny_if" => CheckKind::DenyIf,
            _ => continue,
        };
        found.extend(checks::checks(walk, &member.node, &at(place, &member.key), kind));
    }
    found
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

fn patterns(
    walk: &mut Walk,
    node: &Node<'_>,
    place: &str,
    what: &str,
    may_be_empty: bool,
) -> Vec<Pattern> {
    let _ = walk.names(node, place, what, may_be_empty);
    let mut patterns = Vec::new();
    for (i, element) in node.elements().unwrap_or_default().iter().enumerate() {
        match element.as_str().filter(|text| !text.trim().is_empty()).map(Pattern::read) {
            Some(Ok(pattern)) => patterns.push(pattern),
            Some(Err(message)) => walk.error(&nth(place, i), message),
            None => {}
        }
    }
    patterns
}
