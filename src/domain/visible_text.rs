//! Text for human eyes: what can't be seen, or would reorder what is seen, is written out.
//!
//! A reviewer decides by reading. A character that prints as nothing, turns the line around or
//! passes for another letter would let one call look like a different one. Nothing here is an
//! escape for HTML, headers or terminals; those come on top, at each sink.

use std::fmt::Write as _;
use std::sync::LazyLock;

use regex::Regex;

use super::json::{Node, Value};

mod confusables;

pub(crate) use confusables::{mixed_script, mixed_script_in, reads_as};

/// Most combining marks on one letter that are shown; more of them would cover the lines around it.
const MAX_MARKS: usize = 4;

/// Everything that is not plainly visible: controls, formats, surrogates, private use and
/// unassigned code points (`\p{C}`), line and paragraph separators, every space but U+0020,
/// whatever Unicode lets a renderer ignore (zero-width, variation selectors, tags, fillers), the
/// empty Braille cell, and the brackets of our own escapes, so that nobody can write one.
static UNSEEN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\x{2800}⟦⟧[\p{Zs}--\x20]]")
        .expect("a constant pattern is valid")
});

static MARK: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\p{M}").expect("a constant pattern is valid"));

/// Reads a text character by character and tells which of them a reader can see as they are.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Eye {
    /// Whether there is a letter or digit that a mark may stand on.
    base: bool,
    /// Marks on it so far.
    marks: usize,
}

impl Eye {
    /// Whether the next character shows as itself: visible, and no mark that would stand on
    /// somebody else's character or in a pile.
    pub(crate) fn sees(&mut self, c: char) -> bool {
        // ASCII is nearly everything there is; the tables are for the rest.
        if c.is_ascii() {
            *self = Self { base: c.is_ascii_alphanumeric(), marks: 0 };
            return matches!(c, ' '..='~');
        }
        let mut buffer = [0; 4];
        let text: &str = c.encode_utf8(&mut buffer);
        if UNSEEN.is_match(text) {
            *self = Self::default();
            return false;
        }
        if MARK.is_match(text) {
            self.marks += 1;
            return self.base && self.marks <= MAX_MARKS;
        }
        *self = Self { base: c.is_alphanumeric(), marks: 0 };
        true
    }
}

/// Whether a character shows as itself, wherever it stands.
pub(crate) fn is_visible(c: char) -> bool {
    let mut buffer = [0; 4];
    if c.is_ascii() { matches!(c, ' '..='~') } else { !UNSEEN.is_match(c.encode_utf8(&mut buffer)) }
}

/// The text with everything invisible or reordering written as an escape such as `⟦U+202E⟧`.
///
/// The result is one line: line breaks and tabs are escaped like any control character.
pub(crate) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut eye = Eye::default();
    for c in text.chars() {
        push_visible(eye.sees(c), c, &mut out);
    }
    out
}

/// Indented JSON for reading: members in the order sent, numbers exactly as sent, strings through
/// [`visible`] with JSON's own short escapes for quotes, backslashes, line breaks and tabs.
pub(crate) fn pretty(node: &Node<'_>) -> String {
    let mut out = String::with_capacity(node.raw.len() * 2);
    write_pretty(node, 0, &mut out);
    out
}

/// The character as an escape, `⟦U+202E⟧`: its code point in hex.
pub(crate) fn spelled_out(c: char) -> String {
    format!("⟦U+{:04X}⟧", u32::from(c))
}

fn push_visible(plain: bool, c: char, out: &mut String) {
    if plain {
        out.push(c);
    } else {
        let _ = write!(out, "⟦U+{:04X}⟧", u32::from(c));
    }
}

fn write_pretty(node: &Node<'_>, depth: usize, out: &mut String) {
    match &node.value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(digits) => out.push_str(digits),
        Value::String(text) => write_string(text, out),
        Value::Array(elements) if elements.is_empty() => out.push_str("[]"),
        Value::Object(members) if members.is_empty() => out.push_str("{}"),
        Value::Array(elements) => {
            out.push('[');
            for (i, element) in elements.iter().enumerate() {
                next_line(i > 0, depth + 1, out);
                write_pretty(element, depth + 1, out);
            }
            next_line(false, depth, out);
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (i, member) in members.iter().enumerate() {
                next_line(i > 0, depth + 1, out);
                write_string(&member.key, out);
                out.push_str(": ");
                write_pretty(&member.node, depth + 1, out);
            }
            next_line(false, depth, out);
            out.push('}');
        }
    }
}

