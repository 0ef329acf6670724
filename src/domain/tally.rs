//! What a counter has counted, in slots of time, and what of it lies in a window.
//!
//! A window is cut into at most [`SLOTS`] slots and one more, so that a counter has few of them
//! however much it counts. A slot counts whole until all of it has left the window: what is counted
//! never comes to less than what lies in the window, and leaves it by a slot's length late at most. Windows
//! of the calendar begin and end with a slot, and are exact.

use std::fmt;
use std::time::Duration;

use super::duration;
use super::policy::{Period, Window};
use super::quantity::Quantity;
use super::time::Timestamp;

mod history;

pub use history::History;

/// Slots of a sliding window.
pub const SLOTS: u64 = 64;

const SECOND: i64 = 1_000_000;

impl Window {
    /// Length of a slot, microseconds.
    fn slot_length(self) -> i64 {
        match self {
            Self::Sliding(length) => {
                let micros = i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
                micros.unsigned_abs().div_ceil(SLOTS).try_into().unwrap_or(i64::MAX).max(1)
            }
            Self::Calendar(Period::Minute) | Self::Call => SECOND,
            Self::Calendar(Period::Hour) => 60 * SECOND,
            Self::Calendar(Period::Day) => 1_800 * SECOND,
            Self::Calendar(Period::Month) => 43_200 * SECOND,
        }
    }

    /// The number of the slot in which that instant lies.
    pub fn slot(self, at: Timestamp) -> i64 {
        at.micros().div_euclid(self.slot_length())
    }

    fn begins(self, slot: i64) -> Timestamp {
        Timestamp::from_micros(slot.saturating_mul(self.slot_length()))
    }

    /// When all of a slot has left the window.
    pub fn leaves(self, slot: i64) -> Timestamp {
        let begins = self.begins(slot);
        match self {
            Self::Sliding(length) => self.begins(slot.saturating_add(1)).plus(length),
            Self::Calendar(period) => period.end(begins),
            Self::Call => begins,
        }
    }
}

impl Period {
    /// The word of the policy.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// The end of the one that holds that instant.
    pub fn end(self, at: Timestamp) -> Timestamp {
        let seconds = match self {
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
            Self::Month => return at.end_of_month(),
        };
        let length = seconds * SECOND;
        Timestamp::from_micros((at.micros().div_euclid(length) + 1).saturating_mul(length))
    }
}

/// In words: `within 1 hour`, `in this day (UTC)`, `by one call`.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sliding(length) => write!(f, "within {}", super::time::in_words(*length)),
            Self::Calendar(period) => write!(f, "in this {} (UTC)", period.as_str()),
            Self::Call => f.write_str("by one call"),
        }
    }
}

impl Window {
    /// The word of the policy: `1h`, `hour`, `call`.
    pub fn word(self) -> String {
        match self {
            Self::Sliding(length) => duration::shown(length),
            Self::Calendar(period) => period.as_str().to_owned(),
            Self::Call => "call".to_owned(),
        }
    }

    /// How long it is at most; none where nothing is kept.
    pub fn longest(self) -> Option<Duration> {
        match self {
            Self::Sliding(length) => Some(length),
            Self::Calendar(Period::Minute) => Some(Duration::from_secs(60)),
            Self::Calendar(Period::Hour) => Some(Duration::from_secs(3_600)),
            Self::Calendar(Period::Day) => Some(Duration::from_secs(86_400)),
            Self::Calendar(Period::Month) => Some(Duration::from_secs(31 * 86_400)),
            Self::Call => None,
        }
    }
}

/// What was counted, by slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally(Vec<(i64, Quantity)>);

impl Tally {
    /// Reads what [`fmt::Display`] writes; none where it is anything else.
    pub fn read(text: &str) -> Option<Self> {
        let mut slots = Vec::new();
        for part in text.split_ascii_whitespace() {
            let (slot, amount) = part.split_once(':')?;
            slots.push((slot.parse().ok()?, Quantity::parse(amount).ok()?));
        }
        Some(Self(slots))
    }

    /// Adds what is counted in a slot.
    pub fn add(&mut self, slot: i64, amount: Quantity) {
        match self.0.binary_search_by_key(&slot, |(slot, _)| *slot) {
            Ok(i) => self.0[i].1 = self.0[i].1.plus(amount),
            Err(i) => self.0.insert(i, (slot, amount)),
        }
    }

    /// Takes back what was counted in a slot.
    pub fn take_back(&mut self, slot: i64, amount: Quantity) {
        if let Ok(i) = self.0.binary_search_by_key(&slot, |(slot, _)| *slot) {
            self.0[i].1 = self.0[i].1.minus(amount);
        }
        self.0.retain(|(_, amount)| !amount.is_zero());
    }

    /// Forgets what has left the window.
    pub fn trim(&mut self, window: Window, now: Timestamp) {
        self.0.retain(|(slot, _)| window.leaves(*slot) > now);
    }

    /// What lies in the window.
    pub fn used(&self, window: Window, now: Timestamp) -> Quantity {
        self.within(window, now).fold(Quantity::ZERO, |sum, (_, amount)| sum.plus(amount))
    }

    fn within(&self, window: Window, now: Timestamp) -> impl Iterator<Item = (i64, Quantity)> {
        self.0.iter().copied().filter(move |(slot, _)| window.leaves(*slot) > now)
    }

