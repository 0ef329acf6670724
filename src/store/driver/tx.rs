//! One transaction, or a connection that only reads.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Either, Executor as _, Postgres, SqlSafeStr, SqlStr, Sqlite};
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

use super::faults;
use super::kept::InUse;
use super::lane::Lane;
use super::lock::Lock;
use super::postgres::{Begun, Born, Server};
use super::ran::{Ran, Step, joined, together};
use super::sqlite::Turn;
use super::value::{Arg, Row, bound, null};
use crate::store::{Result, StoreError};

/// An open write transaction, rolled back unless committed; or a connection that only reads, each
/// statement by itself. Held requests read so often that opening and ending a transaction around
/// the one statement would be most of the work.
///
/// A connection goes back to its pool only when its transaction was ended and the database said so.
/// Where one failed, gave no answer, or was dropped half way, the connection is closed. SQLite's one
/// writer is shared by turns instead: see [`Turn`].
pub(in crate::store) struct Tx {
    /// None once the transaction is over.
    link: Option<Link>,
    work: Work,
    /// A statement was sent, and its answer not read yet.
    busy: bool,
    /// Longest wait for the answer to one statement.
    answer: Duration,
    #[cfg(test)]
    counts: Option<std::sync::Arc<super::counts::Counts>>,
}

enum Link {
    /// Reads only.
    Sqlite(InUse<Sqlite>),
    Writer(Turn),
    Postgres(InUse<Postgres>, Server),
}

enum Work {
    /// From which connections.
    Reads(Lane),
    Writes {
        /// Names the transaction on PostgreSQL.
        born: Option<Born>,
        /// Others of this process wait behind it for the same lock.
        _turn: Option<OwnedMutexGuard<()>>,
    },
}

/// Most statements in one trip.
const MOST_AT_ONCE: usize = 16;

/// Runs the statements of a text; what each of them did.
macro_rules! ran {
    ($link:expr, $sql:expr, $args:expr) => {
        async {
            let mut stream = (&mut ***$link).fetch_many(bound!($sql, $args));
            let (mut ran, mut rows) = (Vec::new(), Vec::new());
            while let Some(item) = stream.try_next().await? {
                match item {
                    Either::Right(row) => rows.push(Row::from(row)),
                    Either::Left(done) => {
                        let rows = std::mem::take(&mut rows);
                        ran.push(Ran { touched: done.rows_affected(), rows });
                    }
                }
            }
            Ok::<_, sqlx::Error>(ran)
        }
    };
}

type Answered<T> =
    std::result::Result<std::result::Result<T, sqlx::Error>, tokio::time::error::Elapsed>;

impl Tx {
    pub(super) fn sqlite(turn: Turn, answer: Duration) -> Self {
        let work = Work::Writes { born: None, _turn: None };
        Self {
            link: Some(Link::Writer(turn)),
            work,
            busy: false,
            answer,
            #[cfg(test)]
            counts: None,
        }
    }

    pub(super) fn sqlite_reader(link: InUse<Sqlite>, answer: Duration) -> Self {
        let work = Work::Reads(Lane::People);
        Self {
            link: Some(Link::Sqlite(link)),
            work,
            busy: false,
            answer,
            #[cfg(test)]
            counts: None,
        }
    }

    pub(super) fn postgres(begun: Begun, server: Server, answer: Duration) -> Self {
        let Begun { link, born, turn } = begun;
        let work = Work::Writes { born: Some(born), _turn: turn };
        Self {
            link: Some(Link::Postgres(link, server)),
            work,
            busy: false,
            answer,
            #[cfg(test)]
            counts: None,
        }
    }

    pub(super) fn postgres_reader(
        link: InUse<Postgres>,
        (server, lane): (Server, Lane),
        answer: Duration,
    ) -> Self {
        let link = Some(Link::Postgres(link, server));
        Self {
            link,
            work: Work::Reads(lane),
            busy: false,
            answer,
            #[cfg(test)]
            counts: None,
        }
    }

