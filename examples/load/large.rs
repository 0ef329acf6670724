//! What a broker that was used for years costs: each call, submission, decision, page and list, in
//! front of more and more that waits, and of a million that have ended. Only by name, since filling
//! the database takes minutes.

use std::time::Instant;

use crate::Options;
use crate::fill::{COOKIE, Size, id, pending_id};
use crate::http::{Conn, holds};
use crate::report::{Report, Times};
use crate::requests;
use crate::upstream::DONE;
use crate::waiting::{Asked, ask, decide, tool};
use crate::world::{Broker, Fallible, Kind, Place, World};

/// From young to old; each adds to the one before.
const SIZES: [Size; 4] = [
    Size { pending: 100, ended: 10_000 },
    Size { pending: 100, ended: 1_000_000 },
    Size { pending: 10_000, ended: 1_000_000 },
    Size { pending: 100_000, ended: 1_000_000 },
];
/// Requests of each kind.
const TIMES: usize = 30;
/// Allowed calls.
const CALLS: usize = 300;
/// Submissions, and decisions on them.
const SUBMITS: usize = 60;

/// Measures.
pub async fn measure(world: &World, options: &Options, report: &mut Report) -> Fallible<()> {
    for place in Place::all() {
        for kind in &world.kinds {
            one(world, kind, place, options, report).await?;
        }
    }
    Ok(())
}

async fn one(
    world: &World,
    kind: &Kind,
    place: Place,
    options: &Options,
    report: &mut Report,
) -> Fallible<()> {
    let mut broker = world.broker(kind, place).await?;
    let mut rows: Vec<(String, Vec<(String, f64)>)> = Vec::new();
    for size in SIZES {
        let size = if options.quick { Size { ended: size.ended / 100, ..size } } else { size };
        let begun = Instant::now();
        broker = broker.fill(kind, size).await?;
        eprintln!("{size:?}: filled in {:.0} s", begun.elapsed().as_secs_f64());
        let name = format!("{}/{}", short(size.pending), short(size.ended));
        for (what, times) in times(&broker, size, &name).await? {
            let cell = (name.clone(), times.median());
            match rows.iter_mut().find(|row| row.0 == what) {
                Some(row) => row.1.push(cell),
                None => rows.push((what, vec![cell])),
            }
        }
    }
    broker.end().await?;
    let part = format!("pending/ended, median, {}, {}", place.name(), kind.name);
    for (what, cells) in rows {
        report.add(&part, &what, "ms", cells);
    }
    Ok(())
}

/// `100k` for 100,000.
fn short(n: u32) -> String {
    match n {
        n if n >= 1_000_000 => format!("{}M", n / 1_000_000),
        n if n >= 1_000 => format!("{}k", n / 1_000),
        n => n.to_string(),
    }
}

async fn times(broker: &Broker, size: Size, tag: &str) -> Fallible<Vec<(String, Times)>> {
    let mut found = vec![("allowed call".to_owned(), calls(broker).await?)];
    let (submits, decisions) = decided(broker, tag).await?;
    found.push(("submission, until it is held".to_owned(), submits));
    found.push(("decision, approve".to_owned(), decisions));
    let mut conn = broker.connect().await?;
    let (pending, ended) = (pending_id(size.pending / 2), id(size.ended / 2 + 1));
    let deep = id(1_000);
    for path in pages(&pending, &ended, &deep) {
        let what = format!("page {}", named(&path));
        let request = requests::get(
            &broker.reviewer(),
            &path,
            Some(&format!("{}={COOKIE}", placet::web::session::SESSION_COOKIE)),
        );
        found.push((what.clone(), asked(&mut conn, &what, &request).await?));
    }
    for path in lists(&deep) {
        let what = format!("API {}", named(&path));
        let request = requests::get(&broker.reviewer(), &format!("/api/v1{path}"), None);
        found.push((what.clone(), asked(&mut conn, &what, &request).await?));
    }
    let metrics = requests::get(&broker.reviewer(), "/metrics", None);
    found.push(("/metrics".to_owned(), asked(&mut conn, "/metrics", &metrics).await?));
    Ok(found)
}

