//! The command line: what can be asked, and who answers it.
//!
//! Exit codes: 0 success, 1 the thing asked failed or was found wrong, 2 usage, configuration or
//! policy error. Data goes to stdout, everything else to stderr.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{Config, Problem, Severity, process_environment};

pub(crate) mod approvals;
pub(crate) mod catalog;
pub(crate) mod check;
pub(crate) mod connect;
pub(crate) mod convert;
pub(crate) mod copies;
pub(crate) mod demo;
pub(crate) mod draft;
pub mod log_lines;
pub(crate) mod named;
pub(crate) mod notify;
pub(crate) mod policy;
pub(crate) mod policy_test;
pub(crate) mod replay;
pub(crate) mod serve;
pub(crate) mod stdio;
pub(crate) mod store;
pub(crate) mod text;
pub(crate) mod token;
pub(crate) mod tools;
mod used;

/// Where a broker listens unless told otherwise.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:8420";

/// Exit code of what was asked and failed, or was found wrong.
pub const FAILED: u8 = 1;

/// Exit code of usage, configuration and policy errors.
pub const MISUSED: u8 = 2;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "placet",
    version = env!("PLACET_VERSION"),
    about = "Holds an agent's risky tool calls until people have approved them",
    long_about = "Placet stands between MCP clients and MCP servers. It lets tool calls through, \
                  refuses them, or holds them until people have approved them, as a policy says.",
    after_help = "Examples:\n  placet demo                      see it work, nothing to configure\n  \
                  placet check                     find every mistake in the configuration\n  \
                  placet serve --config placet.toml\n\nExit codes: 0 success; 1 the thing asked \
                  failed or was found wrong; 2 usage, configuration or policy error.\nPLACET_LOG \
                  sets how much is logged, as in PLACET_LOG=placet=debug.",
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// What goes with every command.
    #[command(flatten)]
    pub global: Global,
    /// What is asked.
    #[command(subcommand)]
    pub command: Command,
}

/// What goes with every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The configuration file [default: ./placet.toml, else ./config/placet.toml, else built in]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print data as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// How log lines on stderr look
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// What is asked.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the broker until SIGINT or SIGTERM, then drain
    #[command(after_help = "Example:\n  placet serve --config /etc/placet/placet.toml \
                            --log-format json")]
    Serve,
    /// See it work: a sample agent, a sample server, a reviewer; nothing to configure
    #[command(after_help = "Examples:\n  placet demo                   open the printed review \
                            link and decide\n  placet demo --decide approve  decides by itself and \
                            exits")]
    Demo(DemoArgs),
    /// MCP over stdin and stdout, for clients that only start commands
    #[command(after_help = "The agent's token comes from PLACET_AGENT_TOKEN.\n\nExamples:\n  \
                            placet stdio --upstream images\n  placet stdio --upstream images \
                            --server https://placet.example.org")]
    Stdio(StdioArgs),
    /// What an MCP client has to be told to use this broker; prints or merges it
    #[command(
        after_help = "The configuration goes to stdout, what to know about the client's time \
                            limits to stderr. --write keeps everything else in the file and a \
                            backup beside it.\n\nExamples:\n  placet connect claude-code\n  placet \
                            connect vscode --write\n  placet connect codex --upstream images \
                            --server https://placet.example.org\n  placet connect claude-desktop \
                            --put-token --write"
    )]
    Connect(connect::ConnectArgs),
    /// Validate configuration and policies; prints every problem
    #[command(after_help = "Exit 2 on any error, 0 with warnings only, 1 only for what --connect \
                            could not reach.\n\nExamples:\n  placet check\n  placet check --connect \
                            --json")]
    Check(CheckArgs),
    /// The tools of an upstream: what harm their calls could do, and which rule decides them
    #[command(after_help = tools::HELP)]
    Tools(tools::ToolsArgs),
    /// The servers that the program knows: what their tools do, by people who read them
    #[command(after_help = catalog::HELP)]
    Catalog(catalog::CatalogArgs),
    /// Draft, convert and test a policy, and explain what one makes of a call
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// The queue from a terminal, over the HTTP API of a running broker
    #[command(after_help = "The reviewer's token comes from PLACET_TOKEN or \
                            --token-file.\n\nExamples:\n  placet approvals list --state \
                            pending\n  placet approvals approve apr_0193… --reason \"checked\"\n  \
                            placet approvals watch --json")]
    Approvals(approvals::ApprovalsArgs),
    /// Tokens of agents and reviewers
    #[command(subcommand)]
    Token(TokenCommand),
    /// A one-time sign-in link; only while the broker listens on loopback
    #[command(
        after_help = "Examples:\n  placet sign-in-link\n  placet sign-in-link ana --assurance session"
    )]
    SignInLink(SignInLinkArgs),
    /// Notifiers
    #[command(subcommand)]
    Notify(NotifyCommand),
    /// The audit log
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Copy the database of a running broker, whole, into a new file
    #[command(after_help = copies::BACKUP_HELP)]
    Backup(copies::BackupArgs),
    /// Put a copy of the database back, and mark what may have run since
    #[command(after_help = copies::RESTORE_HELP)]
    Restore(copies::RestoreArgs),
    /// Apply database migrations; `serve` does so too
    #[command(after_help = "Example:\n  placet migrate --config placet.toml")]
    Migrate,
}

