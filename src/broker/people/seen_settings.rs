//! Absences and wishes as they were read a moment ago. They are few and seldom change, and every new
//! approval needs all of them: in a burst they would be read for each.
//!
//! What is changed here counts at once; what another broker changed, after [`MOMENT`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::absence::Absence;
use crate::domain::time::Timestamp;
use crate::store::StoreError;

use super::plan::Wishes;
use crate::broker::Broker;

/// How long what was read stands.
const MOMENT: Duration = Duration::from_millis(100);

/// One value of each kind, replaced by the next reading.
#[derive(Debug, Default)]
pub(in crate::broker) struct SeenSettings {
    /// How often people of this broker changed something.
    changes: AtomicU64,
    absences: Mutex<Option<Seen<Vec<Absence>>>>,
    wishes: Mutex<Option<Seen<Wishes>>>,
}

#[derive(Debug)]
struct Seen<T> {
    value: Arc<T>,
    /// Before it was read.
    at: Instant,
    /// Changes before it was read.
    changes: u64,
}

/// A change of this broker; from its end on what was read before counts no more.
#[derive(Debug)]
pub(super) struct Changing<'a>(&'a SeenSettings);

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.0.changes.fetch_add(1, Ordering::AcqRel);
    }
}

impl SeenSettings {
    /// Something is about to be changed. Kept until it is known that it was, or was not.
    pub(super) const fn change(&self) -> Changing<'_> {
        Changing(self)
    }

    async fn read<T>(
        &self,
        seen: &Mutex<Option<Seen<T>>>,
        at: Instant,
        read: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<Arc<T>, StoreError> {
        let changes = self.changes.load(Ordering::Acquire);
        {
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(seen) = &*seen
                && seen.changes == changes
                && at.duration_since(seen.at) < MOMENT
            {
                return Ok(Arc::clone(&seen.value));
            }
        }
        let value = Arc::new(read.await?);
        let fresh = Seen { value: Arc::clone(&value), at, changes };
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(fresh);
        Ok(value)
    }
}

impl Broker {
    /// Who is away from when to when, now or later; some may be over at `now`.
    ///
    /// # Errors
    /// [`StoreError`], when that can't be read.
    pub(in crate::broker) async fn absences(
        &self,
        now: Timestamp,
    ) -> Result<Arc<Vec<Absence>>, StoreError> {
        let seen = &self.inner.seen_settings;
        seen.read(&seen.absences, Instant::now(), self.store().settings().absences(now)).await
    }

    /// What everybody wants to be told. If that can't be read, everybody is told everything: a
    /// failing read must not keep an outcome from being stored, nor a call from its reviewers.
    pub(in crate::broker) async fn wishes(&self) -> Wishes {
        let seen = &self.inner.seen_settings;
        let read = async { self.store().settings().preferences().await.map(Wishes::new) };
        match seen.read(&seen.wishes, Instant::now(), read).await {
            Ok(wishes) => wishes.as_ref().clone(),
            Err(error) => {
                tracing::error!(%error, "what people want to be told can't be read");
                Wishes::default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_changed_here_counts_at_once_and_what_was_read_stands_for_a_moment() {
        let (seen, kept, begun) = (SeenSettings::default(), Mutex::default(), Instant::now());
        let read = async |value: u8, after: Duration| {
            *seen.read(&kept, begun + after, async { Ok(value) }).await.unwrap()
        };

        assert_eq!(read(1, Duration::ZERO).await, 1);
        assert_eq!(read(2, MOMENT / 2).await, 1);
        let changing = seen.change();
        assert_eq!(read(3, MOMENT / 2).await, 1, "not stored yet");
        drop(changing);
        assert_eq!(read(4, MOMENT / 2).await, 4);
        assert_eq!(read(5, MOMENT).await, 4);
        assert_eq!(read(6, MOMENT * 3 / 2).await, 6);
        let fails = seen.read(&kept, begun + MOMENT * 3, async { Err(StoreError::away()) }).await;
        assert!(fails.is_err(), "a reading that fails is not made up for by an older one");
    }
}
