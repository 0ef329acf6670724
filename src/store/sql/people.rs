//! Reviewers' links and sessions, agents' client sessions, and the processes' leases.

use crate::domain::approval::ApprovalId;
use crate::domain::audit::{AuditEvent, Kind};
use crate::domain::time::Timestamp;
use crate::store::driver::{Db, Row, args};
use crate::store::{ClientSession, Result, ReviewLink, Session, SignIn};

use super::audit;

pub(super) async fn insert_review_link(db: Db, link: ReviewLink) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute(
        "insert into review_links (hash, approval, reviewer, created_at) values ($1, $2, $3, $4)",
        args![&link.hash, link.approval.as_str(), &link.reviewer, link.created_at],
    )
    .await?;
    tx.commit().await
}

pub(super) async fn find_review_link(db: Db, hash: String) -> Result<Option<ReviewLink>> {
    let row = db
        .read()
        .await?
        .row(
            "select hash, approval, reviewer, created_at from review_links where hash = $1",
            args![hash],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let Some(approval) = ApprovalId::parse(&row.text("approval")?) else { return Ok(None) };
    Ok(Some(ReviewLink {
        hash: row.text("hash")?,
        approval,
        reviewer: row.text("reviewer")?,
        created_at: Timestamp::from_micros(row.int("created_at")?),
    }))
}

pub(super) async fn insert_sign_in(
    db: Db,
    hash: String,
    sign_in: SignIn,
    expires_at: Timestamp,
) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute(
        "insert into sign_ins (hash, reviewer, via, expires_at) values ($1, $2, $3, $4)",
        args![hash, sign_in.reviewer, sign_in.via, expires_at],
    )
    .await?;
    tx.commit().await
}

pub(super) async fn find_sign_in(db: Db, hash: String, now: Timestamp) -> Result<Option<SignIn>> {
    let row = db
        .read()
        .await?
        .row(
            "select reviewer, via from sign_ins \
              where hash = $1 and used_at is null and expires_at > $2",
            args![hash, now],
        )
        .await?;
    row.map(|row| Ok(SignIn { reviewer: row.text("reviewer")?, via: row.text("via")? })).transpose()
}

pub(super) async fn consume_sign_in(
    db: Db,
    hash: String,
    session: Session,
    now: Timestamp,
) -> Result<bool> {
    let mut tx = db.begin().await?;
    let used = tx
        .execute(
            "update sign_ins set used_at = $2 \
              where hash = $1 and used_at is null and expires_at > $2 and reviewer = $3",
            args![hash, now, &session.reviewer],
        )
        .await?;
    if used == 0 {
        return Ok(false);
    }
    add_session(&mut tx, &session).await?;
    tx.commit().await?;
    Ok(true)
}

pub(super) async fn insert_session(db: Db, session: Session) -> Result<()> {
    let mut tx = db.begin().await?;
    add_session(&mut tx, &session).await?;
    tx.commit().await
}

pub(super) async fn add_session(
    tx: &mut crate::store::driver::Tx,
    session: &Session,
) -> Result<()> {
    tx.execute(
        "insert into sessions (hash, reviewer, via, client, created_at, seen_at) \
         values ($1, $2, $3, $4, $5, $6)",
        args![
            &session.hash,
            &session.reviewer,
            &session.via,
            session.client.clone(),
            session.created_at,
            session.seen_at
        ],
    )
    .await?;
    let event = AuditEvent::new(Kind::SignedIn, &session.reviewer, session.created_at)
        .with("via", &session.via);
    audit::insert(tx, &[event]).await
}

/// Advisory lock of those who count client sessions before they add one.
const SESSION_LOCK: i64 = 0x706c_6163_6574_0003;

/// Writing "seen" at every page would be a write per read; once a minute is enough for idleness.
pub(super) const SEEN_EVERY_S: u64 = 60;

pub(super) async fn find_session(
    db: Db,
    hash: String,
    idle_since: Timestamp,
    now: Timestamp,
) -> Result<Option<Session>> {
    let row = db
        .read()
        .await?
        .row(
            "select hash, reviewer, via, client, created_at, seen_at from sessions \
              where hash = $1 and seen_at > $2",
            args![&hash, idle_since],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let session = read_session(&row)?;
    if session.seen_at.until(now).as_secs() >= SEEN_EVERY_S {
        let mut tx = db.begin().await?;
        tx.execute("update sessions set seen_at = $2 where hash = $1", args![&hash, now]).await?;
        tx.commit().await?;
    }
    Ok(Some(session))
}

pub(super) fn read_session(row: &Row) -> Result<Session> {
    Ok(Session {
        hash: row.text("hash")?,
        reviewer: row.text("reviewer")?,
        via: row.text("via")?,
        client: row.opt_text("client")?,
        created_at: Timestamp::from_micros(row.int("created_at")?),
        seen_at: Timestamp::from_micros(row.int("seen_at")?),
    })
}

pub(super) async fn delete_session(db: Db, hash: String) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute("delete from sessions where hash = $1", args![hash]).await?;
    tx.commit().await
}

