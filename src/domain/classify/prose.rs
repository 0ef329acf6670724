//! What a tool's title and description say: the acts of a sentence, without what it denies.

use super::words::{DISKS, Sense, sense_in_prose};
use crate::domain::risk::RiskClass;

/// Longest description that is read, characters: what a tool does stands at its beginning.
const MAX_READ: usize = 4_000;

/// An act that a text says the tool does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Act {
    /// Its class.
    pub class: RiskClass,
    /// The words that say it, as they stand there.
    pub quote: String,
}

/// What a text says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Prose {
    /// The acts with which it begins: `List, create or close a tab`.
    pub leading: Vec<Act>,
    /// Acts joined to them later in its first sentences: `… or completely overwrite an existing one`.
    pub further: Vec<Act>,
    /// That something is gone for good.
    pub lasting: Option<String>,
    /// That it runs whatever it is given.
    pub arbitrary: Option<String>,
    /// That it changes nothing.
    pub only_reads: Option<String>,
    /// That it runs queries of a language in which nothing can be changed.
    pub reading_language: Option<String>,
}

/// Words after which an act is not done.
const DENIALS: [&str; 15] = [
    "not", "never", "without", "no", "cannot", "can't", "doesn't", "don't", "won't", "isn't",
    "instead", "rather", "prevents", "prevent", "non",
];
/// How a sentence begins that is not about what the tool does.
const ASIDES: [&str; 17] = [
    "use", "see", "if", "when", "note", "unlike", "instead", "for", "example", "examples", "to",
    "after", "before", "once", "tip", "requires", "prefer",
];
/// Words before the first act.
const FILLING: [&str; 36] = [
    "perform",
    "performs",
    "performing",
    "this",
    "tool",
    "a",
    "an",
    "the",
    "that",
    "which",
    "will",
    "can",
    "is",
    "used",
    "to",
    "allows",
    "allow",
    "you",
    "lets",
    "let",
    "helps",
    "help",
    "for",
    "function",
    "it",
    "enables",
    "be",
    "may",
    "and",
    "users",
    "agents",
    "deprecated",
    "beta",
    "experimental",
    "command",
    "endpoint",
];
/// Words after which a joined word is an act and not a thing.
const OBJECTS: [&str; 22] = [
    "a", "an", "the", "them", "it", "its", "any", "all", "existing", "new", "this", "that", "one",
    "multiple", "these", "those", "your", "their", "files", "data", "specific", "entire",
];
const LASTING: [&str; 12] = [
    "permanent",
    "irreversib",
    "cannot be undone",
    "can't be undone",
    "can not be undone",
    "not be recovered",
    "unrecoverable",
    "irrecoverab",
    "no undo",
    "not reversible",
    "data loss",
    "destructive",
];
const ARBITRARY: [&str; 18] = [
    "arbitrary code",
    "arbitrary command",
    "arbitrary javascript",
    "arbitrary python",
    "arbitrary sql",
    "arbitrary shell",
    "arbitrary queries",
    "any sql",
    "shell command",
    "bash command",
    "raw sql",
    "execute sql",
    "execute a sql",
    "executes sql",
    "executes a sql",
    "run sql",
    "any command",
    "terminal command",
];
const ONLY_READS: [&str; 10] = [
    "read-only",
    "read only",
    "readonly",
    "does not modify",
    "doesn't modify",
    "no side effects",
    "does not change",
    "without modifying",
    "select query",
    "select statement",
];

/// Reads a text.
pub(super) fn read(text: &str) -> Prose {
    let text: String = text.chars().take(MAX_READ).collect();
    // That files are dragged destroys nothing.
    let text = text.replace("drag and drop", "drag").replace("drag-and-drop", "drag");
    let low = text.to_lowercase();
    let mut prose = Prose {
        lasting: phrase(&text, &low, &LASTING),
        arbitrary: phrase(&text, &low, &ARBITRARY),
        only_reads: only_reads(&low),
        reading_language: reading_language(&text, &low),
        ..Prose::default()
    };
    let mut first = true;
    for sentence in
        text.split(['.', '\n', ';', ':', '!']).map(str::trim).filter(|s| !s.is_empty()).take(6)
    {
        let words: Vec<Word<'_>> = words(sentence);
        if !first && words.first().is_some_and(|w| ASIDES.contains(&w.low.as_str())) {
            continue;
        }
        let leads = if first || prose.leading.is_empty() {
            leading(&words, sentence.contains("` operation"))
        } else {
            Vec::new()
        };
        let after = leads.last().map_or(0, |(n, _)| n + 1);
        let begins = leads.len();
        prose.leading.extend(leads.into_iter().map(|(_, act)| act));
        if begins > 0 || first {
            prose.further.extend(joined(&words, after));
        }
        first = false;
    }
    prose
}

