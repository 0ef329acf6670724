//! Held calls, all approved by a few clients of the HTTP API: from the first decision until the last
//! held client has its result.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::Options;
use crate::http::holds;
use crate::report::{Report, Times};
use crate::upstream::DONE;
use crate::waiting::{decide, hold};
use crate::world::{Fallible, Kind, Place, World};

/// Clients of the API.
const CLIENTS: usize = 4;
/// Agents whose calls they are.
const AGENTS: usize = 16;

struct Found {
    resumed: f64,
    own: Times,
    busy: Duration,
}

/// Measures.
pub async fn measure(world: &World, options: &Options, report: &mut Report) -> Fallible<()> {
    for place in Place::all() {
        let mut found = Vec::new();
        for kind in &world.kinds {
            found.push((kind.name.clone(), one(world, kind, place, options.decided).await?));
        }
        let count = options.decided;
        let part =
            format!("{count} held, all approved by {CLIENTS} clients of the API, {}", place.name());
        let mut add = |what: &str, unit, value: &dyn Fn(&Found) -> f64| {
            let cells = found.iter().map(|(name, found)| (name.clone(), value(found)));
            report.add(&part, what, unit, cells.collect());
        };
        #[allow(clippy::cast_precision_loss, reason = "thousands")]
        let count = count as f64;
        add("resumed per second", "/s", &|f| f.resumed);
        add("the decision itself, median", "ms", &|f| f.own.median());
        add("the decision itself, p99", "ms", &|f| f.own.percentile(99));
        add("processor time for each", "µs", &|f| f.busy.as_secs_f64() * 1e6 / count);
    }
    Ok(())
}

async fn one(world: &World, kind: &Kind, place: Place, count: usize) -> Fallible<Found> {
    let broker = world.broker(kind, place).await?;
    let (held, _) = hold(&broker, count, AGENTS, "decide").await?;
    let ids = broker.pending().await?;
    if ids.len() != count {
        return Err(format!("{} of {count} wait", ids.len()).into());
    }
    let before = broker.process.usage()?;
    let begun = Instant::now();
    let mut answers = JoinSet::new();
    for one in held {
        answers.spawn(async move {
            let body = one.answer().await?;
            if !holds(&body, DONE) {
                return Err(format!("not run: {}", String::from_utf8_lossy(&body)).into());
            }
            Fallible::Ok(Instant::now())
        });
    }
    let deciding = decide(&broker, ids, "approve", CLIENTS);
    let answered = async {
        let mut last = begun;
        while let Some(done) = answers.join_next().await {
            last = last.max(done??);
        }
        Fallible::Ok(last)
    };
    let (own, last) = tokio::try_join!(deciding, answered)?;
    let busy = broker.process.usage()?.busy.saturating_sub(before.busy);
    broker.end().await?;
    #[allow(clippy::cast_precision_loss, reason = "thousands")]
    let resumed = count as f64 / (last - begun).as_secs_f64();
    Ok(Found { resumed, own, busy })
}
