//! Lengths of time as people write them: `250ms`, `50s`, `15m`, `2h`, `30d`.
//!
//! One spelling for configuration and policy. Whole numbers with one unit only: `1.5h` and `1h30m`
//! are refused rather than guessed at.

use std::time::Duration;

use thiserror::Error;

/// Longest length that is read, in days: a hundred years, so that adding one to a time of day
/// can't leave the calendar.
pub(crate) const MAX_DAYS: u64 = 36_500;

/// Why a text is not a length of time. It does not repeat the text, which may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum NoDuration {
    /// It is not one number with one unit.
    #[error("expected a whole number and a unit, as in 250ms, 50s, 15m, 2h, 30d")]
    Unreadable,
    /// It is longer than [`MAX_DAYS`].
    #[error("is too long; at most {MAX_DAYS}d")]
    TooLong,
}

impl NoDuration {
    /// The same in a sentence that names the text.
    pub(crate) fn about(self, text: &str) -> String {
        match self {
            Self::Unreadable => format!(
                "{text:?} is not a duration; write a whole number and one of ms, s, m, h, d, \
                 such as \"250ms\", \"50s\", \"15m\", \"2h\" or \"30d\""
            ),
            Self::TooLong => format!("{text:?} is too long; write at most \"{MAX_DAYS}d\""),
        }
    }
}

/// Reads a length of time: a whole number and one of the units `ms`, `s`, `m`, `h`, `d`.
///
/// # Errors
/// [`NoDuration::Unreadable`], or [`NoDuration::TooLong`] beyond [`MAX_DAYS`].
pub(crate) fn parse_duration(text: &str) -> Result<Duration, NoDuration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(unit_at);
    let milliseconds_per_unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => 0,
    };
    if digits.is_empty() || milliseconds_per_unit == 0 {
        return Err(NoDuration::Unreadable);
    }
    digits
        .parse::<u64>()
        .ok()
        .and_then(|count| count.checked_mul(milliseconds_per_unit))
        .filter(|milliseconds| *milliseconds <= MAX_DAYS * 86_400_000)
        .map(Duration::from_millis)
        .ok_or(NoDuration::TooLong)
}

/// A length in the one spelling, in the largest unit of which it is a whole number.
pub(crate) fn shown(length: Duration) -> String {
    let milliseconds = length.as_millis();
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    let whole =
        units.into_iter().find(|(_, of)| milliseconds > 0 && milliseconds.is_multiple_of(*of));
    let (unit, of) = whole.unwrap_or(("ms", 1));
    format!("{}{unit}", milliseconds / of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_shown_as_it_would_be_written() {
        for text in ["0ms", "250ms", "50s", "15m", "2h", "30d", "90m"] {
            assert_eq!(shown(parse_duration(text).unwrap()), text);
        }
    }

    #[test]
    fn every_unit_is_read() {
        let seconds = |text| parse_duration(text).unwrap().as_secs();

        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(seconds("0s"), 0);
        assert_eq!(seconds("50s"), 50);
        assert_eq!(seconds("15m"), 900);
        assert_eq!(seconds("2h"), 7_200);
        assert_eq!(seconds("30d"), 2_592_000);
    }

    #[test]
    fn what_is_not_a_duration_is_named_with_its_mend() {
        for text in ["", "15", "m", "15 m", "-5s", "+5s", "1.5h", "1h30m", "15M", "15min", "٣s"] {
            let error = parse_duration(text).unwrap_err();
            let message = error.about(text);

            assert!(message.starts_with(&format!("{text:?} is not a duration")), "{message}");
            assert!(message.contains("\"15m\"") && error.to_string().contains("15m"), "{message}");
        }
    }

    #[test]
    fn the_longest_length_is_a_hundred_years() {
        assert!(parse_duration("36500d").is_ok());
        for text in ["36501d", "99999999999999999999s", "18446744073709551615d"] {
            let error = parse_duration(text).unwrap_err();
            assert_eq!(error.to_string(), "is too long; at most 36500d");
            assert!(error.about(text).contains("at most \"36500d\""), "{text}");
        }
    }
}
