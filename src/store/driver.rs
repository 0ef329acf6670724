//! The two databases behind one small face: statements with `$1` placeholders, values that are
//! text or integers, rows read by column name. What differs between them stands here and in
//! their migrations, nowhere else.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{Postgres, Row as _, SqlSafeStr, Sqlite, Transaction};

use super::{Result, StoreError};

#[cfg(test)]
pub(crate) mod recorded;

/// Most reading connections to SQLite, and most connections to PostgreSQL.
const POOL_SIZE: u32 = 8;
/// How long a statement waits for another process's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Most tries to open a new SQLite file while other processes open it, too.
const MAX_OPEN_TRIES: u32 = 100;
/// Time between those tries.
const OPEN_RETRY: Duration = Duration::from_millis(50);
/// Most tries to migrate SQLite while other processes migrate it, too. A try fails only because
/// another process was first with one migration, or with the table in which they are noted.
const MAX_MIGRATION_TRIES: usize = MIGRATIONS.len() + 2;
/// How long a verb waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(15);

/// Version, description, SQL for SQLite, SQL for PostgreSQL.
const MIGRATIONS: [(i64, &str, &str, &str); 12] = [
    (
        1,
        "init",
        include_str!("../../migrations/sqlite/0001_init.sql"),
        include_str!("../../migrations/postgres/0001_init.sql"),
    ),
    (
        2,
        "tasks",
        include_str!("../../migrations/sqlite/0002_tasks.sql"),
        include_str!("../../migrations/postgres/0002_tasks.sql"),
    ),
    (
        3,
        "governed",
        include_str!("../../migrations/sqlite/0003_governed.sql"),
        include_str!("../../migrations/postgres/0003_governed.sql"),
    ),
    (
        4,
        "hold_budgets",
        include_str!("../../migrations/sqlite/0004_hold_budgets.sql"),
        include_str!("../../migrations/postgres/0004_hold_budgets.sql"),
    ),
    (
        5,
        "lists",
        include_str!("../../migrations/sqlite/0005_lists.sql"),
        include_str!("../../migrations/postgres/0005_lists.sql"),
    ),
    (
        6,
        "people",
        include_str!("../../migrations/sqlite/0006_people.sql"),
        include_str!("../../migrations/postgres/0006_people.sql"),
    ),
    (
        7,
        "grants",
        include_str!("../../migrations/sqlite/0007_grants.sql"),
        include_str!("../../migrations/postgres/0007_grants.sql"),
    ),
    (
        8,
        "passkeys",
        include_str!("../../migrations/sqlite/0008_passkeys.sql"),
        include_str!("../../migrations/postgres/0008_passkeys.sql"),
    ),
    (
        9,
        "oidc",
        include_str!("../../migrations/sqlite/0009_oidc.sql"),
        include_str!("../../migrations/postgres/0009_oidc.sql"),
    ),
    (
        10,
        "indexes",
        include_str!("../../migrations/sqlite/0010_indexes.sql"),
        include_str!("../../migrations/postgres/0010_indexes.sql"),
    ),
    (
        11,
        "words",
        include_str!("../../migrations/sqlite/0011_words.sql"),
        include_str!("../../migrations/postgres/0011_words.sql"),
    ),
    (
        13,
        "entries",
        include_str!("../../migrations/sqlite/0013_entries.sql"),
        include_str!("../../migrations/postgres/0013_entries.sql"),
    ),
];

/// A connected database; cheap to clone.
#[derive(Debug, Clone)]
pub(super) enum Db {
    /// One writer, since SQLite has one anyway and a queue is fairer than `SQLITE_BUSY`.
    Sqlite { readers: SqlitePool, writer: SqlitePool },
    /// One pool for reading and writing.
    Postgres(PgPool),
}

/// A value of a statement.
#[derive(Debug, Clone)]
pub(super) enum Arg {
    Text(Option<String>),
    Int(Option<i64>),
}

impl Arg {
    /// PostgreSQL's text can't hold NUL. Both databases store U+FFFD in its place, so that no text
    /// of a client or upstream makes a write fail. Raw JSON has no raw NUL (RFC 8259 has it
    /// escaped, <https://www.rfc-editor.org/rfc/rfc8259#section-7>) and stays as it is.
    fn text(text: String) -> Self {
        Self::Text(Some(if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }))
    }
}

impl From<&str> for Arg {
    fn from(text: &str) -> Self {
        Self::text(text.to_owned())
    }
}

impl From<&String> for Arg {
    fn from(text: &String) -> Self {
        Self::text(text.clone())
    }
}

