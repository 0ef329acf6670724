//! Calls that wait for people, and people who decide.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::http::{Conn, Head};
use crate::report::Times;
use crate::requests;
use crate::world::{Broker, Fallible};

/// A call that is held: its answer comes on this connection.
pub struct Held {
    conn: Conn,
    head: Head,
}

/// What became of a call that needs approval.
pub enum Asked {
    /// It is stored and held.
    Held(Held),
    /// It is not; the connection, the code, and after how many milliseconds to call again.
    Refused(Conn, String, Option<u64>),
}

impl Held {
    /// Waits for the answer, whole.
    pub async fn answer(mut self) -> Fallible<Vec<u8>> {
        self.conn.body(&self.head).await
    }
}

/// Sends a call that needs approval, and waits until it is known whether it is stored: a held one
/// has the head of a stream of events.
pub async fn ask(mut conn: Conn, request: &[u8]) -> Fallible<Asked> {
    conn.send(request).await?;
    let head = conn.head().await?;
    if head.is_stream {
        return Ok(Asked::Held(Held { conn, head }));
    }
    let body = conn.body(&head).await?;
    let body = String::from_utf8_lossy(&body);
    let code = between(&body, "\"code\":\"", "\"").map(str::to_owned);
    let code = code.unwrap_or_else(|| format!("HTTP {}", head.status));
    let wait = between(&body, "\"retry_after_ms\":", ",").and_then(|ms| ms.parse().ok());
    Ok(Asked::Refused(conn, code, wait))
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let rest = &text[text.find(from)? + from.len()..];
    Some(&rest[..rest.find(to)?])
}

/// The tool of a call that needs approval.
pub fn tool(n: usize) -> String {
    format!("delete_image_set_{}", n % crate::upstream::GATED as usize)
}

/// So many different calls, each on its own connection, `at_once` of them on the way at the same
/// time and each of these by an agent of its own. Returns how long it took until all were stored.
pub async fn hold(
    broker: &Broker,
    count: usize,
    at_once: usize,
    tag: &str,
) -> Fallible<(Vec<Held>, Duration)> {
    let mut conns = Vec::new();
    for _ in 0..count {
        conns.push(broker.connect().await?);
    }
    let mut shares: Vec<Vec<(Conn, Vec<u8>)>> = (0..at_once).map(|_| Vec::new()).collect();
    for (n, conn) in conns.into_iter().enumerate() {
        let to = broker.agent(n % at_once);
        let request = requests::modern_call(&to, &tool(n), &format!("{tag}-{n}"));
        shares[n % at_once].push((conn, request));
    }
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for share in shares {
        tasks.spawn(async move {
            let mut held = Vec::new();
            for (conn, request) in share {
                match ask(conn, &request).await? {
                    Asked::Held(one) => held.push(one),
                    Asked::Refused(_, code, _) => return Err(format!("not held: {code}").into()),
                }
            }
            Fallible::Ok(held)
        });
    }
    let mut held = Vec::new();
    while let Some(done) = tasks.join_next().await {
        held.append(&mut done??);
    }
    Ok((held, begun.elapsed()))
}

/// Decides all of these alike, by so many clients at once; the time of each decision.
pub async fn decide(
    broker: &Broker,
    ids: Vec<String>,
    choice: &'static str,
    clients: usize,
) -> Fallible<Times> {
    let (ids, next) = (Arc::new(ids), Arc::new(AtomicUsize::new(0)));
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let (mut conn, to) = (broker.connect().await?, broker.reviewer());
        let (ids, next) = (Arc::clone(&ids), Arc::clone(&next));
        tasks.spawn(async move {
            let mut times = Times::default();
            while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
                let begun = Instant::now();
                let (head, body) = conn.ask(&requests::decision(&to, id, choice)).await?;
                if head.status != 200 {
                    let body = String::from_utf8_lossy(&body);
                    return Err(format!("not decided: {} {body}", head.status).into());
                }
                times.push(begun.elapsed());
            }
            Fallible::Ok(times)
        });
    }
    let mut times = Times::default();
    while let Some(done) = tasks.join_next().await {
        times.append(&mut done??);
    }
    Ok(times)
}
