//! SQLite: one file, one writer.

use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection as _, Sqlite};

use super::kept::{InUse, Kept};
use crate::store::patience::Patience;
use crate::store::{Result, StoreError};

mod lines;
mod writer;

pub(super) use lines::Line;
pub(super) use writer::Turn;
use writer::Writer;

/// Most reading connections.
const READERS: u32 = 8;
/// Most tries to open a new file while other processes open it, too.
const MAX_OPEN_TRIES: u32 = 100;
/// Time between those tries.
const OPEN_RETRY: Duration = Duration::from_millis(50);
/// Pages that a reading connection keeps, as SQLite's pragma wants it: KiB, negative
/// (<https://www.sqlite.org/pragma.html#pragma_cache_size>). It forgets them all when anything was written
/// since, and the system has them anyway; with SQLite's own 2 MiB the readers of a burst kept 20 MiB for
/// nothing.
const READER_CACHE: &str = "-512";
/// How long a verb waits for a reading connection.
const QUEUE: Duration = Duration::from_secs(15);
/// Texts of statements that a connection keeps prepared; who was not used for longest makes room.
const STATEMENTS: usize = 256;

/// After so many pages of 4 KiB in the log they are written to the file.
const LOG_PAGES: &str = "8000";

/// One writer, since SQLite has one anyway and a queue is fairer than `SQLITE_BUSY`.
#[derive(Debug, Clone)]
pub(super) struct File {
    readers: Kept<Sqlite>,
    writer: Writer,
    options: SqliteConnectOptions,
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
            .foreign_keys(true)
            // What a savepoint may have to undo is kept in memory; it is gone with the process
            // anyway.
            .pragma("temp_store", "memory")
            // A page that many transactions change goes from the log into the file once for all of them.
            .pragma("wal_autocheckpoint", LOG_PAGES)
            .statement_cache_capacity(STATEMENTS);
        let mut tries = 1;
        let link = loop {
            match SqliteConnection::connect_with(&options).await {
                // Switching to the write-ahead log does not wait for others who do the same.
                Err(error) if tries < MAX_OPEN_TRIES && super::faults::is_busy(&error) => {
                    tries += 1;
                    tokio::time::sleep(OPEN_RETRY).await;
                }
                opened => break opened?,
            }
        };
        // An open file does not go away as a server does: no probe before every use.
        let readers = SqlitePoolOptions::new()
            .acquire_timeout(QUEUE)
            .test_before_acquire(false)
            .max_connections(READERS)
            .connect_with(options.clone().pragma("cache_size", READER_CACHE))
            .await?;
        let writer = Writer::new(options.clone(), link, patience.answer());
        Ok(Self { readers: Kept::new(readers, READERS), writer, options })
    }

    /// Brings the schema up to date.
    ///
    /// # Errors
    /// As [`super::migrations::run`].
    pub(super) async fn migrate(&self) -> Result<()> {
        let pool = SqlitePoolOptions::new().max_connections(1);
        let pool = pool.connect_with(self.options.clone()).await?;
        let done = super::migrations::run(&pool, false).await;
        pool.close().await;
        done
    }

    /// The writer, once it is this one's turn.
    ///
    /// # Errors
    /// [`sqlx::Error`], when the writer is not free in time.
    pub(super) async fn begin(&self, line: Line) -> std::result::Result<Turn, sqlx::Error> {
        self.writer.begin(line).await
    }

    /// A connection for reading.
    ///
    /// # Errors
    /// [`sqlx::Error`], when none is free in time.
    pub(super) async fn read(&self) -> std::result::Result<InUse<Sqlite>, sqlx::Error> {
        self.readers.acquire(QUEUE, |link, _| std::future::ready(Some(link))).await
    }

    /// Commits of the writer.
    #[cfg(test)]
    pub(super) fn commits(&self) -> u32 {
        self.writer.commits()
    }

    /// Lets groups last as long as verbs wait; tells how many do.
    #[cfg(test)]
    pub(super) fn all_wait(&self) -> Box<dyn Fn() -> usize> {
        self.writer.lasting(Duration::MAX);
        let writer = self.writer.clone();
        Box::new(move || writer.waiting())
    }

    /// Closes all connections.
    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
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
