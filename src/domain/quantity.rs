//! Amounts that limits count: exact decimals that are never negative.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Most digits after the point that are counted.
pub const MAX_FRACTION: usize = 12;
/// An amount is less than one with so many zeros before the point.
pub const MAX_WHOLE: usize = 24;

/// Units in one: a unit is the smallest amount.
const SCALE: u128 = 10_u128.pow(12);
/// All amounts are below it; a sum of hundreds of them can't overflow.
const END: u128 = 10_u128.pow(36);

/// An exact decimal from zero, with at most [`MAX_FRACTION`] digits after the point and
/// [`MAX_WHOLE`] before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(u128);

/// Why a number is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoQuantity {
    /// It is not a number of JSON.
    #[error("is no number")]
    NoNumber,
    /// It is less than zero.
    #[error("is negative")]
    Negative,
    /// It has more than [`MAX_FRACTION`] digits after the point.
    #[error("has more than {MAX_FRACTION} digits after the point")]
    TooFine,
    /// It has more than [`MAX_WHOLE`] digits before the point.
    #[error("has more than {MAX_WHOLE} digits before the point")]
    TooLarge,
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// A whole number.
    pub const fn whole(n: u64) -> Self {
        Self(n as u128 * SCALE)
    }

    /// Reads a number of JSON, exactly, however it is spelled (`25`, `25.0`, `2.5e1`).
    ///
    /// <https://www.rfc-editor.org/rfc/rfc8259#section-6>
    ///
    /// # Errors
    /// [`NoQuantity`], where it is no number, negative, or can't be counted exactly.
    pub fn parse(text: &str) -> Result<Self, NoQuantity> {
        let (negative, number) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match number.find(['e', 'E']) {
            Some(i) => (&number[..i], exponent(&number[i + 1..]).ok_or(NoQuantity::NoNumber)?),
            None => (number, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
        let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !all_digits(whole) || !all_digits(fraction) {
            return Err(NoQuantity::NoNumber);
        }
        let digits = format!("{whole}{fraction}");
        let trimmed = digits.trim_end_matches('0');
        let zeros = i64::try_from(digits.len() - trimmed.len()).unwrap_or(i64::MAX);
        let trimmed = trimmed.trim_start_matches('0');
        if trimmed.is_empty() {
            return Ok(Self::ZERO);
        }
        if negative {
            return Err(NoQuantity::Negative);
        }
        // The value is `trimmed` followed by so many zeros, in units.
        let length = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX);
        let behind = exponent.saturating_add(12).saturating_add(zeros);
        let behind = behind.saturating_sub(length(fraction));
        if behind < 0 {
            return Err(NoQuantity::TooFine);
        }
        if behind.saturating_add(length(trimmed)) > 36 {
            return Err(NoQuantity::TooLarge);
        }
        let behind = u32::try_from(behind).map_err(|_| NoQuantity::TooLarge)?;
        let value: u128 = trimmed.parse().map_err(|_| NoQuantity::TooLarge)?;
        Ok(Self(value * 10_u128.pow(behind)))
    }

    /// The sum; saturates where it can't be counted any more, above every limit.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left; nothing where more is taken away.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Whether it is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Whether it is as large as a single amount may be.
    pub const fn is_countable(self) -> bool {
        self.0 < END
    }
}

fn exponent(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // Far beyond any amount it makes no difference.
    let value = digits.bytes().fold(0_i64, |n, d| (n * 10 + i64::from(d - b'0')).min(1 << 40));
    Some(if negative { -value } else { value })
}

/// The shortest plain spelling: `25`, `0.99`.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / SCALE, self.0 % SCALE);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        write!(f, "{whole}.{}", format!("{rest:012}").trim_end_matches('0'))
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_amount_is_exactly_the_number_however_it_is_spelled() {
        for (text, shown) in [
            ("0", "0"),
            ("-0", "0"),
            ("0.0e99999999999999999999", "0"),
            ("25", "25"),
            ("25.0", "25"),
            ("2.5e1", "25"),
            ("2500E-2", "25"),
            ("0.99", "0.99"),
            ("1e-12", "0.000000000001"),
            ("0.10", "0.1"),
            ("9007199254740993", "9007199254740993"),
            ("999999999999999999999999.999999999999", "999999999999999999999999.999999999999"),
            ("1e23", "100000000000000000000000"),
        ] {
            assert_eq!(
                Quantity::parse(text).map(|q| q.to_string()),
                Ok(shown.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_can_not_be_counted_exactly_is_no_amount() {
        for (text, why) in [
            ("-1", NoQuantity::Negative),
            ("-0.001", NoQuantity::Negative),
            ("-1e-999999999999999999999", NoQuantity::Negative),
            ("1e-13", NoQuantity::TooFine),
            ("0.1234567890123", NoQuantity::TooFine),
            ("1e24", NoQuantity::TooLarge),
            ("1e999999999999999999999999", NoQuantity::TooLarge),
            ("", NoQuantity::NoNumber),
            ("x", NoQuantity::NoNumber),
            ("1.", NoQuantity::NoNumber),
            ("1e", NoQuantity::NoNumber),
            ("+1", NoQuantity::NoNumber),
        ] {
            assert_eq!(Quantity::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn tenths_add_up_without_an_error() {
        let tenth = Quantity::parse("0.1").unwrap();

        let sum = (0..10).fold(Quantity::ZERO, |sum, _| sum.plus(tenth));

        assert_eq!(sum, Quantity::whole(1));
        assert_eq!(Quantity::ZERO.minus(tenth), Quantity::ZERO);
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_as_the_same(units in 0..END) {
            let amount = Quantity(units);
            prop_assert_eq!(Quantity::parse(&amount.to_string()), Ok(amount));
        }
    }
}
