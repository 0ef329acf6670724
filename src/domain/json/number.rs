//! Numbers compared as the digits they are, without a float in between.

use std::cmp::Ordering;

/// Compares two JSON numbers by value, exactly, whatever their size or spelling
/// (`1e2` equals `100.0`; `9007199254740993` is more than `9007199254740992`).
pub fn compare_numbers(a: &str, b: &str) -> Ordering {
    let (a, b) = (Decimal::read(a), Decimal::read(b));
    match (a.sign(), b.sign()) {
        (x, y) if x != y => x.cmp(&y),
        (0, _) => Ordering::Equal,
        (1, _) => a.compare_magnitude(&b),
        _ => b.compare_magnitude(&a),
    }
}

/// The whole number that this JSON number is, however it is spelled (`7`, `7.0`, `70e-1`); none
/// where it is no JSON number, negative, not whole, or larger than a `u64`.
pub fn whole_number(text: &str) -> Option<u64> {
    let node = super::parse(text).ok()?;
    let number = Decimal::read(node.as_number()?);
    if number.digits.is_empty() {
        return Some(0);
    }
    let length = usize::try_from(number.exponent).ok().filter(|n| *n <= 20)?;
    if number.negative || length < number.digits.len() {
        return None;
    }
    let digits = std::str::from_utf8(&number.digits).ok()?;
    format!("{digits:0<length$}").parse().ok()
}

/// Whether a JSON number is the shortest spelling of the IEEE 754 double that it is read as, as
/// ECMAScript writes it (<https://tc39.es/ecma262/#sec-numeric-types-number-tostring>); an exponent may
/// be spelled with `E`, a plus sign and leading zeros. Every reader takes such a number for the same
/// value; `1e-400`, `9007199254740993`, `1.0` and `-0` are read by some as another, or not at all.
pub fn is_shortest(text: &str) -> bool {
    // Most numbers are small integers.
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.len() <= 15 && digits.bytes().all(|b| b.is_ascii_digit()) {
        return text != "-0";
    }
    let Ok(double) = text.parse::<f64>() else { return false };
    double.is_finite() && shortest(double) == plain_exponent(text)
}

/// The double as ECMAScript writes it, without the plus sign of its exponent.
fn shortest(double: f64) -> String {
    let written = format!("{double:e}");
    let (sign, written) = match written.strip_prefix('-') {
        // Its sign is lost, as there.
        Some(_) if double == 0.0 => return "0".to_owned(),
        Some(rest) => ("-", rest),
        None => ("", written.as_str()),
    };
    let (mantissa, exponent) = written.split_once('e').unwrap_or((written, "0"));
    let digits = mantissa.replace('.', "");
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let zeros = |n: i32| "0".repeat(usize::try_from(n).unwrap_or(0));
    match exponent {
        -6..=-1 => format!("{sign}0.{}{digits}", zeros(-exponent - 1)),
        0..=20 if count <= exponent + 1 => format!("{sign}{digits}{}", zeros(exponent + 1 - count)),
        0..=20 => {
            let (whole, fraction) = digits.split_at(usize::try_from(exponent + 1).unwrap_or(0));
            format!("{sign}{whole}.{fraction}")
        }
        _ => format!("{sign}{mantissa}e{exponent}"),
    }
}

/// The number with its exponent as `e`, a minus sign if there is one, and digits without zeros before
/// them.
fn plain_exponent(text: &str) -> String {
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else { return text.to_owned() };
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", exponent.strip_prefix('+').unwrap_or(exponent)),
    };
    format!("{mantissa}e{sign}{}", digits.trim_start_matches('0'))
}

/// 0.d1d2d3… × 10^exponent, without leading or trailing zeros among the digits.
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    exponent: i128,
}

impl Decimal {
    fn read(text: &str) -> Self {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(i) => (&text[..i], exponent(&text[i + 1..])),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let zeros = digits.iter().take_while(|d| **d == b'0').count();
        digits.drain(..zeros);
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        let exponent = exponent + whole.len() as i128 - zeros as i128;
        Self { negative, digits, exponent }
    }

    fn sign(&self) -> i8 {
        match (self.digits.is_empty(), self.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }

    fn compare_magnitude(&self, other: &Self) -> Ordering {
        self.exponent.cmp(&other.exponent).then_with(|| self.digits.cmp(&other.digits))
    }
}

/// Reads an exponent. One beyond any sane size saturates, so that such a number is still greater or
/// smaller than the sane ones.
fn exponent(text: &str) -> i128 {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value =
        digits.bytes().fold(0_i128, |n, d| (n * 10 + i128::from(d - b'0')).min(1_i128 << 100));
    if negative { -value } else { value }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_shortest_spelling_of_a_double_is_the_only_one() {
        for text in [
            "0",
            "1",
            "-1",
            "10",
            "1.5",
            "-0.1",
            "100",
            "1e21",
            "1e+21",
            "1E21",
            "1.5e-7",
            "1.5e-07",
            "0.000001",
            "9007199254740992",
            "123456789012345680000",
            "5e-324",
            "1.7976931348623157e308",
        ] {
            assert!(is_shortest(text), "{text}");
        }
        for text in [
            "-0",
            "0.0",
            "1.0",
            "1e0",
            "10e0",
            "100e-2",
            "1e2",
            "0.10",
            "1e-400",
            "1e400",
            "0e5",
            "9007199254740993",
            "0.1000000000000000055",
            "1000000000000000000000",
            "0.0000001",
            "12345678901234567890",
            "1.5e300000000000000000000",
            "-0.0",
            "2e-324",
            "1e-7000",
        ] {
            assert!(!is_shortest(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_a_double_is_written_as_is_shortest_and_means_that_double(bits in any::<u64>()) {
            let double = f64::from_bits(bits);
            prop_assume!(double.is_finite());
            let text = shortest(double);

            let again = text.parse::<f64>().unwrap();
            prop_assert!(again.to_bits() == double.to_bits() || text == "0");
            prop_assert!(is_shortest(&text));
            let longer = if text.contains('.') && !text.contains('e') {
                format!("{text}0")
            } else {
                format!("{text}e0").replacen("e0", if text.contains('e') { "" } else { ".0" }, 1)
            };
            prop_assert!(longer == text || !is_shortest(&longer), "{}", longer);
        }
    }
}
