//! Reads one condition: where it looks, and what it compares with.

use regex::RegexBuilder;

use super::condition::{Condition, Order, Reading, Test};
use super::literal::Literal;
use super::path::Path;
use super::walk::{Walk, at};
use crate::domain::json::Node;

/// Most memory that a compiled `regex` may take, bytes.
pub const MAX_REGEX_BYTES: usize = 1 << 20;

pub(super) const CONDITION_KEYS: [&str; 5] = ["path", "op", "value", "loose", "null"];
pub(super) const OPS: [&str; 11] =
    ["eq", "neq", "in", "not_in", "lt", "lte", "gt", "gte", "regex", "contains", "exists"];

/// A condition that is an object by itself.
pub(super) fn whole_condition(walk: &mut Walk, node: &Node<'_>, place: &str) -> Option<Condition> {
    walk.object(node, place, &CONDITION_KEYS);
    condition(walk, node, place)
}

/// A condition among the keys of an object; others are left to the caller.
pub(super) fn condition(walk: &mut Walk, node: &Node<'_>, place: &str) -> Option<Condition> {
    node.members()?;
    let mut reading = Reading::default();
    if let Some(node) = node.get("loose") {
        reading.loose = walk.boolean(node, &at(place, "loose")).unwrap_or(false);
    }
    if let Some(node) = node.get("null") {
        reading.null_is_absent = walk.word(node, &at(place, "null"), &["absent"]).is_some();
    }
    let path = match node.get("path") {
        None => {
            walk.error(
                &at(place, "path"),
                "is missing; write where to look, such as \"args.name\"",
            );
            None
        }
        Some(node) => {
            let place = at(place, "path");
            let text = walk.name(node, &place, "a path such as \"args.name\"");
            text.and_then(|text| Path::read(text).map_err(|m| walk.error(&place, m)).ok())
        }
    };
    let op = match node.get("op") {
        None => {
            walk.error(&at(place, "op"), format!("is missing; write one of {}", OPS.join(", ")));
            None
        }
        Some(node) => walk.word(node, &at(place, "op"), &OPS),
    };
    let test = op.and_then(|op| test(walk, op, node.get("value"), &at(place, "value")));
    Some(Condition { pointer: place.to_owned(), path: path?, test: test?, reading })
}

pub(super) fn test(
    walk: &mut Walk,
    op: &str,
    value: Option<&Node<'_>>,
    place: &str,
) -> Option<Test> {
    let Some(value) = value else {
        if op == "exists" {
            return Some(Test::Exists(true));
        }
        walk.error(place, format!("is missing; write what {op:?} compares with"));
        return None;
    };
    match op {
        "eq" => Some(Test::Eq(Literal::of(value))),
        "neq" => Some(Test::Neq(Literal::of(value))),
        "contains" => Some(Test::Contains(Literal::of(value))),
        "in" => list(walk, value, place).map(Test::In),
        "not_in" => list(walk, value, place).map(Test::NotIn),
        "lt" => number(walk, value, place).map(|digits| Test::Order(Order::Lt, digits)),
        "lte" => number(walk, value, place).map(|digits| Test::Order(Order::Lte, digits)),
        "gt" => number(walk, value, place).map(|digits| Test::Order(Order::Gt, digits)),
        "gte" => number(walk, value, place).map(|digits| Test::Order(Order::Gte, digits)),
        "regex" => {
            let text = walk.string(value, place, "a regular expression")?;
            match RegexBuilder::new(text).size_limit(MAX_REGEX_BYTES).build() {
                Ok(regex) => Some(Test::Regex(regex)),
                Err(error) => {
                    walk.error(place, bad_regex(&error));
                    None
                }
            }
        }
        "exists" => walk.boolean(value, place).map(Test::Exists),
        _ => None,
    }
}

fn list(walk: &mut Walk, value: &Node<'_>, place: &str) -> Option<Vec<Literal>> {
    let elements = walk.elements(value, place, "a list of values");
    if value.elements()?.is_empty() {
        walk.error(place, "is an empty list; write the values to compare with");
    }
    Some(elements.iter().map(Literal::of).collect())
}

fn number(walk: &mut Walk, value: &Node<'_>, place: &str) -> Option<String> {
    let digits = value.as_number().map(str::to_owned);
    if digits.is_none() {
        walk.mismatch(value, place, "a number");
    }
    digits
}

/// What is wrong with a `regex`: the last line of the parser's message, whose other lines draw the
/// place.
fn bad_regex(error: &regex::Error) -> String {
    if let regex::Error::CompiledTooBig(_) = error {
        return format!(
            "is a regular expression of more than {MAX_REGEX_BYTES} bytes compiled; shorten it or its repetitions"
        );
    }
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    let what = last.trim().trim_start_matches("error: ");
    format!("is not a regular expression: {what}; mend it, or escape special characters with \\\\")
}
