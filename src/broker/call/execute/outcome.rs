//! What became of an execution, stored: with it goes the row of the held request that it answers.

use crate::broker::Broker;
use crate::broker::call::permit::Continues;
use crate::broker::call::seal;
use crate::domain::approval::{Approval, Outcome, Refusal, State, Transition};
use crate::store::StoreError;
use crate::upstream::{Reply, UpstreamError};

use super::{Done, Recorded, keep, store_backoff};

impl Broker {
    /// Stores what became of a claimed call; none if it was not sent and the claim was taken away.
    pub(super) async fn conclude(
        &self,
        claimed: Approval,
        sent: Result<Reply, UpstreamError>,
        hold: Option<&str>,
    ) -> Option<Done> {
        Some(match sent {
            Ok(reply) => {
                let outcome = match reply {
                    Reply::Result(raw) => Outcome::Result(seal::seal(
                        self,
                        &Continues { approval: claimed.id.to_string(), grant: None },
                        &claimed.agent,
                        claimed.digest(),
                        &raw,
                    )),
                    Reply::Error(raw) => Outcome::Error(raw),
                };
                let told = outcome.clone();
                let kept = keep(outcome, self.config().approvals.max_outcome);
                let after = self.record_outcome(claimed, kept, hold).await;
                // Answered in full even where it is too large to keep.
                after.of(hold, |after| Approval { outcome: Some(told), ..after })
            }
            Err(UpstreamError::NotSent(why)) => {
                let id = &claimed.id;
                tracing::warn!(approval.id = %id, "approval {id} was not sent: {why}");
                let version = claimed.version;
                let release = |a: Approval| match a.version == version {
                    true => a.release(&why, self.now()),
                    false => Err(Refusal::WrongState(a.state)),
                };
                let after = self.record_end(claimed, release, None).await.approval;
                match after.state {
                    // Given up meanwhile, as if this process were dead; people settle it.
                    State::Indeterminate => {
                        Stored { approval: after, with_hold: false }.of(hold, |after| after)
                    }
                    State::Approved if after.version == version + 1 => Done::NotSent(why),
                    // The store could not be written to the last.
                    State::Running if after.version == version => Done::NotSent(why),
                    _ => return None,
                }
            }
            Err(UpstreamError::Lost(why)) => self.lost(claimed, &why, hold).await,
            Err(UpstreamError::Cancelled) => self.lost(claimed, "it was cancelled", hold).await,
        })
    }

    async fn lost(&self, claimed: Approval, why: &str, hold: Option<&str>) -> Done {
        tracing::error!(
            approval.id = %claimed.id,
            "nobody knows what became of approval {}: {why}", claimed.id
        );
        let version = claimed.version;
        let lose = |a: Approval| match a.version == version {
            true => a.lose(why, self.now()),
            false => Err(Refusal::WrongState(a.state)),
        };
        self.record_end(claimed, lose, hold).await.of(hold, |after| after)
    }

    /// The upstream answered: stored, even when the execution was given up meanwhile.
    async fn record_outcome(
        &self,
        claimed: Approval,
        outcome: Outcome,
        hold: Option<&str>,
    ) -> Stored {
        let compute = |a: Approval| match a.state {
            State::Indeterminate => a.answer_late(outcome.clone(), self.now()),
            _ => a.complete(outcome.clone(), self.now()),
        };
        self.record_end(claimed, compute, hold).await
    }

    /// Stores what became of an execution. While the store can't be written it tries again, since
    /// nothing else knows the outcome.
    async fn record_end(
        &self,
        mut current: Approval,
        compute: impl Fn(Approval) -> Result<Transition, Refusal>,
        hold: Option<&str>,
    ) -> Stored {
        let as_it_is = |approval| Stored { approval, with_hold: false };
        if let Some(hold) = hold {
            self.lets_go_of(hold);
        }
        for attempt in 0_u32.. {
            let Ok(transition) = compute(current.clone()) else { return as_it_is(current) };
            match self.apply(transition.detaching(hold.map(str::to_owned))).await {
                Ok(after) => return Stored { approval: after, with_hold: hold.is_some() },
                Err(StoreError::Conflict(now)) => current = *now,
                Err(error) => {
                    tracing::error!(
                        approval.id = %current.id, %error,
                        "what became of approval {} could not be stored yet", current.id
                    );
                    tokio::select! {
                        () = tokio::time::sleep(store_backoff(attempt)) => {}
                        () = self.inner.stop.hard.cancelled() => return as_it_is(current),
                    }
                }
            }
        }
        as_it_is(current)
    }
}

/// An approval as it was stored last.
struct Stored {
    approval: Approval,
    /// Whether the held request was detached in the same transaction.
    with_hold: bool,
}

impl Stored {
    /// What the holder is told. Its own request does not count among those that are still attached.
    fn of(self, hold: Option<&str>, told: impl FnOnce(Approval) -> Approval) -> Done {
        let Self { approval, with_hold: detached } = self;
        let own = u32::from(hold.is_some() && !detached);
        let shared = approval.held > own;
        Done::Recorded(Recorded { approval: Box::new(told(approval)), shared, detached })
    }
}
