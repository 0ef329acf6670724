//! The reader: strict, and exact about where each value stands in the source.

use std::borrow::Cow;
use std::collections::HashSet;

use thiserror::Error;

use super::{Member, Node, Value};

/// Deepest nesting that is read; a value at depth 65 is refused.
pub const MAX_DEPTH: usize = 64;

/// How many levels deeper Placet's own JSON may be than what is quoted in it.
const OWN_DEPTH: usize = 8;

/// Why a text was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JsonError {
    /// Not JSON (<https://www.rfc-editor.org/rfc/rfc8259>).
    #[error("not JSON: {what} at byte {offset}")]
    Syntax {
        /// What was expected or found.
        what: &'static str,
        /// Byte offset in the source.
        offset: usize,
    },
    /// The same key twice in one object, however it was escaped. Parsers differ in which one they
    /// keep (<https://www.rfc-editor.org/rfc/rfc8259#section-4>).
    #[error("duplicate key {key:?} at byte {offset}")]
    DuplicateKey {
        /// The key, decoded.
        key: String,
        /// Byte offset of its second occurrence.
        offset: usize,
    },
    /// Nested deeper than [`MAX_DEPTH`], a limit that a parser may set
    /// (<https://www.rfc-editor.org/rfc/rfc8259#section-9>).
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// Half of a surrogate pair, which is not a character. Parsers differ in what they make of it
    /// (<https://www.rfc-editor.org/rfc/rfc8259#section-8.2>).
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

/// The bytes of a JSON text without the byte order mark that some writers put before it: a reader
/// may ignore it (<https://www.rfc-editor.org/rfc/rfc8259#section-8.1>).
pub fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes)
}

/// Reads one JSON text.
///
/// # Errors
/// [`JsonError`] says what was refused and where.
pub fn parse(source: &str) -> Result<Node<'_>, JsonError> {
    parse_within(source, MAX_DEPTH)
}

/// Reads JSON that this program wrote around values it had read. A list of approvals may be nested
/// a few levels deeper than the deepest call in it.
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
