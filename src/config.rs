//! The configuration, checked: what the rest of the program may rely on.
//!
//! [`Config::load`] reads it; [`reader`] collects every problem; [`reach`] says who can be asked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::domain::approval::Assurance;
use crate::domain::client_feature::ClientFeature;
use crate::domain::policy::Policy;

mod checks;
pub(crate) mod load;
mod notifiers;
pub(crate) mod oidc;
mod policies;
pub(crate) mod principals;
pub(crate) mod problem;
pub(crate) mod reach;
pub(crate) mod reader;
mod secret;
mod sections;
#[cfg(test)]
pub(crate) mod tests;
mod upstreams;
pub(crate) mod value;

pub use load::process_environment;
pub use problem::{Problem, Severity, Warning};
pub use reader::Environment;

pub use crate::domain::person::Role;

/// A secret; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
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

/// All of it.
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
    pub agents: Vec<Agent>,
    /// `[[reviewers]]`; `owner` where there are none.
    pub reviewers: Vec<Reviewer>,
    /// `[[notifiers]]`
    pub notifiers: Vec<Notifier>,
    /// Whether `owner` stands in because no reviewer is configured.
    pub implicit_owner: bool,
}

/// `[server]`
#[derive(Debug, Clone)]
pub struct Server {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Base of every link sent to people. Where it is not configured it is `http://` and `listen`,
    /// whose port 0 must then be replaced by the actual one.
    pub public_url: Url,
    /// Further hosts (with port where not the default) accepted in `Host`.
    pub allowed_hosts: Vec<String>,
    /// Origins of browser clients of the MCP face.
    pub allowed_origins: Vec<String>,
    /// Addresses whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<std::net::IpAddr>,
    /// Largest request body, bytes.
    pub max_body: usize,
    /// Largest upstream message, bytes.
    pub max_result: usize,
    /// How long the stream of a legacy client is kept while nobody reads it; nought: never.
    pub resume_window: Duration,
    /// Bytes kept of the streams of one legacy session.
    pub resume_buffer: usize,
    /// How long running calls have at shutdown.
    pub shutdown_grace: Duration,
    /// Most resources that one session or stream hears of.
    pub max_subscriptions: u32,
    /// Most streams that one agent has open to hear of changes.
    pub max_streams_per_agent: u32,
    /// Most cancellations of one legacy session that are kept for requests that come after them.
    pub max_early_cancellations: u32,
    /// How long a stream of HTTP+SSE may be open before its client says `initialize`.
    pub sse_initialize_within: Duration,
    /// Most unanswered requests of one such stream.
    pub max_sse_requests: u32,
    /// Most rounds in which a modern server asks for input before it answers a legacy client.
    pub max_input_rounds: u32,
    /// How long a question of a server that belongs to no request waits for a client to listen.
    pub question_wait: Duration,
    /// Most questions that wait for one client's own stream.
    pub max_questions: u32,
    /// Most approvals of one export.
    pub max_export: u32,
}

/// `[database]`
#[derive(Debug, Clone)]
pub struct Database {
    /// `sqlite:PATH` (already relative to the configuration file) or `postgres://…`.
    pub url: Secret,
}

/// `[approvals]`
#[derive(Debug, Clone)]
pub struct Approvals {
    /// How long reviewers have.
    pub timeout: Duration,
    /// Longest hold without a progress token.
    pub hold: Duration,
    /// Longest hold with one.
    pub hold_with_progress: Duration,
    /// Time between signs of life while held.
    pub heartbeat: Duration,
    /// How long an approved call waits for its agent.
    pub claim_window: Duration,
    /// How long a rejection is repeated.
    pub cooldown: Duration,
    /// How long an end nobody was told of is owed.
    pub result_retention: Duration,
    /// Largest kept outcome, bytes.
    pub max_outcome: usize,
    /// Largest arguments of a call that needs approval, bytes.
    pub max_arguments: usize,
    /// Pending and approved together, per agent.
    pub max_pending_per_agent: u32,
    /// Pending and approved together, of all.
    pub max_pending: u32,
    /// New approvals per agent: at most `max` per `window`.
    pub max_new_per_agent: NewPerAgent,
    /// Held requests per agent.
    pub max_held_per_agent: u32,
    /// Most rounds of a modern client that waits after it was sent to a page.
    pub page_rounds: u32,
    /// How often a client that follows a call as a task should look.
    pub task_poll_interval: Duration,
    /// Living tasks per agent.
    pub max_tasks_per_agent: u32,
    /// Open grants per agent.
    pub max_grants_per_agent: u32,
    /// How surely a decision must come from the reviewer, where the rule does not say.
    pub assurance: Assurance,
    /// One reminder this long before expiry.
    pub reminder: Option<Duration>,
    /// How long ended approvals are kept.
    pub history_retention: Duration,
}

