//! Changes get their numbers from one writer at a time, after they were committed. So no smaller
//! number ever appears behind one that was read.

use async_trait::async_trait;

use crate::domain::approval::{Approval, ApprovalId};
use crate::domain::time::Timestamp;
use crate::store::changes::{Change, ChangeStore, Glimpse};
use crate::store::driver::{Arg, Db, Row, args};
use crate::store::sql::SqlStore;
use crate::store::sql::readable::Named;
use crate::store::{Result, StoreError};

use super::row::read;
use super::{FIRST_VERSION, select};

/// How many approvals one statement asks for: few texts, so that each is prepared once.
const READ: [usize; 3] = [1, 8, 32];
/// The same where only [`Glimpse`]s are read.
const GLIMPSED: [usize; 3] = [1, 16, 128];

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

    async fn since(&self, at: Timestamp, limit: u32) -> Result<Vec<Glimpse>> {
        // Nobody waits to hear that one was made.
        let sql = "select a.id as id, a.version as version, cast(0 as bigint) as stops from approvals a \
                    where a.changed_at >= $1 and a.version > $3 \
                    union all \
                   select r.approval, cast(0 as bigint), cast(1 as bigint) from runs r \
                    where r.changed_at >= $1 and r.stop_at is not null \
                    limit $2";
        let rows = self.db.read().await?.rows(sql, args![at, limit, FIRST_VERSION]).await?;
        rows.iter().map(glimpse).collect()
    }

    async fn glimpses(&self, ids: &[ApprovalId]) -> Result<Vec<Glimpse>> {
        let mut tx = self.db.read().await?;
        let mut found = Vec::with_capacity(ids.len());
        for some in chunks(ids, GLIMPSED) {
            let sql = format!(
                "select a.id as id, a.version as version, \
                        cast(case when exists (select 1 from runs r where r.approval = a.id \
                                             and r.stop_at is not null) then 1 else 0 end as bigint) as stops \
                   from approvals a where a.id in ({})",
                places(1, some.len())
            );
            let rows = tx.rows(sqlx::AssertSqlSafe(sql), some).await?;
            for row in &rows {
                found.push(glimpse(row)?);
            }
        }
        Ok(found)
    }

    async fn of(&self, ids: &[ApprovalId], now: Timestamp) -> Result<Vec<Approval>> {
        let mut tx = self.db.read().await?;
        let mut found = Vec::with_capacity(ids.len());
        for some in chunks(ids, READ) {
            let sql = select(&format!("where a.id in ({})", places(2, some.len())));
            let values = args![now].into_iter().chain(some).collect();
            for row in &tx.rows(sql, values).await? {
                found.push(read(row)?);
            }
        }
        Ok(found)
    }
}

/// The ids in parts of few lengths; the last is repeated where there are fewer.
fn chunks(ids: &[ApprovalId], lengths: [usize; 3]) -> Vec<Vec<Arg>> {
    let most = lengths[2];
    ids.chunks(most)
        .map(|some| {
            let length = lengths.into_iter().find(|n| *n >= some.len()).unwrap_or(most);
            let last = some.last().into_iter().cycle();
            some.iter().chain(last).take(length).map(|id| id.as_str().into()).collect()
        })
        .collect()
}

/// `$FROM, …`, so many.
fn places(from: usize, count: usize) -> String {
    let names: Vec<String> = (from..from + count).map(|n| format!("${n}")).collect();
    names.join(", ")
}

fn glimpse(row: &Row) -> Result<Glimpse> {
    let id = row.text("id")?;
    Ok(Glimpse {
        version: row.int("version")?,
        stops: row.int("stops")? != 0,
        id: ApprovalId::parse(&id)
            .ok_or_else(|| StoreError::corrupt("approvals", "id", &id, "not an id"))?,
    })
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
