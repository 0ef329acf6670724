//! Signing in through the provider: what is kept and recorded of it. Whether an answer is the
//! provider's is checked before ([`crate::auth::oidc`]).

use std::net::IpAddr;

use crate::auth::oidc::VIA_OIDC;
use crate::auth::oidc::attempt::Attempt;
use crate::auth::oidc::person::{self, Identity, Stranger};
use crate::domain::audit::{AuditEvent, Kind};
use crate::domain::json;
use crate::domain::time::Timestamp;
use crate::domain::visible_text::visible;
use crate::store::SignInBy;
use crate::store::StoreError;
use crate::store::oidc::ProviderClaims;

use crate::broker::Broker;

/// Longest `sub` in a record, characters.
const MAX_SUBJECT: usize = 200;

/// Who somebody is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Person {
    /// A reviewer.
    Reviewer(String),
    /// No reviewer, but configured to read.
    Guest(String),
}

/// What is recorded where nobody was signed in.
#[derive(Debug, Clone)]
pub struct RefusedSignIn {
    /// Why, as the audit record says it.
    pub why: String,
    /// The provider's own account of it, for the log.
    pub detail: Option<String>,
    /// What the provider calls that person (`sub`), where that was proven.
    pub subject: Option<String>,
    /// Whether it was counted when the attempt began.
    pub counted: bool,
}

impl Broker {
    /// Marks an attempt as answered; false if it was answered before.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn use_attempt(&self, attempt: &Attempt) -> Result<bool, StoreError> {
        self.store().oidc().use_attempt(&attempt.hash(), attempt.expires_at).await
    }

    /// The person here whom the provider's claims mean.
    ///
    /// # Errors
    /// [`Stranger`], which says why they are nobody here.
    pub fn person_of(&self, said: &Identity) -> Result<Person, Stranger> {
        let settings = self.config().oidc.as_ref().ok_or(Stranger::Unknown)?;
        match person::reviewer(self.config(), settings, said) {
            Ok(reviewer) => Ok(Person::Reviewer(reviewer.name.clone())),
            Err(stranger) => match person::guest(said).filter(|_| settings.allow_unknown) {
                Some(guest) => Ok(Person::Guest(guest)),
                None => Err(stranger),
            },
        }
    }

    /// Begins their session and returns its cookie. Claims about a reviewer's groups are kept where
    /// the configuration needs them, and the counted try is taken back.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn sign_in_by_provider(
        &self,
        person: &Person,
        said: &Identity,
        client: IpAddr,
        browser: Option<&str>,
    ) -> Result<String, StoreError> {
        let (Person::Reviewer(name) | Person::Guest(name)) = person;
        let (session, cookie) = self.new_session(name, VIA_OIDC, browser);
        let claims = match person {
            Person::Guest(_) => None,
            Person::Reviewer(name) => self.claims_to_keep(name, said, session.created_at),
        };
        let claims = claims.as_ref().map(|claims| (claims, confirmation(claims)));
        self.store().oidc().sign_in(&session, claims).await?;
        self.uncount_sign_in(SignInBy::Provider, client).await?;
        Ok(cookie)
    }

    /// What was said of a reviewer now, where their groups or role need that.
    fn claims_to_keep(
        &self,
        reviewer: &str,
        said: &Identity,
        now: Timestamp,
    ) -> Option<ProviderClaims> {
        let settings = self.config().oidc.as_ref().filter(|oidc| oidc.narrows())?;
        let groups = said.groups.as_deref().unwrap_or_else(|| {
            tracing::warn!(
                "the sign-in provider says nothing of groups: there is no claim {}",
                settings.groups_claim
            );
            &[]
        });
        Some(ProviderClaims {
            reviewer: reviewer.to_owned(),
            issuer: settings.issuer.clone(),
            subject: said.subject.clone(),
            groups: settings.mentioned(groups),
            said_at: now,
            expires_at: now.plus(settings.sign_in_life),
            entry: self.config().entry_of(reviewer).unwrap_or_default(),
        })
    }

    /// Records that nobody was signed in. A request that belongs to no attempt is counted first, so
    /// that nobody can fill the records; returns the milliseconds to wait if it is one too many.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn refuse_sign_in(
        &self,
        refused: &RefusedSignIn,
        client: IpAddr,
    ) -> Result<Option<u64>, StoreError> {
        if !refused.counted
            && let Some(wait) = self.count_sign_in(SignInBy::Provider, client).await?
        {
            return Ok(Some(wait));
        }
        tracing::warn!(
            why = %refused.why,
            detail = refused.detail.as_deref().unwrap_or_default(),
            "nobody was signed in through the provider"
        );
        let mut event = AuditEvent::new(Kind::SignInRefused, "placet", self.now())
            .with("via", VIA_OIDC)
            .with("why", &refused.why);
        if let Some(subject) = &refused.subject {
            event = event.with("subject", &shown_subject(subject));
        }
        self.record(vec![event]).await?;
        Ok(None)
    }
}

/// The record of what is kept.
fn confirmation(claims: &ProviderClaims) -> AuditEvent {
    let quoted: Vec<String> = claims.groups.iter().map(|g| json::quote(&visible(g))).collect();
    AuditEvent::new(Kind::GroupsConfirmed, &claims.reviewer, claims.said_at)
        .with("subject", &shown_subject(&claims.subject))
        .with_raw("groups", format!("[{}]", quoted.join(",")))
        .with("expires_at", &claims.expires_at.to_string())
}

fn shown_subject(subject: &str) -> String {
    visible(&subject.chars().take(MAX_SUBJECT).collect::<String>())
}
