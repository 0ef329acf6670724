//! How far an agent has come with the limits that stand over one of its calls.

use std::collections::HashSet;

use crate::domain::approval::Approval;
use crate::domain::call::{Method, ToolCall};
use crate::domain::policy::{Limit as Policed, RateLimit, Rule, Scope, Window};
use crate::domain::quantity::Quantity;
use crate::domain::time::Timestamp;
use crate::store::counters::{Counter, CounterKey, CounterRow, SessionOf, What};
use crate::store::{LimitKey, StoreError, TOKEN_SESSION};

use super::asking::Asking;
use crate::broker::Broker;

/// What a limit counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counts {
    /// Calls of the agent that wait or are approved.
    Open,
    /// New approvals of the agent.
    New,
    /// Calls of the agent by this rule.
    ByRule,
    /// The same, in each of its sessions.
    ByRuleAndSession,
    /// What one of the rule's limits counts, in words, and whose calls.
    Counter(String, Scope),
}

/// One limit and what is used of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// What it counts.
    pub counts: Counts,
    /// How much is used; none where each session has its own count: a stored call does not name its
    /// session.
    pub used: Option<String>,
    /// The most that is allowed.
    pub max: String,
    /// The time over which it counts; none where the limit is on what is open at one time.
    pub window: Option<Window>,
}

/// A limit of a policy, and the counters in which something is used of it.
#[derive(Debug, Clone)]
pub struct LimitUse {
    /// The limit.
    pub limit: Policed,
    /// What is used in each of its counters.
    pub used: Vec<Used>,
}

/// What is used in one counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// Name of the agent; empty where all agents count together.
    pub agent: String,
    /// Name of the tool; empty where all that share the counter count together.
    pub tool: String,
    /// The beginning of the session's id, `token` for calls without one, or empty where sessions
    /// don't matter.
    pub session: String,
    /// How much is used.
    pub amount: Quantity,
}

/// Most counters of an upstream that are read at once.
const MOST_COUNTERS: u32 = 1_000;
/// Characters of a session's id that are told.
const SESSION_SHOWN: usize = 8;

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
                used: Some(spent.open.to_string()),
                max: config.max_pending_per_agent.to_string(),
                window: None,
            },
            Limit {
                counts: Counts::New,
                used: Some(spent.new.to_string()),
                max: new.max.to_string(),
                window: Some(Window::Sliding(new.window)),
            },
        ];
        if let Some(rate) = rate {
            let counts = if rate.per_agent { Counts::ByRule } else { Counts::ByRuleAndSession };
            let used = spent.limited.map(|n| n.to_string());
            let window = Some(Window::Sliding(rate.window));
            limits.push(Limit { counts, used, max: rate.max.to_string(), window });
        }
        if let Some(rule) = rule.filter(|rule| !rule.limits.is_empty()) {
            limits.extend(self.counted_over(a, rule, now).await?);
        }
        Ok(limits)
    }

    async fn counted_over(
        &self,
        a: &Approval,
        rule: &Rule,
        now: Timestamp,
    ) -> Result<Vec<Limit>, StoreError> {
        let is_read = |l: &&Policed| l.window != Window::Call && l.scope != Scope::Session;
        let counter = |l| counter_of(&a.agent, &a.call, l, SessionOf::Any);
        let counters = rule.limits.iter().filter(is_read).map(counter).collect();
        let mut used = self.store().counters().used(counters, now).await?.into_iter();
        let mut limits = Vec::with_capacity(rule.limits.len());
        for limit in &rule.limits {
            let used = if is_read(&limit) { used.next() } else { None };
            limits.push(Limit {
                counts: Counts::Counter(limit.counts(), limit.scope),
                used: used.map(|amount| amount.to_string()),
                max: limit.max.clone(),
                window: Some(limit.window),
            });
        }
        Ok(limits)
    }

    /// What is used of each limit of an upstream's policy; none where there is no such upstream.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read.
    pub async fn limits_used(&self, upstream: &str) -> Result<Option<Vec<LimitUse>>, StoreError> {
        if self.upstream(upstream).is_none() {
            return Ok(None);
        }
        let Some(policy) = self.policies().of(upstream) else { return Ok(Some(Vec::new())) };
        let now = self.now();
        let rows = self.store().counters().counters_of(upstream, MOST_COUNTERS, now).await?;
        // A limit of all tools stands in the rule of each.
        let mut seen = HashSet::new();
        let all = policy.rules().flat_map(|rule| &rule.limits);
        let all = all.filter(|limit| seen.insert((&limit.pointer, &limit.counter)));
        let all = all.map(|limit| {
            let of = |row: &CounterRow| {
                let amount = row.tally.used(limit.window, now);
                let session = row.session.chars().take(SESSION_SHOWN).collect();
                let CounterKey { agent, tool, .. } = row.key.clone();
                is_of(limit, &row.key).then_some(Used { agent, tool, session, amount })
            };
            let used = rows.iter().filter_map(of).filter(|used| !used.amount.is_zero()).collect();
            LimitUse { limit: limit.clone(), used }
        });
        Ok(Some(all.collect()))
    }
}

/// Whether a counter is one of this limit's.
fn is_of(limit: &Policed, key: &CounterKey) -> bool {
    let what = match (&limit.counter, &key.what) {
        (Some(name), What::Named(what)) => name == what,
        (None, What::Limit(what)) => limit.pointer == *what,
        _ => false,
    };
    let by_agent = matches!(limit.scope, Scope::Session | Scope::Agent);
    let everywhere = limit.scope == Scope::All && limit.counter.is_some();
    what && key.window == limit.window.word()
        && key.agent.is_empty() != by_agent
        && key.upstream.is_empty() == everywhere
}

pub(in crate::broker) fn limit_key(asking: &Asking, rule: &Rule, limit: RateLimit) -> LimitKey {
    let (agent, call) = (&asking.agent.name, &asking.call);
    if limit.per_agent {
        return rate_key(agent, call, rule.counted_under(), "", None);
    }
    let session = asking.session.as_deref().unwrap_or(TOKEN_SESSION);
    rate_key(agent, call, rule.counted_under(), session, asking.session_began)
}

/// The counter of a limit, as a call of this agent counts in it.
pub(crate) fn counter_of(
    agent: &str,
    call: &ToolCall,
    limit: &Policed,
    session: SessionOf,
) -> Counter {
    let shared = limit.counter.as_ref();
    let of_tool = shared.is_none() && call.method == Method::CallTool;
    let everywhere = limit.scope == Scope::All && shared.is_some();
    let by_agent = matches!(limit.scope, Scope::Session | Scope::Agent);
    let part = |applies: bool, text: &str| if applies { text.to_owned() } else { String::new() };
    let what = match shared {
        Some(name) => What::Named(name.clone()),
        None => What::Limit(limit.pointer.clone()),
    };
    Counter {
        key: CounterKey {
            upstream: part(!everywhere, &call.upstream),
            what,
            window: limit.window.word(),
            // A pattern over URIs fits more of them than anybody could count: all count together.
            tool: part(of_tool, &call.tool),
            agent: part(by_agent, agent),
        },
        window: limit.window,
        session: if limit.scope == Scope::Session { session } else { SessionOf::Any },
    }
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
