//! A passkey confirms one decision: this approval, this call as it was shown, now.
//!
//! Being signed in by a passkey would prove who opened the session; a rule that asks for one wants
//! to know who decides. So the challenge is bound to the approval and the digest, answered once
//! within `people.passkey_wait`, and the database decides who answers it
//! ([ADR 24](../../docs/adr/0024-passkeys.md)).

use crate::auth::Proven;
use crate::auth::passkey::{self, Party, Refused, Used};
use crate::config::Reviewer;
use crate::domain::approval::{ApprovalId, Assurance, Choice, Via};
use crate::domain::audit::{AuditEvent, Kind};
use crate::store::passkeys::{Added, Ceremony, Passkey};

use super::rights::Verb;
use crate::broker::{Broker, DecideError};

/// Longest name of a passkey, characters.
pub(crate) const MAX_PASSKEY_NAME: usize = 60;

/// What everybody is told whose answer is not accepted; the log and the audit say why.
const NOT_ACCEPTED: &str = "the passkey was not accepted; nothing was decided, try again";

impl Broker {
    fn party(&self) -> Result<Party, DecideError> {
        Party::of(&self.config().server.public_url).ok_or(DecideError::Forbidden(
            "browsers have no passkeys for this address: server.public_url needs https and a name, \
             or http://localhost",
        ))
    }

    /// A person's passkeys that count, the newest first.
    ///
    /// # Errors
    /// [`DecideError::Store`], when the store can't be read.
    pub async fn passkeys(&self, reviewer: &str) -> Result<Vec<Passkey>, DecideError> {
        let entry = self.config().entry_of(reviewer);
        let mut keys = self.store().passkeys().of(reviewer).await?;
        keys.retain(|key| Some(&key.entry) == entry.as_ref());
        Ok(keys)
    }

    /// Begins to add a passkey and returns the JSON options for the browser. A session from a
    /// mailed link is not enough: whoever reads somebody's mail could then make a stronger proof
    /// than it.
    ///
    /// # Errors
    /// [`DecideError::Forbidden`], when they are signed in by a mailed link, or browsers have no
    /// passkeys for `server.public_url`; `Invalid`, when they have the most that are allowed;
    /// `Store`.
    pub async fn begin_passkey(&self, who: Proven<'_>) -> Result<String, DecideError> {
        let party = self.party()?;
        if who.assurance < Assurance::Session {
            return Err(DecideError::Forbidden(
                "you are signed in by a mailed link, or one from the terminal; to add a passkey, sign in \
                 with your token",
            ));
        }
        let (name, now) = (&who.reviewer.name, self.now());
        let existing = self.passkeys(name).await?;
        self.room_for_one(existing.len())?;
        let handle = existing.first().map_or_else(passkey::new_handle, |key| key.handle.clone());
        let wait = self.config().people.passkey_wait;
        let begun =
            party.begin_adding(name, &handle, &existing, wait).map_err(|why| unable(&why))?;
        let ceremony = Ceremony {
            challenge: begun.challenge,
            reviewer: name.clone(),
            approval: None,
            digest: String::new(),
            state: begun.state,
            expires_at: now.plus(wait),
        };
        self.store().passkeys().begin(&ceremony).await?;
        Ok(begun.options)
    }

    /// Adds the passkey that the browser made.
    ///
    /// # Errors
    /// [`DecideError::Invalid`], when the name, the answer or the number of passkeys is not fit;
    /// `Forbidden`, when the answer is not accepted, came too late or was used before; `Store`.
    pub async fn add_passkey(
        &self,
        who: Proven<'_>,
        name: &str,
        answer: &str,
    ) -> Result<(), DecideError> {
        let party = self.party()?;
        let reviewer = &who.reviewer.name;
        if name.is_empty() || name.chars().count() > MAX_PASSKEY_NAME {
            let why = format!("give it a name of 1 to {MAX_PASSKEY_NAME} characters");
            return Err(DecideError::Invalid(why));
        }
        let challenge = passkey::challenge_of_added(answer).map_err(|why| unreadable(&why))?;
        let begun = self.answered(&challenge, reviewer, None).await?;
        let made = match party.end_adding(&begun.state, answer) {
            Ok(made) => made,
            Err(why) => return Err(self.refuse_passkey(reviewer, None, why).await?),
        };
        let now = self.now();
        let key = Passkey {
            id: made.id,
            reviewer: reviewer.clone(),
            name: name.replace('\0', "\u{fffd}"),
            handle: made.handle,
            public_key: made.public_key,
            state: made.state,
            created_at: now,
            used_at: None,
            entry: self.config().entry_of(reviewer).unwrap_or_default(),
        };
        let event = AuditEvent::new(Kind::PasskeyAdded, reviewer, now)
            .with("passkey", &key.id)
            .with("name", &key.name);
        let most = self.config().people.max_passkeys;
        match self.store().passkeys().add(&key, most, event).await? {
            Added::Done => Ok(()),
            Added::TooMany => self.room_for_one(most as usize),
            Added::Known => Err(DecideError::Invalid("this passkey is known already".to_owned())),
        }
    }

