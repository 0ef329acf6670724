//! A reader for what others sent as JSON and is not quite: it finds the members of an object and
//! where each value stands, and never judges what is inside a value.
//!
//! What agents send is read by the strict [`parse`](super::parse); what an upstream answers may
//! hold duplicate keys, lone surrogates, bottomless nesting or `NaN`, and is an answer all the
//! same. Of JSON that the strict reader takes, this one finds the same members at the same places.
//! Nothing here recurses by what was sent, and [`readable`] makes JSON of it that anybody reads.

use std::borrow::Cow;
use std::collections::HashMap;

use super::parse::{JsonError, MAX_DEPTH, parse};
use super::write::{Members, array, quote};

/// A member of an object: its key, and its value as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LooseMember<'a> {
    /// The key, decoded.
    pub key: Cow<'a, str>,
    /// The value's own slice of the text, without surrounding white space.
    pub raw: &'a str,
}

/// The members of the object that this text is, in the order sent, duplicates too; none where it
/// is no object, or where it can't be said where a member ends.
pub fn members(text: &str) -> Option<Vec<LooseMember<'_>>> {
    let (mut scan, mut members) = (Scan::new(text), Vec::new());
    scan.object(&mut members)?;
    scan.is_at_end().then_some(members)
}

/// The whole members that the text begins with, where it begins as an object does.
pub fn first_members(text: &str) -> Vec<LooseMember<'_>> {
    let mut members = Vec::new();
    // How far it goes is what is asked for.
    let _ = Scan::new(text).object(&mut members);
    members
}

/// The elements of the array that this text is; none where it is no array.
pub fn elements(text: &str) -> Option<Vec<&str>> {
    let mut scan = Scan::new(text);
    let elements = scan.array()?;
    scan.is_at_end().then_some(elements)
}

/// The value of the object's member `key`, raw; the last one of several, as readers take it.
pub fn member<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    last(&members(text)?, key)
}

/// The value of the last member of that name, raw.
pub fn last<'a>(members: &[LooseMember<'a>], key: &str) -> Option<&'a str> {
    members.iter().rev().find(|m| m.key == key).map(|m| m.raw)
}

/// The string that this text is, decoded: half of a surrogate pair becomes `\u` and its digits.
pub fn string(raw: &str) -> Option<Cow<'_, str>> {
    let mut scan = Scan::new(raw);
    let inner = scan.string()?;
    scan.is_at_end().then(|| decoded(inner))
}

/// The object with these members in its `_meta`, which is added where there is none; outside of it
/// every byte stays as it was. What it says under the same names is left out.
pub(crate) fn with_meta<V: AsRef<str>>(text: &str, meta: &[(&str, V)]) -> Option<String> {
    let found = members(text)?;
    let old = found.iter().rev().find(|m| m.key == "_meta" && m.raw.starts_with('{'));
    let own = || meta.iter().map(|(key, value)| (*key, value.as_ref()));
    let Some(old) = old else {
        let object = super::object(own());
        return Some(with_member(text, found.is_empty(), "_meta", &object));
    };
    let mut object = Members::new();
    for member in members(old.raw)? {
        if own().all(|(key, _)| key != member.key) {
            object.push(&member.key, member.raw);
        }
    }
    for (key, value) in own() {
        object.push(key, value);
    }
    let start = old.raw.as_ptr().addr() - text.as_ptr().addr();
    let (before, after) = (&text[..start], &text[start + old.raw.len()..]);
    Some(format!("{before}{}{after}", object.end()))
}

/// The object with those of these members that it lacks added at its end.
pub(crate) fn with_missing<V: AsRef<str>>(text: &str, more: &[(&str, V)]) -> Option<String> {
    let found = members(text)?;
    let mut out = text.to_owned();
    let mut is_empty = found.is_empty();
    for (key, value) in more {
        if found.iter().all(|m| m.key != *key) {
            out = with_member(&out, is_empty, key, value.as_ref());
            is_empty = false;
        }
    }
    Some(out)
}

/// Puts a member at the end of an object, whose text ends with its brace.
fn with_member(text: &str, is_empty: bool, key: &str, value: &str) -> String {
    let end = text.rfind('}').unwrap_or(text.len());
    let comma = if is_empty { "" } else { "," };
    format!("{}{comma}{}:{value}{}", &text[..end], quote(key), &text[end..])
}

/// The text itself where the strict reader takes it, else strict JSON that says the same: of
/// duplicate keys the last, half of a surrogate pair and what is no JSON value as a string, and
/// what is nested deeper than [`MAX_DEPTH`] as the string that `deep` makes of its text. None where
/// it can't be read at all.
pub fn readable<'a>(text: &'a str, deep: &dyn Fn(&str) -> String) -> Option<Cow<'a, str>> {
    match parse(text) {
        Ok(_) => Some(Cow::Borrowed(text)),
        Err(_) => repaired(begun(text).trim_end(), 1, deep).map(Cow::Owned),
    }
}

