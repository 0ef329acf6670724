//! What a broker costs: `cargo run --release --example load -- [PART…]`; docs/performance.md says how
//! it is measured.
//!
//! Upstream, broker and, where it is installed, nginx are processes of their own, started from this
//! very program; the driver speaks plain HTTP over kept connections. Nothing is asserted: times
//! belong to the machine, ratios within one run belong to the program. Linux only, for `/proc`.
#![allow(unreachable_pub, reason = "nothing outside a program reaches into it")]

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::EnvFilter;

use process::ROLE;
use report::Report;
use world::{Fallible, Kind, World};

mod burst;
mod calls;
mod decisions;
mod fill;
mod held;
mod http;
mod large;
mod process;
mod report;
mod requests;
mod submits;
mod upstream;
mod waiting;
mod world;

/// The program's, since its broker is this very program.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: placet::Allocator = placet::Allocator;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Allowed calls, against direct and nginx
    Calls,
    /// What held calls cost while nothing happens, and what stays afterwards
    Held,
    /// New approvals stored per second
    Submits,
    /// Thousands of new calls within 3 s
    Burst,
    /// Held calls, all approved over the HTTP API
    Decisions,
    /// All of it in front of 100,000 pending and 1,000,000 ended; only by name, takes minutes
    Large,
}

/// Parts of a run without names.
const USUAL: [Part; 5] = [Part::Calls, Part::Held, Part::Submits, Part::Burst, Part::Decisions];

/// Measures brokers, and prints a table.
#[derive(Debug, Parser)]
#[command(name = "load")]
struct Args {
    /// What is measured; all but `large` if nothing is named
    parts: Vec<Part>,
    /// A `placet` program to measure instead of this build; several are compared
    #[arg(long, value_name = "[NAME=]PATH")]
    placet: Vec<String>,
    /// The nginx program; `none` leaves it out
    #[arg(long, value_name = "PATH", default_value = "nginx")]
    nginx: PathBuf,
    /// Calls that are held
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    held: usize,
    /// Approvals that wait already before new ones are stored
    #[arg(long, value_name = "N", default_value_t = 0)]
    pending: u32,
    /// New calls of the burst
    #[arg(long, value_name = "N", default_value_t = 8_000)]
    burst: usize,
    /// Held calls that are all approved
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    decided: usize,
    /// Turns of everybody in the rounds of allowed calls
    #[arg(long, value_name = "N", default_value_t = 4)]
    rounds: usize,
    /// The era that the broker speaks to the upstream: auto, legacy, modern
    #[arg(long, default_value = "auto")]
    era: String,
    /// A little of everything: whether it works, not how fast
    #[arg(long)]
    quick: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Calls that are held.
    pub held: usize,
    /// Approvals that wait already before new ones are stored.
    pub pending: u32,
    /// New calls of the burst.
    pub burst: usize,
    /// How long the burst may take until all are stored.
    pub burst_patience: Duration,
    /// Held calls that are all approved.
    pub decided: usize,
    /// Turns of everybody in the rounds of allowed calls.
    pub rounds: usize,
    /// How long a turn takes.
    pub window: Duration,
    /// How long a holding broker is watched.
    pub watch: Duration,
    /// Whether it is only seen whether it works.
    pub quick: bool,
}

fn main() -> ExitCode {
    // Only fails when a provider is installed already; nothing ran before this.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let [_, flag, parent, role, rest @ ..] = arguments.as_slice()
        && flag == ROLE
    {
        return play(parent, role, rest).unwrap_or_else(|error| fail(&error.to_string()));
    }
    let args = Args::parse();
    let mut report = Report::default();
    let ran = run(&args, &mut report);
    if args.json {
        println!("{}", report.to_json());
    } else {
        print!("{}", report.to_table());
    }
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("stopped early: {error}")),
    }
}

