//! Whether a due delivery is still worth sending, and what is sent.

use std::collections::HashMap;

use crate::broker::people::plan::{LIST_PREFIX, address, delivery_id};
use crate::config::{self, Reviewer};
use crate::domain::approval::{Approval, Assurance, State};
use crate::domain::time::Timestamp;
use crate::id::token_hash;
use crate::notify::Message;
use crate::notify::message::{self, Letter};
use crate::store::{Delivery, Filter, Fold, NewDelivery, ReviewLink, StoreError};

use super::schedule::is_urgent;
use super::{Deliverer, lock};

/// Most pending approvals that a summary looks at, and most of them of one agent.
const MAX_LOOKED_AT: u32 = 200;
const LOOKED_AT_PER_AGENT: Fold = Fold { over: 50, shown: 50 };

/// What to do with a due delivery.
pub(super) enum Prepared<'a> {
    /// Send this.
    Send {
        /// The message to send.
        message: Message,
        /// Counts a request mail as under way until it is recorded.
        counted: Option<Counted<'a>>,
    },
    /// Not worth sending any more, and why.
    Drop(String),
}

/// One request mail under way.
pub(super) struct Counted<'a> {
    deliverer: &'a Deliverer,
    /// The reviewer, and the agent whose call it is.
    key: (String, String),
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let mut under_way = lock(&self.deliverer.under_way);
        if let Some(count) = under_way.get_mut(&self.key) {
            *count -= 1;
            if *count <= 0 {
                under_way.remove(&self.key);
            }
        }
    }
}

fn dropped(why: &str) -> Prepared<'static> {
    Prepared::Drop(why.to_owned())
}

fn ready(message: Message) -> Prepared<'static> {
    Prepared::Send { message, counted: None }
}

