//! Approvals: made, joined, changed, found.

use std::sync::LazyLock;

use async_trait::async_trait;

use crate::domain::approval::{Approval, ApprovalId, Outcome, State, Terms, Transition};
use crate::domain::audit::AuditEvent;
use crate::domain::call::Digest;
use crate::domain::time::Timestamp;
use crate::store::approvals::{ApprovalStore, Filter, Mark, Marked, QueueStats};
use crate::store::driver::{Db, Lock, Step, args};
use crate::store::{NewDelivery, Result, StoreError, Submit, Submitted};

use super::{SqlStore, audit, counters, counts, holds, outbox, words};
use list::list;
use row::read;
use submit::{ended_identical, open_identical};

mod changes;
mod known;
mod list;
mod row;
mod submit;
pub(super) mod waiting;

/// Columns of an approval's row that are read as they are.
const COLUMNS: [&str; 30] = [
    "id",
    "version",
    "state",
    "upstream",
    "method",
    "tool",
    "params",
    "digest",
    "agent",
    "client",
    "rule",
    "reason",
    "risk",
    "severity",
    "terms",
    "decisions",
    "created_at",
    "expires_at",
    "decided_at",
    "claim_deadline",
    "finished_at",
    "end_reason",
    "outcome_kind",
    "outcome",
    "settled",
    "owed",
    "executor",
    "unsent",
    "ran_before",
    "change_seq",
];

/// `$1` is now.
static SELECT: LazyLock<String> =
    LazyLock::new(|| format!("select {} from approvals a ", read_of("a", "$1", "")));

/// A change at `$9`; it returns the approval after it, without the held request that it answers, `$21`.
static CHANGE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "update approvals \
            set version = version + 1, state = $4, decisions = $5, decided_at = $6, \
                claim_deadline = $7, finished_at = $8, changed_at = $9, change_seq = null, end_reason = $10, \
                outcome_kind = $11, outcome = $12, settled = $13, owed = $14, executor = $15, unsent = $18 \
          where id = $1 and version = $2 and state = $3 \
            and (cast($16 as bigint) is null or expires_at > $16) \
            and (cast($17 as bigint) is null or claim_deadline > $17) \
            and (cast($19 as bigint) = 0 or unsent = 1) \
            and (cast($20 as bigint) is null \
                 or not exists (select 1 from nodes n where n.id = approvals.executor \
                                   and n.lease_expires_at > $20)) \
         returning {}",
        read_of("approvals", "$9", "and (cast($21 as text) is null or h.id <> $21)")
    )
});

/// What is read of an approval whose row has that name, at that instant; `counts` says which of its
/// held requests count.
fn read_of(row: &str, now: &str, counts: &str) -> String {
    let columns: Vec<String> = COLUMNS.iter().map(|name| format!("{row}.{name}")).collect();
    format!(
        "{}, \
         (select count(*) from holds h join nodes n on n.id = h.node \
           where h.approval = {row}.id and n.lease_expires_at > {now} {counts}) as held, \
         cast(case when exists (select 1 from tasks t \
                                 where t.approval = {row}.id and t.waits_until > {now}) \
                   then 1 else 0 end as bigint) as tended, \
         cast(case when exists (select 1 from tasks t where t.approval = {row}.id) \
                   then 1 else 0 end as bigint) as followed",
        columns.join(", ")
    )
}

/// The version of what was just made.
const FIRST_VERSION: i64 = 1;

const OPEN: &str = "(a.state in ('pending', 'approved', 'running') \
     or (a.state = 'indeterminate' and a.settled is null))";

/// That it has an end, as the index of the ends of identical calls has it.
const ENDED: &str = "a.finished_at is not null";

/// Order of the queue.
const URGENCY: &str = "case a.severity when 'low' then 3 when 'medium' then 2 when 'high' then 1 \
     else 0 end, a.expires_at, a.id";

