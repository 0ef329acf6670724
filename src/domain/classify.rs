//! What kind of harm a tool's calls could do, read from how its server describes it: its name, its
//! title and description, its arguments and its annotations. What decided is quoted.
//!
//! A server's annotations are its own word and only make a class graver
//! (<https://modelcontextprotocol.io/specification/2025-11-25/server/tools#tool>), unless the
//! configuration trusts them.

use super::json::{self, Node};
use super::risk::{RiskClass, Severity};

mod name;
mod prose;
mod schema;
#[cfg(test)]
mod tests;
mod words;

/// The class of a tool's calls, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classified {
    /// What kind of harm a call could do, at most.
    pub class: RiskClass,
    /// How grave that would be.
    pub severity: Severity,
    /// What says so, the deciding word first.
    pub evidence: Vec<Evidence>,
    /// Arguments by which a call is graver or milder than others of the tool.
    pub flips: Vec<Flip>,
    /// Whether the catalogue says so, and not the tool's definition.
    pub is_known: bool,
}

/// Where something stands in a tool's definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Its `name`.
    Name,
    /// Its `title`.
    Title,
    /// Its `description`.
    Description,
    /// Its `inputSchema`.
    Schema,
    /// Its `annotations`.
    Annotations,
    /// Not in it: the catalogue knows the tool.
    Catalogue,
    /// Nowhere: nothing says anything.
    Nothing,
}

impl Place {
    /// The member of the definition, as people read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Title => "title",
            Self::Description => "description",
            Self::Schema => "arguments",
            Self::Annotations => "annotations",
            Self::Catalogue => "catalogue",
            Self::Nothing => "nothing",
        }
    }
}

/// What speaks for a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Where it stands.
    pub place: Place,
    /// The words themselves, at most [`MAX_QUOTE`] characters; of the catalogue a sentence.
    pub quote: String,
    /// What they speak for.
    pub class: RiskClass,
}

/// An argument by which a call is of another class than the tool's other calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flip {
    /// Its path, as in conditions: `args.operation`.
    pub path: String,
    /// The values by which it is, raw JSON.
    pub values: Vec<String>,
    /// The class with one of them.
    pub class: RiskClass,
}

/// Longest quote, characters.
pub const MAX_QUOTE: usize = 80;

/// Things whose loss takes much else along.
const WIDE: [&str; 33] = [
    "account",
    "accounts",
    "all",
    "backup",
    "backups",
    "bucket",
    "buckets",
    "bulk",
    "cluster",
    "clusters",
    "database",
    "databases",
    "datastore",
    "datastores",
    "disk",
    "domain",
    "instance",
    "instances",
    "namespace",
    "organization",
    "org",
    "patient",
    "project",
    "projects",
    "repo",
    "repository",
    "schema",
    "server",
    "study",
    "table",
    "tables",
    "volume",
    "workspace",
];
/// Things whose loss is a nuisance, and acts that take little away.
const LIGHT: [&str; 36] = [
    "alias",
    "annotation",
    "assignee",
    "bookmark",
    "cache",
    "clear",
    "cleanup",
    "comment",
    "cookie",
    "cookies",
    "deregister",
    "draft",
    "evict",
    "favorite",
    "filter",
    "flush",
    "forget",
    "label",
    "labels",
    "member",
    "overwrite",
    "reaction",
    "reset",
    "revoke",
    "reviewer",
    "session",
    "star",
    "subscription",
    "tag",
    "tags",
    "unbind",
    "unlink",
    "unpublish",
    "unregister",
    "untag",
    "watcher",
];
/// Acts that others see or that give rights away.
const FAR: [&str; 16] = [
    "deploy",
    "email",
    "grant",
    "invite",
    "mail",
    "merge",
    "message",
    "permission",
    "permissions",
    "policy",
    "publish",
    "role",
    "send",
    "share",
    "sms",
    "tweet",
];
/// What should not be read by everybody.
const SECRET: [&str; 10] = [
    "credential",
    "credentials",
    "env",
    "environment",
    "password",
    "passwords",
    "secret",
    "secrets",
    "token",
    "tokens",
];

impl Classified {
    /// Reads a tool's definition, raw JSON. `trusted`: whether its annotations may also make it milder.
    pub fn of(definition: &str, trusted: bool) -> Self {
        match json::parse(definition) {
            Ok(tool) => classify(&tool, trusted),
            Err(_) => Self::unknown(),
        }
    }

    /// What nothing is known of may do anything.
    fn unknown() -> Self {
        let evidence = Evidence {
            place: Place::Nothing,
            quote: "nothing says what it does".to_owned(),
            class: RiskClass::Execute,
        };
        Self {
            class: RiskClass::Execute,
            severity: Severity::High,
            evidence: vec![evidence],
            flips: Vec::new(),
            is_known: false,
        }
    }

