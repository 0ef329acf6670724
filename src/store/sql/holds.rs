//! Held requests: attached to their approval, and detached.

use async_trait::async_trait;

use crate::domain::approval::ApprovalId;
use crate::domain::time::Timestamp;
use crate::store::Result;
use crate::store::driver::{Db, Lock, Tx, args};
use crate::store::holds::{HoldStore, NewHold};

use super::SqlStore;

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
        "select count(*) as n from holds h join nodes n on n.id = h.node \
          where h.agent = $1 and n.lease_expires_at > $2",
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

/// Attaches a request.
///
/// # Errors
/// [`crate::store::StoreError`], when the database refuses.
pub(super) async fn insert(
    tx: &mut Tx,
    id: &ApprovalId,
    hold: &NewHold,
    now: Timestamp,
) -> Result<()> {
    tx.execute(
        "insert into holds (id, approval, node, agent, created_at) values ($1, $2, $3, $4, $5) \
         on conflict (id) do nothing",
        args![&hold.id, id.as_str(), &hold.node, &hold.agent, now],
    )
    .await?;
    touch(tx, id, now).await
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
        insert(&mut tx, &id, &hold, now).await?;
    }
    tx.commit().await?;
    Ok(fits)
}

async fn attach_again(db: Db, id: ApprovalId, hold: NewHold, now: Timestamp) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute(
        "insert into holds (id, approval, node, agent, created_at) \
         values ($1, $2, $3, $4, $5) on conflict (id) do nothing",
        args![&hold.id, id.as_str(), &hold.node, &hold.agent, now],
    )
    .await?;
    touch(&mut tx, &id, now).await?;
    tx.commit().await
}

async fn detach(db: Db, hold: String, now: Timestamp) -> Result<i64> {
    let mut tx = db.begin().await?;
    let row = tx.row("select approval from holds where id = $1", args![&hold]).await?;
    let Some(approval) = row.map(|row| row.text("approval")).transpose()? else {
        tx.rollback().await?;
        return Ok(0);
    };
    tx.execute("delete from holds where id = $1", args![&hold]).await?;
    tx.execute(
        "update approvals set changed_at = $2, change_seq = null where id = $1",
        args![&approval, now],
    )
    .await?;
    let left = tx.count(LIVE_HOLDS, args![&approval, now]).await?;
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
