//! How far an agent has come with the limits that stand over one of its calls.

use std::time::Duration;

use crate::domain::approval::Approval;
use crate::domain::call::{Method, ToolCall};
use crate::domain::policy::{RateLimit, Rule};
use crate::domain::time::Timestamp;
use crate::store::{LimitKey, StoreError, TOKEN_SESSION};

use super::asking::Asking;
use crate::broker::Broker;

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// Calls of the agent that wait or are approved.
    Open,
    /// New approvals of the agent.
    New,
    /// Calls of the agent by this rule.
    ByRule,
    /// The same, in each of its sessions.
    ByRuleAndSession,
}

/// One limit and what is used of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// What it counts.
    pub counts: Counts,
    /// How much is used; none where each session has its own count: a stored call does not name its
    /// session.
    pub used: Option<i64>,
    /// The most that is allowed.
    pub max: u32,
    /// The sliding window; none where the limit is on what is open at one time.
    pub window: Option<Duration>,
}

impl Broker {
    /// The limits over this call, as they are counted now.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn limits_over(&self, a: &Approval) -> Result<Vec<Limit>, StoreError> {
        let (config, now) = (&self.config().approvals, self.now());
        let policy = self.policies().of(&a.call.upstream);
        let rule = policy.as_ref().and_then(|p| p.rules().find(|r| r.pointer == a.rule));
        let under = rule.map_or(a.rule.as_str(), Rule::counted_under);
        let rate = rule.and_then(|r| r.rate_limit);
        let key = rate
            .filter(|l| l.per_agent)
            .map(|l| (rate_key(&a.agent, &a.call, under, "", None), now.minus(l.window)));
        let new = config.max_new_per_agent;
        let spent = self.store().limits().spent(&a.agent, now.minus(new.window), key).await?;
        let mut limits = vec![
            Limit {
                counts: Counts::Open,
                used: Some(spent.open),
                max: config.max_pending_per_agent,
                window: None,
            },
            Limit {
                counts: Counts::New,
                used: Some(spent.new),
                max: new.max,
                window: Some(new.window),
            },
        ];
        if let Some(rate) = rate {
            let counts = if rate.per_agent { Counts::ByRule } else { Counts::ByRuleAndSession };
            let window = Some(rate.window);
            limits.push(Limit { counts, used: spent.limited, max: rate.max, window });
        }
        Ok(limits)
    }
}

pub(in crate::broker) fn limit_key(asking: &Asking, rule: &Rule, limit: RateLimit) -> LimitKey {
    let (agent, call) = (&asking.agent.name, &asking.call);
    if limit.per_agent {
        return rate_key(agent, call, rule.counted_under(), "", None);
    }
    let session = asking.session.as_deref().unwrap_or(TOKEN_SESSION);
    rate_key(agent, call, rule.counted_under(), session, asking.session_began)
}

/// The key under which calls of an agent by a rule are counted: of one session, which began then, or
/// of all (empty).
fn rate_key(
    agent: &str,
    call: &ToolCall,
    rule: &str,
    session: &str,
    session_began: Option<Timestamp>,
) -> LimitKey {
    // A pattern over URIs fits more of them than anybody could count: all count together.
    let tool = if call.method == Method::CallTool { call.tool.as_str() } else { "" };
    LimitKey::Calls {
        agent: agent.to_owned(),
        upstream: call.upstream.clone(),
        rule: rule.to_owned(),
        tool: tool.to_owned(),
        session: session.to_owned(),
        session_began,
    }
}
