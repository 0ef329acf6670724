//! Many rows given to one statement as one argument, a list of objects in JSON: the same statement
//! serves any number of rows.

use crate::store::driver::{Arg, Tx};

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
    json: String,
}

impl Rowset {
    /// None yet; each row will have a value for each of these columns.
    pub(super) const fn of(columns: &'static [(&'static str, Kind)]) -> Self {
        Self { columns, json: String::new() }
    }

    /// Adds a row; its values are in the columns' order.
    pub(super) fn push(&mut self, row: Vec<Arg>) {
        debug_assert_eq!(row.len(), self.columns.len(), "a value for each column");
        let mut before = if self.json.is_empty() { "[{\"" } else { ",{\"" };
        for ((name, _), value) in self.columns.iter().zip(row) {
            self.json.push_str(before);
            self.json.push_str(name);
            self.json.push_str("\":");
            match value {
                Arg::Int(Some(n)) => self.json.push_str(&n.to_string()),
                Arg::Text(Some(text)) => self.json.push_str(
                    &serde_json::to_string(&text).expect("a text can be written as JSON"),
                ),
                Arg::Int(None) | Arg::Text(None) => self.json.push_str("null"),
            }
            before = ",\"";
        }
        self.json.push('}');
    }

    /// Whether there are none.
    pub(super) const fn is_empty(&self) -> bool {
        self.json.is_empty()
    }

    /// The rows as something to select from, by the name of `r`, where [`Rowset::argument`] is the
    /// statement's argument of that number.
    ///
    /// <https://www.sqlite.org/json1.html#jeach>,
    /// <https://www.postgresql.org/docs/current/functions-json.html#FUNCTIONS-JSON-PROCESSING>
    pub(super) fn source(&self, tx: &Tx, argument: u8) -> String {
        let is_postgres = tx.is_postgres();
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
        Arg::from(if self.json.is_empty() { "[]".to_owned() } else { format!("{}]", self.json) })
    }
}
