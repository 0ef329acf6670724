//! The two databases behind one small face: statements with `$1` placeholders, values that are
//! text or integers, rows read by column name. What differs between them stands here and in
//! their migrations, nowhere else.

use std::sync::Arc;
use std::time::Duration;

use super::Result;
use super::patience::Patience;
use postgres::Server;
use sqlite::{File, Line};

#[cfg(test)]
mod counts;
mod faults;
mod kept;
mod lane;
mod lock;
mod migrations;
mod postgres;
mod ran;
#[cfg(test)]
pub(crate) mod recorded;
mod sqlite;
mod told;
mod tx;
mod value;

#[cfg(test)]
pub(super) use counts::Spent;
pub(super) use faults::{is_passing, is_refused_write};
pub(super) use lane::Lane;
pub(super) use lock::Lock;
pub(super) use ran::Step;
pub(super) use tx::Tx;
pub(super) use value::{Arg, Row, args};

/// A connected database; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Db {
    at: At,
    lane: Lane,
    /// Longest wait for the answer to one statement.
    answer: Duration,
    /// How long a verb that surely stored nothing is tried again.
    pub(super) retry: Duration,
    #[cfg(test)]
    counts: Arc<counts::Counts>,
}

impl Lane {
    /// Where its verbs wait for SQLite's one writer.
    const fn line(self) -> Line {
        match self {
            Self::People | Self::Calls | Self::Lease => Line::Urgent,
            Self::Agents => Line::Anew,
        }
    }
}

#[derive(Debug, Clone)]
enum At {
    Sqlite(Arc<File>),
    Postgres(Server),
}

impl Db {
    /// Connects and brings the schema up to date; safe to run by several processes at once. A new
    /// SQLite file is made with mode 0600.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`], when the URL can't be read, the database can't be
    /// reached, a migration fails, or the schema is newer than this program.
    pub(super) async fn open(url: &str, patience: &Patience) -> Result<Self> {
        let at = if let Some(path) = url.strip_prefix("sqlite:") {
            let file = File::open(path, patience).await?;
            file.migrate().await?;
            At::Sqlite(Arc::new(file))
        } else {
            At::Postgres(Server::open(url, patience).await?)
        };
        Ok(Self {
            at,
            lane: Lane::People,
            answer: patience.answer(),
            retry: patience.retry,
            #[cfg(test)]
            counts: Arc::default(),
        })
    }

    /// The same database, by the connections of another lane.
    pub(super) fn by(&self, lane: Lane) -> Self {
        Self { lane, ..self.clone() }
    }

    /// Whether it is a server, which has a clock of its own.
    pub(super) const fn is_postgres(&self) -> bool {
        matches!(self.at, At::Postgres(_))
    }

    /// Opens a write transaction.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`], when no connection is free in time.
    pub(super) async fn begin(&self) -> Result<Tx> {
        self.begin_with(None).await
    }

    /// Opens a write transaction that nobody else of the same lock runs beside.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`], when no connection or the lock is not free in time.
    pub(super) async fn begin_locked(&self, lock: Lock<'_>) -> Result<Tx> {
        self.begin_with(Some(lock)).await
    }

    async fn begin_with(&self, lock: Option<Lock<'_>>) -> Result<Tx> {
        let tx = match &self.at {
            At::Sqlite(file) => Tx::sqlite(file.begin(self.lane.line()).await?, self.answer),
            At::Postgres(server) => {
                #[cfg(test)]
                self.counts.trip(0);
                Tx::postgres(server.begin(self.lane, lock).await?, server.clone(), self.answer)
            }
        };
        #[cfg(test)]
        let tx = tx.counted(&self.counts);
        Ok(tx)
    }

    /// A connection for reading. Two statements on it may see different states.
    ///
    /// # Errors
    /// [`super::StoreError::Unavailable`], when no connection is free in time.
    pub(super) async fn read(&self) -> Result<Tx> {
        let tx = match &self.at {
            At::Sqlite(file) => Tx::sqlite_reader(file.read().await?, self.answer),
            At::Postgres(server) => {
                let link = server.read(self.lane).await?;
                Tx::postgres_reader(link, (server.clone(), self.lane), self.answer)
            }
        };
        #[cfg(test)]
        let tx = tx.counted(&self.counts);
        Ok(tx)
    }

    /// What was asked of it so far.
    #[cfg(test)]
    pub(super) fn spent(&self) -> Spent {
        let spent = self.counts.spent();
        match &self.at {
            At::Sqlite(file) => Spent { commits: file.commits(), ..spent },
            At::Postgres(_) => spent,
        }
    }

    /// Lets groups last as long as verbs wait; tells how many do.
    #[cfg(test)]
    pub(super) fn all_wait(&self) -> Box<dyn Fn() -> usize> {
        match &self.at {
            At::Sqlite(file) => file.all_wait(),
            At::Postgres(_) => Box::new(|| 0),
        }
    }

    /// Closes all connections.
    pub(super) async fn close(&self) {
        match &self.at {
            At::Sqlite(file) => file.close().await,
            At::Postgres(server) => server.close().await,
        }
    }
}
