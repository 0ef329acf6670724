//! A reviewer's verbs as pages, links and API share them.

use crate::broker::DecideError;
use crate::broker::people::decide::DecisionRequest;
use crate::config::Reviewer;
use crate::domain::approval::{Approval, ApprovalId, State, Via};
use crate::domain::audit::{AuditEvent, Kind};

use super::Web;
use super::error::{Code, Problem};

impl Web {
    /// Records a decision on an approval that was read for this request and that its reviewer may
    /// see, and how long it took to come.
    ///
    /// # Errors
    /// What the broker refuses, as a [`Problem`]: not found, not allowed, decided before, expired,
    /// another digest; `unavailable` if the store failed.
    pub(super) async fn decide(
        &self,
        visible: Approval,
        reviewer: &Reviewer,
        decision: DecisionRequest,
    ) -> Result<Approval, Problem> {
        let before = visible.state;
        let after = self.broker.decide_on(visible, reviewer, decision).await?;
        if before == State::Pending
            && let Some(at) = after.decided_at
        {
            self.metrics.decision_seconds(after.created_at.until(at).as_secs_f64());
        }
        Ok(after)
    }

    /// Records that somebody is about to see what is masked elsewhere.
    ///
    /// # Errors
    /// [`DecideError::Store`]: the record could not be written. The caller must then show nothing.
    pub(super) async fn record_reveal(
        &self,
        approval: &Approval,
        reviewer: &Reviewer,
        via: Via,
    ) -> Result<(), DecideError> {
        let event = AuditEvent::of(Kind::Revealed, &reviewer.name, self.broker.now(), approval)
            .with("via", via.as_str());
        Ok(self.broker.record(vec![event]).await?)
    }
}

/// Reads an approval's id out of a path.
///
/// # Errors
/// `not_found`: it is not an approval's id.
pub(crate) fn approval_id(text: &str) -> Result<ApprovalId, Problem> {
    ApprovalId::parse(text).ok_or_else(|| {
        Problem::new(Code::NotFound, "there is no such approval, or it is not yours to see")
    })
}
