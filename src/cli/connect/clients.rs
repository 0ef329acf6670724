//! What each client wants to be told, and what is known of how long it waits.
//!
//! The formats are the clients' own documentation's; the limits are what was measured or reported
//! of them, and said so. A token stands in a file only where it was asked for.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::data::Data;

/// Longest call that a configured client waits for, seconds: longer than any hold set below and
/// the execution after it.
const CALL_TIMEOUT_S: i64 = 3_600;
/// Id of the input that VS Code asks for the token.
pub(super) const VSCODE_INPUT: &str = "placet-token";
/// Text in place of a token that a person has to paste.
const PASTE: &str = "PASTE THE AGENT'S TOKEN HERE";
/// The variable that `placet stdio` reads.
const STDIO_VARIABLE: &str = "PLACET_AGENT_TOKEN";

/// A client that can be connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Client {
    /// Claude Code: .mcp.json of a project
    ClaudeCode,
    /// Claude Desktop: claude_desktop_config.json
    ClaudeDesktop,
    /// Cursor: .cursor/mcp.json of a project
    Cursor,
    /// VS Code: .vscode/mcp.json of a workspace
    Vscode,
    /// Codex: config.toml of ~/.codex
    Codex,
    /// MCP Inspector: a file for --config
    Inspector,
}

/// How the client comes to the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// None is needed: the anonymous local agent.
    None,
    /// From the environment, by this name.
    Variable(String),
    /// The token itself, since that was asked for.
    Itself(String),
}

/// One server entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its name in the client.
    pub(super) name: String,
    /// The upstream's name; none for all of the agent's as one server.
    pub(super) upstream: Option<String>,
    /// URL of the broker's MCP endpoint.
    pub(super) url: String,
}

/// What is to be connected.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// URL of the broker, without a slash at its end.
    pub(super) server: String,
    /// One entry for each server that the client shall have.
    pub(super) entries: Vec<Entry>,
    /// How the client comes to the agent's token.
    pub(super) token: Token,
    /// Path of this program, for clients that start commands.
    pub(super) program: String,
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// A JSON file.
    Json,
    /// A TOML file.
    Toml,
}

/// What has to be set for a client, in its file and elsewhere.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    /// How its file is written.
    pub(super) format: Format,
    /// The member that holds the servers.
    pub(super) parent: &'static str,
    /// Name and configuration of each server.
    pub(super) servers: Vec<(String, Data)>,
    /// VS Code's question for the token.
    pub(super) input: Option<Data>,
    /// A command that does the same as the file.
    pub(super) instead: Option<String>,
    /// A command that uses the file.
    pub(super) then: Option<String>,
    /// Keys to set for the agent in placet.toml.
    pub(super) holds: &'static [(&'static str, &'static str)],
    /// Further notes for the person who connects it.
    pub(super) notes: Vec<String>,
    /// Whether a person has to paste the token.
    pub(super) needs_paste: bool,
}