    /// Begins to confirm the approval of one call, as it was shown; returns the JSON options for
    /// the browser.
    ///
    /// # Errors
    /// [`DecideError::NotFound`]; `Refused`, when approving is not theirs; `Forbidden`, when
    /// browsers have no passkeys for `server.public_url`; `Store`.
    pub async fn begin_confirming(
        &self,
        id: &ApprovalId,
        reviewer: &Reviewer,
        digest: &str,
    ) -> Result<String, DecideError> {
        let party = self.party()?;
        let verb =
            Verb::Decide { choice: Choice::Approve, assurance: Assurance::Passkey, via: Via::Web };
        self.permit(id, reviewer, verb).await?;
        let wait = self.config().people.passkey_wait;
        let begun = party.begin_using(wait).map_err(|why| unable(&why))?;
        let ceremony = Ceremony {
            challenge: begun.challenge,
            reviewer: reviewer.name.clone(),
            approval: Some(id.to_string()),
            digest: digest.to_owned(),
            state: begun.state,
            expires_at: self.now().plus(wait),
        };
        self.store().passkeys().begin(&ceremony).await?;
        Ok(begun.options)
    }

    /// Checks that the browser's answer confirms that this reviewer approves this call, as it was
    /// shown; returns the assurance that gives. The answer counts once, accepted or not.
    ///
    /// # Errors
    /// [`DecideError::Invalid`], when the answer can't be read; `Forbidden`, when it is not
    /// accepted, was made for another call, came too late or was used before; `Store`.
    pub async fn confirm(
        &self,
        id: &ApprovalId,
        reviewer: &Reviewer,
        digest: &str,
        answer: &str,
    ) -> Result<Assurance, DecideError> {
        let party = self.party()?;
        let name = &reviewer.name;
        let used = Used::read(answer).map_err(|why| unreadable(&why))?;
        let challenge = used.challenge().map_err(|why| unreadable(&why))?;
        let begun = self.answered(&challenge, name, Some(id)).await?;
        if begun.digest != digest {
            return Err(DecideError::Forbidden("this passkey confirmed another call; look again"));
        }
        let credential = used.credential();
        let keys = self.passkeys(name).await?;
        let Some(key) = keys.iter().find(|key| key.id == credential) else {
            let why = Refused("no passkey of this person has this id".to_owned());
            return Err(self.refuse_passkey(name, Some(id), why).await?);
        };
        let state = match party.end_using(&begun.state, &used, key) {
            Ok(state) => state,
            Err(why) => return Err(self.refuse_passkey(name, Some(id), why).await?),
        };
        let event = AuditEvent {
            approval: Some(id.to_string()),
            ..AuditEvent::new(Kind::PasskeyUsed, name, self.now())
        };
        let event = event.with("passkey", &key.id).with("digest", digest);
        if self.store().passkeys().used(key, &state, event).await? {
            return Ok(Assurance::Passkey);
        }
        let why = Refused("it was removed or used meanwhile".to_owned());
        Err(self.refuse_passkey(name, Some(id), why).await?)
    }

    /// The ceremony that this answer belongs to; it ends with the answer.
    async fn answered(
        &self,
        challenge: &str,
        reviewer: &str,
        id: Option<&ApprovalId>,
    ) -> Result<Ceremony, DecideError> {
        let begun = self.store().passkeys().take(challenge, reviewer, self.now()).await?;
        begun.filter(|c| c.approval.as_deref() == id.map(ApprovalId::as_str)).ok_or(
            DecideError::Forbidden(
                "this passkey was asked for another purpose, was used already or came too late; \
                 try again",
            ),
        )
    }

    async fn refuse_passkey(
        &self,
        reviewer: &str,
        id: Option<&ApprovalId>,
        why: Refused,
    ) -> Result<DecideError, DecideError> {
        tracing::warn!(reviewer, %why, "a passkey was not accepted: {why}");
        let event = AuditEvent {
            approval: id.map(ToString::to_string),
            ..AuditEvent::new(Kind::PasskeyRefused, reviewer, self.now())
        };
        self.record(vec![event.with("why", &why.0)]).await?;
        Ok(DecideError::Forbidden(NOT_ACCEPTED))
    }

    fn room_for_one(&self, has: usize) -> Result<(), DecideError> {
        let most = self.config().people.max_passkeys;
        if has < most as usize {
            return Ok(());
        }
        Err(DecideError::Invalid(format!(
            "you have {has} passkeys already (people.max_passkeys); remove one first"
        )))
    }
}

fn unreadable(why: &Refused) -> DecideError {
    DecideError::Invalid(format!("this is not what a browser answers for a passkey: {why}"))
}

fn unable(why: &Refused) -> DecideError {
    DecideError::Invalid(format!("no passkey can be asked for: {why}"))
}
