//! What is known of many calls before any of them is stored: their agents' counts, and what the
//! identical calls came to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sqlx::AssertSqlSafe;

use crate::domain::approval::Approval;
use crate::domain::time::Timestamp;
use crate::store::driver::{Tx, args};
use crate::store::{Cap, Result, Submit};

use super::super::counts;
use super::super::rowset::{Int, Rowset, Text};
use super::row::read;
use super::{ENDED, OPEN, select};

/// What to wait, milliseconds, where people end the pending ones, at no known time.
const WAIT_FOR_PEOPLE_MS: u64 = 30_000;

/// A call as it was handed over, and when.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) submit: Submit,
    pub(super) at: Timestamp,
}

impl Asked {
    pub(super) fn agent(&self) -> &str {
        &self.submit.approval.agent
    }

    pub(super) fn digest(&self) -> &str {
        self.submit.approval.digest().as_str()
    }
}

/// Whether a rejection is repeated for the identical call.
pub(super) fn is_cooling(approval: &Approval, now: Timestamp) -> bool {
    approval.cooldown_until().is_some_and(|until| until > now)
}

/// The new approvals of an agent in a window.
#[derive(Debug, Clone, Copy)]
struct New {
    /// How many; no more are counted than are allowed.
    n: i64,
    /// When the oldest of them was made.
    oldest: Option<Timestamp>,
    /// Where the window began.
    since: Timestamp,
}

#[derive(Debug, Default)]
struct OfAgent {
    /// Pending and approved.
    open: i64,
    /// All that are kept: no window holds more.
    ever: i64,
    /// Held requests.
    held: i64,
    /// Of those that were there before this transaction; none if `ever` says enough.
    new: Option<New>,
    /// Made in this transaction, and when the first was.
    made: i64,
    first: Option<Timestamp>,
}

/// The counts of all agents of a transaction, with what it adds itself.
#[derive(Debug)]
pub(super) struct Agents {
    of: BTreeMap<String, OfAgent>,
    /// Pending and approved of all agents.
    pub(super) pending: i64,
}

impl Agents {
    /// Reads them in one statement, and a second where a window may be full.
    ///
    /// # Errors
    /// [`crate::store::StoreError`], when the database can't be read.
    pub(super) async fn read(tx: &mut Tx, all: &[Arc<Asked>], now: Timestamp) -> Result<Self> {
        let mut of: BTreeMap<String, OfAgent> = BTreeMap::new();
        for asked in all {
            of.entry(asked.agent().to_owned()).or_default();
        }
        let mut rows = Rowset::of(&[("agent", Text)]);
        for agent in of.keys().map(String::as_str).chain([counts::ALL]) {
            rows.push(args![agent]);
        }
        let sql = format!(
            "select r.agent, \
                    (select cast(coalesce(sum(c.n), 0) as bigint) from approval_counts c \
                      where c.agent = r.agent and c.state in ('pending', 'approved')) as open, \
                    (select cast(coalesce(sum(c.n), 0) as bigint) from approval_counts c \
                      where c.agent = r.agent) as ever, \
                    (select count(*) from nodes n cross join holds h \
                      where h.node = n.id and h.agent = r.agent and n.lease_expires_at > $2) as held \
               from {}",
            rows.source(tx, 1)
        );
        let mut pending = 0;
        for row in tx.rows(AssertSqlSafe(sql), vec![rows.argument(), now.into()]).await? {
            if let Some(agent) = of.get_mut(&row.text("agent")?) {
                agent.open = row.int("open")?;
                agent.ever = row.int("ever")?;
                agent.held = row.int("held")?;
            } else {
                pending = row.int("open")?;
            }
        }
        let mut agents = Self { of, pending };
        agents.read_new(tx, all).await?;
        Ok(agents)
    }

