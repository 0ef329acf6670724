//! What happens behind an address without being asked: what its upstreams say that belongs to no
//! request, and policies that change what is listed.

use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{StreamExt as _, StreamMap};

use crate::broker::Broker;
use crate::upstream::{Caller, Notification};

use super::{Mcp, shown};

/// Who listens for one client.
pub(super) struct News {
    upstreams: StreamMap<String, BroadcastStream<Notification>>,
    policies: broadcast::Receiver<String>,
    broker: Broker,
}

impl News {
    /// Listens to these upstreams for a caller.
    pub(super) fn of(mcp: &Mcp, upstreams: &[String], caller: &Caller) -> Self {
        let heard = upstreams.iter().filter_map(|name| {
            let server = mcp.broker.upstream(name)?;
            Some((name.clone(), BroadcastStream::new(server.subscribe(caller))))
        });
        Self {
            upstreams: heard.collect(),
            policies: mcp.broker.policies().changes(),
            broker: mcp.broker.clone(),
        }
    }

    /// The next thing, and the upstream it is about; none once nothing can come any more. What a
    /// slow client has missed is gone.
    pub(super) async fn next(&mut self) -> Option<(String, Notification)> {
        loop {
            tokio::select! {
                changed = self.policies.recv() => match changed {
                    Ok(upstream) if self.upstreams.contains_key(&upstream) => {
                        let method = "notifications/tools/list_changed".to_owned();
                        return Some((upstream, Notification { method, params: None }));
                    }
                    Err(broadcast::error::RecvError::Closed) => return None,
                    _ => {}
                },
                said = self.upstreams.next() => match said {
                    Some((upstream, Ok(note))) => {
                        if shown::may_hear(self.broker.policies().of(&upstream).as_deref(), &note) {
                            return Some((upstream, note));
                        }
                    }
                    Some((_, Err(_missed))) => {}
                    None => return None,
                },
            }
        }
    }
}
