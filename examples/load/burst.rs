//! Thousands of new calls within three seconds: how many are stored, what the others are told, and
//! when all are stored if those are sent again as they were told to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::Options;
use crate::http::Conn;
use crate::report::{Report, Times};
use crate::requests;
use crate::waiting::{Asked, Held, ask, tool};
use crate::world::{Fallible, Kind, Place, World};

/// In which all are sent for the first time, evenly.
const WITHIN: Duration = Duration::from_secs(3);
/// Agents that send them.
const AGENTS: usize = 8;
/// When a call is sent again whose answer does not say when.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Found {
    at_first: f64,
    refused: BTreeMap<String, f64>,
    given_up: BTreeMap<String, f64>,
    stored: f64,
    last: Duration,
    times: Times,
}

/// What became of one call.
struct One {
    stored: Option<Held>,
    /// What it was told at first.
    refused: Option<String>,
    /// … and at last, where it is not stored.
    last: Option<String>,
    /// When this was known, since all began.
    at: Duration,
    /// … and since it was sent for the first time.
    time: Duration,
}

/// Measures.
pub async fn measure(world: &World, options: &Options, report: &mut Report) -> Fallible<()> {
    for place in Place::all() {
        let mut found = Vec::new();
        for kind in &world.kinds {
            found.push((kind.name.clone(), one(world, kind, place, options).await?));
        }
        let part = format!("{} new calls within 3 s, {}", options.burst, place.name());
        let mut add = |what: &str, unit, value: &dyn Fn(&Found) -> f64| {
            let cells = found.iter().map(|(name, found)| (name.clone(), value(found)));
            report.add(&part, what, unit, cells.collect());
        };
        add("stored at the first try", "", &|f| f.at_first);
        let codes = |of: fn(&Found) -> &BTreeMap<String, f64>| {
            let codes = found.iter().flat_map(|(_, f)| of(f).keys().cloned());
            codes.collect::<BTreeSet<String>>()
        };
        for code in codes(|f| &f.refused) {
            let told = |f: &Found| f.refused.get(&code).copied().unwrap_or(0.0);
            add(&format!("told {code} at the first try"), "", &told);
        }
        add("stored in the end", "", &|f| f.stored);
        for code in codes(|f| &f.given_up) {
            let told = |f: &Found| f.given_up.get(&code).copied().unwrap_or(0.0);
            add(&format!("told {code} at the last try"), "", &told);
        }
        add("seconds until the last one was stored", "s", &|f| f.last.as_secs_f64());
        add("from sending to stored, median", "ms", &|f| f.times.median());
        add("from sending to stored, p99", "ms", &|f| f.times.percentile(99));
    }
    Ok(())
}

async fn one(world: &World, kind: &Kind, place: Place, options: &Options) -> Fallible<Found> {
    let broker = world.broker(kind, place).await?;
    let mut conns = Vec::new();
    for _ in 0..options.burst {
        conns.push(broker.connect().await?);
    }
    let begun = Instant::now();
    let give_up = begun + options.burst_patience;
    let mut tasks = JoinSet::new();
    let step = WITHIN / u32::try_from(options.burst.max(1))?;
    for (n, conn) in conns.into_iter().enumerate() {
        let to = broker.agent(n % AGENTS);
        let request = requests::modern_call(&to, &tool(n), &format!("burst-{n}"));
        let at = begun + step * u32::try_from(n)?;
        tokio::time::sleep_until(at.into()).await;
        tasks.spawn(send(conn, request, broker.address, begun, give_up));
    }
    let (mut found, mut held) = (Found::default(), Vec::new());
    while let Some(done) = tasks.join_next().await {
        let one = done??;
        let at_first = one.refused.is_none();
        if let Some(code) = one.refused {
            *found.refused.entry(code).or_default() += 1.0;
        }
        if let Some(code) = one.last {
            *found.given_up.entry(code).or_default() += 1.0;
        }
        if let Some(stream) = one.stored {
            found.stored += 1.0;
            found.at_first += if at_first { 1.0 } else { 0.0 };
            found.last = found.last.max(one.at);
            held.push(stream);
            found.times.push(one.time);
        }
    }
    drop(held);
    broker.end().await?;
    Ok(found)
}

/// Sends a call until it is stored, or there is no more time.
async fn send(
    mut conn: Conn,
    request: Vec<u8>,
    address: SocketAddr,
    all_begun: Instant,
    give_up: Instant,
) -> Fallible<One> {
    let begun = Instant::now();
    let mut refused = None;
    let end = |stored, refused, last| {
        Ok(One { stored, refused, last, at: all_begun.elapsed(), time: begun.elapsed() })
    };
    loop {
        let asked = tokio::time::timeout_at(give_up.into(), ask(conn, &request)).await;
        let (code, kept, wait) = match asked {
            Ok(Ok(Asked::Held(held))) => return end(Some(held), refused, None),
            Ok(Ok(Asked::Refused(conn, code, wait))) => (code, Some(conn), wait),
            Ok(Err(error)) => (error.to_string(), None, None),
            Err(_) => ("no answer in time".to_owned(), None, None),
        };
        refused.get_or_insert_with(|| code.clone());
        let pause = wait.map_or(AGAIN, Duration::from_millis);
        if Instant::now() + pause >= give_up {
            return end(None, refused, Some(code));
        }
        tokio::time::sleep(pause).await;
        conn = match kept {
            Some(conn) => conn,
            None => Conn::open(address).await?,
        };
    }
}
