//! Sends what the outbox holds. At least once: a crash between sending and recording sends again.
//!
//! It takes no input; what is due, who asked and how often it was tried stand in the store. A
//! mail's review link is minted at the attempt and its hash stored before the mail leaves, so the
//! outbox holds no secret. A request flood ends in one summary, not in a full mailbox.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

#[cfg(test)]
use futures_util::future::join_all;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::broker::Broker;
use crate::config::{Config, NotifierKind, Reviewer};
use crate::domain::time::Timestamp;
use crate::store::{Attempt, Delivery, Store};

use super::email::Smtp;
use super::memory::{Mailbox, Memory};
use super::message::{self, Letter};
use super::webhook::Webhook;
use super::{Message, Notifier, NotifyError};

mod lanes;
mod prepare;
mod schedule;

pub(crate) use schedule::next_after;

use lanes::OnTheirWay;
use prepare::Prepared;

/// Most deliveries under way at once through one channel.
pub(crate) const CONCURRENCY: usize = 8;
/// Longest time for one attempt, whatever the notifier does.
pub(crate) const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a claimed delivery is nobody else's; longer than an attempt can take.
pub(crate) const LEASE: Duration = Duration::from_mins(1);
/// First and longest pause before an attempt that could not be recorded is recorded again.
const RECORD_AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// How often the store is asked when nothing hints.
const IDLE: Duration = Duration::from_secs(1);
/// How long attempts under way may finish at shutdown.
const DRAIN: Duration = Duration::from_secs(5);

/// The deliverer.
pub struct Deliverer {
    broker: Broker,
    store: Arc<dyn Store>,
    notifiers: HashMap<String, Arc<dyn Notifier>>,
    /// What is on its way, by channel: at most [`CONCURRENCY`] in each.
    on_their_way: Mutex<OnTheirWay>,
    /// Request mails under way, by reviewer and agent: they count before they are recorded. As many
    /// as attempts under way.
    under_way: Mutex<HashMap<(String, String), i64>>,
}

impl Deliverer {
    /// Sends through `notifiers` what the outbox in `store` holds, which is `broker`'s.
    pub fn new(
        broker: Broker,
        store: Arc<dyn Store>,
        notifiers: HashMap<String, Arc<dyn Notifier>>,
    ) -> Self {
        Self {
            broker,
            store,
            notifiers,
            on_their_way: Mutex::default(),
            under_way: Mutex::default(),
        }
    }

    /// The notifier of that name.
    pub fn notifier(&self, name: &str) -> Option<&Arc<dyn Notifier>> {
        self.notifiers.get(name)
    }

    /// Mails a one-time sign-in link through the first e-mail notifier. Returns at once; the mail
    /// goes out behind it, so that the caller's answer takes the same time for every address.
    #[expect(clippy::unused_async, reason = "callers need not know that nothing is awaited")]
    pub async fn send_sign_in(&self, reviewer: &Reviewer, link: &str) {
        let config = self.broker.config();
        let Some((notifier, sender)) =
            config.mailer().and_then(|n| Some((n, Arc::clone(self.notifiers.get(&n.name)?))))
        else {
            warn!("a sign-in link was asked for and there is no e-mail notifier to send it");
            return;
        };
        let Some(to) = crate::broker::people::plan::address(notifier, reviewer) else { return };
        let now = self.broker.now();
        let id = self.broker.ids().prefixed("dlv_", now);
        let masker = self.broker.masker();
        let letter =
            Letter { config, masker, notifier, to: &to, id: &id, recipient: &reviewer.name, now };
        let message = Message::Email(message::sign_in(letter, reviewer, link));
        let name = reviewer.name.clone();
        self.broker.tracker().spawn(async move {
            for pause in schedule::SIGN_IN_RETRY_AFTER {
                tokio::time::sleep(pause).await;
                match send(sender.as_ref(), &message).await {
                    Ok(_) => return,
                    Err(NotifyError::Retry { detail, .. }) => {
                        warn!(reviewer = %name, "sign-in mail not taken: {}", no_address(&detail));
                    }
                    Err(NotifyError::Permanent(detail) | NotifyError::Disabled(detail)) => {
                        warn!(reviewer = %name, "sign-in mail refused: {}", no_address(&detail));
                        return;
                    }
                }
            }
        });
    }

    /// Attempts one delivery and records what became of it. What can't be prepared stays leased and
    /// is attempted again when the lease has run out.
    async fn deliver(&self, delivery: &Delivery, now: Timestamp) {
        let id = delivery.new.id.clone();
        let result = match self.prepare(delivery, now).await {
            Ok(Prepared::Send { message, counted: _counted }) => {
                let attempt = self.attempt(delivery, &message, now).await;
                self.record(&id, &attempt, now).await;
                Ok(())
            }
            Ok(Prepared::Drop(detail)) => {
                debug!(delivery = %id, "dropped: {detail}");
                let attempt = Attempt::Dropped { detail };
                self.store.outbox().record_attempt(&id, &attempt, now).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            warn!(delivery = %id, "delivery {id} is tried again later: {error}");
        }
    }

    /// Records an attempt that was made. While the store can't be written it tries again: what is
    /// forgotten is sent twice.
    async fn record(&self, id: &str, attempt: &Attempt, now: Timestamp) {
        let mut pause = RECORD_AGAIN.0;
        while let Err(error) = self.store.outbox().record_attempt(id, attempt, now).await {
            warn!(delivery = %id, "what became of delivery {id} is recorded later: {error}");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.broker.stop().hard.cancelled() => return,
            }
            pause = (pause * 2).min(RECORD_AGAIN.1);
        }
    }

