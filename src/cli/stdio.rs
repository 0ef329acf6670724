//! `placet stdio`: MCP over stdin and stdout for clients that only start commands.
//!
//! A bridge, not a second face: each line is posted as it is to the broker's HTTP face, each
//! message that comes back is a line. With `--server` the broker runs elsewhere and no
//! configuration is read; without it, one runs here on a loopback port for as long as the client
//! does, on the configured database, so that reviewers see one queue.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::app::App;
use crate::app::signals::signals;

use super::{Failure, Global, StdioArgs, load};

mod bridge;
mod exchange;
mod legacy;
mod lines;
mod session;
mod text;

use bridge::Bridge;

/// The variable with the agent's token.
const TOKEN_VARIABLE: &str = "PLACET_AGENT_TOKEN";
/// How long the first line waits for the upstream to start.
const SERVER_STARTS: Duration = Duration::from_secs(20);

/// How much the bridge reads.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Longest line from the client, bytes.
    line: usize,
    /// Longest message from the broker, bytes.
    answer: usize,
    /// Most pages of the list of tools.
    pages: u32,
}

/// Runs the bridge until the client closes stdin or a signal comes.
///
/// # Errors
/// Usage or configuration is wrong (exit code 2), or the broker or the HTTP client can't be made
/// (exit code 1).
pub(crate) async fn run(global: &Global, args: StdioArgs) -> Result<(), Failure> {
    let token = std::env::var(TOKEN_VARIABLE).ok().filter(|t| !t.is_empty());
    let path = args.upstream.as_ref().map_or("/mcp".to_owned(), |name| format!("/mcp/{name}"));
    let limits = Limits { line: args.max_line, answer: args.max_answer, pages: args.max_pages };
    let Some(server) = args.server else {
        let mut config = load(global)?;
        if let Some(name) = &args.upstream
            && config.upstream(name).is_none()
        {
            let names: Vec<&str> = config.upstreams.iter().map(|u| u.name.as_str()).collect();
            return Err(Failure::misused(format!(
                "there is no upstream {name:?}; configured: {}",
                if names.is_empty() { "none".to_owned() } else { names.join(", ") }
            )));
        }
        config.server.listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let app = App::build(config).await.map_err(|e| super::serve::failure(&e))?;
        // The first call should not be answered "unavailable" only because the server starts. For
        // all of them the handshake waits, so that none of them keeps the client out.
        if let Some(server) = args.upstream.as_ref().and_then(|name| app.broker.upstream(name)) {
            let _ = tokio::time::timeout(SERVER_STARTS, server.refresh()).await;
        }
        let base = format!("http://{}", app.address());
        let stop = app.stop();
        tokio::spawn(signals(stop.clone()));
        let running = tokio::spawn(app.run());
        let bridge = Bridge::new(&format!("{base}{path}"), token.as_deref(), limits);
        let done = match bridge {
            Ok(bridge) => bridge.run(&stop.soft).await,
            Err(failure) => Err(failure),
        };
        stop.soft.cancel();
        let _ = running.await;
        return done;
    };
    let endpoint = format!("{}{path}", server.as_str().trim_end_matches('/'));
    let stop = crate::broker::Stop::default();
    tokio::spawn(signals(stop.clone()));
    Bridge::new(&endpoint, token.as_deref(), limits)?.run(&stop.soft).await
}
