//! The parts of an array or object, read from its text when somebody first looks at them.
//!
//! A text is checked as a whole when it is read, and no tree is built of it: of most messages only
//! a few values near the top are ever looked at, and a tree is many times as large as its text.

use std::ops::Deref;
use std::sync::OnceLock;

use super::parse::unescaped;
use super::{Member, Node, Value};

/// From this many bytes on parts are counted before they are read, so that nothing grows.
const COUNTED: usize = 4 << 10;

/// Elements or members. They are read at the first look at any of them, one level deep.
pub struct Parts<'a, T>(Box<Inner<'a, T>>);

struct Inner<'a, T> {
    /// The array or object as sent, checked.
    source: &'a str,
    parts: OnceLock<Box<[T]>>,
}

/// What stands in an array or object.
pub(super) trait Part<'a>: Sized {
    /// Reads one that begins at this place; says where it ends.
    fn read(source: &'a str, at: usize) -> (Self, usize);

    /// Where one ends that begins at this place.
    fn end(bytes: &[u8], at: usize) -> usize;
}

impl<'a, T> Parts<'a, T> {
    pub(super) fn of(source: &'a str) -> Self {
        Self(Box::new(Inner { source, parts: OnceLock::new() }))
    }

    /// One after the other, without keeping them.
    pub(super) fn each(&self) -> Each<'a, T> {
        Each { source: self.0.source, at: 1, part: std::marker::PhantomData }
    }
}

impl<'a, T: Part<'a>> Deref for Parts<'a, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.0.parts.get_or_init(|| {
            let count = if self.0.source.len() < COUNTED { 0 } else { count::<T>(self.0.source) };
            let mut parts = Vec::with_capacity(count);
            parts.extend(self.each());
            parts.into_boxed_slice()
        })
    }
}

impl<'p, 'a, T: Part<'a>> IntoIterator for &'p Parts<'a, T> {
    type Item = &'p T;
    type IntoIter = std::slice::Iter<'p, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T> Clone for Parts<'_, T> {
    fn clone(&self) -> Self {
        Self::of(self.0.source)
    }
}

impl<'a, T: Part<'a> + PartialEq> PartialEq for Parts<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.source == other.0.source || **self == **other
    }
}

impl<T> std::fmt::Debug for Parts<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.source)
    }
}

fn count<'a, T: Part<'a>>(source: &str) -> usize {
    let (bytes, mut at, mut count) = (source.as_bytes(), 1, 0);
    while let Some(start) = next(bytes, at) {
        at = T::end(bytes, start);
        count += 1;
    }
    count
}

/// Where the next part begins, after the one that ended here; none at the end of the last. The text
/// was checked.
fn next(bytes: &[u8], mut at: usize) -> Option<usize> {
    while let Some(b' ' | b'\t' | b'\n' | b'\r' | b',') = bytes.get(at) {
        at += 1;
    }
    (at + 1 < bytes.len()).then_some(at)
}

fn space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Where the string ends that begins here, after its closing quote.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    at += 1;
    while let Some(b) = bytes.get(at) {
        match b {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Where the value ends that begins here.
fn value_end(bytes: &[u8], mut at: usize) -> usize {
    match bytes.get(at) {
        Some(b'"') => string_end(bytes, at),
        Some(b'{' | b'[') => {
            let mut depth = 0;
            while let Some(b) = bytes.get(at) {
                match b {
                    b'"' => {
                        at = string_end(bytes, at);
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                at += 1;
                if depth == 0 {
                    break;
                }
            }
            at
        }
        _ => {
            let is_end = |b: &u8| matches!(b, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r');
            at + bytes[at..].iter().position(is_end).unwrap_or(bytes.len() - at)
        }
    }
}

/// Parts one after the other.
pub(super) struct Each<'a, T> {
    source: &'a str,
    at: usize,
    part: std::marker::PhantomData<T>,
}

impl<'a, T: Part<'a>> Iterator for Each<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let start = next(self.source.as_bytes(), self.at)?;
        let (part, end) = T::read(self.source, start);
        self.at = end;
        Some(part)
    }
}

impl<'a> Part<'a> for Node<'a> {
    fn read(source: &'a str, at: usize) -> (Self, usize) {
        let end = value_end(source.as_bytes(), at);
        (Self::of(&source[at..end]), end)
    }

    fn end(bytes: &[u8], at: usize) -> usize {
        value_end(bytes, at)
    }
}

impl<'a> Part<'a> for Member<'a> {
    fn read(source: &'a str, at: usize) -> (Self, usize) {
        let bytes = source.as_bytes();
        let key_end = string_end(bytes, at);
        let raw_key = &source[at..key_end];
        let start = space(bytes, space(bytes, key_end) + 1);
        let (node, end) = Node::read(source, start);
        (Self { key: unescaped(raw_key), raw_key, node }, end)
    }

    fn end(bytes: &[u8], at: usize) -> usize {
        let key_end = string_end(bytes, at);
        value_end(bytes, space(bytes, space(bytes, key_end) + 1))
    }
}

impl<'a> Node<'a> {
    /// The value of a text that was checked, without space around it.
    pub(super) fn of(raw: &'a str) -> Self {
        let value = match raw.as_bytes().first() {
            Some(b'{') => Value::Object(Parts::of(raw)),
            Some(b'[') => Value::Array(Parts::of(raw)),
            Some(b'"') => Value::String(unescaped(raw)),
            Some(b't') => Value::Bool(true),
            Some(b'f') => Value::Bool(false),
            Some(b'n') => Value::Null,
            _ => Value::Number(raw),
        };
        Self { raw, value }
    }
}

#[cfg(test)]
impl Node<'_> {
    /// Bytes on the heap that were taken for what was looked at.
    pub(crate) fn heap(&self) -> usize {
        use std::borrow::Cow;
        let text = |text: &Cow<'_, str>| match text {
            Cow::Borrowed(_) => 0,
            Cow::Owned(text) => text.capacity(),
        };
        match &self.value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(s) => text(s),
            Value::Array(parts) => {
                let read = parts.0.parts.get().map_or(&[][..], |read| read);
                size_of::<Inner<'_, Node<'_>>>()
                    + size_of_val(read)
                    + read.iter().map(Node::heap).sum::<usize>()
            }
            Value::Object(parts) => {
                let read = parts.0.parts.get().map_or(&[][..], |read| read);
                let each = read.iter().map(|m| text(&m.key) + m.node.heap());
                size_of::<Inner<'_, Member<'_>>>() + size_of_val(read) + each.sum::<usize>()
            }
        }
    }
}