impl Deliverer {
    /// Decides whether a due delivery is still worth sending, and makes the message.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub(super) async fn prepare(
        &self,
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<Prepared<'_>, StoreError> {
        let new = &delivery.new;
        let config = self.broker.config();
        let Some(notifier) = config.notifiers.iter().find(|n| n.name == new.notifier) else {
            return Ok(dropped("there is no such notifier any more"));
        };
        if new.payload.is_some() && self.broker.is_disabled(notifier).await? {
            return Ok(dropped("the other side wants no more webhooks (410)"));
        }
        let first_webhook = new.payload.is_some() && delivery.attempts == 0;
        if now >= new.give_up_at && !first_webhook {
            return Ok(dropped(if is_urgent(&new.topic) {
                "no longer pending"
            } else {
                "given up: not taken in time"
            }));
        }
        if new.topic == "summary" {
            return self.summary(new, notifier, now).await;
        }
        let Some(id) = &new.approval else { return Ok(dropped("it is about nothing")) };
        let Some(approval) = self.broker.get(id).await? else {
            return Ok(dropped("the approval is no longer kept"));
        };
        let pending = approval.is_open(now);
        // A webhook's receiver follows the whole story; a mail that asks for nothing is noise.
        if is_urgent(&new.topic) && !pending && !first_webhook {
            return Ok(dropped("no longer pending"));
        }
        if let Some(body) = &new.payload {
            let (id, body) = (new.id.clone(), body.clone());
            return Ok(ready(Message::Webhook { id, at: now, body }));
        }
        self.mail(new, notifier, &approval, now).await
    }

    async fn mail(
        &self,
        new: &NewDelivery,
        notifier: &config::Notifier,
        approval: &Approval,
        now: Timestamp,
    ) -> Result<Prepared<'_>, StoreError> {
        let recipient = new.recipient.as_deref().unwrap_or("");
        let page = self.broker.config().link(&format!("/approvals/{}", approval.id));
        if let Some(to) = recipient.strip_prefix(LIST_PREFIX) {
            let letter = self.letter(new, notifier, to, recipient, now);
            let reminder = new.topic == "reminder";
            let email = message::requested(letter, approval, reminder, &page, false);
            return Ok(ready(Message::Email(email)));
        }
        let Some(reviewer) = self.broker.config().reviewer(recipient) else {
            return Ok(dropped("there is no such reviewer any more"));
        };
        let Some(to) = address(notifier, reviewer) else {
            return Ok(dropped("the reviewer has no address"));
        };
        let letter = self.letter(new, notifier, &to, recipient, now);
        if let Some(state) = State::parse(&new.topic) {
            return Ok(ready(Message::Email(if state == State::Indeterminate {
                message::indeterminate(letter, approval)
            } else {
                message::resolved(letter, approval, state)
            })));
        }
        if !is_urgent(&new.topic) {
            return Ok(Prepared::Drop(format!("nothing is known of the topic {}", new.topic)));
        }
        if !may_still_decide(reviewer, approval) {
            return Ok(dropped("the reviewer has decided, or may no longer"));
        }
        let counted = if new.topic == "requested" {
            match self.admit(new, notifier, (reviewer, &approval.agent), now).await? {
                Some(counted) => Some(counted),
                None => return Ok(dropped("summarised")),
            }
        } else {
            None
        };
        let decides = approval.terms.assurance == Assurance::Link;
        let link = if decides { self.mint(approval, reviewer, now).await? } else { page };
        let reminder = new.topic == "reminder";
        let email = message::requested(letter, approval, reminder, &link, decides);
        Ok(Prepared::Send { message: Message::Email(email), counted })
    }

    fn letter<'l>(
        &'l self,
        new: &'l NewDelivery,
        notifier: &'l config::Notifier,
        to: &'l str,
        recipient: &'l str,
        now: Timestamp,
    ) -> Letter<'l> {
        let (config, masker) = (self.broker.config(), self.broker.masker());
        Letter { config, masker, notifier, to, id: &new.id, recipient, now }
    }

    /// A review link of its own for this attempt; its hash is stored before anybody can use it.
    async fn mint(
        &self,
        approval: &Approval,
        reviewer: &Reviewer,
        now: Timestamp,
    ) -> Result<String, StoreError> {
        let token = self.broker.ids().token();
        let link = ReviewLink {
            hash: token_hash(&token),
            approval: approval.id.clone(),
            reviewer: reviewer.name.clone(),
            created_at: now,
            entry: self.broker.config().entry_of(&reviewer.name).unwrap_or_default(),
        };
        self.store.review_links().insert(&link).await?;
        Ok(self.broker.config().link(&format!("/review/{token}")))
    }

    /// Lets a request mail through, or none beyond the cap: then a summary stands in for it.
    async fn admit(
        &self,
        new: &NewDelivery,
        notifier: &config::Notifier,
        (reviewer, agent): (&Reviewer, &str),
        now: Timestamp,
    ) -> Result<Option<Counted<'_>>, StoreError> {
        // Counted before asking: of two at once, both see the other.
        let key = (reviewer.name.clone(), agent.to_owned());
        let (others, own_others) = {
            let mut under_way = lock(&self.under_way);
            *under_way.entry(key.clone()).or_insert(0) += 1;
            let to_them: i64 =
                under_way.iter().filter(|((to, _), _)| *to == reviewer.name).map(|(_, n)| n).sum();
            (to_them - 1, under_way.get(&key).copied().unwrap_or(1) - 1)
        };
        let counted = Counted { deliverer: self, key };
        let limits = &self.broker.config().people;
        let since = now.minus(limits.request_mail_window);
        let store = &self.store;
        let delivered = store.outbox().delivered_since(&reviewer.name, "requested", since).await?;
        let all = delivered.values().sum::<i64>() + others;
        let own = delivered.get(agent).copied().unwrap_or(0) + own_others;
        // Agents that flood can't keep people from hearing of another.
        let has_room = all < i64::from(limits.request_mails);
        if has_room || own < i64::from(limits.request_mails_per_agent) {
            return Ok(Some(counted));
        }
        // One summary per window. Where this window's is out already, the next one covers what
        // came after it.
        let window = limits.request_mail_window.as_micros();
        let window = i64::try_from(window).unwrap_or(i64::MAX).max(1);
        let this = now.micros().div_euclid(window);
        let told = store.outbox().delivered_since(&reviewer.name, "summary", since).await?;
        let told = told.values().sum::<i64>() > 0;
        let bucket = if told { this + 1 } else { this };
        let due_at = now.max(Timestamp::from_micros(bucket.saturating_mul(window)));
        let about = format!("window {bucket}");
        let summary = NewDelivery {
            id: delivery_id(&about, "summary", &notifier.name, Some(&reviewer.name)),
            approval: None,
            notifier: notifier.name.clone(),
            topic: "summary".to_owned(),
            recipient: new.recipient.clone(),
            payload: None,
            due_at,
            give_up_at: due_at.plus(crate::broker::people::plan::TRIED_FOR),
        };
        store.outbox().enqueue(vec![summary], now).await?;
        Ok(None)
    }

    async fn summary(
        &self,
        new: &NewDelivery,
        notifier: &config::Notifier,
        now: Timestamp,
    ) -> Result<Prepared<'_>, StoreError> {
        let recipient = new.recipient.as_deref().unwrap_or("");
        let Some(reviewer) = self.broker.config().reviewer(recipient) else {
            return Ok(dropped("there is no such reviewer any more"));
        };
        let Some(to) = address(notifier, reviewer) else {
            return Ok(dropped("the reviewer has no address"));
        };
        let filter = Filter {
            states: vec![State::Pending],
            limit: MAX_LOOKED_AT,
            fold: Some(LOOKED_AT_PER_AGENT),
            ..Filter::default()
        };
        let mut waiting = self.store.approvals().list(&filter, now).await?;
        let looked_at = u32::try_from(waiting.len()).unwrap_or(u32::MAX);
        let most = waiting.iter().fold(HashMap::new(), |mut of, a: &Approval| {
            *of.entry(a.agent.clone()).or_insert(0_u32) += 1;
            of
        });
        let more =
            looked_at >= MAX_LOOKED_AT || most.values().any(|n| *n >= LOOKED_AT_PER_AGENT.shown);
        waiting.retain(|a| a.is_open(now) && may_still_decide(reviewer, a));
        let Some(newest) = waiting.iter().map(|a| a.created_at).max() else {
            return Ok(dropped("nothing waits any more"));
        };
        let told = self.store.outbox().delivered_since(recipient, "summary", newest).await?;
        if told.values().sum::<i64>() > 0 {
            return Ok(dropped("an earlier summary named all that waits"));
        }
        let letter = self.letter(new, notifier, &to, recipient, now);
        Ok(ready(Message::Email(message::summary(letter, &waiting, more))))
    }
}

/// Whether there is anything left for this reviewer to decide.
fn may_still_decide(reviewer: &Reviewer, approval: &Approval) -> bool {
    approval.asks(reviewer.person()) && approval.decision_of(&reviewer.name).is_none()
}
