//! `placet policy convert`: a policy of any form, written in Placet's own.

use std::path::PathBuf;

use clap::Args;

use crate::config::PolicyPlace;
use crate::domain::policy::convert::convert;
use crate::domain::policy::{Dialect, Format, Policy, Problem};

use super::{Failure, Global, complain, draft, problem_line, say, text};

/// What `--help` says at its end.
pub(crate) const HELP: &str = "Reads Placet's own form and PolicyLayer's three (flat, hosted, \
                               Intercept), as JSON, or as YAML where the name ends in .yaml or \
                               .yml, and writes YAML with comments; --json writes JSON without. \
                               What is written decides as the file does, which is not changed: \
                               the other forms load as they are, too.\n\nExamples:\n  placet \
                               policy convert intercept.yaml > images.yaml\n  placet policy \
                               convert hosted.json --out images.yaml\n  placet --json policy \
                               convert intercept.yaml > images.json";

/// `policy convert`
#[derive(Debug, Clone, Args)]
pub struct ConvertArgs {
    /// The policy's file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// A new file to write it to [default: stdout]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Prints or writes the converted policy; what is wrong with the file goes to stderr.
///
/// # Errors
/// The file can't be read or is no sound policy, exit code 2; the new one can't be written, exit code 1.
pub(crate) fn run(global: &Global, args: &ConvertArgs) -> Result<(), Failure> {
    let shown = args.file.display().to_string();
    let written = std::fs::read_to_string(&args.file)
        .map_err(|error| Failure::misused(format!("{shown}: {error}")))?;
    let format = Format::of(&args.file);
    let place = PolicyPlace { file: shown.clone(), prefix: String::new() };
    let tell = |problems: Vec<Problem>| {
        for problem in problems {
            complain(&problem_line(&place.problem(problem)));
        }
    };
    let policy = match Policy::read_as(&written, format) {
        Ok((policy, warnings)) => {
            tell(warnings);
            policy
        }
        Err(problems) => {
            tell(problems);
            return Err(Failure::misused(String::new()));
        }
    };
    let name = args.file.file_name().map_or(shown.clone(), |n| n.to_string_lossy().into_owned());
    let converted = convert(&policy, &name);
    // What is handed out loads, as Placet's own form.
    match Policy::read_as(&converted.yaml, Format::Yaml) {
        Ok((again, _)) if again.dialect() == Dialect::Own => {}
        Ok(_) => {
            let why = format!("{shown}: says nothing that Placet's own form would say otherwise");
            return Err(Failure::misused(why));
        }
        Err(problems) => {
            for problem in problems.iter().filter(|problem| !problem.warning) {
                complain(&text::one_line(&format!("error: the converted policy: {problem}")));
            }
            return Err(Failure::failed(format!("{shown}: can't be written in Placet's own form")));
        }
    }
    if policy.dialect() == Dialect::Own && format == Format::Yaml {
        complain("the comments of the file are not carried over");
    }
    let made = if global.json { converted.json } else { converted.yaml };
    match &args.out {
        None => {
            say(made.strip_suffix('\n').unwrap_or(&made));
            Ok(())
        }
        Some(file) => draft::write(file, &made),
    }
}
