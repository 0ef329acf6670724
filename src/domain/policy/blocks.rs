//! Reads the blocks `resources` and `prompts`, and warns of what in them can never decide.

use super::governed::{Block, Key};
use super::read_rule::{RULE_KEYS, action, rule};
use super::walk::{Walk, at, nth};
use super::{Action, Rule};
use crate::domain::json::Node;

/// What differs between the two blocks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Resources,
    Prompts,
}

impl Kind {
    fn key(self, text: &str) -> Result<Key, String> {
        match self {
            Self::Resources => Key::uri(text),
            Self::Prompts => Key::name(text),
        }
    }

    const fn what(self) -> &'static str {
        match self {
            Self::Resources => "a URI or a pattern such as \"file:///secret/*\"",
            Self::Prompts => "the name of a prompt or a glob such as \"internal_*\"",
        }
    }
}

/// Reads a block.
pub(super) fn block(walk: &mut Walk, kind: Kind, node: &Node<'_>, place: &str) -> Block {
    let mut block = Block::new(place);
    for member in walk.object(node, place, &["default", "hide", "rules"]) {
        let (node, place) = (&member.node, at(place, &member.key));
        match member.key.as_ref() {
            "default" => {
                if let Some(action) = action(walk, node, &place) {
                    block.default.action = action;
                }
            }
            "hide" => {
                let _ = walk.names(node, &place, kind.what(), true);
                for (i, element) in node.elements().unwrap_or_default().iter().enumerate() {
                    if let Some(text) = element.as_str().filter(|text| !text.trim().is_empty()) {
                        block.hide.extend(key(walk, kind, text, &nth(&place, i)));
                    }
                }
            }
            "rules" => {
                for member in walk.members(node, &place) {
                    let (text, place) = (member.key.as_ref(), at(&place, &member.key));
                    let key = if text.trim().is_empty() {
                        walk.error(&place, format!("is empty; write {}", kind.what()));
                        None
                    } else {
                        key(walk, kind, text, &place)
                    };
                    let rule = rule(walk, &member.node, place, &RULE_KEYS);
                    block.rules.extend(key.map(|key| (key, rule)));
                }
            }
            _ => {}
        }
    }
    warn(walk, kind, &block, place);
    block
}

fn key(walk: &mut Walk, kind: Kind, text: &str, place: &str) -> Option<Key> {
    match kind.key(text) {
        Ok(key) => {
            if matches!(kind, Kind::Resources) && !could_be_a_uri(text) {
                walk.warn(
                    place,
                    format!(
                        "can never fit: {text:?} does not begin with a scheme as every URI does; \
                         write \"file://{text}\" or \"*{text}\""
                    ),
                );
            }
            Some(key)
        }
        Err(message) => {
            walk.error(place, message);
            None
        }
    }
}

/// Whether a URI can begin as this does.
fn could_be_a_uri(text: &str) -> bool {
    let scheme = text.split([':', '*']).next().unwrap_or_default();
    let begins = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    let goes_on = scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    (scheme.len() < text.len()) && goes_on && (begins || text.starts_with('*'))
}

fn warn(walk: &mut Walk, kind: Kind, block: &Block, place: &str) {
    // No warning rests on what could not be read.
    let inside = format!("{place}/");
    if walk
        .problems
        .iter()
        .any(|p| !p.warning && (p.place == place || p.place.starts_with(&inside)))
    {
        return;
    }
    for (i, (key, rule)) in block.rules.iter().enumerate() {
        if let Some((nth, hiding)) = block.hide.iter().enumerate().find(|(_, h)| h.covers(key)) {
            let why = format!(
                "never decides: {place}/hide/{nth} ({:?}) hides it; remove one",
                hiding.text
            );
            walk.warn(&rule.pointer, why);
            continue;
        }
        let others = block.rules.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, r)| r);
        let mut covering = others.filter(|(other, _)| !other.exact && other.covers(key));
        if key.exact {
            // The exact entry wins, which is how one makes an exception; it should be meant.
            if let Some((_, stricter)) = covering.find(|(_, o)| strict(o) > strict(rule)) {
                let why = format!(
                    "loosens {} ({}), which would decide this too; the exact entry wins: make it \
                     as strict if that is not meant",
                    stricter.pointer,
                    stricter.action.as_str()
                );
                walk.warn(&rule.pointer, why);
            }
        } else if let Some((_, stricter)) = covering.find(|(_, o)| always_stricter(o, rule)) {
            let why = format!(
                "is never reached: {} fits whatever this fits, and the strictest pattern decides; \
                 name the exact {} to make an exception, or remove it",
                stricter.pointer,
                match kind {
                    Kind::Resources => "URI",
                    Kind::Prompts => "name",
                }
            );
            walk.warn(&rule.pointer, why);
        }
    }
}

fn strict(rule: &Rule) -> u8 {
    match rule.action {
        Action::Allow => u8::from(rule.rate_limit.is_some() || !rule.checks.is_empty()),
        Action::RequireApproval if rule.may_let_through() => 2,
        Action::RequireApproval => 3,
        Action::Deny => 4,
    }
}

/// Whether one is stricter than the other whatever is asked for.
fn always_stricter(one: &Rule, other: &Rule) -> bool {
    // With conditions it may come out as an allow.
    strict(one) > strict(other) && strict(one) != 2
}