/// That it only reads, where a text says so of the whole tool: at its beginning or in a sentence of its
/// own, and not of a mode or of some of its operations.
fn only_reads(low: &str) -> Option<String> {
    for (n, sentence) in low.split(['.', '\n', ';']).filter(|s| !s.trim().is_empty()).enumerate() {
        let of_all = n < 2 || sentence.len() <= SHORT_SENTENCE;
        let words = || sentence.split(|c: char| !c.is_alphanumeric());
        let limits = words().any(|word| LIMITING.contains(&word));
        if let Some(phrase) = ONLY_READS.iter().find(|p| sentence.contains(**p))
            && of_all
            && !limits
        {
            return Some((*phrase).to_owned());
        }
    }
    None
}

/// The language that the first sentence names, where queries of it only read.
fn reading_language(text: &str, low: &str) -> Option<String> {
    let first = low.split(['.', '\n']).next().unwrap_or_default();
    READING_LANGUAGES.iter().find_map(|language| {
        let at = first.find(language)?;
        Some(text.get(at..at + language.len()).unwrap_or(language).to_owned())
    })
}

/// <https://prometheus.io/docs/prometheus/latest/querying/basics/>,
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax.html>
const READING_LANGUAGES: [&str; 3] = ["promql", "logs insights quer", "log insights quer"];

/// A sentence that is no longer says nothing beside it, bytes.
const SHORT_SENTENCE: usize = 40;
/// Words of sentences that speak of some calls only.
const LIMITING: [&str; 13] = [
    "both",
    "default",
    "disabled",
    "enabled",
    "except",
    "if",
    "mode",
    "otherwise",
    "permission",
    "unless",
    "when",
    "where",
    "write",
];

struct Word<'t> {
    text: &'t str,
    low: String,
    /// A comma or slash stands behind it.
    is_listed: bool,
}

fn words(sentence: &str) -> Vec<Word<'_>> {
    sentence
        .split([' ', '\t', '(', ')', '"', '`', '[', ']', '*', '/'])
        .filter_map(|text| {
            let bare = text.trim_matches(|c: char| !c.is_alphanumeric());
            (!bare.is_empty()).then(|| Word {
                text: bare,
                low: bare.to_lowercase(),
                is_listed: text.ends_with(','),
            })
        })
        .collect()
}

