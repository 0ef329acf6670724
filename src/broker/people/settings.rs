//! What people change about themselves: sessions ended, tokens made and revoked, absences entered
//! and removed, wishes set. Each leaves its audit record but the wishes, which decide nothing.

use std::time::Duration;

use crate::auth::Proven;
use crate::auth::personal_token::{PREFIX, Scope};
use crate::domain::absence::{Absence, Clash};
use crate::domain::audit::{AuditEvent, Kind};
use crate::domain::preferences::Preferences;
use crate::domain::time::{Timestamp, in_words};
use crate::id::token_hash;
use crate::store::Session;
use crate::store::passkeys::Passkey;
use crate::store::settings::{NotEntered, PersonalToken};

use super::plan::Wishes;
use crate::broker::{Broker, DecideError};

/// Longest name of a token, characters.
pub(crate) const MAX_TOKEN_NAME: usize = 60;

/// What a person keeps here about themselves.
#[derive(Debug, Clone)]
pub struct OwnSettings {
    /// Their sessions that count, the newest first.
    pub sessions: Vec<Session>,
    /// Their tokens that are still good, the newest first.
    pub tokens: Vec<PersonalToken>,
    /// Their passkeys, the newest first.
    pub passkeys: Vec<Passkey>,
    /// When they are away.
    pub absences: Vec<Absence>,
    /// When they stand in for others.
    pub stands_in: Vec<Absence>,
    /// What they want to be told, and when not.
    pub wishes: Preferences,
}

/// What kind of thing of their own somebody ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// A session, by the beginning of its hash.
    Session,
    /// A personal token.
    Token,
    /// An absence.
    Absence,
    /// A passkey.
    Passkey,
}

impl Broker {
    /// What a person keeps here.
    ///
    /// # Errors
    /// [`DecideError::Store`], when the store can't be read or written.
    pub async fn settings_of(&self, reviewer: &str) -> Result<OwnSettings, DecideError> {
        let (store, now) = (self.store().settings(), self.now());
        let of = |absences: &[Absence], whose: fn(&Absence) -> &String| {
            absences.iter().filter(|a| whose(a) == reviewer).cloned().collect()
        };
        let sessions = self.sessions_of(reviewer).await?;
        let tokens = self.tokens_of(reviewer).await?;
        let absences = store.absences(now).await?;
        Ok(OwnSettings {
            sessions,
            tokens,
            passkeys: self.passkeys(reviewer).await?,
            stands_in: of(&absences, |a| &a.delegate),
            absences: of(&absences, |a| &a.reviewer),
            wishes: Wishes::new(store.preferences().await?).of(reviewer),
        })
    }

    /// Ends one of a person's own sessions, tokens, absences or passkeys, and records that.
    ///
    /// # Errors
    /// [`DecideError::NotFound`], when they have none of that id; `Store`.
    pub async fn end_own(&self, reviewer: &str, own: Own, id: &str) -> Result<(), DecideError> {
        let store = self.store().settings();
        let event = |kind, key| AuditEvent::new(kind, reviewer, self.now()).with(key, id);
        let ended = match own {
            Own::Session => {
                let event = event(Kind::SessionEnded, "session");
                self.store().sessions().end(reviewer, id, event).await?
            }
            Own::Token => {
                store.delete_token(reviewer, id, event(Kind::TokenRevoked, "token")).await?
            }
            Own::Absence => {
                let _changing = self.inner.seen_settings.change();
                store.delete_absence(reviewer, id, event(Kind::AbsenceRemoved, "absence")).await?
            }
            Own::Passkey => {
                let event = event(Kind::PasskeyRemoved, "passkey");
                self.store().passkeys().remove(reviewer, id, event).await?
            }
        };
        if ended { Ok(()) } else { Err(DecideError::NotFound) }
    }

