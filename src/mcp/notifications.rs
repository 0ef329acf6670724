//! What happens behind an address without being asked: what its upstreams say that belongs to no
//! request, and policies that change what is listed.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::broadcast;
use tokio_stream::wrappers::{BroadcastStream, ReceiverStream};
use tokio_stream::{StreamExt as _, StreamMap};

use crate::broker::Broker;
use crate::domain::call::Method;
use crate::domain::policy::Policy;
use crate::upstream::{Caller, Notification, ServerRequest};

use super::Mcp;
use super::response::policy_filter;

/// What one client listens to.
pub(crate) struct News {
    upstreams: StreamMap<String, BroadcastStream<Notification>>,
    server_requests: StreamMap<String, ReceiverStream<ServerRequest>>,
    policies: broadcast::Receiver<String>,
    /// The policies as this client knows them.
    known: HashMap<String, Option<Arc<Policy>>>,
    /// Notifications that a changed policy is the reason for, still to be told.
    told_next: VecDeque<(String, Notification)>,
    agent: String,
    broker: Broker,
}

/// Something that an upstream said without being asked.
pub(crate) enum Heard {
    /// A notification that belongs to no request.
    Notification(Notification),
    /// A server request that belongs to no request.
    Request(ServerRequest),
}

impl News {
    /// Listens to these upstreams for a caller.
    pub(crate) fn of(mcp: &Mcp, upstreams: &[String], caller: &Caller) -> Self {
        let heard = upstreams.iter().filter_map(|name| {
            let server = mcp.broker.upstream(name)?;
            Some((name.clone(), BroadcastStream::new(server.subscribe(caller))))
        });
        Self {
            upstreams: heard.collect(),
            server_requests: StreamMap::new(),
            policies: mcp.broker.policies().changes(),
            known: upstreams
                .iter()
                .map(|name| (name.clone(), mcp.broker.policies().of(name)))
                .collect(),
            told_next: VecDeque::new(),
            agent: caller.agent.clone(),
            broker: mcp.broker.clone(),
        }
    }

    /// The same, for a client that can be asked.
    pub(crate) fn and_questions(mcp: &Mcp, upstreams: &[String], caller: &Caller) -> Self {
        let asked = upstreams.iter().filter_map(|name| {
            let server = mcp.broker.upstream(name)?;
            Some((name.clone(), ReceiverStream::new(server.server_requests(caller))))
        });
        Self { server_requests: asked.collect(), ..Self::of(mcp, upstreams, caller) }
    }

    /// The next thing, and the upstream it is about; none once nothing can come any more. What a
    /// slow client has missed is gone.
    pub(crate) async fn next(&mut self) -> Option<(String, Heard)> {
        loop {
            if let Some((upstream, note)) = self.told_next.pop_front() {
                return Some((upstream, Heard::Notification(note)));
            }
            tokio::select! {
                changed = self.policies.recv() => match changed {
                    Ok(upstream) if self.upstreams.contains_key(&upstream) => {
                        self.policy_changed(&upstream);
                    }
                    Ok(_) => {}
                    // So many changed at once that some names are lost: each is looked at.
                    Err(broadcast::error::RecvError::Lagged(_)) => self.look_at_all(),
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                Some((upstream, asked)) = self.server_requests.next() => {
                    // Dropped, it is declined.
                    if self.broker.policies().of(&upstream).is_some() {
                        return Some((upstream, Heard::Request(asked)));
                    }
                }
                said = self.upstreams.next() => match said {
                    Some((upstream, Ok(note))) => {
                        let policy = self.broker.policies().of(&upstream);
                        if policy_filter::may_hear(policy.as_deref(), &self.agent, &upstream, &note) {
                            return Some((upstream, Heard::Notification(note)));
                        }
                    }
                    Some((_, Err(_missed))) => {}
                    None => return None,
                },
            }
        }
    }

    fn look_at_all(&mut self) {
        let names: Vec<String> = self.known.keys().cloned().collect();
        for name in names {
            let now = self.broker.policies().of(&name);
            let before = self.known.get(&name).and_then(Option::as_ref);
            if before.map(Arc::as_ptr) != now.as_ref().map(Arc::as_ptr) {
                self.policy_changed(&name);
            }
        }
    }

    /// Every list that the policy before or now says something of may have changed; all of them
    /// where there was no policy before, or is none now: without one every list is empty.
    fn policy_changed(&mut self, upstream: &str) {
        let now = self.broker.policies().of(upstream);
        let before = self.known.insert(upstream.to_owned(), now.clone()).flatten();
        let all = before.is_some() != now.is_some();
        for (kind, lists) in [
            (Method::CallTool, "tools"),
            (Method::GetPrompt, "prompts"),
            (Method::ReadResource, "resources"),
        ] {
            let judged = [&before, &now].into_iter().flatten().any(|policy| policy.governs(kind));
            if all || judged {
                let method = format!("notifications/{lists}/list_changed");
                let note = Notification { method, params: None };
                self.told_next.push_back((upstream.to_owned(), note));
            }
        }
    }
}
