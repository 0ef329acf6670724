//! A call comes in: its open approval is joined, its owed end told, or a new one made, in one
//! transaction.

use crate::domain::approval::Approval;
use crate::domain::call::Digest;
use crate::domain::time::Timestamp;
use crate::store::driver::{Db, Lock, Tx, args};
use crate::store::{Cap, Result, Submit, Submitted};

use super::super::limits::{OPEN_OF_AGENT, use_limit};
use super::super::{audit, holds, outbox, words};
use super::row::read;
use super::{OPEN, audience, json, select};

pub(super) async fn submit(db: Db, submit: Submit, now: Timestamp) -> Result<Submitted> {
    let mut tx = db.begin_locked(Lock::Submissions(&submit.approval.agent)).await?;
    let new = &submit.approval;
    let held = holds::held_by(&mut tx, &new.agent, now).await? < i64::from(submit.max_held);

    if let Some(open) = open_identical(&mut tx, &new.agent, new.digest(), now).await? {
        if held {
            holds::insert(&mut tx, &open.id, &submit.hold, now).await?;
        }
        tx.commit().await?;
        return Ok(Submitted::Attached { approval: Approval { waiting: true, ..open }, held });
    }
    if let Some(ended) =
        ended_identical(&mut tx, &new.agent, new.digest(), submit.owed_since, now).await?
    {
        tx.commit().await?;
        return Ok(Submitted::Ended(ended));
    }
    if let Some((cap, wait)) = over_a_cap(&mut tx, &submit, now).await? {
        tx.commit().await?;
        return Ok(Submitted::Refused { cap, retry_after_ms: wait });
    }

    let mut approval = submit.approval.clone();
    approval.ran_before =
        ran_before(&mut tx, &approval.agent, approval.digest(), submit.owed_since).await?;
    insert(&mut tx, &approval, now).await?;
    words::index(&mut tx, &approval).await?;
    audit::insert(&mut tx, &submit.events).await?;
    outbox::insert(&mut tx, &submit.deliveries, now).await?;
    if held {
        holds::insert(&mut tx, &approval.id, &submit.hold, now).await?;
        approval.waiting = true;
    }
    tx.commit().await?;
    Ok(Submitted::Created { approval, held })
}

async fn over_a_cap(tx: &mut Tx, submit: &Submit, now: Timestamp) -> Result<Option<(Cap, u64)>> {
    /// What to wait, milliseconds, where people end the pending ones, at no known time.
    const WAIT_FOR_PEOPLE_MS: u64 = 30_000;
    /// Agents count all approvals at the same time, each under a lock of its own, until so few
    /// places are left that those who are counting now could take them all.
    const ROOM_FOR_OTHERS: i64 = 64;
    let agent = &submit.approval.agent;
    let waiting = "select count(*) as n from approvals where state in ('pending', 'approved')";
    let mut all = tx.count(waiting, args![]).await?;
    if all + ROOM_FOR_OTHERS > i64::from(submit.max_pending) {
        tx.lock(Lock::AllSubmissions).await?;
        all = tx.count(waiting, args![]).await?;
    }
    if all >= i64::from(submit.max_pending) {
        return Ok(Some((Cap::Pending, WAIT_FOR_PEOPLE_MS)));
    }
    let own = tx.count(OPEN_OF_AGENT, args![agent]).await?;
    if own >= i64::from(submit.max_pending_per_agent) {
        return Ok(Some((Cap::PendingPerAgent, WAIT_FOR_PEOPLE_MS)));
    }
    let row = tx
        .row(
            "select count(*) as n, min(created_at) as oldest from approvals \
              where agent = $1 and created_at > $2",
            args![agent, submit.new_since],
        )
        .await?;
    if let Some(row) = row
        && row.int("n")? >= i64::from(submit.max_new)
    {
        let oldest = row.opt_int("oldest")?.unwrap_or(now.micros());
        let wait = (oldest - submit.new_since.micros()).max(0).unsigned_abs() / 1000 + 1;
        return Ok(Some((Cap::NewPerAgent, wait)));
    }
    if let Some((key, max, since)) = &submit.limit {
        tx.lock(Lock::Uses(&key.shared())).await?;
        if let Some(wait) = use_limit(tx, key, *max, *since, now).await? {
            return Ok(Some((Cap::RateLimit, wait)));
        }
    }
    Ok(None)
}

