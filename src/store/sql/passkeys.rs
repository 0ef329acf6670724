//! Passkeys and their ceremonies.

use async_trait::async_trait;

use crate::domain::audit::AuditEvent;
use crate::domain::time::Timestamp;
use crate::store::Result;
use crate::store::driver::{Db, Lock, Row, args};
use crate::store::passkeys::{Added, Ceremony, Passkey, PasskeyStore};

use super::{SqlStore, audit};

fn read(row: &Row) -> Result<Passkey> {
    Ok(Passkey {
        id: row.text("id")?,
        reviewer: row.text("reviewer")?,
        name: row.text("name")?,
        handle: row.text("handle")?,
        public_key: row.text("public_key")?,
        state: row.text("state")?,
        created_at: Timestamp::from_micros(row.int("created_at")?),
        used_at: row.opt_int("used_at")?.map(Timestamp::from_micros),
        entry: row.opt_text("entry")?.unwrap_or_default(),
    })
}

async fn add(db: Db, key: Passkey, max: u32, event: AuditEvent) -> Result<Added> {
    let mut tx = db.begin_locked(Lock::Passkeys(&key.reviewer)).await?;
    let own = "select count(*) as n from passkeys where reviewer = $1";
    if tx.count(own, args![&key.reviewer]).await? >= i64::from(max) {
        tx.rollback().await?;
        return Ok(Added::TooMany);
    }
    let added = tx
        .execute(
            "insert into passkeys \
             (id, reviewer, name, handle, public_key, state, created_at, entry) \
             values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (id) do nothing",
            args![
                &key.id,
                &key.reviewer,
                &key.name,
                &key.handle,
                &key.public_key,
                &key.state,
                key.created_at,
                &key.entry
            ],
        )
        .await?;
    if added == 0 {
        tx.rollback().await?;
        return Ok(Added::Known);
    }
    audit::insert(&mut tx, &[event]).await?;
    tx.commit().await?;
    Ok(Added::Done)
}

async fn begin(db: Db, c: Ceremony) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute(
        "insert into ceremonies (challenge, reviewer, approval, digest, state, expires_at) \
         values ($1, $2, $3, $4, $5, $6) \
         on conflict (reviewer, approval) do update set challenge = excluded.challenge, \
            digest = excluded.digest, state = excluded.state, expires_at = excluded.expires_at",
        args![
            c.challenge,
            c.reviewer,
            c.approval.unwrap_or_default(),
            c.digest,
            c.state,
            c.expires_at
        ],
    )
    .await?;
    tx.commit().await
}

async fn take(
    db: Db,
    challenge: String,
    reviewer: String,
    now: Timestamp,
) -> Result<Option<Ceremony>> {
    let mut tx = db.begin().await?;
    let row = tx
        .row(
            "delete from ceremonies where challenge = $1 and reviewer = $2 and expires_at > $3 \
             returning challenge, reviewer, approval, digest, state, expires_at",
            args![challenge, reviewer, now],
        )
        .await?;
    let ceremony = row
        .map(|row| {
            let approval = row.text("approval")?;
            Ok(Ceremony {
                challenge: row.text("challenge")?,
                reviewer: row.text("reviewer")?,
                approval: (!approval.is_empty()).then_some(approval),
                digest: row.text("digest")?,
                state: row.text("state")?,
                expires_at: Timestamp::from_micros(row.int("expires_at")?),
            })
        })
        .transpose();
    tx.commit().await?;
    ceremony
}

#[async_trait]
impl PasskeyStore for SqlStore {
    async fn of(&self, reviewer: &str) -> Result<Vec<Passkey>> {
        let rows = self
            .db
            .read()
            .await?
            .rows(
                "select id, reviewer, name, handle, public_key, state, created_at, used_at, entry \
                   from passkeys where reviewer = $1 order by created_at desc, id",
                args![reviewer],
            )
            .await?;
        rows.iter().map(read).collect()
    }

    async fn add(&self, passkey: &Passkey, max: u32, event: AuditEvent) -> Result<Added> {
        let passkey = passkey.clone();
        self.run(move |db| add(db, passkey.clone(), max, event.clone())).await
    }

    async fn remove(&self, reviewer: &str, id: &str, event: AuditEvent) -> Result<bool> {
        let (reviewer, id) = (reviewer.to_owned(), id.to_owned());
        let sql = "delete from passkeys where reviewer = $1 and id = $2";
        self.run(move |db| audit::recorded(db, sql, args![&reviewer, &id], event.clone())).await
    }

    async fn begin(&self, ceremony: &Ceremony) -> Result<()> {
        let ceremony = ceremony.clone();
        self.run(move |db| begin(db, ceremony.clone())).await
    }

    async fn take(
        &self,
        challenge: &str,
        reviewer: &str,
        now: Timestamp,
    ) -> Result<Option<Ceremony>> {
        let (challenge, reviewer) = (challenge.to_owned(), reviewer.to_owned());
        self.run(move |db| take(db, challenge.clone(), reviewer.clone(), now)).await
    }

    async fn used(&self, before: &Passkey, state: &str, event: AuditEvent) -> Result<bool> {
        // A counter that went up meanwhile was somebody else's use.
        let sql = "update passkeys set state = $4, used_at = $5 \
                    where id = $1 and reviewer = $2 and state = $3";
        let values = args![&before.id, &before.reviewer, &before.state, state, event.at];
        self.run(move |db| audit::recorded(db, sql, values.clone(), event.clone())).await
    }
}
