//! The store in SQL, the same statements for SQLite and PostgreSQL.
//!
//! Every writing verb runs on a task of its own: a caller that goes away does not leave a
//! transaction half way.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::domain::approval::{Approval, ApprovalId, Transition};
use crate::domain::audit::{AuditEvent, Record};
use crate::domain::call::{Digest, hex};
use crate::domain::patience::{Learned, Patience};
use crate::domain::time::Timestamp;

#[cfg(test)]
pub(crate) use super::driver::recorded;

use super::driver::Db;
use super::{
    Activity, Attempt, AttemptRecord, ClientSession, Delivery, Filter, NewDelivery, NewHold,
    QueueStats, Result, ReviewLink, Session, SignIn, Spent, Store, StoreError, Submit, Submitted,
};

mod agents;
mod approvals;
mod audit;
mod grants;
mod limits;
mod oidc;
mod outbox;
mod passkeys;
mod people;
mod settings;
mod tasks;
mod words;

/// SQLite or PostgreSQL.
#[derive(Debug, Clone)]
pub struct SqlStore {
    db: Db,
}

impl SqlStore {
    /// Connects and brings the schema up to date.
    ///
    /// # Errors
    /// The URL can't be read, the database can't be reached, or its schema is newer.
    pub async fn open(url: &str) -> Result<Self> {
        let store = Self { db: Db::connect(url).await? };
        store.db.migrate().await?;
        Ok(store)
    }

    /// Closes all connections; unfinished transactions are rolled back.
    pub async fn close(&self) {
        self.db.close().await;
    }

    async fn run<T, F>(&self, verb: impl FnOnce(Db) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let verb = verb(self.db.clone());
        let (done, answer) = oneshot::channel();
        // Nobody may wait for it any more.
        spawn(Box::pin(async move { drop(done.send(verb.await)) }));
        answer.await.unwrap_or(Err(StoreError::Unavailable(sqlx::Error::WorkerCrashed)))
    }
}

/// Spawns what is boxed already: a task of each verb's own type would be compiled fifty times.
fn spawn(work: Pin<Box<dyn Future<Output = ()> + Send>>) {
    tokio::spawn(work);
}

#[async_trait]
impl Store for SqlStore {
    fn tasks(&self) -> &dyn super::tasks::TaskStore {
        self
    }

    fn settings(&self) -> &dyn super::settings::SettingsStore {
        self
    }

    fn passkeys(&self) -> &dyn super::passkeys::PasskeyStore {
        self
    }

    fn grants(&self) -> &dyn super::grants::GrantStore {
        self
    }

    fn oidc(&self) -> &dyn super::oidc::OidcStore {
        self
    }

    async fn submit(&self, submit: Submit, now: Timestamp) -> Result<Submitted> {
        self.run(|db| approvals::submit(db, submit, now)).await
    }

    async fn apply(
        &self,
        transition: Transition,
        deliveries: Vec<NewDelivery>,
        now: Timestamp,
    ) -> Result<Approval> {
        self.run(|db| approvals::apply(db, transition, deliveries, now)).await
    }

    async fn find(&self, id: &ApprovalId, now: Timestamp) -> Result<Option<Approval>> {
        approvals::find(self.db.clone(), id.clone(), now).await
    }

