//! What the `inputSchema` of a tool says of a place in its arguments.
//!
//! Only `properties`, `items`, `additionalProperties` and `type` are followed. Wherever another keyword
//! could allow the place (`$ref`, `anyOf`, …), nothing is said.
//!
//! <https://modelcontextprotocol.io/specification/2025-11-25/server/tools#tool>,
//! <https://json-schema.org/draft/2020-12/json-schema-core>

use super::path::Step;
use crate::domain::json::Node;

/// Keywords that may allow what `properties` and `items` don't.
const OTHERS: [&str; 15] = [
    "$ref",
    "$dynamicRef",
    "$recursiveRef",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "patternProperties",
    "dependentSchemas",
    "dependencies",
    "unevaluatedProperties",
    "prefixItems",
];

/// Why no call has anything at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Slip {
    /// The object has no such property; those that it has.
    NoProperty { key: String, known: Vec<String> },
    /// What is there is of another type, so that the step leads nowhere.
    OtherType { found: String },
}

/// What leads nowhere by the schema, if that is sure.
pub(super) fn slip(schema: &Node<'_>, steps: &[Step]) -> Option<Slip> {
    let (step, rest) = steps.split_first()?;
    let has_others = || OTHERS.iter().any(|keyword| schema.get(keyword).is_some());
    let wanted = if matches!(step, Step::Key(_)) { "object" } else { "array" };
    let types = types(schema);
    if !types.is_empty() && !types.contains(&wanted) {
        let found = types.join(" or ");
        return (!has_others()).then_some(Slip::OtherType { found });
    }
    match step {
        Step::Index(_) | Step::Each => {
            if schema.get("prefixItems").is_some() {
                return None;
            }
            slip(schema.get("items").filter(|items| items.is_object())?, rest)
        }
        Step::Key(key) => {
            let properties = schema.get("properties");
            if let Some(property) = properties.and_then(|p| p.get(key)) {
                return slip(property, rest);
            }
            if has_others() {
                return None;
            }
            match schema.get("additionalProperties") {
                Some(others) if others.as_bool() == Some(true) => return None,
                Some(others) if others.is_object() => return slip(others, rest),
                // It may have any, as far as is said.
                None if properties.is_none() => return None,
                _ => {}
            }
            let members = properties.and_then(Node::members).unwrap_or_default();
            let known = members.iter().map(|m| m.key.clone().into_owned()).collect();
            Some(Slip::NoProperty { key: key.clone(), known })
        }
    }
}

/// The types that the schema allows; none where it does not say.
fn types<'s>(schema: &'s Node<'_>) -> Vec<&'s str> {
    let Some(node) = schema.get("type") else { return Vec::new() };
    match node.as_str() {
        Some(word) => vec![word],
        None => node.elements().unwrap_or_default().iter().filter_map(Node::as_str).collect(),
    }
}
