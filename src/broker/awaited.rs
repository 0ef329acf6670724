//! The approvals that somebody in this process waits for, and what was heard of each: one place for
//! all who wait for the same. Who waits is woken by what concerns its approval and by nothing else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::domain::approval::{Approval, ApprovalId};
use crate::domain::time::Timestamp;
use crate::store::changes::Glimpse;

/// Everybody who waits, by approval.
///
/// Bounded by those who wait: held requests, running calls and requests for the end of a task. An
/// entry goes with the last of them.
#[derive(Debug, Default)]
pub(super) struct Awaited(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    spots: HashMap<ApprovalId, (Arc<Spot>, usize)>,
    /// Whether the one poll for all of them runs.
    is_polled: bool,
}

/// Where those who wait for one approval hear of it.
#[derive(Debug, Default)]
pub(super) struct Spot {
    pub(super) changed: Notify,
    heard: Mutex<Heard>,
}

/// What was heard of an approval.
#[derive(Debug, Default, Clone)]
pub(super) struct Heard {
    /// Counts what was heard.
    pub(super) count: u64,
    /// Counts what was heard without the approval itself: other things about it may have changed.
    pub(super) touched: u64,
    /// The latest version that is known.
    version: i64,
    /// The approval as it was stored last, where this process knows it.
    pub(super) row: Option<Arc<Approval>>,
    /// When something is to be done about it though nobody changes it.
    due: Option<Timestamp>,
    /// Whether its agent wants its running call stopped.
    pub(super) stops: bool,
}

impl Spot {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().expect("no holder of this lock panics")
    }

    /// What was heard so far.
    pub(super) fn heard(&self) -> Heard {
        self.lock().clone()
    }

    /// Whoever waits looks again at that instant.
    pub(super) fn due(&self, at: Option<Timestamp>) {
        self.lock().due = at;
    }

    /// Whoever waits read it so; it is no news to them.
    pub(super) fn knows(&self, approval: &Arc<Approval>) {
        let mut heard = self.lock();
        if heard.row.as_ref().is_none_or(|row| row.version < approval.version) {
            heard.row = Some(Arc::clone(approval));
        }
    }

    fn tell(&self, change: impl FnOnce(&mut Heard)) {
        let mut heard = self.lock();
        heard.count += 1;
        change(&mut heard);
        drop(heard);
        self.changed.notify_waiters();
    }
}

