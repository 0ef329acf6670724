//! What the statements of a test were, so that it can ask a database how it would run them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use sqlx::AssertSqlSafe;

use super::{Arg, At, Db, Row};
use crate::store::Result;
use crate::store::patience::Patience;

static STATEMENTS: Mutex<BTreeMap<String, Vec<Arg>>> = Mutex::new(BTreeMap::new());

/// Keeps a statement with the arguments it came with last.
pub(super) fn note(sql: &str, args: &[Arg]) {
    let mut all = STATEMENTS.lock().unwrap_or_else(PoisonError::into_inner);
    all.insert(sql.to_owned(), args.to_vec());
}

/// How a database would run one statement.
pub(crate) struct Plan {
    pub(crate) sql: String,
    pub(crate) steps: Vec<String>,
}

/// Asks the database at `url`, which has the schema, about every statement noted so far.
///
/// # Errors
/// It can't be reached, or does not understand a statement.
pub(crate) async fn plans(url: &str) -> Result<Vec<Plan>> {
    let noted = STATEMENTS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let db = Db::open(url, &Patience::default()).await?;
    let postgres = matches!(db.at, At::Postgres(_));
    let mut found = Vec::new();
    for (sql, args) in noted {
        // Each database has some words of its own.
        let others: &[&str] = if postgres {
            &["json_extract", "values (?", "column1"]
        } else {
            &["for update skip locked", "pg_", "as json)"]
        };
        if others.iter().any(|word| sql.contains(word)) {
            continue;
        }
        let mut tx = db.begin().await?;
        let (verb, column) = if postgres {
            tx.execute("set local enable_seqscan = off", Vec::new()).await?;
            ("explain", "QUERY PLAN")
        } else {
            ("explain query plan", "detail")
        };
        let rows = tx.rows(AssertSqlSafe(format!("{verb} {sql}")), args).await?;
        let steps = rows.iter().map(|row: &Row| row.text(column)).collect::<Result<Vec<_>>>()?;
        tx.rollback().await?;
        found.push(Plan { sql, steps });
    }
    db.close().await;
    Ok(found)
}