    async fn find_identical(
        &self,
        agent: &str,
        digest: &Digest,
        owed_since: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Approval>> {
        let (db, agent, digest) = (self.db.clone(), agent.to_owned(), digest.clone());
        approvals::find_identical(db, agent, digest, owed_since, now).await
    }

    async fn list(&self, filter: &Filter, now: Timestamp) -> Result<Vec<Approval>> {
        approvals::list(self.db.clone(), filter.clone(), now).await
    }

    async fn take_end(&self, id: &ApprovalId, now: Timestamp) -> Result<bool> {
        let id = id.clone();
        self.run(|db| approvals::take_end(db, id, now)).await
    }

    async fn attach(
        &self,
        id: &ApprovalId,
        hold: &NewHold,
        max_held: u32,
        now: Timestamp,
    ) -> Result<bool> {
        let (id, hold) = (id.clone(), hold.clone());
        self.run(|db| approvals::attach(db, id, hold, max_held, now)).await
    }

    async fn detach(&self, hold: &str, now: Timestamp) -> Result<i64> {
        let hold = hold.to_owned();
        self.run(|db| approvals::detach(db, hold, now)).await
    }

    async fn attached(&self, id: &ApprovalId, now: Timestamp) -> Result<i64> {
        approvals::attached(self.db.clone(), id.clone(), now).await
    }

    async fn due_expiries(&self, now: Timestamp, limit: u32) -> Result<Vec<ApprovalId>> {
        approvals::due_expiries(self.db.clone(), now, limit).await
    }

    async fn orphaned(&self, now: Timestamp, limit: u32) -> Result<Vec<ApprovalId>> {
        approvals::orphaned(self.db.clone(), now, limit).await
    }

    async fn unattended(&self, now: Timestamp, limit: u32) -> Result<Vec<ApprovalId>> {
        approvals::unattended(self.db.clone(), now, limit).await
    }

    async fn renew_node(&self, node: &str, now: Timestamp, until: Timestamp) -> Result<()> {
        let node = node.to_owned();
        self.run(|db| people::renew_node(db, node, now, until)).await
    }

    async fn end_node(&self, node: &str, _now: Timestamp) -> Result<()> {
        let node = node.to_owned();
        self.run(|db| people::end_node(db, node)).await
    }

    async fn purge(&self, now: Timestamp, history_before: Timestamp) -> Result<u64> {
        self.run(|db| people::purge(db, now, history_before)).await
    }

    async fn take_limit(
        &self,
        key: &str,
        max: u32,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<Option<u64>> {
        let key = key.to_owned();
        self.run(|db| limits::take_limit(db, key, max, since, now)).await
    }

    async fn spent(
        &self,
        agent: &str,
        new_since: Timestamp,
        limit: Option<(String, Timestamp)>,
    ) -> Result<Spent> {
        let agent = agent.to_owned();
        self.run(|db| limits::spent(db, agent, new_since, limit)).await
    }

    async fn give_back_limit(&self, key: &str) -> Result<()> {
        let key = key.to_owned();
        self.run(|db| limits::give_back_limit(db, key)).await
    }

    async fn claim_deliveries(
        &self,
        now: Timestamp,
        lease_until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Delivery>> {
        self.run(|db| outbox::claim(db, now, lease_until, limit)).await
    }

    async fn record_attempt(
        &self,
        delivery: &str,
        attempt: &Attempt,
        now: Timestamp,
    ) -> Result<()> {
        let (delivery, attempt) = (delivery.to_owned(), attempt.clone());
        self.run(|db| outbox::record_attempt(db, delivery, attempt, now)).await
    }

    async fn enqueue(&self, deliveries: Vec<NewDelivery>, now: Timestamp) -> Result<()> {
        self.run(|db| outbox::enqueue(db, deliveries, now)).await
    }

    async fn attempts(&self, approval: &ApprovalId) -> Result<Vec<AttemptRecord>> {
        outbox::attempts(self.db.clone(), approval.clone()).await
    }

    async fn delivered_since(&self, recipient: &str, topic: &str, since: Timestamp) -> Result<i64> {
        let (recipient, topic) = (recipient.to_owned(), topic.to_owned());
        outbox::delivered_since(self.db.clone(), recipient, topic, since).await
    }

    async fn attempt_counts(&self) -> Result<Vec<(String, String, i64)>> {
        outbox::attempt_counts(self.db.clone()).await
    }

    async fn insert_review_link(&self, link: &ReviewLink) -> Result<()> {
        let link = link.clone();
        self.run(|db| people::insert_review_link(db, link)).await
    }

    async fn find_review_link(&self, hash: &str) -> Result<Option<ReviewLink>> {
        people::find_review_link(self.db.clone(), hash.to_owned()).await
    }

    async fn insert_sign_in(
        &self,
        hash: &str,
        sign_in: &SignIn,
        expires_at: Timestamp,
    ) -> Result<()> {
        let (hash, sign_in) = (hash.to_owned(), sign_in.clone());
        self.run(|db| people::insert_sign_in(db, hash, sign_in, expires_at)).await
    }

    async fn find_sign_in(&self, hash: &str, now: Timestamp) -> Result<Option<SignIn>> {
        people::find_sign_in(self.db.clone(), hash.to_owned(), now).await
    }

    async fn consume_sign_in(&self, hash: &str, session: &Session, now: Timestamp) -> Result<bool> {
        let (hash, session) = (hash.to_owned(), session.clone());
        self.run(|db| people::consume_sign_in(db, hash, session, now)).await
    }

    async fn insert_session(&self, session: &Session) -> Result<()> {
        let session = session.clone();
        self.run(|db| people::insert_session(db, session)).await
    }

    async fn find_session(
        &self,
        hash: &str,
        idle_since: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Session>> {
        let hash = hash.to_owned();
        self.run(|db| people::find_session(db, hash, idle_since, now)).await
    }

    async fn delete_session(&self, hash: &str) -> Result<()> {
        let hash = hash.to_owned();
        self.run(|db| people::delete_session(db, hash)).await
    }

    async fn insert_client_session(&self, session: &ClientSession, max: u32) -> Result<bool> {
        let session = session.clone();
        self.run(|db| people::insert_client_session(db, session, max)).await
    }

    async fn find_client_session(&self, id: &str, now: Timestamp) -> Result<Option<ClientSession>> {
        people::find_client_session(self.db.clone(), id.to_owned(), now).await
    }

    async fn delete_client_session(&self, id: &str) -> Result<()> {
        let id = id.to_owned();
        self.run(|db| people::delete_client_session(db, id)).await
    }

    async fn patience(&self, agent: &str, with_progress: bool) -> Result<Patience> {
        agents::patience(self.db.clone(), agent.to_owned(), with_progress).await
    }

    async fn hold_dropped(
        &self,
        agent: &str,
        with_progress: bool,
        after: Duration,
        event: AuditEvent,
    ) -> Result<Option<Learned>> {
        let agent = agent.to_owned();
        self.run(|db| agents::hold_dropped(db, agent, with_progress, after, event)).await
    }

    async fn hold_answered(&self, agent: &str, with_progress: bool) -> Result<()> {
        // Holds end often and drops are rare: no write where there is nothing to break.
        if self.patience(agent, with_progress).await?.drops.is_empty() {
            return Ok(());
        }
        let agent = agent.to_owned();
        self.run(|db| agents::hold_answered(db, agent, with_progress)).await
    }

    async fn forget_patience(&self, agent: &str, event: AuditEvent) -> Result<bool> {
        let agent = agent.to_owned();
        self.run(|db| agents::forget_patience(db, agent, event)).await
    }

    async fn activity(&self, agent: &str) -> Result<Activity> {
        agents::activity(self.db.clone(), agent.to_owned()).await
    }

    async fn append_audit(&self, events: Vec<AuditEvent>) -> Result<()> {
        self.run(|db| audit::append(db, events)).await
    }

    async fn seal_audit(&self, limit: u32) -> Result<u32> {
        self.run(|db| audit::seal(db, limit)).await
    }

    async fn list_audit(&self, after: i64, limit: u32) -> Result<Vec<Record>> {
        audit::list(self.db.clone(), after, limit).await
    }

    async fn unsealed_audit(&self) -> Result<i64> {
        audit::unsealed(self.db.clone()).await
    }

    async fn secret(&self, name: &str, fresh: [u8; 32]) -> Result<[u8; 32]> {
        let (name_owned, fresh) = (name.to_owned(), hex(&fresh));
        let value = self.run(|db| people::secret(db, name_owned, fresh)).await?;
        unhex(&value).ok_or_else(|| StoreError::Corrupt {
            table: "secrets",
            column: "value",
            id: name.to_owned(),
            what: "not 64 hex digits".to_owned(),
        })
    }

    async fn stats(&self, now: Timestamp) -> Result<QueueStats> {
        approvals::stats(self.db.clone(), now).await
    }

    async fn check(&self) -> Result<()> {
        self.run(people::check).await
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(bytes)
}
