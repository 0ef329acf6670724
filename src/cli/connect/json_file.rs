//! Adds members to somebody else's JSON file. Only what is added or replaced differs: order,
//! spacing, number spellings and unknown members stay byte for byte. A file that is not
//! strict JSON, or has a key twice, is refused.

use std::ops::Range;

use crate::domain::json::{self, Node};

use super::data::Data;

/// One level of indentation where the file shows none.
const STEP: &str = "  ";

/// Sets `parent.name` to `value`; returns the new text and whether something else stood there.
///
/// # Errors
/// The text is not strict JSON or not an object, or `parent` is not an object; in words.
pub(super) fn set_member(
    text: &str,
    parent: &str,
    name: &str,
    value: &Data,
) -> Result<(String, bool), String> {
    let root = parse(text)?;
    match root.get(parent) {
        None => {
            let text = insert(text, &root, parent, |indent, step| {
                let inner = format!("{indent}{step}");
                format!(
                    "{{\n{inner}{}: {}\n{indent}}}",
                    json::quote(name),
                    value.pretty(&inner, step)
                )
            });
            Ok((text, false))
        }
        Some(servers) if servers.is_object() => match servers.get(name) {
            None => Ok((insert(text, servers, name, |i, step| value.pretty(i, step)), false)),
            Some(old) => {
                if same(old, value) {
                    return Ok((text.to_owned(), false));
                }
                let at = place(text, old.raw);
                let indent = indent_before(text, at.start);
                let new = value.pretty(&indent, &step_of(text));
                Ok((splice(text, at, &new), true))
            }
        },
        Some(other) => Err(format!("{parent:?} is {}, not an object", other.kind())),
    }
}

/// Adds an element to the list `list` unless one with the same `id` is there.
///
/// # Errors
/// The text is not strict JSON or not an object, or `list` is not a list; in words.
pub(super) fn add_element(
    text: &str,
    list: &str,
    id: &str,
    value: &Data,
) -> Result<String, String> {
    let root = parse(text)?;
    let Some(found) = root.get(list) else {
        let element = |indent: &str, step: &str| {
            let inner = format!("{indent}{step}");
            format!("[\n{inner}{}\n{indent}]", value.pretty(&inner, step))
        };
        return Ok(insert(text, &root, list, element));
    };
    let Some(elements) = found.elements() else {
        return Err(format!("{list:?} is {}, not a list", found.kind()));
    };
    if elements.iter().any(|e| e.get("id").and_then(Node::as_str) == Some(id)) {
        return Ok(text.to_owned());
    }
    let at = place(text, found.raw);
    let step = step_of(text);
    if let Some(last) = elements.last() {
        let end = place(text, last.raw);
        let indent = indent_before(text, end.start);
        let new = format!(",\n{indent}{}", value.pretty(&indent, &step));
        return Ok(splice(text, end.end..end.end, &new));
    }
    let indent = indent_before(text, at.start);
    let inner = format!("{indent}{step}");
    let new = format!("[\n{inner}{}\n{indent}]", value.pretty(&inner, &step));
    Ok(splice(text, at, &new))
}

/// Names of the members of `parent` besides those given.
pub(super) fn other_members(text: &str, parent: &str, own: &[&str]) -> Vec<String> {
    let Ok(root) = parse(text) else { return Vec::new() };
    let members = root.get(parent).and_then(Node::members).unwrap_or_default();
    let names = members.iter().map(|m| m.key.as_ref());
    names.filter(|name| !own.contains(name)).map(ToOwned::to_owned).collect()
}

fn parse(text: &str) -> Result<Node<'_>, String> {
    let root = json::parse(text).map_err(|error| error.to_string())?;
    if root.is_object() { Ok(root) } else { Err(format!("it is {}, not an object", root.kind())) }
}

/// Whether the file has this value already, whatever its white space.
fn same(old: &Node<'_>, new: &Data) -> bool {
    json::parse(&new.compact()).is_ok_and(|new| new.canonical() == old.canonical())
}

/// Adds a member at the end of an object.
fn insert(
    text: &str,
    object: &Node<'_>,
    name: &str,
    value: impl Fn(&str, &str) -> String,
) -> String {
    let step = step_of(text);
    let members = object.members().unwrap_or_default();
    if let Some(last) = members.last() {
        let key = place(text, last.raw_key);
        let end = place(text, last.node.raw).end;
        let indent = indent_before(text, key.start);
        let new = format!(",\n{indent}{}: {}", json::quote(name), value(&indent, &step));
        return splice(text, end..end, &new);
    }
    let at = place(text, object.raw);
    let indent = indent_before(text, at.start);
    let inner = format!("{indent}{step}");
    let new = format!("{{\n{inner}{}: {}\n{indent}}}", json::quote(name), value(&inner, &step));
    splice(text, at, &new)
}

/// The byte range of a slice in the text it is a part of.
fn place(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.len()
}

fn splice(text: &str, at: Range<usize>, new: &str) -> String {
    format!("{}{new}{}", &text[..at.start], &text[at.end..])
}