    /// Why, in one line: `name says "delete"; description says "cannot be undone"`; what the catalogue
    /// says where that decides.
    pub fn why(&self) -> String {
        if let (true, Some(known)) = (self.is_known, self.evidence.first()) {
            return known.quote.clone();
        }
        let words = self.evidence.iter().take(3).map(|e| match e.place {
            Place::Nothing | Place::Catalogue => e.quote.clone(),
            place => format!("{} says {:?}", place.as_str(), e.quote),
        });
        words.collect::<Vec<_>>().join("; ")
    }
}

/// The values of a tool's argument that certainly name an act, raw, each with the class of that act.
/// `property` is the argument's own schema.
pub fn values_of(property: &Node<'_>) -> Vec<(RiskClass, String)> {
    let by_class = schema::values_by_class(property, true);
    by_class.into_iter().flat_map(|(class, all)| all.into_iter().map(move |v| (class, v))).collect()
}

fn classify(tool: &Node<'_>, trusted: bool) -> Classified {
    let text = |key| tool.get(key).and_then(Node::as_str).unwrap_or_default();
    let (name, annotations) = (text("name"), tool.get("annotations"));
    let hint = |key| annotations.and_then(|a| a.get(key)).and_then(Node::as_bool);
    let title = match text("title") {
        "" => annotations.and_then(|a| a.get("title")).and_then(Node::as_str).unwrap_or_default(),
        title => title,
    };
    let told = prose::read(text("description"));
    let named = name::read(name).map(|named| reads_after_all(named, &told));
    let titled = prose::read(title);
    let schema = tool.get("inputSchema");
    let arguments = schema.map(|s| schema::read(s, text("description"))).unwrap_or_default();

    let mut found = Findings::default();
    let is_read = named.as_ref().is_some_and(|n| n.is_certain && n.class == RiskClass::Read);
    let only_reads = told.only_reads.as_ref();
    // `manage_metadata`, all of whose operations read, is named after what it is about.
    let manages_reads =
        arguments.only_reads && named.as_ref().is_some_and(|n| is_managing(&n.word));
    match &named {
        _ if manages_reads => {}
        // A word that may be a thing only counts where nothing better is said.
        Some(n) if n.is_certain || told.leading.is_empty() => {
            found.add(Place::Name, &n.word, n.class);
        }
        _ => {}
    }
    for act in told.leading.iter().chain(&told.further) {
        // `read_query` is told as "Execute a SELECT query", `get_report` as "Generate a report".
        let mild = matches!(act.class, RiskClass::Write | RiskClass::Execute);
        let is_kind_of_reading = is_read && mild;
        // "Select and run one of the read operations", "Run a read-only query".
        let only_reads = only_reads.is_some_and(|words| words.starts_with("read"));
        let repeats = (only_reads && mild)
            || (told.only_reads.is_some() && act.class == RiskClass::Execute)
            || (manages_reads && act.class == RiskClass::Write && is_managing(&act.quote));
        if !is_kind_of_reading && !repeats {
            found.add(Place::Description, &act.quote, act.class);
        }
    }
    if found.is_empty() {
        for act in &titled.leading {
            found.add(Place::Title, &act.quote, act.class);
        }
    }
    if found.is_empty()
        && let Some(words) = only_reads
    {
        found.add(Place::Description, words, RiskClass::Read);
    }
    if let Some(words) = &told.arbitrary
        && !is_read
    {
        found.add(Place::Description, words, RiskClass::Execute);
    }
    if let Some(key) = &arguments.runs
        && !is_read
        && only_reads.is_none()
        && (found.is_empty() || schema::is_run_by(&told.leading, named.as_ref().map(|n| n.class)))
    {
        found.add(Place::Schema, key, RiskClass::Execute);
    }
    if let Some(key) = arguments.runs.as_ref().filter(|key| COMMANDS.contains(&key.as_str()))
        && is_read
        && only_reads.is_none()
        && told.leading.iter().any(|act| act.class == RiskClass::Execute)
    {
        // `read_command`: "Execute a command that reads", and nobody looks whether it does.
        found.add(Place::Schema, key, RiskClass::Execute);
    }
    let narrows = arguments.is_filter || (arguments.never_reads && lists(named.as_ref()));
    if let Some((key, class)) = &arguments.operation
        && !(is_read && narrows)
    {
        found.add(Place::Schema, key, *class);
    }
    if let Some(words) = &told.lasting
        && found.gravest().is_some_and(|class| class == RiskClass::Write)
    {
        found.add(Place::Description, words, RiskClass::Destructive);
    }
    if let Some(language) = &told.reading_language
        && found.gravest().is_none_or(|class| class == RiskClass::Execute)
    {
        // What a query of this language is can't change anything.
        found.0.retain(|evidence| evidence.class == RiskClass::Read);
        found.add(Place::Description, language, RiskClass::Read);
    }
    let mut flips = arguments.flips;
    if let (true, Some((key, _))) = (is_read && narrows, &arguments.operation) {
        flips.retain(|flip| flip.path.strip_prefix("args.") != Some(key.as_str()));
    }
    for flip in flips.iter().filter(|f| f.class == RiskClass::Write) {
        found.add(Place::Schema, flip.path.trim_start_matches("args."), flip.class);
    }
    if found.gravest().is_none_or(|class| class < RiskClass::Write) {
        flips.retain(|flip| flip.class != RiskClass::Destructive);
    }
    match (hint("readOnlyHint"), hint("destructiveHint")) {
        (Some(true), _) if trusted => {
            found.0.clear();
            found.add(Place::Annotations, "readOnlyHint: true", RiskClass::Read);
        }
        // Of what runs code the server says no more by it.
        (Some(false) | None, Some(true)) if found.gravest() != Some(RiskClass::Execute) => {
            found.add(Place::Annotations, "destructiveHint: true", RiskClass::Destructive);
        }
        (Some(false), _) => found.add(Place::Annotations, "readOnlyHint: false", RiskClass::Write),
        _ => {}
    }
    let Some(class) = found.gravest() else {
        return Classified { flips, ..Classified::unknown() };
    };
    let severity = severity(class, name, &told, &found);
    // What decided comes first.
    found.0.sort_by_key(|evidence| std::cmp::Reverse(evidence.class));
    Classified { class, severity, evidence: found.0, flips, is_known: false }
}

