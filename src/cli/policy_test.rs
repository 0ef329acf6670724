//! `placet policy test`: the tests that stand inside a policy.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::config::PolicyPlace;
use crate::domain::policy::cases::{Case, Outcome};
use crate::domain::policy::{Format, Policy, Problem};

use super::{Failure, Global, complain, problem_line, say, text};

/// What `--help` says at its end.
pub(crate) const HELP: &str = "Reads the file alone: no configuration, no database, no server. Exit \
                               0 if all tests pass, 1 if one fails, 2 if the file can't be read or \
                               has no tests. A test in the policy:\n\n  \"tests\": [ { \"name\": \
                               \"production is asked about\",\n    \"tool\": \
                               \"delete_image_set\", \"args\": { \"datastore_id\": \"prod\" \
                               },\n    \"expect\": \"require_approval\", \"rule\": \
                               \"/tools/delete_image_set\" } ]\n\nExamples:\n  placet policy test \
                               images.json\n  placet policy test images.yaml --json";

/// `policy test`
#[derive(Debug, Clone, Args)]
pub struct TestArgs {
    /// The policy's file; YAML where its name ends in .yaml or .yml
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Runs the tests and prints what became of each.
///
/// # Errors
/// The file can't be read, is no sound policy or has no tests, exit code 2; a test fails, exit code 1.
pub(crate) fn run(global: &Global, args: &TestArgs) -> Result<(), Failure> {
    let policy = read(&args.file)?;
    let shown = args.file.display();
    if policy.cases().is_empty() {
        return Err(Failure::misused(format!(
            "{shown}: has no tests; write, for example, \"tests\": [{{\"tool\": \
             \"delete_image_set\", \"expect\": \"require_approval\"}}]"
        )));
    }
    let outcomes: Vec<(&Case, Outcome)> =
        policy.cases().iter().map(|case| (case, case.run(&policy))).collect();
    let failed = outcomes.iter().filter(|(_, outcome)| !outcome.passed).count();
    say(&if global.json {
        as_json(&shown.to_string(), failed, &outcomes)
    } else {
        as_text(failed, &outcomes)
    });
    if failed > 0 { Err(Failure::failed(String::new())) } else { Ok(()) }
}

/// A policy that the command line names, whether or not its own tests pass; what is wrong with it goes to
/// stderr.
///
/// # Errors
/// The file can't be read or is no sound policy, exit code 2.
pub(super) fn read(file: &Path) -> Result<Policy, Failure> {
    let shown = file.display().to_string();
    let written = std::fs::read_to_string(file)
        .map_err(|error| Failure::misused(format!("{shown}: {error}")))?;
    let place = PolicyPlace { file: shown, prefix: String::new() };
    let tell = |problems: Vec<Problem>| {
        for problem in problems {
            complain(&problem_line(&place.problem(problem)));
        }
    };
    match Policy::read_untested(&written, Format::of(file)) {
        Ok((policy, warnings)) => {
            tell(warnings);
            Ok(policy)
        }
        Err(problems) => {
            tell(problems);
            Err(Failure::misused(String::new()))
        }
    }
}

fn as_text(failed: usize, outcomes: &[(&Case, Outcome)]) -> String {
    let mut lines = Vec::new();
    for (case, outcome) in outcomes {
        let (place, title) = (&case.pointer, case.title());
        if outcome.passed {
            lines.push(format!("passed: {place}: {title}"));
            continue;
        }
        let (expected, was) = (case.expectation(), outcome.in_words());
        lines.push(format!("failed: {place}: {title}: expected {expected}, but it is {was}"));
        lines.extend(outcome.steps.iter().map(|step| format!("    {step}")));
    }
    lines.push(format!("{} passed, {failed} failed", outcomes.len() - failed));
    lines.iter().map(|line| text::one_line(line)).collect::<Vec<_>>().join("\n")
}

fn as_json(file: &str, failed: usize, outcomes: &[(&Case, Outcome)]) -> String {
    let tests: Vec<Value> = outcomes
        .iter()
        .map(|(case, outcome)| {
            json!({
                "place": case.pointer, "name": case.name, "tool": case.call.title(),
                "passed": outcome.passed,
                "expected": { "verdict": case.expect.as_str(), "rule": case.rule },
                "was": { "verdict": outcome.was.as_str(), "rule": outcome.rule },
                "steps": outcome.steps,
            })
        })
        .collect();
    let passed = outcomes.len() - failed;
    json!({ "file": file, "passed": passed, "failed": failed, "tests": tests }).to_string()
}
