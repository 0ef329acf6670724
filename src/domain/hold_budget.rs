//! How long an agent's client waits, learned from the holds it dropped.
//!
//! A client that gives up does not say when it will: it closes the connection. Three drops in a
//! row after about the same time are its fuse, and later holds end before it. What is learned only
//! ever shortens a hold, and is forgotten after a day, so that a mended client is found out.

use std::time::Duration;

use super::time::Timestamp;

/// Drops in a row that teach something.
pub const DROPS: usize = 3;
/// How far apart the longest and the shortest of them may be, percent of the longest.
pub const TOLERANCE_PERCENT: u64 = 10;
/// The shortest drop that teaches something: earlier ones are people and crashes.
pub const SHORTEST_FUSE: Duration = Duration::from_secs(20);
/// How much of the shortest of them a hold may take from then on, percent.
pub const SHARE_PERCENT: u64 = 80;
/// How long a learned budget is remembered.
pub const LEARNED_FOR: Duration = Duration::from_hours(24);

/// What is known of one agent's holds of one kind: with or without a progress token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HoldBudget {
    /// After how many milliseconds the last holds in a row were dropped; newest last, at most
    /// [`DROPS`].
    pub drops: Vec<u64>,
    /// What was learned.
    pub learned: Option<Learned>,
}

/// A learned hold budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Learned {
    /// Longest hold, milliseconds.
    pub budget_ms: u64,
    /// Since when.
    pub at: Timestamp,
}

impl Learned {
    /// Until when it counts.
    pub fn until(&self) -> Timestamp {
        self.at.plus(LEARNED_FOR)
    }
}

impl HoldBudget {
    /// The client dropped a held, undecided request after that long.
    #[must_use]
    pub fn dropped(mut self, after: Duration, now: Timestamp) -> Self {
        self.drops.push(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        let surplus = self.drops.len().saturating_sub(DROPS);
        self.drops.drain(..surplus);
        if let Some(fuse) = fuse(&self.drops) {
            let budget_ms = u64::try_from(u128::from(fuse) * u128::from(SHARE_PERCENT) / 100)
                .unwrap_or(u64::MAX);
            // What was learned before was learned of the same client.
            let before = self.in_force(now).map_or(u64::MAX, |l| l.budget_ms);
            self.learned = Some(Learned { budget_ms: budget_ms.min(before), at: now });
            self.drops.clear();
        }
        self
    }

    /// A held request was answered: the row of drops is broken. What was learned stays.
    #[must_use]
    pub fn answered(mut self) -> Self {
        self.drops.clear();
        self
    }

    /// What was learned and still counts.
    pub fn in_force(&self, now: Timestamp) -> Option<Learned> {
        self.learned.filter(|l| now < l.until())
    }

    /// How long a hold may take, given the configured length: what was learned can only shorten it.
    pub fn shorten(&self, configured: Duration, now: Timestamp) -> Duration {
        self.in_force(now)
            .map_or(configured, |l| configured.min(Duration::from_millis(l.budget_ms)))
    }
}

/// The shortest of the drops, if they are enough and about the same.
fn fuse(drops: &[u64]) -> Option<u64> {
    if drops.len() < DROPS {
        return None;
    }
    let (shortest, longest) = (*drops.iter().min()?, *drops.iter().max()?);
    let apart = u128::from(longest - shortest) * 100;
    let near = apart <= u128::from(longest) * u128::from(TOLERANCE_PERCENT);
    (near && u128::from(shortest) >= SHORTEST_FUSE.as_millis()).then_some(shortest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const T0: Timestamp = Timestamp::from_micros(1_795_377_600_000_000);

    fn after(seconds: &[u64]) -> HoldBudget {
        let drop = |p: HoldBudget, s: &u64| p.dropped(Duration::from_secs(*s), T0);
        seconds.iter().fold(HoldBudget::default(), drop)
    }

    fn learned(seconds: &[u64]) -> Option<u64> {
        after(seconds).learned.map(|l| l.budget_ms)
    }

    #[test]
    fn three_drops_after_about_the_same_time_teach_four_fifths_of_the_shortest() {
        assert_eq!(learned(&[60, 60]), None);
        assert_eq!(learned(&[60, 61, 60]), Some(48_000));
        assert_eq!(learned(&[100, 90, 95]), Some(72_000));
        assert_eq!(learned(&[100, 89, 95]), None, "more than a tenth apart");
        assert_eq!(learned(&[5, 60, 60, 60]), Some(48_000), "the last three count");
    }

    #[test]
    fn drops_before_twenty_seconds_teach_nothing() {
        assert_eq!(learned(&[19, 19, 19]), None);
        assert_eq!(learned(&[20, 20, 20]), Some(16_000));
        assert_eq!(learned(&[60, 60, 3, 60]), None, "it breaks the row");
    }

    #[test]
    fn an_answer_in_between_breaks_the_row_and_keeps_what_was_learned() {
        let minute = Duration::from_mins(1);

        let row = after(&[60, 60]).answered().dropped(minute, T0);
        let taught = after(&[60, 60, 60]).answered();

        assert_eq!((row.drops.len(), row.learned), (1, None));
        assert_eq!(taught.shorten(minute, T0), Duration::from_secs(48));
    }

    #[test]
    fn what_was_learned_is_forgotten_after_a_day() {
        let taught = after(&[60, 60, 60]);
        let day = T0.plus(LEARNED_FOR);

        assert!(taught.in_force(day.minus(Duration::from_millis(1))).is_some());
        assert_eq!(taught.in_force(day), None);
        assert_eq!(taught.shorten(Duration::from_mins(1), day), Duration::from_mins(1));
    }

    proptest! {
        #[test]
        fn learning_only_ever_shortens(
            drops in proptest::collection::vec((0u64..400_000, 0u64..4_000, any::<bool>()), 0..40),
            configured in 0u64..1_000_000,
        ) {
            let configured = Duration::from_millis(configured);
            let (mut now, mut known) = (T0, HoldBudget::default());
            let mut before = configured;
            for (ms, later, answered) in drops {
                now = now.plus(Duration::from_secs(later));
                if known.in_force(now).is_none() {
                    before = configured;
                }
                known = known.dropped(Duration::from_millis(ms), now);
                if answered {
                    known = known.answered();
                }
                let budget = known.shorten(configured, now);
                prop_assert!(budget <= configured && budget <= before);
                prop_assert!(known.drops.len() <= DROPS);
                prop_assert!(known.in_force(now).is_none_or(|l| l.budget_ms >= 16_000));
                before = budget;
            }
        }

        #[test]
        fn any_three_like_drops_teach_less_than_the_shortest(
            base in 20_000u64..100_000_000, spread in proptest::array::uniform3(0u64..1_000),
        ) {
            let of = |s: u64| Duration::from_millis(base + base * s / 10_000);
            let known = spread.into_iter().fold(HoldBudget::default(), |p, s| p.dropped(of(s), T0));

            let learned = known.learned.unwrap();

            prop_assert!(learned.budget_ms < base + base / 10);
            prop_assert!(learned.budget_ms >= base * SHARE_PERCENT / 100);
        }
    }
}