fn next_line(comma: bool, depth: usize, out: &mut String) {
    if comma {
        out.push(',');
    }
    out.push('\n');
    for _ in 0..depth {
        out.push_str("  ");
    }
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut eye = Eye::default();
    for c in text.chars() {
        let plain = eye.sees(c);
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => push_visible(plain, c, out),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::json;

    #[test]
    fn plain_text_of_any_language_stays_as_it_is() {
        for text in ["prod-7f, 100 %", "Größe – “ok” …", "удалить", "画像セット", "שלום", "🦀👍🏽"]
        {
            assert_eq!(visible(text), text);
        }
    }

    #[test]
    fn what_can_not_be_seen_is_written_out() {
        for (c, want) in [
            ('\0', "⟦U+0000⟧"),
            ('\n', "⟦U+000A⟧"),
            ('\u{1b}', "⟦U+001B⟧"),
            ('\u{7f}', "⟦U+007F⟧"),
            ('\u{85}', "⟦U+0085⟧"),
            ('\u{a0}', "⟦U+00A0⟧"),
            ('\u{ad}', "⟦U+00AD⟧"),
            ('\u{34f}', "⟦U+034F⟧"),
            ('\u{61c}', "⟦U+061C⟧"),
            ('\u{115f}', "⟦U+115F⟧"),
            ('\u{200b}', "⟦U+200B⟧"),
            ('\u{200d}', "⟦U+200D⟧"),
            ('\u{2028}', "⟦U+2028⟧"),
            ('\u{202e}', "⟦U+202E⟧"),
            ('\u{2066}', "⟦U+2066⟧"),
            ('\u{2003}', "⟦U+2003⟧"),
            ('\u{2800}', "⟦U+2800⟧"),
            ('\u{3000}', "⟦U+3000⟧"),
            ('\u{3164}', "⟦U+3164⟧"),
            ('\u{e000}', "⟦U+E000⟧"),
            ('\u{fe0f}', "⟦U+FE0F⟧"),
            ('\u{feff}', "⟦U+FEFF⟧"),
            ('\u{ffa0}', "⟦U+FFA0⟧"),
            ('\u{e0041}', "⟦U+E0041⟧"),
            ('\u{e0100}', "⟦U+E0100⟧"),
        ] {
            assert_eq!(visible(&format!("a{c}b")), format!("a{want}b"));
        }
    }

    #[test]
    fn nobody_can_write_our_escapes() {
        assert_eq!(visible("⟦U+202E⟧"), "⟦U+27E6⟧U+202E⟦U+27E7⟧");
    }

    #[test]
    fn marks_that_pile_up_or_stand_on_nothing_are_spelled_out() {
        assert_eq!(visible("e\u{301}\u{302}"), "e\u{301}\u{302}");
        assert_eq!(visible("हिन्दी नहीं עִבְרִית"), "हिन्दी नहीं עִבְרִית");
        assert_eq!(visible("\u{338}x = \u{338}"), "⟦U+0338⟧x = ⟦U+0338⟧");
        assert_eq!(
            visible(&format!("a{}", "\u{300}".repeat(6))),
            format!("a{}⟦U+0300⟧⟦U+0300⟧", "\u{300}".repeat(4))
        );
    }

    #[test]
    fn json_is_indented_with_numbers_and_order_as_sent() {
        let node =
            json::parse(r#"{"z":1.00,"a":[1e2,{}],"s":"a\"\\\n\u202e","e":[],"n":null}"#).unwrap();

        assert_eq!(
            pretty(&node),
            "{\n  \"z\": 1.00,\n  \"a\": [\n    1e2,\n    {}\n  ],\n  \"s\": \"a\\\"\\\\\\n⟦U+202E⟧\",\n  \"e\": [],\n  \"n\": null\n}"
        );
    }
}
