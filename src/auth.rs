//! Who is asking: people and agents by bearer token, people by passkey or through a provider.
//!
//! Tokens are compared by their SHA-256, so that neither the answer's time nor its text says how near
//! a guess was: an agent is looked up by it, since the hash of a near guess is nowhere near, and
//! people, who are few, are compared in constant time one after the other. An agent's token never
//! passes for a person's, whatever the configuration says.
#![warn(missing_docs)]

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use crate::config::{Agent, Config, Reviewer};
use crate::domain::approval::Assurance;

pub(crate) mod client_address;
pub(crate) mod csrf;
pub(crate) mod guesses;
pub(crate) mod oidc;
pub(crate) mod passkey;
pub(crate) mod personal_token;

/// A reviewer, and how surely it is them.
#[derive(Debug, Clone, Copy)]
pub struct Proven<'a> {
    /// The reviewer who asks.
    pub reviewer: &'a Reviewer,
    /// How they proved who they are.
    pub assurance: Assurance,
}

/// The token of `Authorization: Bearer …`, if there is one
/// (<https://www.rfc-editor.org/rfc/rfc6750#section-2.1>). The scheme may stand in any case
/// (<https://www.rfc-editor.org/rfc/rfc9110#section-11.1>).
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The reviewer whose token this is.
pub fn reviewer_by_token<'c>(config: &'c Config, token: &str) -> Option<&'c Reviewer> {
    let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
    if config.agents_by_token.contains_key(&hash) {
        return None;
    }
    pick(config.reviewers.iter().map(|r| (r, r.token_sha256)), &hash)
}

/// The agent whose token this is; never the anonymous one, which has none.
pub fn agent_by_token<'c>(config: &'c Config, token: &str) -> Option<&'c Arc<Agent>> {
    let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
    config.agents_by_token.get(&hash)
}

/// Looks at every candidate, whether or not one fitted before.
fn pick<'c, P>(
    candidates: impl Iterator<Item = (&'c P, Option<[u8; 32]>)>,
    hash: &[u8],
) -> Option<&'c P> {
    let mut found = None;
    for (principal, expected) in candidates {
        let same = expected.map_or(Choice::from(0), |e| e.as_slice().ct_eq(hash));
        if bool::from(same) {
            found = Some(principal);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_header_carries_a_token() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            bearer(&headers).map(str::to_owned)
        };

        assert_eq!(of("Bearer abc"), Some("abc".to_owned()));
        assert_eq!(of("bearer  abc"), Some("abc".to_owned()));
        assert_eq!(of("Basic abc"), None);
        assert_eq!(of("Bearer "), None);
    }
}
