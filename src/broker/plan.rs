//! Who must be told of a change: pure planning, written to the outbox with the change itself.

use crate::domain::approval::Transition;
use crate::domain::time::Timestamp;
use crate::store::NewDelivery;

use super::Broker;

impl Broker {
    /// The messages of a change.
    pub(super) fn plan_change(&self, _t: &Transition, _now: Timestamp) -> Vec<NewDelivery> {
        Vec::new()
    }

    /// The messages of a new approval.
    pub fn plan_request(
        &self,
        _a: &crate::domain::approval::Approval,
        _now: Timestamp,
    ) -> Vec<NewDelivery> {
        Vec::new()
    }
}