/// What a child is.
fn play(parent: &OsString, role: &OsString, rest: &[OsString]) -> Fallible<ExitCode> {
    process::end_with(parent)?;
    match role.to_str() {
        Some("upstream") => {
            let port = rest.first().and_then(|port| port.to_str()).ok_or("no port is named")?;
            runtime()?.block_on(upstream::run(port.parse()?))?;
            Ok(ExitCode::SUCCESS)
        }
        Some("placet") => {
            // As the program's own `main` does it.
            placet::cli::log_lines::begin(placet::cli::LogFormat::Text, EnvFilter::new("info"));
            let program = [OsString::from("placet")];
            let cli = placet::cli::Cli::parse_from(program.iter().chain(rest));
            Ok(placet::cli::run(cli))
        }
        Some("exec") => Err(process::become_program(rest)),
        _ => Err("there is no such role".into()),
    }
}

/// One thread: the driver and the upstream leave the processors to the broker. It also keeps the
/// thread that has started children, with which they would end.
fn runtime() -> Fallible<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

fn run(args: &Args, report: &mut Report) -> Fallible<()> {
    let options = options(args)?;
    let (kinds, nginx) = (kinds(args), nginx(args));
    runtime()?.block_on(async {
        tokio::select! {
            done = measure(args, &options, kinds, nginx, report) => done,
            _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
        }
    })
}

async fn measure(
    args: &Args,
    options: &Options,
    kinds: Vec<Kind>,
    nginx: Option<PathBuf>,
    report: &mut Report,
) -> Fallible<()> {
    let world = World::start(kinds, nginx.as_deref(), &args.era).await?;
    let parts = if args.parts.is_empty() { USUAL.to_vec() } else { args.parts.clone() };
    for part in parts {
        let begun = Instant::now();
        match part {
            Part::Calls => calls::measure(&world, options, report).await?,
            Part::Held => held::measure(&world, options, report).await?,
            Part::Submits => submits::measure(&world, options, report).await?,
            Part::Burst => burst::measure(&world, options, report).await?,
            Part::Decisions => decisions::measure(&world, options, report).await?,
            Part::Large => large::measure(&world, options, report).await?,
        }
        eprintln!("{part:?}: {:.1} s", begun.elapsed().as_secs_f64());
    }
    Ok(())
}

fn options(args: &Args) -> Fallible<Options> {
    let (held, burst, decided) =
        if args.quick { (32, 64, 16) } else { (args.held, args.burst, args.decided) };
    let descriptors = process::more_descriptors()?;
    let needed = u64::try_from(held.max(burst).max(decided))? + 500;
    if needed > descriptors {
        return Err(format!("{needed} descriptors are needed: raise ulimit -n").into());
    }
    let ms = |usual, quick| Duration::from_millis(if args.quick { quick } else { usual });
    Ok(Options {
        held,
        pending: args.pending,
        burst,
        burst_patience: ms(60_000, 10_000),
        decided,
        rounds: if args.quick { 1 } else { args.rounds },
        window: ms(500, 50),
        watch: ms(10_000, 500),
        quick: args.quick,
    })
}

fn kinds(args: &Args) -> Vec<Kind> {
    if args.placet.is_empty() {
        return vec![Kind { name: "placet".to_owned(), program: None }];
    }
    let named = args.placet.iter().map(|text| {
        let (name, path) = text.split_once('=').unwrap_or(("placet", text));
        Kind { name: name.to_owned(), program: Some(PathBuf::from(path)) }
    });
    named.collect()
}

/// nginx's program, if it is there.
fn nginx(args: &Args) -> Option<PathBuf> {
    if args.nginx.as_os_str() == "none" {
        return None;
    }
    let there = std::process::Command::new(&args.nginx).arg("-v").output().is_ok();
    if !there {
        eprintln!("{} does not start: measured without nginx", args.nginx.display());
    }
    there.then(|| args.nginx.clone())
}

fn fail(why: &str) -> ExitCode {
    eprintln!("error: {why}");
    ExitCode::FAILURE
}
