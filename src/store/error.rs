//! Why a verb of the store failed.

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
        error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
    }
}

/// Result of a store verb.
pub type Result<T> = std::result::Result<T, StoreError>;