/// `demo`
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Decide by itself, show the agent's answer and exit
    #[arg(long, value_enum, value_name = "DECISION")]
    pub decide: Option<Decide>,
    /// Where to listen
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Start no sample agent; connect your own
    #[arg(long)]
    pub no_agent: bool,
}

/// How the demo decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Decide {
    /// Let it run.
    Approve,
    /// Don't.
    Reject,
}

/// `stdio`
#[derive(Debug, Clone, Args)]
pub struct StdioArgs {
    /// The upstream to talk to; without it, all the agent's as one server
    #[arg(long, value_name = "NAME")]
    pub upstream: Option<String>,
    /// A running broker; then no configuration is read
    #[arg(long, value_name = "URL")]
    pub server: Option<url::Url>,
    /// Longest line from the client
    #[arg(long, value_name = "SIZE", default_value = "16MiB", value_parser = size)]
    pub max_line: usize,
    /// Longest message from the broker
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    pub max_answer: usize,
    /// Most pages of the list of tools that are read for a call that needs their headers
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    pub max_pages: u32,
}

fn size(text: &str) -> Result<usize, String> {
    crate::config::value::size(text)
}

/// `check`
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// Also try to reach every upstream and every notifier
    #[arg(long)]
    pub connect: bool,
}

/// `policy …`
#[derive(Debug, Clone, Subcommand)]
pub enum PolicyCommand {
    /// Which rule decides a call, and why
    #[command(after_help = "Examples:\n  placet policy explain --upstream images --tool \
                            delete_image_set --args '{\"datastore_id\": \"prod\"}'\n  placet \
                            policy explain --upstream images --tool delete_image_set --connect")]
    Explain(policy::ExplainArgs),
    /// A policy from the tools that an upstream lists, or one with its new tools added
    #[command(after_help = draft::HELP)]
    Draft(draft::DraftArgs),
    /// A policy of any form in Placet's own, with comments
    #[command(after_help = convert::HELP)]
    Convert(convert::ConvertArgs),
    /// Run the tests inside a policy file; `check` runs them too
    #[command(after_help = policy_test::HELP)]
    Test(policy_test::TestArgs),
    /// What a candidate would have made of recorded calls: who would newly be asked, denied or allowed
    #[command(after_help = replay::HELP)]
    Replay(replay::ReplayArgs),
}

/// `token …`
#[derive(Debug, Clone, Subcommand)]
pub enum TokenCommand {
    /// A random token and its token_sha256
    #[command(after_help = "Give the token to the agent or reviewer, and token_sha256 to the \
                            configuration.\n\nExample:\n  placet token new --json")]
    New,
}

/// `sign-in-link`
#[derive(Debug, Clone, Args)]
pub struct SignInLinkArgs {
    /// The reviewer [default: the only one]
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// What its session proves: no more than a mailed link, or as much as the reviewer's token
    #[arg(long, value_name = "WORD", value_enum, default_value_t = LinkAssurance::Link)]
    pub assurance: LinkAssurance,
}

/// What the session of a sign-in link proves.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum LinkAssurance {
    /// As a mailed link
    Link,
    /// As the reviewer's token
    Session,
}

/// `notify …`
#[derive(Debug, Clone, Subcommand)]
pub enum NotifyCommand {
    /// Send one test message and print the server's answer
    #[command(after_help = "Example:\n  placet notify test mail")]
    Test {
        /// The notifier
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// `audit …`
#[derive(Debug, Clone, Subcommand)]
pub enum AuditCommand {
    /// Walk the hash chain; exit 1 names the first bad record
    #[command(after_help = "Example:\n  placet audit verify")]
    Verify,
    /// Print the records as JSON lines
    #[command(
        after_help = "Examples:\n  placet audit export > audit.jsonl\n  placet audit export \
                            --since 7d"
    )]
    Export {
        /// Only records this young (7d) or since this instant (2026-11-22T20:00:00Z)
        #[arg(long, value_name = "SINCE")]
        since: Option<String>,
    },
}

/// Why a command did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit code of the process, 1 or 2.
    pub code: u8,
    /// For stderr; empty if everything was said.
    pub message: String,
}

