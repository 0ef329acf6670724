//! What is on its way, by channel. Each channel has a lane of its own, and in it each recipient has
//! one: a mail server that hangs on one address holds up nobody else's mail, and no webhook.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::time::Timestamp;
use crate::store::{Delivery, Lane, StoreError};

use super::{CONCURRENCY, Deliverer, LEASE, lock};

/// Of one channel: ids of deliveries on their way, with their recipients.
pub(super) type OnTheirWay = HashMap<String, Vec<(String, Option<String>)>>;

/// A delivery on its way; dropped when its attempt was recorded.
pub(crate) struct OnItsWay {
    deliverer: Arc<Deliverer>,
    pub(super) delivery: Delivery,
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        let new = &self.delivery.new;
        let mut lanes = lock(&self.deliverer.on_their_way);
        if let Some(lane) = lanes.get_mut(&new.notifier) {
            lane.retain(|(id, _)| *id != new.id);
            if lane.is_empty() {
                lanes.remove(&new.notifier);
            }
        }
    }
}

impl Deliverer {
    /// Leases what is due, in each channel's lane up to [`CONCURRENCY`].
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written; what was leased by then is due again
    /// when its lease is over.
    pub(super) async fn claim(
        self: &Arc<Self>,
        now: Timestamp,
    ) -> Result<Vec<OnItsWay>, StoreError> {
        let outbox = self.store.outbox();
        let taken = outbox.take_over(now).await?;
        if taken > 0 {
            tracing::info!("{taken} messages of a broker that died are sent from here");
        }
        let mut claimed = Vec::new();
        for notifier in outbox.due(now).await? {
            let busy: Vec<_> = lock(&self.on_their_way).get(&notifier).cloned().unwrap_or_default();
            let free = CONCURRENCY.saturating_sub(busy.len());
            if free == 0 {
                continue;
            }
            let lane = Lane {
                notifier,
                node: self.broker.node().to_owned(),
                busy: busy.into_iter().filter_map(|(_, recipient)| recipient).collect(),
            };
            let limit = u32::try_from(free).unwrap_or(u32::MAX);
            for delivery in outbox.claim(&lane, now, now.plus(LEASE), limit).await? {
                claimed.extend(self.begin(delivery));
            }
        }
        Ok(claimed)
    }

    /// Notes that it is on its way; none if it was already, and only its lease ran out.
    fn begin(self: &Arc<Self>, delivery: Delivery) -> Option<OnItsWay> {
        let new = &delivery.new;
        let mut lanes = lock(&self.on_their_way);
        let lane = lanes.entry(new.notifier.clone()).or_default();
        if lane.iter().any(|(id, _)| *id == new.id) {
            return None;
        }
        lane.push((new.id.clone(), new.recipient.clone()));
        drop(lanes);
        Some(OnItsWay { deliverer: Arc::clone(self), delivery })
    }
}