    /// Both together.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        let mut both = self.clone();
        for (slot, amount) in &other.0 {
            both.add(*slot, *amount);
        }
        both
    }

    /// When so much of what lies in the window has left it; none where there is not so much.
    pub fn frees(&self, amount: Quantity, window: Window, now: Timestamp) -> Option<Timestamp> {
        let mut gone = Quantity::ZERO;
        for (slot, counted) in self.within(window, now) {
            gone = gone.plus(counted);
            if gone >= amount {
                return Some(window.leaves(slot));
            }
        }
        None
    }

    /// When all has left the window; none where nothing is counted.
    pub fn empty_at(&self, window: Window) -> Option<Timestamp> {
        self.0.last().map(|(slot, _)| window.leaves(*slot))
    }
}

/// `slot:amount` with blanks between them.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (slot, amount)) in self.0.iter().enumerate() {
            write!(f, "{}{slot}:{amount}", if i == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Window = Window::Sliding(Duration::from_secs(3_600));

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn counted(window: Window, uses: &[(&str, u64)]) -> Tally {
        let mut tally = Tally::default();
        for (when, amount) in uses {
            tally.add(window.slot(at(when)), Quantity::whole(*amount));
        }
        tally
    }

    #[test]
    fn a_use_counts_for_the_whole_of_a_sliding_window_and_a_slot_longer_at_most() {
        let tally = counted(HOUR, &[("2026-11-22T20:00:30Z", 5)]);
        let used = |when| tally.used(HOUR, at(when)).to_string();

        assert_eq!(used("2026-11-22T20:00:30Z"), "5");
        assert_eq!(used("2026-11-22T21:00:30Z"), "5");
        assert_eq!(used("2026-11-22T21:01:27Z"), "0");
    }

    #[test]
    fn a_window_of_the_calendar_is_empty_at_the_stroke_of_utc() {
        for (period, last, first) in [
            (Period::Minute, "2026-11-22T20:00:59.9Z", "2026-11-22T20:01:00Z"),
            (Period::Hour, "2026-11-22T20:59:59Z", "2026-11-22T21:00:00Z"),
            (Period::Day, "2026-11-22T23:59:59Z", "2026-11-23T00:00:00Z"),
            (Period::Month, "2028-02-29T23:59:59Z", "2028-03-01T00:00:00Z"),
            (Period::Month, "2026-12-31T12:00:00Z", "2027-01-01T00:00:00Z"),
        ] {
            let window = Window::Calendar(period);
            let tally = counted(window, &[(last, 3)]);

            assert_eq!(tally.used(window, at(last)), Quantity::whole(3), "{last}");
            assert_eq!(tally.used(window, at(first)), Quantity::ZERO, "{first}");
            assert_eq!(tally.empty_at(window), Some(at(first)));
        }
    }

    #[test]
    fn when_enough_is_free_is_when_enough_has_left() {
        let tally = counted(HOUR, &[("2026-11-22T20:00:00Z", 5), ("2026-11-22T20:30:00Z", 10)]);
        let now = at("2026-11-22T20:40:00Z");
        let frees = |n| tally.frees(Quantity::whole(n), HOUR, now);

        assert!(frees(5).unwrap() >= at("2026-11-22T21:00:00Z"));
        assert!(frees(5).unwrap() < at("2026-11-22T21:01:00Z"));
        assert!(frees(6).unwrap() >= at("2026-11-22T21:30:00Z"));
        assert_eq!(frees(16), None);
    }

    #[test]
    fn what_is_written_is_read_back_and_anything_else_is_not() {
        let tally = counted(HOUR, &[("2026-11-22T20:00:00Z", 5), ("1969-01-01T00:00:00Z", 1)]);

        assert_eq!(Tally::read(&tally.to_string()), Some(tally));
        assert_eq!(Tally::read(""), Some(Tally::default()));
        for text in ["1", "x:1", "1:-1", "1:"] {
            assert_eq!(Tally::read(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_taken_back_was_never_counted() {
        let mut tally = counted(HOUR, &[("2026-11-22T20:00:00Z", 5)]);
        let slot = HOUR.slot(at("2026-11-22T20:00:00Z"));

        tally.take_back(slot, Quantity::whole(2));
        assert_eq!(tally.used(HOUR, at("2026-11-22T20:00:00Z")), Quantity::whole(3));
        tally.take_back(slot, Quantity::whole(9));
        tally.take_back(slot - 1, Quantity::whole(1));
        assert_eq!(tally, Tally::default());
    }

    proptest! {
        #[test]
        fn a_sliding_window_never_counts_less_than_what_lies_in_it_and_has_few_slots(
            seconds in 1..10_000_u64,
            uses in prop::collection::vec((0..40_000_000_000_i64, 1..9_u64), 1..200),
        ) {
            let length = Duration::from_secs(seconds);
            let window = Window::Sliding(length);
            let mut uses = uses;
            uses.sort_unstable();
            let mut tally = Tally::default();
            let mut now = Timestamp::from_micros(0);
            for (when, amount) in &uses {
                now = Timestamp::from_micros(*when);
                tally.trim(window, now);
                tally.add(window.slot(now), Quantity::whole(*amount));
            }

            let since = now.minus(length).micros();
            let exact: u64 = uses.iter().filter(|(when, _)| *when > since).map(|(_, n)| n).sum();
            prop_assert!(tally.used(window, now) >= Quantity::whole(exact));
            prop_assert!(tally.0.len() <= 66);
        }
    }
}
