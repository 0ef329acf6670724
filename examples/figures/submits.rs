//! New approvals per second, asked for by one and by many agents at once.

use std::time::{Duration, Instant};

use crate::report::Report;
use crate::world::{Fallible, Place, World, agent_token, client, has_postgres, hold};

/// Calls of one turn, the same for every number of agents.
const CALLS: usize = 128;
/// How often every number of agents has its turn.
const ROUNDS: u32 = 2;
const AGENTS: [usize; 3] = [1, 8, 64];

/// Measures on SQLite, and on PostgreSQL where there is one.
pub async fn measure(report: &mut Report) -> Fallible<()> {
    on(report, "new held approvals per second, SQLite", Place::Disk).await?;
    if has_postgres() {
        on(report, "new held approvals per second, PostgreSQL", Place::Postgres).await?;
    }
    Ok(())
}

async fn on(report: &mut Report, part: &'static str, place: Place) -> Fallible<()> {
    let mut spent = [Duration::ZERO; AGENTS.len()];
    for _ in 0..ROUNDS {
        for (agents, spent) in AGENTS.into_iter().zip(&mut spent) {
            // A fresh one each time: a long queue is another figure.
            let world = World::start(agents, "group", place).await?;
            *spent += turn(&world, agents).await?;
            world.stop().await?;
        }
    }
    let calls = f64::from(u32::try_from(CALLS)? * ROUNDS);
    let rates = spent.map(|time| calls / time.as_secs_f64());
    for (agents, rate) in AGENTS.into_iter().zip(rates) {
        let what = format!("{agents} at once");
        report.add_ratio(part, &what, rate, "/s", ("1 at once", rates[0]));
    }
    Ok(())
}

/// All requests stay open until the last one is stored.
async fn turn(world: &World, agents: usize) -> Fallible<Duration> {
    let client = client()?;
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for agent in 0..agents {
        let (client, endpoint, token) = (client.clone(), world.endpoint(), agent_token(agent));
        tasks.push(tokio::spawn(async move {
            let mut open = Vec::new();
            for n in 0..CALLS / agents {
                open.push(hold(&client, &endpoint, &token, &format!("{agent}-{n}")).await?);
            }
            Fallible::Ok(open)
        }));
    }
    let mut open = Vec::new();
    for task in tasks {
        open.push(task.await??);
    }
    let spent = begun.elapsed();
    drop(open);
    world.nothing_held().await?;
    Ok(spent)
}
