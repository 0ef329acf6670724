//! `backup` and `restore`: copies of the database, and what is marked when one is put back.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio_util::task::TaskTracker;

use crate::broker::restore::{Restored, Restoring};
use crate::broker::{Broker, Parts, Stop};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::domain::time::Timestamp;
use crate::id::{IdSource, OsIds};
use crate::store::copies::PutBack;
use crate::store::sql::SqlStore;
use crate::store::sqlite_file::{
    CheckpointError, Copied, CopyError, FileLock, LockError, SqliteFile,
};
use crate::store::{Store as _, StoreError};

/// What to do with a database that is an older copy.
const MEND: &str = ". Run `placet restore` without a FILE, which marks that; or, if you \
    are sure that no broker ran since the copy was made, `placet restore --nothing-ran-since`";
/// Where a copy is got ready before it takes the database's place.
const UNFINISHED: &str = ".restoring";

/// What is said of a database that was put back, and what to do.
pub(super) fn words(put_back: PutBack) -> String {
    let what = match put_back {
        PutBack { unfinished: true, .. } => {
            "a restore began on this database and did not end".to_owned()
        }
        PutBack { copied_at: Some(at), .. } => format!(
            "this database is a backup, made at {at}; what was open in it may have run since"
        ),
        PutBack { .. } => {
            "this database was put back from a dump; what was open in it may have run \
                           since"
                .to_owned()
        }
    };
    format!("{what}{MEND}")
}

/// The same of one that can't be compared with its checkpoint, or has not come as far.
pub(super) fn with_mend(error: &CheckpointError) -> String {
    match error {
        CheckpointError::Behind(behind) => format!("{behind}{MEND}"),
        other => other.to_string(),
    }
}

/// Why nothing was copied or put back.
#[derive(Debug, Error)]
pub enum CopiesError {
    /// `backup` makes no dumps of PostgreSQL.
    #[error(
        "database.url: PostgreSQL has tools of its own: `pg_dump --format=custom --file={file} \
         …`, and to put it back `pg_restore` into an empty database, then `placet restore` (without \
         a FILE), which marks what may have run since", file = .0.display()
    )]
    UsePgDump(PathBuf),
    /// `restore` reads no dumps of PostgreSQL.
    #[error(
        "database.url: PostgreSQL has tools of its own: put {file} back with `pg_restore` into an \
         empty database, then run `placet restore` without a FILE", file = .0.display()
    )]
    UsePgRestore(PathBuf),
    /// The file to copy to is there.
    #[error("{}: there is such a file already; name another", .0.display())]
    Exists(PathBuf),
    /// There is a database where the copy would go.
    #[error(
        "{}: there is a database already; --force keeps it under another name beside it",
        .0.display()
    )]
    Occupied(PathBuf),
    /// The copy is the database itself.
    #[error(
        "{}: that is the database itself; to mark what is open in it, run `placet restore` without \
         a FILE", .0.display()
    )]
    Same(PathBuf),
    /// Nothing says that the database is a copy.
    #[error(
        "nothing says that this database was put back from a copy, and what is open in it would be \
         given up; if it was, run it with --force"
    )]
    NoCopy,
    /// There is no database.
    #[error("{}: there is no database", .0.display())]
    Missing(PathBuf),
    /// A broker runs on PostgreSQL.
    #[error(
        "a broker runs on this database (its lease lasts until {0}): stop it; one that was killed \
         is forgotten within 15 seconds"
    )]
    Running(Timestamp),
    /// A broker runs on SQLite, or the lock can't be had.
    #[error(transparent)]
    Locked(#[from] LockError),
    /// The copying failed.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The database can't be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The checkpoint can't be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A file can't be moved.
    #[error("{}: {error}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
}

/// Copies a SQLite database into a new file, while a broker may run on it. `told` hears how many bytes
/// there are.
///
/// # Errors
/// [`CopiesError`], then there is no such file.
pub async fn backup(
    config: &Config,
    to: &Path,
    told: &(dyn Fn(u64) + Sync),
) -> Result<Copied, CopiesError> {
    let Some(file) = SqliteFile::of(config.database.url.expose()) else {
        return Err(CopiesError::UsePgDump(to.to_owned()));
    };
    if to.symlink_metadata().is_ok() {
        return Err(CopiesError::Exists(to.to_owned()));
    }
    Ok(file.copy_to(to, Some(SystemClock.now()), told).await?)
}

/// How a copy is put back.
#[derive(Debug, Clone, Default)]
pub struct Restore {
    /// The copy; none: it stands in the database's place already.
    pub from: Option<PathBuf>,
    /// A database that is there is put aside; one that does not look put back is marked all the same.
    pub force: bool,
    /// What was pending is asked anew instead of being `indeterminate`.
    pub ask_again: bool,
    /// Nothing ran since the copy was made: nothing is marked.
    pub nothing_ran_since: bool,
}

/// What a restore tells while it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// So many bytes of the copy are there.
    Copied(u64),
    /// So many approvals are marked.
    Marked(u64),
    /// The database that was there is kept here.
    Aside(PathBuf),
}

/// What a restore did.
#[derive(Debug, Clone)]
pub struct Report {
    /// When the copy was made, where it tells.
    pub copied_at: Option<Timestamp>,
    /// What was marked and ended; none where nothing ran since.
    pub restored: Option<Restored>,
    /// Where the database is kept that was there.
    pub aside: Option<PathBuf>,
}

