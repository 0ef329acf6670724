//! Counters in rows, one for each and for each session that counts by itself. A row is read, added
//! to and written in one transaction, which nobody else of the counter runs beside.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use sqlx::AssertSqlSafe;

use crate::domain::policy::Window;
use crate::domain::quantity::Quantity;
use crate::domain::reservation::{Part, Reservation};
use crate::domain::tally::{History, Tally};
use crate::domain::time::Timestamp;
use crate::store::counters::{
    Counter, CounterKey, CounterRow, CounterStore, Draw, Over, Rate, Reserving, SessionOf,
};
use crate::store::driver::{Arg, Db, Lock, Row, Step, Tx, args};
use crate::store::{LimitKey, Result, StoreError, TOKEN_SESSION};

use super::SqlStore;
use super::limits::use_limit;
use super::rowset::{Int, Rowset, Text};

/// What the sessions of an agent used together, but for what came without one.
const SESSIONS: &str = "*";

/// A row: the counter's key and the session.
type Place = (String, String);

/// The rows that say what a counter has counted.
fn places(counter: &Counter) -> Vec<Place> {
    let key = counter.key.spelled();
    let of = |session: &str| (key.clone(), session.to_owned());
    match &counter.session {
        SessionOf::Any => vec![of("")],
        SessionOf::Token => vec![of(TOKEN_SESSION), of(SESSIONS)],
        SessionOf::Own { id, .. } => vec![of(id), of(TOKEN_SESSION), of(SESSIONS)],
    }
}

/// What was read.
#[derive(Default)]
struct Rows {
    tallies: BTreeMap<Place, Tally>,
    /// What sessions used together, by the counter.
    sessions: BTreeMap<String, History>,
}

/// What a call is about to take, with the rows that it was read from.
pub(super) struct Plan {
    rows: Rows,
    /// The rows that change, with the upstream and the window of each.
    changed: BTreeMap<Place, (String, Window)>,
    parts: Vec<Part>,
}

impl Plan {
    /// What it takes.
    pub(super) fn reservation(self) -> Reservation {
        Reservation(self.parts)
    }
}

/// The locks that who changes these counters takes.
pub(super) fn locked(draws: &[Draw]) -> BTreeSet<String> {
    draws.iter().map(|draw| draw.counter.key.spelled()).collect()
}

/// Reads what is used, and what would be with this call; or which of the draws has too little left.
///
/// # Errors
/// [`StoreError`], when the database can't be read.
pub(super) async fn plan(
    tx: &mut Tx,
    draws: &[Draw],
    now: Timestamp,
) -> Result<std::result::Result<Plan, Over>> {
    let wanted = draws.iter().flat_map(|draw| places(&draw.counter));
    let rows = read(tx, wanted.collect()).await?;
    let mut plan = Plan { rows, changed: BTreeMap::new(), parts: Vec::new() };
    for (i, draw) in draws.iter().enumerate() {
        if let Err(over) = plan.draw(i, draw, now) {
            return Ok(Err(over));
        }
    }
    Ok(Ok(plan))
}

impl Plan {
    fn draw(&mut self, i: usize, draw: &Draw, now: Timestamp) -> std::result::Result<(), Over> {
        let window = draw.counter.window;
        let (own, all) = self.counted(&draw.counter);
        let used = all.used(window, now);
        if used.plus(draw.amount) > draw.max {
            let excess = used.plus(draw.amount).minus(draw.max);
            let frees = all.frees(excess, window, now).unwrap_or(now);
            let frees_in_ms =
                (frees.micros() - now.micros()).max(0).unsigned_abs().div_ceil(1_000) + 1;
            return Err(Over { draw: i, used, frees_in_ms });
        }
        if draw.amount.is_zero() {
            return Ok(());
        }
        let (key, slot) = (draw.counter.key.spelled(), window.slot(now));
        let session = match &draw.counter.session {
            SessionOf::Any => "",
            SessionOf::Token => TOKEN_SESSION,
            SessionOf::Own { id, .. } => {
                let history = self.rows.sessions.entry(key.clone()).or_default();
                history.add(now, draw.amount, window);
                self.took(draw, SESSIONS, now.micros());
                id
            }
        };
        let mut own = own;
        own.trim(window, now);
        own.add(slot, draw.amount);
        self.rows.tallies.insert((key, session.to_owned()), own);
        self.took(draw, session, slot);
        Ok(())
    }

    fn took(&mut self, draw: &Draw, session: &str, slot: i64) {
        let (counter, session) = (draw.counter.key.spelled(), session.to_owned());
        let upstream = draw.counter.key.upstream.clone();
        let place = (counter.clone(), session.clone());
        self.changed.insert(place, (upstream, draw.counter.window));
        self.parts.push(Part { counter, session, slot, amount: draw.amount });
    }

    /// The counter's own tally, and all that counts with it. A session of which nothing is counted
    /// yet begins with what the others had used when it began.
    fn counted(&self, counter: &Counter) -> (Tally, Tally) {
        counted(&self.rows, counter)
    }

