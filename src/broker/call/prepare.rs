//! A new approval: the rule's terms resolved to people as they are when the call comes, with its
//! record and its messages. Nothing is stored here.

use crate::domain::absence::Absence;
use crate::domain::approval::{Approval, State, Terms};
use crate::domain::assessment::Assessment;
use crate::domain::audit::{AuditEvent, Kind};
use crate::domain::policy::Rule;
use crate::domain::reservation::Reservation;
use crate::domain::time::Timestamp;
use crate::store::{NewDelivery, StoreError};

use super::asking::Asking;
use crate::broker::Broker;

/// All that is stored of a new approval in one transaction.
pub(in crate::broker) struct Prepared {
    pub(in crate::broker) approval: Approval,
    pub(in crate::broker) event: AuditEvent,
    pub(in crate::broker) deliveries: Vec<NewDelivery>,
}

impl Broker {
    /// The approval, its record and its messages, as they are stored if no limit refuses them.
    ///
    /// # Errors
    /// [`StoreError`], when the absences can't be read.
    pub(in crate::broker) async fn prepare(
        &self,
        asking: &Asking,
        rule: &Rule,
        tool_fingerprint: Option<String>,
        now: Timestamp,
    ) -> Result<Prepared, StoreError> {
        // Who would decide in whose place must be known; who wants to sleep need not be.
        let absences = self.absences(now).await?;
        let approval = self.new_approval(asking, rule, tool_fingerprint, &absences, now);
        let event = self.requested_event(&approval, now);
        let deliveries = self.plan_request(&approval, &self.wishes().await, now);
        Ok(Prepared { approval, event, deliveries })
    }

    fn new_approval(
        &self,
        asking: &Asking,
        rule: &Rule,
        tool_fingerprint: Option<String>,
        absences: &[Absence],
        now: Timestamp,
    ) -> Approval {
        let limits = &self.config().approvals;
        let assessed = Assessment::of(rule, self.classified(&asking.call).as_ref());
        let terms = &rule.approval;
        let asked = self.config().reviewers_of(rule, &asking.agent);
        let owner = asking.agent.owner.as_deref();
        let stand_ins = asked.stand_ins(&self.config().people(), owner, absences, now);
        let notify = terms
            .notify
            .clone()
            .unwrap_or_else(|| self.config().notifiers.iter().map(|n| n.name.clone()).collect());
        Approval {
            id: self.ids().approval(now),
            version: 0,
            state: State::Pending,
            call: asking.call.clone(),
            agent: asking.agent.name.clone(),
            client: asking.client.clone(),
            rule: rule.pointer.clone(),
            reason: rule.reason.clone(),
            risk: assessed.risk,
            severity: assessed.severity,
            terms: Terms {
                reviewers: asked.with_stand_ins(&stand_ins),
                stand_ins,
                quorum: asked.quorum,
                panel: asked.panel,
                claim_window_s: terms.claim_window.unwrap_or(limits.claim_window).as_secs(),
                cooldown_s: terms.cooldown.unwrap_or(limits.cooldown).as_secs(),
                notify,
                unattended: terms.unattended,
                assurance: asked.assurance,
                sensitive: rule.sensitive,
                redact: rule.redact.clone(),
                risk_why: assessed.why_in_words(),
                masked_ok: rule.masked_ok,
                owner: asking.agent.owner.clone(),
                tool_fingerprint,
                address_fingerprint: self.address_fingerprint(&asking.call.upstream),
                reserved: Reservation::default(),
            },
            decisions: Vec::new(),
            created_at: now,
            expires_at: now.plus(terms.timeout.unwrap_or(limits.timeout)),
            decided_at: None,
            claim_deadline: None,
            finished_at: None,
            end_reason: None,
            outcome: None,
            settled: None,
            owed: false,
            executor: None,
            waiting: false,
            held: 0,
            followed: false,
            unsent: false,
            ran_before: None,
        }
    }

    /// With the arguments as reviewers may see them, unless the rule is `sensitive`.
    fn requested_event(&self, approval: &Approval, now: Timestamp) -> AuditEvent {
        let event = AuditEvent::of(Kind::ApprovalRequested, &approval.agent, now, approval);
        if approval.terms.sensitive {
            return event;
        }
        let masked = self.masker().mask(&approval.call.listed_arguments(), &approval.terms.redact);
        event.with_raw("arguments", masked)
    }
}
