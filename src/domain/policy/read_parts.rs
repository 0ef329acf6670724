//! What every form of a policy has: its version, names of tools, patterns over them.

use std::collections::HashMap;
use std::sync::Arc;

use super::dialect::Dialect;
use super::limit::Limit;
use super::pattern::Pattern;
use super::source::Source;
use super::walk::{Walk, nth};
use super::{Action, Entry, Policy, Rule};
use crate::domain::json::Node;

/// Most bytes of a tool's name in `tools`.
pub const MAX_NAME: usize = 256;

/// A policy that says nothing yet: everything is denied.
pub(super) fn empty(source: &Arc<Source>, dialect: Dialect) -> Policy {
    Policy {
        dialect,
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
        cases: Vec::new(),
    }
}

pub(super) fn version(walk: &mut Walk, node: &Node<'_>, place: &str) {
    if let Some(version) = walk.string(node, place, "\"1\"")
        && version != "1"
    {
        walk.error(place, format!("version {version:?} is not known; write \"1\""));
    }
}

/// Notes what is wrong with the name of a tool; `mend` is for one with a wildcard.
pub(super) fn tool_name(walk: &mut Walk, name: &str, place: &str, mend: impl FnOnce() -> String) {
    if name.trim().is_empty() {
        walk.error(place, "a tool's name is empty; write the name of a tool");
    } else if name.len() > MAX_NAME {
        walk.error(place, format!("a tool's name of more than {MAX_NAME} bytes; shorten it"));
    } else if name.contains(['*', '?']) {
        let mend = mend();
        walk.error(place, format!("{name:?} would never fit: names here are exact; {mend}"));
    }
}

impl Policy {
    /// Adds the entry of a tool. One that it has already is noted.
    pub(super) fn add_tool(&mut self, walk: &mut Walk, name: &str, rule: Rule, place: &str) {
        if let Some(&other) = self.by_name.get(name) {
            let other = &self.tools[other].rule.pointer;
            walk.error(place, format!("{name:?} has a rule already, at {other}; keep one of them"));
            return;
        }
        self.by_name.insert(name.to_owned(), self.tools.len());
        self.tools.push(Entry { name: name.to_owned(), rule });
    }

    /// Adds limits to the rule of every tool that is not denied.
    pub(super) fn limit_all(&mut self, limits: &[Limit]) {
        let tools = self.tools.iter_mut().map(|entry| &mut entry.rule);
        let rules = tools.chain(self.matches.iter_mut().map(|m| &mut m.rule));
        for rule in rules.chain([&mut self.default]).filter(|rule| rule.action != Action::Deny) {
            rule.limits.extend(limits.iter().cloned());
            rule.spread_to_approvals();
        }
    }
}

pub(super) fn patterns(
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
