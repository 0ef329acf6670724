//! The one writer of a SQLite file: verbs have it by turns, and share its commits.
//!
//! A verb does its work inside a savepoint of a transaction that stays open for the next verb. It
//! answers once the transaction is committed: when nobody waits any more, or enough have shared it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _, Either, Executor as _, SqlSafeStr as _, SqlStr};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::super::faults;
use super::super::ran::Ran;
use super::super::told::Told;
use super::super::value::{Arg, Row, bound};
use super::lines::{Line, Lines};

/// How long a verb waits for its turn: many may write at once, each for less than a millisecond.
const QUEUE: Duration = Duration::from_secs(15);
/// Most verbs that share a commit.
const MOST_VERBS: u32 = 128;
/// A transaction that is open for longer takes no further verb.
const LONGEST: Duration = Duration::from_millis(5);

/// The writer; cheap to clone.
#[derive(Clone)]
pub(in crate::store::driver) struct Writer(Arc<Inner>);

struct Inner {
    options: SqliteConnectOptions,
    /// Longest wait for the answer to one statement.
    answer: Duration,
    hall: Mutex<Hall>,
    #[cfg(test)]
    commits: std::sync::atomic::AtomicU32,
}

/// Where verbs wait.
struct Hall {
    lines: Lines<Turn>,
    /// A transaction that is open for longer takes no further verb.
    longest: Duration,
    /// While it is nobody's turn.
    desk: Option<Desk>,
    closed: bool,
}

/// The connection, and the group of verbs that share its transaction.
#[derive(Default)]
struct Desk {
    /// None until it is needed, and after it was given up.
    link: Option<SqliteConnection>,
    at: At,
    group: Group,
}

/// What the connection stands at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum At {
    /// No transaction is open.
    #[default]
    Outside,
    /// What stands in the savepoint stays.
    Whole,
    /// What stands in the savepoint must be undone, unless its verb goes on.
    Half,
    /// A statement was sent, and its answer not read.
    Busy,
    /// The end of the transaction was sent, and its answer not read.
    Ending,
}

/// The verbs that share a transaction.
#[derive(Default)]
struct Group {
    began: Option<Instant>,
    verbs: u32,
    /// One of them stored something.
    stored: bool,
    /// Those who wait for the commit; at most [`MOST_VERBS`], each told when the transaction ends.
    waiting: Vec<oneshot::Sender<Told>>,
}

impl Group {
    fn is_full(&self, longest: Duration) -> bool {
        self.verbs >= MOST_VERBS || self.began.is_some_and(|began| began.elapsed() >= longest)
    }
}

impl Desk {
    /// Closes the connection, which undoes what was not committed.
    fn give_up(&mut self, told: &Told) {
        self.link = None;
        self.at = At::Outside;
        for verb in std::mem::take(&mut self.group).waiting {
            drop(verb.send(told.clone()));
        }
    }
}

/// One verb's turn at the writer. Dropped half way, what it did is undone, and the next one has its
/// turn.
pub(in crate::store::driver) struct Turn {
    writer: Writer,
    /// None once it was passed on.
    desk: Option<Desk>,
    /// The verb has sent a statement.
    begun: bool,
    /// It was left to a task of its own already.
    left: bool,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    /// A writer on a file; `link` is its first connection.
    pub(super) fn new(
        options: SqliteConnectOptions,
        link: SqliteConnection,
        answer: Duration,
    ) -> Self {
        let desk = Desk { link: Some(link), ..Desk::default() };
        let hall =
            Hall { lines: Lines::default(), longest: LONGEST, desk: Some(desk), closed: false };
        Self(Arc::new(Inner {
            options,
            answer,
            hall: Mutex::new(hall),
            #[cfg(test)]
            commits: std::sync::atomic::AtomicU32::default(),
        }))
    }

    /// How often it committed.
    #[cfg(test)]
    pub(super) fn commits(&self) -> u32 {
        self.0.commits.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Lets transactions take further verbs for so long.
    #[cfg(test)]
    pub(super) fn lasting(&self, longest: Duration) {
        self.hall().longest = longest;
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.hall().lines.len()
    }

    fn hall(&self) -> MutexGuard<'_, Hall> {
        self.0.hall.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, desk: Desk) -> Turn {
        Turn { writer: self.clone(), desk: Some(desk), begun: false, left: false }
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// [`sqlx::Error`], when it does not come in time, or the file is closed.
    pub(in crate::store::driver) async fn begin(&self, line: Line) -> Result<Turn, sqlx::Error> {
        let wait = {
            let mut hall = self.hall();
            if hall.closed {
                return Err(sqlx::Error::PoolClosed);
            }
            if let Some(desk) = hall.desk.take() {
                return Ok(self.turn(desk));
            }
            hall.lines.join(line)
        };
        match timeout(QUEUE, wait).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) => Err(sqlx::Error::PoolClosed),
            Err(_) => Err(sqlx::Error::PoolTimedOut),
        }
    }

    /// Closes the connection, after what it has begun.
    pub(super) async fn close(&self) {
        let turn = self.begin(Line::Urgent).await;
        {
            let mut hall = self.hall();
            hall.closed = true;
            hall.lines.clear();
        }
        let Ok(mut turn) = turn else { return };
        if turn.is_open() {
            let (waiting, told) = turn.end_group().await;
            tell(waiting, &told);
        }
        if let Some(link) = turn.desk.take().and_then(|desk| desk.link) {
            drop(timeout(self.0.answer, link.close()).await);
        }
    }
}

