//! Who hears what one instance of a server says, and what it must be told because of them.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, broadcast, mpsc, watch};

use super::common::ServerRequestLimits;
use super::handshake::changing;
use super::lists::{List, Lists};
use super::log_level::Levels;
use super::resource_subscriptions::ResourceSubscriptions;
use super::{ClientCapabilities, Notification, ServerFacts, ServerRequest, WireEra};
use crate::domain::json;
use crate::protocol::method;

/// Notifications of one instance kept for a slow listener; older ones are dropped.
pub(super) const MAX_EVENTS: usize = 256;

/// The clients that hear what belongs to no request of an instance, and what they can be asked.
pub(super) struct Listeners {
    pub events: broadcast::Sender<Notification>,
    pub server_requests: ServerRequests,
    pub features: ClientCapabilities,
    /// Whether a server of both eras is spoken to in the legacy one.
    pub legacy_first: bool,
    /// What the last handshake found out.
    facts: Mutex<Option<ServerFacts>>,
    /// The resources somebody wants to hear of.
    pub resource_subscriptions: ResourceSubscriptions,
    /// The log levels somebody wants.
    pub levels: Arc<Levels>,
    /// What is known of the server's lists.
    pub lists: Lists,
    /// Counts the connections so far.
    pub opened: watch::Sender<u64>,
}

impl Listeners {
    /// Listeners that nobody belongs to yet.
    pub(super) fn new(features: ClientCapabilities, legacy_first: bool) -> Arc<Self> {
        let events = broadcast::Sender::new(MAX_EVENTS);
        Arc::new(Self {
            events,
            server_requests: ServerRequests::default(),
            features,
            legacy_first,
            facts: Mutex::default(),
            resource_subscriptions: ResourceSubscriptions::default(),
            levels: Arc::default(),
            lists: Lists::default(),
            opened: watch::Sender::default(),
        })
    }

    /// What the last handshake found out.
    pub(super) fn facts(&self) -> Option<ServerFacts> {
        self.facts.lock().expect("no holder of this lock panics").clone()
    }

    /// The era that was spoken last.
    pub(super) fn era(&self) -> Option<WireEra> {
        let facts = self.facts.lock().expect("no holder of this lock panics");
        facts.as_ref().map(|facts| facts.era)
    }

    /// Remembers what a handshake found out.
    pub(super) fn learn(&self, facts: &ServerFacts) {
        *self.facts.lock().expect("no holder of this lock panics") = Some(facts.clone());
    }

    /// Whether anybody hears what belongs to no request.
    pub(super) fn is_wanted(&self) -> bool {
        self.events.receiver_count() > 0 || !self.resource_subscriptions.is_empty()
    }

    /// Tells everybody who listens.
    pub(super) fn tell(&self, method: &str, params: Option<String>) {
        // It fails where nobody listens, which is fine.
        let _ = self.events.send(Notification { method: method.to_owned(), params });
    }

    /// The server could not be heard for a while: whatever it tells of may have changed.
    pub(super) fn missed(&self, capabilities: &str) {
        for (feature, _) in changing(capabilities) {
            let changed = List::of_notification(&format!("notifications/{feature}/list_changed"));
            changed.inspect(|list| self.lists.may_have_changed(*list));
        }
        for uri in self.resource_subscriptions.snapshot().1 {
            let params = json::object([("uri", json::quote(&uri).as_str())]);
            self.tell(method::NOTIFICATIONS_RESOURCES_UPDATED, Some(params));
        }
    }
}

/// The clients' own streams of one instance.
#[derive(Default)]
pub(super) struct ServerRequests {
    listeners: Mutex<Vec<mpsc::Sender<ServerRequest>>>,
    pub came: Notify,
}

impl ServerRequests {
    fn listeners(&self) -> MutexGuard<'_, Vec<mpsc::Sender<ServerRequest>>> {
        self.listeners.lock().expect("no holder of this lock panics")
    }

    /// A client listens on its own stream.
    pub(super) fn listen(&self, limits: ServerRequestLimits) -> mpsc::Receiver<ServerRequest> {
        let (sender, receiver) = mpsc::channel(limits.waiting.max(1));
        let mut listeners = self.listeners();
        listeners.retain(|l| !l.is_closed());
        listeners.push(sender);
        drop(listeners);
        self.came.notify_waiters();
        receiver
    }

    /// Notes that a request began: its client may be asked.
    pub(super) fn somebody_came(&self) {
        self.came.notify_waiters();
    }

    /// Gives the server request to the client that began to listen last and has room; gives it back if
    /// nobody takes it.
    pub(super) fn hand(&self, mut asked: ServerRequest) -> Option<ServerRequest> {
        for listener in self.listeners().iter().rev() {
            match listener.try_send(asked) {
                Ok(()) => return None,
                Err(
                    mpsc::error::TrySendError::Full(back) | mpsc::error::TrySendError::Closed(back),
                ) => {
                    asked = back;
                }
            }
        }
        Some(asked)
    }
}
