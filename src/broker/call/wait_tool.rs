//! The tool with which an agent waits for one of its approvals, and who is offered it.

use crate::config::Agent;

use crate::broker::Broker;

/// Name of the tool that waits.
pub(crate) const WAIT_TOOL: &str = "placet_wait";

impl Broker {
    /// Whether the agent is offered the tool at this upstream: an upstream's own tool of that name
    /// wins.
    pub fn offers_wait(&self, agent: &Agent, upstream: &str) -> bool {
        let own = || {
            let catalog = self.upstream(upstream).and_then(|u| u.catalog());
            catalog.is_some_and(|c| c.find(WAIT_TOOL).is_some())
        };
        agent.wait_tool && !own()
    }
}
