//! Grants: given, used, ended, found.

use async_trait::async_trait;

use crate::domain::approval::ApprovalId;
use crate::domain::audit::AuditEvent;
use crate::domain::grant::{Ended, Grant, GrantId, Shape};
use crate::domain::time::Timestamp;
use crate::store::driver::{Db, Lock, Row, args};
use crate::store::grants::GrantStore;
use crate::store::{Result, StoreError};

use super::readable::Named;
use super::{SqlStore, audit};

const SELECT: &str = "\
    select id, approval, granted_by, agent, upstream, tool, rule, policy, tool_fingerprint, rest, \
           pinned, free, max_uses, used, created_at, expires_at, ended_at, ended_by, end_reason \
      from grants ";

/// A grant that may let calls through; `$1` is now.
const OPEN: &str = "ended_at is null and expires_at > $1 and used < max_uses";

fn select(rest: &str) -> sqlx::AssertSqlSafe<String> {
    // Only constants of this module come in here; values are bound.
    sqlx::AssertSqlSafe(format!("{SELECT}{rest}"))
}

fn read(row: &Row) -> Result<Grant> {
    let id = row.text("id")?;
    let bad = |column, what: &str| StoreError::Corrupt {
        table: "grants",
        column,
        id: id.clone(),
        what: what.to_owned(),
    };
    let count = |column: &'static str| {
        u32::try_from(row.int(column)?).map_err(|_| bad(column, "out of range"))
    };
    let json = |column: &'static str, text: &str| {
        serde_json::from_str(text).map_err(|_| bad(column, "not a list of texts"))
    };
    let pinned: Vec<(String, String)> =
        serde_json::from_str(&row.text("pinned")?).map_err(|_| bad("pinned", "not pairs"))?;
    let ended = match (row.opt_int("ended_at")?, row.opt_text("ended_by")?) {
        (Some(at), Some(by)) => Some(Ended {
            at: Timestamp::from_micros(at),
            by,
            reason: row.opt_text("end_reason")?.unwrap_or_default(),
        }),
        _ => None,
    };
    Ok(Grant {
        id: GrantId::parse(&id).ok_or_else(|| bad("id", "not an id"))?,
        approval: ApprovalId::parse(&row.text("approval")?)
            .ok_or_else(|| bad("approval", "not an id"))?,
        by: row.text("granted_by")?,
        agent: row.text("agent")?,
        upstream: row.text("upstream")?,
        tool: row.text("tool")?,
        rule: row.text("rule")?,
        policy: row.text("policy")?,
        tool_fingerprint: row.text("tool_fingerprint")?,
        shape: Shape { rest: row.text("rest")?, pinned, free: json("free", &row.text("free")?)? },
        max_uses: count("max_uses")?,
        used: count("used")?,
        created_at: Timestamp::from_micros(row.int("created_at")?),
        expires_at: Timestamp::from_micros(row.int("expires_at")?),
        ended,
    })
}

fn text<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("texts serialize")
}

async fn insert(db: Db, grant: Grant, max_open: u32, event: AuditEvent) -> Result<bool> {
    let mut tx = db.begin_locked(Lock::Grants(&grant.agent)).await?;
    let open = sqlx::AssertSqlSafe(format!(
        "select count(*) as n from grants where {OPEN} and agent = $2"
    ));
    if tx.count(open, args![grant.created_at, &grant.agent]).await? >= i64::from(max_open) {
        tx.rollback().await?;
        return Ok(false);
    }
    tx.execute(
        "insert into grants (id, approval, granted_by, agent, upstream, tool, rule, policy, \
                             tool_fingerprint, rest, pinned, free, max_uses, used, created_at, \
                             expires_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
        args![
            grant.id.as_str(),
            grant.approval.as_str(),
            &grant.by,
            &grant.agent,
            &grant.upstream,
            &grant.tool,
            &grant.rule,
            &grant.policy,
            &grant.tool_fingerprint,
            &grant.shape.rest,
            text(&grant.shape.pinned),
            text(&grant.shape.free),
            grant.max_uses,
            grant.used,
            grant.created_at,
            grant.expires_at,
        ],
    )
    .await?;
    audit::insert(&mut tx, &[event]).await?;
    tx.commit().await?;
    Ok(true)
}

#[async_trait]
impl GrantStore for SqlStore {
    async fn insert(&self, grant: &Grant, max_open: u32, event: AuditEvent) -> Result<bool> {
        let grant = grant.clone();
        self.run(move |db| insert(db, grant.clone(), max_open, event.clone())).await
    }

    async fn find(&self, id: &GrantId) -> Result<Option<Grant>> {
        let mut tx = self.db.read().await?;
        let row = tx.row(select("where id = $1"), args![id.as_str()]).await?;
        row.as_ref().map(read).transpose()
    }

    async fn open(
        &self,
        agent: &str,
        upstream: &str,
        tool: &str,
        now: Timestamp,
    ) -> Result<Vec<Grant>> {
        let sql = select(&format!(
            "where {OPEN} and agent = $2 and upstream = $3 and tool = $4 order by expires_at, id"
        ));
        let rows = self.db.read().await?.rows(sql, args![now, agent, upstream, tool]).await?;
        Named::GRANTS.readable(&rows, read)
    }

    async fn list(&self, limit: u32) -> Result<Vec<Grant>> {
        let sql = select("order by created_at desc, id desc limit $1");
        let rows = self.db.read().await?.rows(sql, args![limit]).await?;
        Named::GRANTS.readable(&rows, read)
    }

    async fn take(&self, id: &GrantId, now: Timestamp, event: AuditEvent) -> Result<bool> {
        let id = id.as_str().to_owned();
        let sql = format!("update grants set used = used + 1 where {OPEN} and id = $2");
        self.run(move |db| {
            audit::recorded(db, sqlx::AssertSqlSafe(sql.clone()), args![now, &id], event.clone())
        })
        .await
    }

    async fn end(&self, id: &GrantId, ended: &Ended, event: AuditEvent) -> Result<bool> {
        let sql = "update grants set ended_at = $2, ended_by = $3, end_reason = $4 \
                    where id = $1 and ended_at is null";
        let values = args![id.as_str(), ended.at, &ended.by, &ended.reason];
        self.run(move |db| audit::recorded(db, sql, values.clone(), event.clone())).await
    }
}
