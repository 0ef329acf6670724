//! The single tables: `[server]`, `[database]`, `[approvals]`, `[audit]`, `[telemetry]`,
//! `[masking]`, `[people]`.
//!
//! Where a value is a problem, something harmless stands in for it, so that the rest is still
//! checked; such a configuration is never handed out.

use std::net::{Ipv4Addr, SocketAddr};

use url::{Position, Url};

use crate::domain::approval::Assurance;

use super::reader::{Section, Show};
use super::{
    Approvals, Audit, AuditCalls, Database, Masking, NewPerAgent, People, Secret, Server,
    Telemetry, secret,
};

/// Reads `[server]`.
pub(super) fn server(s: &Section<'_>) -> Server {
    let listen = s
        .parsed("listen", Show::Value, |text| {
            text.parse::<SocketAddr>().map_err(|_| {
                "expected an address and a port, as in 127.0.0.1:8420 or [::1]:8420".to_owned()
            })
        })
        .unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into());
    let public_url = s.parsed("public_url", Show::Value, public_url).unwrap_or_else(|| {
        if listen.ip().is_unspecified() && !s.is_given("public_url") {
            s.reader.warn(
                s.at("public_url"),
                format!("is not set: links sent to people will lead to http://{listen}; set it"),
            );
        }
        Url::parse(&format!("http://{listen}")).expect("a socket address is a host and a port")
    });
    let server = Server {
        listen,
        public_url,
        allowed_hosts: s.list("allowed_hosts", host).unwrap_or_default(),
        allowed_origins: s.list("allowed_origins", origin).unwrap_or_default(),
        trusted_proxies: s
            .list("trusted_proxies", |text| {
                text.parse().map_err(|_| "expected an IP address, as in 10.0.0.1".to_owned())
            })
            .unwrap_or_default(),
        wrong_tokens: s.count("wrong_tokens").unwrap_or_default(),
        wrong_token_window: s.positive("wrong_token_window").unwrap_or_default(),
        max_token_addresses: s.count("max_token_addresses").unwrap_or_default(),
        max_body: s.size("max_body").unwrap_or_default(),
        max_message_nodes: s.count("max_message_nodes").unwrap_or_default(),
        max_reading_per_agent: s.size("max_reading_per_agent").unwrap_or_default(),
        max_reading: s.size("max_reading").unwrap_or_default(),
        max_under_way_per_agent: s.size("max_under_way_per_agent").unwrap_or_default(),
        max_under_way: s.size("max_under_way").unwrap_or_default(),
        max_form: s.size("max_form").unwrap_or_default(),
        max_result: s.size("max_result").unwrap_or_default(),
        max_sessions_per_agent: s.count("max_sessions_per_agent").unwrap_or_default(),
        resume_window: s.duration("resume_window").unwrap_or_default(),
        resume_streams: s.count("resume_streams").unwrap_or_default(),
        resume_buffer: s.size("resume_buffer").unwrap_or_default(),
        max_connections: s.count("max_connections"),
        max_connections_per_address: s.count("max_connections_per_address"),
        header_timeout: s.positive("header_timeout").unwrap_or_default(),
        body_timeout: s.positive("body_timeout").unwrap_or_default(),
        idle_timeout: s.positive("idle_timeout").unwrap_or_default(),
        max_headers: s.size("max_headers").unwrap_or_default(),
        shutdown_grace: s.duration("shutdown_grace").unwrap_or_default(),
        max_subscriptions: s.count("max_subscriptions").unwrap_or_default(),
        max_notifications_per_agent: s.count("max_notifications_per_agent").unwrap_or_default(),
        max_streams_per_agent: s.count("max_streams_per_agent").unwrap_or_default(),
        max_early_cancellations: s.count("max_early_cancellations").unwrap_or_default(),
        sse_initialize_within: s.positive("sse_initialize_within").unwrap_or_default(),
        max_sse_requests: s.count("max_sse_requests").unwrap_or_default(),
        max_input_rounds: s.count("max_input_rounds").unwrap_or_default(),
        question_wait: s.positive("question_wait").unwrap_or_default(),
        max_questions: s.count("max_questions").unwrap_or_default(),
        max_list_pages: s.count("max_list_pages").unwrap_or_default(),
        max_list_entries: s.count("max_list_entries").unwrap_or_default(),
        max_export: s.count("max_export").unwrap_or_default(),
    };
    s.finish();
    server
}

