//! `placet stdio`: MCP over stdin and stdout for clients that only start commands.
//!
//! A bridge, not a second face: each line is posted as it is to the broker's HTTP face, each
//! message that comes back is a line. With `--server` the broker runs elsewhere and no
//! configuration is read; without it, one runs here on a loopback port for as long as the client
//! does, on the configured database, so that reviewers see one queue. Where that is a SQLite file which
//! another broker has, it is that one's queue: the bridge leads there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::app::signals::signals;
use crate::app::{App, AppError};
use crate::store::sqlite_file::LockError;

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
        let app = match App::build(config).await {
            Ok(app) => app,
            Err(error) => {
                let Some(base) = running_broker(&error) else {
                    return Err(super::serve::failure(&error));
                };
                return bridged(&base, &path, token.as_deref(), limits).await;
            }
        };
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
    bridged(server.as_str(), &path, token.as_deref(), limits).await
}

/// Where the broker listens that has the SQLite file already; none where it is not known.
fn running_broker(error: &AppError) -> Option<String> {
    let AppError::Locked(LockError::Taken { holder: Some(holder), .. }) = error else {
        return None;
    };
    let mut address = holder.address?;
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    Some(format!("http://{address}"))
}

async fn bridged(
    server: &str,
    path: &str,
    token: Option<&str>,
    limits: Limits,
) -> Result<(), Failure> {
    let endpoint = format!("{}{path}", server.trim_end_matches('/'));
    let stop = crate::broker::Stop::default();
    tokio::spawn(signals(stop.clone()));
    Bridge::new(&endpoint, token, limits)?.run(&stop.soft).await
}
