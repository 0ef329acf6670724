//! Instants as the program stores and prints them.

use std::fmt;
use std::time::Duration;

use time::format_description::well_known::Rfc3339;
use time::{Date, Month, OffsetDateTime};

/// An instant: microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Reads RFC 3339, with any offset; none where the text is not that.
    ///
    /// <https://www.rfc-editor.org/rfc/rfc3339#section-5.6>
    pub fn parse(text: &str) -> Option<Self> {
        let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        i64::try_from(at.unix_timestamp_nanos() / 1000).ok().map(Self)
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Seconds since the Unix epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// The instant `length` later; saturates at the end of time.
    #[must_use]
    pub fn plus(self, length: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(length.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The instant `length` earlier; saturates at the beginning of time.
    #[must_use]
    pub fn minus(self, length: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(length.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The length of time until `later`; zero if that is past.
    pub fn until(self, later: Self) -> Duration {
        Duration::from_micros(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }

    /// The time of day in UTC, `14:05 UTC`.
    pub fn clock_time(self) -> String {
        let at = self.to_offset();
        format!("{:02}:{:02} UTC", at.hour(), at.minute())
    }

    /// The first instant of the next month in UTC.
    pub(crate) fn end_of_month(self) -> Self {
        let at = self.to_offset();
        let (year, month) = match at.month() {
            Month::December => (at.year() + 1, Month::January),
            month => (at.year(), month.next()),
        };
        let first = Date::from_calendar_date(year, month, 1);
        first.map_or(Self(i64::MAX), |first| {
            Self(first.midnight().assume_utc().unix_timestamp().saturating_mul(1_000_000))
        })
    }

    fn to_offset(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

/// RFC 3339 in UTC, `2026-11-22T20:00:00Z`, with a fraction where there is one.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_offset().format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A length in words for people: "30 minutes", "1 hour 5 minutes", "45 seconds".
pub fn in_words(length: Duration) -> String {
    let unit = |n: u64, name: &str| format!("{n} {name}{}", if n == 1 { "" } else { "s" });
    let seconds = length.as_secs() + u64::from(length.subsec_millis() >= 500);
    let minutes = (seconds + 30) / 60;
    match seconds {
        0..=89 => unit(seconds, "second"),
        90..=5_399 => unit(minutes, "minute"),
        5_400..=172_799 => match minutes % 60 {
            0 => unit(minutes / 60, "hour"),
            rest => format!("{} {}", unit(minutes / 60, "hour"), unit(rest, "minute")),
        },
        _ => unit((seconds + 43_200) / 86_400, "day"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_rfc_3339_in_utc() {
        assert_eq!(
            Timestamp::from_micros(1_795_377_600_000_000).to_string(),
            "2026-11-22T20:00:00Z"
        );
        assert_eq!(Timestamp::from_micros(1_500_000).to_string(), "1970-01-01T00:00:01.5Z");
    }

    #[test]
    fn lengths_read_as_a_person_would_say_them() {
        let words = |s| in_words(Duration::from_secs(s));

        assert_eq!(
            [
                words(1),
                words(50),
                words(900),
                words(1_800),
                words(5_400),
                words(7_200),
                words(172_800)
            ],
            [
                "1 second",
                "50 seconds",
                "15 minutes",
                "30 minutes",
                "1 hour 30 minutes",
                "2 hours",
                "2 days"
            ]
        );
    }
}
