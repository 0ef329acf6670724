//! JSON written anew: the canonical form, strings, and objects and arrays of raw parts.

use std::borrow::Cow;

use super::{Node, Value};

impl Node<'_> {
    /// Canonical form: key order, white space and string escapes of RFC 8785. Numbers stay exactly
    /// as sent, for rounding them would make two different calls look the same.
    ///
    /// <https://www.rfc-editor.org/rfc/rfc8785#section-3.2>
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
                for (i, element) in elements.each().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    element.write_canonical(out);
                }
                out.push(']');
            }
            Value::Object(members) => {
                let mut sorted: Vec<(Cow<'_, str>, &str)> =
                    members.each().map(|m| (m.key, m.node.raw)).collect();
                sorted.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
                out.push('{');
                for (i, (key, raw)) in sorted.into_iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    write_string(&key, out);
                    out.push(':');
                    Node::of(raw).write_canonical(out);
                }
                out.push('}');
            }
        }
    }
}

/// Writes a JSON string with the escapes of RFC 8785 (those of ECMAScript's `JSON.stringify`).
///
/// <https://www.rfc-editor.org/rfc/rfc8785#section-3.2.2.2>
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
    let mut out = Members::new();
    for (key, raw) in pairs {
        out.push(key, raw);
    }
    out.end()
}

/// An array of raw elements.
pub fn array<E: AsRef<str>>(elements: impl IntoIterator<Item = E>) -> String {
    let mut out = String::from("[");
    for raw in elements {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(raw.as_ref());
    }
    out.push(']');
    out
}

/// The text of an object, member by member.
pub(super) struct Members(String);

impl Members {
    pub(super) fn new() -> Self {
        Self(String::from("{"))
    }

    /// A member under a key as it was sent, with its quotes.
    pub(super) fn push_raw(&mut self, raw_key: &str, value: &str) {
        self.separate();
        self.0.push_str(raw_key);
        self.value(value);
    }

    pub(super) fn push(&mut self, key: &str, value: &str) {
        self.separate();
        write_string(key, &mut self.0);
        self.value(value);
    }

    fn separate(&mut self) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
    }

    fn value(&mut self, value: &str) {
        self.0.push(':');
        self.0.push_str(value);
    }

    pub(super) fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}
