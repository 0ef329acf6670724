//! Calls of the past, read from the audit and the approvals.

use async_trait::async_trait;

use crate::domain::approval::ApprovalId;
use crate::domain::audit::Kind;
use crate::domain::call::Method;
use crate::domain::time::Timestamp;
use crate::store::driver::{Row, args};
use crate::store::recorded_calls::{AskedCall, Became, CallCount, RecordedCallStore};
use crate::store::{Result, StoreError};

use super::SqlStore;

#[async_trait]
impl RecordedCallStore for SqlStore {
    async fn newest(&self) -> Result<i64> {
        let sql = "select id from audit order by id desc limit 1";
        let rows = self.db.read().await?.rows(sql, args![]).await?;
        rows.first().map_or(Ok(0), |row| row.int("id"))
    }

    async fn counted(
        &self,
        upstream: &str,
        since: Timestamp,
        after: i64,
        to: i64,
    ) -> Result<Vec<CallCount>> {
        let mut tx = self.db.read().await?;
        let fact = |name: &str| match tx.is_postgres() {
            true => format!("(a.data::json ->> '{name}')"),
            false => format!("json_extract(a.data, '$.{name}')"),
        };
        let kinds = [Kind::CallAllowed, Kind::GrantUsed, Kind::CallDenied, Kind::CallLimited];
        let kinds = kinds.map(|kind| format!("'{}'", kind.as_str())).join(", ");
        let sql = format!(
            "select c.agent, c.method, c.tool, c.kind, count(*) as n from (\
               select a.actor as agent, a.kind, {} as tool, {} as method, {} as upstream \
                 from audit a where a.id > $1 and a.id <= $2 and a.at >= $3 and a.kind in ({kinds})) c \
              where c.upstream = $4 and c.tool is not null \
              group by c.agent, c.method, c.tool, c.kind",
            fact("tool"),
            fact("method"),
            fact("upstream")
        );
        let values = args![after, to, since, upstream];
        let rows = tx.rows(sqlx::AssertSqlSafe(sql), values).await?;
        rows.iter().map(counted).collect()
    }

    async fn asked(
        &self,
        upstream: &str,
        since: Timestamp,
        after: Option<&ApprovalId>,
        limit: u32,
    ) -> Result<Vec<AskedCall>> {
        let after = after.map_or_else(String::new, ToString::to_string);
        let rows = self
            .db
            .read()
            .await?
            .rows(
                "select a.id, a.agent, a.method, a.params from approvals a \
                  where a.id > $1 and a.created_at >= $2 and a.upstream = $3 order by a.id limit $4",
                args![after, since, upstream, limit],
            )
            .await?;
        rows.iter().map(asked).collect()
    }
}

fn counted(row: &Row) -> Result<CallCount> {
    let kind = row.text("kind")?;
    let became = match kind.as_str() {
        kind if kind == Kind::CallDenied.as_str() => Became::Denied,
        kind if kind == Kind::CallLimited.as_str() => Became::Limited,
        _ => Became::Allowed,
    };
    Ok(CallCount {
        agent: row.text("agent")?,
        method: row.opt_text("method")?.as_deref().map_or(Ok(Method::CallTool), method)?,
        tool: row.text("tool")?,
        became,
        count: row.int("n")?.unsigned_abs(),
    })
}

fn asked(row: &Row) -> Result<AskedCall> {
    let id = row.text("id")?;
    Ok(AskedCall {
        id: ApprovalId::parse(&id)
            .ok_or_else(|| StoreError::unreadable("id", "no id of an approval"))?,
        agent: row.text("agent")?,
        method: method(&row.text("method")?)?,
        params: row.text("params")?,
    })
}

fn method(text: &str) -> Result<Method> {
    Method::parse(text).ok_or_else(|| StoreError::unreadable("method", "no method"))
}
