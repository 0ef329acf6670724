//! What one upstream says of itself, asked for within a time limit.

use std::time::Duration;

use crate::upstream::{Caller, ServerFacts};

use super::Mcp;

/// What is known of one server, which may have to be started first.
pub(crate) async fn facts_of(
    mcp: &Mcp,
    upstream: &str,
    caller: &Caller,
    within: Duration,
) -> Option<ServerFacts> {
    let server = mcp.broker.upstream(upstream)?;
    match tokio::time::timeout(within, server.facts(caller)).await {
        Ok(Ok(facts)) => {
            // A client that begins now may call at once, and calls are refused while there is no
            // list of tools.
            if server.catalog().is_none() {
                let _ = tokio::time::timeout(within, server.refresh()).await;
            }
            Some(facts)
        }
        Ok(Err(error)) => {
            tracing::warn!(upstream, %error, "upstream {upstream} can't be reached: {error}");
            None
        }
        Err(_) => {
            tracing::warn!(upstream, "upstream {upstream} has not answered in time");
            None
        }
    }
}