impl From<String> for Arg {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<Option<String>> for Arg {
    fn from(text: Option<String>) -> Self {
        text.map_or(Self::Text(None), Self::text)
    }
}

impl From<i64> for Arg {
    fn from(n: i64) -> Self {
        Self::Int(Some(n))
    }
}

impl From<Option<i64>> for Arg {
    fn from(n: Option<i64>) -> Self {
        Self::Int(n)
    }
}

impl From<u32> for Arg {
    fn from(n: u32) -> Self {
        Self::Int(Some(i64::from(n)))
    }
}

impl From<bool> for Arg {
    fn from(flag: bool) -> Self {
        Self::Int(Some(i64::from(flag)))
    }
}

impl From<crate::domain::time::Timestamp> for Arg {
    fn from(at: crate::domain::time::Timestamp) -> Self {
        Self::Int(Some(at.micros()))
    }
}

impl From<Option<crate::domain::time::Timestamp>> for Arg {
    fn from(at: Option<crate::domain::time::Timestamp>) -> Self {
        Self::Int(at.map(crate::domain::time::Timestamp::micros))
    }
}

/// The values of a statement, in order.
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$($crate::store::driver::Arg::from($value)),*] };
}
pub(super) use args;

/// A row, read by column name.
#[derive(Debug)]
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl From<SqliteRow> for Row {
    fn from(row: SqliteRow) -> Self {
        Self::Sqlite(row)
    }
}

impl From<PgRow> for Row {
    fn from(row: PgRow) -> Self {
        Self::Postgres(row)
    }
}

/// # Errors
/// [`StoreError::Unavailable`], when there is no such column, or it holds something else; without
/// `opt_` also, when it holds null.
impl Row {
    /// None for null.
    pub(super) fn opt_text(&self, column: &str) -> Result<Option<String>> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    /// None for null.
    pub(super) fn opt_int(&self, column: &str) -> Result<Option<i64>> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    pub(super) fn text(&self, column: &str) -> Result<String> {
        self.opt_text(column)?.ok_or_else(|| null(column))
    }

    pub(super) fn int(&self, column: &str) -> Result<i64> {
        self.opt_int(column)?.ok_or_else(|| null(column))
    }
}

fn null(column: &str) -> StoreError {
    StoreError::Unavailable(sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: "unexpected null".into(),
    })
}

/// An open write transaction, rolled back unless committed; or a connection that only reads, each
/// statement by itself. Held requests read so often that opening and ending a transaction around
/// the one statement would be most of the work.
pub(super) enum Tx {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
    SqliteReader(PoolConnection<Sqlite>),
    PostgresReader(PoolConnection<Postgres>),
}

/// Does the same on whichever connection it is.
macro_rules! on_link {
    ($tx:expr, $link:ident => $work:expr) => {
        match $tx {
            Tx::Sqlite($link) => $work,
            Tx::Postgres($link) => $work,
            Tx::SqliteReader($link) => $work,
            Tx::PostgresReader($link) => $work,
        }
    };
}

macro_rules! bound {
    ($sql:expr, $args:expr) => {{
        let mut query = sqlx::query($sql);
        for arg in $args {
            query = match arg {
                Arg::Text(text) => query.bind(text),
                Arg::Int(n) => query.bind(n),
            };
        }
        query
    }};
}

/// # Errors
/// [`StoreError::Unavailable`], when the database refuses the statement or can't be reached; after a
/// failed commit nothing of the transaction is stored.
impl Tx {
    /// Runs a statement; returns how many rows it touched.
    pub(super) async fn execute(&mut self, sql: impl SqlSafeStr, args: Vec<Arg>) -> Result<u64> {
        let sql = sql.into_sql_str();
        #[cfg(test)]
        recorded::note(sql.as_str(), &args);
        Ok(on_link!(self, link => bound!(sql, args).execute(&mut **link).await?.rows_affected()))
    }

    /// All rows of the result, in its order.
    pub(super) async fn rows(&mut self, sql: impl SqlSafeStr, args: Vec<Arg>) -> Result<Vec<Row>> {
        let sql = sql.into_sql_str();
        #[cfg(test)]
        recorded::note(sql.as_str(), &args);
        Ok(on_link!(self, link => {
            let rows = bound!(sql, args).fetch_all(&mut **link).await?;
            rows.into_iter().map(Row::from).collect()
        }))
    }

    /// The first row of the result; none if it is empty.
    pub(super) async fn row(
        &mut self,
        sql: impl SqlSafeStr,
        args: Vec<Arg>,
    ) -> Result<Option<Row>> {
        Ok(self.rows(sql, args).await?.into_iter().next())
    }

    /// The integer `n` of the one row.
    pub(super) async fn count(&mut self, sql: impl SqlSafeStr, args: Vec<Arg>) -> Result<i64> {
        self.row(sql, args).await?.ok_or_else(|| null("n"))?.int("n")
    }

    /// Keeps others who ask for the same lock out until the transaction ends. SQLite's writer
    /// is alone already.
    pub(super) async fn lock(&mut self, lock: i64) -> Result<()> {
        if let Self::Postgres(tx) = self {
            sqlx::query("select pg_advisory_xact_lock($1)").bind(lock).execute(&mut **tx).await?;
        }
        Ok(())
    }

