//! What is known of agents: how long their clients wait, and what they do now.

use std::time::Duration;

use crate::domain::audit::AuditEvent;
use crate::domain::hold_budget::{HoldBudget, Learned};
use crate::domain::time::Timestamp;
use crate::store::driver::{Db, Row, Tx, args};
use crate::store::{Activity, Result, StoreError};

use super::audit;

/// Advisory lock of those who read before they write what was learned.
const HOLD_BUDGET_LOCK: i64 = 0x706c_6163_6574_0004;

const SELECT: &str = "select drops, learned_ms, learned_at from hold_budgets \
     where agent = $1 and progress = $2";

pub(super) async fn hold_budget(db: Db, agent: String, progress: bool) -> Result<HoldBudget> {
    find(&mut db.read().await?, &agent, progress).await
}

async fn find(tx: &mut Tx, agent: &str, progress: bool) -> Result<HoldBudget> {
    let row = tx.row(SELECT, args![agent, progress]).await?;
    row.map_or_else(|| Ok(HoldBudget::default()), |row| read(&row, agent))
}

fn read(row: &Row, agent: &str) -> Result<HoldBudget> {
    let corrupt = |column: &'static str| StoreError::Corrupt {
        table: "hold_budgets",
        column,
        id: agent.to_owned(),
        what: "not milliseconds".to_owned(),
    };
    let drops = row.text("drops")?;
    let drops = drops.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>();
    let learned = match (row.opt_int("learned_ms")?, row.opt_int("learned_at")?) {
        (Some(ms), Some(at)) => Some(Learned {
            budget_ms: u64::try_from(ms).map_err(|_| corrupt("learned_ms"))?,
            at: Timestamp::from_micros(at),
        }),
        _ => None,
    };
    Ok(HoldBudget { drops: drops.map_err(|_| corrupt("drops"))?, learned })
}

pub(super) async fn hold_dropped(
    db: Db,
    agent: String,
    progress: bool,
    after: Duration,
    event: AuditEvent,
) -> Result<Option<Learned>> {
    let now = event.at;
    let mut tx = db.begin().await?;
    tx.lock(HOLD_BUDGET_LOCK).await?;
    let before = find(&mut tx, &agent, progress).await?;
    let known = before.clone().dropped(after, now);
    let drops: Vec<String> = known.drops.iter().map(u64::to_string).collect();
    let learned_ms = known.learned.map(|l| i64::try_from(l.budget_ms).unwrap_or(i64::MAX));
    tx.execute(
        "insert into hold_budgets (agent, progress, drops, learned_ms, learned_at) \
         values ($1, $2, $3, $4, $5) \
         on conflict (agent, progress) do update \
            set drops = excluded.drops, learned_ms = excluded.learned_ms, \
                learned_at = excluded.learned_at",
        args![&agent, progress, drops.join(" "), learned_ms, known.learned.map(|l| l.at)],
    )
    .await?;
    let new = known.learned.filter(|_| known.learned != before.learned);
    if let Some(learned) = new {
        let event = event.with_raw("budget_ms", learned.budget_ms.to_string());
        audit::insert(&mut tx, &[event]).await?;
    }
    tx.commit().await?;
    Ok(new)
}

pub(super) async fn hold_answered(db: Db, agent: String, progress: bool) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute(
        "update hold_budgets set drops = '' where agent = $1 and progress = $2 and drops <> ''",
        args![&agent, progress],
    )
    .await?;
    tx.commit().await
}

pub(super) async fn forget_hold_budget(db: Db, agent: String, event: AuditEvent) -> Result<bool> {
    let mut tx = db.begin().await?;
    let gone = tx.execute("delete from hold_budgets where agent = $1", args![&agent]).await?;
    if gone > 0 {
        audit::insert(&mut tx, &[event]).await?;
    }
    tx.commit().await?;
    Ok(gone > 0)
}

pub(super) async fn activity(db: Db, agent: String) -> Result<Activity> {
    let mut tx = db.read().await?;
    let waiting = |state: &'static str| args![&agent, state];
    let by_state = "select count(*) as n from approvals where agent = $1 and state = $2";
    let mut activity = Activity {
        sessions: tx
            .count("select count(*) as n from client_sessions where agent = $1", args![&agent])
            .await?,
        pending: tx.count(by_state, waiting("pending")).await?,
        approved: tx.count(by_state, waiting("approved")).await?,
        client: None,
        seen_at: None,
    };
    for sql in [
        "select client, created_at as at from approvals where agent = $1 \
          order by created_at desc limit 1",
        "select client, seen_at as at from client_sessions where agent = $1 \
          order by seen_at desc limit 1",
    ] {
        let Some(row) = tx.row(sql, args![&agent]).await? else { continue };
        let at = Timestamp::from_micros(row.int("at")?);
        if activity.seen_at.is_none_or(|seen| seen <= at) {
            activity.seen_at = Some(at);
            activity.client = row.opt_text("client")?;
        }
    }
    Ok(activity)
}
