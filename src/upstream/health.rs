//! The one place where the contact with an upstream is written down: by every connection, whoever
//! uses it, with its time. It knows the secrets of the upstream and keeps them out of what servers
//! and the connections themselves say.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::hub::Common;
use super::registry::Link;
use super::{Notifications, Reply, Request, ServerFacts, UpstreamError};
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Transport};
use crate::domain::json::{self, Node};
use crate::domain::upstream_health::{ListKind, Trouble, UpstreamHealth};

/// A shorter value is no secret, and would be found in every other word.
const SHORTEST_SECRET: usize = 4;
/// What stands in place of a secret.
const MASK: &str = "‹masked›";

/// What one upstream's connections wrote down.
pub(super) struct HealthLog {
    clock: Arc<dyn Clock>,
    /// Never written down, longest first.
    secrets: Vec<String>,
    health: Mutex<UpstreamHealth>,
    opening: AtomicUsize,
}

impl Default for HealthLog {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            secrets: Vec::new(),
            health: Mutex::default(),
            opening: AtomicUsize::new(0),
        }
    }
}

/// A connection is being opened for as long as this lives.
pub(super) struct Opening<'j>(&'j AtomicUsize);

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl HealthLog {
    /// For the upstream of these settings.
    pub fn new(settings: &config::Upstream, clock: Arc<dyn Clock>) -> Self {
        Self { clock, secrets: secrets_of(settings), ..Self::default() }
    }

    fn health(&self) -> MutexGuard<'_, UpstreamHealth> {
        self.health.lock().expect("no holder of this lock panics")
    }

    /// As it stands.
    pub fn read(&self) -> UpstreamHealth {
        self.health().clone()
    }

    /// Whether a connection is being opened.
    pub fn is_opening(&self) -> bool {
        self.opening.load(Ordering::Relaxed) > 0
    }

    /// A connection is being opened.
    pub fn opening(&self) -> Opening<'_> {
        self.opening.fetch_add(1, Ordering::Relaxed);
        Opening(&self.opening)
    }

    /// The server answered.
    pub fn answered(&self) {
        let now = self.clock.now();
        self.health().answered(now);
    }

    /// Something went wrong.
    pub fn failed(&self, trouble: Trouble, text: &str) {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), MASK);
            }
        }
        let now = self.clock.now();
        self.health().failed(trouble, &text, now);
    }

    /// The tools were read.
    pub fn listed_tools(&self, count: usize) {
        let now = self.clock.now();
        self.health().listed_tools(count, now);
    }

    /// A page of another list passed.
    fn listed(&self, kind: ListKind, member: &str, params: Option<&str>, page: &str) {
        let asked = params.and_then(|p| json::parse(p).ok());
        let cursor = asked.as_ref().and_then(|p| p.get("cursor")).map(|c| c.raw);
        let Ok(page) = json::parse(page) else { return };
        let Some(entries) = page.get(member).and_then(Node::elements) else { return };
        let next = page.get("nextCursor").filter(|c| c.as_str().is_some());
        let next = next.map(|c| c.raw.to_owned());
        let now = self.clock.now();
        self.health().listed(kind, cursor, entries.len(), next, now);
    }
}

/// What the configuration sends to the upstream and nobody else may read.
fn secrets_of(settings: &config::Upstream) -> Vec<String> {
    let mut secrets: Vec<String> = Vec::new();
    let pairs = match &settings.transport {
        Transport::Http { url, headers, .. } => {
            secrets.extend(url.password().map(str::to_owned));
            secrets.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
            headers
        }
        Transport::Stdio { command, env, .. } => {
            let written = command.iter().zip(&settings.target);
            let given = written.filter(|(now, then)| now != then && then.contains("${"));
            secrets.extend(given.map(|(now, _)| now.clone()));
            env
        }
    };
    for (_, value) in pairs {
        let value = value.expose();
        secrets.push(value.to_owned());
        // `Bearer abc` gives away as much without its first word.
        secrets.extend(value.split_once(' ').map(|(_, rest)| rest.trim().to_owned()));
    }
    secrets.retain(|secret| secret.chars().count() >= SHORTEST_SECRET);
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

/// A connection whose every outcome is written down.
pub(super) struct Recorded {
    link: Arc<dyn Link>,
    common: Arc<Common>,
}

impl Recorded {
    pub fn new(link: Arc<dyn Link>, common: &Arc<Common>) -> Arc<Self> {
        Arc::new(Self { link, common: Arc::clone(common) })
    }

    fn failed(&self, error: &UpstreamError) {
        // That we are leaving is no fault of the server's.
        if self.common.stop.is_cancelled() {
            return;
        }
        match error {
            UpstreamError::NotSent(why) => self.common.health.failed(Trouble::NotSent, why),
            UpstreamError::Lost(why) => self.common.health.failed(Trouble::Lost, why),
            UpstreamError::Cancelled => {}
        }
    }
}

#[async_trait]
impl Link for Recorded {
    async fn request(
        &self,
        request: Request,
        notifications: Option<Notifications>,
        cancel: CancellationToken,
    ) -> Result<Reply, UpstreamError> {
        let list = ListKind::of_method(&request.method).map(|list| (list, request.params.clone()));
        let answer = self.link.request(request, notifications, cancel.clone()).await;
        match &answer {
            Ok(reply) => {
                self.common.health.answered();
                if let (Reply::Result(page), Some(((kind, member), params))) = (reply, list) {
                    self.common.health.listed(kind, member, params.as_deref(), page);
                }
            }
            // What was cancelled says nothing about the server.
            Err(_) if cancel.is_cancelled() => {}
            Err(error) => self.failed(error),
        }
        answer
    }

    async fn notify(&self, method: &str, params: Option<&str>) {
        self.link.notify(method, params).await;
    }

    async fn connect(&self) -> Result<ServerFacts, UpstreamError> {
        // What is connected already is not asked; a handshake is written down where it is made.
        self.link.connect().await.inspect_err(|error| self.failed(error))
    }

    fn is_live(&self) -> bool {
        self.link.is_live()
    }

    fn is_http(&self) -> bool {
        self.link.is_http()
    }

    async fn lost(&self) {
        self.link.lost().await;
    }

    async fn close(&self) {
        self.link.close().await;
    }
}
