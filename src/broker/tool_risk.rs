//! What class a tool's calls are of, for the policies that look at it.

use crate::domain::call::{Method, ToolCall};
use crate::domain::classify::Classified;
use crate::domain::json::JsonError;
use crate::domain::policy::{Policy, Rule, Verdict};
use crate::domain::risk::RiskClass;

use super::Broker;

impl Broker {
    /// What the definition of a call's tool says of it; none for other calls, and while no list was
    /// fetched.
    pub(crate) fn classified(&self, call: &ToolCall) -> Option<Classified> {
        match call.method {
            Method::CallTool => self.classified_tool(&call.upstream, &call.tool),
            Method::GetPrompt | Method::ReadResource => None,
        }
    }

    /// The same for a tool.
    pub(crate) fn classified_tool(&self, upstream: &str, tool: &str) -> Option<Classified> {
        let catalog = self.upstream(upstream)?.catalog()?;
        Some(catalog.find(tool)?.risk.clone())
    }

    /// The class of a tool's calls, where the policy looks at it.
    pub(crate) fn class_for(&self, policy: &Policy, call: &ToolCall) -> Option<RiskClass> {
        let looks = policy.looks_at_risk() && call.method == Method::CallTool;
        looks.then(|| self.class_of(&call.upstream, &call.tool)).flatten()
    }

    fn class_of(&self, upstream: &str, tool: &str) -> Option<RiskClass> {
        let catalog = self.upstream(upstream)?.catalog()?;
        Some(catalog.find(tool)?.risk.class)
    }

    /// The policy's verdict on a call, as [`Policy::judge`].
    ///
    /// # Errors
    /// As that function.
    pub(crate) fn judge<'p>(
        &self,
        policy: &'p Policy,
        agent: &str,
        call: &ToolCall,
    ) -> Result<Verdict<'p>, JsonError> {
        policy.judge(agent, call, self.class_for(policy, call))
    }

    /// The rule that decides an agent's calls of a tool, as [`Policy::rule_for`].
    pub(crate) fn rule_for<'p>(
        &self,
        policy: &'p Policy,
        upstream: &str,
        agent: &str,
        tool: &str,
    ) -> Option<&'p Rule> {
        let class = policy.looks_at_risk().then(|| self.class_of(upstream, tool)).flatten();
        policy.rule_for(agent, tool, class)
    }
}
