//! The MCP face over real TCP: the whole program between a client of bytes and a server that
//! records what reaches it.

mod aggregate;
mod answers;
mod asking;
mod bytes;
mod envelope;
mod eras;
mod governed;
mod holding;
mod leaving;
mod modern;
mod old_upstream;
mod pages;
mod pairs;
mod passing;
mod patience;
mod resuming;
mod sessions;
mod sse;
mod tasks;
mod tasks_core;
mod tasks_upstream;
mod wait;

use crate::support::fake_http::{self, Answer, Fake, Seen};
use crate::support::placet::{Placet, Settings, tool_list};

/// A legacy server with all tools, which answers calls by this function.
async fn legacy(call: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Fake {
    Fake::start(move |seen| match seen.method().as_str() {
        "tools/list" => fake_http::result(&tool_list()),
        _ => fake_http::legacy(seen).unwrap_or_else(|| call(seen)),
    })
    .await
}

/// One whose every call is done.
pub async fn legacy_done() -> Fake {
    legacy(done).await
}

/// A modern one.
async fn modern(call: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Fake {
    Fake::start(move |seen| match seen.method().as_str() {
        "tools/list" => {
            let list = tool_list();
            let rest = r#","resultType":"complete","ttlMs":5,"cacheScope":"private"}"#;
            fake_http::result(&format!("{}{rest}", &list[..list.len() - 1]))
        }
        _ => fake_http::modern(seen).unwrap_or_else(|| call(seen)),
    })
    .await
}

/// What every server answers calls with that nobody looks at.
fn done(_: &Seen) -> Answer {
    fake_http::result(r#"{"content":[{"type":"text","text":"done"}]}"#)
}

/// The program with the usual settings in front of a legacy server, and that server.
async fn usual() -> (Placet, Fake) {
    let fake = legacy(done).await;
    let placet = Placet::start(&fake, &Settings::default()).await;
    (placet, fake)
}
