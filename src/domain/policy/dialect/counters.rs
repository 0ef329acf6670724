//! The counters of Intercept's form: their names, and what they count by.

use std::collections::HashMap;
use std::time::Duration;

use crate::domain::duration::MAX_DAYS;
use crate::domain::json::Node;
use crate::domain::policy::limit::Period;

/// The entry whose rules are for all tools.
pub(in crate::domain::policy) const ALL: &str = "*";
/// What counters of rules for all tools are called under `state`.
const GLOBAL: &str = "_global";

/// The counters of a file, by the name of their tool and their own, with what they count by.
#[derive(Debug, Default)]
pub(in crate::domain::policy) struct Counters(HashMap<(String, String), Period>);

impl Counters {
    /// Those that the entries of `tools` have.
    pub(in crate::domain::policy) fn of(tools: &Node<'_>) -> Self {
        let mut counters = Self::default();
        for entry in tools.members().unwrap_or_default() {
            let owner = owner(&entry.key);
            let rules = entry.node.get("rules").and_then(Node::elements).unwrap_or_default();
            for rule in rules {
                let rate = rule.get("rate_limit").and_then(Node::as_str).and_then(rate);
                if let Some((_, name, period)) = rate {
                    counters.0.insert((owner.to_owned(), name), period);
                }
                let state = rule.get("state");
                let name = state.and_then(|s| s.get("counter")).and_then(Node::as_str);
                let period = state.and_then(|s| s.get("window")).and_then(Node::as_str);
                if let (Some(name), Some(period)) = (name, period.and_then(period_of)) {
                    counters.0.insert((owner.to_owned(), name.to_owned()), period);
                }
            }
        }
        counters
    }

    /// What a counter counts by; none where no rule has it.
    pub(super) fn period(&self, tool: &str, name: &str) -> Option<Period> {
        self.0.get(&(tool.to_owned(), name.to_owned())).copied()
    }
}

/// What a tool is called under `state`.
pub(super) fn owner(tool: &str) -> &str {
    if tool == ALL { GLOBAL } else { tool }
}

fn period_of(word: &str) -> Option<Period> {
    match word {
        "minute" => Some(Period::Minute),
        "hour" => Some(Period::Hour),
        "day" => Some(Period::Day),
        _ => None,
    }
}

/// Reads `"40/minute"`: how many, the name of its counter, and by what it counts.
pub(super) fn rate(text: &str) -> Option<(u64, String, Period)> {
    let (count, window) = text.split_once('/')?;
    let count = count.trim();
    let is_whole = !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit());
    let count = count.parse().ok().filter(|n| is_whole && *n > 0)?;
    let period = period_of(window.trim())?;
    Some((count, format!("_rate_{}", window.trim()), period))
}

/// A length of time as Go writes it (<https://pkg.go.dev/time#ParseDuration>), in whole milliseconds.
pub(super) fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut milliseconds = 0.0_f64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let units = [("ms", 1.0), ("h", 3_600_000.0), ("m", 60_000.0), ("s", 1_000.0)];
        let (unit, of) = units.into_iter().find(|(unit, _)| rest.starts_with(unit))?;
        milliseconds += number * of;
        rest = &rest[unit.len()..];
    }
    let most = Duration::from_secs(MAX_DAYS * 86_400);
    let length = Duration::try_from_secs_f64(milliseconds.round() / 1_000.0);
    length.ok().filter(|length| !text.is_empty() && *length <= most)
}
