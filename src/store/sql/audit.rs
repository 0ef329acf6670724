//! The audit: records inserted with the change they tell of, sealed in order afterwards.

use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::audit::{AuditEvent, GENESIS, Record};
use crate::domain::time::Timestamp;
use crate::store::audit::AuditStore;
use crate::store::driver::{Arg, Db, Lock, Row, Step, Tx, args};
use crate::store::{Result, StoreError};

use super::SqlStore;
use super::rowset::{Int, Rowset, Text};

/// Most unsealed records that are sealed before a group that is appended sealed. Where more lie there,
/// the sealer goes first and the group waits for it like all others: no transaction takes long.
const TAIL: u32 = 500;

#[async_trait]
impl AuditStore for SqlStore {
    async fn append(&self, events: Vec<AuditEvent>) -> Result<()> {
        let events = Arc::new(events);
        self.run(move |db| {
            let events = events.clone();
            async move { append(db, &events).await }
        })
        .await
    }

    async fn append_sealed(&self, events: Arc<Vec<AuditEvent>>) -> Result<()> {
        self.run(move |db| {
            let events = events.clone();
            async move { append_sealed(db, &events).await }
        })
        .await
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
    tx.all(steps(tx.is_postgres(), events)).await.map(drop)
}

/// The statements by which that is done. The records get their ids, in whose order they are sealed,
/// in the order of the list.
pub(super) fn steps<'e>(
    is_postgres: bool,
    events: impl IntoIterator<Item = &'e AuditEvent>,
) -> Vec<Step> {
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
    rows.steps(is_postgres, |rows| {
        format!(
            "insert into audit (at, kind, actor, approval, data) \
             select r.at, r.kind, r.actor, r.approval, r.data from {rows}"
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

async fn append(db: Db, events: &[AuditEvent]) -> Result<()> {
    let mut tx = db.begin().await?;
    insert(&mut tx, events).await?;
    tx.commit().await
}

async fn append_sealed(db: Db, events: &[AuditEvent]) -> Result<()> {
    let mut tx = db.begin_locked(Lock::Seal).await?;
    let is_postgres = tx.is_postgres();
    let (mut head, tail) = open_end(&mut tx, TAIL + 1).await?;
    let written = if tail.len() > TAIL as usize {
        steps(is_postgres, events)
    } else {
        let mut written = head.seals(is_postgres, tail);
        written.extend(head.inserts(is_postgres, events));
        written
    };
    tx.all(written).await?;
    tx.commit().await
}

async fn seal(db: Db, limit: u32) -> Result<u32> {
    let unsealed = "select count(*) as n from audit where seq is null";
    if db.read().await?.count(unsealed, args![]).await? == 0 {
        return Ok(0);
    }
    let mut tx = db.begin_locked(Lock::Seal).await?;
    let (mut head, tail) = open_end(&mut tx, limit).await?;
    let sealed = u32::try_from(tail.len()).unwrap_or(u32::MAX);
    let seals = head.seals(tx.is_postgres(), tail);
    tx.all(seals).await?;
    tx.commit().await?;
    Ok(sealed)
}

/// The last record of the chain, and up to `limit` records with their ids that are not sealed yet,
/// in the order in which they will be.
async fn open_end(tx: &mut Tx, limit: u32) -> Result<(Head, Vec<(i64, Record)>)> {
    let steps = vec![
        Step::new(
            "select seq, hash from audit where seq is not null order by seq desc limit 1",
            args![],
        ),
        Step::new(
            "select id, at, kind, actor, approval, data from audit where seq is null \
              order by id limit $1",
            args![limit],
        ),
    ];
    let mut done = tx.all(steps).await?.into_iter();
    let mut rows = || done.next().map(|ran| ran.rows).unwrap_or_default();
    let head = match rows().first() {
        Some(row) => Head { seq: row.int("seq")?, hash: row.text("hash")? },
        None => Head { seq: 0, hash: GENESIS.to_owned() },
    };
    let mut tail = Vec::new();
    for row in rows() {
        let record = Record {
            seq: 0,
            at: Timestamp::from_micros(row.int("at")?),
            kind: row.text("kind")?,
            actor: row.text("actor")?,
            approval: row.opt_text("approval")?,
            data: row.text("data")?,
            prev: String::new(),
            hash: String::new(),
        };
        tail.push((row.int("id")?, record));
    }
    Ok((head, tail))
}

/// The last record of the chain. Nobody else adds to it: the seal's lock is held.
struct Head {
    seq: i64,
    hash: String,
}

impl Head {
    /// Gives a record its place.
    fn link(&mut self, record: &mut Record) {
        self.seq += 1;
        record.seq = self.seq;
        record.prev = std::mem::take(&mut self.hash);
        record.hash = record.compute_hash();
        self.hash.clone_from(&record.hash);
    }

    /// The statements by which records that are stored get their places.
    fn seals(&mut self, is_postgres: bool, tail: Vec<(i64, Record)>) -> Vec<Step> {
        let mut rows = Rowset::of(&[("id", Int), ("seq", Int), ("prev", Text), ("hash", Text)]);
        for (id, mut record) in tail {
            self.link(&mut record);
            rows.push(args![id, record.seq, record.prev, record.hash]);
        }
        rows.steps(is_postgres, |rows| {
            format!(
                "update audit set seq = r.seq, prev = r.prev, hash = r.hash from {rows} \
                  where audit.id = r.id"
            )
        })
    }

    /// The statements by which new records are stored with their places.
    fn inserts(&mut self, is_postgres: bool, events: &[AuditEvent]) -> Vec<Step> {
        let mut rows = Rowset::of(&[
            ("seq", Int),
            ("at", Int),
            ("kind", Text),
            ("actor", Text),
            ("approval", Text),
            ("data", Text),
            ("prev", Text),
            ("hash", Text),
        ]);
        for event in events {
            // What is hashed is what will be read again.
            let mut record = Record {
                seq: 0,
                at: event.at,
                kind: event.kind.as_str().to_owned(),
                actor: Arg::as_stored(event.actor.clone()),
                approval: event.approval.clone().map(Arg::as_stored),
                data: Arg::as_stored(event.data_json()),
                prev: String::new(),
                hash: String::new(),
            };
            self.link(&mut record);
            let Record { seq, at, kind, actor, approval, data, prev, hash } = record;
            rows.push(args![seq, at, kind, actor, approval, data, prev, hash]);
        }
        rows.steps(is_postgres, |rows| {
            format!(
                "insert into audit (seq, at, kind, actor, approval, data, prev, hash) \
                 select r.seq, r.at, r.kind, r.actor, r.approval, r.data, r.prev, r.hash from {rows}"
            )
        })
    }
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
