//! Statements that run in one trip to the database, and what came of each.

use sqlx::{SqlSafeStr, SqlStr};

use super::value::{Arg, Row};

/// What a statement did.
#[derive(Debug, Default)]
pub(in crate::store) struct Ran {
    /// How many rows it touched; of a statement that only reads, nothing is said.
    pub(in crate::store) touched: u64,
    /// Its result, in its order.
    pub(in crate::store) rows: Vec<Row>,
}

/// One of several statements that run one after the other.
#[derive(Debug, Clone)]
pub(in crate::store) struct Step {
    pub(super) sql: SqlStr,
    pub(super) args: Vec<Arg>,
    /// Nothing after it counts if it touches no row.
    pub(super) must_touch: bool,
    /// It shares its trip with no other.
    pub(super) alone: bool,
    /// It may run at the same moment as the one that must touch a row before it.
    pub(super) beside: bool,
}

impl Step {
    pub(in crate::store) fn new(sql: impl SqlSafeStr, args: Vec<Arg>) -> Self {
        Self { sql: sql.into_sql_str(), args, must_touch: false, alone: false, beside: false }
    }

    /// The steps end with this one if it touches no row; then the transaction is to be rolled back.
    pub(in crate::store) fn must_touch(mut self) -> Self {
        self.must_touch = true;
        self
    }

    /// It has many values, or ones without numbers, and is a trip of its own.
    pub(in crate::store) fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    #[cfg(test)]
    pub(in crate::store) fn sql(&self) -> &str {
        self.sql.as_str()
    }

    #[cfg(test)]
    pub(in crate::store) fn args(&self) -> &[Arg] {
        &self.args
    }
}

impl Step {
    /// It may run at the same moment as the first one, which must touch a row and returns what it
    /// touched: neither needs what the other does. What it did itself is not told then.
    pub(in crate::store) fn beside(mut self) -> Self {
        self.beside = true;
        self
    }
}

/// The first statement, and those beside it, as one statement of PostgreSQL; it returns what the
/// first one does.
///
/// <https://www.postgresql.org/docs/current/queries-with.html#QUERIES-WITH-MODIFYING>
pub(super) fn together(steps: Vec<Step>) -> (String, Vec<Arg>) {
    let mut text = String::with_capacity(
        64 + steps.iter().map(|step| step.sql.as_str().len() + 32).sum::<usize>(),
    );
    let mut all = Vec::with_capacity(steps.iter().map(|step| step.args.len()).sum());
    for (n, step) in steps.into_iter().enumerate() {
        text.push_str(if n == 0 { "with " } else { ", " });
        text.push_str(&format!("step_{n} as ("));
        shift(&mut text, step.sql.as_str(), all.len());
        text.push(')');
        all.extend(step.args);
    }
    text.push_str(" select * from step_0");
    (text, all)
}

/// The statements as one text, each with its own numbers for its values: SQLite binds the values of
/// a text to the numbers in it, whichever of its statements they are in.
pub(super) fn joined(steps: Vec<Step>) -> (String, Vec<Arg>) {
    let mut text =
        String::with_capacity(steps.iter().map(|step| step.sql.as_str().len() + 16).sum());
    let mut all = Vec::with_capacity(steps.iter().map(|step| step.args.len()).sum());
    for step in steps {
        if !text.is_empty() {
            text.push_str("; ");
        }
        shift(&mut text, step.sql.as_str(), all.len());
        all.extend(step.args);
    }
    (text, all)
}

/// Adds a statement whose `$1` becomes `$1 + by`. A `$` without a number stays as it is.
fn shift(text: &mut String, sql: &str, by: usize) {
    let mut parts = sql.split('$');
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = part.split_at(digits);
        text.push('$');
        match number.parse::<usize>() {
            Ok(number) => text.push_str(&(number + by).to_string()),
            Err(_) => text.push_str(number),
        }
        text.push_str(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::super::value::args;
    use super::{Step, joined, together};

    #[test]
    fn each_statement_of_one_text_has_its_own_numbers() {
        let steps = vec![
            Step::new("update a set b = $2 where c = $1", args![1_i64, 2_i64]),
            Step::new("select 1", args![]),
            Step::new("insert into d values ($1, $12)", args![3_i64]),
        ];

        let (text, values) = joined(steps);

        assert_eq!(
            text,
            "update a set b = $2 where c = $1; select 1; insert into d values ($3, $14)"
        );
        assert_eq!(values.len(), 3);
    }

    #[test]
    fn what_stands_beside_a_statement_is_part_of_it() {
        let steps = vec![
            Step::new("update a set b = $2 where c = $1 returning b", args![1_i64, 2_i64]),
            Step::new("delete from d where e = $1", args![3_i64]).beside(),
        ];

        let (text, values) = together(steps);

        assert_eq!(
            text,
            "with step_0 as (update a set b = $2 where c = $1 returning b), \
             step_1 as (delete from d where e = $3) select * from step_0"
        );
        assert_eq!(values.len(), 3);
    }
}