    /// Commits the transaction; after that its changes survive a crash.
    pub(super) async fn commit(self) -> Result<()> {
        match self {
            Self::Sqlite(tx) => tx.commit().await?,
            Self::Postgres(tx) => tx.commit().await?,
            // Nothing was begun.
            Self::SqliteReader(_) | Self::PostgresReader(_) => {}
        }
        Ok(())
    }
}

impl Db {
    /// Connects; does not migrate. A new SQLite file is made with mode 0600.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], when the URL can't be read, or the database can't be reached.
    pub(super) async fn connect(url: &str) -> Result<Self> {
        if let Some(rest) = url.strip_prefix("sqlite:") {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if path.is_empty() || path.starts_with(":memory:") || path.contains('?') {
                return Err(StoreError::Unavailable(sqlx::Error::Configuration(
                    "sqlite: needs the path of a file and nothing else, as in sqlite:placet.db"
                        .into(),
                )));
            }
            make_private(path).map_err(|error| {
                let named = std::io::Error::new(error.kind(), format!("{path}: {error}"));
                StoreError::Unavailable(sqlx::Error::Io(named))
            })?;
            let options = SqliteConnectOptions::new()
                .filename(path)
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(BUSY_TIMEOUT)
                .foreign_keys(true);
            // An open file does not go away as a server does: no probe before every use.
            let pool = || {
                SqlitePoolOptions::new().acquire_timeout(ACQUIRE_TIMEOUT).test_before_acquire(false)
            };
            let mut tries = 1;
            let writer = loop {
                match pool().max_connections(1).connect_with(options.clone()).await {
                    // Switching to the write-ahead log does not wait for others who do the same.
                    Err(error) if tries < MAX_OPEN_TRIES && is_busy(&error) => {
                        tries += 1;
                        tokio::time::sleep(OPEN_RETRY).await;
                    }
                    opened => break opened?,
                }
            };
            let readers = pool().max_connections(POOL_SIZE).connect_with(options).await?;
            return Ok(Self::Sqlite { readers, writer });
        }
        let options = PgConnectOptions::from_str(url)?.application_name("placet");
        let pool = PgPoolOptions::new()
            .max_connections(POOL_SIZE * 2)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options)
            .await?;
        Ok(Self::Postgres(pool))
    }

    /// Brings the schema up to date; safe to run by several processes at once.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], when a migration fails or the schema is newer than this
    /// program.
    pub(super) async fn migrate(&self) -> Result<()> {
        let migrator = |postgres: bool| {
            let list = MIGRATIONS.into_iter().map(|(version, name, sqlite, pg)| {
                let sql = if postgres { pg } else { sqlite };
                let kind = MigrationType::Simple;
                Migration::new(version, name.into(), kind, sql.into_sql_str(), false)
            });
            Migrator::with_migrations(list.collect())
        };
        let mut done = self.run_migrator(&migrator(self.is_postgres())).await;
        // SQLite's migrator takes no lock. Each migration is one transaction that also notes it
        // as done, so whoever comes second fails whole, and finds it done at the next try.
        for _ in 1..MAX_MIGRATION_TRIES {
            if done.is_ok() || self.is_postgres() {
                break;
            }
            done = self.run_migrator(&migrator(false)).await;
        }
        done.map_err(|error| match error {
            sqlx::migrate::MigrateError::Execute(error) => StoreError::Unavailable(error),
            other => StoreError::Unavailable(sqlx::Error::Migrate(Box::new(other))),
        })
    }

    async fn run_migrator(
        &self,
        migrator: &Migrator,
    ) -> std::result::Result<(), sqlx::migrate::MigrateError> {
        match self {
            Self::Sqlite { writer, .. } => migrator.run(writer).await,
            Self::Postgres(pool) => migrator.run(pool).await,
        }
    }

    const fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Opens a write transaction.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], when no connection is free in time.
    pub(super) async fn begin(&self) -> Result<Tx> {
        Ok(match self {
            Self::Sqlite { writer, .. } => Tx::Sqlite(writer.begin_with("begin immediate").await?),
            Self::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        })
    }

    /// A connection for reading. Two statements on it may see different states.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], when no connection is free in time.
    pub(super) async fn read(&self) -> Result<Tx> {
        Ok(match self {
            Self::Sqlite { readers, .. } => Tx::SqliteReader(readers.acquire().await?),
            Self::Postgres(pool) => Tx::PostgresReader(pool.acquire().await?),
        })
    }

    /// Closes all connections.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite { readers, writer } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// Whether another connection was in the way (`SQLITE_BUSY` and its extended codes).
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code & 0xff == 5)
}

/// Makes the file with mode 0600 before SQLite would make it with the umask's.
fn make_private(path: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}
