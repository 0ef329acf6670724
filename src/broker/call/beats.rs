//! Signs of life of a held request. They need nothing but the time.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::approval::{Approval, State};
use crate::domain::time::{Timestamp, in_words};
use crate::notified::queue::{Receiver, Sender, queue};

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

/// Where signs of life go.
#[derive(Debug)]
pub struct Beats(Sender<Beat>);

/// Where they are heard.
#[derive(Debug)]
pub struct BeatsHeard(Receiver<Beat>);

/// Signs of life on their way, at most `most`; more are dropped.
pub fn beats(most: usize) -> (Beats, BeatsHeard) {
    let (sender, receiver) = queue(most);
    (Beats(sender), BeatsHeard(receiver))
}

impl Beats {
    /// Tells one; it is dropped where there is no room for it, or nobody hears.
    pub fn tell(&self, beat: Beat) {
        let _ = self.0.try_send(beat);
    }
}

impl BeatsHeard {
    /// The next; none when the hold is over and all were heard.
    pub async fn recv(&mut self) -> Option<Beat> {
        self.0.recv().await
    }

    /// One that came already.
    pub fn try_recv(&mut self) -> Option<Beat> {
        self.0.try_recv()
    }
}

/// What a sign of life says of the approval, as it was last seen.
pub(super) type Shown = Arc<Mutex<Arc<Approval>>>;

fn message(a: &Approval, now: Timestamp) -> String {
    let (id, title) = (&a.id, a.call.title());
    if a.state == State::Running {
        return format!("Approved; {title} is being executed ({id})");
    }
    let left = in_words(now.until(a.expires_at));
    format!("Waiting for approval {id} of {title}; {left} left")
}

/// Into how many parts a heartbeat is divided, at whose ends signs of life are given: those of a
/// thousand held calls wake the process forty times a heartbeat, and not a thousand times.
const PARTS: u32 = 40;

/// When the next sign of life is due: a heartbeat from now at the latest, and a part of it earlier at
/// most.
fn next_beat(heartbeat: Duration, now: Instant) -> Instant {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    let part = (heartbeat / PARTS).as_nanos().max(1);
    let since = (now + heartbeat).saturating_duration_since(*BEGAN.get_or_init(|| now));
    let early = u64::try_from(since.as_nanos() % part).unwrap_or_default();
    now + heartbeat.saturating_sub(Duration::from_nanos(early))
}

/// Gives a sign of life every heartbeat; one that finds no room is dropped.
pub(super) async fn beat(
    broker: &Broker,
    shown: Shown,
    heartbeat: Duration,
    beats: &Beats,
) -> Infallible {
    loop {
        tokio::time::sleep_until(next_beat(heartbeat, Instant::now())).await;
        let seen = Arc::clone(&shown.lock().expect("no holder of this lock panics"));
        beats.tell(Beat::Alive(message(&seen, broker.now())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_life_come_together_and_none_later_than_a_heartbeat() {
        let heartbeat = Duration::from_secs(10);
        let began = Instant::now();
        let mut due = std::collections::BTreeSet::new();
        for ms in 0..10_000 {
            let now = began + Duration::from_millis(ms);

            let next = next_beat(heartbeat, now);

            assert!(next <= now + heartbeat && next > now + heartbeat - heartbeat / PARTS);
            due.insert(next);
        }
        assert!(due.len() <= 41, "{}", due.len());
    }
}
