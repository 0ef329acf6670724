//! Reads the command line, starts logging, and hands over; nothing else.

use std::process::ExitCode;

use clap::Parser as _;
use placet::cli::{self, Cli, Command, LogFormat};
use tracing_subscriber::EnvFilter;

/// Memory that was needed once, for a burst of calls, is given back.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: placet::Allocator = placet::Allocator;

/// The variable that says how much is logged.
const LOG_VARIABLE: &str = "PLACET_LOG";

fn main() -> ExitCode {
    // Only fails when a provider is installed already; nothing ran before this.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    // The demo tells its own story; log lines in between would only blur it.
    let level = if matches!(cli.command, Command::Demo(_)) { "error" } else { "info" };
    init_logs(cli.global.log_format, level);
    cli::run(cli)
}

fn init_logs(format: LogFormat, level: &str) {
    let filter = std::env::var(LOG_VARIABLE)
        .ok()
        .and_then(|text| EnvFilter::try_new(text).ok())
        .unwrap_or_else(|| EnvFilter::new(level));
    cli::log_lines::begin(format, filter);
}
