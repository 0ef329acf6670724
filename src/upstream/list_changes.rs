//! Changes of lists. A server's word that a list changed is looked into: the list is fetched, after
//! a pause that grows while the server goes on saying so, and clients hear of it only where it
//! differs from what it was.
//!
//! <https://modelcontextprotocol.io/specification/2025-11-25/server/tools#list-changed-notification>

use std::sync::{Arc, Weak};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tracing::debug;

use super::catalog::{self, Unread};
use super::instance::Instance;
use super::link::Pauses;
use super::lists::{List, ListDigest, digest_of};
use super::message;
use crate::domain::json::{self, Node};

/// The pause between looks that somebody else's word is the reason for: none after a quiet time,
/// then doubling from the first to the longest.
#[derive(Debug)]
pub(super) struct Pace {
    pauses: Pauses,
    wait: Duration,
    done: Option<Instant>,
}

impl Pace {
    pub(super) fn new(pauses: Pauses) -> Self {
        Self { pauses, wait: pauses.first, done: None }
    }

    /// When the next look is due that was asked for at `now`.
    pub(super) fn due(&mut self, now: Instant) -> Instant {
        let Some(done) = self.done else { return now };
        if now.saturating_duration_since(done) >= self.wait * 2 {
            self.wait = self.pauses.first;
            return now;
        }
        let due = done + self.wait;
        self.wait = self.pauses.after(self.wait);
        due.max(now)
    }

    /// A look was over at `now`.
    pub(super) fn done(&mut self, now: Instant) {
        self.done = Some(now);
    }
}

/// A list that could not be read, though the server answered, and until when it is not read again for
/// whoever wants it: it may be endless.
#[derive(Debug)]
pub(super) struct UnreadList {
    pace: Pace,
    last: Option<(Instant, String)>,
}

impl UnreadList {
    pub(super) fn new(pauses: Pauses) -> Self {
        Self { pace: Pace::new(pauses), last: None }
    }

    /// Notes at `now` why it could not be read.
    pub(super) fn failed(&mut self, now: Instant, why: &str) {
        self.pace.done(now);
        self.last = Some((self.pace.due(now), why.to_owned()));
    }

    /// It was read after all, or could not be asked for.
    pub(super) fn is_over(&mut self) {
        *self = Self::new(self.pace.pauses);
    }

    /// Why it need not be read at `now`.
    pub(super) fn why(&self, now: Instant) -> Option<&str> {
        self.last.as_ref().filter(|(until, _)| now < *until).map(|(_, why)| why.as_str())
    }
}

/// Looks into what the server of this instance says of its lists, for as long as it lives.
pub(super) async fn keep(me: Weak<Instance>) {
    let Some(pauses) = me.upgrade().map(|me| me.common.pauses) else { return };
    let one = async |list| {
        let mut pace = Pace::new(pauses);
        loop {
            let Some(listeners) = me.upgrade().map(|me| Arc::clone(&me.listeners)) else { return };
            listeners.lists.said(list).await;
            tokio::time::sleep_until(pace.due(Instant::now())).await;
            let Some(me) = me.upgrade() else { return };
            look(&me, list).await;
            pace.done(Instant::now());
        }
    };
    tokio::join!(one(List::Tools), one(List::Prompts), one(List::Resources));
}

/// Fetches the list and tells of it if it changed.
async fn look(me: &Instance, list: List) {
    let lists = &me.listeners.lists;
    if me.listeners.events.receiver_count() == 0 {
        // Whoever listens next has seen a list that is not known here.
        lists.note(list, None);
        if list == List::Tools {
            me.common.relist.notify_one();
        }
        return;
    }
    let now = match digest(me, list).await {
        Ok(now) => Some(now),
        Err(why) => {
            debug!(upstream = %me.common.name, "whether a list changed is not known: {why}");
            None
        }
    };
    if lists.note(list, now) {
        me.listeners.tell(list.notification(), None);
        if list == List::Tools {
            me.common.relist.notify_one();
        }
    }
}

async fn digest(me: &Instance, list: List) -> Result<ListDigest, String> {
    if list == List::Tools {
        let catalog = catalog::read(me.link.as_ref(), &me.common).await.map_err(words)?;
        return Ok(digest_of(&catalog));
    }
    let mut digest = Sha256::new();
    for (method, member) in list.methods() {
        let mut left = me.common.lists.entries;
        let mut add = |page: &str| {
            let page = message::readable(page);
            let node = json::parse(&page).map_err(|error| error.to_string())?;
            let entries = node.get(member).and_then(Node::elements).unwrap_or_default();
            left = left.checked_sub(entries.len()).ok_or("it is too long")?;
            for entry in entries {
                digest.update(Sha256::digest(entry.canonical()));
            }
            Ok(())
        };
        match catalog::pages(me.link.as_ref(), me.common.lists, method, &mut add).await {
            // A server of resources need not know templates.
            Ok(()) | Err(Unread::Refused(_)) => digest.update([0]),
            Err(unread) => return Err(words(unread)),
        }
    }
    Ok(digest.finalize().into())
}

fn words(unread: Unread) -> String {
    match unread {
        Unread::Failed(error) => error.to_string(),
        Unread::Refused(why) | Unread::Unreadable(why) => why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many looks there are within `span`, where somebody speaks again `silence` after each.
    fn looks(pace: &mut Pace, now: &mut Instant, silence: Duration, span: Duration) -> usize {
        let end = *now + span;
        let mut count = 0;
        while *now < end {
            *now = pace.due(*now);
            pace.done(*now);
            count += 1;
            *now += silence;
        }
        count
    }

    #[test]
    fn a_list_that_can_not_be_read_is_not_read_again_for_a_while_that_grows() {
        let mut unread = UnreadList::new(Pauses::default());
        let now = Instant::now();
        assert_eq!(unread.why(now), None);

        for pause in [250, 500, 1_000] {
            unread.failed(now, "endless");
            assert_eq!(unread.why(now + Duration::from_millis(pause - 1)), Some("endless"));
            assert_eq!(unread.why(now + Duration::from_millis(pause)), None);
        }
        for _ in 0..20 {
            unread.failed(now, "endless");
        }
        assert_eq!(unread.why(now + Pauses::default().longest), None);
        unread.is_over();
        assert_eq!(unread.why(now), None);
    }

    #[test]
    fn a_server_that_never_stops_saying_so_is_looked_at_ever_more_rarely() {
        let (mut pace, mut now) = (Pace::new(Pauses::default()), Instant::now());

        let first = looks(&mut pace, &mut now, Duration::ZERO, Duration::from_secs(10));
        let later = looks(&mut pace, &mut now, Duration::ZERO, Duration::from_secs(3_600));

        assert!((4..=8).contains(&first), "{first}");
        assert!((100..=130).contains(&later), "{later}");
    }

    #[test]
    fn after_a_quiet_time_the_next_look_is_at_once() {
        let (mut pace, mut now) = (Pace::new(Pauses::default()), Instant::now());
        looks(&mut pace, &mut now, Duration::ZERO, Duration::from_secs(300));
        let soon = now + Duration::from_secs(1);
        assert!(pace.due(soon) > soon);
        pace.done(now);

        now += Pauses::default().longest * 2;
        assert_eq!(pace.due(now), now);
        pace.done(now);
        now += Duration::from_secs(5);
        let every = Duration::from_secs(5);
        assert_eq!(looks(&mut pace, &mut now, every, Duration::from_secs(50)), 10);
    }
}
