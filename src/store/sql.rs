//! The store in SQL, the same statements for SQLite and PostgreSQL.
//!
//! Every writing verb runs on a task of its own: a caller that goes away does not leave a
//! transaction half way.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::domain::call::hex;
use crate::domain::time::Timestamp;

#[cfg(test)]
pub(crate) use super::driver::recorded;

use super::agents::AgentStore;
use super::approvals::ApprovalStore;
use super::audit::AuditStore;
use super::changes::ChangeStore;
use super::channels::ChannelStore;
use super::client_sessions::ClientSessionStore;
use super::copies::CopyStore;
use super::counters::CounterStore;
use super::credentials::CredentialStore;
use super::driver::{Db, Lane, args};
use super::due::DueStore;
use super::grants::GrantStore;
use super::holds::HoldStore;
use super::limits::LimitStore;
use super::nodes::NodeStore;
use super::oidc::OidcStore;
use super::outbox::OutboxStore;
use super::passkeys::PasskeyStore;
use super::patience::Patience;
use super::review_links::ReviewLinkStore;
use super::sessions::SessionStore;
use super::settings::SettingsStore;
use super::tasks::TaskStore;
use super::{Old, Result, Store, StoreError};

mod agents;
mod approvals;
mod audit;
mod channels;
mod client_sessions;
mod copies;
mod counters;
mod counts;
mod credentials;
mod due;
mod grants;
mod holds;
mod limits;
mod nodes;
mod oidc;
mod outbox;
mod passkeys;
mod purge;
mod readable;
mod recorded_calls;
mod retention;
mod review_links;
mod rowset;
mod sessions;
mod settings;
mod tasks;
mod words;

#[cfg(test)]
mod tests;

/// Time until a verb is tried again, the first time and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// SQLite or PostgreSQL.
#[derive(Debug, Clone)]
pub struct SqlStore {
    db: Db,
    waiting: Arc<approvals::waiting::Waiting>,
}

impl SqlStore {
    /// Connects and brings the schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], when the URL can't be read, the database can't be reached, or
    /// its schema is newer than this program.
    pub async fn open(url: &str) -> Result<Self> {
        Self::open_with(url, &Patience::default()).await
    }

    /// The same with other deadlines than the default ones.
    ///
    /// # Errors
    /// As [`SqlStore::open`].
    pub async fn open_with(url: &str, patience: &Patience) -> Result<Self> {
        Ok(Self { db: Db::open(url, patience).await?, waiting: Arc::default() })
    }

    /// Compares the counters of approvals with the approvals, and counts anew where they differ;
    /// returns how many differed.
    ///
    /// # Errors
    /// [`StoreError`], when the database can't be read or written.
    pub async fn recount(&self) -> Result<usize> {
        self.run(counts::recount).await
    }

    /// Closes all connections; unfinished transactions are rolled back.
    pub async fn close(&self) {
        self.db.close().await;
    }

    /// Runs a verb; again while other transactions are in its way or its connection was lost, and
    /// surely nothing was stored.
    async fn run<T, F>(&self, verb: impl Fn(Db) -> F + Send + 'static) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        self.run_by(Lane::People, verb).await
    }

    /// The same for what agents ask for: they take no connection away from people.
    async fn run_for_agent<T, F>(&self, verb: impl Fn(Db) -> F + Send + 'static) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        self.run_by(Lane::Agents, verb).await
    }

    /// The same for what calls need that are under way.
    async fn run_for_call<T, F>(&self, verb: impl Fn(Db) -> F + Send + 'static) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        self.run_by(Lane::Calls, verb).await
    }

    /// The same in that lane.
    async fn run_by<T, F>(&self, lane: Lane, verb: impl Fn(Db) -> F + Send + 'static) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let db = self.db.by(lane);
        let (done, answer) = oneshot::channel();
        // Nobody may wait for it any more.
        spawn(Box::pin(async move { drop(done.send(again(&db, verb).await)) }));
        // A task that died may have died after it had stored all.
        answer.await.unwrap_or(Err(StoreError::lost()))
    }

