//! The address of a server, and the connections that reach it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;
use url::Url;

use super::super::UpstreamError;
use super::address::{self, Address};
use super::dial::Dialer;
use super::pool::{Over, Pool};
use crate::config::{HttpKind, Secret};
use crate::protocol::header_name;

/// How long DNS, TCP and TLS may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long no connection is kept after one turned out to be dead, at first; doubled each time.
const UNKEPT_FIRST: Duration = Duration::from_mins(1);
/// The longest time that none is kept.
const UNKEPT_LONGEST: Duration = Duration::from_hours(1);

pub(super) const SESSION_ID: HeaderName = HeaderName::from_static(header_name::SESSION_ID);
pub(super) const PROTOCOL_VERSION: HeaderName =
    HeaderName::from_static(header_name::PROTOCOL_VERSION);

/// The server's address and headers, and the connections that reach it.
pub(in crate::upstream) struct Target {
    pub(super) url: Url,
    address: Result<Address, String>,
    /// What every request carries: the configured headers, and what the address says.
    pub(super) headers: HeaderMap,
    /// What every POST carries.
    post_headers: HeaderMap,
    pub(super) kind: HttpKind,
    /// The server was found to speak HTTP+SSE.
    pub(super) found_sse: AtomicBool,
    pub(super) dialer: Dialer,
    pub(super) pool: Arc<Pool>,
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
        let mut headers: HeaderMap = headers
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
        address::complete(&mut headers, url);
        let mut post_headers = headers.clone();
        // Ours replace what the configuration may say.
        for (name, value) in [
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (ACCEPT, HeaderValue::from_static("application/json, text/event-stream")),
            (ACCEPT_ENCODING, UNCOMPRESSED),
        ] {
            post_headers.insert(name, value);
        }
        Self {
            url: url.clone(),
            address: Address::of(url),
            headers,
            post_headers,
            kind,
            found_sse: AtomicBool::new(false),
            dialer: Dialer::new(connect_timeout),
            pool: Arc::default(),
            unkept: Mutex::default(),
            answers_pings: AtomicBool::new(false),
        }
    }

    /// Where its requests go.
    ///
    /// # Errors
    /// [`UpstreamError::NotSent`] where nothing can be sent there.
    pub(super) fn address(&self) -> Result<&Address, UpstreamError> {
        self.address.as_ref().map_err(|why| UpstreamError::NotSent(why.clone()))
    }

    /// The connection for what may be sent again, or be lost.
    pub(super) fn usual(&self) -> Over {
        if self.keeps_none() { Over::New } else { Over::Kept }
    }

    /// Whether the server was found, not long ago, to close connections right after an answer without
    /// saying so.
    pub(super) fn keeps_none(&self) -> bool {
        let unkept = self.unkept.lock().expect("no holder of this lock panics");
        unkept.until.is_some() && unkept.is_at(Instant::now())
    }

    /// Notes that a kept connection was dead when it was used: none is kept for a while. It may have
    /// been one restart of the server, or what it always does.
    pub(super) fn keep_none(&self) {
        self.unkept.lock().expect("no holder of this lock panics").found_dead(Instant::now());
        self.pool.close();
    }

    /// The headers of a POST; `more` replace what is there under their names.
    pub(super) fn post_headers(&self, more: HeaderMap) -> HeaderMap {
        let mut headers = self.post_headers.clone();
        put(&mut headers, more);
        headers
    }

    /// Whether the server speaks HTTP+SSE, as far as is known.
    pub(crate) fn is_sse(&self) -> bool {
        self.kind == HttpKind::Sse || self.found_sse.load(Ordering::Relaxed)
    }
}

/// Puts headers in place of those of the same names; `extend` would add them.
pub(super) fn put(headers: &mut HeaderMap, more: HeaderMap) {
    for (name, value) in more {
        if let Some(name) = name {
            headers.insert(name, value);
        }
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

/// What every request asks for: an answer that is not compressed. Without a word any compression
/// is allowed (<https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3>), and none is read here.
pub(super) const UNCOMPRESSED: HeaderValue = HeaderValue::from_static("identity");

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
}
