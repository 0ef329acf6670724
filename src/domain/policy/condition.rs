//! One condition of a rule: does it match this call, so that people are asked?
//!
//! In doubt it matches. Every operator but `exists` matches where the path leads nowhere (`[*]`
//! over an empty array included) and where the value found is not of a type the operator
//! compares. The types are:
//!
//! - `eq`: the JSON type of `value`. `"true"` is not equal to `true`, but many servers read one
//!   as the other, so a call must not get past its reviewers by spelling a value differently.
//! - `in`: any of the JSON types in the list.
//! - `neq`, `not_in`: any; another type is not equal, which matches of itself.
//! - `lt lte gt gte`: a number.
//! - `regex`: a string.
//! - `contains`: a string, where `value` is a string that may stand in it; or an array whose
//!   elements are of the JSON type of `value`, as for `[*]` with `eq`.
//!
//! Deeper inside a compared array or object equality is by JSON type alone. A `loose` condition compares
//! any two of strings, numbers and truth values, as texts where they are of different types.
//!
//! Every operator, `exists` too, matches where a server may read another value than the one compared:
//! where a key beside the path, or inside the value, differs from another by case only, and where a
//! number is not the shortest spelling of its double ([`json::is_shortest`]).

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;

use regex::Regex;

use super::CallFacts;
use super::literal::Literal;
use super::path::{Path, Place};
use crate::domain::json::{self, Node, Value, compare_numbers};

/// One condition on a call: `path`, `op`, `value`.
#[derive(Debug, Clone)]
pub struct Condition {
    /// Its JSON Pointer in the policy.
    pub(super) pointer: String,
    pub(super) path: Path,
    pub(super) test: Test,
    pub(super) reading: Reading,
}

/// How a condition reads values that its operator does not compare by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// Numbers and truth values equal the strings that spell them: `5` and `"5"`.
    pub(super) loose: bool,
    /// `null` counts as nothing for `exists`, and as another type for all else.
    pub(super) null_is_absent: bool,
}

/// The operator with its value, already of the type the operator needs.
#[derive(Debug, Clone)]
pub(super) enum Test {
    Eq(Literal),
    Neq(Literal),
    In(Vec<Literal>),
    NotIn(Vec<Literal>),
    /// Numbers, as written.
    Order(Order, String),
    Regex(Regex),
    Contains(Literal),
    Exists(bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Lt,
    Lte,
    Gt,
    Gte,
}

impl Order {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Lt => ordering.is_lt(),
            Self::Lte => ordering.is_le(),
            Self::Gt => ordering.is_gt(),
            Self::Gte => ordering.is_ge(),
        }
    }
}

/// What a condition finds in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// The value is as the condition says.
    Matches,
    /// The value is not as the condition says: this condition asks nobody.
    Differs,
    /// Nothing is at the path, so it counts as a match.
    Missing,
    /// The value is not of a type the operator compares, so it counts as a match.
    WrongType,
    /// A server may read another value there, so it counts as a match.
    Ambiguous,
}

impl Finding {
    /// Whether the condition counts as a match: people are asked.
    pub const fn asks(self) -> bool {
        !matches!(self, Self::Differs)
    }

    /// The finding in words, for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Matches => "matches",
            Self::Differs => "does not match",
            Self::Missing => "nothing is there, which counts as a match",
            Self::WrongType => "another type of value is there, which counts as a match",
            Self::Ambiguous => {
                "a server may read another value there (keys that differ by case only, or a number \
                 that is not the shortest spelling of its double), which counts as a match"
            }
        }
    }
}

impl Condition {
    /// What the condition finds in a call; with `[*]` it matches if any element does.
    pub fn examine(&self, facts: &CallFacts<'_, '_>) -> Finding {
        self.look(facts, Finding::asks)
    }

    /// What it finds at the first value that decides, or at the last one where none does.
    pub(super) fn look(
        &self,
        facts: &CallFacts<'_, '_>,
        decides: impl Fn(Finding) -> bool,
    ) -> Finding {
        let mut finding = Finding::Differs;
        self.path.visit(facts, &mut |place| {
            finding = match place {
                Place::Ambiguous => Finding::Ambiguous,
                Place::Nothing => self.test.examine(None, self.reading),
                Place::Value(node) if self.test.is_ambiguous(node) => Finding::Ambiguous,
                Place::Value(node) => self.test.examine(Some(node), self.reading),
            };
            decides(finding)
        });
        finding
    }
}

