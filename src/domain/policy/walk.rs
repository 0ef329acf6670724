//! The strict walk over a policy's tree: places, problems, and the nearest known word.
//!
//! Readers return what they could read and note what they couldn't, so that one walk finds
//! every problem. What is noted decides; what is returned beside an error is never used.

use std::collections::HashSet;
use std::time::Duration;

use super::Problem;
use crate::domain::duration::parse_duration;
use crate::domain::json::{Member, Node};

/// Collects problems.
#[derive(Default)]
pub(super) struct Walk {
    pub(super) problems: Vec<Problem>,
}

impl Walk {
    pub(super) fn error(&mut self, place: &str, message: impl Into<String>) {
        self.note(place, message.into(), false);
    }

    pub(super) fn warn(&mut self, place: &str, message: impl Into<String>) {
        self.note(place, message.into(), true);
    }

    fn note(&mut self, place: &str, message: String, warning: bool) {
        self.problems.push(Problem::new(place, message, warning));
    }

    /// Notes that the value is not `what`.
    pub(super) fn mismatch(&mut self, node: &Node<'_>, place: &str, what: &str) {
        self.error(place, format!("is {}; write {what}", with_article(node.kind())));
    }

    /// The members of an object whose keys are all known; unknown ones are noted and left to the
    /// caller to ignore.
    pub(super) fn object<'n, 'a>(
        &mut self,
        node: &'n Node<'a>,
        place: &str,
        known: &[&str],
    ) -> &'n [Member<'a>] {
        let members = self.members(node, place);
        for member in members.iter().filter(|m| !known.contains(&m.key.as_ref())) {
            self.error(&at(place, &member.key), unknown("key", &member.key, known));
        }
        members
    }

    /// The members of an object of any keys.
    pub(super) fn members<'n, 'a>(&mut self, node: &'n Node<'a>, place: &str) -> &'n [Member<'a>] {
        if let Some(members) = node.members() {
            members
        } else {
            self.mismatch(node, place, "an object");
            &[]
        }
    }

    /// The elements of an array.
    pub(super) fn elements<'n, 'a>(
        &mut self,
        node: &'n Node<'a>,
        place: &str,
        what: &str,
    ) -> &'n [Node<'a>] {
        if let Some(elements) = node.elements() {
            elements
        } else {
            self.mismatch(node, place, what);
            &[]
        }
    }

    pub(super) fn string<'n>(
        &mut self,
        node: &'n Node<'_>,
        place: &str,
        what: &str,
    ) -> Option<&'n str> {
        let text = node.as_str();
        if text.is_none() {
            self.mismatch(node, place, what);
        }
        text
    }

    /// A string that is not empty; an empty one is noted.
    pub(super) fn name<'n>(
        &mut self,
        node: &'n Node<'_>,
        place: &str,
        what: &str,
    ) -> Option<&'n str> {
        let text = self.string(node, place, what)?;
        if text.trim().is_empty() {
            self.error(place, format!("is empty; write {what}"));
            return None;
        }
        Some(text)
    }

    /// Strings that are not empty; at least one unless `may_be_empty`.
    pub(super) fn names(
        &mut self,
        node: &Node<'_>,
        place: &str,
        what: &str,
        may_be_empty: bool,
    ) -> Vec<String> {
        let elements = self.elements(node, place, &format!("a list, each {what}"));
        if node.elements().is_some_and(<[_]>::is_empty) && !may_be_empty {
            self.error(place, format!("is an empty list; write {what}, or leave the key out"));
        }
        let mut seen = HashSet::new();
        let mut names = Vec::with_capacity(elements.len());
        for (i, element) in elements.iter().enumerate() {
            let place = nth(place, i);
            let Some(name) = self.name(element, &place, what) else { continue };
            if !seen.insert(name) {
                self.warn(&place, format!("{name:?} is given twice; remove one"));
            }
            names.push(name.to_owned());
        }
        names
    }

    pub(super) fn boolean(&mut self, node: &Node<'_>, place: &str) -> Option<bool> {
        let value = node.as_bool();
        if value.is_none() {
            self.mismatch(node, place, "true or false");
        }
        value
    }

    /// A whole number from 1.
    pub(super) fn count(&mut self, node: &Node<'_>, place: &str, what: &str) -> Option<u32> {
        let Some(digits) = node.as_number() else {
            self.mismatch(node, place, &format!("{what}: a whole number from 1"));
            return None;
        };
        let count = digits.parse().ok().filter(|n| *n > 0);
        if count.is_none() {
            self.error(
                place,
                format!(
                    "{digits} is out of range; write {what}: a whole number from 1 to {}",
                    u32::MAX
                ),
            );
        }
        count
    }

    pub(super) fn duration(&mut self, node: &Node<'_>, place: &str) -> Option<Duration> {
        let text = self.string(node, place, "a duration such as \"30m\"")?;
        match parse_duration(text) {
            Ok(duration) => Some(duration),
            Err(why) => {
                self.error(place, why.about(text));
                None
            }
        }
    }

    /// A duration that is not zero.
    pub(super) fn some_time(&mut self, node: &Node<'_>, place: &str) -> Option<Duration> {
        let duration = self.duration(node, place)?;
        if duration.is_zero() {
            self.error(
                place,
                "is no time at all: every approval would expire at once; write a longer one",
            );
            return None;
        }
        Some(duration)
    }

    /// One word of a list.
    pub(super) fn word<'n>(
        &mut self,
        node: &'n Node<'_>,
        place: &str,
        known: &[&str],
    ) -> Option<&'n str> {
        let word = self.string(node, place, &one_of(known))?;
        if known.contains(&word) {
            return Some(word);
        }
        self.error(place, unknown("word", word, known));
        None
    }
}

