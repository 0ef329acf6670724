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
const OPERATIONS: [&str; 9] = [
    "action",
    "actions",
    "method",
    "mode",
    "op",
    "operation",
    "operation_type",
    "verb",
    "subcommand",
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
    /// The tool only tries, with this argument set.
    pub tries: Option<String>,
}

/// Reads the `inputSchema` of a tool.
pub(super) fn read(schema: &Node<'_>) -> Arguments {
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
            operation(key, &property.node, &mut found);
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
fn operation(key: &str, node: &Node<'_>, found: &mut Arguments) {
    let by_class = values_by_class(node, false);
    let Some(gravest) = by_class.iter().map(|(class, _)| *class).max() else { return };
    if found.operation.as_ref().is_none_or(|(_, other)| *other < gravest) {
        found.operation = Some((key.to_owned(), gravest));
    }
    if by_class.len() > 1 {
        for (class, values) in by_class.into_iter().filter(|(class, _)| *class > RiskClass::Read) {
            found.flips.push(Flip { path: path(key), values, class });
        }
    }
}

/// The values of an argument that says what is done, each raw and under the class of what it says.
/// `certain`: without those whose word may be a thing only.
pub(super) fn values_by_class(node: &Node<'_>, certain: bool) -> Vec<(RiskClass, Vec<String>)> {
    let listed = node.get("enum").and_then(Node::elements);
    let mut by_class: Vec<(RiskClass, Vec<String>)> = Vec::new();
    let mut note = |class, raw: String| match by_class.iter_mut().find(|(c, _)| *c == class) {
        Some((_, values)) if values.contains(&raw) => {}
        Some((_, values)) => values.push(raw),
        None => by_class.push((class, vec![raw])),
    };
    if let Some(values) = listed {
        for value in values {
            let said = value.as_str().and_then(name::read);
            if let Some(said) = said.filter(|said| said.is_certain || !certain) {
                note(said.class, value.raw.to_owned());
            }
        }
    } else {
        // Its description lists them, in quotes or between commas.
        let text = node.get("description").and_then(Node::as_str).unwrap_or_default();
        let quoted: Vec<&str> = text.split(['"', '`', '\'']).skip(1).step_by(2).collect();
        let all = text.split(|c: char| !c.is_alphanumeric() && c != '_');
        let words: Vec<&str> = if quoted.is_empty() { all.collect() } else { quoted };
        for word in words.into_iter().filter(|word| !word.is_empty()) {
            let low = word.to_lowercase();
            if let Some(Sense { class, is_noun_too: false }) = sense(&low) {
                note(class, crate::domain::json::quote(word));
            }
        }
    }
    by_class
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
