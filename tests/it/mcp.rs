//! The MCP face over real TCP: the whole program between a client of bytes and a server that
//! records what reaches it.

mod aggregate;
mod bytes;
mod endpoint;
mod governed;
mod hold_budget;
mod http_sse_upstream;
mod marks;
mod methods;
mod pairings;
mod pass_through;
mod reading;
mod response;
mod revision;
mod session;

/// A call that waits for people: held, sent to its page, waited for by its id.
mod call {
    mod hold;
    mod input_required;
    mod url_elicitation;
    mod wait_tool;
}

/// Calls as tasks, in each form that clients know.
mod tasks {
    mod adopt;
    mod core;
    mod extension;
}

use crate::support::fake_http::{self, Answer, Fake, Seen};
use crate::support::placet::{Placet, tool_list};

/// A legacy server with all tools, which answers calls by this function.
pub async fn legacy(call: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Fake {
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
pub fn done(_: &Seen) -> Answer {
    fake_http::result(r#"{"content":[{"type":"text","text":"done"}]}"#)
}

/// The program with the usual settings in front of a legacy server, and that server.
async fn usual() -> (Placet, Fake) {
    let fake = legacy(done).await;
    let placet = Placet::start(&fake).await;
    (placet, fake)
}
