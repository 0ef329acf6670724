//! The words by which an approval is found: of its tool, its agent, its upstream, and the reasons
//! that people and rules gave.
//!
//! A word is a run of letters and digits in lower case; a name such as `delete_image_set` is found
//! as a whole and by its parts.

use std::collections::BTreeSet;

use super::approval::Approval;

/// Longest word, in characters; a longer one is found by its beginning.
const MAX_WORD: usize = 64;
/// Most words that are kept for one approval.
const MAX_WORDS: usize = 128;
/// Most words of one search; further ones are ignored.
pub(crate) const MAX_SOUGHT: usize = 8;

/// The approval's words now; they change with its decisions and its end. Where there are too many,
/// names come first, then the texts in the order in which they were written.
pub(crate) fn words_of(a: &Approval) -> BTreeSet<String> {
    let decisions = a.decisions.iter().flat_map(|d| [d.reason.as_str(), &d.reviewer]);
    let texts = [a.call.tool.as_str(), &a.agent, &a.call.upstream]
        .into_iter()
        .chain(a.reason.as_deref())
        .chain(decisions)
        .chain(a.end_reason.as_deref());
    let mut found = BTreeSet::new();
    for word in texts.flat_map(split) {
        if found.len() == MAX_WORDS {
            break;
        }
        found.insert(word);
    }
    found
}

/// The words of a search, in lower case.
pub(crate) fn sought(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for piece in text.split_whitespace() {
        // A name is looked for as a whole, which says more than its parts.
        let whole = word(piece.trim_matches(|c: char| !c.is_alphanumeric()));
        for w in if is_name(&whole) { vec![whole] } else { split(piece) } {
            if words.len() < MAX_SOUGHT && !words.contains(&w) {
                words.push(w);
            }
        }
    }
    words
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

fn word(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).take(MAX_WORD).collect()
}

fn split(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    for piece in text.split_whitespace() {
        let whole = piece.trim_matches(|c: char| !c.is_alphanumeric());
        if is_name(whole) {
            all.push(word(whole));
        }
        all.extend(piece.split(|c: char| !c.is_alphanumeric()).filter(|p| !p.is_empty()).map(word));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::approval::ApprovalId;
    use crate::domain::time::Timestamp;
    use crate::fixtures::pending;

    #[test]
    fn names_are_found_whole_and_by_their_parts() {
        let words = split("delete_image_set Deleting (can't) be UNDONE.");

        for part in ["delete_image_set", "delete", "image", "set", "deleting", "can", "undone"] {
            assert!(words.contains(&part.to_owned()), "{part}: {words:?}");
        }
    }

    #[test]
    fn many_words_of_a_reason_do_not_crowd_out_the_names() {
        let reason: Vec<String> = (0..500).map(|n| format!("a{n}")).collect();
        let id = ApprovalId::parse(&format!("apr_{:032x}", 1)).unwrap();
        let mut a = pending(id, r#"{"name":"wipe_zones"}"#, &["ana"], Timestamp::from_micros(0));
        a.reason = Some(reason.join(" "));

        let words = words_of(&a);

        assert_eq!(words.len(), MAX_WORDS);
        for name in ["wipe_zones", "zones", "images", a.agent.as_str()] {
            assert!(words.contains(name), "{name}: {words:?}");
        }
        assert!(words.contains("a0") && !words.contains("a499"));
    }

    #[test]
    fn what_is_sought_is_bounded_and_in_lower_case() {
        assert_eq!(sought(" Delete_Image_Set, undone? undone"), ["delete_image_set", "undone"]);
        assert_eq!(sought("a b c d e f g h i j k").len(), MAX_SOUGHT);
        assert!(sought(" .,- ").is_empty());
        assert_eq!(sought(&"x".repeat(500))[0].len(), MAX_WORD);
    }
}
