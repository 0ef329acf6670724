//! Copies that were put back: known by the row of `origin`, and let go of what may have been used.

use async_trait::async_trait;

use crate::domain::audit::AuditEvent;
use crate::domain::time::Timestamp;
use crate::store::copies::{CopyStore, LetGo, PutBack};
use crate::store::driver::{Db, Tx, args};
use crate::store::{Result, StoreError};

use super::{SqlStore, audit};

/// What PostgreSQL has of the row that no dump carries and no upgrade in place changes: the number of
/// the transaction that wrote it (`xmin`, <https://www.postgresql.org/docs/current/ddl-system-columns.html>)
/// and of the table. It is written by the statement that it is read back from.
const NOTE_ROW: &str = "insert into origin (name, value) \
     values ('row', cast(txid_current() & 4294967295 as text) || ' ' \
                    || cast(cast(cast('approvals' as regclass) as oid) as text)) \
     on conflict (name) do nothing";
const READ_ROW: &str = "select value, cast(xmin as text) || ' ' \
                    || cast(cast(cast('approvals' as regclass) as oid) as text) as found \
       from origin where name = 'row'";

/// What is deleted, with why it may not come alive again.
const LET_GO: [&str; 8] = [
    // Nobody waits any more, and no process of the copy lives.
    "delete from holds",
    "delete from nodes",
    // Wishes to stop and answers to calls that ran then.
    "delete from runs",
    // Used once, or told by somebody else, and perhaps since.
    "delete from ceremonies",
    "delete from oidc_attempts",
    "delete from oidc_words",
    // The clients begin anew; some of these were ended since.
    "delete from client_sessions",
    // What was sealed with these may have been used up since: they are made anew.
    "delete from secrets where name in ('request_state', 'oidc')",
];

#[async_trait]
impl CopyStore for SqlStore {
    async fn put_back(&self) -> Result<Option<PutBack>> {
        self.run(put_back).await
    }

    async fn lease(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        let sql = "select max(lease_expires_at) as at from nodes where lease_expires_at > $1";
        let row = self.db.read().await?.row(sql, args![now]).await?;
        Ok(row.map(|row| row.opt_int("at")).transpose()?.flatten().map(Timestamp::from_micros))
    }

    async fn begin_restore(&self, now: Timestamp) -> Result<LetGo> {
        self.run(move |db| begin_restore(db, now)).await
    }

    async fn adopt(&self, event: AuditEvent) -> Result<()> {
        self.run(move |db| adopt(db, event.clone())).await
    }
}

async fn named(tx: &mut Tx, name: &str) -> Result<Option<String>> {
    let row = tx.row("select value from origin where name = $1", args![name]).await?;
    row.map(|row| row.text("value")).transpose()
}

async fn put_back(db: Db) -> Result<Option<PutBack>> {
    let mut tx = db.begin().await?;
    let mut is_other = false;
    if tx.is_postgres() {
        tx.execute(NOTE_ROW, args![]).await?;
        let row = tx.row(READ_ROW, args![]).await?;
        is_other = match row {
            Some(row) => row.text("value")? != row.text("found")?,
            None => false,
        };
    }
    let copied_at = named(&mut tx, "copied_at").await?;
    let unfinished = named(&mut tx, "restoring").await?.is_some();
    tx.commit().await?;
    let found = is_other || copied_at.is_some() || unfinished;
    let copied_at = copied_at.as_deref().and_then(Timestamp::parse);
    Ok(found.then_some(PutBack { copied_at, unfinished }))
}

async fn begin_restore(db: Db, now: Timestamp) -> Result<LetGo> {
    const WHY: &str = "the database was put back from an older copy: it may have been sent since";
    let mut tx = db.begin().await?;
    tx.execute(
        "insert into origin (name, value) values ('restoring', $1) on conflict (name) do nothing",
        args![now.micros().to_string()],
    )
    .await?;
    let began = named(&mut tx, "restoring").await?.and_then(|text| text.parse::<i64>().ok());
    let began = began.ok_or_else(|| {
        StoreError::corrupt("origin", "value", "restoring", "not a number of microseconds")
    })?;
    // Numbers that listeners know from after the copy must not come again for other changes.
    tx.execute("update change_counter set n = n + 1000000", args![]).await?;
    // What was planned by a restore that was cut off is not of the copy.
    let of_the_copy = "state = 'due' and created_at < $1";
    let attempts = format!(
        "insert into attempts (delivery, number, at, result, detail) \
         select o.id, (select coalesce(max(t.number), 0) + 1 from attempts t \
                        where t.delivery = o.id), $2, 'dropped', $3 \
           from outbox o where o.{}",
        of_the_copy.replace("created_at", "o.created_at")
    );
    tx.execute(sqlx::AssertSqlSafe(attempts), args![began, now, WHY]).await?;
    let drop = format!(
        "update outbox set state = 'dropped', attempts = attempts + 1, finished_at = $2 \
          where {of_the_copy}"
    );
    let messages = tx.execute(sqlx::AssertSqlSafe(drop), args![began, now]).await?;
    let mut let_go = LetGo { messages, client_sessions: 0 };
    for sql in LET_GO {
        let gone = tx.execute(sql, args![]).await?;
        if sql.ends_with("client_sessions") {
            let_go.client_sessions = gone;
        }
    }
    tx.commit().await?;
    Ok(let_go)
}

async fn adopt(db: Db, event: AuditEvent) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute("delete from origin", args![]).await?;
    if tx.is_postgres() {
        tx.execute(NOTE_ROW, args![]).await?;
    }
    audit::insert(&mut tx, &[event]).await?;
    tx.commit().await
}
