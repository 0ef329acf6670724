//! A store of a few lines: approvals, deliveries and links, as far as delivering needs them.

use std::collections::HashMap;
use std::sync::Mutex;

use async_trait::async_trait;

use crate::domain::approval::{Approval, ApprovalId, Transition};
use crate::domain::audit::AuditEvent;
use crate::domain::call::Digest;
use crate::domain::time::Timestamp;
use crate::store::approvals::ApprovalStore;
use crate::store::channels::{ChannelStore, DisabledChannel};
use crate::store::outbox::OutboxStore;
use crate::store::review_links::ReviewLinkStore;
use crate::store::{
    Attempt, AttemptRecord, Delivery, Filter, Lane, Mark, Marked, NewDelivery, Old, QueueStats,
    Result, ReviewLink, Store, Submit, Submitted,
};

/// One delivery and what became of it.
pub(super) struct Row {
    pub(super) delivery: Delivery,
    due_at: Timestamp,
    done: bool,
    pub(super) attempts: Vec<(Timestamp, Attempt)>,
}

#[derive(Default)]
pub(super) struct FakeStore {
    pub(super) approvals: Mutex<Vec<Approval>>,
    pub(super) rows: Mutex<Vec<Row>>,
    pub(super) links: Mutex<Vec<ReviewLink>>,
    pub(super) channels: Mutex<Vec<DisabledChannel>>,
}

impl FakeStore {
    /// Every attempt as `topic recipient result detail`.
    pub(super) fn told(&self) -> Vec<String> {
        let rows = self.rows.lock().unwrap();
        rows.iter()
            .flat_map(|r| r.attempts.iter().map(move |(_, a)| (&r.delivery.new, a)))
            .map(|(new, attempt)| {
                let recipient = new.recipient.as_deref().unwrap_or("-");
                let result = match attempt {
                    Attempt::Delivered { .. } => "delivered".to_owned(),
                    Attempt::Failed { detail, .. } => format!("failed: {detail}"),
                    Attempt::Dropped { detail } => format!("dropped: {detail}"),
                };
                format!("{} {recipient} {result}", new.topic)
            })
            .collect()
    }
}

fn unused<T>() -> T {
    unreachable!("delivering does not ask for this")
}

macro_rules! unused_parts {
    ($($part:ident: $trait:path),* $(,)?) => { $(fn $part(&self) -> &dyn $trait { unused() })* };
}

#[async_trait]
impl Store for FakeStore {
    fn approvals(&self) -> &dyn ApprovalStore {
        self
    }

    fn outbox(&self) -> &dyn OutboxStore {
        self
    }

    fn channels(&self) -> &dyn ChannelStore {
        self
    }

    fn review_links(&self) -> &dyn ReviewLinkStore {
        self
    }

    unused_parts! {
        due: crate::store::due::DueStore,
        holds: crate::store::holds::HoldStore,
        tasks: crate::store::tasks::TaskStore,
        grants: crate::store::grants::GrantStore,
        limits: crate::store::limits::LimitStore,
        counters: crate::store::counters::CounterStore,
        sessions: crate::store::sessions::SessionStore,
        credentials: crate::store::credentials::CredentialStore,
        oidc: crate::store::oidc::OidcStore,
        passkeys: crate::store::passkeys::PasskeyStore,
        settings: crate::store::settings::SettingsStore,
        agents: crate::store::agents::AgentStore,
        client_sessions: crate::store::client_sessions::ClientSessionStore,
        nodes: crate::store::nodes::NodeStore,
        copies: crate::store::copies::CopyStore,
        audit: crate::store::audit::AuditStore,
        changes: crate::store::changes::ChangeStore,
        recorded_calls: crate::store::recorded_calls::RecordedCallStore,
    }

    async fn purge(&self, _now: Timestamp, _old: Old) -> Result<u64> {
        unused()
    }

    async fn secret(&self, _name: &str, _fresh: [u8; 32]) -> Result<[u8; 32]> {
        unused()
    }

    async fn check(&self) -> Result<()> {
        unused()
    }
}

#[async_trait]
impl ApprovalStore for FakeStore {
    async fn find(&self, id: &ApprovalId, _now: Timestamp) -> Result<Option<Approval>> {
        Ok(self.approvals.lock().unwrap().iter().find(|a| a.id == *id).cloned())
    }

    async fn list(&self, filter: &Filter, _now: Timestamp) -> Result<Vec<Approval>> {
        let all = self.approvals.lock().unwrap();
        Ok(all.iter().filter(|a| filter.states.contains(&a.state)).cloned().collect())
    }

    async fn submit(&self, _submit: Submit, _now: Timestamp) -> Result<Submitted> {
        unused()
    }

    async fn apply(
        &self,
        _transition: Transition,
        _deliveries: Vec<NewDelivery>,
        _now: Timestamp,
    ) -> Result<Approval> {
        unused()
    }

    async fn find_identical(
        &self,
        _agent: &str,
        _digest: &Digest,
        _owed_since: Timestamp,
        _now: Timestamp,
    ) -> Result<Option<Approval>> {
        unused()
    }

