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
