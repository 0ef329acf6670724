//! Held requests: attached to their approval, and detached.

use std::collections::BTreeMap;

use async_trait::async_trait;
use sqlx::AssertSqlSafe;

use crate::domain::approval::ApprovalId;
use crate::domain::time::Timestamp;
use crate::store::Result;
use crate::store::driver::{Db, Lock, Step, Tx, args};
use crate::store::holds::{HoldStore, NewHold};

use super::SqlStore;
use super::rowset::{Int, Rowset, Text};

/// Holds of dead nodes don't count: nobody is there any more.
const LIVE_HOLDS: &str = "\
    select count(*) as n from holds h join nodes n on n.id = h.node \
     where h.approval = $1 and n.lease_expires_at > $2";

#[async_trait]
impl HoldStore for SqlStore {
    async fn attach(
        &self,
        id: &ApprovalId,
        hold: &NewHold,
        max_held: u32,
        now: Timestamp,
    ) -> Result<bool> {
        let (id, hold) = (id.clone(), hold.clone());
        self.run_for_agent(move |db| attach(db, id.clone(), hold.clone(), max_held, now)).await
    }

    async fn detach(&self, hold: &str, now: Timestamp) -> Result<i64> {
        let hold = hold.to_owned();
        self.run_for_call(move |db| detach(db, hold.clone(), now)).await
    }

    async fn of_node(&self, node: &str) -> Result<Vec<String>> {
        let sql = "select id from holds where node = $1";
        let rows = self.db.read().await?.rows(sql, args![node]).await?;
        rows.iter().map(|row| row.text("id")).collect()
    }

    async fn detach_all(&self, holds: &[String], now: Timestamp) -> Result<Vec<ApprovalId>> {
        let holds = holds.to_vec();
        self.run_for_call(move |db| detach_all(db, holds.clone(), now)).await
    }

    async fn attach_again(&self, id: &ApprovalId, hold: &NewHold, now: Timestamp) -> Result<()> {
        let (id, hold) = (id.clone(), hold.clone());
        self.run_for_call(move |db| attach_again(db, id.clone(), hold.clone(), now)).await
    }

    async fn attached(&self, id: &ApprovalId, now: Timestamp) -> Result<i64> {
        attached(self.db.clone(), id.clone(), now).await
    }
}

/// How many of an agent's requests are attached.
///
/// # Errors
/// [`crate::store::StoreError`], when the database can't be read.
pub(super) async fn held_by(tx: &mut Tx, agent: &str, now: Timestamp) -> Result<i64> {
    tx.count(
        "select count(*) as n from nodes n cross join holds h \
          where h.node = n.id and h.agent = $1 and n.lease_expires_at > $2",
        args![agent, now],
    )
    .await
}

/// How many wait for an approval: requests of live processes, and tasks that their agents have not
/// ended.
///
/// # Errors
/// [`crate::store::StoreError`], when the database can't be read.
pub(super) async fn waiting_for(tx: &mut Tx, id: &ApprovalId, now: Timestamp) -> Result<i64> {
    let tasks = "select count(*) as n from tasks \
                  where approval = $1 and cancelled_at is null and expires_at > $2";
    let requests = tx.count(LIVE_HOLDS, args![id.as_str(), now]).await?;
    Ok(requests + tx.count(tasks, args![id.as_str(), now]).await?)
}

/// Attaches requests; listeners are told by [`touch_all`].
///
/// # Errors
/// [`crate::store::StoreError`], when the database refuses.
pub(super) async fn insert_all(
    tx: &mut Tx,
    holds: &[(&ApprovalId, &NewHold, Timestamp)],
) -> Result<()> {
    let mut rows = Rowset::of(&[
        ("id", Text),
        ("approval", Text),
        ("node", Text),
        ("agent", Text),
        ("created_at", Int),
    ]);
    for (id, hold, now) in holds {
        rows.push(args![&hold.id, id.as_str(), &hold.node, &hold.agent, *now]);
    }
    if rows.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "insert into holds (id, approval, node, agent, created_at) \
         select r.id, r.approval, r.node, r.agent, r.created_at from {} where true \
         on conflict (id) do nothing",
        rows.source(tx, 1)
    );
    tx.execute(AssertSqlSafe(sql), vec![rows.argument()]).await.map(drop)
}

