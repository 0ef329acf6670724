//! How many approvals are in each state, by agent and of all: counted by the database's triggers with
//! the rows themselves, so that nobody reads the queue or the history to know it.

use sqlx::AssertSqlSafe;

use crate::store::Result;
use crate::store::driver::{Db, Tx, args};

/// The name under which all agents' approvals are counted.
pub(super) const ALL: &str = "";

/// What the counters should say less what they say, where that is not nothing. One statement, so that
/// it sees rows and counters of one instant.
const WRONG: &str = "select agent, state, cast(sum(n) as bigint) as n from \
     (select agent, state, count(*) as n from approvals group by agent, state \
      union all select '', state, count(*) from approvals group by state \
      union all select agent, state, -sum(n) from approval_counts group by agent, state) x \
     group by agent, state having sum(n) <> 0";

/// Pending and approved approvals of an agent, or of [`ALL`].
///
/// # Errors
/// [`crate::store::StoreError`], when the database can't be read.
pub(super) async fn open_of(tx: &mut Tx, agent: &str) -> Result<i64> {
    tx.count(
        "select cast(coalesce(sum(n), 0) as bigint) as n from approval_counts \
          where agent = $1 and state in ('pending', 'approved')",
        args![agent],
    )
    .await
}

/// All approvals by state, without the states in which there are none.
///
/// # Errors
/// [`crate::store::StoreError`], when the database can't be read.
pub(super) async fn by_state(tx: &mut Tx) -> Result<Vec<(String, i64)>> {
    let rows = tx
        .rows(
            "select state, cast(sum(n) as bigint) as n from approval_counts where agent = $1 \
              group by state having sum(n) <> 0 order by state",
            args![ALL],
        )
        .await?;
    rows.iter().map(|row| Ok((row.text("state")?, row.int("n")?))).collect()
}

/// Compares the counters with the rows, and counts anew where they differ; returns how many differed.
///
/// # Errors
/// [`crate::store::StoreError`], when the database can't be read or written.
pub(super) async fn recount(db: Db) -> Result<usize> {
    let wrong = db.read().await?.rows(WRONG, args![]).await?;
    if wrong.is_empty() {
        return Ok(0);
    }
    let mut tx = db.begin().await?;
    if tx.is_postgres() {
        // Whoever changed an approval holds a lock on it; who comes now waits.
        tx.execute("lock table approval_counts in share row exclusive mode", args![]).await?;
    }
    tx.execute("delete from approval_counts", args![]).await?;
    for (agent, group) in [("agent", "agent, state"), ("''", "state")] {
        let sql = format!(
            "insert into approval_counts (agent, state, slot, n) \
             select {agent}, state, 0, count(*) from approvals group by {group}"
        );
        tx.execute(AssertSqlSafe(sql), args![]).await?;
    }
    tx.commit().await?;
    Ok(wrong.len())
}