/// The JSON Pointer of a member, with `~` and `/` of its key escaped.
///
/// <https://www.rfc-editor.org/rfc/rfc6901#section-3>
pub(super) fn at(place: &str, key: &str) -> String {
    format!("{place}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// The JSON Pointer of an element of an array.
pub(super) fn nth(place: &str, index: usize) -> String {
    format!("{place}/{index}")
}

/// `one of "a", "b"`, or `"a"` alone.
fn one_of(known: &[&str]) -> String {
    let quoted: Vec<String> = known.iter().map(|word| format!("{word:?}")).collect();
    match quoted.as_slice() {
        [only] => only.clone(),
        _ => format!("one of {}", quoted.join(", ")),
    }
}

fn unknown(what: &str, word: &str, known: &[&str]) -> String {
    let near = nearest(word, known).map_or(String::new(), |n| format!("; did you mean {n:?}?"));
    format!("unknown {what} {word:?}{near}; known: {}", known.join(", "))
}

/// The known word that was probably meant.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    // An edit distance over a text without bound would cost its square.
    let longest = known.iter().map(|k| k.len()).max().unwrap_or(0) * 2;
    if word.len() > longest {
        return None;
    }
    let word = word.to_lowercase().replace('-', "_");
    known
        .iter()
        .map(|k| (strsim::damerau_levenshtein(&word, k), *k))
        .filter(|(distance, k)| distance * 3 <= word.len().max(k.len()) + 1)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}

fn with_article(kind: &str) -> String {
    match kind {
        "null" => kind.to_owned(),
        "array" | "object" => format!("an {kind}"),
        _ => format!("a {kind}"),
    }
}

/// The JSON Pointer of the value or key at a byte offset of a text that is JSON up to there.
pub(super) fn pointer_at(text: &str, offset: usize) -> String {
    enum Level {
        Array(usize),
        Object(Option<String>),
    }
    let bytes = text.as_bytes();
    let mut levels: Vec<Level> = Vec::new();
    let mut i = 0;
    // A key counts where it begins at the offset, too: it is the one that is wrong.
    while i <= offset && i < bytes.len() {
        match bytes[i] {
            b'{' => levels.push(Level::Object(None)),
            b'[' => levels.push(Level::Array(0)),
            b'}' | b']' => {
                levels.pop();
            }
            b',' => match levels.last_mut() {
                Some(Level::Array(index)) => *index += 1,
                Some(Level::Object(key)) => *key = None,
                None => {}
            },
            b'"' => {
                let start = i;
                i += 1;
                while i < bytes.len() && bytes[i] != b'"' {
                    i += if bytes[i] == b'\\' { 2 } else { 1 };
                }
                if let Some(Level::Object(key @ None)) = levels.last_mut() {
                    let literal = text.get(start..=i).unwrap_or_default();
                    let parsed = crate::domain::json::parse(literal).ok();
                    *key = parsed.and_then(|node| node.as_str().map(str::to_owned));
                }
            }
            _ => {}
        }
        i += 1;
    }
    levels.iter().fold(String::new(), |place, level| match level {
        Level::Array(index) => nth(&place, *index),
        Level::Object(Some(key)) => at(&place, key),
        Level::Object(None) => place,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_escape_tilde_and_slash() {
        assert_eq!(at("/tools", "a/b~c"), "/tools/a~1b~0c");
    }

    #[test]
    fn a_byte_offset_becomes_a_pointer() {
        let text = r#"{"a":[{"b":1},{"c/":{"d":1,"d":2}}]}"#;
        let offset = text.rfind("\"d\"").unwrap();

        assert_eq!(pointer_at(text, offset), "/a/1/c~1/d");
        assert_eq!(pointer_at("[1,x", 3), "/1");
        assert_eq!(pointer_at("", 0), "");
        assert_eq!(pointer_at(r#"{"a\"#, 2), "");
    }

    #[test]
    fn the_nearest_word_is_named_only_when_it_is_near() {
        let known = ["action", "reason", "rate_limit"];

        assert_eq!(nearest("acton", &known), Some("action"));
        assert_eq!(nearest("Rate-Limit", &known), Some("rate_limit"));
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(nearest(&"action".repeat(10_000), &known), None);
    }
}