pub(super) async fn open_identical(
    tx: &mut Tx,
    agent: &str,
    digest: &Digest,
    now: Timestamp,
) -> Result<Option<Approval>> {
    let sql = select(&format!("where a.agent = $2 and a.digest = $3 and {OPEN}"));
    let row = tx.row(sql, args![now, agent, digest.as_str()]).await?;
    row.map(|row| read(&row)).transpose()
}

/// The latest end that is still owed, though others came after it: an answer may be late. Else the
/// latest of all, where it is a rejection that is repeated until its cooldown is over.
pub(super) async fn ended_identical(
    tx: &mut Tx,
    agent: &str,
    digest: &Digest,
    owed_since: Timestamp,
    now: Timestamp,
) -> Result<Option<Approval>> {
    let owed = select(
        "where a.agent = $2 and a.digest = $3 and a.owed = 1 \
           and (a.finished_at > $4 or a.state = 'indeterminate') \
         order by a.finished_at desc, a.id desc limit 1",
    );
    let row = tx.row(owed, args![now, agent, digest.as_str(), owed_since]).await?;
    if let Some(row) = row {
        return read(&row).map(Some);
    }
    let latest = select(
        "where a.agent = $2 and a.digest = $3 and a.finished_at is not null \
         order by a.finished_at desc, a.id desc limit 1",
    );
    let row = tx.row(latest, args![now, agent, digest.as_str()]).await?;
    let approval = row.map(|row| read(&row)).transpose()?;
    Ok(approval.filter(|approval| is_cooling(approval, now)))
}

fn is_cooling(approval: &Approval, now: Timestamp) -> bool {
    approval.cooldown_until().is_some_and(|until| until > now)
}

async fn ran_before(
    tx: &mut Tx,
    agent: &str,
    digest: &Digest,
    since: Timestamp,
) -> Result<Option<Timestamp>> {
    let row = tx
        .row(
            "select max(finished_at) as at from approvals \
              where agent = $1 and digest = $2 and finished_at > $3 \
                and (state = 'completed' or outcome_kind is not null)",
            args![agent, digest.as_str(), since],
        )
        .await?;
    Ok(row.map(|row| row.opt_int("at")).transpose()?.flatten().map(Timestamp::from_micros))
}

async fn insert(tx: &mut Tx, a: &Approval, now: Timestamp) -> Result<()> {
    let values = args![
        a.id.as_str(),
        a.state.as_str(),
        &a.call.upstream,
        a.call.method.as_str(),
        &a.call.tool,
        &*a.call.params,
        a.digest().as_str(),
        &a.agent,
        a.client.clone(),
        &a.rule,
        a.reason.clone(),
        a.risk.map(|risk| risk.as_str().to_owned()),
        a.severity.map(|severity| severity.as_str().to_owned()),
        json(&a.terms),
        a.terms.sensitive,
        audience(&a.terms),
        a.terms.unattended == crate::domain::approval::Unattended::Run,
        json(&a.decisions),
        a.created_at,
        a.expires_at,
        now,
        a.ran_before,
    ];
    tx.execute(
        "insert into approvals (id, version, state, upstream, method, tool, params, digest, agent, client, \
                                rule, reason, risk, severity, terms, sensitive, audience, \
                                unattended, decisions, created_at, expires_at, changed_at, \
                                ran_before, owed, change_seq) \
         values ($1, 1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, \
                 $18, $19, $20, $21, $22, 0, null)",
        values,
    )
    .await?;
    Ok(())
}
