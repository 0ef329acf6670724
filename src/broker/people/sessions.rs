//! Browsers' sessions: how they begin and end, and whose a cookie is.

use crate::auth::oidc::VIA_OIDC;
use crate::config::value::GUEST;
use crate::config::{Config, Reviewer, Role};
use crate::domain::approval::Assurance;
use crate::domain::time::Timestamp;
use crate::id::token_hash;
use crate::store::{Session, StoreError};

use crate::broker::Broker;

/// `via` of a session that a mailed link began.
pub(crate) const VIA_LINK: &str = "link";
/// `via` of a session that a link on the terminal began: it proves no more than a mailed one, for
/// whoever may run the program's commands can make it.
pub(crate) const VIA_TERMINAL: &str = "terminal";
/// `via` of a session that such a link began which was asked to prove more.
pub(crate) const VIA_TERMINAL_SESSION: &str = "terminal-session";
/// `via` of a session that the reviewer's own token began.
pub(crate) const VIA_TOKEN: &str = "token";

/// Longest name of a browser (`User-Agent`) that is kept, characters.
const MAX_BROWSER: usize = 200;

/// A person with a session.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The reviewer, or a guest who may only read.
    pub reviewer: Reviewer,
    /// How surely they are who they say.
    pub assurance: Assurance,
    /// SHA-256 of the session's cookie, hex.
    pub hash: String,
}

/// The name of a session in a person's list: the beginning of its hash, which tells nothing about
/// the cookie.
pub(crate) fn handle(hash: &str) -> &str {
    hash.get(..24).unwrap_or(hash)
}

impl Broker {
    /// Whose session has this cookie; none also if its time is over, or the reviewer's entry in the
    /// configuration is another than when it began.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn signed_in(&self, cookie: &str) -> Result<Option<SignedIn>, StoreError> {
        let (hash, now) = (token_hash(cookie), self.now());
        let session = self.store().sessions().find(&hash, self.idle_since(now), now).await?;
        let Some(session) = session.filter(|session| counts(self.config(), session, now)) else {
            return Ok(None);
        };
        let reviewer = match guest(self.config(), &session) {
            Some(guest) => Some(guest),
            None => self.reviewer(&session.reviewer).await?,
        };
        let assurance = assurance(&session.via);
        Ok(reviewer.map(|reviewer| SignedIn { reviewer, assurance, hash }))
    }

    /// Ends the session of that hash.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn sign_out(&self, hash: &str) -> Result<(), StoreError> {
        self.store().sessions().delete(hash).await
    }

    /// A person's sessions that count, the newest first.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub(in crate::broker) async fn sessions_of(
        &self,
        reviewer: &str,
    ) -> Result<Vec<Session>, StoreError> {
        let now = self.now();
        let mut sessions = self.store().sessions().of(reviewer, self.idle_since(now)).await?;
        sessions.retain(|session| counts(self.config(), session, now));
        Ok(sessions)
    }

    /// Whether this person's session with this cookie still counts; it is not marked as used.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read.
    pub async fn session_lasts(&self, cookie: &str, reviewer: &str) -> Result<bool, StoreError> {
        let hash = token_hash(cookie);
        Ok(self.sessions_of(reviewer).await?.iter().any(|session| session.hash == hash))
    }

    /// A new session, not yet stored, and its cookie. `browser` is the name it gives itself.
    pub(in crate::broker) fn new_session(
        &self,
        reviewer: &str,
        via: &str,
        browser: Option<&str>,
    ) -> (Session, String) {
        let (token, now) = (self.ids().token(), self.now());
        let session = Session {
            hash: token_hash(&token),
            reviewer: reviewer.to_owned(),
            via: via.to_owned(),
            client: browser.map(|b| b.chars().take(MAX_BROWSER).collect()),
            created_at: now,
            seen_at: now,
            entry: self.config().entry_of(reviewer).unwrap_or_default(),
        };
        (session, token)
    }

    /// A session that was not used since then is over.
    pub(in crate::broker) fn idle_since(&self, now: Timestamp) -> Timestamp {
        now.minus(self.config().people.session_idle)
    }
}

/// Whether a session still counts: it is not too old, its reviewer's entry is the one it began
/// under, and the way it began is still open.
fn counts(config: &Config, session: &Session, now: Timestamp) -> bool {
    let younger = |life| session.created_at.plus(life) > now;
    let open = match session.via.as_str() {
        VIA_OIDC => config.oidc.as_ref().is_some_and(|oidc| younger(oidc.sign_in_life)),
        VIA_TERMINAL | VIA_TERMINAL_SESSION => config.people.sign_in_link,
        _ => true,
    };
    let theirs = match config.entry_of(&session.reviewer) {
        Some(entry) => entry == session.entry,
        None => guest(config, session).is_some(),
    };
    open && theirs && younger(config.people.session_max)
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

/// The assurance of a session by how it began: a mailed link proves only that somebody reads the
/// mailbox, a link from the terminal that somebody runs commands there.
pub(super) fn assurance(via: &str) -> Assurance {
    if matches!(via, VIA_LINK | VIA_TERMINAL) { Assurance::Link } else { Assurance::Session }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_signs_in_less_surely_than_anything_else() {
        for via in ["link", "terminal"] {
            assert_eq!(assurance(via), Assurance::Link, "{via}");
        }
        for via in ["token", "terminal-session", "oidc", "passkey"] {
            assert_eq!(assurance(via), Assurance::Session, "{via}");
        }
    }
}
