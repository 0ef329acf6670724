//! Tokens, absences and wishes of people.

use async_trait::async_trait;

use crate::domain::absence::{Absence, fits};
use crate::domain::approval::Assurance;
use crate::domain::audit::AuditEvent;
use crate::domain::preferences::Preferences;
use crate::domain::time::Timestamp;
use crate::store::driver::{Arg, Db, Lock, Row, args};
use crate::store::settings::{NotEntered, PersonalToken, SettingsStore};
use crate::store::{Result, StoreError};

use super::readable::Named;
use super::sessions::SEEN_EVERY_S;
use super::{SqlStore, audit};

fn read_token(row: &Row) -> Result<PersonalToken> {
    let id = row.text("id")?;
    let scopes = serde_json::from_str(&row.text("scopes")?);
    Ok(PersonalToken {
        scopes: scopes
            .map_err(|_| StoreError::corrupt("tokens", "scopes", &id, "not a list of texts"))?,
        assurance: Assurance::parse(&row.text("assurance")?)
            .ok_or_else(|| StoreError::corrupt("tokens", "assurance", &id, "not an assurance"))?,
        id,
        reviewer: row.text("reviewer")?,
        name: row.text("name")?,
        created_at: Timestamp::from_micros(row.int("created_at")?),
        expires_at: Timestamp::from_micros(row.int("expires_at")?),
        used_at: row.opt_int("used_at")?.map(Timestamp::from_micros),
        entry: row.opt_text("entry")?.unwrap_or_default(),
    })
}

fn read_absence(row: &Row) -> Result<Absence> {
    Ok(Absence {
        id: row.text("id")?,
        reviewer: row.text("reviewer")?,
        delegate: row.text("delegate")?,
        from: Timestamp::from_micros(row.int("from_at")?),
        until: Timestamp::from_micros(row.int("until_at")?),
    })
}

async fn insert_token(
    db: Db,
    hash: String,
    token: PersonalToken,
    max: u32,
    event: AuditEvent,
) -> Result<bool> {
    let mut tx = db.begin_locked(Lock::Tokens(&token.reviewer)).await?;
    let good = "select count(*) as n from tokens where reviewer = $1 and expires_at > $2";
    if tx.count(good, args![&token.reviewer, token.created_at]).await? >= i64::from(max) {
        tx.rollback().await?;
        return Ok(false);
    }
    let scopes = serde_json::to_string(&token.scopes).expect("a list of texts serializes");
    tx.execute(
        "insert into tokens \
         (id, hash, reviewer, name, scopes, assurance, created_at, expires_at, entry) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        args![
            &token.id,
            hash,
            &token.reviewer,
            &token.name,
            scopes,
            token.assurance.as_str(),
            token.created_at,
            token.expires_at,
            &token.entry
        ],
    )
    .await?;
    audit::insert(&mut tx, &[event]).await?;
    tx.commit().await?;
    Ok(true)
}

async fn insert_absence(
    db: Db,
    absence: Absence,
    max: u32,
    event: AuditEvent,
) -> Result<std::result::Result<(), NotEntered>> {
    let now = event.at;
    let mut tx = db.begin_locked(Lock::Absences).await?;
    let rows = tx.rows(ABSENCES, args![now]).await?;
    let others = ABSENT.readable(&rows, read_absence)?;
    let own = others.iter().filter(|a| a.reviewer == absence.reviewer).count();
    if own as u64 >= u64::from(max) {
        tx.rollback().await?;
        return Ok(Err(NotEntered::TooMany));
    }
    if let Err(clash) = fits(&others, &absence, now) {
        tx.rollback().await?;
        return Ok(Err(NotEntered::Clash(clash)));
    }
    tx.execute(
        "insert into absences (id, reviewer, delegate, from_at, until_at, created_at) \
         values ($1, $2, $3, $4, $5, $6)",
        args![&absence.id, &absence.reviewer, &absence.delegate, absence.from, absence.until, now],
    )
    .await?;
    audit::insert(&mut tx, &[event]).await?;
    tx.commit().await?;
    Ok(Ok(()))
}

async fn execute(db: Db, sql: &'static str, values: Vec<Arg>) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute(sql, values).await?;
    tx.commit().await
}