    /// The same, counted there.
    #[cfg(test)]
    pub(super) fn counted(mut self, counts: &std::sync::Arc<super::counts::Counts>) -> Self {
        self.counts = Some(std::sync::Arc::clone(counts));
        self
    }

    /// Whether statements may be PostgreSQL's own.
    pub(in crate::store) const fn is_postgres(&self) -> bool {
        matches!(self.link, Some(Link::Postgres(..)))
    }
}

/// # Errors
/// [`StoreError::Unavailable`], when the database refuses the statement, can't be reached or gives
/// no answer in time; then nothing of the transaction is stored, and it takes no more statements.
impl Tx {
    /// Runs a statement; returns how many rows it touched.
    pub(in crate::store) async fn execute(
        &mut self,
        sql: impl SqlSafeStr,
        args: Vec<Arg>,
    ) -> Result<u64> {
        Ok(self.ran(sql.into_sql_str(), args).await?.touched)
    }

    /// All rows of the result, in its order. A connection that only reads, and turns out to be
    /// lost, is replaced once: nobody need know that the server ended its sessions.
    pub(in crate::store) async fn rows(
        &mut self,
        sql: impl SqlSafeStr,
        args: Vec<Arg>,
    ) -> Result<Vec<Row>> {
        let sql = sql.into_sql_str();
        let again = match (&self.link, &self.work) {
            (Some(Link::Postgres(_, server)), Work::Reads(lane)) => {
                Some((server.clone(), *lane, sql.clone(), args.clone()))
            }
            _ => None,
        };
        match (self.ran(sql, args).await, again) {
            (Err(StoreError::Unavailable(error)), Some((server, lane, sql, args)))
                if faults::is_lost(&error) =>
            {
                let link = server.read(lane).await?;
                self.link = Some(Link::Postgres(link, server));
                Ok(self.ran(sql, args).await?.rows)
            }
            (done, _) => Ok(done?.rows),
        }
    }

    /// Runs statements one after the other, on SQLite's writer in few trips to its thread, on
    /// PostgreSQL those beside another with it ([`Step::beside`]); what each did. It ends with the one that had to touch a row and did not ([`Step::must_touch`]): then
    /// fewer are returned than were given, or the last one touched nothing, and the transaction must
    /// be rolled back, since later ones may have run.
    pub(in crate::store) async fn all(&mut self, steps: Vec<Step>) -> Result<Vec<Ran>> {
        let shared = matches!(self.link, Some(Link::Writer(_)));
        let at_once = if shared { MOST_AT_ONCE } else { 1 };
        let mut done = Vec::with_capacity(steps.len());
        let mut rest = steps.into_iter().peekable();
        while rest.peek().is_some() {
            let mut now: Vec<Step> = Vec::new();
            while now.len() < at_once
                && !now.last().is_some_and(|step: &Step| step.alone)
                && let Some(step) = rest.next_if(|step| now.is_empty() || !step.alone)
            {
                now.push(step);
            }
            if self.is_postgres() && now.iter().all(|step| step.must_touch) {
                while let Some(step) = rest.next_if(|step| step.beside) {
                    now.push(step);
                }
            }
            let others = if shared { 0 } else { now.len() - 1 };
            #[cfg(test)]
            for step in &now {
                super::recorded::note(step.sql.as_str(), &step.args);
            }
            let must: Vec<bool> = now.iter().map(|step| step.must_touch).collect();
            let (sql, args) = match now.pop() {
                Some(only) if now.is_empty() => (only.sql, only.args),
                last => {
                    now.extend(last);
                    let (text, args) = if shared { joined(now) } else { together(now) };
                    (AssertSqlSafe(text).into_sql_str(), args)
                }
            };
            for (ran, must) in self.trip(sql, args).await?.into_iter().zip(must) {
                let over = must && ran.touched == 0;
                done.push(ran);
                if over {
                    return Ok(done);
                }
            }
            done.extend((0..others).map(|_| Ran::default()));
        }
        Ok(done)
    }

