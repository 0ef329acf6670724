//! A client that can open pages for its user is sent to the page of the approval that its call
//! waits for, once (<https://modelcontextprotocol.io/specification/2025-11-25/client/elicitation>).
//! It goes on waiting by calling again with the state it was given, which names that approval.
//!
//! The state proves nothing: whoever brings it, as the same agent with the same call, may only wait
//! for that approval and gets its end. It may be brought any number of times.

use crate::domain::approval::{Approval, ApprovalId};
use crate::domain::call::ToolCall;
use crate::domain::json::{self, Node};
use crate::domain::time::Timestamp;
use crate::store::LimitKey;

use super::seal::{self, Purpose};
use crate::broker::Broker;

/// What a call says it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waits {
    /// The approval.
    pub approval: ApprovalId,
    /// How often it was told so, from 1.
    pub round: u32,
}

impl Broker {
    /// Whether the user is to be sent to the page now: the first time for this approval, whichever
    /// request comes first, on any broker. Who was sent once and comes again waits without it.
    pub async fn opens_page(&self, approval: &Approval) -> bool {
        let key = LimitKey::Page(approval.id.clone());
        match self.store().limits().take(&key, 1, Timestamp::from_micros(0), self.now()).await {
            Ok(wait) => wait.is_none(),
            Err(error) => {
                tracing::warn!(%error, "whether a page was shown can't be told; it is not");
                false
            }
        }
    }

    /// The `requestState` with which the same call waits on, good until the end of the approval
    /// can no longer be told.
    pub fn wait_state(&self, approval: &Approval, round: u32) -> String {
        let expires = approval.expires_at.plus(self.config().approvals.result_retention).micros();
        let body = json::object([
            ("approval", json::quote(&approval.id.to_string()).as_str()),
            ("agent", &json::quote(&approval.agent)),
            ("digest", &json::quote(approval.digest().as_str())),
            ("round", &round.to_string()),
            ("expires", &expires.to_string()),
        ]);
        seal::closed(&self.inner.seal_key, Purpose::Wait, &body)
    }

    /// What a call says it waits for, with the call as it was without that; none if it does not
    /// say so, or if what it says is not of this agent and this very call.
    pub fn waits(&self, agent: &str, call: &ToolCall) -> Option<(Waits, ToolCall)> {
        let params = json::parse(&call.params).ok()?;
        let sealed = params.get("requestState")?.as_str()?;
        let body = seal::open(&self.inner.seal_key, Purpose::Wait, sealed)?;
        let said = json::parse(&body).ok()?;
        let text = |key: &str| said.get(key).and_then(Node::as_str);
        let number = |key: &str| said.get(key).and_then(Node::as_number);
        if text("agent") != Some(agent) || text("digest") != Some(call.digest.as_str()) {
            return None;
        }
        let expires = Timestamp::from_micros(number("expires")?.parse().ok()?);
        if expires <= self.now() {
            return None;
        }
        let approval = ApprovalId::parse(text("approval")?)?;
        let round = number("round")?.parse().ok()?;
        let without = params.keep_members(|key| !matches!(key, "requestState" | "inputResponses"));
        let call = ToolCall { params: without.into(), ..call.clone() };
        Some((Waits { approval, round }, call))
    }
}