/// At the cap, a client session unseen for this long makes room for a new one: most
/// clients never say that they are gone.
const CLIENT_IDLE: std::time::Duration = std::time::Duration::from_secs(1_800);

pub(super) async fn insert_client_session(
    db: Db,
    session: ClientSession,
    max: u32,
) -> Result<bool> {
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

pub(super) async fn find_client_session(
    db: Db,
    id: String,
    now: Timestamp,
) -> Result<Option<ClientSession>> {
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
        && let Err(error) = see_client_session(db, &id, now).await
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

async fn see_client_session(db: Db, id: &str, now: Timestamp) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute("update client_sessions set seen_at = $2 where id = $1", args![id, now]).await?;
    tx.commit().await
}

pub(super) async fn delete_client_session(db: Db, id: String) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute("delete from client_sessions where id = $1", args![id]).await?;
    tx.commit().await
}

pub(super) async fn renew_node(
    db: Db,
    node: String,
    now: Timestamp,
    until: Timestamp,
) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute(
        "insert into nodes (id, started_at, lease_expires_at) values ($1, $2, $3) \
         on conflict (id) do update set lease_expires_at = excluded.lease_expires_at",
        args![node, now, until],
    )
    .await?;
    tx.commit().await
}

pub(super) async fn end_node(db: Db, node: String) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute("delete from holds where node = $1", args![&node]).await?;
    tx.execute("delete from nodes where id = $1", args![&node]).await?;
    tx.commit().await
}

pub(super) async fn purge(db: Db, now: Timestamp, history_before: Timestamp) -> Result<u64> {
    let day_ago = now.minus(std::time::Duration::from_secs(86_400));
    let mut tx = db.begin().await?;
    let mut gone = 0;
    for (sql, before) in [
        (
            "delete from holds where node not in \
             (select id from nodes where lease_expires_at > $1)",
            now,
        ),
        ("delete from nodes where lease_expires_at <= $1", now),
        ("delete from sign_ins where expires_at <= $1", now),
        ("delete from oidc_attempts where expires_at <= $1", now),
        ("delete from oidc_words where expires_at <= $1", now),
        ("delete from tasks where expires_at <= $1", now),
        ("delete from runs where changed_at <= $1", day_ago),
        ("delete from sessions where seen_at <= $1", day_ago),
        ("delete from tokens where expires_at <= $1", now),
        ("delete from ceremonies where expires_at <= $1", now),
        ("delete from absences where until_at <= $1", day_ago),
        (
            "delete from rate_uses where at <= $1",
            now.minus(std::time::Duration::from_secs(31 * 86_400)),
        ),
        (
            "delete from client_sessions where seen_at <= $1",
            now.minus(std::time::Duration::from_secs(7 * 86_400)),
        ),
        (
            "delete from review_links where approval in \
             (select id from approvals where finished_at <= $1)",
            history_before,
        ),
        (
            "delete from attempts where delivery in \
             (select id from outbox where finished_at <= $1)",
            history_before,
        ),
        ("delete from outbox where finished_at <= $1", history_before),
        ("delete from grants where expires_at <= $1", history_before),
        (
            "delete from approval_words where approval in \
             (select id from approvals where finished_at <= $1 \
                and (state <> 'indeterminate' or settled is not null))",
            history_before,
        ),
        (
            "delete from approvals where finished_at <= $1 \
                and (state <> 'indeterminate' or settled is not null)",
            history_before,
        ),
    ] {
        gone += tx.execute(sql, args![before]).await?;
    }
    tx.commit().await?;
    Ok(gone)
}

pub(super) async fn secret(db: Db, name: String, fresh: String) -> Result<String> {
    let mut tx = db.begin().await?;
    tx.execute(
        "insert into secrets (name, value) values ($1, $2) on conflict (name) do nothing",
        args![&name, fresh],
    )
    .await?;
    let row = tx.row("select value from secrets where name = $1", args![&name]).await?;
    let value = row.map(|row| row.text("value")).transpose()?.unwrap_or_default();
    tx.commit().await?;
    Ok(value)
}

/// A write that changes nothing, to learn whether writes work.
pub(super) async fn check(db: Db) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute("delete from secrets where name = ''", args![]).await?;
    tx.commit().await
}
