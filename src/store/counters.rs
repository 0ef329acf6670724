//! Counters: what the calls of an agent, or of all, come to within a window. They last, and all
//! brokers of a database share them.

use async_trait::async_trait;

use super::error::Result;
use super::limits::LimitKey;
use crate::domain::json;
use crate::domain::policy::Window;
use crate::domain::quantity::Quantity;
use crate::domain::reservation::Reservation;
use crate::domain::time::Timestamp;

/// A counter, as one call counts in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counter {
    /// What counts together, but for the session.
    pub key: CounterKey,
    /// The time over which it counts.
    pub window: Window,
    /// Whose uses count together, where sessions count by themselves.
    pub session: SessionOf,
}

/// What counts together: its spelling in the database must never change, for rows that are there go
/// on counting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CounterKey {
    /// Name of the upstream; empty: those of all count together.
    pub upstream: String,
    /// The counter's name in the policy, or the JSON Pointer of its limit.
    pub what: What,
    /// The word of its window.
    pub window: String,
    /// Name of the tool; empty: all tools count together.
    pub tool: String,
    /// Name of the agent; empty: all agents count together.
    pub agent: String,
}

/// What a counter is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Its name in the policy.
    Named(String),
    /// It has none, and belongs to the limit at that JSON Pointer.
    Limit(String),
}

impl Default for What {
    fn default() -> Self {
        Self::Named(String::new())
    }
}

/// The session in which a call counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionOf {
    /// Sessions don't matter.
    Any,
    /// It came without one: what other sessions used counts too.
    Token,
    /// Its own. What the agent's other sessions used until it began counts too, so that nothing is
    /// gained by a new one; and what came without a session.
    Own {
        /// Id of the session.
        id: String,
        /// When it began.
        began: Option<Timestamp>,
    },
}

impl CounterKey {
    /// As it stands in the database.
    pub fn spelled(&self) -> String {
        let (kind, what) = match &self.what {
            What::Named(name) => ("counter", name),
            What::Limit(pointer) => ("limit", pointer),
        };
        let parts = [&self.upstream, kind, what, &self.window, &self.tool, &self.agent];
        json::array(parts.iter().map(|part| json::quote(part)))
    }

    /// Reads it back; none where it is spelled in another way.
    pub fn parse(text: &str) -> Option<Self> {
        let [upstream, kind, what, window, tool, agent]: [String; 6] =
            serde_json::from_str(text).ok()?;
        let what = match kind.as_str() {
            "counter" => What::Named(what),
            "limit" => What::Limit(what),
            _ => return None,
        };
        Some(Self { upstream, what, window, tool, agent })
    }
}

/// What a call takes of a counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draw {
    /// The counter.
    pub counter: Counter,
    /// How much this call counts.
    pub amount: Quantity,
    /// The most that may be used with it.
    pub max: Quantity,
}

/// A rate limit's key, its most uses, and the start of its window.
pub type Rate = (LimitKey, u32, Timestamp);

/// The limit that refuses a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Over {
    /// Which of the draws found too little left.
    pub draw: usize,
    /// How much is used.
    pub used: Quantity,
    /// When enough is free, in milliseconds from now.
    pub frees_in_ms: u64,
}

/// What became of a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserving {
    /// All was taken.
    Taken(Reservation),
    /// The rate limit is reached; nothing was taken. The milliseconds to wait.
    RateLimited(u64),
    /// One of the counters has too little left; nothing was taken.
    Over(Over),
}

/// What is used of a counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterRow {
    /// The counter.
    pub key: CounterKey,
    /// Id of the session, `token`, or empty where sessions don't matter.
    pub session: String,
    /// How much was counted, by slot; some of it may have left the window.
    pub tally: crate::domain::tally::Tally,
}

/// The verbs about counters. Each verb is one transaction.
///
/// # Errors
/// Every verb fails with [`super::StoreError`]: `Unavailable`, when the database can't be reached
/// or written; `Corrupt`, when a stored value can't be read back.
#[async_trait]
pub trait CounterStore: Send + Sync {
    /// Takes all that a call counts, or nothing.
    async fn reserve(
        &self,
        rate: Option<Rate>,
        draws: Vec<Draw>,
        now: Timestamp,
    ) -> Result<Reserving>;

    /// Gives back what a call had taken that had no effect.
    async fn give_back(&self, reservation: &Reservation) -> Result<()>;

    /// What is used of each counter, in their order.
    async fn used(&self, counters: Vec<Counter>, now: Timestamp) -> Result<Vec<Quantity>>;

    /// The counters of an upstream of which something is used, and those that upstreams share; those
    /// used longest from now first, at most so many.
    async fn counters_of(
        &self,
        upstream: &str,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<CounterRow>>;

    /// Notes that a call, by a hash, was answered with a question: its next round is the same call.
    async fn note_round(&self, round: &LimitKey, now: Timestamp) -> Result<()>;

    /// Whether such a round was noted; that is told once.
    async fn take_round(&self, round: &LimitKey) -> Result<bool>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_spelled_as_the_rows_that_count_already_and_read_back() {
        let named = CounterKey {
            upstream: "bank".to_owned(),
            what: What::Named("spent\"".to_owned()),
            window: "day".to_owned(),
            tool: String::new(),
            agent: "ci".to_owned(),
        };
        let own = CounterKey {
            what: What::Limit("/tools/pay/limits/0".to_owned()),
            tool: "pay".to_owned(),
            ..named.clone()
        };

        assert_eq!(named.spelled(), r#"["bank","counter","spent\"","day","","ci"]"#);
        assert_eq!(own.spelled(), r#"["bank","limit","/tools/pay/limits/0","day","pay","ci"]"#);
        for key in [named, own] {
            assert_eq!(CounterKey::parse(&key.spelled()), Some(key));
        }
        assert_eq!(CounterKey::parse("[]"), None);
    }
}
