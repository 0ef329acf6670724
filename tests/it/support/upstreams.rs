//! Upstreams built as the program builds them, from a configuration made in code.

use std::sync::Arc;
use std::time::Duration;

use placet::clock::{Clock, SystemClock};
use placet::config::{
    Approvals, Audit, AuditCalls, Config, Database, Era, HttpKind, Instances, Masking, NewPerAgent,
    People, Secret, Server, Telemetry, Transport, Upstream as Settings,
};
use placet::upstream::{
    Caller, Notification, Notifications, Reply, Request, Said, Upstream, UpstreamError, build,
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A configuration with these upstreams and nothing else.
pub fn config(upstreams: Vec<Settings>) -> Config {
    let minute = Duration::from_mins(1);
    Config {
        file: None,
        server: Server {
            listen: "127.0.0.1:0".parse().unwrap(),
            public_url: "http://127.0.0.1:8420".parse().unwrap(),
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            max_body: 4 << 20,
            max_result: 1 << 20,
            resume_window: Duration::from_secs(60),
            resume_buffer: 1 << 20,
            shutdown_grace: minute,
            max_subscriptions: 100,
            max_streams_per_agent: 64,
            max_early_cancellations: 32,
            sse_initialize_within: Duration::from_secs(60),
            max_sse_requests: 256,
            max_input_rounds: 8,
            question_wait: Duration::from_secs(3),
            max_questions: 16,
            max_export: 10_000,
        },
        database: Database { url: Secret::new("sqlite::memory:") },
        approvals: Approvals {
            timeout: minute,
            hold: minute,
            hold_with_progress: minute,
            heartbeat: minute,
            claim_window: minute,
            cooldown: minute,
            result_retention: minute,
            max_outcome: 1 << 20,
            max_arguments: 1 << 18,
            max_pending_per_agent: 100,
            max_pending: 1000,
            max_new_per_agent: NewPerAgent { max: 60, window: minute },
            max_held_per_agent: 200,
            page_rounds: 6,
            task_poll_interval: Duration::from_secs(5),
            max_tasks_per_agent: 1000,
            assurance: placet::domain::approval::Assurance::Link,
            max_grants_per_agent: 20,
            reminder: None,
            history_retention: minute,
        },
        audit: Audit { calls: AuditCalls::Group },
        telemetry: Telemetry { public_metrics: false },
        masking: Masking { keys: Vec::new() },
        oidc: None,
        people: People {
            session_idle: Duration::from_hours(12),
            link_life: Duration::from_mins(15),
            sign_in_window: Duration::from_mins(15),
            sign_in_mails: 3,
            sign_in_requests: 20,
            sign_in_tokens: 20,
            max_tokens: 20,
            max_token_life: Duration::from_hours(24 * 365),
            max_absences: 10,
            max_passkeys: 10,
            passkey_wait: Duration::from_secs(120),
        },
        upstreams,
        agents: Vec::new(),
        reviewers: Vec::new(),
        notifiers: Vec::new(),
        implicit_owner: false,
    }
}

/// Settings of an upstream named `u` with a timeout of ten seconds.
pub fn settings(transport: Transport) -> Settings {
    Settings {
        name: "u".to_owned(),
        transport,
        target: Vec::new(),
        era: Era::Auto,
        instances: Instances::Agent,
        policy: None,
        policy_file: None,
        timeout: Duration::from_secs(10),
        client_features: placet::domain::client_feature::ClientFeature::DEFAULT.to_vec(),
    }
}

/// Settings of an HTTP upstream.
pub fn http(url: &str) -> Settings {
    let headers = vec![("x-own".to_owned(), Secret::new("mine"))];
    settings(Transport::Http { url: url.parse().unwrap(), headers, kind: HttpKind::Auto })
}

/// Settings of a child process that runs the fake server in this mode.
pub fn child(mode: &str) -> Settings {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/fake_stdio.py");
    settings(Transport::Stdio {
        command: ["python3", "-u", script, mode].map(str::to_owned).to_vec(),
        env: vec![("OWN".to_owned(), Secret::new("mine"))],
        cwd: None,
    })
}

/// One built upstream.
pub struct Built {
    pub upstream: Arc<dyn Upstream>,
    pub tracker: TaskTracker,
}

/// Builds one upstream.
pub fn built(settings: Settings) -> Built {
    built_at(settings, Arc::new(SystemClock))
}

/// Builds one upstream that tells the time by this clock.
pub fn built_at<C: Clock + 'static>(settings: Settings, clock: Arc<C>) -> Built {
    let clock: Arc<dyn Clock> = clock;
    // Another test may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let tracker = TaskTracker::new();
    let mut all = build(&config(vec![settings]), &clock, &tracker);
    Built { upstream: all.remove("u").unwrap(), tracker }
}

/// The caller of most tests.
pub fn ana() -> Caller {
    Caller::new("ana", None)
}

/// What was said, which is no question.
pub fn said(said: Said) -> Notification {
    match said {
        Said::Notification(note) => note,
        Said::Asked(asked) => panic!("asked {}", asked.method),
    }
}

/// A call of tool `t` with these raw arguments.
pub fn call(arguments: &str, once: bool) -> Request {
    let params = Some(format!(r#"{{"name":"t","arguments":{arguments}}}"#));
    Request { once, ..Request::new("tools/call", params) }
}

impl Built {
    /// Calls tool `t`.
    pub async fn call(&self, once: bool) -> Result<Reply, UpstreamError> {
        self.send(call("{}", once), None).await
    }

    /// Sends one request that nobody cancels.
    pub async fn send(
        &self,
        request: Request,
        notifications: Option<Notifications>,
    ) -> Result<Reply, UpstreamError> {
        self.upstream.request(&ana(), request, notifications, CancellationToken::new()).await
    }

    /// Ends it and waits for everything it started.
    pub async fn end(self) {
        self.upstream.shutdown().await;
        self.tracker.close();
        let done = tokio::time::timeout(Duration::from_secs(15), self.tracker.wait()).await;
        done.expect("nothing runs on after the shutdown");
    }
}

/// Waits until `what` gives something, at most ten seconds.
pub async fn eventually<T>(what: impl AsyncFn() -> Option<T>) -> T {
    for _ in 0..1000 {
        if let Some(value) = what().await {
            return value;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not happen within ten seconds");
}

pub fn is_lost(answer: &Result<Reply, UpstreamError>) -> bool {
    matches!(answer, Err(UpstreamError::Lost(_)))
}

pub fn is_not_sent(answer: &Result<Reply, UpstreamError>) -> bool {
    matches!(answer, Err(UpstreamError::NotSent(_)))
}
