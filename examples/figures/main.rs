//! Figures of the built library: `cargo run --release --example figures [-- --json]`.
//!
//! Measures real brokers over real loopback HTTP, with the demo's archive as the upstream, and
//! prints what took how long next to what it is compared with *in the same run*. Nothing is
//! asserted: absolute times belong to the machine, ratios belong to the program. Every part is
//! bounded in count, and the whole run in time.
#![allow(unreachable_pub, reason = "nothing outside a program reaches into it")]

use std::process::ExitCode;
use std::time::Duration;

use report::Report;
use world::Fallible;

mod calls;
mod decisions;
#[path = "../../tests/it/support/fixtures.rs"]
#[allow(clippy::unwrap_used, reason = "what the tests begin with ends by panicking")]
mod fixtures;
mod held;
mod large;
mod parsing;
mod queue;
mod report;
mod submits;
mod world;

/// The whole run ends after this; what was measured until then is printed.
const WHOLE_RUN: Duration = Duration::from_secs(88);

/// The same for the part that fills large databases first.
const LARGE_RUN: Duration = Duration::from_secs(900);

/// Starts this program as the client whose requests are held; see [`held`].
pub const HOLD_FLAG: &str = "--hold";

fn main() -> ExitCode {
    // Only fails when a provider is installed already; nothing ran before this.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("the runtime can't start: {error}")),
    };
    if arguments.first().is_some_and(|a| a == HOLD_FLAG) {
        return match runtime.block_on(held::client(&arguments[1..])) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error.to_string()),
        };
    }
    let json = arguments.iter().any(|a| a == "--json");
    let parts: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|a| !a.starts_with("--")).collect();
    if let Some(wrong) = arguments.iter().find(|a| a.starts_with("--") && *a != "--json") {
        return fail(&format!("unknown {wrong}; usage: figures [--json] [PART…], of {PARTS:?}"));
    }
    let large = parts.contains(&LARGE);
    if let Some(wrong) = parts.iter().find(|part| !PARTS.contains(part) && **part != LARGE) {
        return fail(&format!("there is no part {wrong:?}; there are {PARTS:?}"));
    }
    let mut report = Report::default();
    let run = measure(&mut report, &parts);
    let limit = if large { LARGE_RUN } else { WHOLE_RUN };
    let ended = runtime.block_on(async { tokio::time::timeout(limit, run).await });
    if json {
        println!("{}", report.to_json());
    } else {
        print!("{}", report.to_table());
    }
    match ended {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => fail(&format!("stopped early: {error}")),
        Err(_) => fail(&format!("stopped after {limit:?}: the machine is too busy")),
    }
}

/// What can be asked for by name; all of it without a name. Memory comes first: later parts leave
/// freed pages behind, which would hide what a held request needs.
const PARTS: [&str; 6] = ["held", "calls", "submits", "decisions", "json", "queue"];

/// Only by name: it fills a database for minutes first.
const LARGE: &str = "large";

async fn measure(report: &mut Report, wanted: &[&str]) -> Fallible<()> {
    for part in PARTS {
        if !wanted.is_empty() && !wanted.contains(&part) {
            continue;
        }
        let begun = std::time::Instant::now();
        match part {
            "held" => held::measure(report).await?,
            "calls" => calls::measure(report).await?,
            "submits" => submits::measure(report).await?,
            "decisions" => decisions::measure(report).await?,
            "json" => parsing::measure(report)?,
            _ => queue::measure(report).await?,
        }
        eprintln!("{part}: {:.1} s", begun.elapsed().as_secs_f64());
    }
    if wanted.contains(&LARGE) {
        large::measure(report).await?;
    }
    Ok(())
}

fn fail(why: &str) -> ExitCode {
    eprintln!("error: {why}");
    ExitCode::FAILURE
}
