//! What an error of a database means.

use std::time::Duration;

use sqlx::Error;
use sqlx::postgres::{PgDatabaseError, PgSeverity};

/// `SQLITE_IOERR_WRITE`.
const WRITE: u32 = 778;

/// No answer came in time. The connection must not be used again: the answer may still come.
pub(super) fn no_answer(within: Duration) -> Error {
    Error::Io(std::io::Error::new(
        std::io::ErrorKind::TimedOut,
        format!("no answer within {} ms", within.as_millis()),
    ))
}

fn postgres(error: &Error) -> Option<&PgDatabaseError> {
    error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()
}

/// SQLite's extended result code; its last byte is the code.
/// <https://www.sqlite.org/rescode.html>
fn sqlite_code(error: &Error) -> Option<u32> {
    let error = error.as_database_error()?;
    if error.try_downcast_ref::<PgDatabaseError>().is_some() {
        return None;
    }
    error.code()?.parse().ok()
}

/// Whether another connection was in SQLite's way (`SQLITE_BUSY`, `SQLITE_LOCKED`).
pub(super) fn is_busy(error: &Error) -> bool {
    matches!(sqlite_code(error).map(|code| code & 0xff), Some(5 | 6))
}

/// Whether the connection goes on after this error: PostgreSQL refused a statement, no more.
pub(super) fn is_refusal(error: &Error) -> bool {
    postgres(error)
        .is_some_and(|error| !matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic))
}

/// Whether SQLite refused one statement, which it has undone, and surely no more: an error of the
/// statement itself, not of the disk, the memory or the file.
pub(super) fn is_refused_statement(error: &Error) -> bool {
    /// `SQLITE_ERROR`, `SQLITE_TOOBIG`, `SQLITE_CONSTRAINT`, `SQLITE_MISMATCH`, `SQLITE_RANGE`.
    const OF_STATEMENTS: [u32; 5] = [1, 18, 19, 20, 25];
    sqlite_code(error).is_some_and(|code| OF_STATEMENTS.contains(&(code & 0xff)))
}

/// Whether a failed COMMIT surely stored nothing. A server that went away, or says nothing, may have
/// stored it. So may SQLite where the disk failed after all was written (`SQLITE_IOERR_FSYNC` for
/// example); not where it was full, or the writing itself failed.
pub(super) fn is_no_commit(error: &Error) -> bool {
    /// `SQLITE_IOERR`.
    const IO: u32 = 10;
    is_refusal(error) || sqlite_code(error).is_some_and(|code| code == WRITE || code & 0xff != IO)
}

/// Whether the database refused to store what it was given and answers all the same: its disk is full
/// or takes no writes, or the value is not allowed.
///
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
pub(in crate::store) fn is_refused_write(error: &Error) -> bool {
    /// `SQLITE_READONLY`, `SQLITE_FULL`, `SQLITE_CONSTRAINT`.
    const REFUSED: [u32; 3] = [8, 13, 19];
    if let Some(error) = postgres(error) {
        // Disk full, out of memory, a read-only transaction; and what constraints refuse.
        return matches!(error.code(), "53100" | "53200" | "25006")
            || error.code().starts_with("23");
    }
    sqlite_code(error).is_some_and(|code| code == WRITE || REFUSED.contains(&(code & 0xff)))
}

/// Whether the connection turned out to be gone, which says nothing of the next one: not that no
/// answer came in time, which would be waited for once more.
pub(super) fn is_lost(error: &Error) -> bool {
    match error {
        Error::Io(error) => error.kind() != std::io::ErrorKind::TimedOut,
        _ => postgres(error).is_some() && !is_refusal(error) || matches!(error, Error::Protocol(_)),
    }
}

/// Whether the same verb may succeed a moment later, where this attempt surely stored nothing:
/// transactions were in each other's way, or the connection was lost.
///
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
pub(in crate::store) fn is_passing(error: &Error) -> bool {
    if let Some(error) = postgres(error) {
        let code = error.code();
        return matches!(
            code,
            // In each other's way: serialization, deadlock, lock not free in time.
            "40001" | "40P01" | "55P03"
            // The session was ended, or the server is starting or stopping.
            | "25P03" | "57P01" | "57P02" | "57P03" | "57P05"
            // All its connections are taken.
            | "53300"
        ) || code.starts_with("08");
    }
    // A connection that breaks while it is made is told as a breach of the protocol.
    is_busy(error) || matches!(error, Error::Io(_) | Error::Protocol(_) | Error::Tls(_))
}
