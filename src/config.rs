//! The configuration, checked: what the rest of the program may rely on.
//!
//! [`Config::load`] reads it; [`reader`] collects every problem; [`reach`] says who can be asked.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::domain::approval::Assurance;
use crate::domain::client_feature::ClientFeature;
use crate::domain::policy::Policy;

mod checks;
mod entry;
pub(crate) mod load;
pub(crate) mod mail_address;
mod notifiers;
pub(crate) mod oidc;
mod policies;
pub(crate) mod principals;
pub(crate) mod problem;
pub(crate) mod reach;
pub(crate) mod reader;
mod secret;
mod sections;
mod server;
#[cfg(test)]
pub(crate) mod tests;
mod upstreams;
pub(crate) mod value;

pub use load::process_environment;
pub use problem::{PolicyPlace, Problem, Severity, Warning};
pub use reader::Environment;
pub use server::Server;

pub use crate::domain::person::Role;

/// A secret; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text that must not be printed.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself; only where it is sent or compared.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// The whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from; none for the embedded defaults.
    pub file: Option<PathBuf>,
    /// `[server]`
    pub server: Server,
    /// `[database]`
    pub database: Database,
    /// `[approvals]`
    pub approvals: Approvals,
    /// `[audit]`
    pub audit: Audit,
    /// `[telemetry]`
    pub telemetry: Telemetry,
    /// `[masking]`
    pub masking: Masking,
    /// `[people]`
    pub people: People,
    /// `[oidc]`; none while it is off.
    pub oidc: Option<oidc::Oidc>,
    /// `[[upstreams]]`
    pub upstreams: Vec<Upstream>,
    /// `[[agents]]`; the anonymous `local` one where there are none.
    pub agents: Vec<Arc<Agent>>,
    /// The agents by the SHA-256 of their tokens.
    pub agents_by_token: HashMap<[u8; 32], Arc<Agent>>,
    /// `[[reviewers]]`; `owner` where there are none.
    pub reviewers: Vec<Reviewer>,
    /// `[[notifiers]]`
    pub notifiers: Vec<Notifier>,
    /// Whether `owner` stands in because no reviewer is configured.
    pub implicit_owner: bool,
}

/// `[database]`
#[derive(Debug, Clone)]
pub struct Database {
    /// `sqlite:PATH` (already relative to the configuration file) or `postgres://…`.
    pub url: Secret,
    /// Longest that PostgreSQL works at one statement; the program waits a second longer.
    pub statement_timeout: Duration,
    /// Longest wait for another's lock; on SQLite for another process's write.
    pub lock_timeout: Duration,
    /// Longest that PostgreSQL keeps a transaction open whose broker says nothing.
    pub idle_in_transaction_timeout: Duration,
    /// Longest wait for a connection, free or new.
    pub connect_timeout: Duration,
    /// How long what others' transactions are in the way of is tried again, and how long is asked
    /// what became of a commit whose answer was lost.
    pub retry_for: Duration,
    /// After so long without a word PostgreSQL asks whether the broker is still there.
    pub keepalive: Duration,
    /// Most connections to PostgreSQL for people and for what runs by itself.
    pub connections: u32,
    /// Most connections to PostgreSQL for what agents ask for.
    pub agent_connections: u32,
    /// How far the machine's clock and the database's may be apart.
    pub max_clock_skew: Duration,
}

/// `[approvals]`
#[derive(Debug, Clone)]
pub struct Approvals {
    /// How long reviewers have to decide.
    pub timeout: Duration,
    /// Longest hold of a request without a progress token.
    pub hold: Duration,
    /// Longest hold of a request with a progress token.
    ///
    /// <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/progress#progress-flow>
    pub hold_with_progress: Duration,
    /// Time between two signs of life to a client while its request is held.
    pub heartbeat: Duration,
    /// How long an approved call waits for its agent to claim it.
    pub claim_window: Duration,
    /// How old a tool list may be when an approved call is executed; an older one is fetched anew.
    pub tool_list_age: Duration,
    /// How long a rejection is the answer to the identical call.
    pub cooldown: Duration,
    /// How long a result is owed that no agent has been told.
    pub result_retention: Duration,
    /// Largest outcome that is kept, bytes.
    pub max_outcome: usize,
    /// Largest arguments of a call that needs approval, bytes.
    pub max_arguments: usize,
    /// Most approvals of one agent that are pending or approved.
    pub max_pending_per_agent: u32,
    /// Most approvals of all agents together that are pending or approved.
    pub max_pending: u32,
    /// Most calls of all agents that wait to be stored, or are being stored.
    pub max_submitting: u32,
    /// The same of one agent.
    pub max_submitting_per_agent: u32,
    /// Most new approvals of one agent within a window.
    pub max_new_per_agent: NewPerAgent,
    /// Most held requests of one agent; a call beyond them is handed over at once.
    pub max_held_per_agent: u32,
    /// Most rounds in which a modern client waits for a call after it was sent to the page of the
    /// call.
    pub page_rounds: u32,
    /// How often a client that follows a call as a task should look.
    pub task_poll_interval: Duration,
    /// Most living tasks of one agent.
    pub max_tasks_per_agent: u32,
    /// Most open grants of one agent.
    pub max_grants_per_agent: u32,
    /// How surely a decision must come from the reviewer, where the rule does not say.
    pub assurance: Assurance,
    /// How long before its expiry reviewers get one reminder; none: no reminder.
    pub reminder: Option<Duration>,
    /// How long ended approvals are kept.
    pub history_retention: Duration,
}

