//! Exact JSON: one pass over the source text, nothing rounded, nothing reordered.
//!
//! Numbers stay the digits that were sent, every value knows its slice of the source, and
//! whatever two parsers could read differently (duplicate keys, lone surrogates, bottomless
//! nesting) is refused. The same tree serves the digest, the policy, masking and the pages, so
//! they can't disagree about what a call says.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashSet;

use thiserror::Error;

/// Deepest nesting that is read; a value at depth 65 is refused.
pub const MAX_DEPTH: usize = 64;

/// How much deeper our own answers may be than what is quoted in them.
const OWN_DEPTH: usize = 8;

/// Why a text was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JsonError {
    /// Not JSON (RFC 8259).
    #[error("not JSON: {what} at byte {offset}")]
    Syntax {
        /// What was expected or found.
        what: &'static str,
        /// Byte offset in the source.
        offset: usize,
    },
    /// The same key twice in one object, however it was escaped.
    #[error("duplicate key {key:?} at byte {offset}")]
    DuplicateKey {
        /// The key, decoded.
        key: String,
        /// Byte offset of its second occurrence.
        offset: usize,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// Half of a surrogate pair: not a character.
    #[error("lone surrogate in a string at byte {offset}")]
    LoneSurrogate {
        /// Byte offset of the escape.
        offset: usize,
    },
}

impl JsonError {
    /// Whether the text is not JSON at all, as opposed to JSON that is refused.
    pub fn is_syntax(&self) -> bool {
        matches!(self, Self::Syntax { .. })
    }
}

/// A value together with the exact text it was read from.
#[derive(Debug, Clone, PartialEq)]
pub struct Node<'a> {
    /// The value's own slice of the source, without surrounding white space.
    pub raw: &'a str,
    /// What it says.
    pub value: Value<'a>,
}

/// A JSON value; numbers are source slices.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number exactly as sent.
    Number(&'a str),
    /// A string, decoded.
    String(Cow<'a, str>),
    /// An array.
    Array(Vec<Node<'a>>),
    /// An object, members in the order sent.
    Object(Vec<Member<'a>>),
}

/// One member of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Member<'a> {
    /// The key, decoded.
    pub key: Cow<'a, str>,
    /// The key as sent, with its quotes.
    pub raw_key: &'a str,
    /// The value.
    pub node: Node<'a>,
}

impl<'a> Node<'a> {
    /// The member of that name, if this is an object that has one.
    pub fn get(&self, key: &str) -> Option<&Node<'a>> {
        self.members()?.iter().find(|m| m.key == key).map(|m| &m.node)
    }

    /// The members, if this is an object.
    pub fn members(&self) -> Option<&[Member<'a>]> {
        match &self.value {
            Value::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The elements, if this is an array.
    pub fn elements(&self) -> Option<&[Node<'a>]> {
        match &self.value {
            Value::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// The decoded text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The truth value, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        match &self.value {
            Value::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// The digits as sent, if this is a number.
    pub fn as_number(&self) -> Option<&'a str> {
        match &self.value {
            Value::Number(digits) => Some(digits),
            _ => None,
        }
    }

    /// Whether this is an object.
    pub fn is_object(&self) -> bool {
        matches!(self.value, Value::Object(_))
    }

    /// What kind of value this is, in JSON's words.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        }
    }

    /// Canonical form: RFC 8785 key order, white space and string escapes; numbers exactly as
    /// sent, since rounding them would make two different calls look the same.
    pub fn canonical(&self) -> String {
        let mut out = String::with_capacity(self.raw.len());
        self.write_canonical(&mut out);
        out
    }

    fn write_canonical(&self, out: &mut String) {
        match &self.value {
            Value::Null => out.push_str("null"),
            Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Value::Number(digits) => out.push_str(digits),
            Value::String(text) => write_string(text, out),
            Value::Array(elements) => {
                out.push('[');
                for (i, element) in elements.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    element.write_canonical(out);
                }
                out.push(']');
            }
            Value::Object(members) => {
                let mut sorted: Vec<&Member<'_>> = members.iter().collect();
                sorted.sort_by(|a, b| a.key.encode_utf16().cmp(b.key.encode_utf16()));
                out.push('{');
                for (i, member) in sorted.into_iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    write_string(&member.key, out);
                    out.push(':');
                    member.node.write_canonical(out);
                }
                out.push('}');
            }
        }
    }
}

/// Writes a JSON string with the escapes of RFC 8785 (those of ECMAScript's `JSON.stringify`).
pub fn write_string(text: &str, out: &mut String) {
    use std::fmt::Write as _;
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A JSON string literal for `text`.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    write_string(text, &mut out);
    out
}

/// An object from ordered (key, raw value) pairs.
pub fn object<'k, 'v>(pairs: impl IntoIterator<Item = (&'k str, &'v str)>) -> String {
    let mut out = String::from("{");
    for (key, raw) in pairs {
        if out.len() > 1 {
            out.push(',');
        }
        write_string(key, &mut out);
        out.push(':');
        out.push_str(raw);
    }
    out.push('}');
    out
}

/// Reads one JSON text.
///
/// # Errors
/// [`JsonError`] says what was refused and where.
pub fn parse(source: &str) -> Result<Node<'_>, JsonError> {
    parse_within(source, MAX_DEPTH)
}

/// Reads what this program wrote around values it had read: a list of approvals may be that much
/// deeper than the deepest call in it.
///
/// # Errors
/// [`JsonError`] says what was refused and where.
pub fn parse_own(source: &str) -> Result<Node<'_>, JsonError> {
    parse_within(source, MAX_DEPTH + OWN_DEPTH)
}

