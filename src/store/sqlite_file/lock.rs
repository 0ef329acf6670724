//! One broker on one file. The lock goes with its process, however that ends; the file stays, and
//! says nothing once nobody holds it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use thiserror::Error;

use crate::domain::time::Timestamp;

use super::SqliteFile;

/// What the name of the lock's file ends with.
const ENDING: &str = ".lock";
/// A link in its place is not followed: it would lead the lock, and what is written into it, to another
/// file (<https://man7.org/linux/man-pages/man2/open.2.html>).
const NOT_THROUGH_LINKS: i32 = OFlags::NOFOLLOW.bits().cast_signed();
/// Most bytes of it that are read.
const MAX_LENGTH: u64 = 200;

/// The right to be the one broker of a file, until it is dropped.
#[derive(Debug)]
pub struct FileLock(File);

impl FileLock {
    /// Whether another process could take the file, too: somebody removed or replaced the lock's file.
    pub fn is_lost(&self, file: &SqliteFile) -> bool {
        !is_at(&self.0, &file.beside(ENDING))
    }

    /// Writes down where the broker listens, for those who find the file taken.
    ///
    /// # Errors
    /// [`io::Error`], when the lock's file can't be written.
    pub fn tell(&self, address: SocketAddr) -> io::Result<()> {
        let mut file = &self.0;
        file.seek(SeekFrom::End(0))?;
        writeln!(file, "{address}")
    }
}

/// The process that has a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub pid: u32,
    /// Since when it has the file.
    pub since: Timestamp,
    /// Where it listens, once it does.
    pub address: Option<SocketAddr>,
}

/// Why a file can't be had alone.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another process has it.
    #[error(
        "{} is in use by {}; a SQLite database has one broker: stop that one, or give this one a \
         file of its own (several brokers on one queue need PostgreSQL)",
        file.display(),
        who(holder.as_ref())
    )]
    Taken {
        /// The database.
        file: PathBuf,
        /// The other process; none where the lock does not tell.
        holder: Option<Holder>,
    },
    /// A link stands in the place of the lock's file.
    #[error(
        "{}: that is a symbolic link, and a lock is not taken through one: remove it (it is no part \
         of the database)", .0.display()
    )]
    Link(PathBuf),
    /// The lock's file can't be made or locked.
    #[error("{}: {error}; the folder must be writable, on a file system with locks", file.display())]
    Io {
        /// The lock's file.
        file: PathBuf,
        /// The system's error.
        error: io::Error,
    },
}

fn who(holder: Option<&Holder>) -> String {
    match holder {
        Some(Holder { pid, since, address: None }) => {
            format!("another broker, process {pid}, since {since}")
        }
        Some(Holder { pid, since, address: Some(address) }) => {
            format!("another broker, process {pid}, since {since}, which listens on {address}")
        }
        None => "another broker, which has just begun".to_owned(),
    }
}

impl SqliteFile {
    /// Makes this process the one that runs on the file, or finds who does. The lock is advisory
    /// (`flock`, <https://man7.org/linux/man-pages/man2/flock.2.html>) and on a file of its own:
    /// SQLite's locks are on the database itself, and commands that only look take none.
    ///
    /// # Errors
    /// [`LockError`], when another process has it, or the lock's file can't be made or locked.
    pub fn lock(&self, now: Timestamp) -> Result<FileLock, LockError> {
        let path = self.beside(ENDING);
        match take(&path, now) {
            Ok(file) => Ok(FileLock(file)),
            Err(TryLockError::WouldBlock) => {
                Err(LockError::Taken { file: self.0.clone(), holder: holder(&path) })
            }
            Err(TryLockError::Error(_)) if is_link(&path) => Err(LockError::Link(path)),
            Err(TryLockError::Error(error)) => Err(LockError::Io { file: path, error }),
        }
    }
}

fn take(path: &Path, now: Timestamp) -> Result<File, TryLockError> {
    loop {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(NOT_THROUGH_LINKS)
            .open(path)
            .map_err(TryLockError::Error)?;
        file.try_lock()?;
        // Removed since it was opened: the lock of a name that leads elsewhere keeps nobody out.
        if !is_at(&file, path) {
            continue;
        }
        let words = format!("{} {now}\n", std::process::id());
        let written = file.set_len(0).and_then(|()| file.write_all(words.as_bytes()));
        written.and_then(|()| file.rewind()).map_err(TryLockError::Error)?;
        return Ok(file);
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.symlink_metadata()) {
        (Ok(own), Ok(there)) => (own.dev(), own.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

fn is_link(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|there| there.is_symlink())
}

/// Which process wrote itself into the lock's file.
fn holder(path: &Path) -> Option<Holder> {
    let mut text = String::new();
    let file = OpenOptions::new().read(true).custom_flags(NOT_THROUGH_LINKS).open(path).ok()?;
    file.take(MAX_LENGTH).read_to_string(&mut text).ok()?;
    let mut lines = text.lines();
    let (pid, since) = lines.next()?.split_once(' ')?;
    let (pid, since) = (pid.parse().ok()?, Timestamp::parse(since)?);
    Some(Holder { pid, since, address: lines.next().and_then(|line| line.parse().ok()) })
}
