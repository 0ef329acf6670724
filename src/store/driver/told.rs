//! What became of a group of verbs, told to each of them.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use sqlx::Error;
use sqlx::error::{DatabaseError, ErrorKind};

use crate::store::StoreError;

/// What became of a group's transaction.
#[derive(Debug, Clone)]
pub(super) enum Told {
    /// It is stored, and outlasts a crash.
    Stored,
    /// Surely nothing of it is stored: its own commit failed.
    Refused(Arc<Error>),
    /// Surely nothing of it is stored: another verb of the group took the connection along. To be
    /// tried again, since nobody refused this one.
    TakenAlong,
    /// It can't be learned.
    Unknown(Arc<Error>),
}

impl Told {
    /// What a verb answers that stored something.
    pub(super) fn of_a_writer(self) -> Result<(), StoreError> {
        match self {
            Self::Stored => Ok(()),
            Self::Refused(error) => Err(StoreError::Unavailable(again(&error))),
            Self::TakenAlong => Err(StoreError::Unavailable(taken_along())),
            Self::Unknown(error) => Err(StoreError::Unknown(again(&error))),
        }
    }

    /// What a verb answers that stored nothing, but may have read what others of its group stored.
    pub(super) fn of_a_reader(self) -> Result<(), StoreError> {
        match self {
            Self::Unknown(error) => Err(StoreError::Unavailable(again(&error))),
            told => told.of_a_writer(),
        }
    }
}

fn taken_along() -> Error {
    Error::Io(std::io::Error::new(
        std::io::ErrorKind::ConnectionAborted,
        "the transaction it shared with others was given up",
    ))
}

/// The same error once more: each verb of a group is told, and an error can't be cloned.
fn again(error: &Arc<Error>) -> Error {
    match &**error {
        Error::Database(_) => Error::Database(Box::new(Shared(error.clone()))),
        Error::Io(io) => Error::Io(std::io::Error::new(io.kind(), io.to_string())),
        Error::PoolClosed => Error::PoolClosed,
        Error::PoolTimedOut => Error::PoolTimedOut,
        Error::WorkerCrashed => Error::WorkerCrashed,
        other => Error::Protocol(other.to_string()),
    }
}

/// A database's error that several are told.
#[derive(Debug)]
struct Shared(Arc<Error>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Error::Database(error) => error.fmt(f),
            other => other.fmt(f),
        }
    }
}

impl StdError for Shared {}

impl DatabaseError for Shared {
    fn message(&self) -> &str {
        self.0.as_database_error().map_or("", DatabaseError::message)
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        self.0.as_database_error()?.code()
    }

    fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn StdError + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn StdError + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        self.0.as_database_error().map_or(ErrorKind::Other, DatabaseError::kind)
    }
}
