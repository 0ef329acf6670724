//! What an approval and a decision put into the audit log.

use super::{Approval, Decision};
use crate::domain::audit::{AuditEvent, Kind};
use crate::domain::time::Timestamp;

impl AuditEvent {
    /// A fact about an approval.
    pub fn of(kind: Kind, actor: &str, at: Timestamp, approval: &Approval) -> Self {
        Self { approval: Some(approval.id.to_string()), ..Self::new(kind, actor, at) }
            .by_method(approval.call.method.as_str())
            .with("upstream", &approval.call.upstream)
            .with("tool", &approval.call.shown_tool())
            .with("agent", &approval.agent)
            .with("digest", approval.digest().as_str())
            .with("rule", &approval.rule)
    }

    /// Adds what a reviewer said.
    #[must_use]
    pub fn with_decision(self, decision: &Decision) -> Self {
        self.with("decision", decision.choice.as_str())
            .with("reason", &decision.reason)
            .with("via", decision.via.as_str())
            .with("assurance", decision.assurance.as_str())
    }
}

impl Approval {
    /// The record that its agent was told its end.
    pub fn end_told(&self, at: Timestamp) -> AuditEvent {
        let event = AuditEvent::of(Kind::EndDelivered, &self.agent, at, self);
        event.with("state", self.state.as_str())
    }
}
