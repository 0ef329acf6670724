//! Allowed calls: direct, through nginx, through brokers, in alternating rounds.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::Options;
use crate::http::{Conn, holds};
use crate::process::Process;
use crate::report::{Report, Times, median, ms};
use crate::requests::{self, Again, To};
use crate::upstream::DONE;
use crate::world::{Broker, Fallible, Place, World};

const TOOL: &str = "get_image_set_7";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Era {
    Legacy,
    Modern,
}

/// What is measured: the era, and how many connections, each with its session in the legacy era.
const SHAPES: [(&str, Era, usize); 6] = [
    ("legacy, 1 session", Era::Legacy, 1),
    ("legacy, 8 sessions", Era::Legacy, 8),
    ("legacy, 16 sessions", Era::Legacy, 16),
    ("modern, 1 connection", Era::Modern, 1),
    ("modern, 8 connections", Era::Modern, 8),
    ("modern, 64 connections", Era::Modern, 64),
];

/// One connection, and the call that it makes again and again.
struct Lane {
    conn: Conn,
    call: Again,
}

/// One whose calls are measured.
struct Target<'a> {
    name: String,
    address: SocketAddr,
    to: To,
    /// Whose processor time counts; not that of the upstream itself.
    process: Option<&'a Process>,
    lanes: Vec<Lane>,
    rates: Vec<f64>,
    busy: Duration,
    calls: u32,
    times: Times,
}

/// Measures.
pub async fn measure(world: &World, options: &Options, report: &mut Report) -> Fallible<()> {
    let mut brokers = Vec::new();
    for kind in &world.kinds {
        brokers.push(world.broker(kind, Place::Sqlite).await?);
    }
    for shape in SHAPES {
        one(world, &brokers, shape, options, report).await?;
    }
    for broker in brokers {
        broker.end().await?;
    }
    Ok(())
}

async fn one(
    world: &World,
    brokers: &[Broker],
    (what, era, connections): (&str, Era, usize),
    options: &Options,
    report: &mut Report,
) -> Fallible<()> {
    let mut targets = vec![Target::new("direct", world.direct, World::plain(world.direct), None)];
    if let Some((process, address)) = &world.nginx {
        targets.push(Target::new("nginx", *address, World::plain(*address), Some(process)));
    }
    for broker in brokers {
        let process = Some(&broker.process);
        targets.push(Target::new(&broker.name, broker.address, broker.agent(0), process));
    }
    for target in &mut targets {
        for _ in 0..connections {
            let lane = target.lane(era).await?;
            target.lanes.push(lane);
        }
        target.turn(options.window / 2).await?;
        target.forget();
    }
    let count = targets.len();
    for round in 0..options.rounds {
        for n in 0..count {
            // Nobody is always the first after another.
            targets[(n + round) % count].turn(options.window).await?;
        }
    }
    tell(what, connections, &targets, report);
    Ok(())
}

impl<'a> Target<'a> {
    fn new(name: &str, address: SocketAddr, to: To, process: Option<&'a Process>) -> Self {
        Self {
            name: name.to_owned(),
            address,
            to,
            process,
            lanes: Vec::new(),
            rates: Vec::new(),
            busy: Duration::ZERO,
            calls: 0,
            times: Times::default(),
        }
    }

    async fn lane(&self, era: Era) -> Fallible<Lane> {
        let mut conn = Conn::open(self.address).await?;
        if era == Era::Modern {
            return Ok(Lane { conn, call: requests::modern_calls(&self.to, TOOL, "7f3a") });
        }
        let (head, body) = conn.ask(&requests::initialize(&self.to)).await?;
        let session = head
            .session
            .ok_or_else(|| format!("no session: {}", String::from_utf8_lossy(&body)))?;
        conn.ask(&requests::initialized(&self.to, &session)).await?;
        Ok(Lane { conn, call: requests::legacy_calls(&self.to, &session, TOOL, "7f3a") })
    }

    /// All connections call, one call after the other, for so long.
    async fn turn(&mut self, window: Duration) -> Fallible<()> {
        let before = self.process.map(Process::usage).transpose()?;
        let begun = Instant::now();
        let mut tasks = JoinSet::new();
        for lane in self.lanes.drain(..) {
            tasks.spawn(drive(lane, begun + window));
        }
        let mut calls = 0;
        while let Some(done) = tasks.join_next().await {
            let (lane, times, count) = done??;
            self.lanes.push(lane);
            self.times.append(&mut { times });
            calls += count;
        }
        self.rates.push(f64::from(calls) / begun.elapsed().as_secs_f64());
        self.calls += calls;
        if let (Some(before), Some(process)) = (before, self.process) {
            self.busy += process.usage()?.busy.saturating_sub(before.busy);
        }
        Ok(())
    }

    /// What was measured while everything was cold.
    fn forget(&mut self) {
        (self.rates, self.times) = (Vec::new(), Times::default());
        (self.busy, self.calls) = (Duration::ZERO, 0);
    }
}

async fn drive(mut lane: Lane, until: Instant) -> Fallible<(Lane, Times, u32)> {
    let (mut times, mut calls) = (Times::default(), 0);
    let mut begun = Instant::now();
    while begun < until {
        let (_, body) = lane.conn.ask(lane.call.next()).await?;
        if !holds(&body, DONE) {
            return Err(format!("not passed on: {}", String::from_utf8_lossy(&body)).into());
        }
        let now = Instant::now();
        times.push(now - begun);
        (begun, calls) = (now, calls + 1);
    }
    Ok((lane, times, calls))
}

fn tell(what: &str, connections: usize, targets: &[Target<'_>], report: &mut Report) {
    let part = format!("allowed tools/call, {what}, 50 tools");
    let mut add = |what: &str, unit, value: &dyn Fn(&Target<'_>) -> Option<f64>| {
        let cells = targets.iter().filter_map(|t| Some((t.name.clone(), value(t)?))).collect();
        report.add(&part, what, unit, cells);
    };
    add("calls per second, median of the rounds", "/s", &|t| Some(median(t.rates.clone())));
    for base in targets.iter().filter(|t| t.name == "nginx" || t.name == "direct").rev() {
        // Each round against its neighbour in time.
        let share = |t: &Target<'_>| {
            let pairs = t.rates.iter().zip(&base.rates);
            let counts = t.name != base.name && t.name != "direct";
            counts.then(|| median(pairs.map(|(rate, base)| rate / base).collect()))
        };
        add(&format!("share of {}'s rate", base.name), "x", &share);
    }
    add("its processor time per call", "µs", &|t| {
        t.process.map(|_| ms(t.busy) * 1e3 / f64::from(t.calls.max(1)))
    });
    if connections > 1 {
        return;
    }
    for (percent, word) in [(50, "median"), (99, "p99")] {
        let direct = targets[0].times.percentile(percent);
        add(&format!("{word} of a call"), "ms", &|t| Some(t.times.percentile(percent)));
        add(&format!("… added to direct's {word}"), "ms", &|t| {
            (t.name != "direct").then(|| t.times.percentile(percent) - direct)
        });
    }
}
