//! Who hears what one instance of a server says, and what it must be told because of them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::{broadcast, watch};

use super::handshake::changing;
use super::log_level::Levels;
use super::resource_subscriptions::Watched;
use super::server_request_routing::Questions;
use super::{ClientCapabilities, Notification};
use crate::domain::json;
use crate::protocol::method;

/// Notifications of one instance kept for a slow listener; older ones are dropped.
pub(super) const MAX_EVENTS: usize = 256;

/// Who hears what of an instance belongs to no request, and what its client can be asked.
pub(super) struct Audience {
    pub events: broadcast::Sender<Notification>,
    pub questions: Questions,
    pub features: ClientCapabilities,
    /// The resources somebody wants to hear of.
    pub watched: Watched,
    /// The log levels somebody wants.
    pub levels: Arc<Levels>,
    /// The server itself told these listeners that its tools changed.
    pub told: AtomicBool,
    /// Counts the connections so far.
    pub opened: watch::Sender<u64>,
}

impl Audience {
    /// Nobody listens yet.
    pub fn new(features: ClientCapabilities) -> Arc<Self> {
        let events = broadcast::Sender::new(MAX_EVENTS);
        Arc::new(Self {
            events,
            questions: Questions::default(),
            features,
            watched: Watched::default(),
            levels: Arc::default(),
            told: AtomicBool::new(false),
            opened: watch::Sender::default(),
        })
    }

    /// Whether anybody hears what belongs to no request.
    pub fn is_wanted(&self) -> bool {
        self.events.receiver_count() > 0 || !self.watched.is_empty()
    }

    /// Tells everybody who listens.
    pub fn tell(&self, method: &str, params: Option<String>) {
        // Nobody listening is fine.
        let _ = self.events.send(Notification { method: method.to_owned(), params });
    }

    /// The server could not be heard for a while: whatever it tells of may have changed.
    pub fn missed(&self, capabilities: &str) {
        for (feature, _) in changing(capabilities) {
            self.tell(&format!("notifications/{feature}/list_changed"), None);
        }
        for uri in self.watched.snapshot().1 {
            let params = json::object([("uri", json::quote(&uri).as_str())]);
            self.tell(method::NOTIFICATIONS_RESOURCES_UPDATED, Some(params));
        }
    }
}
