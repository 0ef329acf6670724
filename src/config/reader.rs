//! Walks a configuration table and collects every problem, not only the first.
//!
//! A key is known because somebody asks for it; whatever nobody asked for is unknown. A value
//! comes from the environment (`PLACET__SECTION__KEY`), else from the file, else from the embedded
//! defaults. Problems never show the value of a secret. What a value means to the rest of the
//! configuration is for the cross-checks.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::{Table, Value};

use super::problem::{Problem, Severity};
use super::value;
use crate::domain::duration::parse_duration;

/// Variables of the environment by name.
pub type Environment = BTreeMap<String, String>;

/// What variables that set configuration keys begin with.
pub(crate) const OVERRIDE_PREFIX: &str = "PLACET__";

/// Whether a value may stand in a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    /// As written.
    Value,
    /// Never: it may hold a secret.
    Nothing,
}

/// The collected state of one reading.
#[derive(Debug)]
pub(crate) struct Reader<'e> {
    /// How the file is called in problems.
    pub file: String,
    base: PathBuf,
    env: &'e Environment,
    problems: RefCell<Vec<Problem>>,
    used: RefCell<BTreeSet<String>>,
    known: RefCell<BTreeSet<String>>,
}

/// Reads a whole file as text.
///
/// # Errors
/// The file can't be read, or is not UTF-8; the message names it.
pub(crate) fn read_file(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path)
        .map_err(|error| format!("{} can't be read: {error}", path.display()))
}

impl<'e> Reader<'e> {
    /// Reads for a file of that name; relative paths are below `base`.
    pub(crate) fn new(file: String, base: PathBuf, env: &'e Environment) -> Self {
        Self {
            file,
            base,
            env,
            problems: RefCell::default(),
            used: RefCell::default(),
            known: RefCell::default(),
        }
    }

    /// The table of the whole file over the embedded defaults.
    pub(crate) fn root<'a>(&'a self, given: &'a Table, defaults: &'a Table) -> Section<'a> {
        Section {
            reader: self,
            path: String::new(),
            given: Some(given),
            defaults: Some(defaults),
            asked: RefCell::default(),
            overridable: true,
        }
    }

    /// Notes a problem.
    pub(crate) fn note(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// Notes an error at a key of the file.
    pub(crate) fn error(&self, key: impl Into<String>, message: impl Into<String>) {
        self.note_at(Severity::Error, key.into(), message.into());
    }

    /// Notes a warning at a key of the file.
    pub(crate) fn warn(&self, key: impl Into<String>, message: impl Into<String>) {
        self.note_at(Severity::Warning, key.into(), message.into());
    }

    fn note_at(&self, severity: Severity, key: String, message: String) {
        let file = self.file.clone();
        self.note(Problem { severity, file, key, value: None, message, spot: None });
    }

    /// Every key asked for so far, with `[]` for any index.
    #[cfg(test)]
    pub(crate) fn known(&self) -> BTreeSet<String> {
        self.known.borrow().clone()
    }

    /// A variable of the environment.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str)
    }

    /// An absolute path, relative ones being below the configuration file.
    pub(crate) fn resolve(&self, path: &str) -> PathBuf {
        let joined = self.base.join(path);
        std::path::absolute(&joined).unwrap_or(joined)
    }

    /// Replaces `${NAME}` from the environment; a variable that is not set is an error at `key`.
    pub(crate) fn expand(&self, key: &str, text: &str) -> Option<String> {
        match value::expand(text, |name| self.variable(name)) {
            Ok(text) => Some(text),
            Err(message) => {
                self.error(key, message);
                None
            }
        }
    }

    /// All problems found, with the variables that set no known key among them.
    pub(crate) fn finish(self) -> Vec<Problem> {
        let known = self.known.borrow();
        let names: Vec<String> =
            known.iter().filter(|k| !k.contains("[]")).map(|k| variable_of(k)).collect();
        for (name, _) in self.env.range(OVERRIDE_PREFIX.to_owned()..) {
            if !name.starts_with(OVERRIDE_PREFIX) {
                break;
            }
            if self.used.borrow().contains(name) {
                continue;
            }
            let message = if names.contains(name) {
                "only scalar keys can be set by environment; set this one in the file".to_owned()
            } else {
                format!(
                    "sets no known key{}; unset it",
                    value::suggestion(name, names.iter().map(String::as_str))
                )
            };
            self.note(Problem {
                severity: Severity::Error,
                file: "environment".to_owned(),
                key: name.clone(),
                value: None,
                message,
                spot: None,
            });
        }
        drop(known);
        self.problems.into_inner()
    }
}

/// The variable that sets a key.
fn variable_of(path: &str) -> String {
    format!("{OVERRIDE_PREFIX}{}", path.replace('.', "__").to_uppercase())
}

/// A value and where it comes from.
#[derive(Debug)]
struct Found {
    value: Value,
    file: String,
    /// Whether `${NAME}` is replaced in it. It is not in a value from the environment.
    expandable: bool,
    given: bool,
}

