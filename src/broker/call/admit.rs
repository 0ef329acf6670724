//! Requests that are about a resource or a prompt and do not fetch it: a subscription
//! (<https://modelcontextprotocol.io/specification/2025-11-25/server/resources#subscriptions>), a
//! completion (see
//! <https://modelcontextprotocol.io/specification/2025-11-25/server/utilities/completion>). They
//! are judged by the rule for the resource or prompt; nobody is asked for approval of them, since
//! only the later read shows anything that needs it.

use crate::domain::audit::{AuditEvent, Kind};
use crate::domain::policy::{Action, Denial, Verdict};

use super::answer::Statement;
use super::asking::Asking;
use super::counting::Uncounted;
use super::refusals::{NO_POLICY, denied, unavailable};
use crate::broker::Broker;

/// Most characters of a method's name that a record and an answer repeat.
const MAX_SHOWN: usize = 128;

/// What becomes of such a request.
#[derive(Debug)]
pub enum Admission {
    /// It passes.
    Passes,
    /// The resource or prompt is hidden: the answer is as if it did not exist.
    Unknown,
    /// It is denied or limited, and this is the answer.
    Statement(Box<Statement>),
}

impl Broker {
    /// Judges a request, whose method is `by`, about what `asking` would fetch. If `counted`, it
    /// counts as a use of the rule's limit.
    pub async fn admit(&self, asking: &Asking, by: &str, counted: bool) -> Admission {
        let call = &asking.call;
        let Some(policy) = self.policies().of(&call.upstream) else {
            return Admission::Statement(Box::new(self.no_policy(asking, by).await));
        };
        let title = format!("{by} {}", call.shown_tool());
        let now = self.now();
        let (action, rule, check) = match self.judge(&policy, &asking.agent.name, call) {
            Ok(Verdict::Ungoverned) => return Admission::Passes,
            Ok(Verdict::Ruled { action, rule, check }) => (action, rule, check),
            // What can't be judged does not pass.
            Ok(Verdict::Hidden) | Err(_) => return Admission::Unknown,
        };
        let said = |statement: Statement| Admission::Statement(Box::new(statement));
        if action == Action::Deny {
            self.metrics().call(&call.upstream, "deny");
            let denial = rule.denial(check);
            self.note(asking, Kind::CallDenied, &denial.rule, by).await;
            return said(denied(&title, &denial));
        }
        if !counted {
            return Admission::Passes;
        }
        match self.count(asking, rule, &title, now).await {
            Ok(None) => {}
            Ok(Some(counted)) => drop(counted.begin()),
            Err(Uncounted::Refused(statement)) => {
                self.metrics().call(&call.upstream, "rate_limited");
                let pointer = statement.rule.as_deref().unwrap_or(&rule.pointer);
                self.note(asking, Kind::CallLimited, pointer, by).await;
                return said(*statement);
            }
            Err(Uncounted::Store(_)) => return said(unavailable()),
        }
        Admission::Passes
    }

    async fn no_policy(&self, asking: &Asking, by: &str) -> Statement {
        let call = &asking.call;
        self.metrics().call(&call.upstream, "deny");
        self.note(asking, Kind::CallDenied, "/default", by).await;
        let denial = Denial::new("/default", Some(NO_POLICY.to_owned()));
        denied(&format!("{by} {}", call.shown_tool()), &denial)
    }

    /// Denies a method as such, be it of a request or a notification, and records it. At the
    /// address of all upstreams the upstream is empty.
    pub async fn deny_method(&self, agent: &str, upstream: &str, method: &str) -> Statement {
        self.metrics().call(upstream, "deny");
        // The sender chooses the name, and how long it is.
        let shown: String = method.chars().take(MAX_SHOWN).collect();
        let (rule, reason) = if upstream.is_empty() || self.policies().of(upstream).is_some() {
            ("/methods", "the specification has no such method, and the policy does not list it")
        } else {
            ("/default", NO_POLICY)
        };
        let event = AuditEvent::new(Kind::CallDenied, agent, self.now())
            .with("method", &shown)
            .with("upstream", upstream)
            .with("agent", agent)
            .with("rule", rule);
        self.record_refusal(event).await;
        let denial = Denial::new(rule, Some(reason.to_owned()));
        denied(&format!("The method {shown:?}"), &denial)
    }

    async fn note(&self, asking: &Asking, kind: Kind, rule: &str, by: &str) {
        let event = self.call_event(kind, asking, rule).with("by", by);
        self.record_refusal(event).await;
    }
}