fn parse_within(source: &str, deepest: usize) -> Result<Node<'_>, JsonError> {
    let mut reader = Reader { source, bytes: source.as_bytes(), at: 0, deepest };
    reader.skip_space();
    let node = reader.value(1)?;
    reader.skip_space();
    if reader.at < reader.bytes.len() {
        return Err(reader.syntax("text after the value"));
    }
    Ok(node)
}

struct Reader<'a> {
    source: &'a str,
    bytes: &'a [u8],
    at: usize,
    deepest: usize,
}

impl<'a> Reader<'a> {
    fn syntax(&self, what: &'static str) -> JsonError {
        JsonError::Syntax { what, offset: self.at }
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node<'a>, JsonError> {
        if depth > self.deepest {
            return Err(JsonError::TooDeep);
        }
        let start = self.at;
        let value = match self.bytes.get(self.at) {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => Value::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true", Value::Bool(true))?,
            Some(b'f') => self.word("false", Value::Bool(false))?,
            Some(b'n') => self.word("null", Value::Null)?,
            Some(_) => return Err(self.syntax("unexpected character")),
            None => return Err(self.syntax("unexpected end")),
        };
        Ok(Node { raw: &self.source[start..self.at], value })
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, JsonError> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(self.syntax("unexpected character"))
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value<'a>, JsonError> {
        self.at += 1;
        let mut members: Vec<Member<'a>> = Vec::new();
        // Small objects are searched, large ones hashed: a hostile object of 100,000 keys must
        // not cost quadratic time, and a usual one should cost no allocation.
        let mut seen: Option<HashSet<String>> = None;
        self.skip_space();
        if self.bytes.get(self.at) == Some(&b'}') {
            self.at += 1;
            return Ok(Value::Object(members));
        }
        loop {
            let key_start = self.at;
            if self.bytes.get(self.at) != Some(&b'"') {
                return Err(self.syntax("expected a key"));
            }
            let key = self.string()?;
            let raw_key = &self.source[key_start..self.at];
            let known = match &mut seen {
                Some(set) => !set.insert(key.to_string()),
                None => members.iter().any(|m| m.key == key),
            };
            if known {
                return Err(JsonError::DuplicateKey { key: key.into_owned(), offset: key_start });
            }
            self.skip_space();
            if self.bytes.get(self.at) != Some(&b':') {
                return Err(self.syntax("expected ':'"));
            }
            self.at += 1;
            self.skip_space();
            let node = self.value(depth + 1)?;
            members.push(Member { key, raw_key, node });
            if members.len() == 32 && seen.is_none() {
                seen = Some(members.iter().map(|m| m.key.to_string()).collect());
            }
            self.skip_space();
            match self.bytes.get(self.at) {
                Some(b',') => {
                    self.at += 1;
                    self.skip_space();
                }
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Object(members));
                }
                _ => return Err(self.syntax("expected ',' or '}'")),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value<'a>, JsonError> {
        self.at += 1;
        let mut elements = Vec::new();
        self.skip_space();
        if self.bytes.get(self.at) == Some(&b']') {
            self.at += 1;
            return Ok(Value::Array(elements));
        }
        loop {
            elements.push(self.value(depth + 1)?);
            self.skip_space();
            match self.bytes.get(self.at) {
                Some(b',') => {
                    self.at += 1;
                    self.skip_space();
                }
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::Array(elements));
                }
                _ => return Err(self.syntax("expected ',' or ']'")),
            }
        }
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.bytes.get(self.at) {
            self.at += 1;
        }
        if self.at == start { Err(self.syntax("expected a digit")) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<Value<'a>, JsonError> {
        let start = self.at;
        if self.bytes[self.at] == b'-' {
            self.at += 1;
        }
        if self.bytes.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Value::Number(&self.source[start..self.at]))
    }

    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    let text = &self.source[start..self.at];
                    self.at += 1;
                    return Ok(Cow::Borrowed(text));
                }
                Some(b'\\') => break,
                Some(0..=0x1f) => return Err(self.syntax("control character in a string")),
                Some(_) => self.at += 1,
                None => return Err(self.syntax("unterminated string")),
            }
        }
        let mut text = String::from(&self.source[start..self.at]);
        let mut plain = self.at;
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    text.push_str(&self.source[plain..self.at]);
                    self.at += 1;
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => {
                    text.push_str(&self.source[plain..self.at]);
                    text.push(self.escape()?);
                    plain = self.at;
                }
                Some(0..=0x1f) => return Err(self.syntax("control character in a string")),
                Some(_) => self.at += 1,
                None => return Err(self.syntax("unterminated string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let start = self.at;
        self.at += 1;
        let kind = *self.bytes.get(self.at).ok_or_else(|| self.syntax("unterminated string"))?;
        self.at += 1;
        Ok(match kind {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex4()?;
                let code = match first {
                    0xD800..=0xDBFF => {
                        if self.bytes.get(self.at) != Some(&b'\\')
                            || self.bytes.get(self.at + 1) != Some(&b'u')
                        {
                            return Err(JsonError::LoneSurrogate { offset: start });
                        }
                        self.at += 2;
                        let second = self.hex4()?;
                        if !(0xDC00..=0xDFFF).contains(&second) {
                            return Err(JsonError::LoneSurrogate { offset: start });
                        }
                        0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00)
                    }
                    code => code,
                };
                char::from_u32(code).ok_or(JsonError::LoneSurrogate { offset: start })?
            }
            _ => {
                self.at -= 1;
                return Err(self.syntax("unknown escape"));
            }
        })
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self
                .bytes
                .get(self.at)
                .and_then(|b| char::from(*b).to_digit(16))
                .ok_or_else(|| self.syntax("expected four hex digits"))?;
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }
}

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

/// An exponent beyond any sane size saturates: such numbers still order among the sane ones.
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
mod tests;