impl Client {
    /// The word of the command line.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude-code",
            Self::ClaudeDesktop => "claude-desktop",
            Self::Cursor => "cursor",
            Self::Vscode => "vscode",
            Self::Codex => "codex",
            Self::Inspector => "inspector",
        }
    }

    /// Whether it only starts commands here, one for each upstream.
    pub(super) const fn is_stdio(self) -> bool {
        matches!(self, Self::ClaudeDesktop)
    }

    /// The client's own file; none where the home directory is not known.
    pub(super) fn file(self, env: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
        let home = || env("HOME").filter(|h| !h.is_empty()).map(PathBuf::from);
        Some(match self {
            Self::ClaudeCode => PathBuf::from(".mcp.json"),
            Self::Cursor => PathBuf::from(".cursor/mcp.json"),
            Self::Vscode => PathBuf::from(".vscode/mcp.json"),
            Self::Inspector => PathBuf::from("mcp.json"),
            Self::Codex => match env("CODEX_HOME").filter(|h| !h.is_empty()) {
                Some(own) => PathBuf::from(own).join("config.toml"),
                None => home()?.join(".codex/config.toml"),
            },
            Self::ClaudeDesktop if cfg!(target_os = "macos") => {
                home()?.join("Library/Application Support/Claude/claude_desktop_config.json")
            }
            Self::ClaudeDesktop => {
                let base = env("XDG_CONFIG_HOME").filter(|h| !h.is_empty()).map(PathBuf::from);
                base.or_else(|| Some(home()?.join(".config")))?
                    .join("Claude/claude_desktop_config.json")
            }
        })
    }

    /// What has to be set for this client, in this file.
    pub(super) fn setup(self, target: &Target, file: Option<&Path>) -> Setup {
        let servers = |of: &dyn Fn(&Entry) -> Data| {
            target.entries.iter().map(|e| (e.name.clone(), of(e))).collect::<Vec<_>>()
        };
        let plain = Setup {
            format: Format::Json,
            parent: "mcpServers",
            servers: Vec::new(),
            input: None,
            instead: None,
            then: None,
            holds: &[],
            notes: Vec::new(),
            needs_paste: false,
        };
        match self {
            Self::ClaudeCode => claude_code(
                target,
                Setup { servers: servers(&|e| claude_code_server(e, &target.token)), ..plain },
            ),
            Self::ClaudeDesktop => Setup {
                servers: servers(&|e| stdio_server(e, target)),
                holds: &[("hold", "50s"), ("hold_with_progress", "50s")],
                notes: claude_desktop_notes(&target.token),
                needs_paste: matches!(target.token, Token::Variable(_)),
                ..plain
            },
            Self::Cursor => Setup {
                servers: servers(&|e| {
                    http_server(None, e, bearer(&target.token, |v| format!("${{env:{v}}}")))
                }),
                holds: &[("hold", "50s"), ("hold_with_progress", "50s")],
                notes: cursor_notes(&target.token),
                ..plain
            },
            Self::Vscode => Setup {
                parent: "servers",
                servers: servers(&|e| {
                    let header = bearer(&target.token, |_| format!("${{input:{VSCODE_INPUT}}}"));
                    http_server(Some("http"), e, header)
                }),
                input: matches!(target.token, Token::Variable(_)).then(vscode_input),
                holds: &[("hold", "4m"), ("hold_with_progress", "4m")],
                notes: vscode_notes(&target.token),
                ..plain
            },
            Self::Codex => Setup {
                format: Format::Toml,
                parent: "mcp_servers",
                servers: servers(&|e| codex_server(e, &target.token)),
                holds: &[("hold", "30m"), ("hold_with_progress", "30m")],
                notes: codex_notes(&target.token),
                ..plain
            },
            Self::Inspector => inspector(
                target,
                file,
                Setup { servers: servers(&|e| inspector_server(e, &target.token)), ..plain },
            ),
        }
    }
}

/// The value of the Authorization header; none where no token is needed.
fn bearer(token: &Token, by_name: impl Fn(&str) -> String) -> Option<String> {
    match token {
        Token::None => None,
        Token::Variable(name) => Some(format!("Bearer {}", by_name(name))),
        Token::Itself(token) => Some(format!("Bearer {token}")),
    }
}

fn http_server(kind: Option<&str>, entry: &Entry, header: Option<String>) -> Data {
    let mut members = Vec::new();
    if let Some(kind) = kind {
        members.push(("type", kind.into()));
    }
    members.push(("url", entry.url.as_str().into()));
    if let Some(header) = header {
        members.push(("headers", Data::Map(vec![("Authorization", header.into())])));
    }
    Data::Map(members)
}

fn with(data: Data, key: &'static str, value: Data) -> Data {
    match data {
        Data::Map(mut members) => {
            members.push((key, value));
            Data::Map(members)
        }
        other => other,
    }
}

fn claude_code_server(entry: &Entry, token: &Token) -> Data {
    let server = http_server(Some("http"), entry, bearer(token, |v| format!("${{{v}}}")));
    with(server, "timeout", Data::Number(CALL_TIMEOUT_S * 1_000))
}

fn claude_code(target: &Target, setup: Setup) -> Setup {
    let mut notes = vec![
        "`timeout` (milliseconds, a hard limit for each call) is set to an hour and overrides \
         MCP_TOOL_TIMEOUT for this server."
            .to_owned(),
        "Claude Code gives a silent call up after 300 s (CLAUDE_CODE_MCP_TOOL_IDLE_TIMEOUT); \
         Placet's progress notifications reset that, so a hold may be longer."
            .to_owned(),
        "Calls over 120 s move to the background (CLAUDE_CODE_MCP_AUTO_BACKGROUND_MS, 0 = off); \
         their result arrives all the same."
            .to_owned(),
    ];
    if let Token::Variable(name) = &target.token {
        notes.push(format!("Claude Code reads {name} from the environment it is started in."));
    }
    let instead = match setup.servers.as_slice() {
        [(name, server)] => Some(format!(
            "claude mcp add-json --scope user {name} '{}'",
            server.compact().replace('\'', "'\\''")
        )),
        _ => None,
    };
    Setup { holds: &[("hold_with_progress", "10m")], notes, instead, ..setup }
}

fn stdio_server(entry: &Entry, target: &Target) -> Data {
    let mut args: Vec<Data> = vec!["stdio".into()];
    if let Some(upstream) = &entry.upstream {
        args.extend(["--upstream".into(), upstream.as_str().into()]);
    }
    args.extend(["--server".into(), target.server.as_str().into()]);
    let server =
        Data::Map(vec![("command", target.program.as_str().into()), ("args", Data::List(args))]);
    let token = match &target.token {
        Token::None => return server,
        Token::Variable(_) => PASTE,
        Token::Itself(token) => token,
    };
    with(server, "env", Data::Map(vec![(STDIO_VARIABLE, token.into())]))
}

