//! What held calls cost while nothing happens, and what stays when they have ended.

use std::time::{Duration, Instant};

use crate::Options;
use crate::process::Usage;
use crate::report::Report;
use crate::waiting::{decide, hold};
use crate::world::{Broker, Fallible, Kind, Place, World};

/// Held once before, so that pools and arenas are filled already.
const WARM_UP: usize = 64;
/// Until what happens at the beginning is over.
const SETTLE: Duration = Duration::from_secs(2);
/// How long memory has to be given back.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(60);
/// Given back is what is not this many times what was used before.
const GIVEN_BACK: f64 = 1.5;

struct Found {
    before: Usage,
    with: Usage,
    after: Usage,
    watched: Usage,
    time: Duration,
    given_back: Option<Duration>,
}

/// Measures.
pub async fn measure(world: &World, options: &Options, report: &mut Report) -> Fallible<()> {
    let mut found = Vec::new();
    for kind in &world.kinds {
        found.push((kind.name.clone(), one(world, kind, options).await?));
    }
    let part = format!("{} held calls, nothing happening, own connection each", options.held);
    let mut add = |what: &str, unit, value: &dyn Fn(&Found) -> f64| {
        let cells = found.iter().map(|(name, found)| (name.clone(), value(found)));
        report.add(&part, what, unit, cells.collect());
    };
    #[allow(clippy::cast_precision_loss, reason = "thousands")]
    let held = options.held as f64;
    let seconds = |f: &Found| f.time.as_secs_f64();
    let busy = |f: &Found| f.watched.busy.saturating_sub(f.with.busy).as_secs_f64() / seconds(f);
    add("memory before", "KiB", &|f| f.before.memory_kib);
    add("memory with them", "KiB", &|f| f.with.memory_kib);
    add("memory per held call", "KiB", &|f| (f.with.memory_kib - f.before.memory_kib) / held);
    add("processor time, of one core", "core", &busy);
    add("wake-ups per second", "/s", &|f| (f.watched.wakes - f.with.wakes) / seconds(f));
    add("memory after all ended, within a minute", "KiB", &|f| f.after.memory_kib);
    add("… of what it was before", "x", &|f| f.after.memory_kib / f.before.memory_kib);
    add("seconds until it was below 1.5 (60: never)", "s", &|f| {
        f.given_back.unwrap_or(GIVEN_BACK_WITHIN).as_secs_f64()
    });
    Ok(())
}

async fn one(world: &World, kind: &Kind, options: &Options) -> Fallible<Found> {
    let broker = world.broker(kind, Place::Sqlite).await?;
    let (held, _) = hold(&broker, WARM_UP, 16, "warm").await?;
    end_all(&broker, held).await?;
    tokio::time::sleep(SETTLE).await;
    let before = broker.process.usage()?;
    let (held, _) = hold(&broker, options.held, 16, "held").await?;
    tokio::time::sleep(SETTLE).await;
    let (with, begun) = (broker.process.usage()?, Instant::now());
    tokio::time::sleep(options.watch).await;
    let (watched, time) = (broker.process.usage()?, begun.elapsed());
    end_all(&broker, held).await?;
    let (ended, mut given_back) = (Instant::now(), None);
    let mut after = broker.process.usage()?;
    let patience = if options.quick { Duration::from_secs(1) } else { GIVEN_BACK_WITHIN };
    while ended.elapsed() < patience && given_back.is_none() {
        tokio::time::sleep(Duration::from_millis(500)).await;
        after = broker.process.usage()?;
        if after.memory_kib < before.memory_kib * GIVEN_BACK {
            given_back = Some(ended.elapsed());
        }
    }
    broker.end().await?;
    Ok(Found { before, with, after, watched, time, given_back })
}

/// Rejects everything that waits; all clients have their answers and are gone when it returns.
async fn end_all(broker: &Broker, held: Vec<crate::waiting::Held>) -> Fallible<()> {
    let ids = broker.pending().await?;
    decide(broker, ids, "reject", 4).await?;
    for one in held {
        one.answer().await?;
    }
    Ok(())
}
