//! What a tool's arguments say: that it runs what it is given, or that one of them decides what it
//! does.

use super::prose;
use super::words::{Sense, sense, sense_in_prose};
use super::{Flip, name};
use crate::domain::json::Node;
use crate::domain::risk::RiskClass;

/// Arguments whose value is run.
const RUN: [&str; 14] = [
    "bash",
    "cmd",
    "code",
    "command",
    "commands",
    "expression",
    "javascript",
    "js",
    "python",
    "script",
    "shell",
    "sql",
    "statement",
    "program",
];
/// Arguments whose value says what is done.
const OPERATIONS: [&str; 12] = [
    "action",
    "actions",
    "api_operation",
    "method",
    "mode",
    "op",
    "operation",
    "operation_name",
    "operation_type",
    "verb",
    "subcommand",
    "sub_command",
];
/// Arguments that, set, make an act one that can't be taken back.
const FORCING: [&str; 14] = [
    "force",
    "overwrite",
    "permanent",
    "permanently",
    "purge",
    "hard",
    "hard_delete",
    "harddelete",
    "cascade",
    "prune",
    "delete",
    "destroy",
    "remove",
    "skip_trash",
];
/// Arguments that, set, let an act only be tried.
const TRYING: [&str; 7] =
    ["dry_run", "dryrun", "preview", "simulate", "what_if", "check_only", "validate_only"];
/// Arguments that, set, let a tool write that else reads.
const WRITING: [&str; 6] = ["write", "apply", "commit", "save", "persist", "execute"];

/// What the arguments of a tool say.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    /// The argument whose value is run.
    pub runs: Option<String>,
    /// The argument that says what is done, and the gravest of what it may say.
    pub operation: Option<(String, RiskClass)>,
    /// Arguments by which a call is of another class.
    pub flips: Vec<Flip>,
    /// That argument is told as what the answer is narrowed by.
    pub is_filter: bool,
    /// Several values are named, and each of them reads.
    pub only_reads: bool,
    /// None of its values reads.
    pub never_reads: bool,
    /// The tool only tries, with this argument set.
    pub tries: Option<String>,
}

/// Reads the `inputSchema` of a tool; its description may tell of arguments, too.
pub(super) fn read(schema: &Node<'_>, description: &str) -> Arguments {
    let mut found = Arguments::default();
    let properties = schema.get("properties").and_then(Node::members).unwrap_or_default();
    for property in properties {
        let key = property.key.as_ref();
        let low = name::words(key).join("_");
        let kind = property.node.get("type").and_then(Node::as_str).unwrap_or_default();
        if RUN.contains(&low.as_str()) && kind != "boolean" {
            found.runs.get_or_insert_with(|| key.to_owned());
        }
        if OPERATIONS.contains(&low.as_str()) {
            operation(key, &property.node, description, &mut found);
        }
        if kind != "boolean" {
            continue;
        }
        let set = |class| Flip { path: path(key), values: vec!["true".to_owned()], class };
        let first = low.split('_').next().unwrap_or_default();
        if FORCING.contains(&low.as_str())
            || ["delete", "remove", "purge", "overwrite"].contains(&first)
        {
            found.flips.push(set(RiskClass::Destructive));
        } else if TRYING.contains(&low.as_str()) {
            found.tries.get_or_insert_with(|| key.to_owned());
        } else if WRITING.contains(&low.as_str()) {
            found.flips.push(set(RiskClass::Write));
        }
    }
    found
}

fn path(key: &str) -> String {
    format!("args.{key}")
}

/// The argument that says what is done: what each of its values says.
fn operation(key: &str, node: &Node<'_>, description: &str, found: &mut Arguments) {
    let mut by_class = listed_values(node, false);
    if by_class.is_empty() && node.get("enum").is_none() {
        // Servers in Python tell of arguments in the tool's own text.
        for value in told_of(key, description).into_iter().chain(listed_below(description)) {
            note_word(&mut by_class, value, false);
        }
    }
    // Single words of a sentence say little where the name says what is done.
    let is_loose = by_class.is_empty();
    if is_loose {
        by_class = values_by_class(node, false);
    }
    let Some(gravest) = by_class.iter().map(|(class, _)| *class).max() else { return };
    let own = node.get("description").and_then(Node::as_str).unwrap_or_default().to_lowercase();
    let is_read = |value: &&str| name::read(value).is_some_and(|n| n.class == RiskClass::Read);
    let is_compound = |value: &&str| value.contains(['-', '_']);
    let named = named_in(node.get("description").and_then(Node::as_str).unwrap_or_default());
    let compound: Vec<&str> = named.into_iter().filter(is_compound).collect();
    found.only_reads |= gravest == RiskClass::Read
        && !is_loose
        && compound.len() > 1
        && compound.iter().all(is_read);
    found.is_filter |= own.contains("filter") || is_loose;
    found.never_reads |= !by_class.iter().any(|(class, _)| *class == RiskClass::Read);
    if found.operation.as_ref().is_none_or(|(_, other)| *other < gravest) {
        found.operation = Some((key.to_owned(), gravest));
    }
    if by_class.len() > 1 {
        for (class, values) in by_class.into_iter().filter(|(class, _)| *class > RiskClass::Read) {
            found.flips.push(Flip { path: path(key), values, class });
        }
    }
}