/// Lets listeners see that who waits for these has changed.
///
/// # Errors
/// [`crate::store::StoreError`], when the database refuses.
pub(super) async fn touch_all(tx: &mut Tx, changed: &[(ApprovalId, Timestamp)]) -> Result<()> {
    let mut at: BTreeMap<&ApprovalId, Timestamp> = BTreeMap::new();
    for (id, now) in changed {
        at.insert(id, *now);
    }
    let mut rows = Rowset::of(&[("id", Text), ("at", Int)]);
    for (id, now) in at {
        rows.push(args![id.as_str(), now]);
    }
    if rows.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "update approvals set changed_at = r.at, change_seq = null from {} \
          where approvals.id = r.id",
        rows.source(tx, 1)
    );
    tx.execute(AssertSqlSafe(sql), vec![rows.argument()]).await.map(drop)
}

/// Detaches a request of an approval that changes in the same transaction.
pub(super) fn removal(hold: &str) -> Step {
    Step::new("delete from holds where id = $1", args![hold])
}

/// Lets listeners see that who waits has changed.
async fn touch(tx: &mut Tx, id: &ApprovalId, now: Timestamp) -> Result<()> {
    tx.execute(
        "update approvals set changed_at = $2, change_seq = null where id = $1",
        args![id.as_str(), now],
    )
    .await?;
    Ok(())
}

async fn attach(
    db: Db,
    id: ApprovalId,
    hold: NewHold,
    max_held: u32,
    now: Timestamp,
) -> Result<bool> {
    let mut tx = db.begin_locked(Lock::Submissions(&hold.agent)).await?;
    let fits = held_by(&mut tx, &hold.agent, now).await? < i64::from(max_held);
    if fits {
        insert_all(&mut tx, &[(&id, &hold, now)]).await?;
        touch(&mut tx, &id, now).await?;
    }
    tx.commit().await?;
    Ok(fits)
}

async fn attach_again(db: Db, id: ApprovalId, hold: NewHold, now: Timestamp) -> Result<()> {
    let mut tx = db.begin().await?;
    insert_all(&mut tx, &[(&id, &hold, now)]).await?;
    touch(&mut tx, &id, now).await?;
    tx.commit().await
}

async fn detach(db: Db, hold: String, now: Timestamp) -> Result<i64> {
    let mut tx = db.begin().await?;
    let steps = vec![
        // Two that let go of one approval wait for each other here, so that the second counts right.
        Step::new(
            "update approvals set changed_at = $2, change_seq = null \
              where id = (select approval from holds where id = $1)",
            args![&hold, now],
        ),
        Step::new(
            "select count(*) as n from holds h join nodes n on n.id = h.node \
              where h.approval = (select approval from holds where id = $1) and h.id <> $1 \
                and n.lease_expires_at > $2",
            args![&hold, now],
        ),
        Step::new("delete from holds where id = $1", args![&hold]),
    ];
    let done = tx.all(steps).await?;
    let [_, left, gone] = &done[..] else { return tx.rollback().await.map(|()| 0) };
    if gone.touched == 0 {
        tx.rollback().await?;
        return Ok(0);
    }
    let left = left.rows.first().map_or(Ok(0), |row| row.int("n"))?;
    tx.commit().await?;
    Ok(left)
}

async fn attached(db: Db, id: ApprovalId, now: Timestamp) -> Result<i64> {
    db.read().await?.count(LIVE_HOLDS, args![id.as_str(), now]).await
}

async fn detach_all(db: Db, holds: Vec<String>, now: Timestamp) -> Result<Vec<ApprovalId>> {
    let mut tx = db.begin().await?;
    let mut left = Vec::new();
    for hold in holds {
        let row = tx.row("select approval from holds where id = $1", args![&hold]).await?;
        let Some(approval) = row.map(|row| row.text("approval")).transpose()? else { continue };
        tx.execute("delete from holds where id = $1", args![&hold]).await?;
        if let Some(id) = ApprovalId::parse(&approval)
            && !left.contains(&id)
        {
            touch(&mut tx, &id, now).await?;
            left.push(id);
        }
    }
    tx.commit().await?;
    Ok(left)
}