fn claude_desktop_notes(token: &Token) -> Vec<String> {
    let mut notes = vec![
        "Claude Desktop starts `placet stdio`, which talks to the running broker. Restart it after \
         a change."
            .to_owned(),
        "It cuts a call after about 60 s in some builds and 240 s in others, whatever the server \
         does, and nothing can be configured: stay below, as the default of 50s does. Where your \
         build waits 240 s, hold = \"210s\" is fine."
            .to_owned(),
    ];
    match token {
        Token::None => {}
        Token::Variable(_) => notes.push(
            "It can't take a token from the environment: paste it in place of the words in \
             capitals and keep the file to yourself (chmod 600), or use --put-token."
                .to_owned(),
        ),
        Token::Itself(_) => notes.push("The token stands in the file; keep it to yourself.".into()),
    }
    notes
}

fn cursor_notes(token: &Token) -> Vec<String> {
    let mut notes = vec![
        "How long Cursor waits for a call is not documented and can't be configured; it is taken \
         for 60 s. If it drops your holds earlier or later, Placet learns that by itself \
         (/agents)."
            .to_owned(),
    ];
    if let Token::Variable(name) = token {
        notes.push(format!(
            "Cursor reads {name} from the environment it is started in: start it from a shell that \
             has it, or set it for your whole session."
        ));
    }
    notes
}

fn vscode_input() -> Data {
    Data::Map(vec![
        ("type", "promptString".into()),
        ("id", VSCODE_INPUT.into()),
        ("description", "Placet agent token".into()),
        ("password", Data::Flag(true)),
    ])
}

fn vscode_notes(token: &Token) -> Vec<String> {
    let mut notes = vec![
        "VS Code has no setting for how long a call may take and was seen to cut it at about 5 \
         minutes, even with progress: holds of 4 minutes stay below."
            .to_owned(),
    ];
    if matches!(token, Token::Variable(_)) {
        notes.push(
            "VS Code asks for the token once and keeps it in its own secret store; in its place \
             ${env:NAME} would read a variable."
                .to_owned(),
        );
    }
    notes
}

fn codex_server(entry: &Entry, token: &Token) -> Data {
    let mut members = vec![("url", entry.url.as_str().into())];
    match token {
        Token::None => {}
        Token::Variable(name) => members.push(("bearer_token_env_var", name.as_str().into())),
        Token::Itself(token) => {
            let header = vec![("Authorization", format!("Bearer {token}").into())];
            members.push(("http_headers", Data::Map(header)));
        }
    }
    members.push(("tool_timeout_sec", Data::Number(CALL_TIMEOUT_S)));
    Data::Map(members)
}

fn codex_notes(token: &Token) -> Vec<String> {
    let mut notes = vec![
        "tool_timeout_sec is 60 unless set, and Codex cuts a call there; it is set to an hour, so \
         that holds may be long."
            .to_owned(),
    ];
    if let Token::Variable(name) = token {
        notes.push(format!("Codex reads {name} from the environment it is started in."));
    }
    notes
}

fn inspector_server(entry: &Entry, token: &Token) -> Data {
    // The Inspector expands no variables in its file: the token is given on the command line.
    let header = match token {
        Token::Itself(token) => Some(format!("Bearer {token}")),
        Token::None | Token::Variable(_) => None,
    };
    let server = http_server(Some("streamable-http"), entry, header);
    with(server, "requestTimeout", Data::Number(CALL_TIMEOUT_S * 1_000))
}

fn inspector(target: &Target, file: Option<&Path>, setup: Setup) -> Setup {
    let mut notes = vec![
        "requestTimeout (milliseconds) is 60 s unless set, renewed by progress; it is set to an \
         hour."
            .to_owned(),
    ];
    let mut command = format!(
        "npx @modelcontextprotocol/inspector --cli --config {} --server {} --method \
         tools/list",
        file.unwrap_or(Path::new("mcp.json")).display(),
        target.entries.first().map_or("placet", |e| e.name.as_str())
    );
    if let Token::Variable(name) = &target.token {
        command.push_str(&format!(" --header \"Authorization: Bearer ${name}\""));
        notes.push(
            "The Inspector expands no variables in its file, so the token goes on the command \
             line, where this machine's other users may see it while it runs."
                .to_owned(),
        );
    }
    Setup {
        then: Some(command),
        holds: &[("hold", "30m"), ("hold_with_progress", "30m")],
        notes,
        ..setup
    }
}
