//! Sessions of legacy MCP clients.

use std::collections::HashSet;

use async_trait::async_trait;

use crate::domain::time::Timestamp;
use crate::store::Result;
use crate::store::client_sessions::{ClientSession, ClientSessionStore};
use crate::store::driver::{Db, args};

use super::SqlStore;
use super::sessions::SEEN_EVERY_S;

/// Advisory lock of those who count client sessions before they add one.
const SESSION_LOCK: i64 = 0x706c_6163_6574_0003;

/// At the cap, a client session unseen for this long makes room for a new one: most
/// clients never say that they are gone.
const CLIENT_IDLE: std::time::Duration = std::time::Duration::from_secs(1_800);

#[async_trait]
impl ClientSessionStore for SqlStore {
    async fn insert(&self, session: &ClientSession, max: u32) -> Result<bool> {
        let session = session.clone();
        self.run(|db| insert(db, session, max)).await
    }

    async fn find(&self, id: &str, now: Timestamp) -> Result<Option<ClientSession>> {
        find(self.db.clone(), id.to_owned(), now).await
    }

    async fn ids(&self) -> Result<HashSet<String>> {
        let rows = self.db.read().await?.rows("select id from client_sessions", args![]).await?;
        rows.iter().map(|row| row.text("id")).collect()
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let id = id.to_owned();
        self.run(|db| delete(db, id)).await
    }
}

async fn insert(db: Db, session: ClientSession, max: u32) -> Result<bool> {
    let mut tx = db.begin().await?;
    tx.lock(SESSION_LOCK).await?;
    let open = "select count(*) as n from client_sessions where agent = $1";
    if tx.count(open, args![&session.agent]).await? >= i64::from(max) {
        tx.execute(
            "delete from client_sessions where agent = $1 and seen_at <= $2",
            args![&session.agent, session.created_at.minus(CLIENT_IDLE)],
        )
        .await?;
        if tx.count(open, args![&session.agent]).await? >= i64::from(max) {
            return Ok(false);
        }
    }
    tx.execute(
        "insert into client_sessions (id, agent, upstream, version, client, capabilities, \
                                      created_at, seen_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $7)",
        args![
            &session.id,
            &session.agent,
            &session.upstream,
            &session.version,
            session.client.clone(),
            &session.capabilities,
            session.created_at
        ],
    )
    .await?;
    tx.commit().await?;
    Ok(true)
}

async fn find(db: Db, id: String, now: Timestamp) -> Result<Option<ClientSession>> {
    let row = db
        .read()
        .await?
        .row(
            "select id, agent, upstream, version, client, capabilities, created_at, seen_at \
               from client_sessions where id = $1",
            args![&id],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let seen_at = Timestamp::from_micros(row.int("seen_at")?);
    if seen_at.until(now).as_secs() >= SEEN_EVERY_S
        && let Err(error) = see(db, &id, now).await
    {
        // Allowed calls go on while the store can't be written.
        tracing::warn!(%error, "it could not be noted that a session is in use");
    }
    Ok(Some(ClientSession {
        id: row.text("id")?,
        agent: row.text("agent")?,
        upstream: row.text("upstream")?,
        version: row.text("version")?,
        client: row.opt_text("client")?,
        capabilities: row.text("capabilities")?,
        created_at: Timestamp::from_micros(row.int("created_at")?),
    }))
}

async fn see(db: Db, id: &str, now: Timestamp) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute("update client_sessions set seen_at = $2 where id = $1", args![id, now]).await?;
    tx.commit().await
}

async fn delete(db: Db, id: String) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute("delete from client_sessions where id = $1", args![id]).await?;
    tx.commit().await
}
