//! The leases of processes.

use async_trait::async_trait;

use crate::domain::time::Timestamp;
use crate::store::driver::{Db, Lane, Row, args};
use crate::store::nodes::{NodeStore, Peer};
use crate::store::{Result, StoreError};

use super::SqlStore;

#[async_trait]
impl NodeStore for SqlStore {
    async fn renew(&self, node: &str, now: Timestamp, until: Timestamp) -> Result<()> {
        let node = node.to_owned();
        self.run_by(Lane::Lease, move |db| renew(db, node.clone(), now, until)).await
    }

    async fn tell(&self, node: &str, policies: &str) -> Result<()> {
        let (node, policies) = (node.to_owned(), policies.to_owned());
        self.run_by(Lane::Lease, move |db| tell(db, node.clone(), policies.clone())).await
    }

    async fn alive(&self, now: Timestamp) -> Result<Option<Vec<Peer>>> {
        // A file is one process's.
        if !self.db.is_postgres() {
            return Ok(None);
        }
        let sql = "select id, policies from nodes where lease_expires_at > $1 order by id";
        let rows = self.db.by(Lane::Lease).read().await?.rows(sql, args![now]).await?;
        let peer = |row: &Row| Ok(Peer { node: row.text("id")?, policies: row.text("policies")? });
        rows.iter().map(peer).collect::<Result<_>>().map(Some)
    }

    async fn time(&self) -> Result<Option<Timestamp>> {
        // A file has no clock.
        if !self.db.is_postgres() {
            return Ok(None);
        }
        let sql = "select cast(extract(epoch from clock_timestamp()) * 1000000 as bigint) as n";
        let micros = self.db.by(Lane::Lease).read().await?.count(sql, args![]).await?;
        Ok(Some(Timestamp::from_micros(micros)))
    }

    async fn latest(&self) -> Result<(Option<Timestamp>, Option<Timestamp>)> {
        let sql = "select (select max(lease_expires_at) from nodes) as lease, \
                          (select max(changed_at) from approvals) as changed";
        let row = self.db.read().await?.row(sql, args![]).await?;
        let Some(row) = row else { return Ok((None, None)) };
        let time = |column| Ok::<_, StoreError>(row.opt_int(column)?.map(Timestamp::from_micros));
        Ok((time("lease")?, time("changed")?))
    }

    async fn bound(&self, beyond: Timestamp, until: Timestamp) -> Result<()> {
        let sql = "select count(*) as n from nodes where lease_expires_at > $1";
        // Nearly always there is nothing to write.
        if self.db.read().await?.count(sql, args![beyond]).await? == 0 {
            return Ok(());
        }
        self.run(move |db| bound(db, beyond, until)).await
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

async fn tell(db: Db, node: String, policies: String) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute("update nodes set policies = $2 where id = $1", args![node, policies]).await?;
    tx.commit().await
}

async fn bound(db: Db, beyond: Timestamp, until: Timestamp) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute(
        "update nodes set lease_expires_at = $2 where lease_expires_at > $1",
        args![beyond, until],
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