fn is_managing(word: &str) -> bool {
    ["manage", "manages", "managing"].contains(&word.to_lowercase().as_str())
}

/// Whether the name is of a tool that lists: an argument none of whose values reads narrows its list.
fn lists(named: Option<&name::Named>) -> bool {
    named.is_some_and(|n| ["count", "find", "list", "query", "search"].contains(&n.word.as_str()))
}

/// Arguments that are run as they are.
const COMMANDS: [&str; 6] = ["bash", "cmd", "command", "commands", "script", "shell"];

/// `wfp_list_dispatch_namespaces` is told as "List all …": the word that reads is the act. What
/// destroys is believed all the same.
fn reads_after_all(named: name::Named, told: &prose::Prose) -> name::Named {
    let reads = |acts: &[prose::Act]| acts.iter().all(|act| act.class == RiskClass::Read);
    match &named.reading {
        Some(word)
            if named.class < RiskClass::Destructive
                && !told.leading.is_empty()
                && reads(&told.leading)
                && reads(&told.further) =>
        {
            let word = word.clone();
            name::Named { class: RiskClass::Read, word, is_certain: true, reading: None }
        }
        _ => named,
    }
}

/// What was found so far.
#[derive(Debug, Default)]
struct Findings(Vec<Evidence>);

impl Findings {
    fn add(&mut self, place: Place, quote: &str, class: RiskClass) {
        let quote: String = quote.chars().take(MAX_QUOTE).collect();
        if !self.0.iter().any(|e| e.place == place && e.quote == quote) {
            self.0.push(Evidence { place, quote, class });
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn gravest(&self) -> Option<RiskClass> {
        self.0.iter().map(|e| e.class).max()
    }

    /// Whether one of these words speaks for this class.
    fn says(&self, class: RiskClass, words: &[&str]) -> bool {
        let own = self.0.iter().filter(|e| e.class == class);
        own.into_iter().all(|e| words.contains(&e.quote.to_lowercase().as_str()))
    }

    /// Whether only the server's own hint speaks for this class.
    fn rests_on_a_hint(&self, class: RiskClass) -> bool {
        self.0.iter().filter(|e| e.class == class).all(|e| e.place == Place::Annotations)
    }
}

/// How grave: by what can be made good again, and how far it reaches.
fn severity(class: RiskClass, name: &str, told: &prose::Prose, found: &Findings) -> Severity {
    let words = name::words(name);
    let names = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
    match class {
        RiskClass::Read if names(&SECRET) => Severity::Medium,
        RiskClass::Read => Severity::Low,
        RiskClass::Write if names(&FAR) => Severity::High,
        RiskClass::Write => Severity::Medium,
        RiskClass::Execute if told.arbitrary.is_some() => Severity::Critical,
        // A server that marks all its tools so says nothing of how grave each is.
        RiskClass::Destructive if found.rests_on_a_hint(class) => Severity::Medium,
        RiskClass::Destructive if told.lasting.is_some() || names(&WIDE) => Severity::Critical,
        RiskClass::Destructive if names(&LIGHT) || found.says(class, &LIGHT) => Severity::High,
        RiskClass::Destructive => Severity::Critical,
        RiskClass::Financial
            if names(&["pay", "payout", "transfer", "withdraw", "send", "buy"]) =>
        {
            Severity::Critical
        }
        RiskClass::Execute | RiskClass::Financial => Severity::High,
    }
}
