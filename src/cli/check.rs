//! `placet check`: every problem of configuration and policies, and what can't be reached.

use serde_json::json;

use crate::app::connect::Report;
use crate::config::{Config, Problem, Severity, process_environment};

use super::{CheckArgs, Failure, Global, MISUSED, complain, problem_line, say, text};

/// Prints what was found. `connect` tries every upstream and notifier, and finds what of a policy fits
/// nothing that its upstream lists; it is called only for a sound configuration.
///
/// # Errors
/// The configuration has errors (exit code 2), or something can't be reached (exit code 1). The
/// message is empty, for all was printed.
pub(crate) async fn run(
    global: &Global,
    args: &CheckArgs,
    connect: impl AsyncFnOnce(&Config) -> Report,
) -> Result<(), Failure> {
    let (config, mut problems) =
        match Config::load(global.config.as_deref(), &process_environment()) {
            Ok((config, warnings)) => (Some(config), warnings),
            Err(problems) => (None, problems),
        };
    let reached = match &config {
        Some(config) if args.connect => connect(config).await,
        _ => Report::default(),
    };
    problems.extend(reached.misfits);
    let reached = reached.tried;
    if global.json {
        say(&as_json(config.is_some(), &problems, &reached));
    } else {
        for problem in &problems {
            complain(&problem_line(problem));
        }
        for (what, answer) in &reached {
            match answer {
                Ok(answer) => say(&text::one_line(&format!("reached: {what}: {answer}"))),
                Err(why) => complain(&text::one_line(&format!("unreachable: {what}: {why}"))),
            }
        }
        say(&summary(config.as_ref(), &problems));
    }
    if config.is_none() {
        return Err(Failure { code: MISUSED, message: String::new() });
    }
    if reached.iter().any(|(_, answer)| answer.is_err()) {
        return Err(Failure::failed(String::new()));
    }
    Ok(())
}

fn summary(config: Option<&Config>, problems: &[Problem]) -> String {
    let count = |severity: Severity, word: &str| {
        let n = problems.iter().filter(|p| p.severity == severity).count();
        format!("{n} {word}{}", if n == 1 { "" } else { "s" })
    };
    let counts =
        format!("{}, {}", count(Severity::Error, "error"), count(Severity::Warning, "warning"));
    match config {
        None => counts,
        Some(config) => {
            let file = config
                .file
                .as_ref()
                .map_or_else(|| "embedded defaults".to_owned(), |f| f.display().to_string());
            format!("ok: {file}: {counts}")
        }
    }
}

fn as_json(ok: bool, problems: &[Problem], reached: &[(String, Result<String, String>)]) -> String {
    let problems: Vec<_> = problems
        .iter()
        .map(|p| {
            let severity = match p.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            json!({
                "severity": severity, "file": p.file, "key": p.key, "value": p.value,
                "message": p.message, "line": p.spot.map(|spot| spot.line),
                "column": p.spot.map(|spot| spot.column),
            })
        })
        .collect();
    let reached: Vec<_> = reached
        .iter()
        .map(|(what, answer)| match answer {
            Ok(answer) => json!({ "name": what, "ok": true, "detail": answer }),
            Err(why) => json!({ "name": what, "ok": false, "detail": why }),
        })
        .collect();
    json!({ "ok": ok, "problems": problems, "reached": reached }).to_string()
}
