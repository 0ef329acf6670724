//! Upstreams built as the program builds them, from what a user would write of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use placet::clock::{Clock, ManualClock, SystemClock};
use placet::config::{Config, Environment};
use placet::domain::time::Timestamp;
use placet::upstream::{
    Caller, Gate, Leave, Notification, Notifications, Reply, Request, ServerMessage, Upstream,
    UpstreamError, build,
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::fixtures::config_of;
use super::found;

/// An HTTP upstream; further lines of its table may follow.
pub fn http(url: &str) -> String {
    format!("url = \"{url}\"\nheaders.x-own = \"mine\"\n")
}

/// A child process that runs the fake server in this mode; further lines may follow.
pub fn child(mode: &str) -> String {
    child_with(&[mode])
}

/// The same with more arguments.
pub fn child_with(arguments: &[&str]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/fake_stdio.py");
    let command = [&["python3", "-u", script], arguments].concat();
    format!("command = {command:?}\nenv.OWN = \"mine\"\n")
}

/// The configuration with that upstream, named `u`, and nothing else.
pub fn config(upstream: &str) -> Config {
    let text = format!("[server]\nmax_result = \"1MiB\"\n[[upstreams]]\nname = \"u\"\n{upstream}");
    let environment = [("THING".to_owned(), "from-the-environment".to_owned())];
    config_of(&text, None, &Environment::from(environment))
}

/// One built upstream.
pub struct Built {
    pub upstream: Arc<dyn Upstream>,
    pub tracker: TaskTracker,
}

/// Builds one upstream from these lines.
pub fn built(lines: impl AsRef<str>) -> Built {
    built_at(lines, Arc::new(SystemClock))
}

/// Builds one upstream that tells the time by this clock.
pub fn built_at<C: Clock + 'static>(lines: impl AsRef<str>, clock: Arc<C>) -> Built {
    let clock: Arc<dyn Clock> = clock;
    // Another test may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let tracker = TaskTracker::new();
    let mut all = build(&config(lines.as_ref()), &clock, &tracker);
    Built { upstream: all.remove("u").unwrap(), tracker }
}

/// The caller of most tests.
pub fn ana() -> Caller {
    Caller::new("ana", None)
}

/// A gate that does as it is told, and counts who comes.
#[derive(Debug)]
pub struct TestGate {
    clock: Arc<ManualClock>,
    /// How long the process stands still after it has its leave; none: it gets none.
    sleep: Option<Duration>,
    asked: AtomicUsize,
}

impl TestGate {
    /// One that lets through, and then has the process sleep so long.
    pub fn passed_then(sleep: Duration) -> Arc<Self> {
        Self::new(Some(sleep))
    }

    /// One that lets nothing through.
    pub fn shut() -> Arc<Self> {
        Self::new(None)
    }

    fn new(sleep: Option<Duration>) -> Arc<Self> {
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
        Arc::new(Self { clock, sleep, asked: AtomicUsize::new(0) })
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// An approved call of tool `t` that must pass it.
    pub fn call(self: &Arc<Self>, arguments: &str) -> Request {
        let gate: Arc<dyn Gate> = Arc::clone(self) as _;
        Request { gate: Some(gate), ..call(arguments, true) }
    }
}

#[async_trait::async_trait]
impl Gate for TestGate {
    async fn pass(&self) -> Result<Leave, String> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        let leave = Leave::new(clock, Duration::from_secs(5));
        let sleep = self.sleep.ok_or_else(|| "the gate is shut".to_owned())?;
        self.clock.advance(sleep);
        Ok(leave)
    }
}

/// What was said, which is no question.
pub fn said(said: ServerMessage) -> Notification {
    match said {
        ServerMessage::Notification(note) => *note,
        ServerMessage::Request(asked) => panic!("asked {}", asked.method),
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

/// What `look` finds, once it does.
pub async fn eventually<T>(look: impl AsyncFn() -> Option<T>) -> T {
    found("what the test waits for", look).await
}

pub fn is_lost(answer: &Result<Reply, UpstreamError>) -> bool {
    matches!(answer, Err(UpstreamError::Lost(_)))
}

pub fn is_not_sent(answer: &Result<Reply, UpstreamError>) -> bool {
    matches!(answer, Err(UpstreamError::NotSent(_)))
}