    async fn ran(&mut self, sql: SqlStr, args: Vec<Arg>) -> Result<Ran> {
        #[cfg(test)]
        super::recorded::note(sql.as_str(), &args);
        Ok(self.trip(sql, args).await?.pop().unwrap_or_default())
    }

    /// One trip to the database: what each statement of the text did.
    async fn trip(&mut self, sql: SqlStr, args: Vec<Arg>) -> Result<Vec<Ran>> {
        let limit = self.answer;
        let done = match self.link()? {
            Link::Writer(turn) => Ok(turn.run(sql, args).await),
            Link::Sqlite(link) => timeout(limit, ran!(link, sql, args)).await,
            Link::Postgres(link, _) => timeout(limit, ran!(link, sql, args)).await,
        };
        #[cfg(test)]
        if let (Some(counts), Ok(Ok(ran))) = (&self.counts, &done) {
            match self.work {
                Work::Reads(_) => counts.reading(),
                Work::Writes { .. } => counts.trip(ran.len()),
            }
        }
        self.answered(done).await
    }

    /// The first row of the result; none if it is empty.
    pub(in crate::store) async fn row(
        &mut self,
        sql: impl SqlSafeStr,
        args: Vec<Arg>,
    ) -> Result<Option<Row>> {
        Ok(self.rows(sql, args).await?.into_iter().next())
    }

    /// The integer `n` of the one row.
    pub(in crate::store) async fn count(
        &mut self,
        sql: impl SqlSafeStr,
        args: Vec<Arg>,
    ) -> Result<i64> {
        self.row(sql, args).await?.ok_or_else(|| null("n"))?.int("n")
    }

    /// Keeps others who ask for the same lock out until the transaction ends. SQLite's writer
    /// is alone already. A lock that is known beforehand is taken with the transaction's beginning.
    pub(in crate::store) async fn lock(&mut self, lock: Lock<'_>) -> Result<()> {
        if self.is_postgres() {
            let (class, key) = lock.numbers();
            // Text: its one column, of type void, is not read.
            let sql = sqlx::AssertSqlSafe(format!("select pg_advisory_xact_lock({class}, {key})"));
            let limit = self.answer;
            let Link::Postgres(link, _) = self.link()? else { return Ok(()) };
            let done = timeout(limit, sqlx::raw_sql(sql).execute(&mut ***link)).await;
            self.answered(done).await?;
        }
        Ok(())
    }

    /// Ends the transaction without storing anything. On SQLite it may have read what verbs before it
    /// have not committed yet: then it ends when that is stored.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], when what it read was not stored after all.
    pub(in crate::store) async fn rollback(mut self) -> Result<()> {
        if let Some(Link::Writer(turn)) = self.link.take_if(|link| matches!(link, Link::Writer(_)))
        {
            return turn.undo().await.of_a_reader();
        }
        self.undo().await;
        Ok(())
    }

    /// Commits the transaction; after that its changes survive a crash.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], when surely nothing of it is stored; [`StoreError::Unknown`],
    /// when that can't be learned.
    pub(in crate::store) async fn commit(mut self) -> Result<()> {
        if matches!(self.work, Work::Reads(_)) {
            return Ok(());
        }
        let limit = self.answer;
        if let Some(Link::Writer(turn)) = self.link.take_if(|link| matches!(link, Link::Writer(_)))
        {
            return turn.commit().await.of_a_writer();
        }
        let done = match self.link()? {
            Link::Sqlite(_) | Link::Writer(_) => Ok(Ok(())),
            Link::Postgres(link, _) => {
                timeout(limit, sqlx::raw_sql("commit").execute(&mut ***link))
                    .await
                    .map(|done| done.map(drop))
            }
        };
        self.busy = false;
        let error = match done {
            Ok(Ok(())) => {
                #[cfg(test)]
                if let Some(counts) = &self.counts {
                    counts.trip(0);
                    counts.commit();
                }
                self.give_back();
                return Ok(());
            }
            Ok(Err(error)) => error,
            Err(_) => faults::no_answer(limit),
        };
        let server = match &self.link {
            Some(Link::Postgres(_, server)) => Some(server.clone()),
            _ => None,
        };
        self.close(&error);
        if faults::is_no_commit(&error) {
            return Err(error.into());
        }
        let truth = match (&self.work, server) {
            (Work::Writes { born: Some(born), .. }, Some(server)) => server.truth(born).await,
            _ => None,
        };
        match truth {
            Some(true) => Ok(()),
            Some(false) => Err(error.into()),
            None => Err(StoreError::Unknown(error)),
        }
    }

