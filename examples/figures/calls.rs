//! An allowed call through the broker, and the same call at the upstream itself.

use std::time::Instant;

use reqwest::{Client, RequestBuilder};

use crate::report::{Report, Times};
use crate::world::{Fallible, Place, World, agent_token, call, client};

const PART: &str = "allowed tools/call, one client, kept connection";
/// Calls of one kind in a row: long enough that group writing and sealing fall into their own.
const IN_A_ROW: usize = 700;
/// How often every kind has its turn.
const ROUNDS: usize = 3;
/// Calls of each kind before the clock starts.
const WARM_UP: usize = 100;

/// One kind of call.
struct Kind {
    name: &'static str,
    world: Option<usize>,
    request: RequestBuilder,
    times: Times,
}

/// Measures.
pub async fn measure(report: &mut Report) -> Fallible<()> {
    let client = client()?;
    let mut worlds = Vec::new();
    for audit in ["off", "group", "strict"] {
        worlds.push(World::start(1, audit, Place::Disk).await?);
    }
    let token = agent_token(0);
    let get = |endpoint: &str| call(&client, endpoint, &token, "get_image_set", "7f3a");
    let kind = |name, world, request| Kind { name, world, request, times: Times::default() };
    let mut kinds = vec![
        kind("direct", None, get(&worlds[0].direct)),
        kind("through Placet, audit off", Some(0), get(&worlds[0].endpoint())),
        kind("through Placet, audit group", Some(1), get(&worlds[1].endpoint())),
        kind(
            "… in a session of 2025-11-25",
            Some(1),
            in_session(&client, &worlds[1].endpoint(), &token).await?,
        ),
        kind("through Placet, audit strict", Some(2), get(&worlds[2].endpoint())),
    ];
    for kind in &kinds {
        for _ in 0..WARM_UP {
            once(&kind.request).await?;
        }
    }
    for _ in 0..ROUNDS {
        for kind in &mut kinds {
            for _ in 0..IN_A_ROW {
                let begun = Instant::now();
                once(&kind.request).await?;
                kind.times.push(begun.elapsed());
            }
            if let Some(world) = kind.world {
                // What is left to write must not slow down the next kind.
                worlds[world].all_sealed().await?;
            }
        }
    }
    for (percent, word) in [(50, "median"), (99, "p99")] {
        let base = kinds[0].times.percentile(percent);
        for kind in &kinds {
            let what = format!("{} ({word})", kind.name);
            let value = kind.times.percentile(percent);
            report.add_ratio(PART, &what, value, "ms", ("direct", base));
        }
    }
    drop(kinds);
    drop(client);
    for world in worlds {
        world.stop().await?;
    }
    Ok(())
}

async fn once(request: &RequestBuilder) -> Fallible<()> {
    let request = request.try_clone().ok_or("a request with a plain body can be sent again")?;
    let text = request.send().await?.text().await?;
    if text.contains("CT thorax") {
        return Ok(());
    }
    Err(format!("not the archive's answer: {text}").into())
}

/// The same call as a client of the older revisions makes it.
async fn in_session(client: &Client, endpoint: &str, token: &str) -> Fallible<RequestBuilder> {
    let post = |body: &str| {
        client
            .post(endpoint)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("authorization", format!("Bearer {token}"))
            .body(body.to_owned())
    };
    let hello = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"figures","version":"1"}}}"#;
    let answer = post(hello).send().await?;
    let session = answer.headers().get("mcp-session-id").ok_or("no session was opened")?.clone();
    answer.bytes().await?;
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_image_set","arguments":{"datastore_id":"hospital-main","image_set_id":"7f3a"}}}"#;
    Ok(post(call).header("mcp-session-id", session).header("mcp-protocol-version", "2025-11-25"))
}
