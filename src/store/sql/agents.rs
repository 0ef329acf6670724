//! What is known of agents: how long their clients wait, and what they do now.

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::audit::AuditEvent;
use crate::domain::hold_budget::{HoldBudget, Learned};
use crate::domain::time::Timestamp;
use crate::store::agents::{Activity, AgentStore};
use crate::store::driver::{Db, Lock, Row, Tx, args};
use crate::store::{Result, StoreError};

use super::{SqlStore, audit};

const SELECT: &str = "select drops, learned_ms, learned_at from hold_budgets \
     where agent = $1 and progress = $2";

#[async_trait]
impl AgentStore for SqlStore {
    async fn hold_budget(&self, agent: &str, with_progress: bool) -> Result<HoldBudget> {
        hold_budget(self.db.clone(), agent.to_owned(), with_progress).await
    }

    async fn hold_dropped(
        &self,
        agent: &str,
        with_progress: bool,
        after: Duration,
        event: AuditEvent,
    ) -> Result<Option<Learned>> {
        let agent = agent.to_owned();
        self.run_for_agent(move |db| {
            hold_dropped(db, agent.clone(), with_progress, after, event.clone())
        })
        .await
    }

    async fn hold_answered(&self, agent: &str, with_progress: bool) -> Result<()> {
        // Holds end often and drops are rare: no write where there is nothing to break.
        if self.hold_budget(agent, with_progress).await?.drops.is_empty() {
            return Ok(());
        }
        let agent = agent.to_owned();
        self.run_for_agent(move |db| hold_answered(db, agent.clone(), with_progress)).await
    }

    async fn forget_hold_budget(&self, agent: &str, event: AuditEvent) -> Result<bool> {
        let agent = agent.to_owned();
        let sql = "delete from hold_budgets where agent = $1";
        self.run_for_agent(move |db| audit::recorded(db, sql, args![&agent], event.clone())).await
    }

    async fn activity(&self, agent: &str) -> Result<Activity> {
        activity(self.db.clone(), agent.to_owned()).await
    }
}

async fn hold_budget(db: Db, agent: String, progress: bool) -> Result<HoldBudget> {
    find(&mut db.read().await?, &agent, progress).await
}

async fn find(tx: &mut Tx, agent: &str, progress: bool) -> Result<HoldBudget> {
    let row = tx.row(SELECT, args![agent, progress]).await?;
    row.map_or_else(|| Ok(HoldBudget::default()), |row| read(&row, agent))
}

fn read(row: &Row, agent: &str) -> Result<HoldBudget> {
    let corrupt = |column| StoreError::corrupt("hold_budgets", column, agent, "not milliseconds");
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

async fn hold_dropped(
    db: Db,
    agent: String,
    progress: bool,
    after: Duration,
    event: AuditEvent,
) -> Result<Option<Learned>> {
    let now = event.at;
    let mut tx = db.begin_locked(Lock::HoldBudget(&agent)).await?;
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

async fn hold_answered(db: Db, agent: String, progress: bool) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute(
        "update hold_budgets set drops = '' where agent = $1 and progress = $2 and drops <> ''",
        args![&agent, progress],
    )
    .await?;
    tx.commit().await
}

async fn activity(db: Db, agent: String) -> Result<Activity> {
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
