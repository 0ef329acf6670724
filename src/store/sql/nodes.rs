//! The leases of processes.

use async_trait::async_trait;

use crate::domain::time::Timestamp;
use crate::store::Result;
use crate::store::driver::{Db, Lane, args};
use crate::store::nodes::NodeStore;

use super::SqlStore;

#[async_trait]
impl NodeStore for SqlStore {
    async fn renew(&self, node: &str, now: Timestamp, until: Timestamp) -> Result<()> {
        let node = node.to_owned();
        self.run_by(Lane::Lease, move |db| renew(db, node.clone(), now, until)).await
    }

    async fn end(&self, node: &str, _now: Timestamp) -> Result<()> {
        let node = node.to_owned();
        self.run_by(Lane::Lease, move |db| end(db, node.clone())).await
    }

    async fn is_alive(&self, node: &str, now: Timestamp) -> Result<bool> {
        let sql = "select count(*) as n from nodes where id = $1 and lease_expires_at > $2";
        Ok(self.db.read().await?.count(sql, args![node, now]).await? > 0)
    }
}

async fn renew(db: Db, node: String, now: Timestamp, until: Timestamp) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute(
        "insert into nodes (id, started_at, lease_expires_at) values ($1, $2, $3) \
         on conflict (id) do update set lease_expires_at = excluded.lease_expires_at",
        args![node, now, until],
    )
    .await?;
    tx.commit().await
}

async fn end(db: Db, node: String) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute("delete from holds where node = $1", args![&node]).await?;
    tx.execute("delete from nodes where id = $1", args![&node]).await?;
    tx.commit().await
}