impl Turn {
    fn desk(&mut self) -> Result<&mut Desk, sqlx::Error> {
        self.desk.as_mut().ok_or(sqlx::Error::WorkerCrashed)
    }

    fn is_open(&self) -> bool {
        self.desk.as_ref().is_some_and(|desk| desk.at != At::Outside)
    }

    /// Runs the statements of one text, one after the other; what each of them did. The first ones
    /// of a verb take the savepoint along.
    ///
    /// # Errors
    /// [`sqlx::Error`] of the first that fails; then [`Turn::fail`] must follow.
    pub(in crate::store::driver) async fn run(
        &mut self,
        sql: SqlStr,
        args: Vec<Arg>,
    ) -> Result<Vec<Ran>, sqlx::Error> {
        let (inner, begun) = (self.writer.0.clone(), std::mem::replace(&mut self.begun, true));
        let desk = self.desk()?;
        let (first, own) = match desk.at {
            At::Outside => ("begin immediate; savepoint verb; ", 2),
            At::Whole => ("release verb; savepoint verb; ", 2),
            At::Half if !begun => ("rollback to verb; ", 1),
            _ => ("", 0),
        };
        let sql = if first.is_empty() {
            sql
        } else {
            AssertSqlSafe(format!("{first}{}", sql.as_str())).into_sql_str()
        };
        if desk.at == At::Outside {
            desk.group.began = Some(Instant::now());
        }
        desk.at = At::Busy;
        let mut ran = timeout(inner.answer, async {
            let link = match &mut desk.link {
                Some(link) => link,
                none => none.insert(SqliteConnection::connect_with(&inner.options).await?),
            };
            all(link, sql, args).await
        })
        .await
        .unwrap_or_else(|_| Err(faults::no_answer(inner.answer)))?;
        desk.at = At::Half;
        ran.drain(..own.min(ran.len()));
        Ok(ran)
    }

    /// Ends a verb whose statement failed; nothing of it is stored. Where SQLite refused the
    /// statement and no more, the others of the group go on; any other failure may have undone them,
    /// and they are told so.
    pub(in crate::store::driver) async fn fail(mut self, error: &sqlx::Error) -> Told {
        let kept = faults::is_refused_statement(error) && self.back_to_savepoint().await;
        if !kept && let Some(desk) = &mut self.desk {
            desk.give_up(&Told::TakenAlong);
        }
        self.undo().await
    }

    async fn back_to_savepoint(&mut self) -> bool {
        let answer = self.writer.0.answer;
        let Some(Desk { link: Some(link), at, .. }) = &mut self.desk else { return false };
        let back = "rollback to verb".into_sql_str();
        let done =
            timeout(answer, all(link, back, Vec::new())).await.is_ok_and(|done| done.is_ok());
        if done {
            *at = At::Whole;
        }
        done
    }

    /// Ends a verb, and nothing of it is stored. What it read may be another's of its group: it
    /// answers when that is stored.
    pub(in crate::store::driver) async fn undo(mut self) -> Told {
        let wait = match &mut self.desk {
            Some(desk) if self.begun && desk.group.stored => {
                let (told, wait) = oneshot::channel();
                desk.group.waiting.push(told);
                desk.group.verbs += 1;
                Some(wait)
            }
            _ => None,
        };
        self.pass_on().await;
        answer(wait).await
    }

    /// Ends a verb; answers when its changes outlast a crash, or surely don't.
    pub(in crate::store::driver) async fn commit(mut self) -> Told {
        let wait = match &mut self.desk {
            Some(desk) if self.begun && desk.at == At::Half => {
                let (told, wait) = oneshot::channel();
                desk.group.waiting.push(told);
                desk.group.verbs += 1;
                desk.group.stored = true;
                desk.at = At::Whole;
                Some(wait)
            }
            _ => None,
        };
        self.pass_on().await;
        answer(wait).await
    }

    /// Gives the turn to who waits; commits where nobody does, or the group is full.
    async fn pass_on(mut self) {
        if self.is_open() {
            if self.hand_over() {
                return;
            }
            // Who is about to ask for a turn, and only had none to run on, shares this commit.
            tokio::task::yield_now().await;
            if self.hand_over() {
                return;
            }
            let (waiting, told) = self.end_group().await;
            // The next one begins while these are told.
            self.rest();
            tell(waiting, &told);
        } else {
            self.rest();
        }
    }