    /// For reading what agents ask for.
    fn for_agents(&self) -> Db {
        self.db.by(Lane::Agents)
    }
}

async fn again<T, F>(db: &Db, verb: impl Fn(Db) -> F + Send) -> Result<T>
where
    F: Future<Output = Result<T>> + Send,
{
    let until = Instant::now() + db.retry;
    let mut pause = FIRST_PAUSE;
    loop {
        let done = verb(db.clone()).await;
        match done {
            Err(error) if error.is_passing() && Instant::now() + pause < until => {
                tracing::debug!(%error, "a verb of the store is tried again");
                tokio::time::sleep(pause.mul_f64(jitter())).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            done => return done,
        }
    }
}

/// From a half to one and a half, so that those who were in each other's way part.
fn jitter() -> f64 {
    let hash = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    0.5 + f64::from(u32::try_from(hash >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

/// Spawns a boxed future: a task for each verb's own type would be compiled fifty times.
fn spawn(work: Pin<Box<dyn Future<Output = ()> + Send>>) {
    tokio::spawn(work);
}

#[async_trait]
impl Store for SqlStore {
    fn approvals(&self) -> &dyn ApprovalStore {
        self
    }

    fn due(&self) -> &dyn DueStore {
        self
    }

    fn holds(&self) -> &dyn HoldStore {
        self
    }

    fn tasks(&self) -> &dyn TaskStore {
        self
    }

    fn grants(&self) -> &dyn GrantStore {
        self
    }

    fn limits(&self) -> &dyn LimitStore {
        self
    }

    fn counters(&self) -> &dyn CounterStore {
        self
    }

    fn changes(&self) -> &dyn ChangeStore {
        self
    }

    fn channels(&self) -> &dyn ChannelStore {
        self
    }

    fn outbox(&self) -> &dyn OutboxStore {
        self
    }

    fn review_links(&self) -> &dyn ReviewLinkStore {
        self
    }

    fn sessions(&self) -> &dyn SessionStore {
        self
    }

    fn credentials(&self) -> &dyn CredentialStore {
        self
    }

    fn oidc(&self) -> &dyn OidcStore {
        self
    }

    fn passkeys(&self) -> &dyn PasskeyStore {
        self
    }

    fn settings(&self) -> &dyn SettingsStore {
        self
    }

    fn agents(&self) -> &dyn AgentStore {
        self
    }

    fn client_sessions(&self) -> &dyn ClientSessionStore {
        self
    }

    fn nodes(&self) -> &dyn NodeStore {
        self
    }

    fn copies(&self) -> &dyn CopyStore {
        self
    }

    fn audit(&self) -> &dyn AuditStore {
        self
    }

    fn recorded_calls(&self) -> &dyn crate::store::recorded_calls::RecordedCallStore {
        self
    }

    async fn purge(&self, now: Timestamp, old: Old) -> Result<u64> {
        purge::purge(self, now, old).await
    }

    async fn secret(&self, name: &str, fresh: [u8; 32]) -> Result<[u8; 32]> {
        let (name_owned, fresh) = (name.to_owned(), hex(&fresh));
        let value = self.run(move |db| secret(db, name_owned.clone(), fresh.clone())).await?;
        unhex(&value).ok_or_else(|| StoreError::Corrupt {
            table: "secrets",
            column: "value",
            id: name.to_owned(),
            what: "not 64 hex digits".to_owned(),
        })
    }

    async fn check(&self) -> Result<()> {
        self.run(check).await
    }
}

async fn secret(db: Db, name: String, fresh: String) -> Result<String> {
    let mut tx = db.begin().await?;
    tx.execute(
        "insert into secrets (name, value) values ($1, $2) on conflict (name) do nothing",
        args![&name, fresh],
    )
    .await?;
    let row = tx.row("select value from secrets where name = $1", args![&name]).await?;
    let value = row.map(|row| row.text("value")).transpose()?.unwrap_or_default();
    tx.commit().await?;
    Ok(value)
}

/// A write that changes nothing, to learn whether writes work.
async fn check(db: Db) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute("delete from secrets where name = ''", args![]).await?;
    tx.commit().await
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