    /// The statements that write it.
    pub(super) fn steps(&self, is_postgres: bool) -> Vec<Step> {
        let rows = self.changed.iter().map(|(place, (upstream, window))| {
            let (tally, slots) = match self.rows.sessions.get(&place.0) {
                Some(history) if place.1 == SESSIONS => {
                    (history.tally(*window), history.to_string())
                }
                _ => {
                    let tally = self.rows.tallies.get(place).cloned().unwrap_or_default();
                    let slots = tally.to_string();
                    (tally, slots)
                }
            };
            let empty_at = tally.empty_at(*window).unwrap_or(Timestamp::from_micros(0));
            (place, upstream.as_str(), slots, empty_at)
        });
        let mut set = Rowset::of(&[
            ("counter", Text),
            ("session", Text),
            ("upstream", Text),
            ("slots", Text),
            ("empty_at", Int),
        ]);
        for ((counter, session), upstream, slots, empty_at) in rows {
            set.push(args![counter.as_str(), session.as_str(), upstream, slots, empty_at]);
        }
        set.steps(is_postgres, |source| {
            format!(
                "insert into counters (counter, session, upstream, slots, empty_at) \
                 select r.counter, r.session, r.upstream, r.slots, r.empty_at from {source} where true \
                 on conflict (counter, session) do update \
                   set slots = excluded.slots, empty_at = excluded.empty_at"
            )
        })
    }
}

fn counted(rows: &Rows, counter: &Counter) -> (Tally, Tally) {
    let key = counter.key.spelled();
    let of = |session: &str| rows.tallies.get(&(key.clone(), session.to_owned())).cloned();
    let sessions = rows.sessions.get(&key);
    match &counter.session {
        SessionOf::Any => {
            let own = of("").unwrap_or_default();
            (own.clone(), own)
        }
        SessionOf::Token => {
            let own = of(TOKEN_SESSION).unwrap_or_default();
            let others = sessions.map(|history| history.tally(counter.window));
            let all = own.with(&others.unwrap_or_default());
            (own, all)
        }
        SessionOf::Own { id, began } => {
            let before = || {
                let before = sessions.zip(*began);
                before.map(|(history, began)| history.until(counter.window, began))
            };
            let own = of(id).or_else(before).unwrap_or_default();
            let all = own.with(&of(TOKEN_SESSION).unwrap_or_default());
            (own, all)
        }
    }
}

async fn read(tx: &mut Tx, places: BTreeSet<Place>) -> Result<Rows> {
    let mut set = Rowset::of(&[("counter", Text), ("session", Text)]);
    for (counter, session) in &places {
        set.push(args![counter.as_str(), session.as_str()]);
    }
    if set.is_empty() {
        return Ok(Rows::default());
    }
    let sql = format!(
        "select c.counter, c.session, c.slots from {} \
           join counters c on c.counter = r.counter and c.session = r.session",
        set.source(tx, 1)
    );
    let mut found = Rows::default();
    for row in tx.rows(AssertSqlSafe(sql), vec![set.argument()]).await? {
        let (counter, session) = (row.text("counter")?, row.text("session")?);
        if session == SESSIONS {
            let history = History::read(&row.text("slots")?).ok_or_else(|| unreadable(&counter))?;
            found.sessions.insert(counter, history);
        } else {
            let tally = tally(&row)?;
            found.tallies.insert((counter, session), tally);
        }
    }
    Ok(found)
}

fn unreadable(counter: &str) -> StoreError {
    StoreError::corrupt("counters", "slots", counter, "no amounts by time")
}

fn tally(row: &Row) -> Result<Tally> {
    let counter = row.text("counter")?;
    Tally::read(&row.text("slots")?).ok_or_else(|| unreadable(&counter))
}

/// Gives back within a transaction that has the counters' locks.
///
/// # Errors
/// [`StoreError`], when the database can't be read or written.
pub(super) async fn give_back_in(tx: &mut Tx, reservation: &Reservation) -> Result<()> {
    let place = |part: &Part| (part.counter.clone(), part.session.clone());
    let mut rows = read(tx, reservation.0.iter().map(place).collect()).await?;
    for part in &reservation.0 {
        // What has left its window may be gone by now.
        if part.session == SESSIONS {
            if let Some(history) = rows.sessions.get_mut(&part.counter) {
                history.take_back(part.slot, part.amount);
            }
        } else if let Some(tally) = rows.tallies.get_mut(&place(part)) {
            tally.take_back(part.slot, part.amount);
        }
    }
    let mut set = Rowset::of(&[("counter", Text), ("session", Text), ("slots", Text)]);
    for ((counter, session), tally) in &rows.tallies {
        set.push(args![counter.as_str(), session.as_str(), tally.to_string()]);
    }
    for (counter, history) in &rows.sessions {
        set.push(args![counter.as_str(), SESSIONS, history.to_string()]);
    }
    let steps = set.steps(tx.is_postgres(), |source| {
        format!(
            "update counters set slots = r.slots from {source} \
              where counters.counter = r.counter and counters.session = r.session"
        )
    });
    tx.all(steps).await.map(drop)
}

