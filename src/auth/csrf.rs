//! Form tokens: a page that was shown by us is the only one that can post to us.
//!
//! A token is an HMAC over what the form is bound to (a session, a link, or the nonce of a cookie
//! where there is no session yet), so nothing needs to be stored and none expires before what it
//! is bound to.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// What a form token is bound to.
#[derive(Debug, Clone, Copy)]
pub enum Bound<'a> {
    /// A signed-in session, by the hash of its cookie.
    Session(&'a str),
    /// A review link, by the hash of its token.
    Review(&'a str),
    /// The nonce in the cookie [`FORM_COOKIE`].
    Nonce(&'a str),
}

/// The cookie that binds forms shown before anybody signed in.
pub(crate) const FORM_COOKIE: &str = "placet_form";

/// The key that form tokens are made with.
#[derive(Clone)]
pub struct Keys([u8; 32]);

impl Keys {
    /// Keys made of the 32 bytes that the store keeps for form tokens.
    pub const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The token of a form: HMAC-SHA-256 in base64url without padding.
    pub fn token(&self, bound: Bound<'_>) -> String {
        URL_SAFE_NO_PAD.encode(self.mac(bound).finalize().into_bytes())
    }

    /// Whether this is the form's token; compared in constant time.
    pub fn fits(&self, bound: Bound<'_>, token: &str) -> bool {
        URL_SAFE_NO_PAD
            .decode(token)
            .is_ok_and(|bytes| self.mac(bound).verify_slice(&bytes).is_ok())
    }

    fn mac(&self, bound: Bound<'_>) -> Hmac<Sha256> {
        let (purpose, subject) = match bound {
            Bound::Session(hash) => ("session", hash),
            Bound::Review(hash) => ("review", hash),
            Bound::Nonce(nonce) => ("nonce", nonce),
        };
        let mut mac = Hmac::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(purpose.as_bytes());
        mac.update(b":");
        mac.update(subject.as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_fits_only_what_it_was_made_for() {
        let keys = Keys::new([7; 32]);

        let token = keys.token(Bound::Review("a"));

        assert!(keys.fits(Bound::Review("a"), &token));
        assert!(!keys.fits(Bound::Review("b"), &token));
        assert!(!keys.fits(Bound::Session("a"), &token));
        assert!(!Keys::new([8; 32]).fits(Bound::Review("a"), &token));
        assert!(!keys.fits(Bound::Review("a"), ""));
    }
}
