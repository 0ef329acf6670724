//! PostgreSQL: connections in parted pools, each with deadlines on both ends, and the truth about
//! a commit whose answer was lost.

use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::pool::{PoolConnection, PoolConnectionMetadata};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, Postgres, Row as _};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

use super::faults;
use super::kept::{Age, InUse, Kept};
use super::lane::Lane;
use super::lock::Lock;
use crate::store::Result;
use crate::store::patience::Patience;

/// How long a starting program waits for a server that is starting, too.
const OPEN_WITHIN: Duration = Duration::from_secs(15);
/// A connection that was idle for longer is asked whether it is still there before it is used.
const PROBE_AFTER: Duration = Duration::from_secs(1);
/// Longest wait for its answer.
const PROBE_WITHIN: Duration = Duration::from_secs(1);
/// Time between two questions for the truth of a commit.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// Places where transactions of this process wait for each other's lock, so that those of one agent
/// take one connection at a time. Which place is a lock's number; two may share one.
const TURNS: usize = 64;
/// How long a verb waits for its turn there: many may come at once, each takes a few milliseconds.
const QUEUE: Duration = Duration::from_secs(15);

/// A connected server; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Server {
    people: Kept<Postgres>,
    agents: Kept<Postgres>,
    lease: Kept<Postgres>,
    patience: Arc<Patience>,
    doubt: Arc<Doubt>,
    turns: Arc<Vec<Arc<Mutex<()>>>>,
}

/// Since when connections are doubted: one was silent or broke, and those made before it may be
/// as dead.
#[derive(Debug)]
struct Doubt {
    began: Instant,
    /// Microseconds since `began`; 0: none was doubted yet.
    before: AtomicU64,
}

impl Doubt {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn all(&self) {
        self.before.fetch_max(self.now(), Ordering::Relaxed);
    }

    fn covers(&self, age: Duration) -> bool {
        let age = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
        self.now().saturating_sub(age) < self.before.load(Ordering::Relaxed)
    }
}

/// Names a transaction: its number, and the life of the server in which the number was given.
#[derive(Debug, Clone)]
pub(super) struct Born {
    number: i64,
    life: Option<String>,
}

/// A connection with an open write transaction.
pub(super) struct Begun {
    pub(super) link: InUse<Postgres>,
    pub(super) born: Born,
    /// This process's place at the lock.
    pub(super) turn: Option<OwnedMutexGuard<()>>,
}

impl Server {
    /// Connects and brings the schema up to date.
    ///
    /// # Errors
    /// [`crate::store::StoreError::Unavailable`], when the URL can't be read, the server can't be
    /// reached, or a migration fails.
    pub(super) async fn open(url: &str, patience: &Patience) -> Result<Self> {
        let options = PgConnectOptions::from_str(url)?.application_name("placet");
        // A migration may take any time.
        let unhurried = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(OPEN_WITHIN)
            .connect_with(options.clone())
            .await?;
        super::migrations::run(&unhurried, true).await?;
        unhurried.close().await;

        let doubt = Arc::new(Doubt { began: Instant::now(), before: AtomicU64::new(0) });
        let settings = session_settings(patience);
        let pool = |most: u32| {
            let (doubt, settings) = (doubt.clone(), settings.clone());
            let pool = PgPoolOptions::new()
                .max_connections(most)
                .acquire_timeout(patience.connect)
                .test_before_acquire(false)
                .before_acquire(move |link, meta| Box::pin(probe(link, meta, doubt.clone())))
                .after_connect(move |link, _| Box::pin(greet(link, settings.clone())))
                .connect_lazy_with(options.clone());
            Kept::new(pool, most)
        };
        Ok(Self {
            people: pool(patience.connections),
            agents: pool(patience.agent_connections),
            lease: pool(1),
            patience: Arc::new(patience.clone()),
            doubt,
            turns: Arc::new((0..TURNS).map(|_| Arc::default()).collect()),
        })
    }

    /// A connection of a lane, which answered a moment ago or answers now.
    async fn acquire(&self, lane: Lane) -> std::result::Result<InUse<Postgres>, sqlx::Error> {
        let is_fit = |mut link: PoolConnection<Postgres>, age: Age| async move {
            if is_usable(&mut link, age.total, age.idle, &self.doubt).await {
                return Some(link);
            }
            drop(link.detach());
            None
        };
        self.pool(lane).acquire(self.patience.connect, is_fit).await
    }

    const fn pool(&self, lane: Lane) -> &Kept<Postgres> {
        match lane {
            Lane::People => &self.people,
            Lane::Agents | Lane::Calls => &self.agents,
            Lane::Lease => &self.lease,
        }
    }

