//! A call as the broker is asked for it.

use crate::config::Agent;
use crate::domain::approval::ApprovalId;
use crate::domain::call::ToolCall;
use crate::upstream::ClientCapabilities;

/// A call with who asks.
#[derive(Debug, Clone)]
pub struct Asking {
    /// The agent.
    pub agent: Agent,
    /// What its client calls itself.
    pub client: Option<String>,
    /// Its legacy session; none: the token is the session.
    pub session: Option<String>,
    /// What its client can be asked.
    pub features: ClientCapabilities,
    /// The call.
    pub call: ToolCall,
    /// The approval that its client was told it waits for, proven by a seal.
    pub waits_for: Option<ApprovalId>,
}