/// At most `max` new approvals per sliding `window`.
#[derive(Debug, Clone, Copy)]
pub struct NewPerAgent {
    /// Most approvals within the window.
    pub max: u32,
    /// Length of the sliding window.
    pub window: Duration,
}

/// Whether, and when, allowed calls are recorded in the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditCalls {
    /// In groups, shortly after the call.
    Group,
    /// Before the call runs.
    Strict,
    /// Allowed calls are not recorded.
    Off,
}

/// `[audit]`
#[derive(Debug, Clone)]
pub struct Audit {
    /// When allowed calls are recorded.
    pub calls: AuditCalls,
    /// Most records of allowed calls that wait for the store; beyond, calls are unavailable.
    pub max_buffered: u32,
}

/// `[telemetry]`
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// Whether `/metrics` is served without a token.
    pub public_metrics: bool,
}

/// `[masking]`
#[derive(Debug, Clone)]
pub struct Masking {
    /// Keys whose values are masked, lower case.
    pub keys: Vec<String>,
}

/// `[people]`: signing in, and what people keep about themselves.
#[derive(Debug, Clone)]
pub struct People {
    /// How long a session lasts without being used.
    pub session_idle: Duration,
    /// How long a session lasts at most, used or not.
    pub session_max: Duration,
    /// How long a sign-in link is good for.
    pub link_life: Duration,
    /// Whether the terminal makes sign-in links, and sessions that such a link began count.
    pub sign_in_link: bool,
    /// The window of the three limits below.
    pub sign_in_window: Duration,
    /// Most sign-in mails to one address in a window.
    pub sign_in_mails: u32,
    /// The sliding window of `request_mails` and `request_mails_per_agent`.
    pub request_mail_window: Duration,
    /// Most mails that ask one reviewer for decisions, in a window; a summary follows.
    pub request_mails: u32,
    /// How many about each agent's calls are sent even then.
    pub request_mails_per_agent: u32,
    /// Most requests for a mail from one client address in a window.
    pub sign_in_requests: u32,
    /// Most wrong tokens from one client address in a window.
    pub sign_in_tokens: u32,
    /// Most personal tokens of one person.
    pub max_tokens: u32,
    /// Longest life of a personal token.
    pub max_token_life: Duration,
    /// Most absences of one person that are not over.
    pub max_absences: u32,
    /// Most passkeys of one person.
    pub max_passkeys: u32,
    /// How long the browser may take to use or make a passkey.
    pub passkey_wait: Duration,
}

/// How an upstream is reached.
#[derive(Debug, Clone)]
pub enum Transport {
    /// Over HTTP, to an address.
    Http {
        /// The endpoint.
        url: Url,
        /// Headers sent with every request.
        headers: Vec<(String, Secret)>,
        /// Which of the two transports it speaks.
        kind: HttpKind,
    },
    /// Over standard input and output, with a child process.
    Stdio {
        /// Program and arguments.
        command: Vec<String>,
        /// Its environment besides `PATH`, `HOME` and `LANG`.
        env: Vec<(String, Secret)>,
        /// Its working directory.
        cwd: Option<PathBuf>,
    },
}

/// Which transport an HTTP upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpKind {
    /// Found out by trying.
    Auto,
    /// Streamable HTTP, from 2025-03-26 on.
    Streamable,
    /// HTTP+SSE of 2024-11-05: one stream for all answers, and an endpoint for all messages.
    Sse,
}

/// Which era an upstream speaks.
///
/// <https://modelcontextprotocol.io/specification/2026-07-28/basic/versioning>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// Found out by trying.
    Auto,
    /// Legacy: `initialize` and sessions.
    Legacy,
    /// Modern: 2026-07-28.
    Modern,
}

/// Who shares one connection, or one child process, of an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Instances {
    /// One per agent.
    Agent,
    /// One per client session.
    Session,
    /// One for all.
    Shared,
}

