//! How much may pass: calls, things or sums counted within a window.

use std::time::Duration;

use super::path::Path;

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

/// How much one call counts. An amount that is missing, negative or no number can't be counted: the
/// call does not pass.
#[derive(Debug, Clone)]
pub enum Amount {
    /// The same for each call: 1, or a whole number of the policy.
    Fixed(u64),
    /// The number that stands in an argument; with `[*]`, the sum of all.
    SumOf(Path),
    /// How many elements the list in an argument has; anything that is no list counts 1.
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
