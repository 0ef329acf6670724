//! Which calls may have an approval that is open, or whose result is still owed: known in memory, so
//! that an allowed call asks no database before it is forwarded. Who finds a call here asks the
//! store; who does not need not
//! ([ADR 70](../../../docs/adr/0070-allowed-calls-ask-no-database.md)).

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher as _;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::domain::call::Digest;
use crate::notified::until;

/// Calls beyond twice as many as were read last, after which they are read again.
const SPARE: usize = 1024;

/// The calls of approvals that are open or owed, and more of those that were.
///
/// Bounded by the approvals that are open or owed: once it holds twice as many as were read last,
/// it is read again, which empties it of the others.
#[derive(Debug, Default)]
pub(in crate::broker) struct OpenCalls {
    names: RandomState,
    known: Mutex<Known>,
    /// A submission ended.
    ended: Notify,
}

#[derive(Debug, Default)]
struct Known {
    /// By a hash of agent and digest. Two calls of one hash ask the store once too often.
    calls: HashMap<u64, Call>,
    /// Whether every call that is open or owed is among them.
    whole: bool,
    /// How many were read last.
    read: usize,
    /// Counts the readings.
    round: u64,
    /// Counts the policies' changes, and how many submissions that began under each are under way.
    era: u64,
    eras: BTreeMap<u64, usize>,
}

#[derive(Debug, Clone, Copy)]
struct Call {
    /// Submissions of it that are under way.
    under_way: u32,
    /// The reading that may forget it, if it does not find it.
    since: u64,
}

/// A submission that is under way: its call counts as open until it is dropped, and longer if it may
/// have been stored.
#[derive(Debug)]
pub(in crate::broker) struct Submitting<'a> {
    all: &'a OpenCalls,
    name: u64,
    era: u64,
}

/// A reading of the store that has begun.
#[derive(Debug, Clone, Copy)]
pub(in crate::broker) struct Reading(u64);

impl OpenCalls {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no holder of this lock panics")
    }

    fn name(&self, agent: &str, digest: &Digest) -> u64 {
        self.names.hash_one((agent, digest.as_str()))
    }

    /// Whether the call may have such an approval; always, while not all are known.
    pub(super) fn may_have(&self, agent: &str, digest: &Digest) -> bool {
        let name = self.name(agent, digest);
        let known = self.lock();
        !known.whole || known.calls.contains_key(&name)
    }

    /// A submission of the call begins: from now on it may have one.
    pub(super) fn begin(&self, agent: &str, digest: &Digest) -> Submitting<'_> {
        let name = self.name(agent, digest);
        let mut known = self.lock();
        let since = known.round + 1;
        let call = known.calls.entry(name).or_insert(Call { under_way: 0, since });
        call.under_way += 1;
        let era = known.era;
        *known.eras.entry(era).or_default() += 1;
        Submitting { all: self, name, era }
    }

    /// Another broker may have made approvals that are not known here: nothing is, until all are read.
    pub(in crate::broker) fn forget(&self) {
        self.lock().whole = false;
    }

    /// Whether it is time to read them again.
    pub(in crate::broker) fn is_due(&self) -> bool {
        let known = self.lock();
        !known.whole || known.calls.len() > known.read * 2 + SPARE
    }

    /// Begins to read them; what the store is asked comes after this.
    pub(in crate::broker) fn begin_reading(&self) -> Reading {
        let mut known = self.lock();
        known.round += 1;
        Reading(known.round)
    }

    /// All that the store had after the reading began. Those whose submission was under way since
    /// stay, whatever it had.
    pub(in crate::broker) fn take(&self, reading: Reading, stored: &[(String, Digest)]) {
        let names: Vec<u64> = stored.iter().map(|(a, d)| self.name(a, d)).collect();
        let mut known = self.lock();
        if known.round != reading.0 {
            return;
        }
        known.calls.retain(|_, call| call.under_way > 0 || call.since > reading.0);
        for name in names {
            known.calls.entry(name).or_insert(Call { under_way: 0, since: reading.0 });
        }
        known.read = known.calls.len();
        known.whole = true;
    }

    /// Resolves once no submission is under way that began before this: what was judged by policies
    /// that are no longer in force is stored, or will not be.
    pub(in crate::broker) async fn judged_before_are_stored(&self) {
        let before = {
            let mut known = self.lock();
            known.era += 1;
            known.era
        };
        let none = || self.lock().eras.range(..before).next().is_none().then_some(());
        until(&self.ended, none).await;
    }
}

