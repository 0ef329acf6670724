//! When to try again, as data.

use std::time::Duration;

/// Pauses after the first, second, … failed attempt; the last one repeats.
pub(crate) const RETRY_AFTER: [Duration; 8] = [
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_mins(1),
    Duration::from_mins(5),
    Duration::from_mins(15),
    Duration::from_mins(30),
    Duration::from_hours(1),
    Duration::from_hours(2),
];

/// Longest pause for requests and reminders: they are worth something only while people still
/// have time to decide.
pub(super) const URGENT_MAX: Duration = Duration::from_mins(1);

/// Pauses before the attempts to send a sign-in link: somebody sits and waits for it.
pub(super) const SIGN_IN_RETRY_AFTER: [Duration; 3] =
    [Duration::ZERO, Duration::from_secs(5), Duration::from_secs(15)];

/// How long to wait after a failed attempt: the schedule's pause, a fifth longer or shorter by
/// `chance`, or what the other side asked for if that is longer.
///
/// `attempts` counts those made before this one.
pub(crate) fn next_after(
    topic: &str,
    attempts: u32,
    asked: Option<Duration>,
    chance: u8,
) -> Duration {
    let at = usize::try_from(attempts).unwrap_or(usize::MAX).min(RETRY_AFTER.len() - 1);
    let mut pause = RETRY_AFTER[at];
    if is_urgent(topic) {
        pause = pause.min(URGENT_MAX);
    }
    // 80 % to 120 %, in steps small enough to spread a crowd.
    let jittered = pause * (800 + u32::from(chance) * 400 / 255) / 1_000;
    asked.map_or(jittered, |asked| asked.max(jittered))
}

/// Whether a message asks for a decision, and so loses its sense with it.
pub(super) fn is_urgent(topic: &str) -> bool {
    matches!(topic, "requested" | "reminder")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_spread_by_a_fifth() {
        let pause = |attempts, chance| next_after("approved", attempts, None, chance);

        assert_eq!(pause(0, 0), Duration::from_secs(4));
        assert_eq!(pause(0, 255), Duration::from_secs(6));
        assert_eq!(pause(1, 255), Duration::from_secs(18));
        assert_eq!(pause(99, 0), Duration::from_mins(96));
    }

    #[test]
    fn requests_are_tried_at_least_about_every_minute() {
        for attempts in 0..20 {
            assert!(next_after("requested", attempts, None, 255) <= URGENT_MAX * 6 / 5);
        }
    }

    #[test]
    fn a_longer_pause_that_was_asked_for_is_kept() {
        let asked = Some(Duration::from_mins(2));

        assert_eq!(next_after("approved", 0, asked, 0), Duration::from_mins(2));
        assert_eq!(next_after("approved", 0, Some(Duration::ZERO), 0), Duration::from_secs(4));
    }
}
