//! Finds the configuration, reads it whole, and hands it out only without errors.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Table;

use super::problem::{Problem, Severity, Warning};
use super::reader::{Environment, Reader};
use super::{Config, checks, notifiers, oidc, principals, sections, upstreams};

/// The embedded defaults: every key, commented.
pub(crate) const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Where a configuration is looked for without `--config`, in this order.
pub(crate) const PLACES: [&str; 2] = ["placet.toml", "config/placet.toml"];

/// What problems call the defaults where there is no file.
const EMBEDDED: &str = "embedded defaults";

/// The variables of this process; those that are not Unicode are left out.
pub fn process_environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

impl Config {
    /// Reads the configuration: `file`, else the first of [`PLACES`] that exists, else the
    /// embedded defaults; with what `env` sets and what `${NAME}` takes from it.
    ///
    /// # Errors
    /// Every problem, warnings among them, where at least one is an error.
    pub fn load(
        file: Option<&Path>,
        env: &Environment,
    ) -> Result<(Self, Vec<Warning>), Vec<Problem>> {
        let found = file
            .map(Path::to_owned)
            .or_else(|| PLACES.iter().map(PathBuf::from).find(|place| place.exists()));
        let Some(path) = found else { return Self::read("", None, env) };
        Self::read_under(&text_of(&path)?, Some(&path), env, None)
    }

    /// Reads the configuration again for a program that runs with this one, and takes over nothing
    /// but policies: they must also fit the agents, reviewers and notifiers that run.
    ///
    /// # Errors
    /// As for [`Config::load`].
    pub(crate) fn reload(&self, env: &Environment) -> Result<(Self, Vec<Warning>), Vec<Problem>> {
        let Some(path) = &self.file else { return Self::read("", None, env) };
        Self::read_under(&text_of(path)?, Some(path), env, Some(self))
    }

    /// Reads the text of a configuration as if it stood at `file`.
    ///
    /// # Errors
    /// As for [`Config::load`].
    pub fn read(
        text: &str,
        file: Option<&Path>,
        env: &Environment,
    ) -> Result<(Self, Vec<Warning>), Vec<Problem>> {
        Self::read_under(text, file, env, None)
    }

    fn read_under(
        text: &str,
        file: Option<&Path>,
        env: &Environment,
        running: Option<&Self>,
    ) -> Result<(Self, Vec<Warning>), Vec<Problem>> {
        let shown = file.map_or_else(|| EMBEDDED.to_owned(), |f| f.display().to_string());
        let base = file.and_then(Path::parent).map(Path::to_owned).unwrap_or_default();
        let reader = Reader::new(shown, base, env);
        let given = table(&reader, text);
        let read = given.map(|given| read_all(&reader, file, &given));
        let mut problems = reader.finish();
        let good = |problems: &[Problem]| problems.iter().all(|p| p.severity == Severity::Warning);
        if let (Some((_, upstreams)), Some(running), true) = (&read, running, good(&problems)) {
            problems.extend(checks::unfit_for(running, upstreams));
        }
        // A table keeps no order of its keys; this one people can follow.
        problems.sort_by(|a, b| (&a.file, &a.key).cmp(&(&b.file, &b.key)));
        match read {
            Some((config, _)) if good(&problems) => Ok((config, problems)),
            _ => Err(problems),
        }
    }
}

fn text_of(path: &Path) -> Result<String, Vec<Problem>> {
    std::fs::read_to_string(path).map_err(|error| {
        vec![Problem {
            severity: Severity::Error,
            file: path.display().to_string(),
            key: String::new(),
            value: None,
            message: format!("can't be read: {error}; name another with --config"),
            spot: None,
        }]
    })
}

/// Parses the text as a TOML table. Only the parser's messages and their places are told: its own
/// rendering would quote whole lines, and secrets in them.
fn table(reader: &Reader<'_>, text: &str) -> Option<Table> {
    let first = match text.parse::<Table>() {
        Ok(table) => return Some(table),
        Err(error) => error,
    };
    // Reading on after an error finds the others; what it reads then is not used.
    let (_, mut errors) = toml::de::DeTable::parse_recoverable(text);
    if errors.is_empty() {
        errors.push(first);
    }
    for error in errors {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let message = error.message().lines().next().unwrap_or("not TOML").to_owned();
        reader.error("", format!("line {line}, column {column}: {message}"));
    }
    None
}

/// Reads a table over the defaults; what is wrong is noted in the reader.
#[cfg(test)]
pub(crate) fn read(reader: &Reader<'_>, file: Option<&Path>, given: &Table) -> Config {
    read_all(reader, file, given).0
}

/// The same, with what is known of each upstream's policy.
fn read_all(
    reader: &Reader<'_>,
    file: Option<&Path>,
    given: &Table,
) -> (Config, Vec<upstreams::Read>) {
    let defaults: Table = DEFAULTS.parse().expect("the embedded defaults are tested to be TOML");
    let root = reader.root(given, &defaults);
    let upstreams: Vec<upstreams::Read> =
        root.entries("upstreams").iter().map(upstreams::read).collect();
    let mut agents: Vec<_> = root.entries("agents").iter().map(principals::agent).collect();
    let mut reviewers: Vec<_> =
        root.entries("reviewers").iter().map(principals::reviewer).collect();
    let entries = root.entries("notifiers");
    checks::duplicates(
        reader,
        "notifiers",
        entries.iter().map(|s| s.raw("name").and_then(toml::Value::as_str).unwrap_or_default()),
    );
    let notifiers = entries.iter().filter_map(notifiers::read).collect();
    let implicit_agent = agents.is_empty();
    if implicit_agent {
        agents.push(principals::local_agent());
    }
    let implicit_owner = reviewers.is_empty();
    if implicit_owner {
        reviewers.push(principals::owner());
    }
    let agents: Vec<_> = agents.into_iter().map(Arc::new).collect();
    let by_token = agents.iter().filter_map(|a| Some((a.token_sha256?, Arc::clone(a)))).collect();
    let config = Config {
        file: file.map(Path::to_owned),
        server: sections::server(&root.section("server")),
        database: sections::database(&root.section("database")),
        approvals: sections::approvals(&root.section("approvals")),
        audit: sections::audit(&root.section("audit")),
        telemetry: sections::telemetry(&root.section("telemetry")),
        masking: sections::masking(&root.section("masking")),
        people: sections::people(&root.section("people")),
        oidc: oidc::oidc(&root.section("oidc")),
        upstreams: upstreams.iter().map(|read| read.upstream.clone()).collect(),
        agents,
        agents_by_token: by_token,
        reviewers,
        notifiers,
        implicit_owner,
    };
    root.finish();
    checks::check(reader, &config, &upstreams, implicit_agent);
    (config, upstreams)
}
