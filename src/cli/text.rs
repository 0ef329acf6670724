//! Text of others on a terminal: nothing in it may move the cursor, hide, or reorder what is read.

use crate::domain::json::{Node, Value};
use crate::domain::visible_text::Eye;

/// The text on one line, with control, bidirectional, zero-width and other invisible characters as
/// `\u{…}`.
pub(crate) fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut eye = Eye::default();
    for c in text.chars() {
        // Our own brackets deceive nobody here, where escapes are written in another way.
        if eye.sees(c) || matches!(c, '⟦' | '⟧') {
            out.push(c);
        } else {
            out.extend(c.escape_unicode());
        }
    }
    out
}

/// JSON indented for reading; numbers and strings exactly as they stand, made safe.
pub(crate) fn pretty(node: &Node<'_>) -> String {
    let mut out = String::new();
    write(node, 0, &mut out);
    out
}

fn write(node: &Node<'_>, depth: usize, out: &mut String) {
    let line = |depth: usize, out: &mut String| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    match &node.value {
        Value::Object(members) if !members.is_empty() => {
            out.push('{');
            for (i, member) in members.iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                line(depth + 1, out);
                out.push_str(&one_line(member.raw_key));
                out.push_str(": ");
                write(&member.node, depth + 1, out);
            }
            line(depth, out);
            out.push('}');
        }
        Value::Array(elements) if !elements.is_empty() => {
            out.push('[');
            for (i, element) in elements.iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                line(depth + 1, out);
                write(element, depth + 1, out);
            }
            line(depth, out);
            out.push(']');
        }
        Value::Object(_) => out.push_str("{}"),
        Value::Array(_) => out.push_str("[]"),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push_str(&one_line(node.raw));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::json;

    #[test]
    fn what_could_deceive_a_reader_is_escaped() {
        assert_eq!(one_line("a\u{1b}[2Jb\u{202e}c\u{200b}"), "a\\u{1b}[2Jb\\u{202e}c\\u{200b}");
        assert_eq!(one_line("a\nb\u{85}é 猫"), "a\\u{a}b\\u{85}é 猫");
    }

    #[test]
    fn json_is_indented_with_values_as_they_stand() {
        let node = json::parse("{\"a\":[1.00,{}],\"b\u{202e}\":\"\\u001b\u{9b}\"}").unwrap();

        assert_eq!(
            pretty(&node),
            "{\n  \"a\": [\n    1.00,\n    {}\n  ],\n  \"b\\u{202e}\": \"\\u001b\\u{9b}\"\n}"
        );
    }
}
