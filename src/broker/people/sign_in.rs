//! Signing in with a token or by a one-time link, and how often it may be tried.

use std::net::IpAddr;

use crate::auth::reviewer_by_token;
use crate::config::Reviewer;
use crate::config::mail_address::canonical;
use crate::domain::audit::AuditEvent;
use crate::domain::time::Timestamp;
use crate::id::{IdSource, token_hash};
use crate::store::{LimitKey, SignIn, SignInBy, Store, StoreError};

use super::sessions::{VIA_LINK, VIA_TERMINAL, VIA_TERMINAL_SESSION, VIA_TOKEN};
use crate::broker::Broker;

/// What became of a sign-in with a token.
#[derive(Debug)]
pub enum ByToken {
    /// They are signed in, with this session cookie.
    SignedIn(String),
    /// The token is nobody's.
    Wrong,
    /// Too many were tried from that address; the number is the milliseconds to wait.
    TooMany(u64),
}

/// Makes and stores the one-time token of a sign-in link, with its record where it has one.
///
/// # Errors
/// [`StoreError`], when the store can't be read or written.
pub(crate) async fn one_time_token(
    store: &dyn Store,
    ids: &dyn IdSource,
    sign_in: &SignIn,
    expires_at: Timestamp,
    event: Option<AuditEvent>,
) -> Result<String, StoreError> {
    let token = ids.token();
    store.sessions().insert_sign_in(&token_hash(&token), sign_in, expires_at, event).await?;
    Ok(token)
}

impl Broker {
    /// Counts one try from this address in its sliding window; returns the milliseconds to wait if
    /// it is one too many.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn count_sign_in(
        &self,
        what: SignInBy,
        client: IpAddr,
    ) -> Result<Option<u64>, StoreError> {
        let (config, now) = (self.config(), self.now());
        let most = match what {
            SignInBy::Token => config.people.sign_in_tokens,
            SignInBy::Mail => config.people.sign_in_requests,
            SignInBy::Provider => config.oidc.as_ref().map_or(0, |oidc| oidc.max_attempts),
        };
        let since = now.minus(config.people.sign_in_window);
        self.store().limits().take(&LimitKey::SignIn(what, client), most, since, now).await
    }

    /// Takes back the try that was counted last.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub(in crate::broker) async fn uncount_sign_in(
        &self,
        what: SignInBy,
        client: IpAddr,
    ) -> Result<(), StoreError> {
        self.store().limits().give_back(&LimitKey::SignIn(what, client)).await
    }

    /// Signs in the reviewer whose token this is. The try is counted before the token is looked at,
    /// so every guess costs one; a good token takes its try back, so people behind one address
    /// don't use it up for each other.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn sign_in_by_token(
        &self,
        token: &str,
        client: IpAddr,
        browser: Option<&str>,
    ) -> Result<ByToken, StoreError> {
        if let Some(wait) = self.count_sign_in(SignInBy::Token, client).await? {
            return Ok(ByToken::TooMany(wait));
        }
        let Some(reviewer) = reviewer_by_token(self.config(), token) else {
            return Ok(ByToken::Wrong);
        };
        self.uncount_sign_in(SignInBy::Token, client).await?;
        let (session, cookie) = self.new_session(&reviewer.name, VIA_TOKEN, browser);
        self.store().sessions().insert(&session).await?;
        Ok(ByToken::SignedIn(cookie))
    }

    /// The one-time token to mail to that address, with its reviewer; none if nobody has the
    /// address, or it was asked for too often.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn sign_in_to_mail(
        &self,
        email: &str,
    ) -> Result<Option<(&Reviewer, String)>, StoreError> {
        let (people, now) = (&self.config().people, self.now());
        let address = canonical(email);
        let key = LimitKey::SignInMail(token_hash(&address));
        let since = now.minus(people.sign_in_window);
        if self.store().limits().take(&key, people.sign_in_mails, since, now).await?.is_some() {
            tracing::warn!("too many sign-in mails were asked for one address; none was sent");
            return Ok(None);
        }
        let same = |r: &&Reviewer| r.email.as_ref().is_some_and(|e| canonical(e) == address);
        let Some(reviewer) = self.config().reviewers.iter().find(same) else { return Ok(None) };
        let sign_in = SignIn {
            reviewer: reviewer.name.clone(),
            via: VIA_LINK.to_owned(),
            entry: self.config().entry_of(&reviewer.name).unwrap_or_default(),
        };
        let expires_at = now.plus(people.link_life);
        let ids = self.ids().as_ref();
        let token = one_time_token(self.store().as_ref(), ids, &sign_in, expires_at, None).await?;
        Ok(Some((reviewer, token)))
    }

    /// Name of the reviewer whom an unused one-time token signs in.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn signs_in(&self, token: &str) -> Result<Option<String>, StoreError> {
        Ok(self.good_sign_in(&token_hash(token)).await?.map(|sign_in| sign_in.reviewer))
    }

    /// An unused sign-in that still counts: its reviewer's entry is the one it was made under, and
    /// the terminal's are not switched off.
    async fn good_sign_in(&self, hash: &str) -> Result<Option<SignIn>, StoreError> {
        let config = self.config();
        let found = self.store().sessions().find_sign_in(hash, self.now()).await?;
        Ok(found.filter(|sign_in| {
            let terminal = matches!(sign_in.via.as_str(), VIA_TERMINAL | VIA_TERMINAL_SESSION);
            config.entry_of(&sign_in.reviewer).as_ref() == Some(&sign_in.entry)
                && (!terminal || config.people.sign_in_link)
        }))
    }

    /// Signs in by a one-time token, once; returns the session's cookie, or none if the token is
    /// used or expired.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn redeem_sign_in(
        &self,
        token: &str,
        browser: Option<&str>,
    ) -> Result<Option<String>, StoreError> {
        let (hash, now) = (token_hash(token), self.now());
        let Some(sign_in) = self.good_sign_in(&hash).await? else { return Ok(None) };
        let (session, cookie) = self.new_session(&sign_in.reviewer, &sign_in.via, browser);
        let made = self.store().sessions().consume_sign_in(&hash, &session, now).await?;
        Ok(made.then_some(cookie))
    }
}