/// One `[[upstreams]]`.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Its name.
    pub name: String,
    /// How it is reached.
    pub transport: Transport,
    /// Its address, or program and arguments, as the file has them: variables are not replaced.
    pub target: Vec<String>,
    /// Which era it speaks.
    pub era: Era,
    /// Who shares a connection or child.
    pub instances: Instances,
    /// Most connections, or child processes, of one agent.
    pub max_instances_per_agent: u32,
    /// How long a connection or child process of an agent stays that nobody uses.
    pub instance_idle: Duration,
    /// How long it stays at most once all sessions that used it have ended.
    pub instance_linger: Duration,
    /// How long a handshake with the server may take.
    pub handshake_timeout: Duration,
    /// The wait before it is tried again to reach the server, to start it or to read its list, after
    /// the first failure; doubled at each further one.
    pub retry_pause: Duration,
    /// The longest such wait.
    pub max_retry_pause: Duration,
    /// Most children that are started for one request, where each leaves before it read it.
    pub max_child_starts: u32,
    /// The policy; none denies everything.
    pub policy: Option<Arc<Policy>>,
    /// Where its problems are reported.
    pub policy_place: Option<PolicyPlace>,
    /// The file of the policy, re-read on SIGHUP.
    pub policy_file: Option<PathBuf>,
    /// How long the upstream may take, counted from its last message about the call.
    pub timeout: Duration,
    /// Whether what its tools' annotations claim may make the class of their calls milder.
    pub trust_annotations: bool,
    /// What its server may ask of clients.
    pub client_features: Vec<ClientFeature>,
}

/// One `[[agents]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its name.
    pub name: String,
    /// SHA-256 of its token; none: the anonymous local agent.
    pub token_sha256: Option<[u8; 32]>,
    /// Names of the upstreams it may use; none: all of them.
    pub upstreams: Option<Vec<String>>,
    /// Name of the reviewer it belongs to, who never approves its calls.
    pub owner: Option<String>,
    /// Its own longest hold, in place of the configured one.
    pub hold: Option<Duration>,
    /// Its own longest hold with a progress token, in place of the configured one.
    pub hold_with_progress: Option<Duration>,
    /// Whether a pending approval is withdrawn when its last client leaves.
    pub withdraw_on_disconnect: bool,
    /// Whether it is offered the tool that waits for an approval by its id.
    pub wait_tool: bool,
    /// Whether its user is sent to the page of a held call, where its client can open one.
    ///
    /// <https://modelcontextprotocol.io/specification/2025-11-25/client/elicitation>
    pub url_elicitation: bool,
    /// What servers may ask of its client, besides what each upstream lets pass; none: no limit.
    pub client_features: Option<Vec<ClientFeature>>,
}

/// One `[[reviewers]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reviewer {
    /// Their name.
    pub name: String,
    /// Their mail address.
    pub email: Option<String>,
    /// Their groups.
    pub groups: Vec<String>,
    /// What they may do.
    pub role: Role,
    /// SHA-256 of their token for the HTTP API.
    pub token_sha256: Option<[u8; 32]>,
}

/// One `[[notifiers]]`.
#[derive(Debug, Clone)]
pub struct Notifier {
    /// Its name.
    pub name: String,
    /// What it does.
    pub kind: NotifierKind,
    /// Whether its messages include the arguments of the call.
    pub include_arguments: bool,
}

/// The kinds of notifier.
#[derive(Debug, Clone)]
pub enum NotifierKind {
    /// Mail over SMTP.
    Email {
        /// Address of the mail server, in one of lettre's URL forms (`smtp://`, `smtps://`).
        smtp_url: Secret,
        /// The sender, `Name <address>`.
        from: String,
        /// Addresses, such as of mailing lists, that get a copy.
        to: Vec<String>,
        /// Whether the mail server takes addresses that are not ASCII before the @.
        ///
        /// <https://www.rfc-editor.org/rfc/rfc6531>
        smtputf8: bool,
    },
    /// Standard Webhooks.
    Webhook {
        /// The address that messages are sent to.
        url: Url,
        /// `whsec_` and base64, as written and checked; the notifier decodes it.
        secret: Secret,
        /// Whether it may send to loopback, private and link-local addresses.
        allow_private_network: bool,
    },
    /// A mailbox inside the process, for the demo and for tests.
    Memory,
}

impl Config {
    /// The upstream of that name.
    pub fn upstream(&self, name: &str) -> Option<&Upstream> {
        self.upstreams.iter().find(|u| u.name == name)
    }

    /// The agent of that name.
    pub fn agent(&self, name: &str) -> Option<&Arc<Agent>> {
        self.agents.iter().find(|a| a.name == name)
    }

    /// The reviewer of that name.
    pub fn reviewer(&self, name: &str) -> Option<&Reviewer> {
        self.reviewers.iter().find(|r| r.name == name)
    }

    /// The lists of principals that read otherwise in `other`.
    pub(crate) fn differing_principals(&self, other: &Self) -> Vec<&'static str> {
        let mut differ = Vec::new();
        if self.agents != other.agents {
            differ.push("[[agents]]");
        }
        if self.reviewers != other.reviewers {
            differ.push("[[reviewers]]");
        }
        differ
    }

    /// The first notifier that sends sign-in mails; that is one for e-mail, or the mailbox in
    /// memory.
    pub fn mailer(&self) -> Option<&Notifier> {
        self.notifiers
            .iter()
            .find(|n| matches!(n.kind, NotifierKind::Email { .. } | NotifierKind::Memory))
    }

    /// A link for people: `path` below the public address.
    pub fn link(&self, path: &str) -> String {
        format!("{}{path}", self.server.public_url.as_str().trim_end_matches('/'))
    }
}
