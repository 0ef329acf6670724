//! The reader: strict, and exact about where each value stands in the source.

use std::borrow::Cow;

use thiserror::Error;

use super::Node;

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
    /// More values than [`parse_within`] was told to read.
    #[error("more than {limit} values")]
    TooMany {
        /// Most values that may be read.
        limit: usize,
    },
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
    checked(source, MAX_DEPTH, usize::MAX)
}

/// Reads one JSON text of at most `max_values` values: each element and each member's value counts
/// as one, and so do arrays and objects themselves.
///
/// # Errors
/// [`JsonError`] says what was refused and where.
pub fn parse_within(source: &str, max_values: usize) -> Result<Node<'_>, JsonError> {
    checked(source, MAX_DEPTH, max_values)
}

/// Reads JSON that this program wrote around values it had read. A list of approvals may be nested
/// a few levels deeper than the deepest call in it.
///
/// # Errors
/// [`JsonError`] says what was refused and where.
pub fn parse_own(source: &str) -> Result<Node<'_>, JsonError> {
    checked(source, MAX_DEPTH + OWN_DEPTH, usize::MAX)
}

/// Checks the whole text, in one pass that keeps nothing but the places of keys.
fn checked(source: &str, deepest: usize, max_values: usize) -> Result<Node<'_>, JsonError> {
    let bytes = source.as_bytes();
    let mut reader =
        Reader { source, bytes, at: 0, deepest, max_values, left: max_values, keys: Vec::new() };
    reader.skip_space();
    let start = reader.at;
    reader.value(1)?;
    let end = reader.at;
    reader.skip_space();
    if reader.at < reader.bytes.len() {
        return Err(reader.syntax("text after the value"));
    }
    Ok(Node::of(&source[start..end]))
}

/// Up to so many members each key is compared with those before it; of more, the keys are sorted:
/// a hostile object of 100,000 keys must not cost quadratic time.
const COMPARED: usize = 32;

/// A key's place in the source, with its quotes.
#[derive(Clone, Copy)]
struct Key {
    start: u32,
    end: u32,
}

struct Reader<'a> {
    source: &'a str,
    bytes: &'a [u8],
    at: usize,
    deepest: usize,
    max_values: usize,
    /// Values that may still be read.
    left: usize,
    /// The keys of the objects that are being read, those of the innermost last.
    keys: Vec<Key>,
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

    fn value(&mut self, depth: usize) -> Result<(), JsonError> {
        if depth > self.deepest {
            return Err(JsonError::TooDeep);
        }
        let Some(left) = self.left.checked_sub(1) else {
            return Err(JsonError::TooMany { limit: self.max_values });
        };
        self.left = left;
        match self.bytes.get(self.at) {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(_) => Err(self.syntax("unexpected character")),
            None => Err(self.syntax("unexpected end")),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), JsonError> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.syntax("unexpected character"))
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), JsonError> {
        self.at += 1;
        let own = self.keys.len();
        self.skip_space();
        if self.bytes.get(self.at) == Some(&b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            let start = self.at;
            if self.bytes.get(self.at) != Some(&b'"') {
                return Err(self.syntax("expected a key"));
            }
            self.string()?;
            self.key(own, start)?;
            self.skip_space();
            if self.bytes.get(self.at) != Some(&b':') {
                return Err(self.syntax("expected ':'"));
            }
            self.at += 1;
            self.skip_space();
            self.value(depth + 1)?;
            self.skip_space();
            match self.bytes.get(self.at) {
                Some(b',') => {
                    self.at += 1;
                    self.skip_space();
                }
                Some(b'}') => {
                    self.at += 1;
                    self.all_different(own)?;
                    self.keys.truncate(own);
                    return Ok(());
                }
                _ => return Err(self.syntax("expected ',' or '}'")),
            }
        }
    }

    /// Notes a key that began at `start`, of the object whose keys begin at `own`.
    fn key(&mut self, own: usize, start: usize) -> Result<(), JsonError> {
        let place = |at: usize| u32::try_from(at).map_err(|_| self.syntax("too long a text"));
        let key = Key { start: place(start)?, end: place(self.at)? };
        let before = &self.keys[own..];
        if before.len() < COMPARED && before.iter().any(|other| self.text(*other) == self.text(key))
        {
            return Err(self.duplicate(key));
        }
        self.keys.push(key);
        Ok(())
    }

    /// Finds a key twice among many.
    fn all_different(&mut self, own: usize) -> Result<(), JsonError> {
        if self.keys.len() - own <= COMPARED {
            return Ok(());
        }
        let mut keys = self.keys.split_off(own);
        keys.sort_unstable_by(|a, b| self.text(*a).cmp(&self.text(*b)).then(a.start.cmp(&b.start)));
        match keys.windows(2).find(|two| self.text(two[0]) == self.text(two[1])) {
            Some(two) => Err(self.duplicate(two[1])),
            None => Ok(()),
        }
    }

    fn text(&self, key: Key) -> Cow<'a, str> {
        unescaped(&self.source[key.start as usize..key.end as usize])
    }

    fn duplicate(&self, key: Key) -> JsonError {
        JsonError::DuplicateKey { key: self.text(key).into_owned(), offset: key.start as usize }
    }

    fn array(&mut self, depth: usize) -> Result<(), JsonError> {
        self.at += 1;
        self.skip_space();
        if self.bytes.get(self.at) == Some(&b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            self.skip_space();
            match self.bytes.get(self.at) {
                Some(b',') => {
                    self.at += 1;
                    self.skip_space();
                }
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
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

    fn number(&mut self) -> Result<(), JsonError> {
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
        Ok(())
    }

    /// Checks a string, up to after its closing quote.
    fn string(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.escape()?;
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

/// What a string says that was checked, given with its quotes.
pub(super) fn unescaped(raw: &str) -> Cow<'_, str> {
    let inside = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    let mut reader = Reader {
        source: inside,
        bytes: inside.as_bytes(),
        at: 0,
        deepest: 0,
        max_values: 0,
        left: 0,
        keys: Vec::new(),
    };
    let mut text = String::with_capacity(inside.len());
    while let Some(found) = inside[reader.at..].find('\\') {
        text.push_str(&inside[reader.at..reader.at + found]);
        reader.at += found;
        match reader.escape() {
            Ok(c) => text.push(c),
            // It was checked: this is never reached.
            Err(_) => return Cow::Borrowed(inside),
        }
    }
    text.push_str(&inside[reader.at..]);
    text.shrink_to_fit();
    Cow::Owned(text)
}
