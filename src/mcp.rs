//! The MCP face: agents' JSON-RPC over Streamable HTTP, both eras on one endpoint.
//!
//! It knows the broker and no adapter. What an agent sends reaches the upstream byte for byte;
//! only ids, `_meta` and what the border between eras demands are its own.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::any;
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::store::StoreError;

use aggregate::owners::Owners;
use endpoint::endpoint;
pub(crate) use endpoint::posted_to;
use reading::Bytes;
use session::cancellation::InFlight;
use session::http_sse;
use session::resumability::Streams;
use session::server_requests::Open;
use session::subscriptions::Subscriptions;
use stream::stream_limit::Listeners;

pub(crate) mod aggregate;
pub(crate) mod call;
pub(crate) mod discover;
pub(crate) mod dispatch;
pub(crate) mod endpoint;
pub(crate) mod envelope;
pub(crate) mod notifications;
pub(crate) mod reading;
pub(crate) mod request;
pub(crate) mod respond;
pub(crate) mod response;
pub(crate) mod revision;
pub(crate) mod server_facts;
pub(crate) mod session;
pub(crate) mod stream;
pub(crate) mod subscriptions_listen;
pub(crate) mod tasks;
pub(crate) mod uri_template;

/// How often sessions that ended elsewhere are looked for.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// An answer that takes longer than this, or says something meanwhile, becomes a stream.
const PLAIN_ANSWER_WITHIN: Duration = Duration::from_millis(800);
/// How long `initialize` and `server/discover` wait for an upstream that is starting.
const FACTS_WITHIN: Duration = Duration::from_secs(20);
/// The same at the address of all upstreams, where one must not keep the others waiting.
const ALL_FACTS_WITHIN: Duration = Duration::from_secs(10);

/// The MCP face; cheap to clone.
#[derive(Clone)]
pub struct Mcp(Arc<Face>);

/// What the MCP face keeps in memory for its clients.
pub struct Face {
    broker: Broker,
    in_flight: Arc<InFlight>,
    owners: Owners,
    streams: Arc<Streams>,
    old_streams: Arc<http_sse::Streams>,
    open: Arc<Open>,
    subscriptions: Arc<Subscriptions>,
    listeners: Arc<Listeners>,
    /// Notifications on their way to upstreams.
    notifying: Arc<Listeners>,
    reading: Bytes,
    under_way: Bytes,
}

impl Deref for Mcp {
    type Target = Face;

    fn deref(&self) -> &Face {
        &self.0
    }
}

impl Mcp {
    /// The face of this broker, with no clients yet.
    pub fn new(broker: Broker) -> Self {
        let streams = Arc::new(Streams::new(broker.clone()));
        let max_sessions = broker.config().server.max_sessions_per_agent;
        let subscriptions = Arc::new(Subscriptions::new(max_sessions));
        let reading = Bytes::being_read(broker.config());
        let under_way = Bytes::under_way(broker.config());
        Self(Arc::new(Face {
            broker,
            in_flight: Arc::default(),
            owners: Owners::default(),
            streams,
            open: Arc::default(),
            old_streams: Arc::default(),
            subscriptions,
            listeners: Arc::default(),
            notifying: Arc::default(),
            reading,
            under_way,
        }))
    }

    /// Answers a message that is posted to the address of this upstream ([`posted_to`]); of all where
    /// it is empty.
    pub(crate) async fn answer(&self, upstream: &str, request: Request) -> Response {
        endpoint::answer(self, Some(upstream), request).await
    }

    /// Lets go of what is kept here for sessions that ended elsewhere.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read.
    pub async fn forget_ended(&self) -> Result<(), StoreError> {
        session::forget_ended(self).await
    }

    /// The same again and again until `stop`.
    pub async fn upkeep(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(FORGET_EVERY) => {}
            }
            if let Err(error) = self.forget_ended().await {
                tracing::warn!(%error, "what ended sessions left is looked for again");
            }
        }
    }
}

/// Whether these bytes are one message, read as strictly as an agent's; what `benches/` measures.
#[doc(hidden)]
pub fn is_message(body: &[u8]) -> bool {
    envelope::Message::read(body).is_ok()
}

/// The routes of the MCP face: Streamable HTTP, and the HTTP+SSE of 2024-11-05 beside it.
pub fn router(mcp: Mcp) -> Router {
    Router::new()
        .route("/mcp", any(endpoint))
        .route("/mcp/{upstream}", any(endpoint))
        .route("/mcp/sse", any(http_sse::stream_of_all))
        .route("/mcp/messages", any(http_sse::messages_to_all))
        .route("/mcp/{upstream}/sse", any(http_sse::stream))
        .route("/mcp/{upstream}/messages", any(http_sse::messages))
        .with_state(mcp)
}
