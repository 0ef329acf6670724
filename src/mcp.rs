//! The MCP face: agents' JSON-RPC over Streamable HTTP, both eras on one endpoint.
//!
//! It knows the broker and no adapter. What an agent sends reaches the upstream byte for byte;
//! only ids, `_meta` and what the border between eras demands are its own.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::Broker;

pub use crate::broker::client_sessions::MAX_SESSIONS_PER_AGENT;

use aggregate::Owners;
use clients::Open;
use flight::InFlight;
use resume::Streams;
use standing::{Listeners, Standing};

mod aggregate;
mod answer;
mod calls;
mod clients;
mod exchange;
mod flight;
mod hold;
pub mod http;
mod input;
mod line;
mod listen;
mod lists;
pub(crate) mod message;
mod methods;
mod news;
mod page;
mod resume;
pub(crate) mod revision;
mod sessions;
mod shown;
pub mod sse;
mod standing;
mod stream;
mod subscriptions;
mod tasks;
mod uri_template;
mod wait;

/// An answer that takes longer than this, or says something meanwhile, becomes a stream.
const PLAIN_ANSWER_WITHIN: Duration = Duration::from_millis(800);
/// How long `initialize` and `server/discover` wait for a server that is starting.
const FACTS_WITHIN: Duration = Duration::from_secs(20);
/// The same on the one address for everything, where one server must not keep the others waiting.
const ALL_FACTS_WITHIN: Duration = Duration::from_secs(10);

/// The MCP face; cheap to clone.
#[derive(Clone)]
pub struct Mcp {
    broker: Broker,
    in_flight: Arc<InFlight>,
    owners: Arc<Owners>,
    streams: Arc<Streams>,
    old_streams: Arc<sse::Streams>,
    open: Arc<Open>,
    standing: Arc<Standing>,
    listeners: Arc<Listeners>,
}

impl Mcp {
    /// In front of a broker.
    pub fn new(broker: Broker) -> Self {
        let streams = Arc::new(Streams::new(broker.clone()));
        Self {
            broker,
            in_flight: Arc::default(),
            owners: Arc::default(),
            streams,
            open: Arc::default(),
            old_streams: Arc::default(),
            standing: Arc::default(),
            listeners: Arc::default(),
        }
    }
}
