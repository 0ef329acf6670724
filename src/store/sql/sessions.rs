//! Sign-in links and sessions of reviewers, by the hashes of their tokens.

use async_trait::async_trait;

use crate::domain::audit::{AuditEvent, Kind};
use crate::domain::time::Timestamp;
use crate::store::Result;
use crate::store::driver::{Db, Row, Tx, args};
use crate::store::sessions::{Session, SessionStore, SignIn};

use super::readable::Named;
use super::{SqlStore, audit};

/// Writing "seen" at every page would be a write per read; once a minute is enough for idleness.
pub(super) const SEEN_EVERY_S: u64 = 60;

#[async_trait]
impl SessionStore for SqlStore {
    async fn insert_sign_in(
        &self,
        hash: &str,
        sign_in: &SignIn,
        expires_at: Timestamp,
        event: Option<AuditEvent>,
    ) -> Result<()> {
        let (hash, sign_in) = (hash.to_owned(), sign_in.clone());
        self.run(move |db| {
            insert_sign_in(db, hash.clone(), sign_in.clone(), expires_at, event.clone())
        })
        .await
    }

    async fn find_sign_in(&self, hash: &str, now: Timestamp) -> Result<Option<SignIn>> {
        find_sign_in(self.db.clone(), hash.to_owned(), now).await
    }

    async fn consume_sign_in(&self, hash: &str, session: &Session, now: Timestamp) -> Result<bool> {
        let (hash, session) = (hash.to_owned(), session.clone());
        self.run(move |db| consume_sign_in(db, hash.clone(), session.clone(), now)).await
    }

    async fn insert(&self, session: &Session) -> Result<()> {
        let session = session.clone();
        self.run(move |db| insert(db, session.clone())).await
    }

    async fn find(
        &self,
        hash: &str,
        idle_since: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Session>> {
        let hash = hash.to_owned();
        self.run(move |db| find(db, hash.clone(), idle_since, now)).await
    }

    async fn delete(&self, hash: &str) -> Result<()> {
        let hash = hash.to_owned();
        self.run(move |db| delete(db, hash.clone())).await
    }

    async fn of(&self, reviewer: &str, idle_since: Timestamp) -> Result<Vec<Session>> {
        let rows = self
            .db
            .read()
            .await?
            .rows(
                "select hash, reviewer, via, client, created_at, seen_at, entry from sessions \
                  where reviewer = $1 and seen_at > $2 order by created_at desc, hash",
                args![reviewer, idle_since],
            )
            .await?;
        Named { table: "sessions", by: "hash" }.readable(&rows, read_session)
    }

    async fn end(&self, reviewer: &str, handle: &str, event: AuditEvent) -> Result<bool> {
        let (reviewer, handle) = (reviewer.to_owned(), handle.to_owned());
        let sql = "delete from sessions where reviewer = $1 and substr(hash, 1, 24) = $2";
        self.run(move |db| audit::recorded(db, sql, args![&reviewer, &handle], event.clone())).await
    }
}

async fn insert_sign_in(
    db: Db,
    hash: String,
    sign_in: SignIn,
    expires_at: Timestamp,
    event: Option<AuditEvent>,
) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute(
        "insert into sign_ins (hash, reviewer, via, entry, expires_at) values ($1, $2, $3, $4, $5)",
        args![hash, sign_in.reviewer, sign_in.via, sign_in.entry, expires_at],
    )
    .await?;
    audit::insert(&mut tx, event.as_slice()).await?;
    tx.commit().await
}

async fn find_sign_in(db: Db, hash: String, now: Timestamp) -> Result<Option<SignIn>> {
    let row = db
        .read()
        .await?
        .row(
            "select reviewer, via, entry from sign_ins \
              where hash = $1 and used_at is null and expires_at > $2",
            args![hash, now],
        )
        .await?;
    row.map(|row| {
        let entry = row.opt_text("entry")?.unwrap_or_default();
        Ok(SignIn { reviewer: row.text("reviewer")?, via: row.text("via")?, entry })
    })
    .transpose()
}

async fn consume_sign_in(db: Db, hash: String, session: Session, now: Timestamp) -> Result<bool> {
    let mut tx = db.begin().await?;
    let used = tx
        .execute(
            "update sign_ins set used_at = $2 \
              where hash = $1 and used_at is null and expires_at > $2 and reviewer = $3",
            args![hash, now, &session.reviewer],
        )
        .await?;
    if used == 0 {
        tx.rollback().await?;
        return Ok(false);
    }
    add_session(&mut tx, &session).await?;
    tx.commit().await?;
    Ok(true)
}

async fn insert(db: Db, session: Session) -> Result<()> {
    let mut tx = db.begin().await?;
    add_session(&mut tx, &session).await?;
    tx.commit().await
}

/// Makes a session, with its audit record.
///
/// # Errors
/// [`crate::store::StoreError`], when the database refuses.
pub(super) async fn add_session(tx: &mut Tx, session: &Session) -> Result<()> {
    tx.execute(
        "insert into sessions (hash, reviewer, via, client, created_at, seen_at, entry) \
         values ($1, $2, $3, $4, $5, $6, $7)",
        args![
            &session.hash,
            &session.reviewer,
            &session.via,
            session.client.clone(),
            session.created_at,
            session.seen_at,
            &session.entry
        ],
    )
    .await?;
    let event = AuditEvent::new(Kind::SignedIn, &session.reviewer, session.created_at)
        .with("via", &session.via);
    audit::insert(tx, &[event]).await
}

async fn find(
    db: Db,
    hash: String,
    idle_since: Timestamp,
    now: Timestamp,
) -> Result<Option<Session>> {
    let row = db
        .read()
        .await?
        .row(
            "select hash, reviewer, via, client, created_at, seen_at, entry from sessions \
              where hash = $1 and seen_at > $2",
            args![&hash, idle_since],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let session = read_session(&row)?;
    if session.seen_at.until(now).as_secs() >= SEEN_EVERY_S {
        // Who can't be written down as seen is signed in all the same.
        if let Err(error) = note_seen(db, &hash, now).await {
            tracing::debug!(%error, "a session could not be noted as seen");
        }
    }
    Ok(Some(session))
}

async fn note_seen(db: Db, hash: &str, now: Timestamp) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute("update sessions set seen_at = $2 where hash = $1", args![hash, now]).await?;
    tx.commit().await
}

fn read_session(row: &Row) -> Result<Session> {
    Ok(Session {
        hash: row.text("hash")?,
        reviewer: row.text("reviewer")?,
        via: row.text("via")?,
        client: row.opt_text("client")?,
        created_at: Timestamp::from_micros(row.int("created_at")?),
        seen_at: Timestamp::from_micros(row.int("seen_at")?),
        entry: row.opt_text("entry")?.unwrap_or_default(),
    })
}

async fn delete(db: Db, hash: String) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute("delete from sessions where hash = $1", args![hash]).await?;
    tx.commit().await
}
