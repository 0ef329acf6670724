//! `placet policy draft`: a policy from the tools that an upstream lists.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::domain::policy::draft::{Draft, ListedTool, draft, update};
use crate::domain::policy::{Dialect, Format, Policy};

use super::{Failure, Global, complain, load, named, say, text};

/// What `--help` says at its end.
pub(crate) const HELP: &str = "Connects to the upstream, as check --connect does. Calls nothing. The \
                               policy goes to stdout, what to know about it to stderr. --update \
                               prints the policy with what is new and changes no \
                               file.\n\nExamples:\n  placet policy draft --upstream images > \
                               images.json\n  placet policy draft --upstream images --update \
                               images.json > images.new.json";

/// `policy draft`
#[derive(Debug, Clone, Args)]
pub struct DraftArgs {
    /// The upstream
    #[arg(long, value_name = "NAME")]
    pub upstream: String,
    /// A policy to add the tools to that nothing in it is about
    #[arg(long, value_name = "FILE")]
    pub update: Option<PathBuf>,
    /// A new file to write it to [default: stdout]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Prints or writes the drafted policy.
///
/// # Errors
/// The configuration or the policy has errors or an argument names nothing, exit code 2; the
/// upstream can't be reached or the file can't be written, exit code 1.
pub(crate) async fn run(global: &Global, args: &DraftArgs) -> Result<(), Failure> {
    let config = load(global)?;
    let upstream = named::upstream(&config, "--upstream ", &args.upstream)?;
    let old = args.update.as_deref().map(read).transpose()?;
    if let (Some(text), Some(file)) = (&old, &args.update) {
        can_be_updated(text, file)?;
    }
    let catalog = named::tools_of(&config, upstream).await?;
    let tools: Vec<ListedTool<'_>> = catalog
        .tools
        .iter()
        .map(|tool| ListedTool { name: &tool.name, definition: &tool.raw, risk: &tool.risk })
        .collect();
    let made = match (&old, &args.update) {
        (Some(text), Some(file)) => update(text, &tools).map_err(|p| wrong(file, &p))?,
        _ => draft(&upstream.name, &tools),
    };
    // What is handed out loads.
    if let Err(problems) = Policy::read(&made.text) {
        return Err(wrong(Path::new("the drafted policy"), &problems));
    }
    tell(&made, args.update.is_some());
    match &args.out {
        None => {
            say(made.text.strip_suffix('\n').unwrap_or(&made.text));
            Ok(())
        }
        Some(file) => write(file, &made.text),
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|error| Failure::misused(format!("--update {}: {error}", file.display())))
}

/// Entries are added to the text of Placet's own form in JSON, of which not a byte is changed.
fn can_be_updated(text: &str, file: &Path) -> Result<(), Failure> {
    let place = file.display();
    if Format::of(file) == Format::Yaml {
        return Err(Failure::misused(format!(
            "--update {place}: is YAML, and only JSON is updated; draft without --update and copy \
             what is new, or write it as JSON: placet --json policy convert {place}"
        )));
    }
    match Policy::read(text) {
        Ok((policy, _)) if policy.dialect() != Dialect::Own => Err(Failure::misused(format!(
            "--update {place}: is of {}, and only Placet's own is updated; convert it first: placet \
             --json policy convert {place}",
            policy.dialect().as_str()
        ))),
        _ => Ok(()),
    }
}

fn wrong(file: &Path, problems: &[crate::domain::policy::Problem]) -> Failure {
    for problem in problems {
        let kind = if problem.warning { "warning" } else { "error" };
        complain(&text::one_line(&format!("{kind}: {}: {problem}", file.display())));
    }
    Failure::misused(String::new())
}

/// Says on stderr what was done, and what was not.
fn tell(made: &Draft, is_update: bool) {
    let line = |words: String| complain(&text::one_line(&words));
    if is_update {
        for name in &made.added {
            line(format!("added: {name}"));
        }
    }
    for (name, why) in &made.left {
        line(format!("left out: {name}: {why}"));
    }
    for misfit in &made.misfits {
        line(format!("warning: {misfit}"));
    }
    if is_update && made.added.is_empty() {
        line("nothing is new".to_owned());
    }
}

/// Writes a file that is not there yet.
pub(super) fn write(file: &Path, policy: &str) -> Result<(), Failure> {
    let opened = OpenOptions::new().write(true).create_new(true).open(file);
    let written = opened.and_then(|mut open| open.write_all(policy.as_bytes()));
    written.map_err(|error| {
        let place = file.display();
        Failure::failed(match error.kind() {
            ErrorKind::AlreadyExists => {
                format!("--out {place}: is there already; name a new file, and compare the two")
            }
            _ => format!("--out {place}: {error}"),
        })
    })
}
