//! Changes get their numbers from one writer at a time, after they were committed. So no smaller
//! number ever appears behind one that was read.

use async_trait::async_trait;

use crate::domain::time::Timestamp;
use crate::store::Result;
use crate::store::changes::{Change, ChangeStore};
use crate::store::driver::{Db, Row, args};
use crate::store::sql::SqlStore;
use crate::store::sql::readable::Named;

use super::row::read;
use super::select;

#[async_trait]
impl ChangeStore for SqlStore {
    async fn number(&self, limit: u32) -> Result<u32> {
        self.run(move |db| number(db, limit)).await
    }

    async fn last(&self) -> Result<i64> {
        self.db.read().await?.count("select n from change_counter", args![]).await
    }

    async fn after(
        &self,
        seq: i64,
        visible_to: Option<&str>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<Change>> {
        let who = visible_to.map(|name| format!("|{name}|"));
        let page = "where a.change_seq > $2 \
                and (cast($3 as text) is null or a.sensitive = 0 \
                     or replace(a.audience, $3, '') <> a.audience) \
              order by a.change_seq limit $4";
        let change = |row: &Row| Ok(Change { seq: row.int("change_seq")?, approval: read(row)? });
        let mut tx = self.db.read().await?;
        let (mut at, mut found) = (seq, Vec::new());
        loop {
            let rows = tx.rows(select(page), args![now, at, who.clone(), limit]).await?;
            found.extend(Named::APPROVALS.readable(&rows, change)?);
            let full = rows.len() >= limit as usize && found.len() < limit as usize;
            let Some(last) = rows.last().filter(|_| full) else { break };
            // Fewer than a page would say that there are no more.
            at = last.int("change_seq")?;
        }
        found.truncate(limit as usize);
        Ok(found)
    }
}

async fn number(db: Db, limit: u32) -> Result<u32> {
    let some = "select count(*) as n from (select 1 as one from approvals \
                 where change_seq is null limit 1) u";
    if db.read().await?.count(some, args![]).await? == 0 {
        return Ok(0);
    }
    let mut tx = db.begin().await?;
    // The row's lock lets one in at a time.
    let row = tx.row("update change_counter set n = n returning n", args![]).await?;
    let last = row.map_or(Ok(0), |row| row.int("n"))?;
    let rows = tx
        .rows(
            "update approvals set change_seq = $1 + fresh.place \
               from (select id, row_number() over (order by changed_at, id) as place \
                       from (select id, changed_at from approvals where change_seq is null \
                              order by changed_at, id limit $2) oldest) fresh \
              where approvals.id = fresh.id and approvals.change_seq is null \
             returning approvals.change_seq",
            args![last, limit],
        )
        .await?;
    let given = rows.iter().map(|row| row.int("change_seq")).collect::<Result<Vec<_>>>()?;
    if let Some(last) = given.iter().max() {
        tx.execute("update change_counter set n = $1", args![*last]).await?;
    }
    tx.commit().await?;
    Ok(u32::try_from(given.len()).unwrap_or(u32::MAX))
}
