//! A store of a few lines: approvals, deliveries and links, as far as delivering needs them.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::approval::{Approval, ApprovalId, Transition};
use crate::domain::audit::{AuditEvent, Record};
use crate::domain::call::Digest;
use crate::domain::hold_budget::{HoldBudget, Learned};
use crate::domain::time::Timestamp;
use crate::store::{
    Activity, Attempt, AttemptRecord, ClientSession, Delivery, Filter, NewDelivery, NewHold,
    QueueStats, Result, ReviewLink, Session, SignIn, Spent, Store, Submit, Submitted,
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

#[async_trait]
impl Store for FakeStore {
    fn tasks(&self) -> &dyn crate::store::tasks::TaskStore {
        unused()
    }

    fn settings(&self) -> &dyn crate::store::settings::SettingsStore {
        unused()
    }

    fn oidc(&self) -> &dyn crate::store::oidc::OidcStore {
        unused()
    }

    fn passkeys(&self) -> &dyn crate::store::passkeys::PasskeyStore {
        unused()
    }

    fn grants(&self) -> &dyn crate::store::grants::GrantStore {
        unused()
    }

    async fn find(&self, id: &ApprovalId, _now: Timestamp) -> Result<Option<Approval>> {
        Ok(self.approvals.lock().unwrap().iter().find(|a| a.id == *id).cloned())
    }

    async fn list(&self, filter: &Filter, _now: Timestamp) -> Result<Vec<Approval>> {
        let all = self.approvals.lock().unwrap();
        Ok(all.iter().filter(|a| filter.states.contains(&a.state)).cloned().collect())
    }

    async fn claim_deliveries(
        &self,
        now: Timestamp,
        lease_until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Delivery>> {
        let mut rows = self.rows.lock().unwrap();
        let due = rows.iter_mut().filter(|r| !r.done && r.due_at <= now).take(limit as usize);
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

    async fn delivered_since(&self, recipient: &str, topic: &str, since: Timestamp) -> Result<i64> {
        let rows = self.rows.lock().unwrap();
        let delivered = |r: &&Row| {
            r.delivery.new.recipient.as_deref() == Some(recipient)
                && r.delivery.new.topic == topic
                && r.attempts
                    .iter()
                    .any(|(at, a)| *at >= since && matches!(a, Attempt::Delivered { .. }))
        };
        Ok(i64::try_from(rows.iter().filter(delivered).count()).unwrap())
    }

    async fn insert_review_link(&self, link: &ReviewLink) -> Result<()> {
        self.links.lock().unwrap().push(link.clone());
        Ok(())
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

    async fn take_end(&self, _id: &ApprovalId, _now: Timestamp) -> Result<bool> {
        unused()
    }

    async fn attach(
        &self,
        _id: &ApprovalId,
        _hold: &NewHold,
        _max_held: u32,
        _now: Timestamp,
    ) -> Result<bool> {
        unused()
    }

    async fn detach(&self, _hold: &str, _now: Timestamp) -> Result<i64> {
        unused()
    }

    async fn attached(&self, _id: &ApprovalId, _now: Timestamp) -> Result<i64> {
        unused()
    }

    async fn due_expiries(&self, _now: Timestamp, _limit: u32) -> Result<Vec<ApprovalId>> {
        unused()
    }

    async fn orphaned(&self, _now: Timestamp, _limit: u32) -> Result<Vec<ApprovalId>> {
        unused()
    }

    async fn unattended(&self, _now: Timestamp, _limit: u32) -> Result<Vec<ApprovalId>> {
        unused()
    }

    async fn renew_node(&self, _node: &str, _now: Timestamp, _until: Timestamp) -> Result<()> {
        unused()
    }

    async fn end_node(&self, _node: &str, _now: Timestamp) -> Result<()> {
        unused()
    }

    async fn purge(&self, _now: Timestamp, _history_before: Timestamp) -> Result<u64> {
        unused()
    }

    async fn take_limit(
        &self,
        _key: &str,
        _max: u32,
        _since: Timestamp,
        _now: Timestamp,
    ) -> Result<Option<u64>> {
        unused()
    }

    async fn attempts(&self, _approval: &ApprovalId) -> Result<Vec<AttemptRecord>> {
        unused()
    }

    async fn attempt_counts(&self) -> Result<Vec<(String, String, i64)>> {
        unused()
    }

    async fn spent(
        &self,
        _agent: &str,
        _new_since: Timestamp,
        _limit: Option<(String, Timestamp)>,
    ) -> Result<Spent> {
        unused()
    }

    async fn give_back_limit(&self, _key: &str) -> Result<()> {
        unused()
    }

    async fn find_review_link(&self, _hash: &str) -> Result<Option<ReviewLink>> {
        unused()
    }

    async fn insert_sign_in(
        &self,
        _hash: &str,
        _sign_in: &SignIn,
        _expires_at: Timestamp,
    ) -> Result<()> {
        unused()
    }

    async fn find_sign_in(&self, _hash: &str, _now: Timestamp) -> Result<Option<SignIn>> {
        unused()
    }

    async fn consume_sign_in(
        &self,
        _hash: &str,
        _session: &Session,
        _now: Timestamp,
    ) -> Result<bool> {
        unused()
    }

    async fn insert_session(&self, _session: &Session) -> Result<()> {
        unused()
    }

    async fn find_session(
        &self,
        _hash: &str,
        _idle_since: Timestamp,
        _now: Timestamp,
    ) -> Result<Option<Session>> {
        unused()
    }

    async fn delete_session(&self, _hash: &str) -> Result<()> {
        unused()
    }

    async fn insert_client_session(&self, _session: &ClientSession, _max: u32) -> Result<bool> {
        unused()
    }

    async fn find_client_session(
        &self,
        _id: &str,
        _now: Timestamp,
    ) -> Result<Option<ClientSession>> {
        unused()
    }

    async fn delete_client_session(&self, _id: &str) -> Result<()> {
        unused()
    }

    async fn hold_budget(&self, _agent: &str, _with_progress: bool) -> Result<HoldBudget> {
        unused()
    }

    async fn hold_dropped(
        &self,
        _agent: &str,
        _with_progress: bool,
        _after: Duration,
        _event: AuditEvent,
    ) -> Result<Option<Learned>> {
        unused()
    }

    async fn hold_answered(&self, _agent: &str, _with_progress: bool) -> Result<()> {
        unused()
    }

    async fn forget_hold_budget(&self, _agent: &str, _event: AuditEvent) -> Result<bool> {
        unused()
    }

    async fn activity(&self, _agent: &str) -> Result<Activity> {
        unused()
    }

    async fn append_audit(&self, _events: Vec<AuditEvent>) -> Result<()> {
        unused()
    }

    async fn seal_audit(&self, _limit: u32) -> Result<u32> {
        unused()
    }

    async fn list_audit(&self, _after: i64, _limit: u32) -> Result<Vec<Record>> {
        unused()
    }

    async fn unsealed_audit(&self) -> Result<i64> {
        unused()
    }

    async fn secret(&self, _name: &str, _fresh: [u8; 32]) -> Result<[u8; 32]> {
        unused()
    }

    async fn stats(&self, _now: Timestamp) -> Result<QueueStats> {
        unused()
    }

    async fn check(&self) -> Result<()> {
        unused()
    }
}
