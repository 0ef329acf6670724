//! Text as people must see it: what is invisible is spelled out, what misleads is flagged.

use super::json::{Node, Value};

/// `text` with control, bidirectional, zero-width and other invisible characters as escapes.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_invisible(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
            | '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

/// Names the scripts, where Latin letters stand beside ones that look like them.
pub fn mixed_script(text: &str) -> Option<String> {
    let has = |from: char, to: char| text.chars().any(|c| (from..=to).contains(&c));
    let latin = text.chars().any(|c| c.is_ascii_alphabetic());
    let other = [("Greek", '\u{370}', '\u{3ff}'), ("Cyrillic", '\u{400}', '\u{52f}')]
        .into_iter()
        .find(|(_, from, to)| has(*from, *to));
    other.filter(|_| latin).map(|(name, _, _)| format!("Latin and {name}"))
}

/// Indented JSON, values exactly as sent, invisible characters spelled out.
pub fn pretty(node: &Node<'_>) -> String {
    let mut out = String::new();
    write(node, 0, &mut out);
    out
}

fn write(node: &Node<'_>, depth: usize, out: &mut String) {
    let line = |depth: usize, out: &mut String| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    match &node.value {
        Value::Object(members) if !members.is_empty() => {
            out.push('{');
            for (i, member) in members.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                line(depth + 1, out);
                out.push_str(&visible(member.raw_key));
                out.push_str(": ");
                write(&member.node, depth + 1, out);
            }
            line(depth, out);
            out.push('}');
        }
        Value::Array(elements) if !elements.is_empty() => {
            out.push('[');
            for (i, element) in elements.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                line(depth + 1, out);
                write(element, depth + 1, out);
            }
            line(depth, out);
            out.push(']');
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Object(_)
        | Value::Array(_) => out.push_str(&visible(node.raw)),
    }
}
