//! The checkpoint: a small file beside the database that says how far its audit had come. A database
//! that has not come as far is an older copy that was put in its place.

use std::io::{self, Write as _};
use std::path::PathBuf;

use sqlx::{Connection as _, Row as _, SqliteConnection};
use thiserror::Error;

use crate::domain::time::Timestamp;

use super::{SqliteFile, make_private};

/// What the name of the checkpoint ends with.
pub(super) const ENDING: &str = ".checkpoint";
/// While it is written.
const UNFINISHED: &str = ".checkpoint-unfinished";

/// How far the audit had come: `{"at", "hash", "seq"}`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Checkpoint {
    /// When it was written, RFC 3339 in UTC.
    at: String,
    /// Hash of the last sealed record, 64 hex digits.
    hash: String,
    /// Number of that record.
    seq: i64,
}

/// A database that has not come as far as its checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{} is older than its checkpoint {}: the checkpoint, of {at}, knows audit record {known}, and the \
     database {found}; a copy was put in its place, and what was open in it may have run since",
    file.display(),
    checkpoint.display()
)]
pub struct Behind {
    /// The database.
    pub file: PathBuf,
    /// The checkpoint beside it.
    pub checkpoint: PathBuf,
    /// When the checkpoint was written.
    pub at: String,
    /// Number of the record it names.
    pub known: i64,
    /// What the database has instead.
    pub found: String,
}

/// Why database and checkpoint can't be compared, or the checkpoint not be written.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The database has not come as far.
    #[error(transparent)]
    Behind(#[from] Behind),
    /// There is a checkpoint, and no database.
    #[error(
        "{} is gone, but its checkpoint {} is there: put a copy back with `placet restore FILE`, or \
         remove the checkpoint to begin with an empty queue",
        file.display(),
        checkpoint.display()
    )]
    Gone {
        /// The database.
        file: PathBuf,
        /// The checkpoint beside it.
        checkpoint: PathBuf,
    },
    /// The checkpoint can't be read or written.
    #[error("{}: {what}", file.display())]
    File {
        /// The checkpoint.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The database can't be read.
    #[error("the database is unavailable: {0}")]
    Database(#[from] sqlx::Error),
}

impl SqliteFile {
    /// Compares the database with the checkpoint beside it, if there is one.
    ///
    /// # Errors
    /// [`CheckpointError::Behind`], when the database has not come as far; the others, when they
    /// can't be compared.
    pub async fn compare(&self) -> Result<(), CheckpointError> {
        let path = self.beside(ENDING);
        let bad = |what: String| CheckpointError::File { file: path.clone(), what };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(bad(error.to_string())),
        };
        let known: Checkpoint = serde_json::from_str(&text).map_err(|error| {
            bad(format!("it can't be read: {error}; see `placet restore --help`"))
        })?;
        if !self.0.is_file() {
            return Err(CheckpointError::Gone { file: self.0.clone(), checkpoint: path });
        }
        let mut link = self.connect().await?;
        let table = "select 1 from sqlite_master where type = 'table' and name = 'audit'";
        let has_audit = sqlx::query(table).fetch_optional(&mut link).await?.is_some();
        let (mut hash, mut last) = (None::<String>, None);
        if has_audit {
            let sql = "select hash from audit where seq = $1";
            let row = sqlx::query(sql).bind(known.seq).fetch_optional(&mut link).await?;
            hash = row.map(|row| row.try_get("hash")).transpose()?;
            last = head(&mut link).await?;
        }
        link.close().await?;
        if hash.as_ref() == Some(&known.hash) {
            return Ok(());
        }
        let found = match (hash, last) {
            (Some(_), _) => "has another in that place".to_owned(),
            (None, Some((seq, _))) => format!("ends at record {seq}"),
            (None, None) => "has none".to_owned(),
        };
        let (file, checkpoint) = (self.0.clone(), path);
        Err(Behind { file, checkpoint, at: known.at, known: known.seq, found }.into())
    }

    /// Writes down how far the audit has come, unless `last` says that it stands there already;
    /// returns what stands there now. The old checkpoint is replaced whole or not at all, and only by
    /// what the database has stored for good.
    ///
    /// # Errors
    /// [`CheckpointError`], when the database can't be read or the file not be written.
    pub async fn note(
        &self,
        last: Option<i64>,
        now: Timestamp,
    ) -> Result<Option<i64>, CheckpointError> {
        let mut link = self.connect().await?;
        let head = head(&mut link).await?;
        link.close().await?;
        let Some((seq, hash)) = head.filter(|(seq, _)| Some(*seq) != last) else { return Ok(last) };
        let text = serde_json::to_string(&Checkpoint { at: now.to_string(), hash, seq });
        let text = text.expect("texts and a number serialize");
        let (path, unfinished) = (self.beside(ENDING), self.beside(UNFINISHED));
        let written = (|| {
            match std::fs::remove_file(&unfinished) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = make_private(&unfinished)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&unfinished, &path)
        })();
        match written {
            Ok(()) => Ok(Some(seq)),
            Err(error) => Err(CheckpointError::File { file: path, what: error.to_string() }),
        }
    }

    /// Moves what stands in the write-ahead log into the database file, as far as nobody reads the
    /// older pages, so that the file alone is a database
    /// (<https://www.sqlite.org/pragma.html#pragma_wal_checkpoint>).
    ///
    /// # Errors
    /// [`sqlx::Error`], when the database can't be opened or written.
    pub async fn empty_log(&self) -> Result<(), sqlx::Error> {
        let mut link = self.connect().await?;
        // Waits for nobody: who is in the way leaves the rest to the next time.
        sqlx::query("pragma wal_checkpoint(passive)").execute(&mut link).await?;
        link.close().await
    }
}

/// The last sealed record: its number and hash.
pub(super) async fn head(
    link: &mut SqliteConnection,
) -> Result<Option<(i64, String)>, sqlx::Error> {
    let sql = "select seq, hash from audit where seq is not null order by seq desc limit 1";
    let row = sqlx::query(sql).fetch_optional(link).await?;
    row.map(|row| Ok((row.try_get("seq")?, row.try_get("hash")?))).transpose()
}