fn repaired(raw: &str, depth: usize, deep: &dyn Fn(&str) -> String) -> Option<String> {
    let nests = raw.starts_with(['{', '[']);
    if nests && depth >= MAX_DEPTH {
        // An empty or flat one would fit, but the place is the same for all.
        return Some(quote(&deep(raw)));
    }
    if raw.starts_with('{') {
        let mut values: Vec<(Cow<'_, str>, String)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for member in members(raw)? {
            let value = repaired(member.raw, depth + 1, deep)?;
            if let Some(&place) = places.get(member.key.as_ref()) {
                values[place].1 = value;
            } else {
                places.insert(member.key.to_string(), values.len());
                values.push((member.key, value));
            }
        }
        let mut out = Members::new();
        for (key, value) in &values {
            out.push(key, value);
        }
        return Some(out.end());
    }
    if raw.starts_with('[') {
        let values: Option<Vec<_>> =
            elements(raw)?.into_iter().map(|e| repaired(e, depth + 1, deep)).collect();
        return Some(array(values?));
    }
    match parse(raw) {
        Ok(_) => Some(raw.to_owned()),
        Err(JsonError::LoneSurrogate { .. }) => string(raw).map(|text| quote(&text)),
        Err(_) if raw.starts_with('"') => string(raw).map(|text| quote(&text)),
        Err(_) => is_odd_number(raw).then(|| quote(raw)),
    }
}

/// Whether it is a number as other languages write it: `NaN`, `-Infinity`, `.5`, `0x1F`.
fn is_odd_number(raw: &str) -> bool {
    let bare = raw.trim_start_matches(['+', '-']).to_ascii_lowercase();
    matches!(bare.as_str(), "nan" | "inf" | "infinity" | "undefined")
        || (bare.starts_with(|c: char| c.is_ascii_digit() || c == '.')
            && bare
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-' | '_')))
}

/// The byte order mark, which some write before their first word.
const BOM: char = '\u{feff}';

/// The text without the marks and white space before its first word.
fn begun(text: &str) -> &str {
    text.trim_start_matches([BOM, ' ', '\t', '\n', '\r'])
}

/// Walks over a text value by value.
struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: text.len() - begun(text).len() }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn takes(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn is_at_end(&mut self) -> bool {
        self.skip_space();
        self.at == self.text.len()
    }

    fn object(&mut self, members: &mut Vec<LooseMember<'a>>) -> Option<()> {
        if !self.takes(b'{') {
            return None;
        }
        self.skip_space();
        if self.takes(b'}') {
            return Some(());
        }
        loop {
            let key = decoded(self.string()?);
            self.skip_space();
            if !self.takes(b':') {
                return None;
            }
            self.skip_space();
            members.push(LooseMember { key, raw: self.value()? });
            self.skip_space();
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
            self.skip_space();
        }
    }

    fn array(&mut self) -> Option<Vec<&'a str>> {
        let mut elements = Vec::new();
        if !self.takes(b'[') {
            return None;
        }
        self.skip_space();
        if self.takes(b']') {
            return Some(elements);
        }
        loop {
            elements.push(self.value()?);
            self.skip_space();
            match self.peek()? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Some(elements);
                }
                _ => return None,
            }
            self.skip_space();
        }
    }

    /// The text of one value, whatever is in it.
    fn value(&mut self) -> Option<&'a str> {
        let start = self.at;
        match self.peek()? {
            b'"' => {
                self.string()?;
            }
            b'{' | b'[' => self.nested()?,
            _ => {
                while self.peek().is_some_and(|byte| !b",]}:\"{[ \t\n\r".contains(&byte)) {
                    self.at += 1;
                }
            }
        }
        // Every byte that ends a value is ASCII, so that these are the ends of characters.
        (self.at > start).then(|| &self.text[start..self.at])
    }

    /// Passes over an object or an array, however deep it is.
    fn nested(&mut self) -> Option<()> {
        let mut open = Vec::new();
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' => open.push(b'}'),
                b'[' => open.push(b']'),
                end @ (b'}' | b']') if open.pop() != Some(end) => return None,
                _ => {}
            }
            self.at += 1;
            if open.is_empty() {
                return Some(());
            }
        }
    }

    /// What stands between the quotes of a string, its escapes as they are.
    fn string(&mut self) -> Option<&'a str> {
        if !self.takes(b'"') {
            return None;
        }
        let start = self.at;
        loop {
            match self.peek()? {
                b'"' => break,
                // What is escaped is one byte at least, and is no quote that ends.
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        let inner = self.text.get(start..self.at)?;
        self.at += 1;
        Some(inner)
    }
}

/// Decodes escapes. What is no escape, or no character, stays as it is written.
fn decoded(inner: &str) -> Cow<'_, str> {
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (c, used) = match rest.as_bytes().get(1) {
            Some(b'n') => ('\n', 2),
            Some(b't') => ('\t', 2),
            Some(b'r') => ('\r', 2),
            Some(b'b') => ('\u{8}', 2),
            Some(b'f') => ('\u{c}', 2),
            Some(b'"') => ('"', 2),
            Some(b'\\') => ('\\', 2),
            Some(b'/') => ('/', 2),
            Some(b'u') => unicode(rest).unwrap_or(('\\', 1)),
            _ => ('\\', 1),
        };
        out.push(c);
        rest = &rest[used..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The character that a text beginning with `\u` begins with, and the length of its escape; none
/// where it is none.
fn unicode(text: &str) -> Option<(char, usize)> {
    let unit = |text: &str| {
        let digits = text.strip_prefix("\\u")?.get(..4)?;
        digits
            .bytes()
            .all(|b| b.is_ascii_hexdigit())
            .then(|| u32::from_str_radix(digits, 16).ok())?
    };
    let first = unit(text)?;
    if let Some(c) = char::from_u32(first) {
        return Some((c, 6));
    }
    let second = unit(text.get(6..)?).filter(|low| (0xDC00..=0xDFFF).contains(low))?;
    let high = first.checked_sub(0xD800).filter(|high| *high < 0x400)?;
    char::from_u32(0x1_0000 + (high << 10) + (second - 0xDC00)).map(|c| (c, 12))
}

#[cfg(test)]
mod tests;
