//! Copies of the database: whole ones, of one instant, while others write it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{ConnectOptions as _, Connection as _, Row as _, SqliteConnection};
use thiserror::Error;

use crate::domain::time::Timestamp;

use super::{SqliteFile, checkpoint, make_private};

/// How long it waits for another process's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is told how much is copied.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// What the name of an unfinished copy ends with.
const UNFINISHED: &str = ".unfinished";

/// Why there is no copy.
#[derive(Debug, Error)]
pub enum CopyError {
    /// There is nothing to copy.
    #[error("{}: there is no database", .0.display())]
    Missing(PathBuf),
    /// It is no database of Placet.
    #[error("{}: it is no database of Placet ({what})", file.display())]
    Foreign {
        /// What was to be copied.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// It can be read in part only.
    #[error("{}: it is damaged ({what}); take another copy", file.display())]
    Damaged {
        /// What was to be copied.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A file can't be made, written or moved.
    #[error("{}: {error}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The copying failed.
    #[error("the copy failed: {0}; see whether the disk is full, or the file damaged")]
    Database(#[from] sqlx::Error),
}

/// What a copy has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Its length in bytes.
    pub bytes: u64,
    /// Number and hash of the last sealed record of its audit; none if it has no record.
    pub head: Option<(i64, String)>,
    /// How many approvals are open in it: pending, approved, running.
    pub open: u64,
}

impl SqliteFile {
    pub(super) async fn connect(&self) -> Result<SqliteConnection, sqlx::Error> {
        let options = SqliteConnectOptions::new().filename(&self.0).busy_timeout(BUSY_TIMEOUT);
        options.connect().await
    }

    /// Writes a copy to `to`, which must not be there, with mode 0600 (`vacuum into`,
    /// <https://www.sqlite.org/lang_vacuum.html#vacuuminto>). `told` hears now and then how many bytes
    /// there are. `made_at` is written into the copy: no broker starts on it until it was put back.
    ///
    /// # Errors
    /// [`CopyError`]; then `to` is not there.
    pub async fn copy_to(
        &self,
        to: &Path,
        made_at: Option<Timestamp>,
        told: &(dyn Fn(u64) + Sync),
    ) -> Result<Copied, CopyError> {
        if !self.0.is_file() {
            return Err(CopyError::Missing(self.0.clone()));
        }
        let at = |file: &Path| {
            let file = file.to_owned();
            move |error| CopyError::Io { file, error }
        };
        // Who asks for the same name meanwhile is refused; what stands there is no database yet.
        make_private(to).map_err(at(to))?;
        let unfinished = Self(Self(to.to_owned()).beside(UNFINISHED));
        let done = self.write_copy(&unfinished, made_at, told).await;
        let done = match done {
            Ok(copied) => unfinished.move_to(&Self(to.to_owned())).map(|()| copied).map_err(at(to)),
            Err(error) => Err(error),
        };
        if done.is_err() {
            let _ = unfinished.remove();
            let _ = std::fs::remove_file(to);
        }
        done
    }

    async fn write_copy(
        &self,
        to: &Self,
        made_at: Option<Timestamp>,
        told: &(dyn Fn(u64) + Sync),
    ) -> Result<Copied, CopyError> {
        let at = |error| CopyError::Io { file: to.0.clone(), error };
        let foreign =
            |what: &str| CopyError::Foreign { file: self.0.clone(), what: what.to_owned() };
        to.remove().map_err(at)?;
        // SQLite writes into an empty file, and keeps its mode.
        make_private(&to.0).map_err(at)?;
        let mut link = self.connect().await?;
        let tables = "select count(*) as n from sqlite_master where type = 'table' \
                      and name in ('approvals', 'audit', 'outbox')";
        match sqlx::query(tables).fetch_one(&mut link).await {
            Ok(row) if row.try_get::<i64, _>("n")? == 3 => {}
            Ok(_) => return Err(foreign("its tables are missing")),
            Err(sqlx::Error::Database(error)) if error.message().contains("not a database") => {
                return Err(foreign(error.message()));
            }
            Err(error) => return Err(error.into()),
        }
        let name = to.0.to_string_lossy().into_owned();
        {
            let copying = sqlx::query("vacuum into $1").bind(name).execute(&mut link);
            let mut copying = std::pin::pin!(copying);
            loop {
                tokio::select! {
                    done = &mut copying => {
                        done?;
                        break;
                    }
                    () = tokio::time::sleep(TELL_EVERY) => told(length(&to.0)),
                }
            }
        }
        link.close().await?;
        to.check().await?.map_err(|what| CopyError::Damaged { file: self.0.clone(), what })?;
        let copied = to.describe(made_at).await?;
        File::open(&to.0).and_then(|file| file.sync_all()).map_err(at)?;
        Ok(copied)
    }

    /// Looks through a fresh copy: its pages, and whether the texts that decide what runs are texts
    /// and each sealed record has the one before it. Err says what is wrong.
    async fn check(&self) -> Result<Result<(), String>, sqlx::Error> {
        let options =
            SqliteConnectOptions::new().filename(&self.0).journal_mode(SqliteJournalMode::Delete);
        let mut link = options.connect().await?;
        let pages: String =
            sqlx::query("pragma quick_check(1)").fetch_one(&mut link).await?.try_get(0)?;
        if pages != "ok" {
            return Ok(Err(pages));
        }
        // Stored as bytes, or as a text that is no UTF-8 or JSON: not what was written.
        for (table, id, column) in [
            ("approvals", "id", "params"),
            ("approvals", "id", "terms"),
            ("approvals", "id", "decisions"),
            ("audit", "cast(id as text)", "data"),
        ] {
            let bad = format!(
                "select {id} as id from {table} where typeof({column}) <> 'text' \
                    or json_valid({column}) = 0 limit 1"
            );
            let row = sqlx::query(sqlx::AssertSqlSafe(bad)).fetch_optional(&mut link).await?;
            if let Some(row) = row {
                let id: String = row.try_get("id")?;
                return Ok(Err(format!("{table}.{column} of {id} can't be read")));
            }
        }
        let gap = "select a.seq as n from audit a left join audit b on b.seq = a.seq - 1 \
                    where a.seq > 1 and (b.seq is null or b.hash <> a.prev) limit 1";
        if let Some(row) = sqlx::query(gap).fetch_optional(&mut link).await? {
            let seq: i64 = row.try_get("n")?;
            return Ok(Err(format!("audit record {seq} does not follow the one before it")));
        }
        link.close().await?;
        Ok(Ok(()))
    }

    /// Marks a fresh copy as one, and says what it has.
    async fn describe(&self, made_at: Option<Timestamp>) -> Result<Copied, sqlx::Error> {
        let options =
            SqliteConnectOptions::new().filename(&self.0).journal_mode(SqliteJournalMode::Delete);
        let mut link = options.connect().await?;
        if let Some(at) = made_at {
            // Of a database from before this table was there, nothing can be marked.
            let table = "select 1 from sqlite_master where name = 'origin'";
            if sqlx::query(table).fetch_optional(&mut link).await?.is_some() {
                let mark = "insert into origin (name, value) values ('copied_at', $1) \
                            on conflict (name) do update set value = excluded.value";
                sqlx::query(mark).bind(at.to_string()).execute(&mut link).await?;
            }
        }
        let open = "select count(*) as n from approvals \
                     where state in ('pending', 'approved', 'running')";
        let open: i64 = sqlx::query(open).fetch_one(&mut link).await?.try_get("n")?;
        let head = checkpoint::head(&mut link).await?;
        link.close().await?;
        Ok(Copied { bytes: length(&self.0), head, open: open.unsigned_abs() })
    }
}

fn length(path: &Path) -> u64 {
    path.metadata().map_or(0, |m| m.len())
}