fn select(rest: &str) -> sqlx::AssertSqlSafe<String> {
    // Only constants of this module come in here; values are bound.
    sqlx::AssertSqlSafe(format!("{}{rest}", *SELECT))
}

#[async_trait]
impl ApprovalStore for SqlStore {
    async fn submit(&self, new: Submit, now: Timestamp) -> Result<Submitted> {
        self.waiting.submit(self.for_agents(), new, now).await
    }

    async fn apply(
        &self,
        transition: Transition,
        deliveries: Vec<NewDelivery>,
        now: Timestamp,
    ) -> Result<Approval> {
        let wanted = transition.after.clone();
        let done = self.run(move |db| apply(db, transition.clone(), deliveries.clone(), now)).await;
        let Err(unknown @ StoreError::Unknown(_)) = done else { return done };
        // The version tells whose change it was, or that it was somebody else's.
        match find(self.db.clone(), wanted.id.clone(), now).await {
            Ok(Some(current)) if is_change(&wanted, &current) => Ok(current),
            Ok(Some(current)) if current.version > wanted.version => {
                Err(StoreError::Conflict(Box::new(current)))
            }
            _ => Err(unknown),
        }
    }

    async fn find(&self, id: &ApprovalId, now: Timestamp) -> Result<Option<Approval>> {
        find(self.db.clone(), id.clone(), now).await
    }

