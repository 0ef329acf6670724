//! Letters and signs that pass for others, told to the reviewer in a sentence.
//!
//! Three ways to write a word that reads as another: letters of several scripts in one word, a
//! word wholly in letters that look Latin and are not, and signs that stand for letters, digits or
//! punctuation. It does not know every pair Unicode lists as confusable; what it names is what
//! people are deceived with, and honest text of any language is left alone.

use std::fmt::Write as _;
use std::sync::LazyLock;

use regex::Regex;

use super::visible;
use crate::domain::json::{Node, Value};

/// Most words that the sentence names; further ones are only counted.
const MAX_NAMED_WORDS: usize = 5;

/// Longest word that is named in full, characters.
const MAX_NAMED_LENGTH: usize = 80;

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

/// Letters of other scripts that are drawn like Latin ones.
const LIKE_LATIN: &str = "АаВЕеЅѕІіЈјКМНОоРрСсТУуХхԁԛԜԝһҺҮүѴѵӀӏԌԍΑΒΕΖΗΙΚΜΝΟοΡΤΥΧανρυϲϳօոսցհՏԼᎪᎬᎢᎫᎷᎻᏀᏃᏎᏒᏔᏚᏞᏟᏢᏴꓐꓑꓓꓔꓖꓗꓙꓚꓜꓝꓠꓡꓢꓣꓤꓦꓧꓪꓫꓬꓮꓰꓲꓳꓴ";

/// Characters that stand for letters, digits or signs in another form: full width, mathematical,
/// circled, small capitals and phonetic letters, Roman numerals, and signs drawn like ASCII
/// punctuation.
static DRESSED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"[\x{FF10}-\x{FF19}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{FF0E}\x{FF0F}\x{FF3C}\x{FF1A}\x{1D400}-\x{1D7FF}\x{24B6}-\x{24E9}\x{1F110}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189}\x{2160}-\x{217F}\x{0250}-\x{02AF}\x{1D00}-\x{1D2B}\x{210A}-\x{2113}\x{2024}\x{2044}\x{2215}\x{2216}\x{2236}\x{29F5}\x{29F8}\x{29F9}\x{2571}\x{2572}\x{A789}\x{37E}\x{1C3}\x{2C8}\x{5C3}\x{589}\x{FE52}\x{FE68}\x{FE55}\x{FE5F}\x{FE64}\x{FE65}\x{FF1C}\x{FF1E}\x{FF02}\x{FF07}\x{FE63}\x{FF0D}]",
    )
    .expect("a constant pattern is valid")
});

/// Letters of other scripts, and the Latin ones they are drawn like, place by place; lower case.
const DRAWN: &str = "авеѕіјкмнорстухԁԛԝһүѵӏԍαβενικορτυχϲϳօոսցհıɑɡ";
const DRAWN_LIKE: &str = "abesijkmhopctyxdqwhyvlgabevikoptuxcjonughlag";

/// What a name looks like at a glance: names that give the same text are easily taken for each other.
/// Case, invisible characters, full width, and letters of other scripts that pass for Latin ones make
/// no difference; `0` is `o`, and `1`, `i` and `l` are one.
pub(crate) fn reads_as(name: &str) -> String {
    let mut read = String::with_capacity(name.len());
    for c in name.chars() {
        if c != ' ' && visible(c.encode_utf8(&mut [0; 4])).starts_with("⟦U+") {
            continue;
        }
        // Full-width forms stand in the order of ASCII.
        let narrow = u32::from(c).checked_sub(0xFEE0).filter(|code| (0x21..0x7F).contains(code));
        let c = narrow.and_then(char::from_u32).unwrap_or(c);
        for c in c.to_lowercase() {
            let latin = DRAWN.chars().position(|drawn| drawn == c);
            let c = latin.and_then(|at| DRAWN_LIKE.chars().nth(at)).unwrap_or(c);
            read.push(match c {
                '0' => 'o',
                '1' | 'i' | '|' => 'l',
                other => other,
            });
        }
    }
    read.replace("rn", "m").replace("vv", "w")
}

/// A sentence for the reviewer about everything in a text that passes for something else; none
/// where nothing does.
pub(crate) fn mixed_script(text: &str) -> Option<String> {
    let mut found = Found::default();
    found.look(text);
    found.sentence()
}

/// The same sentence about all keys and strings of a JSON value.
pub(crate) fn mixed_script_in(node: &Node<'_>) -> Option<String> {
    let mut found = Found::default();
    found.look_in(node);
    found.sentence()
}

/// What was found, by kind. Only the first few are kept; the rest is counted.
#[derive(Default)]
struct Found {
    mixed: Named,
    whole: Named,
    dressed: Named,
}

#[derive(Default)]
struct Named {
    words: Vec<String>,
    more: usize,
}

impl Named {
    fn add(&mut self, word: String) {
        if self.words.contains(&word) {
            return;
        }
        if self.words.len() < MAX_NAMED_WORDS {
            self.words.push(word);
        } else {
            self.more += 1;
        }
    }

