//! Signed-in sessions: a cookie of 256 random bits, stored hashed, idle after a while.

use axum::http::{HeaderMap, header};

use crate::broker::Broker;
use crate::config::value::GUEST;
use crate::config::{Config, Reviewer, Role};
use crate::domain::approval::Assurance;
use crate::domain::time::Timestamp;
use crate::id::token_hash;
use crate::store::{Session, StoreError};

use super::oidc::VIA_OIDC;

/// The session's cookie.
pub const SESSION_COOKIE: &str = "placet_session";

/// A person with a session.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// Who.
    pub reviewer: Reviewer,
    /// How surely it is them.
    pub assurance: Assurance,
    /// SHA-256 of the session's cookie, hex.
    pub hash: String,
}

/// The session of a request; none too if its reviewer is no longer configured, or if it began at the
/// sign-in provider and the time of that is over.
pub async fn find(broker: &Broker, headers: &HeaderMap) -> Result<Option<SignedIn>, StoreError> {
    let Some(token) = cookie(headers, SESSION_COOKIE) else { return Ok(None) };
    let hash = token_hash(token);
    let now = broker.now();
    let session = broker
        .store()
        .sessions()
        .find(&hash, now.minus(broker.config().people.session_idle), now)
        .await?;
    let Some(session) = session.filter(|session| counts(broker.config(), session, now)) else {
        return Ok(None);
    };
    let reviewer = match guest(broker.config(), &session) {
        Some(guest) => Some(guest),
        None => broker.reviewer(&session.reviewer).await?,
    };
    let assurance = assurance(&session.via);
    Ok(reviewer.map(|reviewer| SignedIn { reviewer, assurance, hash }))
}

/// Whether a session that began at the sign-in provider counts still; others always do.
pub fn counts(config: &Config, session: &Session, now: Timestamp) -> bool {
    let life = config.oidc.as_ref().map(|oidc| oidc.sign_in_life);
    session.via != VIA_OIDC || life.is_some_and(|life| session.created_at.plus(life) > now)
}

/// Somebody who is no reviewer and may read, where that is configured. Nothing asks them, and no
/// group has them.
fn guest(config: &Config, session: &Session) -> Option<Reviewer> {
    let allowed = config.oidc.as_ref().is_some_and(|oidc| oidc.allow_unknown);
    let guest = session.via == VIA_OIDC && session.reviewer.starts_with(GUEST);
    (allowed && guest).then(|| Reviewer {
        name: session.reviewer.clone(),
        email: None,
        groups: Vec::new(),
        role: Role::Reviewer,
        token_sha256: None,
    })
}

/// Through what a mailed link signs in.
pub const VIA_LINK: &str = "link";

/// How surely who signed in so is who they say: a mailed link proves no more than that somebody
/// reads the mailbox.
pub fn assurance(via: &str) -> Assurance {
    if via == VIA_LINK { Assurance::Link } else { Assurance::Session }
}

/// Most of what a browser calls itself that is kept, characters.
const MAX_CLIENT: usize = 200;

/// By what a person's list names a session: the beginning of its hash, which says nothing of the
/// cookie.
pub fn handle(hash: &str) -> &str {
    hash.get(..24).unwrap_or(hash)
}

/// A new session, not yet stored, and the value of its `Set-Cookie`.
pub fn make(broker: &Broker, reviewer: &str, via: &str, headers: &HeaderMap) -> (Session, String) {
    let client = headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok());
    let token = broker.ids().token();
    let now = broker.now();
    let session = Session {
        hash: token_hash(&token),
        reviewer: reviewer.to_owned(),
        via: via.to_owned(),
        client: client.map(|c| c.chars().take(MAX_CLIENT).collect()),
        created_at: now,
        seen_at: now,
    };
    (session, set_cookie(broker, SESSION_COOKIE, &token))
}

/// The value of a request's cookie.
pub fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name && !value.is_empty()).then_some(value))
}

/// `Set-Cookie` for a cookie that scripts and other sites' posts don't get.
pub fn set_cookie(broker: &Broker, name: &str, value: &str) -> String {
    let secure = match broker.config().server.public_url.scheme() {
        "https" => "; Secure",
        _ => "",
    };
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}")
}

/// `Set-Cookie` that removes it.
pub fn remove_cookie(broker: &Broker, name: &str) -> String {
    format!("{}; Max-Age=0", set_cookie(broker, name, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailed_link_signs_in_less_surely_than_anything_else() {
        assert_eq!(assurance("link"), Assurance::Link);
        for via in ["token", "terminal", "oidc", "passkey"] {
            assert_eq!(assurance(via), Assurance::Session, "{via}");
        }
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=1; placet_session=xyz".parse().unwrap());
        headers.append(header::COOKIE, "b=2".parse().unwrap());

        assert_eq!(cookie(&headers, SESSION_COOKIE), Some("xyz"));
        assert_eq!(cookie(&headers, "b"), Some("2"));
        assert_eq!(cookie(&headers, "session"), None);
    }
}
