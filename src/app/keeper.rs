//! Keeps the file of a SQLite database: one broker on it, its checkpoint beside it, and its log short.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::{Clock as _, SystemClock};
use crate::store::sqlite_file::{FileLock, LockError, SqliteFile};

use super::AppError;

/// How often the checkpoint is written, if the audit has grown. With the second in which a record is
/// sealed it is what a start on an older copy may fail to notice.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);
/// How many of those pass until the log is emptied into the database file.
const LOG_EVERY: u32 = 12;

/// Takes the database's file for this process, if it has one, and compares it with its checkpoint.
///
/// # Errors
/// [`AppError`], when another process has it, or it is older than its checkpoint.
pub(super) async fn take(url: &str) -> Result<Option<(SqliteFile, Arc<FileLock>)>, AppError> {
    let Some(file) = SqliteFile::of(url) else { return Ok(None) };
    let lock = file.lock(SystemClock.now())?;
    file.compare().await?;
    Ok(Some((file, Arc::new(lock))))
}

/// Writes checkpoints and empties the log until told to stop. Where somebody removed the lock's file,
/// the lock is taken again, with `address` in it; where another broker was faster, `taken` ends this one.
pub(super) async fn keep(
    file: SqliteFile,
    mut lock: Arc<FileLock>,
    address: SocketAddr,
    taken: CancellationToken,
    stop: CancellationToken,
) {
    let mut tick = tokio::time::interval(CHECKPOINT_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut noted = None;
    for round in 0_u32.. {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        if lock.is_lost(&file) {
            match take_again(&file, address) {
                Ok(again) => {
                    tracing::warn!("the lock beside the database was removed; it is taken again");
                    lock = Arc::new(again);
                }
                Err(error @ LockError::Taken { .. }) => {
                    tracing::error!(%error, "the lock beside the database was removed, and {error}");
                    taken.cancel();
                }
                Err(error) => tracing::warn!(%error, "the lock is taken again later: {error}"),
            }
        }
        if round % LOG_EVERY == 0 {
            empty_log(&file).await;
        }
        match file.note(noted, SystemClock.now()).await {
            Ok(seq) => noted = seq,
            Err(error) => tracing::warn!(%error, "the checkpoint is written later: {error}"),
        }
    }
}

/// Takes the lock whose file somebody removed, and says in it where this broker listens, as at the start.
fn take_again(file: &SqliteFile, address: SocketAddr) -> Result<FileLock, LockError> {
    let lock = file.lock(SystemClock.now())?;
    tell(&lock, address);
    Ok(lock)
}

/// Says in the lock where this broker listens.
pub(super) fn tell(lock: &FileLock, address: SocketAddr) {
    if let Err(error) = lock.tell(address) {
        tracing::warn!(%error, "the lock does not tell where this broker listens: {error}");
    }
}

/// The same once more, when nothing else is written.
pub(super) async fn finish(file: &SqliteFile) {
    empty_log(file).await;
    if let Err(error) = file.note(None, SystemClock.now()).await {
        tracing::warn!(%error, "the last checkpoint could not be written: {error}");
    }
}

async fn empty_log(file: &SqliteFile) {
    if let Err(error) = file.empty_log().await {
        tracing::warn!(%error, "the write-ahead log is emptied later: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_taken_again_tells_where_its_broker_listens() {
        let dir = std::env::temp_dir().join(format!("placet-keeper-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = SqliteFile::at(&dir.join("placet.db"));
        let address = "127.0.0.1:8420".parse().unwrap();
        let first = file.lock(SystemClock.now()).unwrap();
        std::fs::remove_file(file.beside(".lock")).unwrap();
        assert!(first.is_lost(&file));

        let again = take_again(&file, address).unwrap();

        let refused = file.lock(SystemClock.now()).unwrap_err();
        let said = refused.to_string();
        let LockError::Taken { holder: Some(holder), .. } = refused else { panic!("{said}") };
        assert_eq!(holder.address, Some(address));
        assert!(said.contains("which listens on 127.0.0.1:8420"), "{said}");
        drop(again);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