/// One table of the configuration.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    /// What problems are noted in.
    pub reader: &'a Reader<'a>,
    /// Its dotted path.
    pub path: String,
    given: Option<&'a Table>,
    defaults: Option<&'a Table>,
    asked: RefCell<BTreeSet<&'static str>>,
    overridable: bool,
}

impl<'a> Section<'a> {
    /// The dotted path of one of its keys.
    pub(crate) fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The sub-table of that name; empty where there is none.
    #[must_use]
    pub(crate) fn section(&self, key: &'static str) -> Section<'a> {
        self.ask(key);
        let table = |value: &'a Value| match value {
            Value::Table(table) => Some(table),
            _ => None,
        };
        let given = self.given.and_then(|t| t.get(key));
        if let Some(other) = given.filter(|v| !v.is_table()) {
            let message = format!("expected a table, found {}", value::kind(other));
            self.reader.error(self.at(key), message);
        }
        Section {
            reader: self.reader,
            path: self.at(key),
            given: given.and_then(table),
            defaults: self.defaults.and_then(|t| t.get(key)).and_then(table),
            asked: RefCell::default(),
            overridable: self.overridable,
        }
    }

    /// The tables of an array of tables, each with its path.
    pub(crate) fn entries(&self, key: &'static str) -> Vec<Section<'a>> {
        self.ask(key);
        let Some(value) = self.given.and_then(|t| t.get(key)) else { return Vec::new() };
        let wrong = |path: String, found: &Value| {
            let message = format!(
                "expected a table under [[{key}]], found {}; write [[{key}]] above each",
                value::kind(found)
            );
            self.reader.error(path, message);
        };
        let Value::Array(items) = value else {
            wrong(self.at(key), value);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (i, item) in items.iter().enumerate() {
            let path = format!("{}[{i}]", self.at(key));
            match item {
                Value::Table(table) => sections.push(Section {
                    reader: self.reader,
                    path,
                    given: Some(table),
                    defaults: None,
                    asked: RefCell::default(),
                    overridable: false,
                }),
                other => wrong(path, other),
            }
        }
        sections
    }

    /// A table whose keys are free, such as headers.
    pub(crate) fn free_table(&self, key: &'static str) -> Option<&'a Table> {
        self.ask(key);
        match self.given?.get(key)? {
            Value::Table(table) => Some(table),
            other => {
                self.wrong_type(key, other, "a table such as { NAME = \"value\" }", Show::Nothing);
                None
            }
        }
    }

    /// The value as it stands in the file.
    pub(crate) fn raw(&self, key: &'static str) -> Option<&'a Value> {
        self.ask(key);
        self.given?.get(key)
    }

    /// Whether file or environment set it.
    pub(crate) fn is_given(&self, key: &'static str) -> bool {
        self.ask(key);
        self.given.is_some_and(|t| t.contains_key(key))
            || (self.overridable && self.reader.env.contains_key(&variable_of(&self.at(key))))
    }

    /// A key whose feature is not built yet.
    pub(crate) fn unavailable(&self, key: &'static str) {
        if self.find(key).is_some() {
            self.reader.error(self.at(key), "not available in this version; remove it");
        }
    }

    /// Notes an error where the key is not given; `mend` says what to do.
    pub(crate) fn require(&self, key: &'static str, mend: &str) {
        if !self.is_given(key) {
            self.reader.error(self.at(key), format!("is missing; {mend}"));
        }
    }

    /// A text that `read` turns into a value. An error of `read` says what is expected and is
    /// noted.
    pub(crate) fn parsed<T>(
        &self,
        key: &'static str,
        show: Show,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let found = self.find(key)?;
        let Value::String(text) = &found.value else {
            self.wrong_type(key, &found.value, "a string in quotes", show);
            return None;
        };
        let text =
            if found.expandable { self.reader.expand(&self.at(key), text)? } else { text.clone() };
        read(&text).map_err(|message| self.bad(key, &found, show, message)).ok()
    }

    /// A text.
    pub(crate) fn text(&self, key: &'static str) -> Option<String> {
        self.parsed(key, Show::Value, |text| Ok(text.to_owned()))
    }

    /// A length of time, as in `50s` or `15m`.
    pub(crate) fn duration(&self, key: &'static str) -> Option<Duration> {
        self.parsed(key, Show::Value, |text| parse_duration(text).map_err(|why| why.to_string()))
    }

    /// A length of time that is more than zero.
    pub(crate) fn positive(&self, key: &'static str) -> Option<Duration> {
        self.parsed(key, Show::Value, |text| match parse_duration(text) {
            Ok(Duration::ZERO) => Err("must be longer than nothing".to_owned()),
            Ok(length) => Ok(length),
            Err(why) => Err(why.to_string()),
        })
    }

    /// A size in bytes, as a number or with a unit.
    pub(crate) fn size(&self, key: &'static str) -> Option<usize> {
        let found = self.find(key)?;
        let read = match &found.value {
            Value::Integer(bytes) => value::size(&bytes.to_string()),
            Value::String(text) => value::size(text),
            other => {
                self.wrong_type(key, other, "a size such as \"256KiB\"", Show::Value);
                return None;
            }
        };
        read.map_err(|message| self.bad(key, &found, Show::Value, message)).ok()
    }

    /// A whole number, at least 1.
    pub(crate) fn count(&self, key: &'static str) -> Option<u32> {
        let found = self.find(key)?;
        let number = match &found.value {
            Value::Integer(n) => u32::try_from(*n).ok().filter(|n| *n > 0),
            _ => None,
        };
        if number.is_none() {
            let message = format!("expected a whole number from 1 to {}", u32::MAX);
            self.bad(key, &found, Show::Value, message);
        }
        number
    }

    /// A truth value.
    pub(crate) fn flag(&self, key: &'static str) -> Option<bool> {
        let found = self.find(key)?;
        let flag = found.value.as_bool();
        if flag.is_none() {
            self.bad(key, &found, Show::Value, "expected true or false".to_owned());
        }
        flag
    }

    /// One of several words.
    pub(crate) fn word<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        self.parsed(key, Show::Value, |text| {
            words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning).ok_or_else(
                || {
                    let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                    let near = value::suggestion(text, all.iter().copied());
                    format!("expected one of {}{near}", all.join(", "))
                },
            )
        })
    }

    /// A list of texts, each turned into a value by `read`, whose errors are noted.
    pub(crate) fn list<T>(
        &self,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        self.ask(key);
        let value = self
            .given
            .and_then(|t| t.get(key))
            .or_else(|| self.defaults.and_then(|t| t.get(key)))?;
        let Value::Array(items) = value else {
            self.wrong_type(key, value, "a list such as [\"…\"]", Show::Value);
            return None;
        };
        let mut list = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            let path = format!("{}[{i}]", self.at(key));
            let Value::String(text) = item else {
                let message = format!("expected a string in quotes, found {}", value::kind(item));
                self.reader.error(path, message);
                continue;
            };
            let Some(expanded) = self.reader.expand(&path, text) else { continue };
            match read(&expanded) {
                Ok(good) => list.push(good),
                Err(message) => self.reader.note(Problem {
                    severity: Severity::Error,
                    file: self.reader.file.clone(),
                    key: path,
                    value: Some(value::shown(item)),
                    message,
                    spot: None,
                }),
            }
        }
        Some(list)
    }

    /// Notes an error for every key that was not asked for: it is unknown.
    pub(crate) fn finish(&self) {
        let asked = self.asked.borrow();
        for key in self.given.into_iter().flat_map(Table::keys) {
            if !asked.contains(key.as_str()) {
                let near = value::suggestion(key, asked.iter().copied());
                let mend = if near.is_empty() {
                    let all: Vec<&str> = asked.iter().copied().collect();
                    format!("; known here: {}", all.join(", "))
                } else {
                    near
                };
                self.reader.error(self.at(key), format!("unknown key{mend}"));
            }
        }
    }

    fn ask(&self, key: &'static str) {
        self.asked.borrow_mut().insert(key);
        self.reader.known.borrow_mut().insert(value::without_indexes(&self.at(key)));
    }

    fn find(&self, key: &'static str) -> Option<Found> {
        self.ask(key);
        let default = self.defaults.and_then(|t| t.get(key));
        let given = self.given.and_then(|t| t.get(key));
        if self.overridable {
            let name = variable_of(&self.at(key));
            if let Some(text) = self.reader.variable(&name) {
                self.reader.used.borrow_mut().insert(name.clone());
                let value = match default.or(given) {
                    Some(Value::Integer(_)) => text.parse().ok().map(Value::Integer),
                    Some(Value::Boolean(_)) => text.parse().ok().map(Value::Boolean),
                    _ => None,
                };
                return Some(Found {
                    value: value.unwrap_or_else(|| Value::String(text.to_owned())),
                    file: format!("environment ({name})"),
                    expandable: false,
                    given: true,
                });
            }
        }
        let found = |value: &Value, given| Found {
            value: value.clone(),
            file: self.reader.file.clone(),
            expandable: true,
            given,
        };
        given.map(|v| found(v, true)).or_else(|| default.map(|v| found(v, false)))
    }

    fn bad(&self, key: &str, found: &Found, show: Show, message: String) {
        debug_assert!(found.given, "the embedded defaults are tested to be readable");
        self.reader.note(Problem {
            severity: Severity::Error,
            file: found.file.clone(),
            key: self.at(key),
            value: (show == Show::Value).then(|| value::shown(&found.value)),
            message,
            spot: None,
        });
    }

    fn wrong_type(&self, key: &str, found: &Value, expected: &str, show: Show) {
        self.reader.note(Problem {
            severity: Severity::Error,
            file: self.reader.file.clone(),
            key: self.at(key),
            value: (show == Show::Value).then(|| value::shown(found)),
            message: format!("expected {expected}, found {}", value::kind(found)),
            spot: None,
        });
    }
}