const ABSENT: Named = Named { table: "absences", by: "id" };
const ABSENCES: &str = "select id, reviewer, delegate, from_at, until_at from absences \
     where until_at > $1 order by from_at, id";

#[async_trait]
impl SettingsStore for SqlStore {
    async fn insert_token(
        &self,
        hash: &str,
        token: &PersonalToken,
        max: u32,
        event: AuditEvent,
    ) -> Result<bool> {
        let (hash, token) = (hash.to_owned(), token.clone());
        self.run(move |db| insert_token(db, hash.clone(), token.clone(), max, event.clone())).await
    }

    async fn find_token(&self, hash: &str, now: Timestamp) -> Result<Option<PersonalToken>> {
        let row = self
            .db
            .read()
            .await?
            .row(
                "select id, reviewer, name, scopes, assurance, created_at, expires_at, used_at, entry \
                   from tokens \
                  where hash = $1 and expires_at > $2",
                args![hash, now],
            )
            .await?;
        let Some(token) = row.as_ref().map(read_token).transpose()? else { return Ok(None) };
        if token.used_at.is_none_or(|at| at.until(now).as_secs() >= SEEN_EVERY_S) {
            let sql = "update tokens set used_at = $2 where id = $1";
            let values = args![&token.id, now];
            // A token whose use can't be written down is good all the same.
            if let Err(error) = self.run(move |db| execute(db, sql, values.clone())).await {
                tracing::debug!(%error, "the use of a token could not be noted");
            }
        }
        Ok(Some(token))
    }

    async fn tokens(&self, reviewer: &str, now: Timestamp) -> Result<Vec<PersonalToken>> {
        let rows = self
            .db
            .read()
            .await?
            .rows(
                "select id, reviewer, name, scopes, assurance, created_at, expires_at, used_at, entry \
                   from tokens \
                  where reviewer = $1 and expires_at > $2 order by created_at desc, id",
                args![reviewer, now],
            )
            .await?;
        Named { table: "tokens", by: "id" }.readable(&rows, read_token)
    }

    async fn delete_token(&self, reviewer: &str, id: &str, event: AuditEvent) -> Result<bool> {
        let (reviewer, id) = (reviewer.to_owned(), id.to_owned());
        let sql = "delete from tokens where reviewer = $1 and id = $2";
        self.run(move |db| audit::recorded(db, sql, args![&reviewer, &id], event.clone())).await
    }

    async fn absences(&self, now: Timestamp) -> Result<Vec<Absence>> {
        let rows = self.db.read().await?.rows(ABSENCES, args![now]).await?;
        ABSENT.readable(&rows, read_absence)
    }

    async fn insert_absence(
        &self,
        absence: &Absence,
        max: u32,
        event: AuditEvent,
    ) -> Result<std::result::Result<(), NotEntered>> {
        let absence = absence.clone();
        self.run(move |db| insert_absence(db, absence.clone(), max, event.clone())).await
    }

    async fn delete_absence(&self, reviewer: &str, id: &str, event: AuditEvent) -> Result<bool> {
        let (reviewer, id) = (reviewer.to_owned(), id.to_owned());
        let sql = "delete from absences where reviewer = $1 and id = $2";
        self.run(move |db| audit::recorded(db, sql, args![&reviewer, &id], event.clone())).await
    }

    async fn preferences(&self) -> Result<Vec<(String, Preferences)>> {
        let rows =
            self.db.read().await?.rows("select reviewer, data from preferences", args![]).await?;
        let read = |row: &Row| {
            let reviewer = row.text("reviewer")?;
            let data = serde_json::from_str(&row.text("data")?);
            let data = data.map_err(|_| {
                StoreError::corrupt("preferences", "data", &reviewer, "not preferences")
            })?;
            Ok((reviewer, data))
        };
        Named { table: "preferences", by: "reviewer" }.readable(&rows, read)
    }

    async fn set_preferences(&self, reviewer: &str, wishes: &Preferences) -> Result<()> {
        let data = serde_json::to_string(wishes).expect("plain values serialize");
        let reviewer = reviewer.to_owned();
        let sql = "insert into preferences (reviewer, data) values ($1, $2) \
                   on conflict (reviewer) do update set data = excluded.data";
        let values = args![reviewer, data];
        self.run(move |db| execute(db, sql, values.clone())).await
    }
}
