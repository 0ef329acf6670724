//! Reads what a rule's calls may come to: `limits`, and `state`, another spelling of one of them.

use std::collections::HashMap;
use std::collections::hash_map;

use super::Policy;
use super::limit::{Amount, Limit, Period, Scope, Window};
use super::path::Path;
use super::walk::{Walk, at, nth};
use crate::domain::duration::parse_duration;
use crate::domain::json::{Node, whole_number};
use crate::domain::quantity::Quantity;

/// Most limits of one rule.
pub const MAX_LIMITS: usize = 16;

/// Most bytes of a counter's name.
const MAX_COUNTER: usize = 256;

const LIMIT_KEYS: [&str; 9] =
    ["max", "per", "window", "count_of", "sum_of", "increment", "scope", "counter", "on_deny"];
const AMOUNT_KEYS: [&str; 3] = ["count_of", "sum_of", "increment"];
const STATE_KEYS: [&str; 7] =
    ["counter", "window", "increment", "increment_from", "max", "scope", "on_deny"];
const PERIODS: [Period; 4] = [Period::Minute, Period::Hour, Period::Day, Period::Month];
const SCOPES: [&str; 5] = ["session", "agent", "upstream", "all", "grant"];
const MAX: &str = "the most that may pass: a number from 0";
const PER: &str = "a duration such as \"1h\", which slides, or \"minute\", \"hour\", \"day\" or \
     \"month\" of the calendar (UTC), or \"call\"";

/// The list `limits` of a rule.
pub(super) fn limits(walk: &mut Walk, node: &Node<'_>, place: &str) -> Vec<Limit> {
    let nodes = walk.elements(node, place, "a list of limits");
    if nodes.len() > MAX_LIMITS {
        walk.error(place, format!("are more than {MAX_LIMITS} limits; remove some"));
    }
    if node.elements().is_some_and(<[_]>::is_empty) {
        walk.error(place, "is an empty list; write a limit, or leave the key out");
    }
    nodes.iter().enumerate().filter_map(|(i, node)| limit(walk, node, nth(place, i))).collect()
}

/// What was read of a limit so far.
#[derive(Default)]
struct Read {
    counter: Option<String>,
    amount: Option<Amount>,
    max: Option<String>,
    window: Option<Window>,
    scope: Option<Scope>,
    on_deny: Option<String>,
}

impl Read {
    /// A key that both spellings have.
    fn common(&mut self, walk: &mut Walk, key: &str, node: &Node<'_>, place: &str) {
        match key {
            "max" => self.max = most(walk, node, place),
            "scope" => self.scope = scope(walk, node, place),
            "counter" => self.counter = counter(walk, node, place),
            "on_deny" => {
                let text = walk.name(node, place, "what the agent is told");
                self.on_deny = text.map(str::to_owned);
            }
            _ => {}
        }
    }

    fn limit(self, pointer: String, amount: Amount) -> Option<Limit> {
        Some(Limit {
            pointer,
            counter: self.counter,
            amount,
            max: self.max?,
            window: self.window?,
            scope: self.scope.unwrap_or(Scope::Agent),
            on_deny: self.on_deny,
        })
    }
}

fn limit(walk: &mut Walk, node: &Node<'_>, pointer: String) -> Option<Limit> {
    let mut read = Read::default();
    let mut windows = 0;
    for member in walk.object(node, &pointer, &LIMIT_KEYS) {
        let (node, place) = (&member.node, at(&pointer, &member.key));
        match member.key.as_ref() {
            "per" => {
                windows += 1;
                read.window = per(walk, node, &place);
            }
            "window" => {
                windows += 1;
                read.window = period(walk, node, &place).map(Window::Calendar);
            }
            key if AMOUNT_KEYS.contains(&key) && read.amount.is_some() => {
                walk.error(&place, "stands beside another amount; keep one of the two");
            }
            "count_of" => read.amount = path(walk, node, &place).map(Amount::CountOf),
            "sum_of" => read.amount = path(walk, node, &place).map(Amount::SumOf),
            "increment" => read.amount = increment(walk, node, &place),
            key => read.common(walk, key, node, &place),
        }
    }
    node.members()?;
    if node.get("max").is_none() {
        walk.error(&at(&pointer, "max"), format!("is missing; write {MAX}"));
    }
    if windows > 1 {
        walk.error(&at(&pointer, "window"), "stands beside \"per\"; keep one of the two");
    }
    let counts_calls = node.get("count_of").is_none() && node.get("sum_of").is_none();
    match (windows, counts_calls) {
        (0, true) => walk.error(&at(&pointer, "per"), format!("is missing; write {PER}")),
        (0, false) => read.window = Some(Window::Call),
        (_, true) if read.window == Some(Window::Call) => walk.error(
            &at(&pointer, "per"),
            "one call is always one call; write \"count_of\" or \"sum_of\", or a longer time",
        ),
        _ => {}
    }
    if read.window == Some(Window::Call) {
        for key in ["scope", "counter"] {
            if node.get(key).is_some() {
                walk.warn(&at(&pointer, key), "has no effect on what one call counts; remove it");
            }
        }
    } else if read.scope == Some(Scope::All) && node.get("counter").is_none() {
        walk.warn(
            &at(&pointer, "scope"),
            "counts this upstream's calls alone, for it is by the name of its counter that calls to \
             all upstreams count together; write \"counter\"",
        );
    }
    let amount = match counts_calls && node.get("increment").is_none() {
        true => Amount::Fixed(1),
        false => read.amount.take()?,
    };
    read.limit(pointer, amount)
}