/// Values, raw, under the class of what they say.
type ByClass = Vec<(RiskClass, Vec<String>)>;

fn note(by_class: &mut ByClass, class: RiskClass, raw: String) {
    match by_class.iter_mut().find(|(c, _)| *c == class) {
        Some((_, values)) if values.contains(&raw) => {}
        Some((_, values)) => values.push(raw),
        None => by_class.push((class, vec![raw])),
    }
}

/// Notes a value that a text names: `delete-database`.
fn note_word(by_class: &mut ByClass, word: &str, certain: bool) {
    let said = name::read(word).filter(|said| said.is_certain || !certain);
    if let Some(said) = said {
        note(by_class, said.class, crate::domain::json::quote(word));
    }
}

/// The values that an argument's `enum` or the lists in its description name.
fn listed_values(node: &Node<'_>, certain: bool) -> ByClass {
    let mut by_class = ByClass::new();
    if let Some(values) = node.get("enum").and_then(Node::elements) {
        for value in values {
            let Some(word) = value.as_str() else { continue };
            // One word that stands alone as a value is an act: `update`.
            let is_act = |said: &name::Named| said.is_certain || !certain || said.word == word;
            if let Some(said) = name::read(word).filter(is_act) {
                note(&mut by_class, said.class, value.raw.to_owned());
            }
        }
        return by_class;
    }
    let text = node.get("description").and_then(Node::as_str).unwrap_or_default();
    for value in named_in(text) {
        note_word(&mut by_class, value, certain);
    }
    by_class
}

/// The values of an argument that says what is done, each raw and under the class of what it says.
/// `certain`: without those whose word may be a thing only.
pub(super) fn values_by_class(node: &Node<'_>, certain: bool) -> ByClass {
    let mut by_class = listed_values(node, certain);
    if by_class.is_empty() && node.get("enum").is_none() {
        let text = node.get("description").and_then(Node::as_str).unwrap_or_default();
        for word in text.split(|c: char| !is_of_value(c)).filter(|word| !word.is_empty()) {
            if let Some(Sense { class, is_noun_too: false }) = sense(&word.to_lowercase()) {
                note(&mut by_class, class, crate::domain::json::quote(word));
            }
        }
    }
    by_class
}

fn is_of_value(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

/// The values that a text names: in quotes, or one behind the other between commas and such.
fn named_in(text: &str) -> Vec<&str> {
    let quoted = text.split(['"', '`', '\'']).skip(1).step_by(2);
    let mut named: Vec<&str> = quoted.filter(|v| v.chars().all(is_of_value)).collect();
    let mut at = 0;
    for word in text.split(|c: char| !is_of_value(c)) {
        let (begin, end) = (at, at + word.len());
        at = end + text[end..].chars().next().map_or(0, char::len_utf8);
        let bare = word.trim_matches('-');
        if bare.is_empty() {
            continue;
        }
        let (before, after) = (text[..begin].trim_end(), text[end..].trim_start());
        let ends_with = |marks: &[char]| before.ends_with(marks);
        let is_listed = after.starts_with([',', '|', ':', '='])
            || ends_with(&[',', '|'])
            || before.ends_with(", or")
            || before.ends_with(", and")
            || (after.starts_with('/') || ends_with(&['/']));
        if is_listed {
            named.push(bare);
        }
    }
    named.retain(|value| !value.is_empty());
    named
}

/// What a tool's description tells of one of its arguments, in the style of Python: the values that
/// its line names.
fn told_of<'t>(key: &str, description: &'t str) -> Vec<&'t str> {
    let line = description.lines().find_map(|line| {
        let rest = line.trim_start().strip_prefix(key)?;
        let rest = match rest.strip_prefix(" (") {
            Some(kind) => kind.split_once(')')?.1,
            None => rest,
        };
        rest.strip_prefix(':')
    });
    line.map(named_in).unwrap_or_default()
}

/// What stands first in the lines of lists: `- DeleteCluster (requires permission)`.
fn listed_below(description: &str) -> impl Iterator<Item = &str> {
    description.lines().filter_map(|line| {
        let item = line.trim_start().strip_prefix(['-', '*', '•'])?;
        let item = item.trim_start_matches(|c: char| !c.is_alphanumeric());
        let value = item.split(|c: char| !is_of_value(c)).next()?;
        // `PURCHASE_TYPE` is what something is told by, and no operation.
        let value = Some(value).filter(|v| v.chars().any(char::is_lowercase))?;
        // A sentence is no value.
        let rest = item.get(value.len()..).unwrap_or_default();
        (!value.is_empty() && !rest.starts_with(char::is_whitespace) || rest.starts_with(" ("))
            .then_some(value)
    })
}

/// Whether a text says that the argument is what is run, not what is looked for.
pub(super) fn is_run_by(leads: &[prose::Act], named: Option<RiskClass>) -> bool {
    let runs = |class| matches!(class, RiskClass::Execute | RiskClass::Destructive);
    named.is_some_and(runs)
        || leads.iter().any(|act| runs(act.class))
        || leads
            .iter()
            .any(|act| sense_in_prose(&act.quote.to_lowercase()).is_some_and(|s| runs(s.class)))
}
