//! Calls come in: for each its open approval is joined, its owed end told, or a new one made. Many
//! at once, in one transaction and with the same few statements as for one.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::AssertSqlSafe;

use crate::domain::approval::{Approval, ApprovalId, Unattended};
use crate::domain::call::Digest;
use crate::domain::time::Timestamp;
use crate::store::counters::Over;
use crate::store::driver::{Arg, Db, Lock, Tx, args};
use crate::store::{Cap, Result, Submitted};

use super::super::limits::use_limit;
use super::super::rowset::{Int, Rowset, Text};
use super::super::{audit, counters, counts, holds, outbox, words};
use super::known::{Agents, Asked, Known, is_cooling, known};
use super::row::read;
use super::{ENDED, FIRST_VERSION, OPEN, audience, json, select};

/// Most calls that are stored in one transaction.
pub(super) const MOST_AT_ONCE: usize = 64;
/// Transactions that may count at the same time without seeing each other. With fewer places of
/// `max_pending` left than all of them could fill, they are given out by one at a time.
const OTHERS: i64 = 16;

/// What becomes of a call, before it is committed.
enum Fate {
    /// Its approval is the one with this place among the new ones.
    Made(usize, bool),
    /// It joins the new one with this place.
    Joins(usize, bool),
    /// It joins one that was there.
    Attached(Approval, bool),
    Ended(Approval),
    Refused(Cap, u64),
    Over(Over),
}

/// What is written for the calls of a transaction.
#[derive(Default)]
struct Written<'a> {
    made: Vec<Approval>,
    by: Vec<&'a Asked>,
    place: HashMap<(&'a str, &'a str), usize>,
    holds: Vec<(ApprovalId, &'a Asked)>,
    joined: Vec<(ApprovalId, Timestamp)>,
}

/// Stores all, or nothing; what became of each is in their order.
///
/// # Errors
/// [`crate::store::StoreError`], of the one that failed or of all.
pub(super) async fn submit(db: Db, all: Arc<Vec<Arc<Asked>>>) -> Result<Vec<Submitted>> {
    let mut tx = db.begin().await?;
    if tx.is_postgres() {
        lock(&mut tx, &all).await?;
    }
    let now = all.iter().map(|asked| asked.at).max().unwrap_or(Timestamp::from_micros(0));
    let mut agents = Agents::read(&mut tx, &all, now).await?;
    let known = known(&mut tx, &all, now).await?;
    let most = all.iter().map(|asked| asked.submit.max_pending).min().unwrap_or_default();
    let others = OTHERS * i64::try_from(MOST_AT_ONCE).unwrap_or(i64::MAX);
    if tx.is_postgres() && agents.pending + others > i64::from(most) {
        tx.lock(Lock::LastPlaces).await?;
        agents.pending = counts::open_of(&mut tx, counts::ALL).await?;
    }
    let mut written = Written::default();
    let mut fates = Vec::with_capacity(all.len());
    for asked in all.iter() {
        let found = known.get(&(asked.agent().to_owned(), asked.digest().to_owned()));
        fates.push(fate(&mut tx, asked, found, &mut agents, &mut written).await?);
    }
    write(&mut tx, &written).await?;
    tx.commit().await?;
    let made = written.made;
    Ok(fates.into_iter().map(|fate| told(fate, &made)).collect())
}

fn told(fate: Fate, made: &[Approval]) -> Submitted {
    match fate {
        Fate::Made(n, held) => {
            let (waiting, version) = (held, FIRST_VERSION);
            let made = made[n].clone();
            // As it stands in its row.
            let approval = Approval { waiting, held: u32::from(held), version, ..made };
            Submitted::Created { approval, held }
        }
        Fate::Joins(n, held) => {
            let (made, version) = (made[n].clone(), FIRST_VERSION);
            let approval = Approval { waiting: true, held: 1 + u32::from(held), version, ..made };
            Submitted::Attached { approval, held }
        }
        Fate::Attached(approval, held) => Submitted::Attached { approval, held },
        Fate::Ended(approval) => Submitted::Ended(approval),
        Fate::Refused(cap, retry_after_ms) => Submitted::Refused { cap, retry_after_ms },
        Fate::Over(over) => Submitted::Over(over),
    }
}

/// Takes the locks of all agents and of all limits at once. A limit's uses are counted under its
/// own, which allowed calls take, too.
async fn lock(tx: &mut Tx, all: &[Arc<Asked>]) -> Result<()> {
    let rates = all.iter().filter_map(|asked| asked.submit.limit.as_ref());
    let mut keys: Vec<String> = rates.map(|(key, ..)| key.shared()).collect();
    keys.extend(all.iter().flat_map(|asked| counters::locked(&asked.submit.draws)));
    let locks: Vec<Lock<'_>> = all
        .iter()
        .map(|asked| Lock::Submissions(asked.agent()))
        .chain(keys.iter().map(|key| Lock::Uses(key)))
        .collect();
    let (sql, values) = Lock::take_all(&locks);
    tx.rows(sql, values).await.map(drop)
}

