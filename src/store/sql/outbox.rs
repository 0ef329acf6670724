//! The outbox: what must still be sent, and every attempt at it.

use std::collections::HashMap;

use async_trait::async_trait;

use crate::domain::approval::ApprovalId;
use crate::domain::time::Timestamp;
use crate::store::Result;
use crate::store::driver::{Arg, Db, Row, Step, Tx, args};
use crate::store::outbox::{Attempt, AttemptRecord, Delivery, Lane, NewDelivery, OutboxStore};

use super::SqlStore;
use super::readable::Named;
use super::rowset::{Int, Rowset, Text};

#[async_trait]
impl OutboxStore for SqlStore {
    async fn take_over(&self, now: Timestamp) -> Result<u64> {
        self.run(move |db| take_over(db, now)).await
    }

    async fn due(&self, now: Timestamp) -> Result<Vec<String>> {
        // By time, in which only what is due is looked at; not by name, in which all would be.
        let sql = "select distinct notifier || '' as notifier from outbox \
                    where state = 'due' and due_at <= $1";
        let rows = self.db.read().await?.rows(sql, args![now]).await?;
        rows.iter().map(|row| row.text("notifier")).collect()
    }

    async fn claim(
        &self,
        lane: &Lane,
        now: Timestamp,
        lease_until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Delivery>> {
        let lane = lane.clone();
        self.run(move |db| claim(db, lane.clone(), now, lease_until, limit)).await
    }

    async fn record_attempt(
        &self,
        delivery: &str,
        attempt: &Attempt,
        now: Timestamp,
    ) -> Result<()> {
        let (delivery, attempt) = (delivery.to_owned(), attempt.clone());
        self.run(move |db| record_attempt(db, delivery.clone(), attempt.clone(), now)).await
    }

    async fn enqueue(&self, deliveries: Vec<NewDelivery>, now: Timestamp) -> Result<()> {
        self.run(move |db| enqueue(db, deliveries.clone(), now)).await
    }

    async fn attempts(&self, approval: &ApprovalId) -> Result<Vec<AttemptRecord>> {
        attempts(self.db.clone(), approval.clone()).await
    }

    async fn delivered_since(
        &self,
        recipient: &str,
        topic: &str,
        since: Timestamp,
    ) -> Result<HashMap<String, i64>> {
        let (recipient, topic) = (recipient.to_owned(), topic.to_owned());
        delivered_since(self.db.clone(), recipient, topic, since).await
    }

    async fn attempt_counts(&self) -> Result<Vec<(String, String, i64)>> {
        attempt_counts(self.db.clone()).await
    }
}

/// A delivery that is there already is the same message; it is not sent twice.
///
/// # Errors
/// [`crate::store::StoreError`], when the database refuses.
pub(super) async fn insert(tx: &mut Tx, deliveries: &[NewDelivery], now: Timestamp) -> Result<()> {
    let all = deliveries.iter().map(|delivery| (delivery, now));
    tx.all(steps(tx.is_postgres(), all)).await.map(drop)
}

/// The statements by which that is done, each delivery written at its own time.
pub(super) fn steps<'d>(
    is_postgres: bool,
    deliveries: impl IntoIterator<Item = (&'d NewDelivery, Timestamp)>,
) -> Vec<Step> {
    let mut rows = Rowset::of(&[
        ("id", Text),
        ("approval", Text),
        ("notifier", Text),
        ("topic", Text),
        ("recipient", Text),
        ("payload", Text),
        ("created_at", Int),
        ("due_at", Int),
        ("give_up_at", Int),
    ]);
    for (d, now) in deliveries {
        rows.push(args![
            &d.id,
            d.approval.as_ref().map(ToString::to_string),
            &d.notifier,
            &d.topic,
            d.recipient.clone(),
            d.payload.clone(),
            now,
            d.due_at,
            d.give_up_at
        ]);
    }
    rows.steps(is_postgres, |rows| {
        format!(
            "insert into outbox (id, approval, notifier, topic, recipient, payload, state, attempts, \
                                 created_at, due_at, give_up_at) \
             select r.id, r.approval, r.notifier, r.topic, r.recipient, r.payload, 'due', 0, \
                    r.created_at, r.due_at, r.give_up_at from {rows} where true \
             on conflict (id) do nothing"
        )
    })
}

async fn enqueue(db: Db, deliveries: Vec<NewDelivery>, now: Timestamp) -> Result<()> {
    let mut tx = db.begin().await?;
    insert(&mut tx, &deliveries, now).await?;
    tx.commit().await
}

/// What dead processes were sending is due at once, before its lease is over.
async fn take_over(db: Db, now: Timestamp) -> Result<u64> {
    const DEAD: &str = "state = 'due' and node is not null and node not in \
                        (select id from nodes where lease_expires_at > $1)";
    let some = sqlx::AssertSqlSafe(format!("select count(*) as n from outbox where {DEAD}"));
    if db.read().await?.count(some, args![now]).await? == 0 {
        return Ok(0);
    }
    let mut tx = db.begin().await?;
    let sql =
        sqlx::AssertSqlSafe(format!("update outbox set node = null, due_at = $1 where {DEAD}"));
    let taken = tx.execute(sql, args![now]).await?;
    tx.commit().await?;
    Ok(taken)
}

/// The lease is `due_at` moved on: a deliverer that hangs leaves the row due again. Of two who
/// choose the same row at once, the second finds it moved.
async fn claim(
    db: Db,
    lane: Lane,
    now: Timestamp,
    lease_until: Timestamp,
    limit: u32,
) -> Result<Vec<Delivery>> {
    let mut values: Vec<Arg> = args![now, lease_until, limit, &lane.node, &lane.notifier];
    let busy: Vec<String> = lane
        .busy
        .iter()
        .map(|recipient| {
            values.push(recipient.into());
            format!("${}", values.len())
        })
        .collect();
    let idle = if busy.is_empty() {
        String::new()
    } else {
        format!("and (recipient is null or recipient not in ({}))", busy.join(", "))
    };
    let sql = format!(
        "update outbox set due_at = $2, node = $4 \
          where state = 'due' and due_at <= $1 and id in \
                (select id from (select id, due_at, attempts, row_number() over \
                           (partition by coalesce(recipient, id) order by due_at, id) as place \
                           from outbox \
                          where state = 'due' and due_at <= $1 and notifier = $5 {idle}) l \
                  where place = 1 \
                  order by case when attempts = 0 then 0 else 1 end, due_at, id limit $3) \
         returning *"
    );
    let mut tx = db.begin().await?;
    let rows = tx.rows(sqlx::AssertSqlSafe(sql), values).await?;
    let claimed = Named::OUTBOX.readable(&rows, read)?;
    tx.commit().await?;
    Ok(claimed)
}

fn read(row: &Row) -> Result<Delivery> {
    Ok(Delivery {
        new: NewDelivery {
            id: row.text("id")?,
            approval: row.opt_text("approval")?.as_deref().and_then(ApprovalId::parse),
            notifier: row.text("notifier")?,
            topic: row.text("topic")?,
            recipient: row.opt_text("recipient")?,
            payload: row.opt_text("payload")?,
            due_at: Timestamp::from_micros(row.int("due_at")?),
            give_up_at: Timestamp::from_micros(row.int("give_up_at")?),
        },
        attempts: u32::try_from(row.int("attempts")?).unwrap_or(u32::MAX),
        created_at: Timestamp::from_micros(row.int("created_at")?),
    })
}

async fn record_attempt(db: Db, delivery: String, attempt: Attempt, now: Timestamp) -> Result<()> {
    let mut tx = db.begin().await?;
    let (result, detail, state, next) = match &attempt {
        Attempt::Delivered { detail } => ("delivered", detail, "delivered", None),
        Attempt::Failed { detail, next } => ("failed", detail, "due", Some(*next)),
        Attempt::Dropped { detail } => ("dropped", detail, "dropped", None),
    };
    tx.all(vec![
        Step::new(
            "insert into attempts (delivery, number, at, result, detail) \
             select $1, coalesce(max(number), 0) + 1, $2, $3, $4 from attempts where delivery = $1",
            args![&delivery, now, result, detail],
        ),
        Step::new(
            "update outbox set state = $2, attempts = attempts + 1, \
                    due_at = coalesce(cast($3 as bigint), due_at), finished_at = $4, node = null \
              where id = $1 and state = 'due'",
            args![&delivery, state, next, next.is_none().then_some(now)],
        ),
    ])
    .await?;
    tx.commit().await
}

async fn attempts(db: Db, approval: ApprovalId) -> Result<Vec<AttemptRecord>> {
    let rows = db
        .read()
        .await?
        .rows(
            "select t.delivery, o.notifier, o.topic, o.recipient, t.at, t.result, t.detail \
               from attempts t join outbox o on o.id = t.delivery \
              where o.approval = $1 order by t.at, t.delivery, t.number",
            args![approval.as_str()],
        )
        .await?;
    Named { table: "attempts", by: "delivery" }.readable(&rows, |row| {
        Ok(AttemptRecord {
            delivery: row.text("delivery")?,
            notifier: row.text("notifier")?,
            topic: row.text("topic")?,
            recipient: row.opt_text("recipient")?,
            at: Timestamp::from_micros(row.int("at")?),
            result: row.text("result")?,
            detail: row.text("detail")?,
        })
    })
}

async fn delivered_since(
    db: Db,
    recipient: String,
    topic: String,
    since: Timestamp,
) -> Result<HashMap<String, i64>> {
    let rows = db
        .read()
        .await?
        .rows(
            "select coalesce(a.agent, '') as agent, count(*) as n \
               from outbox o left join approvals a on a.id = o.approval \
              where o.state = 'delivered' and o.recipient = $1 and o.topic = $2 \
                and o.finished_at > $3 \
              group by coalesce(a.agent, '')",
            args![recipient, topic, since],
        )
        .await?;
    rows.iter().map(|row| Ok((row.text("agent")?, row.int("n")?))).collect()
}

async fn attempt_counts(db: Db) -> Result<Vec<(String, String, i64)>> {
    let rows = db
        .read()
        .await?
        .rows(
            "select notifier, result, cast(sum(n) as bigint) as n from attempt_counts \
              group by notifier, result having sum(n) > 0 order by notifier, result",
            args![],
        )
        .await?;
    rows.iter().map(|row| Ok((row.text("notifier")?, row.text("result")?, row.int("n")?))).collect()
}