    /// Makes a personal token and returns its secret, which is kept nowhere. It proves no more than
    /// the session it was made in, and is good for `life`.
    ///
    /// # Errors
    /// [`DecideError::Invalid`], when name, life or scopes are not fit, or they have the most
    /// tokens that are allowed; `Store`.
    pub async fn make_token(
        &self,
        who: Proven<'_>,
        name: &str,
        life: Duration,
        scopes: &[Scope],
    ) -> Result<String, DecideError> {
        let (limits, now) = (&self.config().people, self.now());
        let invalid = |why: String| Err(DecideError::Invalid(why));
        if name.is_empty() || name.chars().count() > MAX_TOKEN_NAME {
            return invalid(format!("give it a name of 1 to {MAX_TOKEN_NAME} characters"));
        }
        if life.is_zero() || life > limits.max_token_life {
            return invalid(format!(
                "say for how many days it is good, at most for {} (people.max_token_life)",
                in_words(limits.max_token_life)
            ));
        }
        if scopes.is_empty() {
            return invalid("choose what it may be used for".to_owned());
        }
        let secret = format!("{PREFIX}{}", self.ids().token());
        let token = PersonalToken {
            id: self.ids().prefixed("tok_", now),
            reviewer: who.reviewer.name.clone(),
            name: name.replace('\0', "\u{fffd}"),
            scopes: scopes.iter().map(|s| s.as_str().to_owned()).collect(),
            assurance: who.assurance,
            created_at: now,
            expires_at: now.plus(life),
            used_at: None,
            entry: self.config().entry_of(&who.reviewer.name).unwrap_or_default(),
        };
        let event = AuditEvent::new(Kind::TokenMade, &token.reviewer, now)
            .with("token", &token.id)
            .with("name", &token.name)
            .with("scopes", &token.scopes.join(" "))
            .with("assurance", token.assurance.as_str())
            .with("expires_at", &token.expires_at.to_string());
        let store = self.store().settings();
        if !store.insert_token(&token_hash(&secret), &token, limits.max_tokens, event).await? {
            return invalid(format!(
                "you have {} tokens already (people.max_tokens); revoke one first",
                limits.max_tokens
            ));
        }
        Ok(secret)
    }

    /// Enters that somebody is away from `from` until `until`, and who stands in.
    ///
    /// # Errors
    /// [`DecideError::Invalid`], when nobody can stand in, or the absence does not fit beside
    /// others; `Store`.
    pub async fn enter_absence(
        &self,
        reviewer: &str,
        delegate: &str,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<(), DecideError> {
        let now = self.now();
        if self.config().reviewer(delegate).is_none_or(|r| !r.role.decides()) {
            let why = "choose a reviewer who stands in; auditors can't".to_owned();
            return Err(DecideError::Invalid(why));
        }
        let absence = Absence {
            id: self.ids().prefixed("abs_", now),
            reviewer: reviewer.to_owned(),
            delegate: delegate.to_owned(),
            from,
            until,
        };
        let event = AuditEvent::new(Kind::AbsenceEntered, reviewer, now)
            .with("absence", &absence.id)
            .with("delegate", delegate)
            .with("from", &from.to_string())
            .with("until", &until.to_string());
        let most = self.config().people.max_absences;
        let _changing = self.inner.seen_settings.change();
        let entered = self.store().settings().insert_absence(&absence, most, event).await?;
        entered.map_err(|why| DecideError::Invalid(not_entered(why, most)))
    }

    /// Sets what a person wants to be told, and when not.
    ///
    /// # Errors
    /// [`DecideError::Store`], when the store can't be written.
    pub async fn set_preferences(
        &self,
        reviewer: &str,
        wishes: &Preferences,
    ) -> Result<(), DecideError> {
        let _changing = self.inner.seen_settings.change();
        Ok(self.store().settings().set_preferences(reviewer, wishes).await?)
    }
}

fn not_entered(why: NotEntered, most: u32) -> String {
    match why {
        NotEntered::TooMany => {
            format!("you have entered {most} absences already (people.max_absences)")
        }
        NotEntered::Clash(Clash::Oneself) => "nobody stands in for themselves".to_owned(),
        NotEntered::Clash(Clash::Times) => "it must end after it begins, and after now".to_owned(),
        NotEntered::Clash(Clash::Overlaps) => {
            "you are away then already; remove that absence first".to_owned()
        }
        NotEntered::Clash(Clash::Loop) => "who stands in is away too at some time in it, and \
             what they left leads back to you; choose somebody else"
            .to_owned(),
    }
}