/// The white space that the line of this place begins with.
fn indent_before(text: &str, at: usize) -> String {
    let line = text[..at].rsplit('\n').next().unwrap_or_default();
    line.chars().take_while(|c| matches!(c, ' ' | '\t')).collect()
}

/// One level of indentation of this file, taken from its first indented line.
fn step_of(text: &str) -> String {
    let first = text.lines().find(|l| l.starts_with([' ', '\t']) && !l.trim().is_empty());
    let step = first.map(|l| l.chars().take_while(|c| matches!(c, ' ' | '\t')).collect::<String>());
    step.unwrap_or_else(|| STEP.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn server() -> Data {
        Data::Map(vec![("url", "http://h/mcp".into())])
    }

    #[test]
    fn an_empty_object_becomes_the_configuration() {
        let (text, replaced) = set_member("{}\n", "mcpServers", "placet", &server()).unwrap();

        assert_eq!(
            text,
            "{\n  \"mcpServers\": {\n    \"placet\": {\n      \"url\": \"http://h/mcp\"\n    }\n  }\n}\n"
        );
        assert!(!replaced);
    }

    #[test]
    fn everything_else_keeps_its_bytes() {
        let before = "{\n\t\"n\": 1.00,\n\t\"mcpServers\": {\n\t\t\"other\": { \"command\" : \"x\" }\n\t},\n\t\"z\":[ ]\n}";

        let (after, _) = set_member(before, "mcpServers", "placet", &server()).unwrap();

        assert_eq!(
            after,
            "{\n\t\"n\": 1.00,\n\t\"mcpServers\": {\n\t\t\"other\": { \"command\" : \"x\" },\n\t\t\"placet\": {\n\t\t\t\"url\": \
             \"http://h/mcp\"\n\t\t}\n\t},\n\t\"z\":[ ]\n}"
        );
    }

    #[test]
    fn an_entry_of_the_same_name_is_replaced_and_the_same_entry_changes_nothing() {
        let before = r#"{"mcpServers": {"placet": {"url": "old"}, "b": 1}}"#;

        let (after, replaced) = set_member(before, "mcpServers", "placet", &server()).unwrap();
        let (again, twice) = set_member(&after, "mcpServers", "placet", &server()).unwrap();

        assert!(replaced && !twice);
        assert_eq!(again, after);
        assert!(
            after.starts_with(r#"{"mcpServers": {"placet": {"#) && after.ends_with(r#", "b": 1}}"#)
        );
        assert_eq!(other_members(&after, "mcpServers", &["placet"]), ["b"]);
    }

    #[test]
    fn an_input_is_added_once() {
        let input = Data::Map(vec![("id", "placet-token".into()), ("type", "promptString".into())]);
        for before in ["{}", "{\"inputs\": []}", "{\"inputs\": [{\"id\": \"x\"}], \"servers\": {}}"]
        {
            let once = add_element(before, "inputs", "placet-token", &input).unwrap();
            let twice = add_element(&once, "inputs", "placet-token", &input).unwrap();

            assert_eq!(once, twice);
            assert_eq!(once.matches("placet-token").count(), 1);
            json::parse(&once).unwrap();
        }
    }

    #[test]
    fn what_is_not_strict_json_of_the_right_shape_is_refused() {
        for (bad, why) in [
            ("{ // a comment\n}", "not JSON"),
            ("{\"mcpServers\": {},}", "not JSON"),
            ("{\"a\": 1, \"\\u0061\": 2}", "duplicate key"),
            ("[]", "not an object"),
            ("{\"mcpServers\": []}", "not an object"),
            ("{\"mcpServers\": null}", "not an object"),
            ("", "not JSON"),
        ] {
            let error = set_member(bad, "mcpServers", "placet", &server()).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
        let deep = format!("{}1{}", "{\"a\":".repeat(80), "}".repeat(80));
        assert!(set_member(&deep, "mcpServers", "p", &server()).unwrap_err().contains("deeper"));
        assert!(add_element("{\"inputs\": {}}", "inputs", "i", &server()).is_err());
    }

    proptest! {
        #[test]
        fn merging_adds_one_member_and_changes_no_other(
            keys in proptest::collection::btree_set("[a-z\\\\\"\u{e9} ]{0,6}", 0..5),
            pad in "[ \t\n]{0,4}",
            name in "[a-z-]{1,8}",
        ) {
            let member = |k: &String| format!("{pad}{}:{pad}1.0e+0{pad}", json::quote(k));
            let members: Vec<String> = keys.iter().map(member).collect();
            let before = format!("{{\"s\":{{{}{pad}}}{pad}}}", members.join(","));

            let (after, _) = set_member(&before, "s", &name, &server()).unwrap();

            let root = json::parse(&after).unwrap();
            let servers = root.get("s").unwrap();
            prop_assert_eq!(servers.get(&name).unwrap().canonical(), "{\"url\":\"http://h/mcp\"}");
            for key in keys.iter().filter(|k| **k != name) {
                prop_assert_eq!(servers.get(key).unwrap().raw, "1.0e+0");
            }
            let grown = usize::from(!keys.contains(&name));
            prop_assert_eq!(servers.members().unwrap().len(), keys.len() + grown);
        }
    }
}
