//! The audit: records inserted with the change they tell of, sealed in order afterwards.

use async_trait::async_trait;
use sqlx::AssertSqlSafe;

use crate::domain::audit::{AuditEvent, GENESIS, Record};
use crate::domain::time::Timestamp;
use crate::store::audit::AuditStore;
use crate::store::driver::{Arg, Db, Lock, Row, Step, Tx, args};
use crate::store::{Result, StoreError};

use super::SqlStore;
use super::rowset::{Int, Rowset, Text};

#[async_trait]
impl AuditStore for SqlStore {
    async fn append(&self, events: Vec<AuditEvent>) -> Result<()> {
        self.run(move |db| append(db, events.clone())).await
    }

    async fn seal(&self, limit: u32) -> Result<u32> {
        self.run(move |db| seal(db, limit)).await
    }

    async fn list(&self, after: i64, limit: u32) -> Result<Vec<Record>> {
        list(self.db.clone(), after, limit).await
    }

    async fn unsealed(&self) -> Result<i64> {
        unsealed(self.db.clone()).await
    }
}

/// Inserts audit records in the transaction of the change they tell of.
///
/// # Errors
/// [`crate::store::StoreError`], when the database refuses.
pub(super) async fn insert(
    tx: &mut Tx,
    events: impl IntoIterator<Item = &AuditEvent>,
) -> Result<()> {
    let mut rows = Rowset::of(&[
        ("at", Int),
        ("kind", Text),
        ("actor", Text),
        ("approval", Text),
        ("data", Text),
    ]);
    for event in events {
        let (kind, approval) = (event.kind.as_str(), event.approval.clone());
        rows.push(args![event.at, kind, &event.actor, approval, event.data_json()]);
    }
    if rows.is_empty() {
        return Ok(());
    }
    // They get their ids, in whose order they are sealed, in the order of the list.
    let sql = format!(
        "insert into audit (at, kind, actor, approval, data) \
         select r.at, r.kind, r.actor, r.approval, r.data from {}",
        rows.source(tx, 1)
    );
    tx.execute(AssertSqlSafe(sql), vec![rows.argument()]).await.map(drop)
}

/// The statements by which that is done.
pub(super) fn steps(events: &[AuditEvent]) -> impl Iterator<Item = Step> {
    events.iter().map(|event| {
        Step::new(
            "insert into audit (at, kind, actor, approval, data) values ($1, $2, $3, $4, $5)",
            args![
                event.at,
                event.kind.as_str(),
                &event.actor,
                event.approval.clone(),
                event.data_json()
            ],
        )
    })
}

/// Executes one statement with its record; false, and no record, where it changed nothing.
///
/// # Errors
/// [`crate::store::StoreError`], when the database refuses; then neither is stored.
pub(super) async fn recorded(
    db: Db,
    sql: impl sqlx::SqlSafeStr,
    values: Vec<Arg>,
    event: AuditEvent,
) -> Result<bool> {
    let mut tx = db.begin().await?;
    if tx.execute(sql, values).await? == 0 {
        tx.rollback().await?;
        return Ok(false);
    }
    insert(&mut tx, &[event]).await?;
    tx.commit().await?;
    Ok(true)
}

async fn append(db: Db, events: Vec<AuditEvent>) -> Result<()> {
    let mut tx = db.begin().await?;
    insert(&mut tx, &events).await?;
    tx.commit().await
}

async fn seal(db: Db, limit: u32) -> Result<u32> {
    let unsealed = "select count(*) as n from audit where seq is null";
    if db.read().await?.count(unsealed, args![]).await? == 0 {
        return Ok(0);
    }
    let mut tx = db.begin_locked(Lock::Seal).await?;
    let head = tx
        .row("select seq, hash from audit where seq is not null order by seq desc limit 1", args![])
        .await?;
    let (mut seq, mut prev) = match head {
        Some(row) => (row.int("seq")?, row.text("hash")?),
        None => (0, GENESIS.to_owned()),
    };
    let rows = tx
        .rows(
            "select id, at, kind, actor, approval, data from audit where seq is null \
              order by id limit $1",
            args![limit],
        )
        .await?;
    let mut sealed = Vec::with_capacity(rows.len());
    for row in &rows {
        seq += 1;
        let mut record = Record {
            seq,
            at: Timestamp::from_micros(row.int("at")?),
            kind: row.text("kind")?,
            actor: row.text("actor")?,
            approval: row.opt_text("approval")?,
            data: row.text("data")?,
            prev,
            hash: String::new(),
        };
        record.hash = record.compute_hash();
        sealed.push(Step::new(
            "update audit set seq = $2, prev = $3, hash = $4 where id = $1",
            args![row.int("id")?, seq, &record.prev, &record.hash],
        ));
        prev = record.hash;
    }
    tx.all(sealed).await?;
    tx.commit().await?;
    Ok(u32::try_from(rows.len()).unwrap_or(u32::MAX))
}

async fn list(db: Db, after: i64, limit: u32) -> Result<Vec<Record>> {
    let rows = db
        .read()
        .await?
        .rows(
            "select seq, at, kind, actor, approval, data, prev, hash from audit \
              where seq > $1 order by seq limit $2",
            args![after, limit],
        )
        .await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Record> {
    Ok::<_, StoreError>(Record {
        seq: row.int("seq")?,
        at: Timestamp::from_micros(row.int("at")?),
        kind: row.text("kind")?,
        actor: row.text("actor")?,
        approval: row.opt_text("approval")?,
        data: row.text("data")?,
        prev: row.opt_text("prev")?.unwrap_or_default(),
        hash: row.opt_text("hash")?.unwrap_or_default(),
    })
}

async fn unsealed(db: Db) -> Result<i64> {
    db.read().await?.count("select count(*) as n from audit where seq is null", args![]).await
}
