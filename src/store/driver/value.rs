//! Values of statements, and rows of results.

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use crate::store::{Result, StoreError};

/// A value of a statement.
#[derive(Debug, Clone)]
pub(in crate::store) enum Arg {
    Text(Option<String>),
    Int(Option<i64>),
}

impl Arg {
    /// PostgreSQL's text can't hold NUL. Both databases store U+FFFD in its place, so that no text
    /// of a client or upstream makes a write fail. Raw JSON has no raw NUL (RFC 8259 has it
    /// escaped, <https://www.rfc-editor.org/rfc/rfc8259#section-7>) and stays as it is.
    fn text(text: String) -> Self {
        Self::Text(Some(Self::as_stored(text)))
    }

    /// A text as it will be read again.
    pub(in crate::store) fn as_stored(text: String) -> String {
        if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
    }
}

impl From<&str> for Arg {
    fn from(text: &str) -> Self {
        Self::text(text.to_owned())
    }
}

impl From<&String> for Arg {
    fn from(text: &String) -> Self {
        Self::text(text.clone())
    }
}

impl From<String> for Arg {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<Option<String>> for Arg {
    fn from(text: Option<String>) -> Self {
        text.map_or(Self::Text(None), Self::text)
    }
}

impl From<i64> for Arg {
    fn from(n: i64) -> Self {
        Self::Int(Some(n))
    }
}

impl From<Option<i64>> for Arg {
    fn from(n: Option<i64>) -> Self {
        Self::Int(n)
    }
}

impl From<u32> for Arg {
    fn from(n: u32) -> Self {
        Self::Int(Some(i64::from(n)))
    }
}

impl From<bool> for Arg {
    fn from(flag: bool) -> Self {
        Self::Int(Some(i64::from(flag)))
    }
}

impl From<crate::domain::time::Timestamp> for Arg {
    fn from(at: crate::domain::time::Timestamp) -> Self {
        Self::Int(Some(at.micros()))
    }
}

impl From<Option<crate::domain::time::Timestamp>> for Arg {
    fn from(at: Option<crate::domain::time::Timestamp>) -> Self {
        Self::Int(at.map(crate::domain::time::Timestamp::micros))
    }
}

/// The values of a statement, in order.
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$($crate::store::driver::Arg::from($value)),*] };
}
pub(in crate::store) use args;

/// A query with its values.
macro_rules! bound {
    ($sql:expr, $args:expr) => {{
        let mut query = sqlx::query($sql);
        for arg in $args {
            query = match arg {
                $crate::store::driver::Arg::Text(text) => query.bind(text),
                $crate::store::driver::Arg::Int(n) => query.bind(n),
            };
        }
        query
    }};
}
pub(super) use bound;

/// A row, read by column name.
#[derive(Debug)]
pub(in crate::store) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl From<SqliteRow> for Row {
    fn from(row: SqliteRow) -> Self {
        Self::Sqlite(row)
    }
}

impl From<PgRow> for Row {
    fn from(row: PgRow) -> Self {
        Self::Postgres(row)
    }
}

/// # Errors
/// [`StoreError::Corrupt`], when the column holds something else; without `opt_` also, when it holds
/// null. [`StoreError::Unavailable`], when there is no such column.
impl Row {
    /// None for null.
    pub(in crate::store) fn opt_text(&self, column: &'static str) -> Result<Option<String>> {
        let read = match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        };
        read.map_err(|error| unreadable(column, error))
    }

    /// None for null.
    pub(in crate::store) fn opt_int(&self, column: &'static str) -> Result<Option<i64>> {
        let read = match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        };
        read.map_err(|error| unreadable(column, error))
    }

    pub(in crate::store) fn text(&self, column: &'static str) -> Result<String> {
        self.opt_text(column)?.ok_or_else(|| null(column))
    }

    pub(in crate::store) fn int(&self, column: &'static str) -> Result<i64> {
        self.opt_int(column)?.ok_or_else(|| null(column))
    }
}

pub(super) fn null(column: &'static str) -> StoreError {
    StoreError::unreadable(column, "unexpected null")
}

/// SQLite stores any value in any column, and bytes that are no UTF-8 as a text: the database answers,
/// and the row is damaged.
fn unreadable(column: &'static str, error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::ColumnDecode { source, .. } => {
            StoreError::unreadable(column, &source.to_string())
        }
        other => other.into(),
    }
}
