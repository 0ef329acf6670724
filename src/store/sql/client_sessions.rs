//! Sessions of legacy MCP clients.

use std::collections::HashSet;

use async_trait::async_trait;

use crate::domain::time::Timestamp;
use crate::store::Result;
use crate::store::client_sessions::{ClientSession, ClientSessionStore, SessionSeen};
use crate::store::driver::{Db, Lock, Row, args};

use super::SqlStore;

#[async_trait]
impl ClientSessionStore for SqlStore {
    async fn insert(
        &self,
        session: &ClientSession,
        max: u32,
    ) -> Result<Option<Vec<ClientSession>>> {
        let session = session.clone();
        self.run_for_agent(move |db| insert(db, session.clone(), max)).await
    }

    async fn find(&self, id: &str) -> Result<Option<ClientSession>> {
        let mut tx = self.for_agents().read().await?;
        let row = tx
            .row(
                "select id, agent, upstream, version, client, capabilities, created_at \
                   from client_sessions where id = $1",
                args![id],
            )
            .await?;
        row.as_ref().map(read).transpose()
    }

    async fn living(&self, ids: &[String]) -> Result<Vec<String>> {
        let mut tx = self.for_agents().read().await?;
        let mut found = Vec::new();
        for id in ids {
            let row = tx.row("select id from client_sessions where id = $1", args![id]).await?;
            found.extend(row.map(|row| row.text("id")).transpose()?);
        }
        Ok(found)
    }

    async fn note(&self, seen: &[SessionSeen]) -> Result<()> {
        let seen = seen.to_vec();
        self.run_for_agent(move |db| note(db, seen.clone())).await
    }

    async fn ids(&self) -> Result<HashSet<String>> {
        let rows =
            self.for_agents().read().await?.rows("select id from client_sessions", args![]).await?;
        rows.iter().map(|row| row.text("id")).collect()
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let id = id.to_owned();
        self.run_for_agent(move |db| delete(db, id.clone())).await
    }
}

async fn insert(db: Db, session: ClientSession, max: u32) -> Result<Option<Vec<ClientSession>>> {
    let mut tx = db.begin_locked(Lock::ClientSessions(&session.agent)).await?;
    let now = session.created_at;
    let mut displaced = Vec::new();
    loop {
        let open = "select count(*) as n from client_sessions where agent = $1";
        let open = tx.count(open, args![&session.agent]).await?;
        let beyond = open + 1 - i64::from(max);
        if beyond <= 0 {
            break;
        }
        // The time is asked twice: another broker may be noting that one of them is in use.
        let ended = tx
            .rows(
                "delete from client_sessions where seen_at <= $2 and id in \
                 (select id from client_sessions where agent = $1 and seen_at <= $2 \
                   order by seen_at, created_at, id limit $3) \
                 returning id, agent, upstream, version, client, capabilities, created_at",
                args![&session.agent, now, beyond],
            )
            .await?;
        if ended.is_empty() {
            tx.rollback().await?;
            return Ok(None);
        }
        for row in &ended {
            displaced.push(read(row)?);
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
            now
        ],
    )
    .await?;
    tx.commit().await?;
    Ok(Some(displaced))
}

async fn note(db: Db, seen: Vec<SessionSeen>) -> Result<()> {
    let mut tx = db.begin().await?;
    for SessionSeen { id, at, instead_of } in seen {
        tx.execute(
            "update client_sessions set seen_at = $2 \
              where id = $1 and (seen_at < $2 or seen_at = $3)",
            args![id, at, instead_of.unwrap_or(at)],
        )
        .await?;
    }
    tx.commit().await
}

async fn delete(db: Db, id: String) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute("delete from client_sessions where id = $1", args![id]).await?;
    tx.commit().await
}

fn read(row: &Row) -> Result<ClientSession> {
    Ok(ClientSession {
        id: row.text("id")?,
        agent: row.text("agent")?,
        upstream: row.text("upstream")?,
        version: row.text("version")?,
        client: row.opt_text("client")?,
        capabilities: row.text("capabilities")?,
        created_at: Timestamp::from_micros(row.int("created_at")?),
    })
}
