//! The other brokers on the same database, as far as they matter to an allowed call: whether they
//! judge calls by the same policies. Then none of them makes an approval for what is allowed here,
//! and what is known in memory is all there is
//! ([ADR 70](../../docs/adr/0070-allowed-calls-ask-no-database.md)).

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

use crate::notified::until;
use crate::store::StoreError;
use crate::store::nodes::Peer;

use super::Broker;

/// How long what was read of the others counts, and how long after this broker told of its policies
/// it makes no approval by them: by then nobody goes by what was read before.
pub(in crate::broker) const KNOWN_FOR: Duration = Duration::from_secs(2);
/// How often the others are looked at.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Longest wait of a call that needs approval for the others to know of new policies.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

/// What this broker knows of the others, and they of it. Times are the clock's
/// [`uptime`](crate::clock::Clock::uptime).
#[derive(Debug, Default)]
pub(super) struct Peers {
    known: Mutex<Known>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Known {
    /// Nobody else can use the store.
    alone: bool,
    /// When the others were last asked for, and who they were.
    read: Option<(Duration, Vec<Peer>)>,
    /// Which policies the others were told of, and when that was stored.
    told: Option<(Arc<str>, Duration)>,
}

impl Known {
    /// Whether the others go by the same policies, so far as was read not long ago.
    fn agree(&self, policies: &str, now: Duration) -> bool {
        self.agree_all(|other| other.policies == policies, now)
    }

    fn agree_all(&self, agrees: impl Fn(&Peer) -> bool, now: Duration) -> bool {
        self.alone
            || self.read.as_ref().is_some_and(|(at, others)| {
                now.saturating_sub(*at) < KNOWN_FOR && others.iter().all(agrees)
            })
    }

    /// From when on approvals may be made by these policies: none where the others were not told.
    /// `alive` is since when they could see without a gap that this broker is.
    fn may_make(&self, policies: &str, alive: Duration) -> Option<Duration> {
        if self.alone {
            return Some(Duration::ZERO);
        }
        let (told, at) = self.told.as_ref()?;
        if **told != *policies {
            return None;
        }
        let at = (*at).max(alive);
        // Who comes later reads of it, and all that was made before.
        let nobody = self.read.as_ref().is_some_and(|(read, who)| *read >= at && who.is_empty());
        Some(if nobody { at } else { at + KNOWN_FOR })
    }
}

impl Broker {
    fn peers(&self) -> MutexGuard<'_, Known> {
        self.inner.peers.known.lock().expect("no holder of this lock panics")
    }

    /// Whether no other broker makes approvals for calls that are allowed here.
    pub(super) fn peers_agree(&self) -> bool {
        let policies = self.policies().fingerprint();
        self.peers().agree(&policies, self.uptime())
    }

    /// Whether there is no other broker, as far as was read not long ago.
    pub(super) fn is_alone(&self) -> bool {
        self.peers().agree_all(|_| false, self.uptime())
    }

    /// Looks at the other brokers, tells them of new policies, and reads which calls have approvals
    /// where that is not known or is due.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn know_peers(&self) -> Result<(), StoreError> {
        if !self.peers().alone {
            self.tell_policies().await?;
            self.look_at_peers().await?;
        }
        if self.open_calls().is_due() && self.peers_agree() {
            self.read_open_calls().await?;
        }
        Ok(())
    }

    async fn tell_policies(&self) -> Result<(), StoreError> {
        let policies = self.policies().fingerprint();
        if self.peers().told.as_ref().is_some_and(|(told, _)| **told == *policies) {
            return Ok(());
        }
        // What was judged by those before is stored by then, and read by whoever agrees from now on.
        self.open_calls().judged_before_are_stored().await;
        self.store().nodes().tell(self.node(), &policies).await?;
        self.peers().told = Some((policies, self.uptime()));
        self.inner.peers.changed.notify_waiters();
        Ok(())
    }

    async fn look_at_peers(&self) -> Result<(), StoreError> {
        let began = self.uptime();
        let alive = self.store().nodes().alive(self.now()).await?;
        let mut known = self.peers();
        let Some(alive) = alive else {
            known.alone = true;
            return Ok(());
        };
        let (own, others): (Vec<_>, Vec<_>) =
            alive.into_iter().partition(|peer| peer.node == self.node());
        let told = |(told, _): &(Arc<str>, Duration)| own.iter().any(|p| *p.policies == **told);
        if !known.told.as_ref().is_some_and(told) {
            // Its row was removed, as of a broker that slept: it is told again.
            known.told = None;
        }
        let same = known.read.as_ref().is_some_and(|(_, before)| *before == others);
        if !same {
            // Somebody came, went, or judges otherwise than before.
            self.open_calls().forget();
        }
        known.read = Some((began, others));
        drop(known);
        self.inner.peers.changed.notify_waiters();
        Ok(())
    }

    async fn read_open_calls(&self) -> Result<(), StoreError> {
        let reading = self.open_calls().begin_reading();
        let stored = self.store().approvals().open_calls().await?;
        self.open_calls().take(reading, &stored);
        Ok(())
    }

    /// Waits until approvals may be made by the policies in force; false where that takes too long.
    pub(super) async fn may_make_approvals(&self) -> bool {
        let may = || {
            let policies = self.policies().fingerprint();
            self.peers().may_make(&policies, self.alive_since())
        };
        // Nobody waits for the next look because policies were changed a moment ago.
        if may().is_none()
            && let Err(error) = self.know_peers().await
        {
            tracing::warn!(%error, "whether the other brokers know the policies is not known");
        }
        let told = tokio::time::timeout(TOLD_WITHIN, until(&self.inner.peers.changed, may)).await;
        let Ok(from) = told else { return false };
        let wait = from.saturating_sub(self.uptime());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn peer(policies: &str) -> Peer {
        Peer { node: "n".to_owned(), policies: policies.to_owned() }
    }

    #[test]
    fn others_agree_only_by_what_was_read_not_long_ago() {
        let mut known = Known::default();
        assert!(!known.agree("a", second(1)));

        known.read = Some((second(10), vec![peer("a")]));

        assert!(known.agree("a", second(11)));
        assert!(!known.agree("a", second(12)), "too long ago");
        assert!(!known.agree("b", second(11)));
        known.read = Some((second(10), vec![peer("a"), peer("")]));
        assert!(!known.agree("a", second(11)), "one has not told yet");
    }

    #[test]
    fn approvals_are_made_only_by_policies_that_the_others_have_had_time_to_read() {
        let mut known = Known::default();
        assert_eq!(known.may_make("a", second(3)), None);

        known.told = Some(("a".into(), second(10)));

        assert_eq!(known.may_make("b", second(3)), None);
        assert_eq!(known.may_make("a", second(3)), Some(second(12)));
        known.read = Some((second(9), Vec::new()));
        assert_eq!(
            known.may_make("a", second(3)),
            Some(second(12)),
            "somebody may have come since"
        );
        known.read = Some((second(10), Vec::new()));
        assert_eq!(known.may_make("a", second(3)), Some(second(10)));
        assert_eq!(
            known.may_make("a", second(20)),
            Some(second(22)),
            "its lease was over until then"
        );
        known.read = Some((second(11), vec![peer("b")]));
        assert_eq!(known.may_make("a", second(3)), Some(second(12)));
    }
}
