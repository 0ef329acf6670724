//! Many rows for one statement.
//!
//! As one argument, a list of objects in JSON, the same statement serves any number of rows. SQLite
//! takes twice as long to read such a list as to store its rows: there [`Rowset::steps`] names each
//! value, in statements of a few fixed lengths, so that they stay prepared.

use sqlx::AssertSqlSafe;

use crate::store::driver::{Arg, Step, Tx};

/// At most so many rows go to SQLite beside other statements of the same trip.
const FEW: usize = 4;
/// Rows of one statement on SQLite, where there are more; the rest goes as a list.
const LENGTHS: [usize; 4] = [128, 64, 32, 16];

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Int,
}

pub(super) use Kind::{Int, Text};

/// Rows of the same columns.
#[derive(Debug)]
pub(super) struct Rowset {
    columns: &'static [(&'static str, Kind)],
    rows: Vec<Vec<Arg>>,
}

impl Rowset {
    /// None yet; each row will have a value for each of these columns.
    pub(super) const fn of(columns: &'static [(&'static str, Kind)]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row; its values are in the columns' order.
    pub(super) fn push(&mut self, row: Vec<Arg>) {
        debug_assert_eq!(row.len(), self.columns.len(), "a value for each column");
        self.rows.push(row);
    }

    /// Whether there are none.
    pub(super) const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The statements by which all rows are written, none if there are none; `sql` makes one from the
    /// text by which its rows are selected, by the name of `r`, and is true of any part of them.
    pub(super) fn steps(mut self, is_postgres: bool, sql: impl Fn(&str) -> String) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut rest = std::mem::take(&mut self.rows).into_iter();
        while rest.len() > 0 {
            let length = LENGTHS.into_iter().find(|length| *length <= rest.len());
            let (source, args, is_long) = match length {
                Some(length) if !is_postgres => {
                    let args = rest.by_ref().take(length).flatten().collect();
                    // SQLite finds the name of a value by going through all of them.
                    (self.values(length, |_| "?".to_owned()), args, true)
                }
                None if !is_postgres && rest.len() <= FEW => {
                    let source = self.values(rest.len(), |number| format!("${number}"));
                    (source, rest.by_ref().flatten().collect(), false)
                }
                _ => {
                    self.rows = rest.by_ref().collect();
                    (self.listed(is_postgres, 1), vec![self.argument()], false)
                }
            };
            let step = Step::new(AssertSqlSafe(sql(&source)), args);
            steps.push(if is_long { step.alone() } else { step });
        }
        steps
    }

    /// So many rows, each value by its name.
    ///
    /// <https://www.sqlite.org/lang_select.html#the_values_clause>
    fn values(&self, rows: usize, name: impl Fn(usize) -> String) -> String {
        let (mut columns, width) = (String::new(), self.columns.len());
        for (i, (column, _)) in self.columns.iter().enumerate() {
            let before = if i == 0 { "" } else { ", " };
            columns.push_str(&format!("{before}column{} as {column}", i + 1));
        }
        let mut text = format!("(select {columns} from (values ");
        for value in 0..rows * width {
            text.push_str(match (value, value % width) {
                (0, _) => "(",
                (_, 0) => "), (",
                _ => ", ",
            });
            text.push_str(&name(value + 1));
        }
        text.push_str("))) as r");
        text
    }

    /// The rows as something to select from, by the name of `r`, where [`Rowset::argument`] is the
    /// statement's argument of that number.
    pub(super) fn source(&self, tx: &Tx, argument: u8) -> String {
        self.listed(tx.is_postgres(), argument)
    }

    /// <https://www.sqlite.org/json1.html#jeach>,
    /// <https://www.postgresql.org/docs/current/functions-json.html#FUNCTIONS-JSON-PROCESSING>
    fn listed(&self, is_postgres: bool, argument: u8) -> String {
        let columns: Vec<String> = self
            .columns
            .iter()
            .map(|(name, kind)| match (is_postgres, kind) {
                (true, Text) => format!("{name} text"),
                (true, Int) => format!("{name} bigint"),
                (false, _) => format!("json_extract(value, '$.{name}') as {name}"),
            })
            .collect();
        let columns = columns.join(", ");
        if is_postgres {
            format!("json_to_recordset(cast(${argument} as json)) as r({columns})")
        } else {
            format!("(select {columns} from json_each(${argument})) as r")
        }
    }

    /// The argument with all rows.
    pub(super) fn argument(&self) -> Arg {
        let mut json = "[".to_owned();
        for row in &self.rows {
            json.push_str(if json.len() == 1 { "{" } else { ",{" });
            for (i, ((name, _), value)) in self.columns.iter().zip(row).enumerate() {
                json.push_str(if i == 0 { "\"" } else { ",\"" });
                json.push_str(name);
                json.push_str("\":");
                match value {
                    Arg::Int(Some(n)) => json.push_str(&n.to_string()),
                    Arg::Text(Some(text)) => json.push_str(
                        &serde_json::to_string(text).expect("a text can be written as JSON"),
                    ),
                    Arg::Int(None) | Arg::Text(None) => json.push_str("null"),
                }
            }
            json.push('}');
        }
        json.push(']');
        Arg::from(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::driver::args;

    const COLUMNS: &[(&str, Kind)] = &[("n", Int), ("t", Text)];

    fn steps(rows: i64, is_postgres: bool) -> Vec<Step> {
        let mut set = Rowset::of(COLUMNS);
        (0..rows).for_each(|n| set.push(args![n, "x"]));
        set.steps(is_postgres, |source| format!("insert into a select r.n, r.t from {source}"))
    }

    #[test]
    fn any_number_of_rows_is_written_by_statements_of_a_few_lengths() {
        let lengths = |rows| -> Vec<usize> {
            steps(rows, false).iter().map(|step| step.args().len()).collect()
        };

        assert!(lengths(0).is_empty());
        assert_eq!(lengths(2), [4]);
        assert_eq!(lengths(5), [1], "as a list");
        assert_eq!(lengths(300), [256, 256, 64, 1]);
        for rows in [1, 5, 1_000] {
            assert_eq!(steps(rows, true).len(), 1);
        }
        assert!(steps(2, false)[0].sql().ends_with("(values ($1, $2), ($3, $4))) as r"));
    }
}
