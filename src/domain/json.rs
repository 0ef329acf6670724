//! Exact JSON: one pass over the source text checks it, nothing is rounded, nothing reordered.
//!
//! Numbers stay the digits that were sent, every value knows its slice of the source, and
//! whatever two parsers could read differently (duplicate keys, lone surrogates, bottomless
//! nesting) is refused. What stands in an array or object is read when somebody looks at it, one
//! level deep; before, it is its text. The same tree serves the digest, the policy, masking and the pages, so
//! they can't disagree about what a call says.

use std::borrow::Cow;

pub(crate) mod edit;
mod fold;
pub mod lenient;
mod number;
mod parse;
mod parts;
mod strip;
mod text;
mod write;

pub use fold::{differ_by_case, fold_case};
pub use number::{compare_numbers, is_shortest, whole_number};
pub use parse::{JsonError, MAX_DEPTH, parse, parse_own, parse_within, without_mark};
pub use parts::Parts;
pub(crate) use strip::without_prefix;
pub use text::Text;
pub use write::{array, object, quote, write_string};

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
    Array(Parts<'a, Node<'a>>),
    /// An object, members in the order sent.
    Object(Parts<'a, Member<'a>>),
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

/// Whether an object somewhere in this JSON text may have a member of that name (plain letters): false
/// only where none can. Costs one look at the bytes, and spares reading what hardly ever is there.
pub fn may_have(text: &str, key: &str) -> bool {
    // Any letter of a key may be written as an escape.
    text.contains(key) || text.contains("\\u")
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
}

#[cfg(test)]
mod tests;