/// The acts with which a sentence begins. `names_operation`: it is about an operation that it names, as
/// in "Execute the `publish` operation", where what is done is that.
fn leading(words: &[Word<'_>], names_operation: bool) -> Vec<(usize, Act)> {
    let mut acts = Vec::new();
    let mut denied = false;
    for (n, word) in words.iter().enumerate().take(24) {
        let low = word.low.as_str();
        if DENIALS.contains(&low) {
            denied = true;
            continue;
        }
        if acts.is_empty() && (FILLING.contains(&low) || low.ends_with("ly")) {
            continue;
        }
        if !acts.is_empty() && (matches!(low, "or" | "and" | "then") || low.ends_with("ly")) {
            continue;
        }
        let Some(sense) = sense_in_prose(low) else { break };
        if names_operation && sense.class == RiskClass::Execute {
            continue;
        }
        // Only what is listed, or joined by a word, belongs to the first acts.
        let follows = n.checked_sub(1).map(|before| &words[before]);
        let belongs = acts.is_empty()
            || follows.is_some_and(|w| {
                w.is_listed
                    || matches!(w.low.as_str(), "or" | "and" | "then")
                    || w.low.ends_with("ly")
            });
        if !belongs {
            break;
        }
        if !denied {
            acts.push((n, act(&words[n..], sense)));
        }
        denied = false;
    }
    acts
}

/// Acts joined to the first ones later in the sentence.
fn joined(words: &[Word<'_>], from: usize) -> Vec<Act> {
    let mut acts = Vec::new();
    for n in from.max(1)..words.len() {
        let mut before = n - 1;
        while before > 0 && (words[before].low.ends_with("ly") || words[before].low == "to") {
            before -= 1;
        }
        let joins = matches!(words[before].low.as_str(), "or" | "and" | "then");
        let has_object = words.get(n + 1).is_some_and(|w| OBJECTS.contains(&w.low.as_str()));
        let Some(sense) = sense_in_prose(&words[n].low) else { continue };
        let denied =
            words[n.saturating_sub(5)..n].iter().any(|w| DENIALS.contains(&w.low.as_str()));
        // Keywords of SQL are written in capitals.
        let is_keyword =
            matches!(words[n].text, "DELETE" | "DROP" | "TRUNCATE" | "INSERT" | "UPDATE");
        if ((joins && has_object) || is_keyword) && !denied {
            acts.push(act(&words[n..], sense));
        }
    }
    acts
}

/// The act that the first of these words names, done to the next ones.
fn act(words: &[Word<'_>], sense: Sense) -> Act {
    let is_disk = |w: &Word<'_>| DISKS.split(' ').any(|disk| disk == w.low);
    let formats = words[0].low.starts_with("format") && words.iter().take(5).any(is_disk);
    let class = if formats { RiskClass::Destructive } else { sense.class };
    Act { class, quote: words[0].text.to_owned() }
}

/// The first of these phrases that stands in a text and is not denied.
fn phrase(text: &str, low: &str, phrases: &[&str]) -> Option<String> {
    let found = phrases.iter().filter_map(|p| Some((low.find(p)?, *p))).min()?;
    let before: Vec<&str> = low[..found.0].rsplit(['.', '\n']).next()?.split_whitespace().collect();
    let denied = before.iter().rev().take(3).any(|word| {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '\'');
        DENIALS.contains(&word) || word == "non-"
    }) || low[..found.0].ends_with("non-");
    // Lower case may be longer than what it is of.
    let quote = text.get(found.0..found.0 + found.1.len()).unwrap_or(found.1);
    (!denied || found.1.contains("not") || found.1.starts_with("no ")).then(|| quote.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leading_of(text: &str) -> Vec<RiskClass> {
        read(text).leading.into_iter().map(|act| act.class).collect()
    }

    fn further_of(text: &str) -> Vec<RiskClass> {
        read(text).further.into_iter().map(|act| act.class).collect()
    }

    #[test]
    fn a_description_begins_with_what_the_tool_does() {
        use RiskClass::{Destructive, Execute, Read, Write};
        for (text, said) in [
            ("Deletes an image set.", vec![Destructive]),
            ("List, create, close, or select a browser tab.", vec![Read, Write, Write, Write]),
            ("This tool permanently removes a user", vec![Destructive]),
            ("Recursively search for files", vec![Read]),
            ("Does not delete anything; shows a plan", vec![Read]),
            ("Executes a command", vec![Execute]),
            ("Get details of deleted items", vec![Read]),
        ] {
            assert_eq!(leading_of(text), said, "{text}");
        }
    }

    #[test]
    fn what_is_joined_to_it_counts_and_what_is_denied_or_a_thing_does_not() {
        use RiskClass::{Destructive, Write};
        for (text, said) in [
            ("Create a new file or completely overwrite an existing file", vec![Destructive]),
            ("Execute an INSERT, UPDATE, or DELETE query", vec![Write, Write, Destructive]),
            ("Returns names, updates and issues", vec![]),
            ("Reads the queue and removes the message", vec![Destructive]),
            ("Reads the queue and does not remove the message", vec![]),
            ("Get a message. Use delete_message to delete it", vec![]),
        ] {
            assert_eq!(further_of(text), said, "{text}");
        }
    }

    #[test]
    fn lasting_harm_is_heard_unless_it_is_denied() {
        assert!(read("Removes it. This cannot be undone.").lasting.is_some());
        assert!(read("A non-destructive check").lasting.is_none());
        assert!(read("This is not destructive").lasting.is_none());
        assert_eq!(read("Runs Arbitrary Code here").arbitrary.as_deref(), Some("Arbitrary Code"));
    }
}
