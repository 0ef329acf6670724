//! Requests that are about a resource or a prompt and do not fetch it: a subscription, a
//! completion. They are judged by the rule of what they are about; nobody is asked for them, since
//! what needs approval is shown by the read alone.

use crate::domain::audit::Kind;
use crate::domain::json;
use crate::domain::policy::{Action, CallFacts, Verdict};

use super::Broker;
use super::answer::Statement;
use super::asking::Asking;
use super::limits::limit_key;
use super::refusals::{denied, limited, unavailable};

/// What becomes of such a request.
#[derive(Debug)]
pub enum Admission {
    /// It passes.
    Passes,
    /// What it is about is hidden: answered as if it did not exist.
    Unknown,
    /// Denied or limited; this is the answer.
    Said(Box<Statement>),
}

impl Broker {
    /// Judges a request `by` a method of its own about what `asking` would fetch; `counted` where
    /// the rule's limit is for it, too.
    pub async fn admit(&self, asking: &Asking, by: &str, counted: bool) -> Admission {
        let call = &asking.call;
        let Some(policy) = self.policies().of(&call.upstream) else { return Admission::Passes };
        let sent = call.arguments();
        // It was read out of valid JSON; what can't be judged does not pass.
        let Ok(arguments) = json::parse(&sent) else { return Admission::Unknown };
        let facts = CallFacts {
            agent: &asking.agent.name,
            upstream: &call.upstream,
            tool: &call.tool,
            arguments: &arguments,
        };
        let title = format!("{by} {}", call.tool);
        let now = self.now();
        let (action, rule) = match policy.evaluate_as(call.method, &facts) {
            None => return Admission::Passes,
            Some(Verdict::Hidden) => return Admission::Unknown,
            Some(Verdict::Ruled { action, rule }) => (action, rule),
        };
        let said = |statement: Statement| Admission::Said(Box::new(statement));
        if action == Action::Deny {
            self.metrics().call(&call.upstream, "deny");
            self.note(asking, Kind::CallDenied, &rule.pointer, by).await;
            return said(denied(&title, &rule.pointer, rule.reason.clone()));
        }
        if let (Some(limit), true) = (rule.rate_limit, counted) {
            let key = limit_key(asking, rule, limit);
            match self.store().limits().take(&key, limit.max, now.minus(limit.window), now).await {
                Ok(None) => {}
                Ok(Some(wait_ms)) => {
                    self.metrics().call(&call.upstream, "rate_limited");
                    self.note(asking, Kind::CallLimited, &rule.pointer, by).await;
                    return said(limited(&title, &rule.pointer, wait_ms));
                }
                Err(error) => {
                    tracing::error!(%error, "a limit could not be counted; it is refused");
                    return said(unavailable());
                }
            }
        }
        Admission::Passes
    }

    async fn note(&self, asking: &Asking, kind: Kind, rule: &str, by: &str) {
        let event = self.call_event(kind, asking, rule).with("by", by);
        if let Err(error) = self.record(vec![event]).await {
            tracing::error!(%error, "a refusal could not be recorded; it stands all the same");
        }
    }
}
