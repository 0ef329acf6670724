//! The one place where the contact with an upstream is written down: by every connection, whoever
//! uses it, with its time. It knows the secrets of the upstream and keeps them out of what servers
//! and the connections themselves say.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::message::readable;
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Transport};
use crate::domain::json::{self, Node};
use crate::domain::upstream_health::{ListKind, Trouble, UpstreamHealth};

/// Characters of the shortest value that counts as a secret; a shorter one is found in other words.
const SHORTEST_SECRET: usize = 4;
/// What stands in place of a secret.
const MASK: &str = "‹masked›";

/// What one upstream's connections wrote down.
pub(super) struct HealthLog {
    clock: Arc<dyn Clock>,
    /// Values that are never written down, longest first.
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
    /// The log of the upstream of these settings.
    pub(super) fn new(settings: &config::Upstream, clock: Arc<dyn Clock>) -> Self {
        Self { clock, secrets: secrets_of(settings), ..Self::default() }
    }

    fn health(&self) -> MutexGuard<'_, UpstreamHealth> {
        self.health.lock().expect("no holder of this lock panics")
    }

    /// The health as it stands.
    pub(super) fn read(&self) -> UpstreamHealth {
        self.health().clone()
    }

    /// Whether a connection is being opened.
    pub(super) fn is_opening(&self) -> bool {
        self.opening.load(Ordering::Relaxed) > 0
    }

    /// Notes that a connection is being opened, until the guard is dropped.
    pub(super) fn opening(&self) -> Opening<'_> {
        self.opening.fetch_add(1, Ordering::Relaxed);
        Opening(&self.opening)
    }

    /// Notes that the server answered.
    pub(super) fn answered(&self) {
        let now = self.clock.now();
        self.health().answered(now);
    }

    /// Notes what went wrong, its secrets masked.
    pub(super) fn failed(&self, trouble: Trouble, text: &str) {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), MASK);
            }
        }
        let now = self.clock.now();
        self.health().failed(trouble, &text, now);
    }

    /// Notes that the list of tools was read.
    pub(super) fn listed_tools(&self, count: usize) {
        let now = self.clock.now();
        self.health().listed_tools(count, now);
    }

    /// Notes that a page (raw JSON) of another list passed; `member` holds its entries.
    pub(super) fn listed(&self, kind: ListKind, member: &str, params: Option<&str>, page: &str) {
        let asked = params.and_then(|p| json::parse(p).ok());
        let cursor = asked.as_ref().and_then(|p| p.get("cursor")).map(|c| c.raw);
        let page = readable(page);
        let Ok(page) = json::parse(&page) else { return };
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