async fn fate<'a>(
    tx: &mut Tx,
    asked: &'a Asked,
    found: Option<&Known>,
    agents: &mut Agents,
    written: &mut Written<'a>,
) -> Result<Fate> {
    let (new, now) = (&asked.submit.approval, asked.at);
    let held = agents.takes_one_more(asked);
    if let Some(&place) = written.place.get(&(asked.agent(), asked.digest())) {
        if held {
            written.holds.push((written.made[place].id.clone(), asked));
            agents.holds(asked);
        }
        return Ok(Fate::Joins(place, held));
    }
    if let Some(open) = found.and_then(|found| found.open.clone()) {
        if held {
            written.holds.push((open.id.clone(), asked));
            written.joined.push((open.id.clone(), now));
            agents.holds(asked);
        }
        let open = Approval { waiting: true, held: open.held + u32::from(held), ..open };
        return Ok(Fate::Attached(open, held));
    }
    if let Some(ended) = found.and_then(|found| found.ended(now)) {
        return Ok(Fate::Ended(ended));
    }
    if let Some((cap, wait)) = agents.over_a_cap(tx, asked).await? {
        return Ok(Fate::Refused(cap, wait));
    }
    let draws = &asked.submit.draws;
    let plan = match draws.is_empty() {
        true => None,
        false => match counters::plan(tx, draws, now).await? {
            Ok(plan) => Some(plan),
            Err(over) => return Ok(Fate::Over(over)),
        },
    };
    if let Some((key, max, since)) = &asked.submit.limit
        && let Some(wait) = use_limit(tx, key, *max, *since, now).await?
    {
        return Ok(Fate::Refused(Cap::RateLimit, wait));
    }
    let place = written.made.len();
    let ran_before = found.and_then(|found| found.ran);
    let mut made = Approval { ran_before, ..new.clone() };
    if let Some(plan) = plan {
        // The next one of this transaction reads it.
        tx.all(plan.steps(tx.is_postgres())).await?;
        made.terms.reserved = plan.reservation();
    }
    written.made.push(made);
    written.by.push(asked);
    written.place.insert((asked.agent(), asked.digest()), place);
    agents.makes(asked);
    if held {
        written.holds.push((new.id.clone(), asked));
        agents.holds(asked);
    }
    Ok(Fate::Made(place, held))
}

async fn write(tx: &mut Tx, written: &Written<'_>) -> Result<()> {
    insert(tx, written).await?;
    words::index(tx, &written.made).await?;
    let (mut events, mut deliveries) = (Vec::new(), Vec::new());
    for asked in &written.by {
        events.extend(&asked.submit.events);
        deliveries.extend(asked.submit.deliveries.iter().map(|new| (new, asked.at)));
    }
    let mut steps = audit::steps(tx.is_postgres(), events);
    steps.extend(outbox::steps(tx.is_postgres(), deliveries));
    tx.all(steps).await?;
    let holds: Vec<_> =
        written.holds.iter().map(|(id, asked)| (id, &asked.submit.hold, asked.at)).collect();
    holds::insert_all(tx, &holds).await?;
    holds::touch_all(tx, &written.joined).await
}

/// The open approval of the identical call.
///
/// # Errors
/// [`crate::store::StoreError`], when it can't be read.
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
    let owed = select(&format!(
        "where a.agent = $2 and a.digest = $3 and {ENDED} and a.owed = 1 \
           and (a.finished_at > $4 or a.state = 'indeterminate') \
         order by a.finished_at desc, a.id desc limit 1"
    ));
    let row = tx.row(owed, args![now, agent, digest.as_str(), owed_since]).await?;
    if let Some(row) = row {
        return read(&row).map(Some);
    }
    let latest = select(&format!(
        "where a.agent = $2 and a.digest = $3 and {ENDED} \
         order by a.finished_at desc, a.id desc limit 1"
    ));
    let row = tx.row(latest, args![now, agent, digest.as_str()]).await?;
    let approval = row.map(|row| read(&row)).transpose()?;
    Ok(approval.filter(|approval| is_cooling(approval, now)))
}

/// What is stored of a new approval; the rest is the same for all.
const COLUMNS: [(&str, super::super::rowset::Kind); 22] = [
    ("id", Text),
    ("state", Text),
    ("upstream", Text),
    ("method", Text),
    ("tool", Text),
    ("params", Text),
    ("digest", Text),
    ("agent", Text),
    ("client", Text),
    ("rule", Text),
    ("reason", Text),
    ("risk", Text),
    ("severity", Text),
    ("terms", Text),
    ("sensitive", Int),
    ("audience", Text),
    ("unattended", Int),
    ("decisions", Text),
    ("created_at", Int),
    ("expires_at", Int),
    ("changed_at", Int),
    ("ran_before", Int),
];

fn values(a: &Approval, now: Timestamp) -> Vec<Arg> {
    args![
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
        a.terms.unattended == Unattended::Run,
        json(&a.decisions),
        a.created_at,
        a.expires_at,
        now,
        a.ran_before,
    ]
}

async fn insert(tx: &mut Tx, written: &Written<'_>) -> Result<()> {
    let mut rows = Rowset::of(&COLUMNS);
    for (approval, asked) in written.made.iter().zip(&written.by) {
        rows.push(values(approval, asked.at));
    }
    if rows.is_empty() {
        return Ok(());
    }
    let names = COLUMNS.map(|(name, _)| name).join(", ");
    let sql = format!(
        "insert into approvals ({names}, version, owed, change_seq) \
         select {names}, 1, 0, null from {}",
        rows.source(tx, 1)
    );
    tx.execute(AssertSqlSafe(sql), vec![rows.argument()]).await.map(drop)
}