    /// Opens a write transaction, and takes a lock in the same round trip. The isolation is the one
    /// that the statements were written for, whatever the server's default: a condition that
    /// decides a race stands in its statement, and what a lock protects is read after it.
    ///
    /// # Errors
    /// [`sqlx::Error`], when no connection or lock is free in time.
    pub(super) async fn begin(
        &self,
        lane: Lane,
        lock: Option<Lock<'_>>,
    ) -> std::result::Result<Begun, sqlx::Error> {
        let numbers = lock.map(Lock::numbers);
        let turn = match numbers {
            Some((_, key)) => Some(self.turn(key).await?),
            None => None,
        };
        let lock = numbers.map_or_else(String::new, |(class, key)| {
            format!("select pg_advisory_xact_lock({class}, {key}); ")
        });
        // The number is asked for at once: it costs no round trip here, and is known when it is
        // needed.
        let begin = format!(
            "begin isolation level read committed read write; {lock}\
             select txid_current() as number, (select id from incarnations) as life"
        );
        let mut link = self.acquire(lane).await?;
        let answer = self.patience.answer();
        let begun = sqlx::raw_sql(AssertSqlSafe(begin)).fetch_all(&mut **link);
        let read = match timeout(answer, begun).await {
            Ok(Ok(rows)) => rows.last().ok_or(sqlx::Error::RowNotFound).and_then(|row| {
                Ok(Born { number: row.try_get("number")?, life: row.try_get("life")? })
            }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(faults::no_answer(answer)),
        };
        match read {
            Ok(born) => Ok(Begun { link, born, turn }),
            Err(error) => {
                self.give_up(link, &error);
                Err(error)
            }
        }
    }

    async fn turn(&self, key: i32) -> std::result::Result<OwnedMutexGuard<()>, sqlx::Error> {
        let place = key.unsigned_abs() as usize % TURNS;
        let turn = self.turns[place].clone().lock_owned();
        timeout(QUEUE, turn).await.map_err(|_| sqlx::Error::PoolTimedOut)
    }

    /// A connection for reading.
    ///
    /// # Errors
    /// [`sqlx::Error`], when none is free in time.
    pub(super) async fn read(
        &self,
        lane: Lane,
    ) -> std::result::Result<InUse<Postgres>, sqlx::Error> {
        self.acquire(lane).await
    }

    /// Closes a connection at once, without a word to the server, which rolls back. After a silence
    /// or a break those made before are doubted, too.
    pub(super) fn give_up(&self, link: InUse<Postgres>, why: &sqlx::Error) {
        if !faults::is_refusal(why) {
            self.doubt.all();
        }
        drop(link.detach());
    }

    /// Whether the transaction was committed; none if that can't be learned in time. Asked on
    /// another connection, again while it is still in progress.
    pub(super) async fn truth(&self, born: &Born) -> Option<bool> {
        let life = born.life.as_deref()?;
        let until = Instant::now() + self.patience.retry;
        loop {
            match self.ask(born.number, life).await {
                Ok(Some(status)) if status == "committed" => return Some(true),
                Ok(Some(status)) if status == "aborted" => return Some(false),
                Ok(Some(status)) if status != "in progress" => return None,
                Ok(None) => return None,
                Ok(Some(_)) => {}
                Err(error) => tracing::debug!(%error, "the truth of a commit is asked for again"),
            }
            if Instant::now() + ASK_EVERY > until {
                return None;
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// <https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-SNAPSHOT>
    async fn ask(
        &self,
        number: i64,
        life: &str,
    ) -> std::result::Result<Option<String>, sqlx::Error> {
        let mut link = self.acquire(Lane::People).await?;
        let answer = self.patience.answer();
        let asked = sqlx::query_scalar(
            "select case when (select id from incarnations) = $2 then txid_status($1) end",
        )
        .bind(number)
        .bind(life)
        .fetch_one(&mut **link);
        match timeout(answer, asked).await {
            Ok(Ok(status)) => {
                link.keep();
                Ok(status)
            }
            Ok(Err(error)) => {
                self.give_up(link, &error);
                Err(error)
            }
            Err(_) => {
                let error = faults::no_answer(answer);
                self.give_up(link, &error);
                Err(error)
            }
        }
    }

    /// Closes all connections; gives up those that don't come back in time.
    pub(super) async fn close(&self) {
        for pool in [&self.lease, &self.agents, &self.people] {
            drop(timeout(self.patience.answer(), pool.close()).await);
        }
    }
}

/// Whether an idle connection can be used.
async fn probe(
    link: &mut PgConnection,
    meta: PoolConnectionMetadata,
    doubt: Arc<Doubt>,
) -> std::result::Result<bool, sqlx::Error> {
    Ok(is_usable(link, meta.age, meta.idle_for, &doubt).await)
}

async fn is_usable(link: &mut PgConnection, age: Duration, idle: Duration, doubt: &Doubt) -> bool {
    if doubt.covers(age) {
        return false;
    }
    if idle < PROBE_AFTER {
        return true;
    }
    let answered = timeout(PROBE_WITHIN, link.ping()).await.is_ok_and(|pong| pong.is_ok());
    if !answered {
        doubt.all();
    }
    answered
}

/// A new session: its deadlines, and a name for the server's life if it has none.
async fn greet(link: &mut PgConnection, settings: String) -> std::result::Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(settings)).execute(&mut *link).await?;
    sqlx::raw_sql(
        "insert into incarnations (id) \
         select md5(random()::text || clock_timestamp()::text || pg_backend_pid()::text) \
          where not exists (select 1 from incarnations) on conflict do nothing",
    )
    .execute(link)
    .await
    .map(drop)
}

/// Those that an older server does not know are left out.
///
/// <https://www.postgresql.org/docs/current/runtime-config-client.html>,
/// <https://www.postgresql.org/docs/current/runtime-config-connection.html>
fn session_settings(patience: &Patience) -> String {
    let ms = |length: Duration| length.as_millis().max(1).to_string();
    let every = (patience.keepalive.as_secs() / 3).max(1);
    let settings = [
        ("statement_timeout", ms(patience.statement)),
        ("lock_timeout", ms(patience.lock)),
        ("idle_in_transaction_session_timeout", ms(patience.idle_in_transaction)),
        ("default_transaction_isolation", "read committed".to_owned()),
        ("tcp_keepalives_idle", patience.keepalive.as_secs().max(1).to_string()),
        ("tcp_keepalives_interval", every.to_string()),
        ("tcp_keepalives_count", "3".to_owned()),
        ("tcp_user_timeout", ms(patience.keepalive * 2)),
    ];
    let wanted: Vec<String> =
        settings.iter().map(|(name, value)| format!("('{name}', '{value}')")).collect();
    format!(
        "select set_config(name, value, false) from (values {}) as wanted (name, value) \
          where current_setting(name, true) is not null",
        wanted.join(", ")
    )
}
