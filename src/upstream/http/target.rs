//! The address of a server, and the HTTP clients that reach it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::Client;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;
use url::Url;

use super::once::{Once, USER_AGENT};
use crate::config::{HttpKind, Secret};
use crate::protocol::header_name;

/// How long DNS, TCP and TLS may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle connection is kept: shorter than servers keep theirs.
pub(super) const IDLE_CONNECTION: Duration = Duration::from_secs(4);
/// How long no connection is kept after one turned out to be dead, at first; doubled each time.
const UNKEPT_FIRST: Duration = Duration::from_mins(1);
/// The longest time that none is kept.
const UNKEPT_LONGEST: Duration = Duration::from_hours(1);
/// Idle connections kept per upstream.
const MAX_IDLE: usize = 32;

pub(super) const SESSION_ID: HeaderName = HeaderName::from_static(header_name::SESSION_ID);
pub(super) const PROTOCOL_VERSION: HeaderName =
    HeaderName::from_static(header_name::PROTOCOL_VERSION);

/// The server's address and headers, and the HTTP clients that reach it.
pub(in crate::upstream) struct Target {
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) kind: HttpKind,
    /// The server was found to speak HTTP+SSE.
    pub(super) found_sse: AtomicBool,
    pub(super) pooled: Client,
    /// Opens a connection for every request, where a kept one was half dead.
    pub(super) single: Client,
    /// What sends approved calls.
    pub(super) once: Once,
    /// Whether the server closes connections that it seems to keep.
    unkept: Mutex<Unkept>,
    /// The server has answered a ping, so that a refused one says something.
    pub(super) answers_pings: AtomicBool,
}

impl Target {
    pub(crate) fn new(
        url: &Url,
        headers: &[(String, Secret)],
        kind: HttpKind,
        timeout: Duration,
    ) -> Self {
        let connect_timeout = CONNECT_TIMEOUT.min(timeout / 2);
        let headers = headers
            .iter()
            .filter_map(|(name, value)| {
                let name = HeaderName::from_bytes(name.as_bytes()).ok();
                let value = HeaderValue::from_str(value.expose()).ok();
                if let (Some(name), Some(mut value)) = (name, value) {
                    value.set_sensitive(true);
                    Some((name, value))
                } else {
                    // The configuration's reader has checked them; a name is no secret.
                    tracing::error!("an upstream header that can't be sent was left out");
                    None
                }
            })
            .collect();
        Self {
            url: url.clone(),
            headers,
            kind,
            found_sse: AtomicBool::new(false),
            pooled: client(MAX_IDLE, connect_timeout),
            single: client(0, connect_timeout),
            once: Once::new(connect_timeout),
            unkept: Mutex::default(),
            answers_pings: AtomicBool::new(false),
        }
    }

    /// The client for what may be sent again, or be lost.
    pub(super) fn usual(&self) -> &Client {
        if self.keeps_none() { &self.single } else { &self.pooled }
    }

    /// Whether the server was found, not long ago, to close connections right after an answer without
    /// saying so.
    pub(super) fn keeps_none(&self) -> bool {
        let unkept = self.unkept.lock().expect("no holder of this lock panics");
        unkept.is_at(Instant::now())
    }

    /// Notes that a kept connection was dead when it was used: none is kept for a while. It may have
    /// been one restart of the server, or what it always does.
    pub(super) fn keep_none(&self) {
        self.unkept.lock().expect("no holder of this lock panics").found_dead(Instant::now());
    }

    /// Whether the server speaks HTTP+SSE, as far as is known.
    pub(crate) fn is_sse(&self) -> bool {
        self.kind == HttpKind::Sse || self.found_sse.load(Ordering::Relaxed)
    }
}

/// For how long no connection is kept.
#[derive(Debug, Default)]
struct Unkept {
    until: Option<Instant>,
    /// How long it was the last time.
    pause: Duration,
}

impl Unkept {
    fn is_at(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    fn found_dead(&mut self, now: Instant) {
        let is_again = self.until.is_some_and(|until| now < until + UNKEPT_LONGEST);
        self.pause = match is_again {
            true => (self.pause * 2).min(UNKEPT_LONGEST),
            false => UNKEPT_FIRST,
        };
        self.until = Some(now + self.pause);
    }
}

/// A client that keeps at most `kept` idle connections.
fn client(kept: usize, connect_timeout: Duration) -> Client {
    let settings = || {
        Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .connect_timeout(connect_timeout)
            .pool_idle_timeout(IDLE_CONNECTION)
            .pool_max_idle_per_host(kept)
            .user_agent(USER_AGENT)
    };
    settings().build().unwrap_or_else(|error| {
        // A machine without any certificates can still talk plain HTTP; TLS then fails to verify,
        // before anything is sent.
        tracing::warn!("no certificates to trust, https upstreams can't be reached: {error}");
        without_certificates(settings())
    })
}

fn without_certificates(settings: reqwest::ClientBuilder) -> Client {
    settings.tls_certs_only([]).build().expect("a client that trusts nobody can be built")
}

/// What every request asks for: an answer that is not compressed. Without a word any compression
/// is allowed (<https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3>), and none is read here.
pub(super) const UNCOMPRESSED: HeaderValue = HeaderValue::from_static("identity");

/// The headers of every POST.
pub(super) fn post_headers(target: &Target, more: HeaderMap) -> HeaderMap {
    let mut headers = target.headers.clone();
    // `extend` would append; ours replace what the configuration may say.
    let own = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (ACCEPT, HeaderValue::from_static("application/json, text/event-stream")),
        (ACCEPT_ENCODING, UNCOMPRESSED),
    ];
    for (name, value) in own {
        headers.insert(name, value);
    }
    for (name, value) in more {
        if let Some(name) = name {
            headers.insert(name, value);
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_dead_connection_switches_keeping_them_off_for_a_while_that_grows() {
        let (mut unkept, mut now) = (Unkept::default(), Instant::now());
        assert!(!unkept.is_at(now));

        for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
            unkept.found_dead(now);
            now += Duration::from_secs(60 * minutes - 1);
            assert!(unkept.is_at(now), "{minutes} min");
            now += Duration::from_secs(1);
            assert!(!unkept.is_at(now), "{minutes} min");
        }
        now += UNKEPT_LONGEST;
        unkept.found_dead(now);
        assert!(!unkept.is_at(now + UNKEPT_FIRST), "after a long time it is the first one again");
    }

    #[test]
    fn a_client_can_be_built_where_no_certificates_are_installed() {
        // Another test may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();

        without_certificates(Client::builder());
    }
}