    fn tell(&self, what: &str, out: &mut String) {
        if self.words.is_empty() {
            return;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        let _ = write!(out, "{what}: {}", self.words.join(", "));
        if self.more > 0 {
            let _ = write!(out, " and {} more", self.more);
        }
        out.push('.');
    }
}

impl Found {
    fn look(&mut self, text: &str) {
        if text.is_ascii() {
            return;
        }
        for sign in DRESSED.find_iter(text) {
            let code = sign.as_str().chars().next().map_or(0, u32::from);
            self.dressed.add(format!("“{}” (U+{code:04X})", sign.as_str()));
        }
        let mut whole = Vec::new();
        // A text with a letter that only one script has is clearly in that script.
        let mut plain = false;
        for word in WORD.find_iter(text).filter(|word| !word.as_str().is_ascii()) {
            let scripts: Vec<&str> = SCRIPTS
                .iter()
                .filter(|(_, script)| script.is_match(word.as_str()))
                .map(|(name, _)| *name)
                .collect();
            match scripts[..] {
                [] | ["Latin"] => {}
                [script] if is_like_latin(word.as_str()) => {
                    whole.push((named(word.as_str()), script));
                }
                [_] => plain = true,
                _ => {
                    self.mixed.add(format!("{} ({})", named(word.as_str()), scripts.join(" and ")));
                }
            }
        }
        if !plain {
            for (word, script) in whole {
                self.whole.add(format!("{word} ({script})"));
            }
        }
    }

    fn look_in(&mut self, node: &Node<'_>) {
        match &node.value {
            Value::String(text) => self.look(text),
            Value::Array(elements) => elements.iter().for_each(|e| self.look_in(e)),
            Value::Object(members) => {
                for member in members {
                    self.look(&member.key);
                    self.look_in(&member.node);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn sentence(&self) -> Option<String> {
        let mut text = String::new();
        self.mixed.tell("Letters of different scripts in one word", &mut text);
        self.whole.tell("Words that look Latin and are not", &mut text);
        self.dressed.tell("Signs that pass for others", &mut text);
        (!text.is_empty()).then_some(text)
    }
}

/// Whether every letter of a word passes for a Latin one. A word of one letter is too short to
/// deceive.
fn is_like_latin(word: &str) -> bool {
    let letters = || word.chars().filter(|c| c.is_alphabetic());
    letters().count() > 1 && letters().all(|c| LIKE_LATIN.contains(c))
}

fn named(word: &str) -> String {
    match word.char_indices().nth(MAX_NAMED_LENGTH) {
        Some((at, _)) => format!("“{}…”", visible(&word[..at])),
        None => format!("“{}”", visible(word)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::json;

    #[test]
    fn names_that_look_alike_read_the_same() {
        assert_eq!(DRAWN.chars().count(), DRAWN_LIKE.chars().count());
        for (one, other) in [
            ("ana", "аnа"),
            ("root", "r00t"),
            ("lina", "Iina"),
            ("bill", "bi11"),
            ("warner", "vvamer"),
            ("ana", "ａｎａ"),
            ("ana", "a\u{200d}na"),
            ("Olga", "оlga"),
        ] {
            assert_eq!(reads_as(one), reads_as(other), "{other}");
        }
        assert_ne!(reads_as("ana"), reads_as("anna"));
        assert_ne!(reads_as("ana b"), reads_as("anab"));
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
    fn words_wholly_in_letters_that_look_latin_are_named() {
        assert_eq!(
            mixed_script("сору").unwrap(),
            "Words that look Latin and are not: “сору” (Cyrillic)."
        );
        // A text that is plainly Russian may have a word of such letters.
        assert_eq!(mixed_script("он рос быстро"), None);
        assert_eq!(mixed_script("а и о"), None);
    }

    #[test]
    fn signs_in_another_dress_are_named_with_their_number() {
        assert_eq!(
            mixed_script("prod／ｄb").unwrap(),
            "Signs that pass for others: “／” (U+FF0F), “ｄ” (U+FF44)."
        );
        assert!(mixed_script("𝐝𝐞𝐥𝐞𝐭𝐞").unwrap().contains("U+1D41D"));
        assert_eq!(mixed_script("Größe – “ok” … 100 € naïve"), None);
    }

    #[test]
    fn many_mixed_words_are_counted_and_escapes_of_json_are_not_letters() {
        let node = json::parse(r#"{"ключa":["бb","вv","гg","дd","жz","a\nпривет"]}"#).unwrap();

        let flagged = mixed_script_in(&node).unwrap();

        assert!(flagged.ends_with("and 1 more."), "{flagged}");
    }

    #[test]
    fn a_long_mixed_word_is_named_by_its_beginning() {
        let flagged = mixed_script(&format!("а{}", "x".repeat(200_000))).unwrap();

        assert!(flagged.len() < 300, "{}", flagged.len());
    }
}