/// The locks of what is given back.
pub(super) fn locks_of(reservation: &Reservation) -> Vec<Lock<'_>> {
    reservation.0.iter().map(|part| Lock::Uses(&part.counter)).collect()
}

/// Takes locks, in the order that all keep who take many.
///
/// # Errors
/// [`StoreError`], when they are not free in time.
pub(super) async fn take_locks(tx: &mut Tx, locks: &[Lock<'_>]) -> Result<()> {
    if !tx.is_postgres() || locks.is_empty() {
        return Ok(());
    }
    let (sql, values) = Lock::take_all(locks);
    tx.rows(sql, values).await.map(drop)
}

async fn begin(db: &Db, locks: &[Lock<'_>]) -> Result<Tx> {
    if let [only] = locks {
        return db.begin_locked(*only).await;
    }
    let mut tx = db.begin().await?;
    take_locks(&mut tx, locks).await?;
    Ok(tx)
}

async fn reserve(
    db: Db,
    rate: Option<Rate>,
    draws: Vec<Draw>,
    now: Timestamp,
) -> Result<Reserving> {
    let (keys, shared) = (locked(&draws), rate.as_ref().map(|(key, ..)| key.shared()));
    let locks: Vec<Lock<'_>> = keys.iter().chain(&shared).map(|key| Lock::Uses(key)).collect();
    let mut tx = begin(&db, &locks).await?;
    let plan = match plan(&mut tx, &draws, now).await? {
        Ok(plan) => plan,
        Err(over) => {
            tx.rollback().await?;
            return Ok(Reserving::Over(over));
        }
    };
    if let Some((key, max, since)) = &rate
        && let Some(wait) = use_limit(&mut tx, key, *max, *since, now).await?
    {
        tx.rollback().await?;
        return Ok(Reserving::RateLimited(wait));
    }
    let steps = plan.steps(tx.is_postgres());
    tx.all(steps).await?;
    tx.commit().await?;
    Ok(Reserving::Taken(plan.reservation()))
}

async fn give_back(db: Db, reservation: Reservation) -> Result<()> {
    let locks = locks_of(&reservation);
    let mut tx = begin(&db, &locks).await?;
    give_back_in(&mut tx, &reservation).await?;
    tx.commit().await
}

#[async_trait]
impl CounterStore for SqlStore {
    async fn reserve(
        &self,
        rate: Option<Rate>,
        draws: Vec<Draw>,
        now: Timestamp,
    ) -> Result<Reserving> {
        self.run_for_agent(move |db| reserve(db, rate.clone(), draws.clone(), now)).await
    }

    async fn give_back(&self, reservation: &Reservation) -> Result<()> {
        if reservation.is_empty() {
            return Ok(());
        }
        let reservation = reservation.clone();
        self.run_for_call(move |db| give_back(db, reservation.clone())).await
    }

    async fn used(&self, counters: Vec<Counter>, now: Timestamp) -> Result<Vec<Quantity>> {
        let wanted = counters.iter().flat_map(places);
        let mut tx = self.db.read().await?;
        let rows = read(&mut tx, wanted.collect()).await?;
        let used = |counter| counted(&rows, counter).1.used(counter.window, now);
        Ok(counters.iter().map(used).collect())
    }

    async fn counters_of(
        &self,
        upstream: &str,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<CounterRow>> {
        let sql = "select counter, session, slots from counters \
              where (upstream = $1 or upstream = '') and empty_at > $2 and session <> $4 \
              order by empty_at desc, counter, session limit $3";
        let mut tx = self.db.read().await?;
        let rows = tx.rows(sql, args![upstream, now, limit, SESSIONS]).await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            // One that is spelled in another way is of a later program.
            let Some(key) = CounterKey::parse(&row.text("counter")?) else { continue };
            found.push(CounterRow { key, session: row.text("session")?, tally: tally(row)? });
        }
        Ok(found)
    }

    async fn note_round(&self, round: &LimitKey, now: Timestamp) -> Result<()> {
        let values: Vec<Arg> = args![round.to_string(), now];
        self.run_for_call(move |db| {
            write(db, "insert into rate_uses (key, at) values ($1, $2)", values.clone())
        })
        .await
        .map(drop)
    }

    async fn take_round(&self, round: &LimitKey) -> Result<bool> {
        let values: Vec<Arg> = args![round.to_string()];
        let sql = "delete from rate_uses where key = $1";
        self.run_for_agent(move |db| write(db, sql, values.clone())).await.map(|n| n > 0)
    }
}

async fn write(db: Db, sql: &'static str, values: Vec<Arg>) -> Result<u64> {
    let mut tx = db.begin().await?;
    let touched = tx.execute(sql, values).await?;
    tx.commit().await?;
    Ok(touched)
}