/// Reads `[database]`.
pub(super) fn database(s: &Section<'_>) -> Database {
    let url = secret::read(s, secret::URL).and_then(|(key, text)| {
        let url = database_url(s, &text);
        if url.is_none() {
            s.reader.error(
                s.at(key),
                "expected sqlite:PATH or postgres://user:password@host:5432/database",
            );
        }
        url
    });
    let database = Database {
        url: Secret::new(url.unwrap_or_default()),
        statement_timeout: s.positive("statement_timeout").unwrap_or_default(),
        lock_timeout: s.positive("lock_timeout").unwrap_or_default(),
        idle_in_transaction_timeout: s.positive("idle_in_transaction_timeout").unwrap_or_default(),
        connect_timeout: s.positive("connect_timeout").unwrap_or_default(),
        retry_for: s.positive("retry_for").unwrap_or_default(),
        keepalive: s.positive("keepalive").unwrap_or_default(),
        connections: s.count("connections").unwrap_or_default(),
        agent_connections: s.count("agent_connections").unwrap_or_default(),
        max_clock_skew: s.positive("max_clock_skew").unwrap_or_default(),
    };
    s.finish();
    database
}

fn database_url(s: &Section<'_>, text: &str) -> Option<String> {
    if let Some(path) = text.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return match path {
            "" => None,
            ":memory:" => Some(text.to_owned()),
            path => Some(format!("sqlite:{}", s.reader.resolve(path).display())),
        };
    }
    let url = Url::parse(text).ok()?;
    (matches!(url.scheme(), "postgres" | "postgresql") && (url.has_host() || url.query().is_some()))
        .then(|| text.to_owned())
}

/// Reads `[approvals]`.
pub(super) fn approvals(s: &Section<'_>) -> Approvals {
    let per_agent = s.section("max_new_per_agent");
    let max_new_per_agent = NewPerAgent {
        max: per_agent.count("max").unwrap_or_default(),
        window: std::time::Duration::from_secs(
            per_agent.count("window").unwrap_or_default().into(),
        ),
    };
    per_agent.finish();
    let approvals = Approvals {
        timeout: s.positive("timeout").unwrap_or_default(),
        hold: s.duration("hold").unwrap_or_default(),
        hold_with_progress: s.duration("hold_with_progress").unwrap_or_default(),
        heartbeat: s.positive("heartbeat").unwrap_or_default(),
        claim_window: s.positive("claim_window").unwrap_or_default(),
        tool_list_age: s.duration("tool_list_age").unwrap_or_default(),
        cooldown: s.duration("cooldown").unwrap_or_default(),
        result_retention: s.duration("result_retention").unwrap_or_default(),
        max_outcome: s.size("max_outcome").unwrap_or_default(),
        max_arguments: s.size("max_arguments").unwrap_or_default(),
        max_pending_per_agent: s.count("max_pending_per_agent").unwrap_or_default(),
        max_pending: s.count("max_pending").unwrap_or_default(),
        max_submitting: s.count("max_submitting").unwrap_or_default(),
        max_submitting_per_agent: s.count("max_submitting_per_agent").unwrap_or_default(),
        max_new_per_agent,
        max_held_per_agent: s.count("max_held_per_agent").unwrap_or_default(),
        page_rounds: s.count("page_rounds").unwrap_or_default(),
        task_poll_interval: s.positive("task_poll_interval").unwrap_or_default(),
        max_tasks_per_agent: s.count("max_tasks_per_agent").unwrap_or_default(),
        max_grants_per_agent: s.count("max_grants_per_agent").unwrap_or_default(),
        assurance: s
            .word(
                "assurance",
                &[
                    ("link", Assurance::Link),
                    ("session", Assurance::Session),
                    ("passkey", Assurance::Passkey),
                ],
            )
            .unwrap_or_default(),
        reminder: s.positive("reminder"),
        history_retention: s.positive("history_retention").unwrap_or_default(),
    };
    s.finish();
    approvals
}

/// Reads `[audit]`.
pub(super) fn audit(s: &Section<'_>) -> Audit {
    let words =
        [("group", AuditCalls::Group), ("strict", AuditCalls::Strict), ("off", AuditCalls::Off)];
    let audit = Audit {
        calls: s.word("calls", &words).unwrap_or(AuditCalls::Group),
        max_buffered: s.count("max_buffered").unwrap_or_default(),
    };
    s.finish();
    audit
}

