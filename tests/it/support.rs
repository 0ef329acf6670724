//! What tests share: databases that vanish, approvals with sensible fields, a broker on a clock
//! that stands still, an upstream that does as it is told, tables that refuse to be written.

pub mod approvals;
pub mod db;
pub mod fake_http;
pub mod fake_sse;
pub mod fake_upstream;
pub mod fixtures;
pub mod placet;
pub mod relay;
pub mod upstreams;
pub mod world;

use std::time::Duration;

use toml::{Table, Value};

/// Longest wait for anything that must happen; only ever reached by a failing test.
pub const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// Looks until there is something: for what tells nobody that it happened.
pub async fn found<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let end = tokio::time::Instant::now() + LONGEST_WAIT;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < end, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The same for a condition.
pub async fn until<F: AsyncFn() -> bool>(what: &str, condition: F) {
    found(what, async || condition().await.then_some(())).await;
}

/// The future's value, in time.
pub async fn soon<F: std::future::Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(LONGEST_WAIT, future)
        .await
        .unwrap_or_else(|_| panic!("never happened: {what}"))
}

/// The text of `base` with what `lines` say instead. An entry of a list of tables is the one of
/// the same `name`, or a further one.
pub fn over(base: &str, lines: &str) -> String {
    let mut all: Table = base.parse().unwrap();
    lay(&mut all, lines.parse().unwrap());
    all.to_string()
}

fn lay(under: &mut Table, lines: Table) {
    for (key, value) in lines {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(lines)) => lay(under, lines),
            (Some(Value::Array(entries)), Value::Array(lines))
                if entries.iter().all(Value::is_table) =>
            {
                for line in lines {
                    let same = |entry: &&mut Value| entry.get("name") == line.get("name");
                    match (entries.iter_mut().find(same), line) {
                        (Some(Value::Table(entry)), Value::Table(line)) => lay(entry, line),
                        (_, line) => entries.push(line),
                    }
                }
            }
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}
