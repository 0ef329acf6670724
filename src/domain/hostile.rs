//! The strings of `tests/corpus/hostile.json`, for every test of a place where foreign words are
//! shown, mailed, sent or printed.

use std::sync::LazyLock;

use regex::Regex;

use super::json::{self, Node};

/// One string.
pub(crate) struct Entry {
    pub(crate) name: String,
    /// The string; for a nested entry what stands in its middle.
    pub(crate) text: String,
    /// The value as JSON text: the string, spelled as the corpus has it, or nested.
    pub(crate) json: String,
    /// Whether its letters pass for others.
    pub(crate) alike: bool,
}

/// All that can be part of a call. What has half a surrogate pair is refused before anybody sees
/// it, which [`refused`] is for.
pub(crate) fn corpus() -> Vec<Entry> {
    read().into_iter().filter(|entry| json::parse(&entry.json).is_ok()).collect()
}

/// What no call can hold.
pub(crate) fn refused() -> Vec<Entry> {
    read().into_iter().filter(|entry| json::parse(&entry.json).is_err()).collect()
}

/// Characters that a reader could not see for what they are; line ends are not among them.
pub(crate) fn unseen(text: &str) -> Vec<char> {
    static UNSEEN: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"[\p{Cc}\p{Cf}\p{Cn}\p{Co}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\x{2800}\x{a0}--\n]",
        )
        .unwrap()
    });
    let mut found: Vec<char> =
        UNSEEN.find_iter(text).filter_map(|m| m.as_str().chars().next()).collect();
    found.dedup();
    found
}

fn read() -> Vec<Entry> {
    let text = include_str!("../../tests/corpus/hostile.json");
    let root = json::parse(text).unwrap();
    root.elements().unwrap().iter().map(entry).collect()
}

fn entry(node: &Node<'_>) -> Entry {
    let part = |key| node.get(key);
    let string = |key| part(key).and_then(Node::as_str).map(str::to_owned);
    let times = |key| part(key).map_or(1, |n: &Node<'_>| n.raw.parse::<usize>().unwrap());
    let (text, json) = if let Some(raw) = string("raw") {
        // JSON text that a strict reader refuses; the corpus itself is read by one.
        (String::new(), raw)
    } else {
        let text = string("value").unwrap().repeat(times("repeat"));
        let inside = json::quote(&text);
        let depth = part("nest").map_or(0, |n| n.raw.parse::<usize>().unwrap());
        (text, format!("{}{inside}{}", "[".repeat(depth), "]".repeat(depth)))
    };
    Entry {
        name: string("name").unwrap(),
        text,
        json,
        alike: part("alike").is_some_and(|n| n.raw == "true"),
    }
}

#[test]
fn the_corpus_is_large_and_names_are_unique() {
    let all = read();
    let names: std::collections::HashSet<&str> = all.iter().map(|e| e.name.as_str()).collect();

    assert!(all.len() >= 60, "{}", all.len());
    assert_eq!(names.len(), all.len());
    assert!(refused().len() >= 2);
}

#[test]
fn what_passes_for_something_else_is_named_and_nothing_else_is() {
    for entry in corpus() {
        let flagged = super::visible_text::mixed_script(&entry.text);
        assert_eq!(flagged.is_some(), entry.alike, "{}: {flagged:?}", entry.name);
    }
}

#[test]
fn half_a_surrogate_pair_is_refused() {
    for entry in refused() {
        let params = format!("{{\"name\":\"t\",\"arguments\":{{\"a\":{}}}}}", entry.json);
        assert!(super::call::ToolCall::read("images", &params).is_err(), "{}", entry.name);
    }
}

/// The tags of a page or mail: the element's name and the names of its attributes, in order. A
/// value that became markup, or left its attribute, changes them.
pub(crate) fn tags(html: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let (mut tag, mut quote) = (String::new(), None);
        let mut end = rest.len();
        for (i, c) in rest.char_indices() {
            match (quote, c) {
                (None, '>') => {
                    end = i + 1;
                    break;
                }
                (None, '"' | '\'') => quote = Some(c),
                (Some(open), c) if c == open => quote = None,
                (None, c) => tag.push(c),
                (Some(_), _) => {}
            }
        }
        rest = &rest[end..];
        found.push(tag.replace('=', "").split_whitespace().collect::<Vec<_>>().join(" "));
    }
    found
}

/// What a reader reads: the text without its tags, entities decoded once.
pub(crate) fn text_of(html: &str) -> String {
    static TAG: LazyLock<Regex> = LazyLock::new(|| Regex::new("<[^>]*>").unwrap());
    static ENTITY: LazyLock<Regex> = LazyLock::new(|| Regex::new("&[^;&]{1,6};").unwrap());
    let text = TAG.replace_all(html, "");
    ENTITY
        .replace_all(&text, |entity: &regex::Captures<'_>| match &entity[0] {
            "&lt;" | "&#60;" => "<".to_owned(),
            "&gt;" | "&#62;" => ">".to_owned(),
            "&amp;" | "&#38;" => "&".to_owned(),
            "&quot;" | "&#34;" => "\"".to_owned(),
            "&#39;" => "'".to_owned(),
            other => panic!("{other} is no entity of ours"),
        })
        .into_owned()
}
