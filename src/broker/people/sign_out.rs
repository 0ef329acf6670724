//! Ending what people hold: at start what was made under another entry of the configuration, and at
//! any time what an admin wants ended ([ADR 35](../../docs/adr/0035-bound-to-the-entry.md)).

use crate::broker::{Broker, DecideError};
use crate::config::value::GUEST;
use crate::config::{Reviewer, Role};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::credentials::Ended;
use crate::store::settings::PersonalToken;

/// One person and what they hold.
#[derive(Debug, Clone)]
pub struct PersonRow {
    /// Their name.
    pub name: String,
    /// Their entry in the configuration; none: a guest.
    pub reviewer: Option<Reviewer>,
    /// How many sessions of theirs count.
    pub sessions: usize,
    /// When one was used last, to the minute.
    pub seen_at: Option<Timestamp>,
    /// How many of their personal tokens are good.
    pub tokens: usize,
    /// How many passkeys they have.
    pub passkeys: usize,
}

impl Broker {
    /// Ends for good what people hold whose entry in the configuration is another now or gone, so
    /// that the entry of before does not revive it.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn end_strangers(&self) -> Result<(), StoreError> {
        let guests = self.config().oidc.as_ref().is_some_and(|oidc| oidc.allow_unknown);
        let people = self.config().entries();
        let store = self.store().credentials();
        for (name, ended) in store.keep_only(&people, GUEST, guests, self.now()).await? {
            tracing::warn!(
                "the entry of {name} in the configuration is another or gone: ended {} sessions, {} \
                 tokens, {} passkeys and {} links",
                ended.sessions,
                ended.tokens,
                ended.passkeys,
                ended.sign_ins + ended.review_links
            );
        }
        Ok(())
    }

    /// Ends all sessions, personal tokens and mailed links of a person, for an admin.
    ///
    /// # Errors
    /// [`DecideError::NotFound`], when nobody has that name; `Forbidden`, when `by` is no admin;
    /// `Store`.
    pub async fn sign_out_everywhere(
        &self,
        name: &str,
        by: &Reviewer,
    ) -> Result<Ended, DecideError> {
        if self.config().reviewer(name).is_none() && !name.starts_with(GUEST) {
            return Err(DecideError::NotFound);
        }
        if by.role != Role::Admin {
            return Err(DecideError::Forbidden("only an admin signs others out"));
        }
        Ok(self.store().credentials().end_all(name, &by.name, self.now()).await?)
    }

    /// Everybody and what they hold, for an admin; guests last.
    ///
    /// # Errors
    /// [`DecideError::Forbidden`], when `by` is no admin; `Store`.
    pub async fn people_rows(&self, by: &Reviewer) -> Result<Vec<PersonRow>, DecideError> {
        if by.role != Role::Admin {
            return Err(DecideError::Forbidden("only an admin sees what others hold"));
        }
        let holders = self.store().credentials().holders().await?;
        let guests = holders.into_iter().filter(|name| name.starts_with(GUEST));
        let people = self.config().reviewers.iter().map(|r| r.name.clone());
        let mut rows = Vec::new();
        for name in people.chain(guests) {
            let sessions = self.sessions_of(&name).await?;
            rows.push(PersonRow {
                reviewer: self.config().reviewer(&name).cloned(),
                seen_at: sessions.iter().map(|s| s.seen_at).max(),
                sessions: sessions.len(),
                tokens: self.tokens_of(&name).await?.len(),
                passkeys: self.passkeys(&name).await?.len(),
                name,
            });
        }
        Ok(rows)
    }

    /// A person's tokens that are good, the newest first.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read.
    pub(super) async fn tokens_of(&self, name: &str) -> Result<Vec<PersonalToken>, StoreError> {
        let entry = self.config().entry_of(name);
        let mut tokens = self.store().settings().tokens(name, self.now()).await?;
        tokens.retain(|token| Some(&token.entry) == entry.as_ref());
        Ok(tokens)
    }
}
