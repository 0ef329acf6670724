//! What is old is removed in small steps, each a transaction of its own: between two of them
//! others write.

use std::time::Duration;

use sqlx::AssertSqlSafe;

use crate::domain::time::Timestamp;
use crate::store::driver::{Arg, Db, args};
use crate::store::{Old, Result};

use super::limits::KEPT;
use super::{SqlStore, retention};

/// Most rows of a step where nothing hangs on them.
const STEP: u32 = 250;
/// Most rows of a step that others hang on, an approval's words for example.
const FAMILIES: u32 = 50;

/// Rows with others that hang on them: all go in one step.
struct Family {
    /// Ids of those that may go: ended before `$1` and of use to nobody at `$2`, at most `$3`.
    old: fn(bool) -> String,
    /// What goes with each; its id follows.
    with: &'static [&'static str],
}

const OUTBOX: Family = Family {
    old: retention::outbox,
    with: &["delete from attempts where delivery in ", "delete from outbox where id in "],
};

const APPROVALS: Family = Family {
    old: retention::approvals,
    with: &[
        "delete from review_links where approval in ",
        "delete from approval_words where approval in ",
        "delete from approvals where id in ",
    ],
};

/// Removes it; returns the number of rows removed.
///
/// # Errors
/// [`crate::store::StoreError`], when the database refuses; what was removed by then is gone.
pub(super) async fn purge(store: &SqlStore, now: Timestamp, old: Old) -> Result<u64> {
    let Old { history_before, idle_before } = old;
    let day = Duration::from_secs(86_400);
    let day_ago = now.minus(day);
    let mut gone = 0;
    for (sql, before) in [
        (
            "delete from holds where node not in \
             (select id from nodes where lease_expires_at > $1)",
            now,
        ),
        ("delete from nodes where lease_expires_at <= $1", now),
    ] {
        gone += store.run(move |db| execute(db, sql, args![before])).await?;
    }
    for (sql, before) in [
        (
            "delete from sign_ins where hash in \
             (select hash from sign_ins where expires_at <= $1 limit $2)",
            now,
        ),
        (
            "delete from oidc_attempts where hash in \
             (select hash from oidc_attempts where expires_at <= $1 limit $2)",
            now,
        ),
        (
            "delete from oidc_words where reviewer in \
             (select reviewer from oidc_words where expires_at <= $1 limit $2)",
            now,
        ),
        (
            "delete from tasks where id in \
             (select id from tasks where expires_at <= $1 limit $2)",
            now,
        ),
        (
            "delete from runs where approval in \
             (select approval from runs where changed_at <= $1 \
                and approval not in (select id from approvals where state = 'running') \
               limit $2)",
            day_ago,
        ),
        (
            "delete from sessions where hash in \
             (select hash from sessions where seen_at <= $1 limit $2)",
            idle_before,
        ),
        (
            "delete from tokens where id in \
             (select id from tokens where expires_at <= $1 limit $2)",
            now,
        ),
        (
            "delete from ceremonies where challenge in \
             (select challenge from ceremonies where expires_at <= $1 limit $2)",
            now,
        ),
        (
            "delete from absences where id in \
             (select id from absences where until_at <= $1 limit $2)",
            day_ago,
        ),
        (
            // They have no key; those of one instant go together.
            "delete from rate_uses where keep_until is null and at <= (select max(at) from \
             (select at from rate_uses where keep_until is null and at <= $1 \
               order by at limit $2) as oldest)",
            now.minus(KEPT),
        ),
        (
            "delete from rate_uses where keep_until <= (select max(keep_until) from \
             (select keep_until from rate_uses where keep_until <= $1 \
               order by keep_until limit $2) as oldest)",
            now,
        ),
        (
            // The condition once more: somebody may count in it at this moment.
            "delete from counters where empty_at <= $1 and (counter, session) in \
             (select counter, session from counters where empty_at <= $1 limit $2)",
            now,
        ),
        (
            "delete from client_sessions where id in \
             (select id from client_sessions where seen_at <= $1 limit $2)",
            now.minus(7 * day),
        ),
        (
            "delete from grants where id in \
             (select id from grants where expires_at <= $1 limit $2)",
            history_before,
        ),
    ] {
        loop {
            let step = store.run(move |db| execute(db, sql, args![before, STEP])).await?;
            gone += step;
            if step < u64::from(STEP) {
                break;
            }
        }
    }
    for family in [&OUTBOX, &APPROVALS] {
        while let Some(step) = store.run(move |db| remove(db, family, history_before, now)).await? {
            gone += step;
        }
    }
    Ok(gone)
}

async fn execute(db: Db, sql: &'static str, values: Vec<Arg>) -> Result<u64> {
    let mut tx = db.begin().await?;
    let gone = tx.execute(sql, values).await?;
    if gone == 0 {
        tx.rollback().await?;
    } else {
        tx.commit().await?;
    }
    Ok(gone)
}

/// One step; none when there are no more.
async fn remove(
    db: Db,
    family: &'static Family,
    before: Timestamp,
    now: Timestamp,
) -> Result<Option<u64>> {
    let mut tx = db.begin().await?;
    let old = AssertSqlSafe((family.old)(tx.is_postgres()));
    let rows = tx.rows(old, args![before, now, FAMILIES]).await?;
    let ids = rows.iter().map(|row| Ok(row.text("id")?.into())).collect::<Result<Vec<Arg>>>()?;
    if ids.is_empty() {
        tx.rollback().await?;
        return Ok(None);
    }
    let places: Vec<String> = (1..=ids.len()).map(|n| format!("${n}")).collect();
    let mut gone = 0;
    for sql in family.with {
        // Only numbers of parameters are added to the text.
        let sql = AssertSqlSafe(format!("{sql}({})", places.join(", ")));
        gone += tx.execute(sql, ids.clone()).await?;
    }
    tx.commit().await?;
    Ok(Some(gone))
}
