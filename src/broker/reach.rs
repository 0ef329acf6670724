//! Whether the store answers now. Signs of life, hand-over and allowed calls go on without it; they
//! wait for it only for a moment, and not at all while it is known to be away.
//!
//! A verb that nobody waits for any more is not dropped half way: it runs on a task of its own.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::store::StoreError;

use super::Broker;

/// Longest wait for the store of what must go on without it.
pub(in crate::broker) const MOMENT: Duration = Duration::from_secs(1);

/// Longest wait where a call can't be let through uncounted.
pub(in crate::broker) const COUNTED_WITHIN: Duration = Duration::from_secs(5);

/// Whether the store was away when it was last asked.
#[derive(Debug, Default)]
pub(super) struct Reach {
    away: AtomicBool,
}

impl Broker {
    /// Whether the store did not answer when it was last asked.
    pub fn store_is_away(&self) -> bool {
        self.inner.reach.away.load(Ordering::Relaxed)
    }

    /// Notes whether the store answers.
    pub(super) fn store_answers(&self, answers: bool) {
        if self.inner.reach.away.swap(!answers, Ordering::Relaxed) == answers {
            if answers {
                tracing::info!("the store answers again");
            } else {
                tracing::error!("the store does not answer; what needs none goes on without it");
            }
        }
    }

    /// What the store says, if it says so within a moment. One that does not is noted as away, and
    /// not asked again before it is seen to answer ([`Broker::reconcile`]).
    ///
    /// # Errors
    /// [`StoreError`], when the store fails, is known to be away, or takes longer.
    pub(super) async fn asked_briefly<T: Send + 'static>(
        &self,
        verb: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.asked_within(MOMENT, verb).await
    }

    /// The same, if it says so within `longest`.
    ///
    /// # Errors
    /// [`StoreError`], when the store fails, is known to be away, or takes longer.
    pub(super) async fn asked_within<T: Send + 'static>(
        &self,
        longest: Duration,
        verb: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        if self.store_is_away() {
            return Err(StoreError::away());
        }
        let said = match tokio::time::timeout(longest, tokio::spawn(verb)).await {
            Ok(Ok(said)) => said,
            Ok(Err(_)) | Err(_) => Err(StoreError::away()),
        };
        if said.as_ref().is_err_and(StoreError::is_outage) {
            self.store_answers(false);
        }
        said
    }

    /// Has a verb done whose outcome nothing depends on, and waits for it for a moment; none if that
    /// was not enough, or the store is away.
    pub(super) async fn done_briefly<T: Send + 'static>(
        &self,
        verb: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Option<Result<T, StoreError>> {
        if self.store_is_away() {
            return None;
        }
        let verb = tokio::spawn(verb);
        // Whoever waits for this process to stop does not wait for that.
        let longest = if self.stopping() { Duration::ZERO } else { MOMENT };
        tokio::time::timeout(longest, verb).await.ok()?.ok()
    }
}
