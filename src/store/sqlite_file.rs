//! The file of a SQLite database, and what stands beside it: the lock of the one broker that runs on
//! it, and the checkpoint by which a start finds that an older copy was put back.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::domain::time::Timestamp;

mod checkpoint;
mod copy;
mod lock;

pub use checkpoint::{Behind, CheckpointError};
pub use copy::{Copied, CopyError};
pub use lock::{FileLock, Holder, LockError};

/// Endings of the files in which SQLite keeps what is not in the database file yet
/// (<https://www.sqlite.org/tempfiles.html>).
const SIDE_FILES: [&str; 3] = ["-wal", "-shm", "-journal"];

/// The file of a SQLite database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteFile(PathBuf);

impl SqliteFile {
    /// The file of `sqlite:PATH`; none where it is another
    /// database's address or no path. Links are followed,
    /// as SQLite does, so that one file has one lock whatever leads to it.
    pub fn of(url: &str) -> Option<Self> {
        let path = url.strip_prefix("sqlite:")?;
        let path = path.strip_prefix("//").unwrap_or(path);
        let is_file = !path.is_empty() && !path.starts_with(":memory:") && !path.contains('?');
        is_file.then(|| Self::at(Path::new(path)))
    }

    /// The file at this path, links followed.
    pub fn at(path: &Path) -> Self {
        let folder = folder_of(path);
        let real = std::fs::canonicalize(path)
            .ok()
            .or_else(|| Some(std::fs::canonicalize(folder).ok()?.join(path.file_name()?)));
        Self(real.unwrap_or_else(|| path.to_owned()))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `sqlite:PATH`, as the configuration names it.
    pub fn url(&self) -> String {
        format!("sqlite:{}", self.0.display())
    }

    /// The path of a file beside it: its own with this ending.
    pub fn beside(&self, ending: &str) -> PathBuf {
        let mut path = self.0.clone().into_os_string();
        path.push(ending);
        path.into()
    }

    /// Whether there is a database, or the rest of one: a log without its database would be read into
    /// the one that comes in its place.
    pub fn exists(&self) -> bool {
        let rests = SIDE_FILES.map(|ending| self.beside(ending));
        self.0.exists() || rests.iter().any(|rest| rest.metadata().is_ok_and(|m| m.len() > 0))
    }

    /// Whether it is the same file as the one at this path, by whatever name.
    pub fn is_also(&self, path: &Path) -> bool {
        match (self.0.metadata(), path.metadata()) {
            (Ok(own), Ok(other)) => (own.dev(), own.ino()) == (other.dev(), other.ino()),
            _ => false,
        }
    }

    /// Takes the place of `other`, which is closed, as this one is. A database that is there is kept
    /// beside it, under its name with `aside` at its end. Whenever this is cut off, the checkpoint in
    /// the place is already that of this database: no broker starts on the old one, or on none.
    ///
    /// # Errors
    /// [`CheckpointError`], when something can't be read, written or renamed.
    pub async fn replace(
        &self,
        other: &Self,
        aside: Option<&str>,
        now: Timestamp,
    ) -> Result<(), CheckpointError> {
        // Whole in the one file from here on: what is renamed is all there is.
        self.empty_log().await?;
        self.note(None, now).await?;
        let io = |error: io::Error| CheckpointError::File {
            file: other.0.clone(),
            what: error.to_string(),
        };
        let aside = aside.map(|name| Self(other.beside(name)));
        if let Some(aside) = &aside {
            move_file(&other.beside(checkpoint::ENDING), &aside.beside(checkpoint::ENDING), true)
                .map_err(io)?;
        }
        move_file(&self.beside(checkpoint::ENDING), &other.beside(checkpoint::ENDING), false)
            .map_err(io)?;
        if let Some(aside) = &aside {
            for ending in [""].iter().chain(&SIDE_FILES) {
                move_file(&other.beside(ending), &aside.beside(ending), false).map_err(io)?;
            }
        }
        self.move_to(other).map_err(io)
    }

    /// Moves the one file to where nothing is.
    fn move_to(&self, other: &Self) -> io::Result<()> {
        std::fs::rename(&self.0, &other.0)?;
        File::open(folder_of(&other.0))?.sync_all()
    }

    /// Removes it with all that belongs to it.
    ///
    /// # Errors
    /// [`io::Error`], when one of them can't be removed.
    pub fn remove(&self) -> io::Result<()> {
        for ending in ["", checkpoint::ENDING].iter().chain(&SIDE_FILES) {
            match std::fs::remove_file(self.beside(ending)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The folder in which a file is; of a bare name, the one the process is in.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| *folder != Path::new("")).unwrap_or_else(|| Path::new("."))
}

/// Renames a file, or copies it; one that is not there is left so.
fn move_file(from: &Path, to: &Path, keep: bool) -> io::Result<()> {
    let done = if keep { std::fs::copy(from, to).map(drop) } else { std::fs::rename(from, to) };
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Makes a file that was not there, for its user alone.
fn make_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}
