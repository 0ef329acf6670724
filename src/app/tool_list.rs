//! The tool list of a configured upstream, fetched once for a command.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::upstream::{self, Catalog, Upstream};

/// How long whatever a command tries to reach may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Fetches the tool list of this server, within [`PATIENCE`].
///
/// # Errors
/// Why there is none, in words.
pub(super) async fn fetch(server: &dyn Upstream) -> Result<Arc<Catalog>, String> {
    match tokio::time::timeout(PATIENCE, server.refresh()).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    }
}

/// Connects to the upstream of that name and to no other, fetches its tool list, and leaves.
///
/// # Errors
/// Why there is none, in words.
pub async fn of_upstream(config: &Config, name: &str) -> Result<Arc<Catalog>, String> {
    let mut config = config.clone();
    config.upstreams.retain(|upstream| upstream.name == name);
    let tracker = TaskTracker::new();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let servers = upstream::build(&config, &clock, &tracker);
    let Some(server) = servers.get(name) else { return Err("no such upstream".to_owned()) };
    let answer = fetch(server.as_ref()).await;
    server.shutdown().await;
    tracker.close();
    answer
}
