//! The MCP face: agents' JSON-RPC over Streamable HTTP, both eras on one endpoint.
//!
//! It knows the broker and no adapter. What an agent sends reaches the upstream byte for byte;
//! only ids, `_meta` and what the border between eras demands are its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::broker::Broker;

pub mod calls;
pub mod http;
pub mod listen;
pub mod message;
pub mod methods;
pub mod revision;
pub mod stream;

/// Most legacy sessions of one agent token; `initialize` is answered 429 beyond it.
pub const MAX_SESSIONS_PER_AGENT: u32 = 32;
/// An answer that takes longer than this, or says something meanwhile, becomes a stream.
const PLAIN_ANSWER_WITHIN: Duration = Duration::from_millis(800);
/// How long `initialize` and `server/discover` wait for a server that is starting.
const FACTS_WITHIN: Duration = Duration::from_secs(20);

/// The MCP face; cheap to clone.
#[derive(Clone)]
pub struct Mcp {
    broker: Broker,
    in_flight: Arc<InFlight>,
}

impl Mcp {
    /// In front of a broker.
    pub fn new(broker: Broker) -> Self {
        Self { broker, in_flight: Arc::default() }
    }
}

/// Legacy requests that `notifications/cancelled` may name, by session and id.
#[derive(Debug, Default)]
struct InFlight(Mutex<HashMap<(String, String), CancellationToken>>);

impl InFlight {
    /// Registers a request until the guard is dropped.
    fn enter(self: &Arc<Self>, session: &str, id: &str) -> InFlightGuard {
        let key = (session.to_owned(), id.to_owned());
        let cancelled = CancellationToken::new();
        self.lock().insert(key.clone(), cancelled.clone());
        InFlightGuard { registry: self.clone(), key, cancelled }
    }

    /// Cancels a request of this very session.
    fn cancel(&self, session: &str, id: &str) {
        if let Some(token) = self.lock().get(&(session.to_owned(), id.to_owned())) {
            token.cancel();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), CancellationToken>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

struct InFlightGuard {
    registry: Arc<InFlight>,
    key: (String, String),
    cancelled: CancellationToken,
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.registry.lock().remove(&self.key);
    }
}