    /// The connection, about to be given a statement.
    fn link(&mut self) -> Result<&mut Link> {
        let link = self.link.as_mut().ok_or_else(|| {
            StoreError::Unavailable(sqlx::Error::Configuration(
                "its transaction failed before".into(),
            ))
        })?;
        self.busy = true;
        Ok(link)
    }

    async fn answered<T>(&mut self, done: Answered<T>) -> Result<T> {
        self.busy = false;
        let error = match done {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error,
            Err(_) => faults::no_answer(self.answer),
        };
        if let Some(Link::Writer(turn)) = self.link.take_if(|link| matches!(link, Link::Writer(_)))
        {
            turn.fail(&error).await.of_a_reader()?;
            return Err(error.into());
        }
        match (&self.link, &self.work) {
            (Some(Link::Postgres(..)), Work::Writes { .. }) if faults::is_refusal(&error) => {
                self.undo().await;
            }
            (Some(Link::Sqlite(_)), Work::Reads(_)) if error.as_database_error().is_some() => {
                self.give_back();
            }
            (_, Work::Reads(_)) if faults::is_refusal(&error) => self.give_back(),
            _ => self.close(&error),
        }
        Err(error.into())
    }

    /// Rolls back; a connection that can't is closed.
    async fn undo(&mut self) {
        if matches!(self.work, Work::Reads(_)) {
            return self.give_back();
        }
        let limit = self.answer;
        self.busy = true;
        let done = match &mut self.link {
            None | Some(Link::Sqlite(_) | Link::Writer(_)) => return,
            Some(Link::Postgres(link, _)) => {
                let rollback = sqlx::raw_sql("rollback").execute(&mut ***link);
                timeout(limit, rollback).await.map(|done| done.map(drop))
            }
        };
        self.busy = false;
        match done {
            Ok(Ok(())) => self.give_back(),
            Ok(Err(error)) => self.close(&error),
            Err(_) => self.close(&faults::no_answer(limit)),
        }
    }

    /// Keeps the connection for whoever comes next.
    fn give_back(&mut self) {
        match self.link.take() {
            Some(Link::Postgres(link, _)) => link.keep(),
            Some(Link::Sqlite(link)) => link.keep(),
            None | Some(Link::Writer(_)) => {}
        }
    }

    /// Closes the connection; what its transaction did is undone.
    fn close(&mut self, why: &sqlx::Error) {
        match self.link.take() {
            // A turn that is dropped is passed on, and nothing of it stays.
            None | Some(Link::Writer(_)) => {}
            Some(Link::Sqlite(mut link)) => link.close_on_drop(),
            Some(Link::Postgres(link, server)) => server.give_up(link, why),
        }
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        if matches!(self.work, Work::Reads(_)) && !self.busy {
            self.give_back();
        } else {
            // Not a fault of the connection: others made before it are not doubted.
            match self.link.take() {
                None | Some(Link::Writer(_)) => {}
                Some(Link::Sqlite(mut link)) => link.close_on_drop(),
                Some(Link::Postgres(link, _)) => drop(link.detach()),
            }
        }
    }
}
