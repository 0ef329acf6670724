//! The stream on which a legacy server speaks without being asked. It ends with its session and
//! is opened again when it breaks, after the last event that had an id
//! (<https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#resumability-and-redelivery>).

use std::sync::{Arc, Weak};
use std::time::Duration;

use reqwest::header::HeaderValue;
use tokio::time::Instant;
use tracing::debug;

use super::super::hub::Hub;
use super::super::message;
use super::super::sse::{Event, Parser};
use super::answer;
use super::response::Response;
use super::session::Session;
use super::target::Target;

/// Wait before the stream is opened again; doubles while that fails.
pub(super) const REOPEN_FIRST: Duration = Duration::from_secs(1);
/// Longest wait before the stream is opened again.
pub(super) const REOPEN_LONGEST: Duration = Duration::from_secs(30);
/// A stream that lasted this long was a good one.
pub(super) const LASTING: Duration = Duration::from_secs(10);

/// Keeps the stream open for as long as the session lasts.
pub(super) async fn keep(target: Arc<Target>, hub: Arc<Hub>, session: Weak<Session>) {
    let mut parser = Parser::new(hub.common.max_message);
    let mut wait = REOPEN_FIRST;
    let mut opened_before = false;
    loop {
        // Holding the session itself would keep it, and this stream, alive for ever.
        let Some(current) = session.upgrade() else { return };
        let last_id = parser.last_id.as_deref().and_then(|id| HeaderValue::from_str(id).ok());
        let response = answer::get(&target, &current, last_id).await;
        match response {
            Ok(response) if response.status().is_success() && response.is_event_stream() => {
                drop(current);
                if opened_before {
                    // Something may have been said meanwhile.
                    hub.common.relist.notify_one();
                }
                opened_before = true;
                parser.restart();
                let opened_at = Instant::now();
                read(response, &mut parser, &target, &hub, &session).await;
                // A server that keeps closing is asked ever more rarely.
                wait = if opened_at.elapsed() < LASTING {
                    (wait * 2).min(REOPEN_LONGEST)
                } else {
                    parser.retry.unwrap_or(REOPEN_FIRST).clamp(REOPEN_FIRST, REOPEN_LONGEST)
                };
            }
            Ok(response) if response.status().is_server_error() => {
                wait = (wait * 2).min(REOPEN_LONGEST);
            }
            // A stream that was there and is refused now: the server has forgotten the session.
            Ok(response) if opened_before && matches!(response.status().as_u16(), 400 | 404) => {
                debug!(upstream = %hub.common.name, "the session is gone: HTTP {}", response.status());
                current.stop.cancel();
                return;
            }
            Ok(response) => {
                let status = response.status();
                debug!(upstream = %hub.common.name, "no background stream: HTTP {status}");
                return;
            }
            Err(why) => {
                debug!(upstream = %hub.common.name, "no background stream: {why}");
                wait = (wait * 2).min(REOPEN_LONGEST);
            }
        }
        tokio::time::sleep(wait).await;
    }
}

/// Hands on what the stream says, until it ends or a message is too large.
pub(super) async fn read(
    mut response: Response,
    parser: &mut Parser,
    target: &Arc<Target>,
    hub: &Arc<Hub>,
    session: &Weak<Session>,
) {
    let mut events = Vec::new();
    while let Ok(Some(bytes)) = response.chunk().await {
        let whole = parser.push(&bytes, &mut events);
        for Event { kind, data } in events.drain(..) {
            if kind != "message" || data.is_empty() {
                continue;
            }
            let messages = match message::read_bytes(&data) {
                Ok(messages) => messages,
                Err(what) => {
                    hub.unreadable(&what);
                    continue;
                }
            };
            for incoming in messages {
                let received = hub.receive(incoming, None);
                if let Some(session) = session.upgrade() {
                    answer::respond(target, hub, &session, received);
                }
            }
        }
        if whole.is_err() {
            return;
        }
    }
}