/// `state`, as `{"counter": "spent", "window": "day", "increment_from": "args.cents", "max": 500}`.
pub(super) fn state(walk: &mut Walk, node: &Node<'_>, place: &str) -> Option<Limit> {
    let mut read = Read::default();
    for member in walk.object(node, place, &STATE_KEYS) {
        let (node, place) = (&member.node, at(place, &member.key));
        match member.key.as_ref() {
            "window" => read.window = per(walk, node, &place),
            "increment" | "increment_from" if read.amount.is_some() => {
                walk.error(&place, "stands beside another amount; keep one of the two");
            }
            "increment" => read.amount = increment(walk, node, &place),
            "increment_from" => read.amount = path(walk, node, &place).map(Amount::SumOf),
            key => read.common(walk, key, node, &place),
        }
    }
    node.members()?;
    for (key, what) in [("counter", "the counter's name"), ("window", PER), ("max", MAX)] {
        if node.get(key).is_none() {
            walk.error(&at(place, key), format!("is missing; write {what}"));
        }
    }
    let is_fixed = node.get("increment").is_none() && node.get("increment_from").is_none();
    let amount = if is_fixed { Amount::Fixed(1) } else { read.amount.take()? };
    read.limit(place.to_owned(), amount)
}

/// The most that may pass, as written.
pub(super) fn most(walk: &mut Walk, node: &Node<'_>, place: &str) -> Option<String> {
    let Some(digits) = node.as_number() else {
        walk.mismatch(node, place, MAX);
        return None;
    };
    match Quantity::parse(digits) {
        Ok(_) => Some(digits.to_owned()),
        Err(why) => {
            walk.error(place, format!("{digits} {why}; write {MAX}"));
            None
        }
    }
}

fn increment(walk: &mut Walk, node: &Node<'_>, place: &str) -> Option<Amount> {
    const WHAT: &str = "how much each call counts: a whole number; one of 0 only looks";
    let Some(digits) = node.as_number() else {
        walk.mismatch(node, place, WHAT);
        return None;
    };
    let amount = whole_number(digits);
    if amount.is_none() {
        walk.error(place, format!("{digits} is out of range; write {WHAT}"));
    }
    amount.map(Amount::Fixed)
}

/// A duration, or a word of the calendar.
fn per(walk: &mut Walk, node: &Node<'_>, place: &str) -> Option<Window> {
    let text = walk.string(node, place, PER)?;
    if text == "call" {
        return Some(Window::Call);
    }
    if let Some(period) = PERIODS.into_iter().find(|period| period.as_str() == text) {
        return Some(Window::Calendar(period));
    }
    match parse_duration(text) {
        Ok(length) if !length.is_zero() => Some(Window::Sliding(length)),
        Ok(_) => {
            walk.error(place, format!("{text:?} is no time at all; write {PER}"));
            None
        }
        Err(_) => {
            walk.error(place, format!("{text:?} is no window; write {PER}"));
            None
        }
    }
}

fn period(walk: &mut Walk, node: &Node<'_>, place: &str) -> Option<Period> {
    let word = walk.word(node, place, &PERIODS.map(Period::as_str))?;
    PERIODS.into_iter().find(|period| period.as_str() == word)
}

fn scope(walk: &mut Walk, node: &Node<'_>, place: &str) -> Option<Scope> {
    Some(match walk.word(node, place, &SCOPES)? {
        "session" => Scope::Session,
        "upstream" => Scope::Upstream,
        "all" => Scope::All,
        // A grant of the hosted form is one agent's right to use one server.
        _ => Scope::Agent,
    })
}

fn counter(walk: &mut Walk, node: &Node<'_>, place: &str) -> Option<String> {
    let name = walk.name(node, place, "the counter's name")?;
    if name.len() > MAX_COUNTER {
        walk.error(place, format!("a name of more than {MAX_COUNTER} bytes; shorten it"));
        return None;
    }
    Some(name.to_owned())
}

fn path(walk: &mut Walk, node: &Node<'_>, place: &str) -> Option<Path> {
    const WHAT: &str = "a path into the arguments, such as \"args.amount\"";
    let text = walk.name(node, place, WHAT)?;
    match Path::read(text) {
        Ok(path) if path.in_arguments().is_some_and(|steps| !steps.is_empty()) => Some(path),
        Ok(_) => {
            walk.error(place, format!("{text:?} can't be counted; write {WHAT}"));
            None
        }
        Err(why) => {
            walk.error(place, why);
            None
        }
    }
}

/// Notes where limits that count together don't agree on their window and scope, or one rule counts
/// twice under one name.
pub(super) fn agree(policy: &Policy, walk: &mut Walk) {
    let mut first: HashMap<&str, &Limit> = HashMap::new();
    for rule in policy.rules() {
        let mut mine: Vec<&str> = Vec::new();
        for limit in rule.limits.iter().filter(|limit| limit.window != Window::Call) {
            let Some(name) = limit.counter.as_deref() else { continue };
            let place = at(&limit.pointer, "counter");
            if mine.contains(&name) {
                let why = format!("{name:?} would count each call twice; give it another name");
                walk.error(&place, why);
            }
            mine.push(name);
            let other = match first.entry(name) {
                hash_map::Entry::Vacant(none) => {
                    none.insert(limit);
                    continue;
                }
                hash_map::Entry::Occupied(other) => *other.get(),
            };
            if (other.window, other.scope) != (limit.window, limit.scope) {
                walk.error(
                    &place,
                    format!(
                        "{name:?} counts per {:?} and {:?} at {}, and otherwise here; counters of \
                         one name count together: make both the same, or give it another name",
                        other.window.word(),
                        other.scope.as_str(),
                        other.pointer
                    ),
                );
            }
        }
    }
}