impl Awaited {
    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().expect("no holder of this lock panics")
    }

    fn spot(&self, id: &ApprovalId) -> Option<Arc<Spot>> {
        self.lock().spots.get(id).map(|(spot, _)| Arc::clone(spot))
    }

    fn spots(&self) -> Vec<Arc<Spot>> {
        self.lock().spots.values().map(|(spot, _)| Arc::clone(spot)).collect()
    }

    /// One more waits for an approval of which it knows this version. Also whether a poll must begin.
    pub(super) fn enter(&self, id: &ApprovalId, version: i64) -> (Arc<Spot>, bool) {
        let mut all = self.lock();
        let (spot, waiting) = all.spots.entry(id.clone()).or_default();
        *waiting += 1;
        let spot = Arc::clone(spot);
        let mut heard = spot.lock();
        heard.version = heard.version.max(version);
        drop(heard);
        (spot, !std::mem::replace(&mut all.is_polled, true))
    }

    /// One less does.
    pub(super) fn leave(&self, id: &ApprovalId) {
        let mut all = self.lock();
        if let Some((_, waiting)) = all.spots.get_mut(id) {
            *waiting -= 1;
            if *waiting == 0 {
                all.spots.remove(id);
            }
        }
    }

    /// Whether nobody waits; then the poll ends, and whoever comes begins another.
    pub(super) fn is_over(&self) -> bool {
        let mut all = self.lock();
        all.is_polled = !all.spots.is_empty();
        !all.is_polled
    }

    /// Something may have changed.
    pub(super) fn tell(&self, id: &ApprovalId) {
        if let Some(spot) = self.spot(id) {
            spot.tell(|heard| heard.touched += 1);
        }
    }

    /// The approval as this process saw it last, where somebody waits for it. It may have changed.
    pub(super) fn row(&self, id: &ApprovalId) -> Option<Arc<Approval>> {
        self.spot(id)?.lock().row.clone()
    }

    /// An approval was stored so. An older one than is known says nothing.
    pub(super) fn stands(&self, approval: &Approval) {
        let Some(spot) = self.spot(&approval.id) else { return };
        if spot.lock().row.as_ref().is_some_and(|row| row.version >= approval.version) {
            return;
        }
        let row = Arc::new(approval.clone());
        spot.tell(|heard| {
            heard.version = heard.version.max(row.version);
            heard.row = Some(row);
        });
    }

    /// Everybody looks again.
    pub(super) fn tell_all(&self) {
        for spot in self.spots() {
            spot.tell(|_| {});
        }
    }

    /// Those look again who are to do something at or before `now`.
    pub(super) fn tell_due(&self, now: Timestamp) {
        for spot in self.spots() {
            if spot.lock().due.is_some_and(|due| due <= now) {
                spot.tell(|_| {});
            }
        }
    }

    /// Takes note of what a poll saw; returns those that are not known as they stand now.
    pub(super) fn saw(&self, seen: &[Glimpse]) -> Vec<ApprovalId> {
        let mut unknown = Vec::new();
        for Glimpse { id, version, stops } in seen {
            let Some(spot) = self.spot(id) else { continue };
            let heard = spot.lock();
            let (newer, stopped) = (*version > heard.version, *stops && !heard.stops);
            drop(heard);
            if stopped {
                spot.tell(|heard| heard.stops = true);
            }
            if newer {
                unknown.push(id.clone());
            }
        }
        unknown
    }

    /// All that are waited for.
    pub(super) fn ids(&self) -> Vec<ApprovalId> {
        self.lock().spots.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::pending;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn two() -> (Approval, Approval) {
        let id = |n| ApprovalId::new(uuid::Uuid::from_u128(n));
        let call = r#"{"name":"delete_image_set","arguments":{}}"#;
        let made = |n| pending(id(n), call, &["ben"], at(0));
        (made(1), made(2))
    }

    #[test]
    fn a_change_of_one_approval_wakes_only_those_who_wait_for_it() {
        let (one, other) = two();
        let all = Awaited::default();
        let (first, _) = all.enter(&one.id, 0);
        let (second, _) = all.enter(&one.id, 0);
        let (third, _) = all.enter(&other.id, 0);

        all.tell(&one.id);
        all.stands(&Approval { version: 1, ..one.clone() });

        assert_eq!((first.heard().count, second.heard().count, third.heard().count), (2, 2, 0));
        assert_eq!(first.heard().row.map(|row| row.version), Some(1));
        all.stands(&one);
        assert_eq!(first.heard().count, 2, "older than what is known");
    }

    #[test]
    fn what_a_poll_saw_is_read_only_where_somebody_waits_and_does_not_know_it() {
        let (one, other) = two();
        let all = Awaited::default();
        let (spot, _) = all.enter(&one.id, 3);
        let saw = |version, stops| Glimpse { id: one.id.clone(), version, stops };

        assert!(all.saw(&[saw(3, false)]).is_empty(), "known");
        assert!(all.saw(&[Glimpse { id: other.id.clone(), ..saw(9, false) }]).is_empty());
        assert_eq!(all.saw(&[saw(4, false)]), std::slice::from_ref(&one.id));
        assert_eq!((spot.heard().count, spot.heard().stops), (0, false));
        assert!(all.saw(&[saw(0, true), saw(0, true)]).is_empty());
        assert_eq!((spot.heard().count, spot.heard().stops), (1, true));
    }

    #[test]
    fn an_entry_goes_with_the_last_who_waits_and_the_poll_with_the_last_entry() {
        let (one, _) = two();
        let all = Awaited::default();

        assert!(all.enter(&one.id, 0).1, "the first begins the poll");
        assert!(!all.enter(&one.id, 0).1);
        all.leave(&one.id);
        assert!(!all.is_over() && all.ids() == [one.id.clone()]);
        all.leave(&one.id);
        assert!(all.is_over() && all.ids().is_empty());
        assert!(all.enter(&one.id, 0).1, "another poll begins");
    }

    #[test]
    fn who_has_something_to_do_at_an_instant_is_woken_by_the_time_alone() {
        let (one, other) = two();
        let all = Awaited::default();
        let ((due, _), (not, _)) = (all.enter(&one.id, 0), all.enter(&other.id, 0));
        due.due(Some(at(5)));

        all.tell_due(at(4));
        assert_eq!(due.heard().count, 0);
        all.tell_due(at(5));
        assert_eq!((due.heard().count, not.heard().count), (1, 0));
    }
}
