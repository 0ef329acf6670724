//! `[[upstreams]]`: where each is, what it gets, and its policy.

use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use toml::{Table, Value};
use url::Url;

use super::policies::{self, LoadedPolicy};
use super::reader::{Section, Show};
use super::sections::required_name;
use super::{Era, HttpKind, Instances, Secret, Transport, Upstream, value};
use crate::domain::client_feature::ClientFeature;
use crate::protocol::header_name;

/// How long an upstream may be silent about a call, unless set.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_mins(10);

/// Most connections or child processes of one agent, unless set.
pub(super) const DEFAULT_MAX_INSTANCES_PER_AGENT: u32 = 16;
/// How long a connection or child process stays that nobody uses, unless set.
pub(super) const DEFAULT_INSTANCE_IDLE: Duration = Duration::from_mins(30);

/// How long one stays once all its sessions have ended, unless set.
pub(super) const DEFAULT_INSTANCE_LINGER: Duration = Duration::from_secs(10);
/// How long a handshake may take, unless set.
pub(super) const DEFAULT_HANDSHAKE_TIMEOUT: Duration = Duration::from_mins(1);
/// The first wait before a server is tried again, unless set.
pub(super) const DEFAULT_RETRY_PAUSE: Duration = Duration::from_millis(250);
/// The longest such wait, unless set.
pub(super) const DEFAULT_MAX_RETRY_PAUSE: Duration = Duration::from_secs(30);
/// Most children that are started for one request, unless set.
pub(super) const DEFAULT_MAX_CHILD_STARTS: u32 = 1_000;

/// Headers that can't be configured: those of one hop, and those that Placet or the agent sets.
///
/// <https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1>
const REFUSED_HEADERS: [&str; 12] = [
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "keep-alive",
    header_name::SESSION_ID,
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// One upstream and what is known of its policy.
#[derive(Debug)]
pub(super) struct Read {
    /// Its dotted path in the configuration, as in `upstreams[0]`.
    pub path: String,
    /// The upstream itself.
    pub upstream: Upstream,
    /// Its policy with its place; none also where reading it found an error.
    pub policy: Option<LoadedPolicy>,
    /// Whether it is meant to have one.
    pub has_policy: bool,
}

/// Reads one entry; something harmless stands in where a value is a problem.
pub(super) fn read(s: &Section<'_>) -> Read {
    let name = required_name(s, value::upstream_name).unwrap_or_default();
    let url = s.parsed("url", Show::Nothing, endpoint);
    let command = s.list("command", |text| Ok(text.to_owned()));
    let headers = pairs(s, "headers", header);
    let env = pairs(s, "env", variable);
    let cwd = s.text("cwd").map(|path| s.reader.resolve(&path));
    let (by_url, by_command) = (s.is_given("url"), s.is_given("command"));
    match (by_url, by_command) {
        (true, true) => s.reader.error(s.at("url"), "url and command exclude each other"),
        (false, false) => {
            s.reader.error(s.at("url"), "is missing; give a url or a command");
        }
        (true, false) => only_with(s, &["env", "cwd", "max_child_starts"], "command"),
        (false, true) => only_with(s, &["headers", "transport"], "url"),
    }
    if by_command && command.as_ref().is_some_and(|c| c.first().is_none_or(String::is_empty)) {
        s.reader.error(
            s.at("command"),
            "expected a program and its arguments, as in [\"npx\", \
                                         \"-y\", \"some-server\"]",
        );
    }
    let kinds =
        [("auto", HttpKind::Auto), ("streamable", HttpKind::Streamable), ("sse", HttpKind::Sse)];
    let kind = s.word("transport", &kinds).unwrap_or(HttpKind::Auto);
    let transport = match url {
        Some(url) => Transport::Http { url, headers, kind },
        None => Transport::Stdio { command: program(s, command.unwrap_or_default()), env, cwd },
    };
    let era = [("auto", Era::Auto), ("legacy", Era::Legacy), ("modern", Era::Modern)];
    let instances = [
        ("agent", Instances::Agent),
        ("session", Instances::Session),
        ("shared", Instances::Shared),
    ];
    let era = s.word("era", &era).unwrap_or(Era::Auto);
    if (kind, era) == (HttpKind::Sse, Era::Modern) {
        s.reader.error(
            s.at("transport"),
            "HTTP+SSE has no modern era; remove era = \"modern\", or this",
        );
    }
    let policy = policies::load(s);
    let upstream = Upstream {
        name,
        transport,
        target: written(s),
        era,
        instances: s.word("instances", &instances).unwrap_or(Instances::Agent),
        max_instances_per_agent: s
            .count("max_instances_per_agent")
            .unwrap_or(DEFAULT_MAX_INSTANCES_PER_AGENT),
        instance_idle: s.positive("instance_idle").unwrap_or(DEFAULT_INSTANCE_IDLE),
        instance_linger: s.duration("instance_linger").unwrap_or(DEFAULT_INSTANCE_LINGER),
        handshake_timeout: s.positive("handshake_timeout").unwrap_or(DEFAULT_HANDSHAKE_TIMEOUT),
        retry_pause: s.positive("retry_pause").unwrap_or(DEFAULT_RETRY_PAUSE),
        max_retry_pause: s.positive("max_retry_pause").unwrap_or(DEFAULT_MAX_RETRY_PAUSE),
        max_child_starts: s.count("max_child_starts").unwrap_or(DEFAULT_MAX_CHILD_STARTS),
        policy: policy.as_ref().map(|p| p.policy.clone()),
        policy_place: policy.as_ref().map(|p| p.place.clone()),
        policy_file: policy.as_ref().and_then(|p| p.path.clone()),
        timeout: s.positive("timeout").unwrap_or(DEFAULT_TIMEOUT),
        trust_annotations: s.flag("trust_annotations").unwrap_or(false),
        client_features: client_features(s).unwrap_or_else(|| ClientFeature::DEFAULT.to_vec()),
    };
    s.finish();
    Read { path: s.path.clone(), upstream, policy, has_policy: s.is_given("policy") }
}

/// What servers may ask of clients, of an upstream or of an agent.
pub(super) fn client_features(s: &Section<'_>) -> Option<Vec<ClientFeature>> {
    s.list("client_features", |text| {
        let known = ClientFeature::ALL.iter().find(|f| f.as_str() == text);
        known.copied().ok_or_else(|| {
            let words: Vec<&str> = ClientFeature::ALL.iter().map(|f| f.as_str()).collect();
            format!("expected one of {}", words.join(", "))
        })
    })
}

fn endpoint(text: &str) -> Result<Url, String> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| {
            "expected an http:// or https:// address, as in http://127.0.0.1:9100/mcp".to_owned()
        })
}

