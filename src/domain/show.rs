//! Text for human eyes: what can't be seen, or would reorder what is seen, is written out.
//!
//! A reviewer decides by reading. A character that prints as nothing, turns the line around or
//! passes for another letter would let one call look like a different one. Nothing here is an
//! escape for HTML, headers or terminals; those come on top, at each sink.

use std::fmt::Write as _;
use std::sync::LazyLock;

use regex::Regex;

use super::json::{Node, Value};

/// Most mixed words that are named; the rest is only counted.
const MAX_NAMED_WORDS: usize = 5;

/// Everything that is not plainly visible: controls, formats, surrogates, private use and
/// unassigned code points (`\p{C}`), line and paragraph separators, every space but U+0020,
/// whatever Unicode lets a renderer ignore (zero-width, variation selectors, tags, fillers), the
/// empty Braille cell, and the brackets of our own escapes, so that nobody can write one.
static UNSEEN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\x{2800}⟦⟧[\p{Zs}--\x20]]")
        .expect("a constant pattern is valid")
});

static WORD: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[\p{L}\p{M}\p{N}_]+").expect("a constant pattern is valid"));

/// Scripts with letters that pass for another script's. Chinese, Japanese and Korean writing mixes
/// with Latin as a matter of course and is not among them.
static SCRIPTS: LazyLock<Vec<(&'static str, Regex)>> = LazyLock::new(|| {
    [
        "Latin", "Cyrillic", "Greek", "Armenian", "Cherokee", "Coptic", "Georgian", "Hebrew",
        "Arabic", "Lisu", "Thai", "Deseret",
    ]
    .into_iter()
    .map(|name| {
        let pattern = format!(r"\p{{Script={name}}}");
        (name, Regex::new(&pattern).expect("a known script's pattern is valid"))
    })
    .collect()
});

/// The text with everything invisible or reordering written as an escape such as `⟦U+202E⟧`.
///
/// The result is one line: line breaks and tabs are escaped like any control character.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        push_visible(c, &mut out);
    }
    out
}

/// Words whose letters come from more than one of the scripts that are easily confused, as a
/// sentence for the reviewer; none if there are none.
pub fn mixed_script(text: &str) -> Option<String> {
    sentence(&mixed_words(text))
}

/// The same for every key and string of a JSON value.
pub fn mixed_script_in(node: &Node<'_>) -> Option<String> {
    let mut found = Vec::new();
    collect_mixed(node, &mut found);
    sentence(&found)
}

/// Indented JSON for reading: members in the order sent, numbers exactly as sent, strings through
/// [`visible`] with JSON's own short escapes for quotes, backslashes, line breaks and tabs.
pub fn pretty(node: &Node<'_>) -> String {
    let mut out = String::with_capacity(node.raw.len() * 2);
    write_pretty(node, 0, &mut out);
    out
}

fn push_visible(c: char, out: &mut String) {
    // ASCII is nearly everything there is; the tables are for the rest.
    let plain = match c {
        ' '..='~' => true,
        c if c.is_ascii() => false,
        c => !UNSEEN.is_match(c.encode_utf8(&mut [0; 4])),
    };
    if plain {
        out.push(c);
    } else {
        let _ = write!(out, "⟦U+{:04X}⟧", u32::from(c));
    }
}

fn mixed_words(text: &str) -> Vec<String> {
    if text.is_ascii() {
        return Vec::new();
    }
    WORD.find_iter(text)
        .filter_map(|word| {
            let scripts: Vec<&str> = SCRIPTS
                .iter()
                .filter(|(_, script)| script.is_match(word.as_str()))
                .map(|(name, _)| *name)
                .collect();
            (scripts.len() > 1)
                .then(|| format!("“{}” ({})", visible(word.as_str()), scripts.join(" and ")))
        })
        .collect()
}

fn collect_mixed(node: &Node<'_>, found: &mut Vec<String>) {
    match &node.value {
        Value::String(text) => found.extend(mixed_words(text)),
        Value::Array(elements) => elements.iter().for_each(|e| collect_mixed(e, found)),
        Value::Object(members) => {
            for member in members {
                found.extend(mixed_words(&member.key));
                collect_mixed(&member.node, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn sentence(words: &[String]) -> Option<String> {
    if words.is_empty() {
        return None;
    }
    let mut text = format!(
        "Letters of different scripts in one word: {}",
        words[..words.len().min(MAX_NAMED_WORDS)].join(", ")
    );
    if words.len() > MAX_NAMED_WORDS {
        let _ = write!(text, " and {} more", words.len() - MAX_NAMED_WORDS);
    }
    text.push('.');
    Some(text)
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
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => push_visible(c, out),
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
    fn words_that_mix_confusable_scripts_are_named() {
        let flagged = mixed_script("delete pаypal-prod").unwrap();

        assert_eq!(
            flagged,
            "Letters of different scripts in one word: “pаypal” (Latin and Cyrillic)."
        );
        assert_eq!(mixed_script("paypal удалить"), None);
        assert_eq!(mixed_script("Tシャツ 画像set"), None);
        assert!(mixed_script("Ωmega").is_some());
    }

    #[test]
    fn many_mixed_words_are_counted_and_escapes_of_json_are_not_letters() {
        let node = json::parse(r#"{"ключa":["бb","вv","гg","дd","жz","a\nпривет"]}"#).unwrap();

        let flagged = mixed_script_in(&node).unwrap();

        assert!(flagged.ends_with("and 1 more."), "{flagged}");
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
