//! Attempts to sign in through a provider, and its words about people.

use async_trait::async_trait;

use crate::domain::audit::AuditEvent;
use crate::domain::time::Timestamp;
use crate::store::driver::{Db, Row, args};
use crate::store::oidc::{OidcStore, ProviderClaims};
use crate::store::{Result, Session, StoreError};

use super::readable::Named;
use super::sessions::add_session;
use super::{SqlStore, audit};

fn read_claims(row: &Row) -> Result<ProviderClaims> {
    let reviewer = row.text("reviewer")?;
    let groups = serde_json::from_str(&row.text("groups")?).map_err(|_| {
        StoreError::corrupt("oidc_words", "groups", &reviewer, "not a list of texts")
    })?;
    Ok(ProviderClaims {
        reviewer,
        issuer: row.text("issuer")?,
        subject: row.text("subject")?,
        groups,
        said_at: Timestamp::from_micros(row.int("said_at")?),
        expires_at: Timestamp::from_micros(row.int("expires_at")?),
        entry: row.opt_text("entry")?.unwrap_or_default(),
    })
}

async fn use_attempt(db: Db, hash: String, expires_at: Timestamp) -> Result<bool> {
    let mut tx = db.begin().await?;
    let fresh = tx
        .execute(
            "insert into oidc_attempts (hash, expires_at) values ($1, $2) \
             on conflict (hash) do nothing",
            args![hash, expires_at],
        )
        .await?;
    tx.commit().await?;
    Ok(fresh > 0)
}

async fn sign_in(
    db: Db,
    session: Session,
    claims: Option<(ProviderClaims, AuditEvent)>,
) -> Result<()> {
    let mut tx = db.begin().await?;
    add_session(&mut tx, &session).await?;
    if let Some((claims, event)) = claims {
        let groups = serde_json::to_string(&claims.groups).expect("a list of texts serializes");
        tx.execute(
            "insert into oidc_words \
             (reviewer, issuer, subject, groups, said_at, expires_at, entry) \
             values ($1, $2, $3, $4, $5, $6, $7) \
             on conflict (reviewer) do update set issuer = excluded.issuer, \
                 subject = excluded.subject, groups = excluded.groups, \
                 said_at = excluded.said_at, expires_at = excluded.expires_at, \
                 entry = excluded.entry",
            args![
                claims.reviewer,
                claims.issuer,
                claims.subject,
                groups,
                claims.said_at,
                claims.expires_at,
                claims.entry
            ],
        )
        .await?;
        audit::insert(&mut tx, &[event]).await?;
    }
    tx.commit().await
}

#[async_trait]
impl OidcStore for SqlStore {
    async fn use_attempt(&self, hash: &str, expires_at: Timestamp) -> Result<bool> {
        let hash = hash.to_owned();
        self.run(move |db| use_attempt(db, hash.clone(), expires_at)).await
    }

    async fn sign_in(
        &self,
        session: &Session,
        claims: Option<(&ProviderClaims, AuditEvent)>,
    ) -> Result<()> {
        let (session, claims) =
            (session.clone(), claims.map(|(claims, event)| (claims.clone(), event)));
        self.run(move |db| sign_in(db, session.clone(), claims.clone())).await
    }

    async fn claims(&self, now: Timestamp) -> Result<Vec<ProviderClaims>> {
        let rows = self
            .db
            .read()
            .await?
            .rows(
                "select reviewer, issuer, subject, groups, said_at, expires_at, entry from oidc_words \
                  where expires_at > $1",
                args![now],
            )
            .await?;
        Named { table: "oidc_words", by: "reviewer" }.readable(&rows, read_claims)
    }
}
