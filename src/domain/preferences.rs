//! What a person wants to be told, and when not.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// One person's wishes. A request for a decision can be put off by quiet hours, never turned off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Preferences {
    /// Whether to be reminded before time runs out.
    pub reminders: bool,
    /// Whether to be told what others decided.
    pub decisions: bool,
    /// The hours in which mails wait; none: they never wait.
    pub quiet: Option<Quiet>,
}

impl Default for Preferences {
    fn default() -> Self {
        Self { reminders: true, decisions: true, quiet: None }
    }
}

/// Hours of each day in which mails wait until they are over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quiet {
    /// Minute of the day at which they begin, 0 to 1439.
    pub from: u32,
    /// Minute of the day at which they end; before `from` where they span midnight.
    pub to: u32,
    /// Minutes that this person's clock is ahead of UTC.
    pub offset: i32,
}

const DAY: i64 = 1_440;

impl Quiet {
    /// When the quiet hours that are on now end; none where they aren't.
    pub fn over(self, now: Timestamp) -> Option<Timestamp> {
        let (from, to) = (i64::from(self.from), i64::from(self.to));
        let minute = (now.seconds().div_euclid(60) + i64::from(self.offset)).rem_euclid(DAY);
        let length = (to - from).rem_euclid(DAY);
        if (minute - from).rem_euclid(DAY) >= length {
            return None;
        }
        let left = (to - minute).rem_euclid(DAY);
        let begun = Timestamp::from_micros(now.seconds().div_euclid(60) * 60_000_000);
        Some(begun.plus(Duration::from_secs(u64::try_from(left * 60).unwrap_or(0))))
    }
}

/// Reads a time of day, `22:00`, as minutes.
pub fn minute_of_day(text: &str) -> Option<u32> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let part = |text: &str, below: u32| {
        let fine = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u32>().ok().filter(|n| fine && *n < below)
    };
    Some(part(hours, 24)? * 60 + part(minutes, 60)?)
}

/// Writes a minute of the day as `22:00`; the reverse of [`minute_of_day`].
pub fn time_of_day(minute: u32) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

/// Reads how far a clock is ahead of UTC, `+02:00` or `-03:30`, as minutes; at most 14 hours.
pub fn utc_offset(text: &str) -> Option<i32> {
    let text = text.trim();
    let (sign, rest) = match text.chars().next()? {
        '+' => (1, &text[1..]),
        '-' => (-1, &text[1..]),
        _ => (1, text),
    };
    let minutes = i32::try_from(minute_of_day(rest)?).ok()?;
    (minutes <= 14 * 60).then_some(sign * minutes)
}

/// Writes an offset in minutes as `+02:00`; the reverse of [`utc_offset`].
pub fn offset_text(minutes: i32) -> String {
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("{sign}{}", time_of_day(minutes.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn quiet_hours_end_when_the_persons_own_clock_says_so() {
        let night = Quiet { from: 22 * 60, to: 7 * 60, offset: 120 };
        let over = |now: &str| night.over(at(now)).map(|t| t.to_string());

        assert_eq!(over("2026-11-25T19:59:59Z"), None);
        assert_eq!(over("2026-11-25T20:00:00Z").as_deref(), Some("2026-11-26T05:00:00Z"));
        assert_eq!(over("2026-11-26T04:59:30Z").as_deref(), Some("2026-11-26T05:00:00Z"));
        assert_eq!(over("2026-11-26T05:00:00Z"), None);
        assert_eq!(Quiet { from: 60, to: 60, offset: 0 }.over(at("2026-11-26T01:00:00Z")), None);
    }

    #[test]
    fn times_and_offsets_are_read_strictly() {
        assert_eq!(minute_of_day("22:05"), Some(1325));
        for bad in ["24:00", "7:00", "22:60", "22", "", "22:5", "+1:00"] {
            assert_eq!(minute_of_day(bad), None, "{bad}");
        }
        assert_eq!((utc_offset("+05:30"), utc_offset("-03:00")), (Some(330), Some(-180)));
        assert_eq!((utc_offset("+15:00"), utc_offset("x")), (None, None));
        assert_eq!(offset_text(-180), "-03:00");
    }
}
