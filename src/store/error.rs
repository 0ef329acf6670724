//! Why a verb of the store failed.

use sqlx::error::{DatabaseError, ErrorKind};
use thiserror::Error;

use crate::domain::approval::Approval;

/// Why a verb of the store failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The approval has changed since it was read; it is given as it is now.
    #[error("changed meanwhile: approval {} is {}", .0.id, .0.state)]
    Conflict(Box<Approval>),
    /// A stored value can't be read back.
    #[error("{table}.{column} of {id} can't be read: {what}")]
    Corrupt {
        /// Name of the table.
        table: &'static str,
        /// Name of the column.
        column: &'static str,
        /// Id of the row, or what else names it.
        id: String,
        /// What is wrong with it.
        what: String,
    },
    /// The database can't be reached or written; surely nothing of the verb was stored.
    #[error("the database is unavailable: {0}")]
    Unavailable(#[from] sqlx::Error),
    /// The answer to a commit was lost, and could not be learned afterwards: all of the verb was
    /// stored, or nothing.
    #[error("it is not known whether the database stored it: {0}")]
    Unknown(#[source] sqlx::Error),
}

impl StoreError {
    pub(super) fn corrupt(table: &'static str, column: &'static str, id: &str, what: &str) -> Self {
        Self::Corrupt { table, column, id: id.to_owned(), what: what.to_owned() }
    }

    /// A value of a row that can't be read, whichever row that is.
    pub(super) fn unreadable(column: &'static str, what: &str) -> Self {
        Self::corrupt("", column, "", what)
    }

    /// The same with its table and what names the row, where those are not known yet.
    pub(super) fn in_row(self, of: &'static str, name: impl FnOnce() -> Option<String>) -> Self {
        match self {
            Self::Corrupt { table: "", column, what, .. } => {
                let id = name().unwrap_or_else(|| "a row that has no readable name".to_owned());
                Self::Corrupt { table: of, column, id, what }
            }
            other => other,
        }
    }

    /// Whether what the verb would have stored may be stored, though it failed.
    pub const fn may_be_stored(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }

    /// Whether the database answered, and refused: it can be reached.
    pub fn was_refused(&self) -> bool {
        matches!(self, Self::Unavailable(error) if error.as_database_error().is_some())
    }

    /// Whether surely nothing was stored, and the same verb may succeed a moment later.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable(error) if super::driver::is_passing(error))
    }

    /// The store was not asked, since it does not answer, or took too long.
    pub(crate) const fn away() -> Self {
        Self::Unavailable(sqlx::Error::PoolTimedOut)
    }

    /// A verb whose task ended without a word: it may have stored all.
    pub(crate) const fn lost() -> Self {
        Self::Unknown(sqlx::Error::WorkerCrashed)
    }

    /// Whether one of many calls of a transaction, or somebody who has a lock that one of them needs,
    /// may be why all failed. On SQLite whoever is in the way is in the way of all.
    pub(super) fn may_be_of_one(&self, is_postgres: bool) -> bool {
        match self {
            Self::Corrupt { .. } | Self::Conflict(_) => true,
            Self::Unavailable(_) => self.was_refused() && (is_postgres || !self.is_passing()),
            Self::Unknown(_) => false,
        }
    }

    /// The same error once more, for another whose verb failed with it. It says as much of whether
    /// the database answered, and what.
    pub(super) fn same(&self) -> Self {
        match self {
            Self::Conflict(current) => Self::Conflict(current.clone()),
            Self::Corrupt { table, column, id, what } => {
                let (id, what) = (id.clone(), what.clone());
                Self::Corrupt { table, column, id, what }
            }
            Self::Unavailable(error) => Self::Unavailable(same(error)),
            Self::Unknown(error) => Self::Unknown(same(error)),
        }
    }

    /// Whether the database itself failed, rather than what was asked of it. One that only refuses to
    /// store more (its disk is full, for example) can be read, and is no outage.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Conflict(_) | Self::Corrupt { .. } => false,
            Self::Unavailable(error) => !super::driver::is_refused_write(error),
            Self::Unknown(_) => true,
        }
    }

    /// Whether an insert failed because a row of the same key is there already.
    pub fn is_duplicate(&self) -> bool {
        let Self::Unavailable(error) = self else { return false };
        error.as_database_error().is_some_and(DatabaseError::is_unique_violation)
    }
}

fn same(error: &sqlx::Error) -> sqlx::Error {
    if let Some(error) = error.as_database_error() {
        return sqlx::Error::Database(Box::new(Refusal {
            said: error.to_string(),
            code: error.code().map(std::borrow::Cow::into_owned),
            is_unique_violation: error.is_unique_violation(),
        }));
    }
    match error {
        sqlx::Error::Io(error) => {
            sqlx::Error::Io(std::io::Error::new(error.kind(), error.to_string()))
        }
        sqlx::Error::PoolTimedOut => sqlx::Error::PoolTimedOut,
        sqlx::Error::PoolClosed => sqlx::Error::PoolClosed,
        sqlx::Error::WorkerCrashed => sqlx::Error::WorkerCrashed,
        other => sqlx::Error::Protocol(other.to_string()),
    }
}

/// What a database answered, told once more.
#[derive(Debug, Error)]
#[error("{said}")]
struct Refusal {
    said: String,
    code: Option<String>,
    is_unique_violation: bool,
}

impl DatabaseError for Refusal {
    fn message(&self) -> &str {
        &self.said
    }

    fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
        self.code.as_deref().map(Into::into)
    }

    fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        if self.is_unique_violation { ErrorKind::UniqueViolation } else { ErrorKind::Other }
    }
}

/// Result of a store verb.
pub type Result<T> = std::result::Result<T, StoreError>;
