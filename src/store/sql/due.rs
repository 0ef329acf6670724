//! What reconcilers look for.

use async_trait::async_trait;

use crate::domain::approval::ApprovalId;
use crate::domain::time::Timestamp;
use crate::store::driver::{Arg, Db, args};
use crate::store::due::{DueStore, Unattended};
use crate::store::{Result, StoreError};

use super::SqlStore;
use super::readable::Named;

#[async_trait]
impl DueStore for SqlStore {
    async fn expiries(&self, now: Timestamp, limit: u32) -> Result<Vec<ApprovalId>> {
        expiries(self.db.clone(), now, limit).await
    }

    async fn orphaned(&self, node: &str, now: Timestamp, limit: u32) -> Result<Vec<ApprovalId>> {
        orphaned(self.db.clone(), node.to_owned(), now, limit).await
    }

    async fn claimed_by(&self, node: &str) -> Result<Vec<ApprovalId>> {
        let sql = "select id from approvals where state = 'running' and executor = $1";
        ids(self.db.clone(), sql, args![node]).await
    }

    async fn unattended(&self, now: Timestamp, limit: u32) -> Result<Vec<Unattended>> {
        unattended(self.db.clone(), now, limit).await
    }
}

async fn expiries(db: Db, now: Timestamp, limit: u32) -> Result<Vec<ApprovalId>> {
    let sql = "select id from approvals where state = 'pending' and expires_at <= $1 \
               union all \
               select id from approvals where state = 'approved' and claim_deadline <= $1 \
               limit $2";
    ids(db, sql, args![now, limit]).await
}

async fn orphaned(db: Db, node: String, now: Timestamp, limit: u32) -> Result<Vec<ApprovalId>> {
    let sql = "select a.id from approvals a where a.state = 'running' and coalesce(a.executor, '') <> $3 \
                  and not exists (select 1 from nodes n \
                                   where n.id = a.executor and n.lease_expires_at > $1) \
               limit $2";
    ids(db, sql, args![now, limit, node]).await
}

async fn unattended(db: Db, now: Timestamp, limit: u32) -> Result<Vec<Unattended>> {
    let sql = "select id, upstream from (select id, upstream, claim_deadline, row_number() over \
                      (partition by upstream order by claim_deadline, id) as place \
                      from approvals where state = 'approved' and unattended = 1 \
                       and claim_deadline > $1) l \
                where place <= $2 order by claim_deadline, id";
    let rows = db.read().await?.rows(sql, args![now, limit]).await?;
    Named::APPROVALS.readable(&rows, |row| {
        let id = row.text("id")?;
        let id = ApprovalId::parse(&id)
            .ok_or_else(|| StoreError::corrupt("approvals", "id", &id, "not an id"))?;
        Ok(Unattended { id, upstream: row.text("upstream")?, session: None })
    })
}

async fn ids(db: Db, sql: &'static str, values: Vec<Arg>) -> Result<Vec<ApprovalId>> {
    let rows = db.read().await?.rows(sql, values).await?;
    Named::APPROVALS.readable(&rows, |row| {
        let id = row.text("id")?;
        ApprovalId::parse(&id)
            .ok_or_else(|| StoreError::corrupt("approvals", "id", &id, "not an id"))
    })
}