    async fn find_identical(
        &self,
        agent: &str,
        digest: &Digest,
        owed_since: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Approval>> {
        let (db, agent, digest) = (self.for_agents(), agent.to_owned(), digest.clone());
        find_identical(db, agent, digest, owed_since, now).await
    }

    async fn open_calls(&self) -> Result<Vec<(String, Digest)>> {
        open_calls(self.db.clone()).await
    }

    async fn list(&self, filter: &Filter, now: Timestamp) -> Result<Vec<Approval>> {
        list(self.db.clone(), filter.clone(), now).await
    }

    async fn count_by_agent(&self, filter: &Filter) -> Result<Vec<(String, u64)>> {
        list::count_by_agent(self.db.clone(), filter.clone()).await
    }

    async fn take_end(&self, id: &ApprovalId, told: AuditEvent) -> Result<bool> {
        let id = id.clone();
        self.run_for_call(move |db| take_end(db, id.clone(), told.clone())).await
    }

    async fn mark_sent(&self, mark: &Mark, now: Timestamp) -> Result<Marked> {
        let mark = mark.clone();
        self.run(move |db| mark_sent(db, mark.clone(), now)).await
    }

    async fn stats(&self, now: Timestamp) -> Result<QueueStats> {
        stats(self.db.clone(), now).await
    }
}

/// Whether an approval is as this change, which was computed from the version before, makes it.
fn is_change(wanted: &Approval, current: &Approval) -> bool {
    current.version == wanted.version + 1
        && current.state == wanted.state
        && current.decisions == wanted.decisions
        && current.executor == wanted.executor
        && current.end_reason == wanted.end_reason
        && current.finished_at == wanted.finished_at
        && current.settled == wanted.settled
}

async fn apply(
    db: Db,
    transition: Transition,
    deliveries: Vec<NewDelivery>,
    now: Timestamp,
) -> Result<Approval> {
    let mut tx = db.begin().await?;
    let a = &transition.after;
    if transition.unless_attached {
        // Whoever attaches takes the same lock: either is seen by the other.
        tx.lock(Lock::Submissions(&a.agent)).await?;
        if holds::waiting_for(&mut tx, &a.id, now).await? > 0 {
            tx.rollback().await?;
            return Err(conflict(db, &a.id, now).await?);
        }
    }
    let given_back = transition.gives_back();
    if let Some(given_back) = given_back {
        counters::take_locks(&mut tx, &counters::locks_of(given_back)).await?;
    }
    let (outcome_kind, outcome) = match &a.outcome {
        None => (None, None),
        Some(Outcome::Result(raw)) => (Some("result"), Some(raw.clone())),
        Some(Outcome::Error(raw)) => (Some("error"), Some(raw.clone())),
        Some(Outcome::NotKept { is_error }) => (Some("not_kept"), Some(is_error.to_string())),
    };
    let mut steps = vec![
        Step::new(
            sqlx::AssertSqlSafe(CHANGE.as_str()),
            args![
                a.id.as_str(),
                a.version,
                transition.from.as_str(),
                a.state.as_str(),
                json(&a.decisions),
                a.decided_at,
                a.claim_deadline,
                a.finished_at,
                now,
                a.end_reason.clone(),
                outcome_kind.map(str::to_owned),
                outcome,
                a.settled.as_ref().map(json),
                a.owed,
                a.executor.clone(),
                transition.not_expired_at,
                transition.claimable_at,
                a.unsent,
                transition.if_unsent,
                transition.executor_dead_at,
                transition.detaches.clone(),
            ],
        )
        .must_touch(),
    ];
    if a.state == State::Indeterminate && a.outcome.is_some() {
        // People who are asked about the identical call shall know that it ran.
        // It is found by the index of the open ones. This one is none of them.
        let sql = format!(
            "update approvals as a set ran_before = $3, changed_at = $4, change_seq = null \
              where agent = $1 and digest = $2 and {OPEN} and state in ('pending', 'approved')"
        );
        steps.push(
            Step::new(
                sqlx::AssertSqlSafe(sql),
                args![&a.agent, a.digest().as_str(), a.finished_at, now],
            )
            .beside(),
        );
    }
    // Only decisions and ends bring new words.
    if transition.decision.is_some() || a.end_reason.is_some() {
        steps.extend(words::step(&tx, [a]).map(Step::beside));
    }
    steps.extend(transition.detaches.as_deref().map(holds::removal).map(Step::beside));
    let is_postgres = tx.is_postgres();
    steps.extend(audit::steps(is_postgres, &transition.events).into_iter().map(Step::beside));
    let messages = deliveries.iter().map(|delivery| (delivery, now));
    steps.extend(outbox::steps(is_postgres, messages).into_iter().map(Step::beside));
    let done = tx.all(steps).await?;
    let Some(row) = done.first().and_then(|update| update.rows.first()) else {
        tx.rollback().await?;
        return Err(conflict(db, &a.id, now).await?);
    };
    let after = read(row)?;
    if let Some(given_back) = given_back {
        counters::give_back_in(&mut tx, given_back).await?;
    }
    tx.commit().await?;
    Ok(after)
}

async fn conflict(db: Db, id: &ApprovalId, now: Timestamp) -> Result<StoreError> {
    let current = find(db, id.clone(), now).await?;
    Ok(current.map_or_else(
        || StoreError::corrupt("approvals", "id", id.as_str(), "it is gone"),
        |current| StoreError::Conflict(Box::new(current)),
    ))
}

/// The lease is renewed only where it is about to run out: else calls that begin at once would wait
/// for each other at its row.
async fn mark_sent(db: Db, mark: Mark, now: Timestamp) -> Result<Marked> {
    let mut tx = db.begin().await?;
    let Mark { id, version, node, lease_until, lease_least } = &mark;
    let marking = Step::new(
        "update approvals set unsent = 0 \
          where id = $1 and version = $2 and state = 'running' and executor = $3 \
            and exists (select 1 from nodes n where n.id = $3 and n.lease_expires_at >= $4)",
        args![id.as_str(), *version, node, *lease_least],
    );
    // Nearly always the lease lasts long enough.
    if tx.all(vec![marking.clone()]).await?.pop().is_some_and(|marked| marked.touched > 0) {
        tx.commit().await?;
        return Ok(Marked::Sent);
    }
    let steps = vec![
        Step::new(
            "update nodes set lease_expires_at = $3 \
              where id = $1 and lease_expires_at > $2 and lease_expires_at < $4",
            args![node, now, *lease_until, *lease_least],
        ),
        marking,
    ];
    if tx.all(steps).await?.pop().is_some_and(|marked| marked.touched > 0) {
        tx.commit().await?;
        return Ok(Marked::Sent);
    }
    let still = tx
        .count(
            "select count(*) as n from approvals \
              where id = $1 and version = $2 and state = 'running' and executor = $3",
            args![id.as_str(), *version, node],
        )
        .await?;
    tx.commit().await?;
    Ok(if still > 0 { Marked::LeaseIsOver } else { Marked::Taken })
}

async fn find(db: Db, id: ApprovalId, now: Timestamp) -> Result<Option<Approval>> {
    let mut tx = db.read().await?;
    let row = tx.row(select("where a.id = $2"), args![now, id.as_str()]).await?;
    row.map(|row| read(&row)).transpose()
}

async fn find_identical(
    db: Db,
    agent: String,
    digest: Digest,
    owed_since: Timestamp,
    now: Timestamp,
) -> Result<Option<Approval>> {
    let mut tx = db.read().await?;
    if let Some(open) = open_identical(&mut tx, &agent, &digest, now).await? {
        return Ok(Some(open));
    }
    ended_identical(&mut tx, &agent, &digest, owed_since, now).await
}

async fn open_calls(db: Db) -> Result<Vec<(String, Digest)>> {
    let owed = "a.owed = 1";
    let mut tx = db.read().await?;
    let mut calls = Vec::new();
    for which in [OPEN, owed] {
        let sql = format!("select a.agent, a.digest from approvals a where {which}");
        // Only constants come in here.
        for row in tx.rows(sqlx::AssertSqlSafe(sql), args![]).await? {
            // What can't be read is no digest of any call.
            if let Ok(digest) = row.text("digest")?.parse() {
                calls.push((row.text("agent")?, digest));
            }
        }
    }
    Ok(calls)
}

/// The condition stands in the statement: of several who tell an end one does so.
async fn take_end(db: Db, id: ApprovalId, told: AuditEvent) -> Result<bool> {
    let sql = "update approvals set owed = 0 where id = $1 and owed = 1 returning id";
    let mut tx = db.begin().await?;
    let mut steps = vec![Step::new(sql, args![id.as_str()]).must_touch()];
    steps.extend(audit::steps(tx.is_postgres(), &[told]).into_iter().map(Step::beside));
    let done = tx.all(steps).await?;
    if done.first().is_some_and(|update| update.touched > 0) {
        tx.commit().await?;
        return Ok(true);
    }
    tx.rollback().await?;
    Ok(false)
}

async fn stats(db: Db, now: Timestamp) -> Result<QueueStats> {
    let mut tx = db.read().await?;
    let by_state = counts::by_state(&mut tx).await?;
    // Ids are in the order in which they were made, to the millisecond. Written as a range, it is read
    // in the order of the index of states: for one state PostgreSQL may walk all ids instead, and those
    // that wait are the last of them.
    let row = tx
        .row(
            "select created_at as at from approvals where state >= 'pending' and state <= 'pending' \
              order by state, id limit 1",
            args![],
        )
        .await?;
    let oldest_pending = row.map(|row| row.int("at")).transpose()?.map(Timestamp::from_micros);
    // Process by process, in the index of their holds alone.
    let held = tx
        .count(
            "select count(*) as n from nodes n cross join holds h \
              where h.node = n.id and n.lease_expires_at > $1",
            args![now],
        )
        .await?;
    Ok(QueueStats { by_state, oldest_pending, held })
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain data without maps serializes")
}

/// Names between bars, so that one name is found in it by its bars.
fn audience(terms: &Terms) -> String {
    let names = terms.reviewers.iter().chain(&terms.owner);
    names.fold("|".to_owned(), |out, name| format!("{out}|{name}|"))
}
