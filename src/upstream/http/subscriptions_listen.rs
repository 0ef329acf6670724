//! The subscription at a modern server: one `subscriptions/listen` for the changes it tells of and
//! the resources somebody watches; another in its place when these change, and when it broke.
//!
//! <https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/subscriptions>

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;

use super::super::handshake::{changing, listen_params, modern_meta, offers_watching};
use super::super::hub::{Hub, next_id};
use super::super::mirrored_headers;
use super::super::sse::Parser;
use super::get_stream::{LASTING, REOPEN_FIRST, REOPEN_LONGEST, read};
use super::pool::Over;
use super::response::Response;
use super::send::post;
use super::session::Session;
use super::target::{Target, put};
use crate::domain::call::params_with_meta;
use crate::protocol::{jsonrpc, method};

/// How long changes of what is watched are gathered.
pub(in crate::upstream) const GATHER: Duration = Duration::from_millis(20);
/// How long the former subscription goes on, where the server does not acknowledge the next.
pub(in crate::upstream) const OVERLAP: Duration = Duration::from_secs(5);

/// A stream that is being read.
struct Reading {
    ended: oneshot::Receiver<()>,
    since: Instant,
    _stop_on_drop: DropGuard,
}

pub(super) async fn keep(target: Arc<Target>, hub: Arc<Hub>, session: Weak<Session>) {
    let watched = &hub.listeners.resource_subscriptions;
    let mut changes = watched.changes();
    let mut wait = REOPEN_FIRST;
    let mut current: Option<Reading> = None;
    let mut broke = false;
    loop {
        // Holding the session itself would keep it, and this stream, alive for ever.
        let Some(me) = session.upgrade() else { return };
        changes.borrow_and_update();
        let capabilities = me.facts.capabilities.clone();
        let kinds: Vec<&str> = changing(&capabilities).into_iter().map(|(_, kind)| kind).collect();
        let (change, mut uris) = watched.snapshot();
        if !offers_watching(&capabilities) {
            uris.clear();
        }
        if kinds.is_empty() && uris.is_empty() {
            current = None;
            watched.decline(change);
            drop(me);
            if changes.changed().await.is_err() {
                return;
            }
            continue;
        }
        let id = next_id();
        let listening = hub.listens_with(id, change);
        let opened = listen(&target, &hub, &me, &listen_params(&kinds, &uris), id).await;
        drop(me);
        match opened {
            Ok(response) if response.status().is_success() && response.is_event_stream() => {
                let stop = CancellationToken::new();
                let (ending, ended) = oneshot::channel();
                let (target, again, session) =
                    (Arc::clone(&target), Arc::clone(&hub), Weak::clone(&session));
                let stopped = stop.clone();
                hub.common.tracker.spawn(async move {
                    let _listening = listening;
                    let mut parser = Parser::new(again.common.max_message);
                    tokio::select! {
                        () = stopped.cancelled() => {}
                        () = read(response, &mut parser, &target, &again, &session) => {}
                    }
                    // Whoever waited for its end may have turned to the next subscription.
                    let _ = ending.send(());
                });
                let next =
                    Reading { ended, since: Instant::now(), _stop_on_drop: stop.drop_guard() };
                if let Some(former) = current.replace(next) {
                    let _ = tokio::time::timeout(OVERLAP, watched.answered(change)).await;
                    drop(former);
                } else if std::mem::take(&mut broke) {
                    hub.common.relist.notify_one();
                    hub.listeners.missed(&capabilities);
                }
            }
            Ok(response) if response.status().is_server_error() => {
                wait = (wait * 2).min(REOPEN_LONGEST);
                tokio::time::sleep(wait).await;
                continue;
            }
            Ok(response) => {
                let status = response.status();
                debug!(upstream = %hub.common.name, "no subscription: HTTP {status}");
                watched.decline(change);
            }
            Err(why) => {
                debug!(upstream = %hub.common.name, "no subscription: {why}");
                wait = (wait * 2).min(REOPEN_LONGEST);
                tokio::time::sleep(wait).await;
                continue;
            }
        }
        let broken = async {
            match current.as_mut() {
                Some(reading) => {
                    // The sender is used or dropped: either way the stream has ended.
                    let _ = (&mut reading.ended).await;
                    reading.since.elapsed()
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            lasted = broken => {
                current = None;
                broke = true;
                wait = if lasted < LASTING { (wait * 2).min(REOPEN_LONGEST) } else { REOPEN_FIRST };
                tokio::time::sleep(wait).await;
            }
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                tokio::time::sleep(GATHER).await;
            }
        }
    }
}

async fn listen(
    target: &Target,
    hub: &Hub,
    session: &Session,
    params: &str,
    id: u64,
) -> Result<Response, String> {
    let params = params_with_meta(params, &modern_meta(&hub.listeners.features.to_json()));
    let method = method::SUBSCRIPTIONS_LISTEN;
    let mut headers = session.headers();
    put(&mut headers, mirrored_headers::for_request(method, Some(&params), None));
    let body = jsonrpc::request(id, method, Some(&params));
    post(target, Over::Kept, headers, body.into()).await.map_err(|e| e.to_string())
}