    /// Gives the turn, with its open transaction, to who waits; false if nobody does, or if enough
    /// have shared it.
    fn hand_over(&mut self) -> bool {
        let Some(desk) = self.desk.take() else { return true };
        let mut hall = self.writer.hall();
        if desk.group.is_full(hall.longest) {
            self.desk = Some(desk);
            return false;
        }
        let given = hall.lines.give(self.writer.turn(desk));
        drop(hall);
        match given {
            Ok(()) => true,
            Err(mut back) => {
                self.desk = back.desk.take();
                false
            }
        }
    }

    /// Gives the turn to who waits or comes next.
    fn rest(&mut self) {
        let Some(desk) = self.desk.take() else { return };
        let mut hall = self.writer.hall();
        if hall.closed {
            // Its connection is closed outside the lock.
            drop(hall);
            drop(desk);
            return;
        }
        if let Err(mut back) = hall.lines.give(self.writer.turn(desk)) {
            hall.desk = back.desk.take();
        }
    }

    /// Ends the transaction: who must be told what. The connection is given up when that fails.
    async fn end_group(&mut self) -> (Vec<oneshot::Sender<Told>>, Told) {
        let inner = self.writer.0.clone();
        let Ok(desk) = self.desk() else { return (Vec::new(), Told::TakenAlong) };
        let sql = match (desk.group.stored, desk.at) {
            (false, _) => "rollback",
            (true, At::Half) => "rollback to verb; commit",
            (true, _) => "commit",
        };
        desk.at = At::Ending;
        #[cfg(test)]
        inner.commits.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let done = match &mut desk.link {
            None => Err(sqlx::Error::WorkerCrashed),
            Some(link) => timeout(inner.answer, all(link, sql.into_sql_str(), Vec::new()))
                .await
                .unwrap_or_else(|_| Err(faults::no_answer(inner.answer))),
        };
        desk.at = At::Outside;
        let waiting = std::mem::take(&mut desk.group).waiting;
        let error = match done {
            Ok(_) => return (waiting, Told::Stored),
            Err(error) => Arc::new(error),
        };
        desk.link = None;
        let told =
            if faults::is_no_commit(&error) { Told::Refused(error) } else { Told::Unknown(error) };
        (waiting, told)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(desk) = &mut self.desk else { return };
        match desk.at {
            At::Outside | At::Whole | At::Half => {}
            // The statement may still run: nothing of it is committed.
            At::Busy => desk.give_up(&Told::TakenAlong),
            At::Ending => desk.give_up(&Told::Unknown(Arc::new(sqlx::Error::WorkerCrashed))),
        }
        if self.is_open() {
            if self.hand_over() {
                return;
            }
            match (self.left, tokio::runtime::Handle::try_current(), self.desk.take()) {
                (false, Ok(runtime), Some(desk)) => {
                    let mut turn = self.writer.turn(desk);
                    turn.left = true;
                    let end: std::pin::Pin<Box<dyn Future<Output = ()> + Send>> =
                        Box::pin(turn.pass_on());
                    runtime.spawn(end);
                    return;
                }
                // The runtime ends.
                (_, _, Some(mut desk)) => {
                    desk.give_up(&Told::TakenAlong);
                    self.desk = Some(desk);
                }
                (_, _, None) => {}
            }
        }
        self.rest();
    }
}

#[cfg(test)]
impl Turn {
    /// Runs a statement outside of any transaction.
    pub(super) async fn outside(&mut self, sql: &str) -> Vec<Ran> {
        let link = self.desk.as_mut().unwrap().link.as_mut().unwrap();
        all(link, AssertSqlSafe(sql.to_owned()).into_sql_str(), Vec::new()).await.unwrap()
    }
}

/// Who goes without a word may have been committed.
async fn answer(wait: Option<oneshot::Receiver<Told>>) -> Told {
    match wait {
        None => Told::Stored,
        Some(wait) => {
            wait.await.unwrap_or_else(|_| Told::Unknown(Arc::new(sqlx::Error::WorkerCrashed)))
        }
    }
}

fn tell(waiting: Vec<oneshot::Sender<Told>>, told: &Told) {
    for verb in waiting {
        drop(verb.send(told.clone()));
    }
}

/// Runs the statements of one text in one trip to the connection's thread.
async fn all(
    link: &mut SqliteConnection,
    sql: SqlStr,
    args: Vec<Arg>,
) -> Result<Vec<Ran>, sqlx::Error> {
    let mut stream = link.fetch_many(bound!(sql, args));
    let (mut ran, mut rows) = (Vec::new(), Vec::new());
    while let Some(item) = stream.try_next().await? {
        match item {
            Either::Right(row) => rows.push(Row::from(row)),
            Either::Left(done) => {
                ran.push(Ran { touched: done.rows_affected(), rows: std::mem::take(&mut rows) });
            }
        }
    }
    Ok(ran)
}
