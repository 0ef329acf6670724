//! SQLite: one file, one writer.

use std::time::Duration;

use sqlx::Sqlite;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::store::patience::Patience;
use crate::store::{Result, StoreError};

/// Most reading connections.
const READERS: u32 = 8;
/// Most tries to open a new file while other processes open it, too.
const MAX_OPEN_TRIES: u32 = 100;
/// Time between those tries.
const OPEN_RETRY: Duration = Duration::from_millis(50);
/// How long a verb waits for its turn: many may write at once, each for a few milliseconds.
const QUEUE: Duration = Duration::from_secs(15);

/// One writer, since SQLite has one anyway and a queue is fairer than `SQLITE_BUSY`.
#[derive(Debug, Clone)]
pub(super) struct File {
    readers: SqlitePool,
    writer: SqlitePool,
    /// Longest wait for the answer to one statement.
    answer: Duration,
}

impl File {
    /// Opens the file of `sqlite:PATH`, made anew with mode 0600 if there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], when the URL can't be read, or the file not opened.
    pub(super) async fn open(url: &str, patience: &Patience) -> Result<Self> {
        let path = url.strip_prefix("//").unwrap_or(url);
        if path.is_empty() || path.starts_with(":memory:") || path.contains('?') {
            return Err(StoreError::Unavailable(sqlx::Error::Configuration(
                "sqlite: needs the path of a file and nothing else, as in sqlite:placet.db".into(),
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
            .busy_timeout(patience.lock)
            .foreign_keys(true);
        // An open file does not go away as a server does: no probe before every use.
        let pool = || SqlitePoolOptions::new().acquire_timeout(QUEUE).test_before_acquire(false);
        let mut tries = 1;
        let writer = loop {
            match pool().max_connections(1).connect_with(options.clone()).await {
                // Switching to the write-ahead log does not wait for others who do the same.
                Err(error) if tries < MAX_OPEN_TRIES && super::faults::is_busy(&error) => {
                    tries += 1;
                    tokio::time::sleep(OPEN_RETRY).await;
                }
                opened => break opened?,
            }
        };
        let readers = pool().max_connections(READERS).connect_with(options).await?;
        Ok(Self { readers, writer, answer: patience.answer() })
    }

    /// Brings the schema up to date.
    ///
    /// # Errors
    /// As [`super::migrations::run`].
    pub(super) async fn migrate(&self) -> Result<()> {
        super::migrations::run(&self.writer, false).await
    }

    /// A connection with an open write transaction.
    ///
    /// # Errors
    /// [`sqlx::Error`], when the writer is not free in time, or the file can't be written.
    pub(super) async fn begin(&self) -> std::result::Result<PoolConnection<Sqlite>, sqlx::Error> {
        let mut link = self.writer.acquire().await?;
        let begun = sqlx::query("begin immediate").execute(&mut *link);
        let failed = match tokio::time::timeout(self.answer, begun).await {
            Ok(Ok(_)) => return Ok(link),
            Ok(Err(error)) => error,
            Err(_) => super::faults::no_answer(self.answer),
        };
        link.close_on_drop();
        Err(failed)
    }

    /// A connection for reading.
    ///
    /// # Errors
    /// [`sqlx::Error`], when none is free in time.
    pub(super) async fn read(&self) -> std::result::Result<PoolConnection<Sqlite>, sqlx::Error> {
        self.readers.acquire().await
    }

    /// Closes all connections.
    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Ends an open transaction without storing anything.
///
/// # Errors
/// [`sqlx::Error`], when it can't be; then the connection must be closed.
pub(super) async fn rollback(
    link: &mut PoolConnection<Sqlite>,
) -> std::result::Result<(), sqlx::Error> {
    sqlx::query("rollback").execute(&mut **link).await.map(drop)
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

#[cfg(test)]
mod tests;