impl Drop for Submitting<'_> {
    fn drop(&mut self) {
        let mut known = self.all.lock();
        // Whatever was said of it, it may be seen in the store only by a reading that begins after
        // the next: an answer that was lost is found out meanwhile.
        let since = known.round + 2;
        if let Some(call) = known.calls.get_mut(&self.name) {
            call.under_way -= 1;
            call.since = since;
        }
        if let Some(count) = known.eras.get_mut(&self.era) {
            *count -= 1;
            if *count == 0 {
                known.eras.remove(&self.era);
                drop(known);
                self.all.ended.notify_waiters();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u8) -> Digest {
        format!("sha256:{}", format!("{n:02x}").repeat(32)).parse().unwrap()
    }

    fn read(calls: &OpenCalls, stored: &[u8]) {
        let reading = calls.begin_reading();
        let rows: Vec<_> = stored.iter().map(|n| ("ann".to_owned(), digest(*n))).collect();
        calls.take(reading, &rows);
    }

    #[test]
    fn before_all_were_read_every_call_may_have_an_approval() {
        let calls = OpenCalls::default();
        assert!(calls.may_have("ann", &digest(1)));

        read(&calls, &[1]);

        assert!(calls.may_have("ann", &digest(1)));
        assert!(!calls.may_have("ann", &digest(2)) && !calls.may_have("bob", &digest(1)));
        calls.forget();
        assert!(calls.may_have("ann", &digest(2)) && calls.is_due());
    }

    #[test]
    fn a_submission_that_is_under_way_while_the_store_is_read_is_not_forgotten() {
        let calls = OpenCalls::default();
        read(&calls, &[]);
        let submitting = calls.begin("ann", &digest(1));
        let reading = calls.begin_reading();

        calls.take(reading, &[]);
        assert!(calls.may_have("ann", &digest(1)));
        // It is stored only now, and the reading did not see it.
        drop(submitting);
        assert!(calls.may_have("ann", &digest(1)));
        read(&calls, &[]);
        assert!(calls.may_have("ann", &digest(1)), "its answer may have been lost");
        read(&calls, &[]);
        read(&calls, &[]);
        assert!(!calls.may_have("ann", &digest(1)));
    }

    #[test]
    fn one_that_begins_while_the_store_is_read_is_not_forgotten_either() {
        let calls = OpenCalls::default();
        let reading = calls.begin_reading();
        drop(calls.begin("ann", &digest(1)));

        calls.take(reading, &[]);

        assert!(calls.may_have("ann", &digest(1)));
    }

    #[test]
    fn ended_ones_are_forgotten_once_they_are_many() {
        let calls = OpenCalls::default();
        read(&calls, &[]);
        for n in 0..=SPARE {
            let digest = format!("sha256:{n:064x}").parse().unwrap();
            drop(calls.begin("ann", &digest));
        }
        assert!(calls.is_due());

        read(&calls, &[]);
        read(&calls, &[]);
        read(&calls, &[]);

        assert!(!calls.is_due() && calls.lock().calls.is_empty());
    }

    #[tokio::test]
    async fn submissions_judged_before_a_change_are_waited_for_and_later_ones_are_not() {
        let calls = OpenCalls::default();
        let old = calls.begin("ann", &digest(1));
        let mut waiting = Box::pin(calls.judged_before_are_stored());
        assert!(futures_util::poll!(&mut waiting).is_pending());
        let _new = calls.begin("ann", &digest(2));

        drop(old);

        waiting.await;
    }
}
