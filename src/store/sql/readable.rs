//! Lists where a row is damaged: what can't be read of one row takes the others with it nowhere. It is
//! left out, and named in the log.

use sqlx::AssertSqlSafe;

use crate::store::driver::{Arg, Row, Tx};
use crate::store::{Result, StoreError};

/// Where rows come from, as the log names them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named {
    /// The table.
    pub table: &'static str,
    /// The column that names the row.
    pub by: &'static str,
}

impl Named {
    pub(super) const APPROVALS: Self = Self { table: "approvals", by: "id" };
    pub(super) const TASKS: Self = Self { table: "tasks", by: "id" };
    pub(super) const GRANTS: Self = Self { table: "grants", by: "id" };
    pub(super) const OUTBOX: Self = Self { table: "outbox", by: "id" };

    /// Reads a row; an error names it.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] with table, column and row, when a value can't be read; what else
    /// `read` fails with.
    pub(super) fn read<T>(self, row: &Row, read: impl Fn(&Row) -> Result<T>) -> Result<T> {
        read(row).map_err(|error| error.in_row(self.table, || row.text(self.by).ok()))
    }

    /// All rows that can be read, in their order.
    ///
    /// # Errors
    /// What `read` fails with, other than [`StoreError::Corrupt`].
    pub(super) fn readable<T>(
        self,
        rows: &[Row],
        read: impl Fn(&Row) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            match self.read(row, &read) {
                Ok(one) => found.push(one),
                Err(error @ StoreError::Corrupt { .. }) => {
                    tracing::error!(%error, "left out of a list: {error}");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// The first `limit` rows that can be read, in their order: whoever pages by their number does
    /// not take a page for the last one because something on it was left out. `page` gives the
    /// statement's values for so many rows.
    ///
    /// # Errors
    /// [`StoreError`], when the database can't be read.
    pub(super) async fn first<T>(
        self,
        tx: &mut Tx,
        limit: u32,
        (sql, page): (String, impl Fn(u32) -> Vec<Arg>),
        read: impl Fn(&Row) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut asked = limit;
        loop {
            let rows = tx.rows(AssertSqlSafe(sql.clone()), page(asked)).await?;
            let mut found = self.readable(&rows, &read)?;
            let left_out = u32::try_from(rows.len() - found.len()).unwrap_or(u32::MAX);
            let wanted = limit.saturating_add(left_out);
            if rows.len() < asked as usize || wanted <= asked {
                found.truncate(limit as usize);
                return Ok(found);
            }
            asked = wanted;
        }
    }
}