impl Failure {
    /// Exit code 1: the command failed, or found something wrong.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { code: FAILED, message: message.into() }
    }

    /// Exit code 2: usage, configuration or policy is wrong.
    pub fn misused(message: impl Into<String>) -> Self {
        Self { code: MISUSED, message: message.into() }
    }
}

/// Runs a command and returns the exit code of the process. The runtime is made here and not in
/// `main.rs`, which would compile everything awaited a second time.
pub fn run(cli: Cli) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("error: the runtime can't start: {error}"));
            return ExitCode::from(FAILED);
        }
    };
    match runtime.block_on(dispatch(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                complain(&format!("error: {}", failure.message));
            }
            ExitCode::from(failure.code)
        }
    }
}

async fn dispatch(cli: Cli) -> Result<(), Failure> {
    let Cli { global, command } = cli;
    match command {
        Command::Check(args) => check::run(&global, &args, crate::app::connect::report).await,
        Command::Connect(args) => connect::run(&global, &args),
        Command::Catalog(args) => catalog::run(&global, &args),
        Command::Tools(args) => tools::run(&global, &args).await,
        Command::Policy(command) => policy::run(&global, command).await,
        Command::Approvals(args) => approvals::run(&global, args).await,
        Command::Token(TokenCommand::New) => {
            token::new(&global);
            Ok(())
        }
        Command::Serve => serve::run(&global).await,
        Command::Demo(args) => demo::run(&args).await,
        Command::Stdio(args) => stdio::run(&global, args).await,
        Command::SignInLink(args) => store::sign_in_link(&global, args).await,
        Command::Notify(NotifyCommand::Test { name }) => notify::test(&global, &name).await,
        Command::Audit(command) => store::audit(&global, command).await,
        Command::Backup(args) => copies::backup(&global, &args).await,
        Command::Restore(args) => copies::restore(&global, args).await,
        Command::Migrate => store::migrate(&global).await,
    }
}

/// The configuration; its problems go to stderr, and errors end the command.
///
/// # Errors
/// The configuration has errors: a [`Failure`] with exit code 2 and an empty message, for the
/// problems were printed.
pub fn load(global: &Global) -> Result<Config, Failure> {
    load_from(global.config.as_deref())
}

fn load_from(file: Option<&Path>) -> Result<Config, Failure> {
    let (config, problems) = match Config::load(file, &process_environment()) {
        Ok((config, warnings)) => (Ok(config), warnings),
        Err(problems) => (Err(Failure { code: MISUSED, message: String::new() }), problems),
    };
    for problem in &problems {
        complain(&problem_line(problem));
    }
    config
}

/// A problem as one line.
pub fn problem_line(problem: &Problem) -> String {
    let severity = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    format!("{severity}: {}", text::one_line(&problem.to_string()))
}

/// Prints to stdout. A reader that closed the pipe has seen enough: that is no failure.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Prints to stderr.
pub fn complain(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_of_the_contract_parses() {
        for line in [
            "serve --config a.toml --log-format json",
            "demo --decide approve --listen 127.0.0.1:0 --no-agent",
            "stdio --upstream images --server http://127.0.0.1:8420",
            "stdio",
            "check --connect --json",
            "connect cursor --upstream u --server http://a --agent a --token-env T --write",
            "connect codex --write f --put-token --json",
            "tools u --agent a --json",
            "catalog",
            "catalog s --json",
            "policy explain --upstream u --tool t --args {} --agent a --connect",
            "policy draft --upstream u --update g --out f",
            "policy test f",
            "policy replay f --since 7d",
            "approvals list --state pending,approved --limit 5 --server http://a",
            "approvals show apr_1",
            "approvals approve apr_1 --reason ok",
            "approvals reject apr_1 --reason no",
            "approvals reject apr_1",
            "approvals cancel apr_1",
            "approvals settle apr_1 --done",
            "approvals watch --token-file f",
            "token new --json",
            "sign-in-link",
            "sign-in-link ana",
            "notify test mail",
            "audit verify",
            "audit export --since 7d",
            "backup a.db --json",
            "restore a.db --force --ask-again",
            "restore --nothing-ran-since",
            "migrate --config a.toml",
        ] {
            let words = std::iter::once("placet").chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
    }

    #[test]
    fn help_names_every_command_of_policies() {
        let mut policy = Cli::command().find_subcommand("policy").unwrap().clone();

        let help = policy.render_long_help().to_string();

        let words = ["explain", "draft", "convert", "test", "replay"];
        assert!(words.iter().all(|word| help.contains(word)), "{help}");
    }

    #[test]
    fn usage_errors_exit_2() {
        for line in ["", "sevre", "demo --decide maybe", "stdio --upstream", "approvals reject"] {
            let words = std::iter::once("placet").chain(line.split_whitespace());
            assert_eq!(Cli::try_parse_from(words).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