    /// The windows of those agents that ever had as many as may be new.
    async fn read_new(&mut self, tx: &mut Tx, all: &[Arc<Asked>]) -> Result<()> {
        let most = all.iter().map(|asked| asked.submit.max_new).max().unwrap_or_default();
        let mut since: BTreeMap<&str, Timestamp> = BTreeMap::new();
        for asked in all {
            let begins = since.entry(asked.agent()).or_insert(asked.submit.new_since);
            *begins = asked.submit.new_since.min(*begins);
        }
        let mut rows = Rowset::of(&[("agent", Text), ("since", Int)]);
        let may_be_full = |asked: &&Arc<Asked>| {
            let room = i64::from(asked.submit.max_new);
            let asks = i64::try_from(all.len()).unwrap_or(i64::MAX);
            self.of.get(asked.agent()).is_some_and(|agent| agent.ever + asks > room)
        };
        let full: BTreeMap<&str, Timestamp> = all
            .iter()
            .filter(may_be_full)
            .filter_map(|asked| Some((asked.agent(), *since.get(asked.agent())?)))
            .collect();
        for (agent, since) in &full {
            rows.push(args![*agent, *since]);
        }
        if rows.is_empty() {
            return Ok(());
        }
        let sql = format!(
            "select r.agent, r.since, \
                    (select count(*) from (select 1 as one from approvals a \
                      where a.agent = r.agent and a.created_at > r.since limit $2) w) as n, \
                    (select min(a.created_at) from approvals a \
                      where a.agent = r.agent and a.created_at > r.since) as oldest \
               from {}",
            rows.source(tx, 1)
        );
        for row in tx.rows(AssertSqlSafe(sql), vec![rows.argument(), most.into()]).await? {
            let oldest = row.opt_int("oldest")?.map(Timestamp::from_micros);
            let since = Timestamp::from_micros(row.int("since")?);
            if let Some(agent) = self.of.get_mut(&row.text("agent")?) {
                agent.new = Some(New { n: row.int("n")?, oldest, since });
            }
        }
        Ok(())
    }

    fn mine(&mut self, asked: &Asked) -> &mut OfAgent {
        self.of.entry(asked.agent().to_owned()).or_default()
    }

    /// Whether one more request of the agent may be held.
    pub(super) fn takes_one_more(&mut self, asked: &Asked) -> bool {
        self.mine(asked).held < i64::from(asked.submit.max_held)
    }

    /// One more is held.
    pub(super) fn holds(&mut self, asked: &Asked) {
        self.mine(asked).held += 1;
    }

    /// One more approval is made.
    pub(super) fn makes(&mut self, asked: &Asked) {
        self.pending += 1;
        let agent = self.mine(asked);
        agent.open += 1;
        agent.made += 1;
        agent.first.get_or_insert(asked.at);
    }

    /// The limit of section `[approvals]` that refuses this call, and the milliseconds to wait.
    ///
    /// # Errors
    /// [`crate::store::StoreError`], when the database can't be read.
    pub(super) async fn over_a_cap(
        &mut self,
        tx: &mut Tx,
        asked: &Asked,
    ) -> Result<Option<(Cap, u64)>> {
        let submit = &asked.submit;
        if self.pending >= i64::from(submit.max_pending) {
            return Ok(Some((Cap::Pending, WAIT_FOR_PEOPLE_MS)));
        }
        let agent = self.mine(asked);
        if agent.open >= i64::from(submit.max_pending_per_agent) {
            return Ok(Some((Cap::PendingPerAgent, WAIT_FOR_PEOPLE_MS)));
        }
        let most = i64::from(submit.max_new);
        let before = agent.new.map_or(agent.ever, |new| new.n);
        if before + agent.made < most {
            return Ok(None);
        }
        // The window was read as it began for the agent's first call, and moves on with time.
        let moved = |new: &New| {
            new.since < submit.new_since
                && new.oldest.is_some_and(|oldest| oldest <= submit.new_since)
        };
        if agent.new.as_ref().is_none_or(moved) {
            agent.new = Some(read_window(tx, asked).await?);
        }
        let new = agent.new.map_or(0, |new| new.n) + agent.made;
        if new < most {
            return Ok(None);
        }
        let oldest = agent.new.and_then(|new| new.oldest).or(agent.first).unwrap_or(asked.at);
        let wait = (oldest.micros() - submit.new_since.micros()).max(0).unsigned_abs() / 1000 + 1;
        Ok(Some((Cap::NewPerAgent, wait)))
    }
}

