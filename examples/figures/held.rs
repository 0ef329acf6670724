//! What a held request costs while nothing happens: memory, processor time, wake-ups.
//!
//! The clients are a second process, so that this one holds nothing but the broker, the archive
//! and an idle runtime. Read from `/proc`; elsewhere than on Linux this part fails and says so.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::HOLD_FLAG;
use crate::report::Report;
use crate::world::{self, Fallible, Place, World, agent_token, hold};

const PART: &str = "200 held requests, nothing happening";
/// Requests that are held.
const HELD: u32 = 200;
/// Held once before, so that pools and arenas are filled already.
const WARM_UP: u32 = 40;
/// How long the idle broker is watched.
const IDLE: Duration = Duration::from_secs(3);
/// How long the holding broker is watched.
const WATCH: Duration = Duration::from_secs(6);
/// Until what happens at the beginning is over.
const SETTLE: Duration = Duration::from_secs(1);
/// ServerMessage by the client once all its requests are held.
const READY: &str = "held";
/// Kernel ticks per second of processor time, as `/proc` counts it on every Linux.
const TICKS: f64 = 100.0;

/// Measures.
pub async fn measure(report: &mut Report) -> Fallible<()> {
    let world = World::start(1, "group", Place::Disk).await?;
    let mut clients = start_clients(&world, WARM_UP).await?;
    end_clients(&mut clients).await?;
    world.nothing_held().await?;
    tokio::time::sleep(SETTLE).await;

    let before = Usage::now()?;
    let idle = watch(IDLE).await?;
    let mut clients = start_clients(&world, HELD).await?;
    tokio::time::sleep(SETTLE).await;
    let after = Usage::now()?;
    let busy = watch(WATCH).await?;
    end_clients(&mut clients).await?;
    world.nothing_held().await?;

    let held = f64::from(HELD);
    let grown = after.memory_kib - before.memory_kib;
    let (memory, cpu) = ("memory (RSS)", "processor time per second");
    report.add(PART, &format!("{memory} before"), before.memory_kib, "KiB");
    let base = ("before", before.memory_kib);
    report.add_ratio(PART, &format!("{memory} with them"), after.memory_kib, "KiB", base);
    report.add(PART, &format!("{memory} per held request"), grown / held, "KiB");
    report.add(PART, &format!("{cpu}, idle"), idle.cpu_ms, "ms");
    report.add_ratio(PART, &format!("{cpu}, holding"), busy.cpu_ms, "ms", ("idle", idle.cpu_ms));
    let each = (busy.cpu_ms - idle.cpu_ms) / held;
    report.add(PART, "processor time per held second", each, "ms");
    report.add(PART, "wake-ups per second, idle", idle.wakes, "/s");
    let base = ("idle", idle.wakes);
    report.add_ratio(PART, "wake-ups per second, holding", busy.wakes, "/s", base);
    report.add(PART, "wake-ups per held second", (busy.wakes - idle.wakes) / held, "/s");
    world.stop().await
}

/// What this process has used so far.
struct Usage {
    memory_kib: f64,
    cpu_ms: f64,
    wakes: f64,
}

impl Usage {
    fn now() -> Fallible<Self> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let stat = std::fs::read_to_string("/proc/self/stat")?;
        // The program's name stands in brackets and may hold spaces; user and system time are the
        // twelfth and thirteenth field behind it.
        let behind = stat.rsplit_once(')').ok_or("/proc/self/stat is odd")?.1;
        let ticks: f64 = behind
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse::<f64>().unwrap_or(0.0))
            .sum();
        let mut wakes = 0.0;
        for task in std::fs::read_dir("/proc/self/task")? {
            // A thread may end while its line is looked for.
            let status = std::fs::read_to_string(task?.path().join("status")).unwrap_or_default();
            wakes += field(&status, "voluntary_ctxt_switches:").unwrap_or(0.0);
        }
        let memory_kib = field(&status, "VmRSS:").ok_or("/proc/self/status has no VmRSS")?;
        Ok(Self { memory_kib, cpu_ms: ticks * 1e3 / TICKS, wakes })
    }
}

fn field(status: &str, name: &str) -> Option<f64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Processor time and wake-ups per second.
async fn watch(time: Duration) -> Fallible<Usage> {
    let before = Usage::now()?;
    tokio::time::sleep(time).await;
    let after = Usage::now()?;
    let per_second = |a: f64, b: f64| (b - a) / time.as_secs_f64();
    Ok(Usage {
        memory_kib: after.memory_kib,
        cpu_ms: per_second(before.cpu_ms, after.cpu_ms),
        wakes: per_second(before.wakes, after.wakes),
    })
}

async fn start_clients(world: &World, held: u32) -> Fallible<Child> {
    let mut child = Command::new(std::env::current_exe()?)
        .args([HOLD_FLAG, &world.endpoint(), &agent_token(0), &held.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let out = child.stdout.take().ok_or("the client has no output")?;
    match BufReader::new(out).lines().next_line().await? {
        Some(line) if line == READY => Ok(child),
        _ => Err("the client ended before its requests were held".into()),
    }
}

async fn end_clients(child: &mut Child) -> Fallible<()> {
    drop(child.stdin.take());
    child.wait().await?;
    Ok(())
}

/// The second process: `ENDPOINT TOKEN COUNT`; holds until its input ends.
pub async fn client(arguments: &[String]) -> Fallible<()> {
    let [endpoint, token, count] = arguments else {
        return Err("--hold needs ENDPOINT TOKEN COUNT".into());
    };
    let client = world::client()?;
    let mut open = Vec::new();
    for n in 0..count.parse::<u32>()? {
        open.push(hold(&client, endpoint, token, &format!("{count}-{n}")).await?);
    }
    let mut out = tokio::io::stdout();
    out.write_all(format!("{READY}\n").as_bytes()).await?;
    out.flush().await?;
    let mut rest = Vec::new();
    tokio::io::stdin().read_to_end(&mut rest).await?;
    drop(open);
    Ok(())
}
