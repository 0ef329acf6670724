//! Changes of approvals, told as they happen to people who watch.

use crate::config::Reviewer;
use crate::store::StoreError;
use crate::store::changes::Change;

use super::Broker;

/// Changes that get their numbers in one transaction.
const BATCH: u32 = 1_000;

impl Broker {
    /// Numbers the changes that have no number yet.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn number_changes(&self) -> Result<(), StoreError> {
        while self.store().changes().number(BATCH).await? == BATCH {}
        Ok(())
    }

    /// The number of the last change.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn last_change(&self) -> Result<i64, StoreError> {
        self.number_changes().await?;
        self.store().changes().last().await
    }

    /// Up to `limit` changes after a number that this reviewer may see, in order.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn changes_for(
        &self,
        reviewer: &Reviewer,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Change>, StoreError> {
        let who = (!reviewer.role.reads_all()).then_some(reviewer.name.as_str());
        self.store().changes().after(after, who, limit, self.now()).await
    }
}
