//! The subscription at a modern child: one `subscriptions/listen` on the channel that everything
//! shares, another in its place when what is watched changes, or when the child ended it.
//!
//! <https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/subscriptions>

use std::sync::{Arc, Weak};
use std::time::Duration;

use tracing::debug;

use super::super::handshake::{changing, listen_params, modern_meta, offers_watching};
use super::super::http::{GATHER, OVERLAP};
use super::super::hub::{Hub, next_id};
use super::super::message;
use super::conn::Conn;
use crate::domain::call::params_with_meta;
use crate::protocol::{jsonrpc, method};

/// Wait before a subscription that the child ended is asked for again; doubles each time.
const AGAIN_FIRST: Duration = Duration::from_secs(1);
/// Longest wait before a subscription is asked for again.
const AGAIN_LONGEST: Duration = Duration::from_secs(30);

/// Subscribes for as long as the child lives, if it tells of anything.
pub(super) fn start(conn: &Arc<Conn>, capabilities: &str) {
    let kinds: Vec<&'static str> = changing(capabilities).into_iter().map(|(_, k)| k).collect();
    let watches = offers_watching(capabilities);
    if kinds.is_empty() && !watches {
        return;
    }
    let (hub, stop) = (Arc::clone(&conn.hub), conn.stopping());
    let capabilities = capabilities.to_owned();
    let listens = keep(Arc::downgrade(conn), Arc::clone(&hub), kinds, watches, capabilities);
    hub.common.tracker.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = listens => {}
        }
    });
}

async fn keep(
    conn: Weak<Conn>,
    hub: Arc<Hub>,
    kinds: Vec<&str>,
    watches: bool,
    capabilities: String,
) {
    let watched = &hub.listeners.resource_subscriptions;
    let mut changes = watched.changes();
    let mut wait = AGAIN_FIRST;
    let mut current = None;
    let mut ended_before = false;
    loop {
        changes.borrow_and_update();
        let (change, mut uris) = watched.snapshot();
        if !watches {
            uris.clear();
        }
        let former = current.take();
        if kinds.is_empty() && uris.is_empty() {
            watched.decline(change);
        } else {
            let route = hub.open(next_id(), None);
            let listening = hub.listens_with(route.id, change);
            let meta = modern_meta(&hub.listeners.features.to_json());
            let params = params_with_meta(&listen_params(&kinds, &uris), &meta);
            let line = jsonrpc::request(route.id, method::SUBSCRIPTIONS_LISTEN, Some(&params));
            let Some(live) = conn.upgrade() else { return };
            if live.write(route.id, line, None).await.is_err() {
                return;
            }
            current = Some((route, listening));
        }
        if let Some((former, listening)) = former {
            if current.is_some() {
                let _ = tokio::time::timeout(OVERLAP, watched.answered(change)).await;
            }
            let Some(live) = conn.upgrade() else { return };
            live.send(message::cancelled(former.id));
            drop((former, listening));
        } else if std::mem::take(&mut ended_before) {
            hub.common.relist.notify_one();
            hub.listeners.missed(&capabilities);
        }
        let ended = async {
            match current.as_mut() {
                Some((route, _)) => (&mut route.answer).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            answer = ended => {
                debug!(upstream = %hub.common.name, "the child ended the subscription: {answer:?}");
                current = None;
                ended_before = true;
                watched.decline(change);
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(AGAIN_LONGEST);
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