    async fn attempt(&self, delivery: &Delivery, message: &Message, now: Timestamp) -> Attempt {
        let new = &delivery.new;
        let Some(notifier) = self.notifiers.get(&new.notifier) else {
            return Attempt::Dropped { detail: "there is no such notifier any more".to_owned() };
        };
        match send(notifier.as_ref(), message).await {
            Ok(detail) => Attempt::Delivered { detail },
            Err(NotifyError::Retry { detail, after }) => {
                let mut chance = [0];
                self.broker.ids().fill(&mut chance);
                let wait = next_after(&new.topic, delivery.attempts, after, chance[0]);
                let next = now.plus(wait);
                warn!(
                    notifier = %new.notifier, topic = %new.topic, delivery = %new.id,
                    "{} did not take {}: {}", new.notifier, new.topic, no_address(&detail)
                );
                if next >= new.give_up_at {
                    Attempt::Dropped { detail: format!("given up: {detail}") }
                } else {
                    Attempt::Failed { detail, next }
                }
            }
            Err(NotifyError::Permanent(detail)) => {
                error!(
                    notifier = %new.notifier, topic = %new.topic, delivery = %new.id,
                    "{} refused {} for good: {}", new.notifier, new.topic, no_address(&detail)
                );
                Attempt::Dropped { detail }
            }
            Err(NotifyError::Disabled(detail)) => {
                error!(
                    notifier = %new.notifier,
                    "{} wants no more webhooks (410); it gets none until its entry in the \
                     configuration changes or an admin enables it",
                    new.notifier
                );
                let config = self.broker.config();
                if let Some(entry) = config.notifiers.iter().find(|n| n.name == new.notifier)
                    && let Err(error) = self.broker.disable_channel(entry, &detail).await
                {
                    warn!("that {} is disabled could not be stored: {error}", new.notifier);
                }
                Attempt::Dropped { detail }
            }
        }
    }
}

/// Attempts what is due, up to [`CONCURRENCY`] at once in each lane; returns how many it was.
/// Idempotent: whatever it does not get to is due again.
#[cfg(test)]
pub(crate) async fn run_once(ctx: &Arc<Deliverer>, now: Timestamp) -> usize {
    match ctx.claim(now).await {
        Ok(due) => {
            let count = due.len();
            join_all(due.iter().map(|d| ctx.deliver(&d.delivery, now))).await;
            count
        }
        Err(error) => {
            warn!("the outbox can't be read: {error}");
            0
        }
    }
}

/// Delivers until cancelled: at every hint, when an attempt ends, and every second.
pub(crate) async fn run(ctx: Arc<Deliverer>, cancel: CancellationToken) {
    let mut under_way = JoinSet::new();
    let mut tick = tokio::time::interval(IDLE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !cancel.is_cancelled() {
        let now = ctx.broker.now();
        let claimed = tokio::select! {
            claimed = ctx.claim(now) => claimed,
            () = cancel.cancelled() => break,
        };
        match claimed {
            Ok(due) => {
                for one in due {
                    let ctx = Arc::clone(&ctx);
                    under_way.spawn(async move { ctx.deliver(&one.delivery, now).await });
                }
            }
            Err(error) => warn!("the outbox can't be read: {error}"),
        }
        tokio::select! {
            () = cancel.cancelled() => {}
            () = ctx.broker.hints().delivery() => {}
            _ = tick.tick() => {}
            Some(_) = under_way.join_next() => {}
        }
    }
    // What does not finish in time stays leased and is sent after the next start.
    let _ =
        tokio::time::timeout(DRAIN, async { while under_way.join_next().await.is_some() {} }).await;
}

/// The notifiers of the configuration; call it inside a Tokio runtime. Mailboxes in the process
/// are all `mailbox`.
pub(crate) fn build_with(config: &Config, mailbox: &Mailbox) -> HashMap<String, Arc<dyn Notifier>> {
    let make = |n: &crate::config::Notifier| -> Arc<dyn Notifier> {
        match &n.kind {
            NotifierKind::Email { smtp_url, from, .. } => {
                Arc::new(Smtp::new(&n.name, smtp_url, from))
            }
            NotifierKind::Webhook { url, secret, allow_private_network } => {
                Arc::new(Webhook::new(&n.name, url, secret, *allow_private_network))
            }
            NotifierKind::Memory => Arc::new(Memory::new(&n.name, mailbox.clone())),
        }
    };
    config.notifiers.iter().map(|n| (n.name.clone(), make(n))).collect()
}

/// The notifiers of the configuration, with a mailbox that nobody reads.
pub(crate) fn build(config: &Config) -> HashMap<String, Arc<dyn Notifier>> {
    build_with(config, &Mailbox::default())
}

async fn send(notifier: &dyn Notifier, message: &Message) -> Result<String, NotifyError> {
    match tokio::time::timeout(SEND_TIMEOUT, notifier.send(message)).await {
        Ok(result) => result,
        Err(_) => Err(NotifyError::Retry {
            detail: format!("no answer within {} seconds", SEND_TIMEOUT.as_secs()),
            after: None,
        }),
    }
}

/// A server's answer for the log: without the addresses that mail servers like to repeat.
fn no_address(detail: &str) -> String {
    detail
        .split(' ')
        .map(|word| if word.contains('@') { "‹address›" } else { word })
        .collect::<Vec<_>>()
        .join(" ")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Plain maps: a panic while holding leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod fake_store;
#[cfg(test)]
mod tests;
