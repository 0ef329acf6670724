//! What was counted, and when: for a session that begins with what others had used before it. The
//! latest uses are known to the microsecond; older ones are put together slot by slot, and then count
//! from the first of them until the last has left the window.

use std::fmt;

use super::Tally;
use crate::domain::policy::Window;
use crate::domain::quantity::Quantity;
use crate::domain::time::Timestamp;

/// How many of the latest uses are known each by itself.
const EXACT: usize = 64;

/// What was counted, by time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History(Vec<Uses>);

/// What was counted from one instant to another, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Uses {
    from: i64,
    to: i64,
    amount: Quantity,
}

impl History {
    /// Reads what [`fmt::Display`] writes; none where it is anything else.
    pub fn read(text: &str) -> Option<Self> {
        let mut all = Vec::new();
        for part in text.split_ascii_whitespace() {
            let (times, amount) = part.split_once(':')?;
            let (from, to) = times.split_once('~')?;
            let (from, to) = (from.parse().ok()?, to.parse().ok()?);
            all.push(Uses { from, to, amount: Quantity::parse(amount).ok()? });
        }
        Some(Self(all))
    }

    /// Adds what is counted at an instant, and forgets what has left the window.
    pub fn add(&mut self, at: Timestamp, amount: Quantity, window: Window) {
        self.0.retain(|uses| leaves(*uses, window) > at);
        let micros = at.micros();
        // Clocks differ a little, and another broker may have been ahead.
        let place = self.0.partition_point(|uses| uses.to <= micros);
        self.0.insert(place, Uses { from: micros, to: micros, amount });
        let mut older = self.0.len().saturating_sub(EXACT);
        let mut i = 1;
        while i < older {
            let (before, uses) = (self.0[i - 1], self.0[i]);
            if slot(before, window) == slot(uses, window) {
                let from = before.from.min(uses.from);
                self.0[i - 1] = Uses { from, to: uses.to, amount: before.amount.plus(uses.amount) };
                self.0.remove(i);
                older -= 1;
            } else {
                i += 1;
            }
        }
    }

    /// Takes back what was counted at an instant.
    pub fn take_back(&mut self, at: i64, amount: Quantity) {
        if let Some(uses) = self.0.iter_mut().find(|uses| (uses.from..=uses.to).contains(&at)) {
            uses.amount = uses.amount.minus(amount);
        }
        self.0.retain(|uses| !uses.amount.is_zero());
    }

    /// All of it, by slot.
    pub fn tally(&self, window: Window) -> Tally {
        self.until(window, Timestamp::from_micros(i64::MAX))
    }

    /// What was counted until then, by slot.
    pub fn until(&self, window: Window, at: Timestamp) -> Tally {
        let mut tally = Tally::default();
        for uses in self.0.iter().filter(|uses| uses.from <= at.micros()) {
            tally.add(slot(*uses, window), uses.amount);
        }
        tally
    }
}

fn slot(uses: Uses, window: Window) -> i64 {
    window.slot(Timestamp::from_micros(uses.to))
}

fn leaves(uses: Uses, window: Window) -> Timestamp {
    window.leaves(slot(uses, window))
}

/// `from~to:amount` with blanks between them.
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Uses { from, to, amount }) in self.0.iter().enumerate() {
            write!(f, "{}{from}~{to}:{amount}", if i == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HOUR: Window = Window::Sliding(Duration::from_secs(3_600));

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn counted(seconds: impl IntoIterator<Item = i64>) -> History {
        let mut history = History::default();
        for second in seconds {
            history.add(at(second), Quantity::whole(1), HOUR);
        }
        history
    }

    fn until(history: &History, second: i64, now: i64) -> String {
        history.until(HOUR, at(second)).used(HOUR, at(now)).to_string()
    }

    #[test]
    fn the_latest_uses_are_told_apart_to_the_instant() {
        let history = counted([100, 101, 102]);

        assert_eq!(until(&history, 99, 103), "0");
        assert_eq!(until(&history, 101, 103), "2");
        assert_eq!(until(&history, 500, 503), "3");
        assert_eq!(History::read(&history.to_string()), Some(history));
        assert_eq!(History::read("1~2"), None);
    }

    #[test]
    fn older_ones_never_count_less_and_are_few() {
        let history = counted(0..3_600);

        assert!(history.0.len() <= EXACT + 66, "{}", history.0.len());
        for began in [0, 10, 1_000, 3_500, 3_599] {
            let counted: i64 = until(&history, began, 3_600).parse().unwrap();
            assert!(counted > began && counted <= began + 60, "{began}: {counted}");
        }
        assert_eq!(until(&history, 3_595, 3_600), "3596");
    }

    #[test]
    fn what_is_taken_back_was_never_counted() {
        let mut history = counted([100, 200]);

        history.take_back(100_000_000, Quantity::whole(1));
        history.take_back(150_000_000, Quantity::whole(1));

        assert_eq!(until(&history, 500, 500), "1");
    }
}