/// The address or command as the file has it.
fn written(s: &Section<'_>) -> Vec<String> {
    match s.raw("url").or_else(|| s.raw("command")) {
        Some(Value::String(url)) => vec![url.clone()],
        Some(Value::Array(words)) => {
            words.iter().map(|w| w.as_str().unwrap_or_default().to_owned()).collect()
        }
        _ => Vec::new(),
    }
}

fn only_with(s: &Section<'_>, keys: &[&'static str], other: &str) {
    for key in keys {
        if s.is_given(key) {
            s.reader.error(s.at(key), format!("only goes with {other}; remove it"));
        }
    }
}

/// Resolves the program of a command: a relative path is below the configuration file, a bare name
/// is looked up in `PATH`.
fn program(s: &Section<'_>, mut command: Vec<String>) -> Vec<String> {
    if let Some(first) = command.first_mut()
        && first.contains('/')
    {
        *first = s.reader.resolve(first).display().to_string();
    }
    command
}

fn pairs(
    s: &Section<'_>,
    key: &'static str,
    check: fn(&str, &str) -> Result<(), String>,
) -> Vec<(String, Secret)> {
    let mut pairs = Vec::new();
    for (name, value) in s.free_table(key).into_iter().flat_map(Table::iter) {
        let path = format!("{}.{name}", s.at(key));
        let Value::String(text) = value else {
            let message = format!("expected a string in quotes, found {}", value::kind(value));
            s.reader.error(path, message);
            continue;
        };
        let Some(text) = s.reader.expand(&path, text) else { continue };
        match check(name, &text) {
            Ok(()) => pairs.push((name.clone(), Secret::new(text))),
            Err(message) => s.reader.error(path, message),
        }
    }
    pairs
}

fn header(name: &str, text: &str) -> Result<(), String> {
    let known = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| "is not the name of a header".to_owned())?;
    if REFUSED_HEADERS.contains(&known.as_str()) {
        return Err("is set by the connection itself; remove it".to_owned());
    }
    HeaderValue::from_str(text)
        .map(drop)
        .map_err(|_| "holds characters that a header can't hold, such as a line break".to_owned())
}

fn variable(name: &str, text: &str) -> Result<(), String> {
    if name.is_empty() || name.contains(['=', '\0']) || text.contains('\0') {
        return Err("is not a variable that a process can get".to_owned());
    }
    Ok(())
}