/// Puts a copy in the database's place, or takes the one that stands there, and marks what was open in
/// it. Killed at any moment, it leaves the old database or a marked one, or one on which no broker
/// starts before it was run again.
///
/// # Errors
/// [`CopiesError`], when a broker runs on the database, one is in the way, or something fails.
pub async fn restore(
    config: Config,
    how: Restore,
    told: &(dyn Fn(Step) + Sync),
) -> Result<Report, CopiesError> {
    let Some(file) = SqliteFile::of(config.database.url.expose()) else {
        return match how.from {
            Some(from) => Err(CopiesError::UsePgRestore(from)),
            None => on_a_server(config, &how, told).await,
        };
    };
    let lock = file.lock(SystemClock.now())?;
    match &how.from {
        Some(from) => from_file(config, &file, from, &how, &lock, told).await,
        None => in_place(config, &file, &how, &lock, told).await,
    }
}

async fn on_a_server(
    config: Config,
    how: &Restore,
    told: &(dyn Fn(Step) + Sync),
) -> Result<Report, CopiesError> {
    let store =
        SqlStore::open_with(config.database.url.expose(), &(&config.database).into()).await?;
    let done = async {
        if let Some(until) = store.copies().lease(SystemClock.now()).await? {
            return Err(CopiesError::Running(until));
        }
        mark(config, &store, how, false, told).await
    }
    .await;
    store.close().await;
    done
}

async fn in_place(
    config: Config,
    file: &SqliteFile,
    how: &Restore,
    _lock: &FileLock,
    told: &(dyn Fn(Step) + Sync),
) -> Result<Report, CopiesError> {
    if !file.path().is_file() {
        return Err(CopiesError::Missing(file.path().to_owned()));
    }
    let is_behind = match file.compare().await {
        Ok(()) => false,
        Err(CheckpointError::Database(error)) => return Err(StoreError::from(error).into()),
        // A checkpoint that can't be read tells nothing of what is beside it.
        Err(_) => true,
    };
    let store = SqlStore::open_with(&file.url(), &(&config.database).into()).await?;
    let done = mark(config, &store, how, is_behind, told).await;
    store.close().await;
    let report = done?;
    file.note(None, SystemClock.now()).await?;
    Ok(report)
}

async fn from_file(
    config: Config,
    file: &SqliteFile,
    from: &Path,
    how: &Restore,
    _lock: &FileLock,
    told: &(dyn Fn(Step) + Sync),
) -> Result<Report, CopiesError> {
    if !from.is_file() {
        return Err(CopiesError::Missing(from.to_owned()));
    }
    if file.is_also(from) {
        return Err(CopiesError::Same(from.to_owned()));
    }
    if file.exists() && !how.force {
        return Err(CopiesError::Occupied(file.path().to_owned()));
    }
    let io = |file: &SqliteFile| {
        let file = file.path().to_owned();
        move |error| CopiesError::Io { file, error }
    };
    let fresh = SqliteFile::at(&file.beside(UNFINISHED));
    // What a restore left that was cut off.
    fresh.remove().map_err(io(&fresh))?;
    let copying = |bytes| told(Step::Copied(bytes));
    SqliteFile::at(from).copy_to(fresh.path(), None, &copying).await?;
    let marked = async {
        let store = SqlStore::open_with(&fresh.url(), &(&config.database).into()).await?;
        let done = mark(config, &store, how, true, told).await;
        store.close().await;
        done
    }
    .await;
    let mut report = match marked {
        Ok(report) => report,
        Err(error) => {
            let _ = fresh.remove();
            return Err(error);
        }
    };
    let now = SystemClock.now();
    if file.exists() {
        let name = format!(".before-{}", now.to_string().replace([':', '.'], "-"));
        report.aside = Some(file.beside(&name));
        told(Step::Aside(file.beside(&name)));
        fresh.replace(file, Some(&name), now).await?;
    } else {
        fresh.replace(file, None, now).await?;
    }
    Ok(report)
}

/// Marks what is open in an opened copy, and takes it for the database.
async fn mark(
    config: Config,
    store: &SqlStore,
    how: &Restore,
    is_copy: bool,
    told: &(dyn Fn(Step) + Sync),
) -> Result<Report, CopiesError> {
    let put_back = store.copies().put_back().await?;
    if put_back.is_none() && !is_copy && !how.force {
        return Err(CopiesError::NoCopy);
    }
    let copied_at = put_back.and_then(|found| found.copied_at);
    let broker = bystander(config, store).await?;
    let restored = if how.nothing_ran_since {
        broker.adopt_unchanged(copied_at).await?;
        None
    } else {
        let how = Restoring { copied_at, ask_again: how.ask_again };
        Some(broker.mark_restored(how, &|n| told(Step::Marked(n))).await?)
    };
    Ok(Report { copied_at, restored, aside: None })
}

/// A broker that serves nobody and knows no upstream: it plans messages and records.
async fn bystander(config: Config, store: &SqlStore) -> Result<Broker, StoreError> {
    let ids = Arc::new(OsIds);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let node = ids.prefixed("nod_", clock.now());
    Ok(Broker::new(Parts {
        masking_key: store.secret("masking", ids.random()).await?,
        // Nothing is sealed here.
        seal_key: ids.random(),
        store: Arc::new(store.clone()),
        upstreams: HashMap::new(),
        config: Arc::new(config),
        clock,
        ids,
        node,
        tracker: TaskTracker::new(),
        stop: Stop::default(),
    }))
}