    async fn open_calls(&self) -> Result<Vec<(String, Digest)>> {
        unused()
    }

    async fn count_by_agent(&self, _filter: &Filter) -> Result<Vec<(String, u64)>> {
        unused()
    }

    async fn take_end(&self, _id: &ApprovalId, _told: AuditEvent) -> Result<bool> {
        unused()
    }

    async fn mark_sent(&self, _mark: &Mark, _now: Timestamp) -> Result<Marked> {
        unused()
    }

    async fn stats(&self, _now: Timestamp) -> Result<QueueStats> {
        unused()
    }
}

#[async_trait]
impl OutboxStore for FakeStore {
    async fn take_over(&self, _now: Timestamp) -> Result<u64> {
        Ok(0)
    }

    async fn due(&self, now: Timestamp) -> Result<Vec<String>> {
        let rows = self.rows.lock().unwrap();
        let due = rows.iter().filter(|r| !r.done && r.due_at <= now);
        let names: std::collections::BTreeSet<String> =
            due.map(|r| r.delivery.new.notifier.clone()).collect();
        Ok(names.into_iter().collect())
    }

    async fn claim(
        &self,
        lane: &Lane,
        now: Timestamp,
        lease_until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Delivery>> {
        let mut rows = self.rows.lock().unwrap();
        let mut busy = lane.busy.clone();
        let due = rows
            .iter_mut()
            .filter(|r| !r.done && r.due_at <= now && r.delivery.new.notifier == lane.notifier)
            .filter(|r| match &r.delivery.new.recipient {
                Some(to) if busy.contains(to) => false,
                Some(to) => {
                    busy.push(to.clone());
                    true
                }
                None => true,
            })
            .take(limit as usize);
        Ok(due
            .map(|r| {
                r.due_at = lease_until;
                r.delivery.clone()
            })
            .collect())
    }

    async fn record_attempt(&self, id: &str, attempt: &Attempt, now: Timestamp) -> Result<()> {
        let mut rows = self.rows.lock().unwrap();
        let row = rows.iter_mut().find(|r| r.delivery.new.id == id).unwrap();
        row.delivery.attempts += 1;
        row.attempts.push((now, attempt.clone()));
        match attempt {
            Attempt::Failed { next, .. } => row.due_at = *next,
            Attempt::Delivered { .. } | Attempt::Dropped { .. } => row.done = true,
        }
        Ok(())
    }

    async fn enqueue(&self, deliveries: Vec<NewDelivery>, now: Timestamp) -> Result<()> {
        let mut rows = self.rows.lock().unwrap();
        for new in deliveries {
            if rows.iter().all(|r| r.delivery.new.id != new.id) {
                let due_at = new.due_at;
                let delivery = Delivery { new, attempts: 0, created_at: now };
                rows.push(Row { delivery, due_at, done: false, attempts: Vec::new() });
            }
        }
        Ok(())
    }

    async fn delivered_since(
        &self,
        recipient: &str,
        topic: &str,
        since: Timestamp,
    ) -> Result<HashMap<String, i64>> {
        let approvals = self.approvals.lock().unwrap();
        let rows = self.rows.lock().unwrap();
        let delivered = |r: &&Row| {
            r.delivery.new.recipient.as_deref() == Some(recipient)
                && r.delivery.new.topic == topic
                && r.attempts
                    .iter()
                    .any(|(at, a)| *at >= since && matches!(a, Attempt::Delivered { .. }))
        };
        let mut by_agent = HashMap::new();
        for row in rows.iter().filter(delivered) {
            let about =
                approvals.iter().find(|a| Some(&a.id) == row.delivery.new.approval.as_ref());
            *by_agent.entry(about.map(|a| a.agent.clone()).unwrap_or_default()).or_default() += 1;
        }
        Ok(by_agent)
    }

    async fn attempts(&self, _approval: &ApprovalId) -> Result<Vec<AttemptRecord>> {
        unused()
    }

    async fn attempt_counts(&self) -> Result<Vec<(String, String, i64)>> {
        unused()
    }
}

#[async_trait]
impl ChannelStore for FakeStore {
    async fn disabled(&self) -> Result<Vec<DisabledChannel>> {
        Ok(self.channels.lock().unwrap().clone())
    }

    async fn disable(&self, channel: &DisabledChannel, _event: AuditEvent) -> Result<()> {
        self.channels.lock().unwrap().push(channel.clone());
        Ok(())
    }

    async fn enable(&self, notifier: &str, _event: AuditEvent) -> Result<bool> {
        self.channels.lock().unwrap().retain(|c| c.notifier != notifier);
        Ok(true)
    }
}

#[async_trait]
impl ReviewLinkStore for FakeStore {
    async fn insert(&self, link: &ReviewLink) -> Result<()> {
        self.links.lock().unwrap().push(link.clone());
        Ok(())
    }

    async fn find(&self, _hash: &str) -> Result<Option<ReviewLink>> {
        unused()
    }
}
