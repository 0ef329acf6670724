//! One attempt to sign in, from the button to the provider's answer.
//!
//! All of it stands in a cookie that is sealed with a key of the store, and state, nonce and PKCE
//! verifier are derived from the cookie with the same key: whoever reads the cookie learns none of
//! them, whoever reads the state in an address learns neither cookie nor verifier, and nothing is
//! stored until the provider answered. That it is used once is the store's to say.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::domain::time::Timestamp;
use crate::id::token_hash;

/// The cookie an attempt is kept in. It is sent below [`COOKIE_PATH`] only.
pub(crate) const COOKIE: &str = "placet_oidc";
/// Where the cookie is sent.
pub(crate) const COOKIE_PATH: &str = "/sign-in/oidc";

/// What is derived from an attempt, each with a name of its own so that none passes for another.
#[derive(Debug, Clone, Copy)]
enum Part {
    Seal,
    State,
    Nonce,
    Verifier,
}

impl Part {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Seal => b"seal:",
            Self::State => b"state:",
            Self::Nonce => b"nonce:",
            Self::Verifier => b"verifier:",
        }
    }
}

/// The key that attempts are sealed with, and their parts derived from.
#[derive(Clone)]
pub struct Sealer([u8; 32]);

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

/// One attempt to sign in, with all that is derived from its cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The cookie's value.
    pub cookie: String,
    /// `state` of the request, which binds the answer to this browser
    /// (<https://www.rfc-editor.org/rfc/rfc6749#section-10.12>).
    pub state: String,
    /// `nonce` of the request, which the ID token must repeat.
    pub nonce: String,
    /// The PKCE verifier, 43 characters (<https://www.rfc-editor.org/rfc/rfc7636#section-4.1>).
    pub verifier: String,
    /// Where to go afterwards, a path of this server.
    pub next: String,
    /// From this instant on the attempt is refused.
    pub expires_at: Timestamp,
}

impl Attempt {
    /// The hash under which the store remembers that the attempt was used.
    pub fn hash(&self) -> String {
        token_hash(&self.cookie)
    }

    /// Whether an answer with this `state` belongs to it; compared in constant time.
    pub fn fits(&self, state: &str) -> bool {
        self.state.as_bytes().ct_eq(state.as_bytes()).into()
    }
}

impl Sealer {
    /// A sealer with the 32 bytes that the store keeps for it.
    pub const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// Begins an attempt; `token` is 256 fresh random bits as text.
    pub fn begin(&self, token: &str, next: &str, now: Timestamp, life: Duration) -> Attempt {
        let expires_at = now.plus(life);
        let body = format!("{}.{token}.{next}", expires_at.micros());
        self.derive(&body, next, expires_at)
    }

    /// The attempt of a cookie; none if we did not make it, or its time is over.
    pub fn open(&self, cookie: &str, now: Timestamp) -> Option<Attempt> {
        let (body, seal) = cookie.split_once('.')?;
        let body = String::from_utf8(URL_SAFE_NO_PAD.decode(body).ok()?).ok()?;
        let seal = URL_SAFE_NO_PAD.decode(seal).ok()?;
        self.mac(Part::Seal, &body).verify_slice(&seal).ok()?;
        let mut parts = body.splitn(3, '.');
        let expires_at = Timestamp::from_micros(parts.next()?.parse().ok()?);
        let next = parts.nth(1)?;
        (now < expires_at).then(|| self.derive(&body, next, expires_at))
    }

    fn derive(&self, body: &str, next: &str, expires_at: Timestamp) -> Attempt {
        let part = |part| URL_SAFE_NO_PAD.encode(self.mac(part, body).finalize().into_bytes());
        Attempt {
            cookie: format!("{}.{}", URL_SAFE_NO_PAD.encode(body), part(Part::Seal)),
            state: part(Part::State),
            nonce: part(Part::Nonce),
            verifier: part(Part::Verifier),
            next: next.to_owned(),
            expires_at,
        }
    }

    fn mac(&self, part: Part, body: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(part.name());
        mac.update(body.as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_mins(10);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn an_attempt_is_read_back_from_its_cookie_until_its_time_is_over() {
        let sealer = Sealer::new([1; 32]);

        let attempt = sealer.begin("abc", "/approvals/x?a=1.2", at(0), LIFE);

        assert_eq!(sealer.open(&attempt.cookie, at(599)), Some(attempt.clone()));
        assert_eq!(attempt.next, "/approvals/x?a=1.2");
        assert_eq!(sealer.open(&attempt.cookie, at(600)), None);
        assert_eq!(attempt.verifier.len(), 43, "the least that PKCE asks for");
    }

    #[test]
    fn what_is_derived_differs_and_says_nothing_of_the_rest() {
        let sealer = Sealer::new([1; 32]);

        let a = sealer.begin("abc", "/", at(0), LIFE);
        let b = sealer.begin("abd", "/", at(0), LIFE);

        let all = [&a.state, &a.nonce, &a.verifier, &b.state, &b.nonce, &b.verifier];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
        assert!(all.iter().all(|part| !a.cookie.contains(part.as_str())));
        assert!(a.fits(&a.state) && !a.fits(&b.state) && !a.fits("") && !a.fits(&a.nonce));
    }

    #[test]
    fn a_cookie_that_was_changed_or_sealed_by_another_key_is_none() {
        let sealer = Sealer::new([1; 32]);
        let attempt = sealer.begin("abc", "/", at(0), LIFE);
        let (body, seal) = attempt.cookie.split_once('.').unwrap();
        let longer = URL_SAFE_NO_PAD.encode("9999999999999999.abc./");

        assert_eq!(sealer.open(&format!("{longer}.{seal}"), at(1)), None);
        assert_eq!(sealer.open(&format!("{body}.{}", attempt.state), at(1)), None);
        assert_eq!(Sealer::new([2; 32]).open(&attempt.cookie, at(1)), None);
        for nonsense in ["", ".", "a.b", body, "ä.ö"] {
            assert_eq!(sealer.open(nonsense, at(1)), None, "{nonsense}");
        }
    }
}
