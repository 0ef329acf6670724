//! How much may pass: calls, things or sums counted within a window.

use std::time::Duration;

use super::path::{Path, Place};
use super::{CallFacts, Rule};
use crate::domain::call::ToolCall;
use crate::domain::json::{self, Node, Value};
use crate::domain::quantity::{NoQuantity, Quantity};

/// One limit: what the calls that it counts may come to together within its window.
#[derive(Debug, Clone)]
pub struct Limit {
    /// JSON Pointer of the limit in its policy.
    pub pointer: String,
    /// Name of its counter: limits of one upstream with the same counter, window and scope count
    /// together. None: it counts alone, for each tool by itself.
    pub counter: Option<String>,
    /// How much one call counts.
    pub amount: Amount,
    /// The most that passes within the window: an exact decimal, not negative, as written.
    pub max: String,
    /// The time over which it counts.
    pub window: Window,
    /// Whose calls count together.
    pub scope: Scope,
    /// What the agent is told where it refuses, in the words of the policy.
    pub on_deny: Option<String>,
}

/// How much one call counts. What is missing or `null` can't be counted, nor an amount that is negative,
/// no number, or too fine to be exact: the call does not pass.
#[derive(Debug, Clone)]
pub enum Amount {
    /// The same for each call: 1, or a whole number of the policy.
    Fixed(u64),
    /// The number that stands in an argument; with `[*]`, the sum of all.
    SumOf(Path),
    /// How many elements the list in an argument has; a text, a number or a truth value counts 1,
    /// and an object can't be counted.
    CountOf(Path),
}

/// The time over which a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// This long back from now, at every instant.
    Sliding(Duration),
    /// The present minute, hour, day or month of the calendar, in UTC.
    Calendar(Period),
    /// This one call only: nothing is kept.
    Call,
}

/// A part of the calendar, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// From second 0 to the next.
    Minute,
    /// From minute 0 to the next.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From the first of a month to the next.
    Month,
}

/// Whose calls count together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those of one session of the agent.
    Session,
    /// Those of all sessions of the agent.
    Agent,
    /// Those of all agents to the upstream.
    Upstream,
    /// Those of all agents to all upstreams, by the name of the counter.
    All,
}

/// Why it can't be told how much a call counts: it does not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotCounted {
    /// Which of the rule's limits counts it.
    pub limit: usize,
    /// What is wrong, as a sentence without its end: `args.amount is missing`.
    pub why: String,
}

impl Limit {
    /// The most that passes within the window; nothing where it is no amount.
    pub fn most(&self) -> Quantity {
        Quantity::parse(&self.max).unwrap_or_default()
    }

    /// What it counts, in words: `calls`, `things in args.ids`, `the sum of args.amount`.
    pub fn counts(&self) -> String {
        match &self.amount {
            Amount::Fixed(1) => "calls".to_owned(),
            Amount::Fixed(n) => format!("calls, each as {n}"),
            Amount::SumOf(path) => format!("the sum of {}", path.text),
            Amount::CountOf(path) => format!("things in {}", path.text),
        }
    }
}

impl Scope {
    /// The word of the policy.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Agent => "agent",
            Self::Upstream => "upstream",
            Self::All => "all",
        }
    }

    /// Whose calls these are, in words.
    pub const fn whose(self) -> &'static str {
        match self {
            Self::Session => "of this session",
            Self::Agent => "of this agent",
            Self::Upstream => "of all agents to this upstream",
            Self::All => "of all agents to all upstreams",
        }
    }
}

impl Amount {
    /// Where it looks, if it looks into the arguments.
    pub(super) const fn path(&self) -> Option<&Path> {
        match self {
            Self::Fixed(_) => None,
            Self::SumOf(path) | Self::CountOf(path) => Some(path),
        }
    }

    /// How much this call counts.
    ///
    /// # Errors
    /// What is wrong with it, where it can't be counted exactly.
    pub(super) fn of(&self, facts: &CallFacts<'_, '_>) -> Result<Quantity, String> {
        let (path, is_list) = match self {
            Self::Fixed(n) => return Ok(Quantity::whole(*n)),
            Self::SumOf(path) => (path, false),
            Self::CountOf(path) => (path, true),
        };
        let count = |node: &Node<'_>| if is_list { length(node) } else { number(node) };
        let mut sum = Ok(Quantity::ZERO);
        path.visit(facts, &mut |place| {
            let found = match place {
                Place::Value(node) if !matches!(node.value, Value::Null) => count(node),
                Place::Value(_) | Place::Nothing => Err("is missing".to_owned()),
                Place::Ambiguous => {
                    Err("is ambiguous: a key beside it differs by case only".to_owned())
                }
            };
            sum = match (&sum, found) {
                (Ok(sum), Ok(amount)) => Ok(sum.plus(amount)),
                (_, found) => found,
            };
            sum.is_err()
        });
        let sum = sum.and_then(|sum| match sum.is_countable() {
            true => Ok(sum),
            false => Err(format!("comes to {}", NoQuantity::TooLarge)),
        });
        sum.map_err(|what| format!("{} {what}", path.text))
    }
}

fn number(node: &Node<'_>) -> Result<Quantity, String> {
    match node.as_number() {
        Some(digits) => Quantity::parse(digits).map_err(|why| why.to_string()),
        None => Err(format!("is no number but of type {}", node.kind())),
    }
}

/// How many things a value names. An object names who knows how many.
fn length(node: &Node<'_>) -> Result<Quantity, String> {
    match &node.value {
        Value::Array(elements) => {
            Ok(Quantity::whole(u64::try_from(elements.len()).unwrap_or(u64::MAX)))
        }
        Value::Object(_) => Err("is an object: how many things it names can't be told".to_owned()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Ok(Quantity::whole(1))
        }
    }
}

impl Rule {
    /// How much a call counts for each of the rule's limits.
    ///
    /// # Errors
    /// [`NotCounted`], where that can't be told for one of them.
    pub fn amounts(&self, agent: &str, call: &ToolCall) -> Result<Vec<Quantity>, NotCounted> {
        let arguments = call.arguments();
        let unread = |_| NotCounted { limit: 0, why: "its arguments are no JSON".to_owned() };
        let arguments = json::parse(&arguments).map_err(unread)?;
        let (upstream, tool) = (call.upstream.as_str(), call.tool.as_str());
        let facts = CallFacts { agent, upstream, tool, arguments: &arguments, risk: None };
        let each = self.limits.iter().enumerate();
        each.map(|(limit, l)| l.amount.of(&facts).map_err(|why| NotCounted { limit, why }))
            .collect()
    }
}

/// What a limit says of a call, for people: `at most 25 things in args.ids within 1 hour, of this
/// agent; this call counts 3`.
pub(super) fn explained(limit: &Limit, facts: &CallFacts<'_, '_>) -> String {
    let counter =
        limit.counter.as_ref().map_or(String::new(), |name| format!(" (counter {name:?})"));
    let whose = match limit.window {
        Window::Call => String::new(),
        _ => format!(", {}", limit.scope.whose()),
    };
    let this = match limit.amount.of(facts) {
        Ok(amount) if amount > limit.most() => {
            format!("this call counts {amount} by itself, so it is refused")
        }
        Ok(amount) => format!("this call counts {amount}"),
        Err(why) => format!("{why}, so that this call can't be counted and is refused"),
    };
    let (pointer, max, counts, window) = (&limit.pointer, &limit.max, limit.counts(), limit.window);
    format!("limit: {pointer}: at most {max} {window}{whose}, counting {counts}{counter}; {this}")
}

#[cfg(test)]
mod tests;
