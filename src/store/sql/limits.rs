//! Limits that slide: uses are counted in a window, and how much of an agent's is spent.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::AssertSqlSafe;

use crate::domain::time::Timestamp;
use crate::store::Result;
use crate::store::driver::{Db, Lock, Tx, args};
use crate::store::limits::{Counted, LimitKey, LimitStore, Spent};

use super::{SqlStore, counts};

/// What counts against a limit: the uses of its own key ($1); those of all sessions ($2) that came
/// until one began ($3), and later ones without a session ($4). None is older than $5.
const COUNTED: &str = "at > $5 and \
     (key = $1 or (key = $2 and at <= $3) or (key = $4 and at > $3))";

/// How long every use is kept.
pub(super) const KEPT: Duration = Duration::from_secs(31 * 86_400);

/// Counts one use in the window, unless it is full: then milliseconds until a place is free. A use
/// of one session is counted for all of the agent's too ([`LimitKey::beside`]).
///
/// # Errors
/// [`crate::store::StoreError`], when the database refuses.
pub(super) async fn use_limit(
    tx: &mut Tx,
    key: &LimitKey,
    max: u32,
    since: Timestamp,
    now: Timestamp,
) -> Result<Option<u64>> {
    let keep_until = keep_until(key, since, now);
    let beside = key.beside();
    let all = beside.as_ref().map(|b| b.all.to_string());
    let key = &key.to_string();
    for key in [Some(key), all.as_ref()].into_iter().flatten() {
        tx.execute("delete from rate_uses where key = $1 and at <= $2", args![key, since]).await?;
    }
    let (own, until, token) = match beside.map(|b| b.counted) {
        None => (key.as_str(), i64::MIN, String::new()),
        // Its own are among those of all.
        Some(Counted::All) => ("", i64::MAX, String::new()),
        Some(Counted::Before(began, token)) => {
            (key.as_str(), began.map_or(i64::MIN, Timestamp::micros), token.to_string())
        }
    };
    let others = all.as_deref().unwrap_or_default();
    let n = tx
        .count(
            AssertSqlSafe(format!("select count(*) as n from rate_uses where {COUNTED}")),
            args![own, others, until, &token, since],
        )
        .await?;
    if n >= i64::from(max) {
        // With so many too many, a place is free once all of these have left the window.
        let row = tx
            .row(
                AssertSqlSafe(format!(
                    "select at from rate_uses where {COUNTED} order by at limit 1 offset $6"
                )),
                args![own, others, until, &token, since, n - i64::from(max)],
            )
            .await?;
        let leaves = row.map_or(Ok(now.micros()), |row| row.int("at"))?;
        return Ok(Some((leaves - since.micros()).max(0).unsigned_abs() / 1000 + 1));
    }
    for key in [Some(key), all.as_ref()].into_iter().flatten() {
        let sql = "insert into rate_uses (key, at, keep_until) values ($1, $2, $3)";
        tx.execute(sql, args![key, now, keep_until]).await?;
    }
    Ok(None)
}

/// Until when a use is kept, where that is longer than all are.
fn keep_until(key: &LimitKey, since: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let window = since.until(now);
    (matches!(key, LimitKey::Calls { .. }) && window > KEPT).then(|| now.plus(window))
}

#[async_trait]
impl LimitStore for SqlStore {
    async fn take(
        &self,
        key: &LimitKey,
        max: u32,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<Option<u64>> {
        let key = key.clone();
        self.run_for_agent(move |db| take(db, key.clone(), max, since, now)).await
    }

    async fn give_back(&self, key: &LimitKey) -> Result<()> {
        let key = key.to_string();
        self.run_for_agent(move |db| give_back(db, key.clone())).await
    }

    async fn spent(
        &self,
        agent: &str,
        new_since: Timestamp,
        limit: Option<(LimitKey, Timestamp)>,
    ) -> Result<Spent> {
        let agent = agent.to_owned();
        self.run_for_agent(move |db| spent(db, agent.clone(), new_since, limit.clone())).await
    }
}

async fn take(
    db: Db,
    key: LimitKey,
    max: u32,
    since: Timestamp,
    now: Timestamp,
) -> Result<Option<u64>> {
    let mut tx = db.begin_locked(Lock::Uses(&key.shared())).await?;
    let wait = use_limit(&mut tx, &key, max, since, now).await?;
    tx.commit().await?;
    Ok(wait)
}

async fn spent(
    db: Db,
    agent: String,
    new_since: Timestamp,
    limit: Option<(LimitKey, Timestamp)>,
) -> Result<Spent> {
    let mut tx = db.read().await?;
    let open = counts::open_of(&mut tx, &agent).await?;
    let new = tx
        .count(
            "select count(*) as n from approvals where agent = $1 and created_at > $2",
            args![agent.as_str(), new_since],
        )
        .await?;
    let limited = match limit {
        Some((key, since)) => Some(
            tx.count(
                "select count(*) as n from rate_uses where key = $1 and at > $2",
                args![key.to_string(), since],
            )
            .await?,
        ),
        None => None,
    };
    Ok(Spent { open, new, limited })
}

async fn give_back(db: Db, key: String) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute(
        "delete from rate_uses \
          where key = $1 and at = (select max(at) from rate_uses where key = $1)",
        args![key],
    )
    .await?;
    tx.commit().await
}
