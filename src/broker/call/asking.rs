//! A call as the broker is asked for it.

use std::sync::Arc;

use crate::config::Agent;
use crate::domain::approval::ApprovalId;
use crate::domain::call::ToolCall;
use crate::domain::time::Timestamp;
use crate::upstream::ClientCapabilities;

/// A call with who asks.
#[derive(Debug, Clone)]
pub struct Asking {
    /// The agent.
    pub agent: Arc<Agent>,
    /// What its client calls itself, `name/version`.
    pub client: Option<String>,
    /// Id of its legacy session; none in the modern era, where the token stands for the session.
    pub session: Option<String>,
    /// When that session began; what the agent used of a limit before counts in it too.
    pub session_began: Option<Timestamp>,
    /// What its client can be asked (client capabilities).
    pub features: ClientCapabilities,
    /// The call.
    pub call: ToolCall,
    /// The approval that its client was told it waits for, proven by a seal.
    pub waits_for: Option<ApprovalId>,
}