async fn calls(broker: &Broker) -> Fallible<Times> {
    let mut conn = broker.connect().await?;
    let mut call = requests::modern_calls(&broker.agent(1), "get_image_set_1", "7f3a");
    let mut times = Times::default();
    for _ in 0..CALLS {
        let begun = Instant::now();
        let (_, body) = conn.ask(call.next()).await?;
        times.push(begun.elapsed());
        if !holds(&body, DONE) {
            return Err(format!("not passed on: {}", String::from_utf8_lossy(&body)).into());
        }
    }
    Ok(times)
}

/// Submissions one after the other, then decisions on them.
async fn decided(broker: &Broker, tag: &str) -> Fallible<(Times, Times)> {
    let (mut times, mut held) = (Times::default(), Vec::new());
    for n in 0..SUBMITS {
        let conn = broker.connect().await?;
        let call = requests::modern_call(&broker.agent(n % 10), &tool(n), &format!("{tag}-{n}"));
        let begun = Instant::now();
        match ask(conn, &call).await? {
            Asked::Held(one) => held.push(one),
            Asked::Refused(_, code, _) => return Err(format!("not held: {code}").into()),
        }
        times.push(begun.elapsed());
    }
    let ids = broker.newest(SUBMITS).await?;
    let decisions = decide(broker, ids, "approve", 1).await?;
    for one in held {
        one.answer().await?;
    }
    Ok((times, decisions))
}

async fn asked(conn: &mut Conn, what: &str, request: &[u8]) -> Fallible<Times> {
    let mut times = Times::default();
    for _ in 0..TIMES {
        let begun = Instant::now();
        conn.send(request).await?;
        let head = conn.head().await?;
        times.push(begun.elapsed());
        conn.body(&head).await?;
        if head.status != 200 {
            return Err(format!("{what} answered {}", head.status).into());
        }
    }
    Ok(times)
}

/// Without the ids, which say nothing.
fn named(path: &str) -> String {
    let at = path.find("apr_");
    at.map_or_else(|| path.to_owned(), |at| format!("{}…", &path[..at]))
}

fn pages(pending: &str, ended: &str, deep: &str) -> Vec<String> {
    let mut paths = vec![
        format!("/approvals/{pending}"),
        format!("/approvals/{ended}?"),
        format!("/history?cursor={deep}"),
        format!("/history?state=rejected&cursor={deep}"),
    ];
    let plain = [
        "/",
        "/?agent=agent-3",
        "/history",
        "/history?state=completed",
        "/history?state=indeterminate",
        "/history?agent=agent-3",
        "/history?agent=nobody",
        "/history?tool=rare_tool",
        "/history?q=rare_tool",
        "/history?q=delete_image_set+undone",
        "/history?q=undone&state=indeterminate",
        "/history?q=undone+agent-3&state=rejected",
        "/history/export?format=csv",
        "/history?tool=delete_image_set&state=cancelled",
        "/history?upstream=images",
        "/tools",
        "/audit",
        "/audit?before=1000",
        "/agents",
        "/grants",
    ];
    paths.extend(plain.map(str::to_owned));
    paths
}

fn lists(deep: &str) -> Vec<String> {
    let mut paths = vec![format!("/approvals?cursor={deep}")];
    let plain = [
        "/approvals",
        "/approvals?state=pending",
        "/approvals?state=completed",
        "/approvals?state=completed,rejected,expired",
        "/approvals?state=pending,approved",
        "/approvals?agent=agent-3",
        "/approvals?tool=rare_tool",
        "/approvals?q=rare_tool",
        "/approvals?tool=delete_image_set&state=cancelled",
        "/approvals?upstream=images",
        "/approvals?agent=agent-3&state=rejected",
        "/approvals?limit=200",
        "/audit",
        "/audit?after=9000",
        "/grants",
        "/tools",
        "/agents",
    ];
    paths.extend(plain.map(str::to_owned));
    paths
}