/// Reads `[telemetry]`.
pub(super) fn telemetry(s: &Section<'_>) -> Telemetry {
    let telemetry = Telemetry { public_metrics: s.flag("public_metrics").unwrap_or_default() };
    s.unavailable("otlp_endpoint");
    s.finish();
    telemetry
}

/// Reads `[people]`.
pub(super) fn people(s: &Section<'_>) -> People {
    let people = People {
        session_idle: s.positive("session_idle").unwrap_or_default(),
        session_max: s.positive("session_max").unwrap_or_default(),
        link_life: s.positive("link_life").unwrap_or_default(),
        sign_in_link: s.flag("sign_in_link").unwrap_or_default(),
        sign_in_window: s.positive("sign_in_window").unwrap_or_default(),
        sign_in_mails: s.count("sign_in_mails").unwrap_or_default(),
        request_mail_window: s.positive("request_mail_window").unwrap_or_default(),
        request_mails: s.count("request_mails").unwrap_or_default(),
        request_mails_per_agent: s.count("request_mails_per_agent").unwrap_or_default(),
        sign_in_requests: s.count("sign_in_requests").unwrap_or_default(),
        sign_in_tokens: s.count("sign_in_tokens").unwrap_or_default(),
        max_tokens: s.count("max_tokens").unwrap_or_default(),
        max_token_life: s.positive("max_token_life").unwrap_or_default(),
        max_absences: s.count("max_absences").unwrap_or_default(),
        max_passkeys: s.count("max_passkeys").unwrap_or_default(),
        passkey_wait: s.positive("passkey_wait").unwrap_or_default(),
    };
    s.finish();
    people
}

/// Reads `[masking]`.
pub(super) fn masking(s: &Section<'_>) -> Masking {
    let key = |text: &str| match text.trim() {
        "" => Err("expected a key, as in password".to_owned()),
        key => Ok(key.to_lowercase()),
    };
    let masking = Masking { keys: s.list("keys", key).unwrap_or_default() };
    s.finish();
    masking
}

fn public_url(text: &str) -> Result<Url, String> {
    let expected = "expected http:// or https://, a host and perhaps a path, as in \
                    https://placet.example.org";
    let url = Url::parse(text).map_err(|_| expected.to_owned())?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url[Position::AfterPath..].is_empty();
    if plain { Ok(url) } else { Err(expected.to_owned()) }
}

fn host(text: &str) -> Result<String, String> {
    Url::parse(&format!("http://{text}/"))
        .ok()
        .filter(|url| {
            url.path() == "/"
                && url[Position::AfterPath..].is_empty()
                && !text.contains(['/', '@', '?', '#', '\\'])
                && !text.contains(char::is_whitespace)
        })
        .map(|_| text.to_lowercase())
        .ok_or_else(|| {
            let near = if text.contains("://") { "; leave out the scheme" } else { "" };
            format!("expected a host, as in placet.example.org or 10.0.0.1:8420{near}")
        })
}

/// Reads an origin and writes it as browsers send it.
///
/// <https://www.rfc-editor.org/rfc/rfc6454#section-6.2>
fn origin(text: &str) -> Result<String, String> {
    let url = Url::parse(text).ok().filter(Url::has_host);
    let Some(url) = url.filter(|url| {
        url.username().is_empty()
            && url.password().is_none()
            && matches!(&url[Position::BeforePath..], "" | "/")
            && !text.ends_with('/')
    }) else {
        return Err("expected a scheme, a host and perhaps a port, as in \
                    https://app.example.org, without a slash at the end"
            .to_owned());
    };
    // Browsers send it without the default port, in lower case. Other schemes have no such form.
    match url.origin() {
        tuple @ url::Origin::Tuple(..) => Ok(tuple.ascii_serialization()),
        url::Origin::Opaque(_) => Ok(text.to_lowercase()),
    }
}

/// Reads a name that must be given; none where it is missing or wrong, which is noted.
pub(super) fn required_name(
    s: &Section<'_>,
    read: impl FnOnce(&str) -> Result<String, String>,
) -> Option<String> {
    s.require("name", "give it one");
    s.parsed("name", Show::Value, read)
}
