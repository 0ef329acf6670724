//! An agent waits for one of its approvals by its id, as the identical call would: for models that
//! can't repeat arguments exactly.
//!
//! It makes no approval and forwards nothing. Only the approval's own call can run, claimed as
//! always. An id proves nothing, so the agent is compared at each use.

use std::sync::Arc;

use crate::config::Agent;
use crate::domain::approval::{Approval, ApprovalId, State};
use crate::domain::call::Method;
use crate::domain::policy::{Action, Verdict};
use crate::upstream::ClientCapabilities;

use super::asking::Asking;
use super::refusals::unreadable;
use super::submit::{NO_LONGER_NEEDED, NO_LONGER_PERMITTED, Submission};
use crate::broker::Broker;

/// Who waits for what.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// The agent.
    pub agent: Arc<Agent>,
    /// What its client calls itself, `name/version`.
    pub client: Option<String>,
    /// Id of its legacy session; none in the modern era.
    pub session: Option<String>,
    /// What its client can be asked.
    pub features: ClientCapabilities,
    /// The upstream at whose address it waits.
    pub upstream: String,
    /// The id it gave, not yet parsed.
    pub approval: String,
}

/// What the policy in force says of a stored call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    Asks,
    Allows,
    Refuses,
}

impl Broker {
    /// Waits for an approval. None if the agent has no such approval of a tool call at this
    /// upstream, or its result is no longer owed.
    pub async fn wait(&self, waiting: Waiting) -> Option<Submission> {
        let id = ApprovalId::parse(&waiting.approval)?;
        let is_own = |a: &Approval| {
            a.agent == waiting.agent.name
                && a.call.upstream == waiting.upstream
                && a.call.method == Method::CallTool
        };
        let found = match self.get(&id).await {
            Ok(found) => found.filter(is_own)?,
            Err(error) => return Some(not_read(&id, &error)),
        };
        self.all_told(&found.agent, found.digest()).await;
        // It may have gone on meanwhile.
        let found = match self.get(&id).await {
            Ok(found) => found?,
            Err(error) => return Some(not_read(&id, &error)),
        };
        let asking = Asking {
            agent: waiting.agent,
            client: waiting.client,
            session: waiting.session,
            session_began: None,
            features: waiting.features,
            call: found.call.clone(),
            waits_for: None,
        };
        match self.wait_for(&asking, found).await {
            Ok(submission) => submission,
            Err(error) => Some(not_read(&id, &error)),
        }
    }

    async fn wait_for(
        &self,
        asking: &Asking,
        found: Approval,
    ) -> Result<Option<Submission>, crate::store::StoreError> {
        let stand = self.stand(asking);
        let overtaken = match (found.state, stand) {
            (State::Pending | State::Approved, Stand::Allows) => NO_LONGER_NEEDED,
            (State::Pending | State::Approved, Stand::Refuses) => NO_LONGER_PERMITTED,
            (State::Pending | State::Approved, Stand::Asks) | (State::Running, _) => {
                return Ok(Some(self.join(asking, found).await?));
            }
            (State::Indeterminate, _) if found.settled.is_none() => {
                return Ok(self.answer_end(&found));
            }
            // As the identical call: the end of a tool that is now denied or hidden is dropped.
            (_, Stand::Refuses) => {
                self.store().approvals().take_end(&found.id, found.end_told(self.now())).await?;
                return Ok(None);
            }
            (_, Stand::Asks | Stand::Allows) => {
                let since = self.now().minus(self.config().approvals.result_retention);
                let recent = found.finished_at.is_some_and(|at| at > since);
                return Ok(if recent { self.answer_end(&found) } else { None });
            }
        };
        let id = found.id.clone();
        if let Some(running) = self.overtake(found, overtaken).await? {
            return Ok(Some(self.join(asking, running).await?));
        }
        Ok(self.get(&id).await?.and_then(|now| self.answer_end(&now)))
    }

    /// How the policy in force judges the stored call. A tool that is gone is refused; while no
    /// list was fetched the policy alone says.
    fn stand(&self, asking: &Asking) -> Stand {
        let call = &asking.call;
        let catalog = self.upstream(&call.upstream).and_then(|u| u.catalog());
        if catalog.is_some_and(|c| c.find(&call.tool).is_none()) {
            return Stand::Refuses;
        }
        let Some(policy) = self.policies().of(&call.upstream) else { return Stand::Refuses };
        match self.judge(&policy, &asking.agent.name, call) {
            Ok(Verdict::Ruled { action: Action::RequireApproval, .. }) => Stand::Asks,
            Ok(Verdict::Ruled { action: Action::Allow, .. }) => Stand::Allows,
            Ok(
                Verdict::Ruled { action: Action::Deny, .. } | Verdict::Hidden | Verdict::Ungoverned,
            )
            | Err(_) => Stand::Refuses,
        }
    }
}

/// The answer while the store can't be read.
fn not_read(id: &ApprovalId, error: &crate::store::StoreError) -> Submission {
    tracing::error!(%error, "an approval that is waited for could not be read");
    Submission::Answered(unreadable(id).into())
}
