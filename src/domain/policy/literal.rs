//! A value written in a policy, owned: it outlives the text it was read from.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::domain::json::{Node, Value, compare_numbers, differ_by_case};

/// A JSON value of a condition.
#[derive(Debug, Clone)]
pub(super) struct Literal {
    /// The value as canonical JSON, for people.
    pub(super) text: String,
    shape: Shape,
}

#[derive(Debug, Clone)]
enum Shape {
    Null,
    Bool(bool),
    Number(String),
    String(String),
    Array(Vec<Shape>),
    Object(BTreeMap<String, Shape>),
}

impl Literal {
    pub(super) fn of(node: &Node<'_>) -> Self {
        Self { text: node.canonical(), shape: Shape::of(node) }
    }

    /// The decoded text, if this is a string.
    pub(super) fn as_str(&self) -> Option<&str> {
        match &self.shape {
            Shape::String(text) => Some(text),
            Shape::Null
            | Shape::Bool(_)
            | Shape::Number(_)
            | Shape::Array(_)
            | Shape::Object(_) => None,
        }
    }

    /// Whether both are of one JSON type.
    pub(super) fn same_type(&self, node: &Node<'_>) -> bool {
        matches!(
            (&self.shape, &node.value),
            (Shape::Null, Value::Null)
                | (Shape::Bool(_), Value::Bool(_))
                | (Shape::Number(_), Value::Number(_))
                | (Shape::String(_), Value::String(_))
                | (Shape::Array(_), Value::Array(_))
                | (Shape::Object(_), Value::Object(_))
        )
    }

    /// Equality by JSON type: numbers by exact value, arrays in order, objects whatever the order
    /// of their keys.
    pub(super) fn equals(&self, node: &Node<'_>) -> bool {
        self.shape.equals(node)
    }
}

impl Literal {
    /// Whether both can be compared: they are of one type, or `loose` and each has a spelling.
    pub(super) fn compares(&self, node: &Node<'_>, loose: bool) -> bool {
        self.same_type(node) || (loose && self.spelling().is_some() && spelling(node).is_some())
    }

    /// Whether they are equal, or `loose` and spelled alike: `5` and `"5"`.
    pub(super) fn is(&self, node: &Node<'_>, loose: bool) -> bool {
        self.equals(node)
            || (loose
                && !self.same_type(node)
                && self.spelling().is_some_and(|text| spelling(node) == Some(text)))
    }

    fn spelling(&self) -> Option<&str> {
        match &self.shape {
            Shape::Bool(b) => Some(if *b { "true" } else { "false" }),
            Shape::Number(text) | Shape::String(text) => Some(text),
            Shape::Null | Shape::Array(_) | Shape::Object(_) => None,
        }
    }
}

/// How a value is spelled that stands for itself.
fn spelling<'n>(node: &'n Node<'_>) -> Option<&'n str> {
    match &node.value {
        Value::Bool(b) => Some(if *b { "true" } else { "false" }),
        Value::Number(digits) => Some(digits),
        Value::String(text) => Some(text),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

impl Literal {
    /// Whether a key of the value, anywhere in it, differs by case only from the key that stands in
    /// its place here.
    pub(super) fn differs_by_case(&self, node: &Node<'_>) -> bool {
        self.shape.differs_by_case(node)
    }
}

impl Shape {
    fn differs_by_case(&self, node: &Node<'_>) -> bool {
        match (self, &node.value) {
            (Self::Array(a), Value::Array(b)) => a.iter().zip(b).any(|(a, b)| a.differs_by_case(b)),
            (Self::Object(a), Value::Object(b)) => b.iter().any(|m| match a.get(m.key.as_ref()) {
                Some(value) => value.differs_by_case(&m.node),
                None => a.keys().any(|key| differ_by_case(key, &m.key)),
            }),
            _ => false,
        }
    }

    /// Recursion is as deep as the node, which [`crate::domain::json::MAX_DEPTH`] bounds.
    fn of(node: &Node<'_>) -> Self {
        match &node.value {
            Value::Null => Self::Null,
            Value::Bool(b) => Self::Bool(*b),
            Value::Number(digits) => Self::Number((*digits).to_owned()),
            Value::String(text) => Self::String(text.to_string()),
            Value::Array(elements) => Self::Array(elements.iter().map(Self::of).collect()),
            Value::Object(members) => Self::Object(
                members.iter().map(|m| (m.key.to_string(), Self::of(&m.node))).collect(),
            ),
        }
    }

    fn equals(&self, node: &Node<'_>) -> bool {
        match (self, &node.value) {
            (Self::Null, Value::Null) => true,
            (Self::Bool(a), Value::Bool(b)) => a == b,
            (Self::Number(a), Value::Number(b)) => compare_numbers(a, b) == Ordering::Equal,
            (Self::String(a), Value::String(b)) => a == b,
            (Self::Array(a), Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.equals(b))
            }
            // No key stands twice on either side, so equal counts and one way round suffice.
            (Self::Object(a), Value::Object(b)) => {
                a.len() == b.len()
                    && b.iter()
                        .all(|m| a.get(m.key.as_ref()).is_some_and(|value| value.equals(&m.node)))
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::json::parse;

    fn equal(a: &str, b: &str) -> bool {
        Literal::of(&parse(a).unwrap()).equals(&parse(b).unwrap())
    }

    #[test]
    fn equality_is_by_type_and_exact_value() {
        assert!(equal("1", "1.0e0"));
        assert!(equal(r#""a""#, r#""\u0061""#));
        assert!(equal(r#"{"a":1,"b":[2,null]}"#, r#"{"b":[2.0,null],"a":1e0}"#));
        for (a, b) in [
            ("1", r#""1""#),
            ("null", "false"),
            ("0", "false"),
            ("[]", "{}"),
            ("9007199254740993", "9007199254740992"),
            ("[1,2]", "[2,1]"),
            ("[1]", "[1,1]"),
            (r#"{"a":1}"#, r#"{"a":1,"b":1}"#),
            (r#"{"a":1,"b":1}"#, r#"{"a":1}"#),
            (r#"{"a":1}"#, r#"{"b":1}"#),
            (r#""\u00e9""#, r#""e\u0301""#),
        ] {
            assert!(!equal(a, b), "{a} {b}");
        }
    }
}