/// At most `max` new approvals per sliding `window`.
#[derive(Debug, Clone, Copy)]
pub struct NewPerAgent {
    /// Approvals.
    pub max: u32,
    /// Length of the window.
    pub window: Duration,
}

/// When allowed calls are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditCalls {
    /// In groups, behind the call.
    Group,
    /// Before the call.
    Strict,
    /// Not at all.
    Off,
}

/// `[audit]`
#[derive(Debug, Clone)]
pub struct Audit {
    /// When allowed calls are recorded.
    pub calls: AuditCalls,
}

/// `[telemetry]`
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// `/metrics` without a token.
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
    /// A session that was not used for so long is over.
    pub session_idle: Duration,
    /// How long a sign-in link is good for.
    pub link_life: Duration,
    /// The window of the three limits below.
    pub sign_in_window: Duration,
    /// Most sign-in mails to one address in a window.
    pub sign_in_mails: u32,
    /// Most requests for a mail from one client address in a window.
    pub sign_in_requests: u32,
    /// Most wrong tokens from one client address in a window.
    pub sign_in_tokens: u32,
    /// Most personal tokens of one person.
    pub max_tokens: u32,
    /// Longest life of one.
    pub max_token_life: Duration,
    /// Most absences of one person that are not over.
    pub max_absences: u32,
    /// Most passkeys of one person.
    pub max_passkeys: u32,
    /// How long the browser may take to use or make one.
    pub passkey_wait: Duration,
}

/// How an upstream is reached.
#[derive(Debug, Clone)]
pub enum Transport {
    /// HTTP.
    Http {
        /// The endpoint.
        url: Url,
        /// Headers sent with every request.
        headers: Vec<(String, Secret)>,
        /// Which of the two transports it speaks.
        kind: HttpKind,
    },
    /// A child process.
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
    /// Find out.
    Auto,
    /// Streamable HTTP, from 2025-03-26 on.
    Streamable,
    /// HTTP+SSE of 2024-11-05: one stream for all answers, and an endpoint for all messages.
    Sse,
}

/// Which era an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// Find out.
    Auto,
    /// `initialize` and sessions.
    Legacy,
    /// 2026-07-28.
    Modern,
}

/// Who shares a connection or child.
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
    /// The policy; none denies everything.
    pub policy: Option<Arc<Policy>>,
    /// The file of the policy, re-read on SIGHUP.
    pub policy_file: Option<PathBuf>,
    /// Since its last message about a call.
    pub timeout: Duration,
    /// What its server may ask of clients.
    pub client_features: Vec<ClientFeature>,
}

/// One `[[agents]]`.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Its name.
    pub name: String,
    /// SHA-256 of its token; none: the anonymous local agent.
    pub token_sha256: Option<[u8; 32]>,
    /// Upstreams it may use; none: all.
    pub upstreams: Option<Vec<String>>,
    /// The reviewer it belongs to.
    pub owner: Option<String>,
    /// Its own longest hold.
    pub hold: Option<Duration>,
    /// Its own longest hold with a progress token.
    pub hold_with_progress: Option<Duration>,
    /// Whether a pending approval is withdrawn when its last client leaves.
    pub withdraw_on_disconnect: bool,
    /// Whether it is offered the tool that waits for an approval by its id.
    pub wait_tool: bool,
    /// Whether its user is sent to the page of a held call, where its client can open one.
    pub url_elicitation: bool,
    /// What servers may ask of its client, besides what each upstream lets pass; none: no limit.
    pub client_features: Option<Vec<ClientFeature>>,
}

/// One `[[reviewers]]`.
#[derive(Debug, Clone)]
pub struct Reviewer {
    /// Their name.
    pub name: String,
    /// Their address.
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
    /// Whether arguments are included.
    pub include_arguments: bool,
}

/// The kinds of notifier.
#[derive(Debug, Clone)]
pub enum NotifierKind {
    /// Mail over SMTP.
    Email {
        /// lettre's URL forms.
        smtp_url: Secret,
        /// The sender, `Name <address>`.
        from: String,
        /// Lists that get a copy.
        to: Vec<String>,
    },
    /// Standard Webhooks.
    Webhook {
        /// Where to.
        url: Url,
        /// `whsec_…` as written, checked; decoding is the notifier's.
        secret: Secret,
        /// Whether loopback, private and link-local addresses are fine.
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
    pub fn agent(&self, name: &str) -> Option<&Agent> {
        self.agents.iter().find(|a| a.name == name)
    }

    /// The reviewer of that name.
    pub fn reviewer(&self, name: &str) -> Option<&Reviewer> {
        self.reviewers.iter().find(|r| r.name == name)
    }

    /// The first e-mail notifier.
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
