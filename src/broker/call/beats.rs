//! Signs of life of a held request. They need nothing but the time.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use crate::domain::approval::{Approval, ApprovalId, State};
use crate::domain::time::{Timestamp, in_words};

use crate::broker::Broker;
use crate::upstream::ServerMessage;

/// A sign of life while a request is held.
#[derive(Debug)]
pub enum Beat {
    /// Nothing happened; the text is a progress message for people.
    Alive(String),
    /// The approval is no longer pending.
    Decided,
    /// The upstream said, or asks, something about the running call.
    Upstream(ServerMessage),
}

/// What a sign of life says of the approval, as it was last seen.
#[derive(Debug)]
pub(super) struct Shown {
    id: ApprovalId,
    title: String,
    runs: bool,
    expires_at: Timestamp,
}

impl Shown {
    /// What is said of this approval.
    pub(super) fn of(a: &Approval) -> Self {
        Self {
            id: a.id.clone(),
            title: a.call.title().into_owned(),
            runs: a.state == State::Running,
            expires_at: a.expires_at,
        }
    }

    /// It stands so now.
    pub(super) fn take_from(&mut self, a: &Approval) {
        (self.runs, self.expires_at) = (a.state == State::Running, a.expires_at);
    }

    fn message(&self, now: Timestamp) -> String {
        let Self { id, title, .. } = self;
        if self.runs {
            return format!("Approved; {title} is being executed ({id})");
        }
        let left = in_words(now.until(self.expires_at));
        format!("Waiting for approval {id} of {title}; {left} left")
    }
}

/// Gives a sign of life every heartbeat; one that finds no room is dropped.
pub(super) async fn beat(
    broker: Broker,
    shown: Arc<Mutex<Shown>>,
    heartbeat: Duration,
    beats: mpsc::Sender<Beat>,
) -> Infallible {
    let mut tick = tokio::time::interval_at(Instant::now() + heartbeat, heartbeat);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let message = shown.lock().expect("no holder of this lock panics").message(broker.now());
        let _ = beats.try_send(Beat::Alive(message));
    }
}
