//! New approvals stored per second, asked for by one and by many agents at once.

use crate::Options;
use crate::fill::Size;
use crate::report::{Report, median};
use crate::waiting::hold;
use crate::world::{Fallible, Place, World};

/// How many agents at once, and how many calls all of them make in a turn.
const SHAPES: [(usize, usize); 3] = [(1, 240), (8, 640), (64, 1_280)];
/// How often each has its turn.
const ROUNDS: usize = 2;

/// Measures.
pub async fn measure(world: &World, options: &Options, report: &mut Report) -> Fallible<()> {
    for place in Place::all() {
        let before = Size { pending: options.pending, ended: 0 };
        let part =
            format!("new approvals stored, {} pending before, {}", before.pending, place.name());
        for (agents, calls) in SHAPES {
            let calls = if options.quick { agents.max(32) } else { calls };
            let mut rates = vec![Vec::new(); world.kinds.len()];
            for _ in 0..if options.quick { 1 } else { ROUNDS } {
                for (kind, rates) in world.kinds.iter().zip(&mut rates) {
                    let broker = world.filled(kind, place, before).await?;
                    // The first ones of a new database.
                    let (warm, _) = hold(&broker, 32, 8, "warm").await?;
                    let (held, time) = hold(&broker, calls, agents, "submit").await?;
                    #[allow(clippy::cast_precision_loss, reason = "thousands")]
                    rates.push(calls as f64 / time.as_secs_f64());
                    drop((warm, held));
                    broker.end().await?;
                }
            }
            let cells = world.kinds.iter().map(|kind| kind.name.clone());
            let cells = cells.zip(rates.into_iter().map(median)).collect();
            report.add(&part, &format!("{agents} at once"), "/s", cells);
        }
    }
    Ok(())
}