impl Test {
    /// The word of the policy.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Eq(_) => "eq",
            Self::Neq(_) => "neq",
            Self::In(_) => "in",
            Self::NotIn(_) => "not_in",
            Self::Order(Order::Lt, _) => "lt",
            Self::Order(Order::Lte, _) => "lte",
            Self::Order(Order::Gt, _) => "gt",
            Self::Order(Order::Gte, _) => "gte",
            Self::Regex(_) => "regex",
            Self::Contains(_) => "contains",
            Self::Exists(_) => "exists",
        }
    }

    /// Whether a server may read the value as another one, by itself or by what it is compared with.
    fn is_ambiguous(&self, node: &Node<'_>) -> bool {
        let near = |value: &Literal, node: &Node<'_>| value.differs_by_case(node);
        has_two_readings(node)
            || match self {
                Self::Eq(value) | Self::Neq(value) => near(value, node),
                Self::In(values) | Self::NotIn(values) => values.iter().any(|v| near(v, node)),
                Self::Contains(value) => {
                    node.elements().unwrap_or_default().iter().any(|e| near(value, e))
                }
                Self::Order(..) | Self::Regex(_) | Self::Exists(_) => false,
            }
    }

    fn examine(&self, node: Option<&Node<'_>>, reading: Reading) -> Finding {
        let is_null = node.is_some_and(|node| matches!(node.value, Value::Null));
        let loose = reading.loose;
        let node = match (self, node) {
            (Self::Exists(wanted), _) => {
                let is_there = node.is_some() && !(reading.null_is_absent && is_null);
                return found(is_there == *wanted);
            }
            (_, Some(_)) if reading.null_is_absent && is_null => return Finding::WrongType,
            (_, None) => return Finding::Missing,
            (_, Some(node)) => node,
        };
        match self {
            Self::Eq(value) if !value.compares(node, loose) => Finding::WrongType,
            Self::Eq(value) => found(value.is(node, loose)),
            Self::Neq(value) => found(!value.is(node, loose)),
            Self::In(values) if !values.iter().any(|v| v.compares(node, loose)) => {
                Finding::WrongType
            }
            Self::In(values) => found(values.iter().any(|v| v.is(node, loose))),
            Self::NotIn(values) => found(!values.iter().any(|v| v.is(node, loose))),
            Self::Order(order, value) => match node.as_number() {
                Some(digits) => found(order.holds(compare_numbers(digits, value))),
                None => Finding::WrongType,
            },
            Self::Regex(regex) => match node.as_str() {
                Some(text) => found(regex.is_match(text)),
                None => Finding::WrongType,
            },
            Self::Contains(value) => match (&node.value, value.as_str()) {
                (Value::String(text), Some(part)) => found(text.contains(part)),
                (Value::Array(elements), _) => {
                    if elements.iter().any(|e| value.is(e, loose)) {
                        Finding::Matches
                    } else if elements.iter().all(|e| value.compares(e, loose)) {
                        Finding::Differs
                    } else {
                        Finding::WrongType
                    }
                }
                _ => Finding::WrongType,
            },
            Self::Exists(_) => unreachable!("presence is answered above"),
        }
    }
}

/// Whether two keys of one object differ by case only, or a number is not the shortest spelling of its
/// double, anywhere in the value.
fn has_two_readings(node: &Node<'_>) -> bool {
    match &node.value {
        Value::Number(digits) => !json::is_shortest(digits),
        Value::Array(elements) => elements.iter().any(has_two_readings),
        Value::Object(members) => {
            let mut keys = HashSet::with_capacity(members.len());
            members
                .iter()
                .any(|m| !keys.insert(json::fold_case(&m.key)) || has_two_readings(&m.node))
        }
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

fn found(matches: bool) -> Finding {
    if matches { Finding::Matches } else { Finding::Differs }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.path.text, self.test.word())?;
        match &self.test {
            Test::Eq(value) | Test::Neq(value) | Test::Contains(value) => f.write_str(&value.text),
            Test::In(values) | Test::NotIn(values) => {
                let texts: Vec<&str> = values.iter().map(|v| v.text.as_str()).collect();
                write!(f, "[{}]", texts.join(","))
            }
            Test::Order(_, digits) => f.write_str(digits),
            Test::Regex(regex) => write!(f, "{:?}", regex.as_str()),
            Test::Exists(wanted) => write!(f, "{wanted}"),
        }?;
        match self.reading {
            Reading { loose: true, null_is_absent: true } => {
                f.write_str(" (loose, null is absent)")
            }
            Reading { loose: true, .. } => f.write_str(" (loose)"),
            Reading { null_is_absent: true, .. } => f.write_str(" (null is absent)"),
            Reading { .. } => Ok(()),
        }
    }
}
