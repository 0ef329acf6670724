//! Reads a policy that is written in one of PolicyLayer's forms.

use std::sync::Arc;

use super::checks::{CheckKind, checks};
use super::dialect::{Dialect, counters, hosted, intercept};
use super::limit::Limit;
use super::pattern::Pattern;
use super::read_parts::{empty, patterns, tool_name, version};
use super::source::Source;
use super::walk::{Walk, at};
use super::{Action, Policy, read_limits};
use crate::domain::json::Node;

/// Reads the hosted form.
pub(super) fn hosted(walk: &mut Walk, root: &Node<'_>, source: &Arc<Source>) -> Policy {
    let mut policy = empty(source, Dialect::Hosted);
    let mut limits = Vec::new();
    for member in walk.object(root, "", &hosted::TOP_KEYS) {
        let (node, place) = (&member.node, at("", &member.key));
        match member.key.as_ref() {
            "version" => version(walk, node, &place),
            "description" => {
                policy.description = walk.string(node, &place, "a text").map(str::to_owned);
            }
            "default" => policy.default.action = default(walk, node, &place),
            "hide" => policy.hide = patterns(walk, node, &place, "the name of a tool", true),
            "all_tools" => limits = all_tools(walk, node, &place, &mut policy),
            "tools" => {
                for member in walk.members(node, &place) {
                    let (name, place) = (member.key.as_ref(), at(&place, &member.key));
                    tool_name(walk, name, &place, || {
                        "write each tool, or \"all_tools\"".to_owned()
                    });
                    let rule = hosted::tool(walk, &member.node, place.clone());
                    policy.add_tool(walk, name, rule, &place);
                }
            }
            _ => {}
        }
    }
    policy.limit_all(&limits);
    for key in ["version", "default"] {
        if root.get(key).is_none() {
            let what = if key == "version" { "\"1\"" } else { "\"deny\" or \"allow\"" };
            walk.error(&at("", key), format!("is missing; write \"{key}\": {what}"));
        }
    }
    policy
}

fn default(walk: &mut Walk, node: &Node<'_>, place: &str) -> Action {
    match walk.word(node, place, &["allow", "deny"]) {
        Some("allow") => Action::Allow,
        _ => Action::Deny,
    }
}

/// Reads what joins the rule of every tool: its preconditions into the policy; its limits are returned.
pub(super) fn all_tools(
    walk: &mut Walk,
    node: &Node<'_>,
    place: &str,
    policy: &mut Policy,
) -> Vec<Limit> {
    let mut limits = Vec::new();
    for member in walk.object(node, place, &["require", "deny_if", "limits"]) {
        let (node, place) = (&member.node, at(place, &member.key));
        let kind = match member.key.as_ref() {
            "require" => CheckKind::Require,
            "deny_if" => CheckKind::DenyIf,
            "limits" => {
                limits = match policy.dialect {
                    Dialect::Hosted => hosted::limits(walk, node, &place),
                    Dialect::Own | Dialect::Intercept => read_limits::limits(walk, node, &place),
                };
                continue;
            }
            _ => continue,
        };
        policy.all_tools.extend(match policy.dialect {
            Dialect::Hosted => hosted::checks(walk, node, &place, kind),
            Dialect::Own | Dialect::Intercept => checks(walk, node, &place, kind),
        });
    }
    limits
}

/// Reads Intercept's form.
pub(super) fn intercept(walk: &mut Walk, root: &Node<'_>, source: &Arc<Source>) -> Policy {
    let mut policy = empty(source, Dialect::Intercept);
    policy.default.action = Action::Allow;
    for member in walk.object(root, "", &intercept::TOP_KEYS) {
        let (node, place) = (&member.node, at("", &member.key));
        match member.key.as_ref() {
            // YAML reads a bare 1 as a number, and Intercept that as the text.
            "version" if node.as_number() == Some("1") => {}
            "version" => version(walk, node, &place),
            "description" => {
                policy.description = walk.string(node, &place, "a text").map(str::to_owned);
            }
            "default" => policy.default.action = default(walk, node, &place),
            "hide" => {
                for name in intercept::hide(walk, node, &place) {
                    policy.hide.extend(Pattern::read(&name).map_err(|why| walk.error(&place, why)));
                }
            }
            "approvals" => walk.warn(
                &place,
                "has no effect: Placet tells reviewers by the [[notifiers]] of its configuration; \
                 remove it",
            ),
            _ => {}
        }
    }
    if let Some(tools) = root.get("tools") {
        tools_of(walk, tools, &mut policy);
    }
    if root.get("version").is_none() {
        walk.error("/version", "is missing; write version: \"1\"");
    }
    if root.get("default").is_none() {
        walk.warn(
            "/default",
            "is missing: every tool that is not listed is allowed, as in Intercept; write default: \
             deny, or default: allow if that is meant",
        );
    }
    policy
}

fn tools_of(walk: &mut Walk, node: &Node<'_>, policy: &mut Policy) {
    let counted = counters::Counters::of(node);
    let members = walk.members(node, "/tools");
    let mut all = intercept::Rules::default();
    for member in members.iter().filter(|member| member.key == counters::ALL) {
        let place = at("/tools", &member.key);
        all = intercept::entry(walk, &member.node, &place, counters::ALL, &counted);
    }
    for member in members.iter().filter(|member| member.key != counters::ALL) {
        let (name, place) = (member.key.as_ref(), at("/tools", &member.key));
        tool_name(walk, name, &place, || "write each tool, or \"*\" for all".to_owned());
        let found = intercept::entry(walk, &member.node, &place, name, &counted);
        policy.add_tool(walk, name, found.joined(place.clone(), &all), &place);
    }
    if policy.default.action == Action::Allow {
        policy.default = intercept::Rules::default().joined("/default".to_owned(), &all);
    }
    policy.all_tools = all.checks;
}