/// Only what was there before this transaction: nothing of it is written yet.
async fn read_window(tx: &mut Tx, asked: &Asked) -> Result<New> {
    let since = asked.submit.new_since;
    let row = tx
        .row(
            "select count(*) as n, min(created_at) as oldest from \
             (select created_at from approvals where agent = $1 and created_at > $2 \
               order by created_at limit $3) w",
            args![asked.agent(), since, asked.submit.max_new],
        )
        .await?;
    let (n, oldest) = match row {
        Some(row) => (row.int("n")?, row.opt_int("oldest")?.map(Timestamp::from_micros)),
        None => (0, None),
    };
    Ok(New { n, oldest, since })
}

/// What is stored of the identical call.
#[derive(Debug)]
pub(super) struct Known {
    /// Its open approval.
    pub(super) open: Option<Approval>,
    /// When it ran last, as far back as ends are owed.
    pub(super) ran: Option<Timestamp>,
    /// The latest end that is owed.
    owed: Option<Approval>,
    /// The latest end.
    latest: Option<Approval>,
}

impl Known {
    /// The end that is this call's answer now.
    pub(super) fn ended(&self, now: Timestamp) -> Option<Approval> {
        let cooling = || self.latest.clone().filter(|latest| is_cooling(latest, now));
        self.owed.clone().or_else(cooling)
    }
}

/// What is stored of the calls that were made before, by agent and digest. The order of the ends is
/// that of the look-up of a single call.
///
/// # Errors
/// [`crate::store::StoreError`], when a row can't be read.
pub(super) async fn known(
    tx: &mut Tx,
    all: &[Arc<Asked>],
    now: Timestamp,
) -> Result<HashMap<(String, String), Known>> {
    let mut rows = Rowset::of(&[("agent", Text), ("digest", Text), ("owed_since", Int)]);
    for asked in all {
        rows.push(args![asked.agent(), asked.digest(), asked.submit.owed_since]);
    }
    let same = "a.agent = r.agent and a.digest = r.digest";
    let sql = format!(
        "select r.agent, r.digest, \
                (select a.id from approvals a where {same} and {OPEN}) as open, \
                (select a.id from approvals a where {same} and {ENDED} and a.owed = 1 \
                    and (a.finished_at > r.owed_since or a.state = 'indeterminate') \
                  order by a.finished_at desc, a.id desc limit 1) as owed, \
                (select a.id from approvals a where {same} and {ENDED} \
                  order by a.finished_at desc, a.id desc limit 1) as latest, \
                (select max(a.finished_at) from approvals a \
                  where {same} and {ENDED} and a.finished_at > r.owed_since \
                    and (a.state = 'completed' or a.outcome_kind is not null)) as ran \
           from {} where exists (select 1 from approvals a where {same} and {OPEN}) \
              or exists (select 1 from approvals a where {same} and {ENDED})",
        rows.source(tx, 1)
    );
    let before = tx.rows(AssertSqlSafe(sql), vec![rows.argument()]).await?;
    let mut found = HashMap::new();
    if before.is_empty() {
        return Ok(found);
    }
    let mut ids = Rowset::of(&[("id", Text)]);
    for row in &before {
        // One of them is enough, in this order.
        for column in ["open", "owed", "latest"] {
            if let Some(id) = row.opt_text(column)? {
                ids.push(args![id]);
                break;
            }
        }
    }
    let mut approvals = HashMap::new();
    if !ids.is_empty() {
        let sql = select(&format!("where a.id in (select r.id from {})", ids.source(tx, 2)));
        for row in tx.rows(sql, vec![now.into(), ids.argument()]).await? {
            let approval = read(&row)?;
            approvals.insert(approval.id.to_string(), approval);
        }
    }
    for row in &before {
        let named = |column| -> Result<Option<Approval>> {
            Ok(row.opt_text(column)?.and_then(|id| approvals.get(&id).cloned()))
        };
        let known = Known {
            open: named("open")?,
            ran: row.opt_int("ran")?.map(Timestamp::from_micros),
            owed: named("owed")?,
            latest: named("latest")?,
        };
        found.insert((row.text("agent")?, row.text("digest")?), known);
    }
    Ok(found)
}
