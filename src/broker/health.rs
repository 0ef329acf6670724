//! What operators want to know: whether the store works, and how much there is to do.

use std::time::Duration;

use crate::domain::approval::State;
use crate::store::StoreError;

use super::Broker;

/// How much there is to do, over all processes that share the store.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Approvals that wait for reviewers.
    pub pending: i64,
    /// Age of the oldest of them; zero if there is none.
    pub oldest_pending: Duration,
    /// Requests of agents held open.
    pub held: i64,
    /// Approvals kept, for every state.
    pub by_state: Vec<(State, i64)>,
    /// Attempts to notify: by which notifier, with what result, and how many.
    pub attempts: Vec<(String, String, i64)>,
}

impl Broker {
    /// Succeeds if the store can be written.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be written.
    pub async fn check_store(&self) -> Result<(), StoreError> {
        self.store().check().await
    }

    /// The figures as they are now.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn figures(&self) -> Result<Figures, StoreError> {
        let now = self.now();
        let stats = self.store().approvals().stats(now).await?;
        let attempts = self.store().outbox().attempt_counts().await?;
        let count = |state: State| {
            let found = stats.by_state.iter().find(|(name, _)| name == state.as_str());
            found.map_or(0, |(_, count)| *count)
        };
        Ok(Figures {
            pending: count(State::Pending),
            oldest_pending: stats.oldest_pending.map_or(Duration::ZERO, |at| at.until(now)),
            held: stats.held,
            by_state: State::ALL.into_iter().map(|state| (state, count(state))).collect(),
            attempts,
        })
    }
}
