//! One answer on its way to the client: a server-sent event stream, or one JSON document.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;

use crate::mcp::session::resumability::Writer;
use crate::notified::queue::{Sender, queue};

use super::Mcp;
use super::request::ClientRequest;
use super::respond::event_stream;
use event::{COMMENT, event};

pub(crate) mod event;
pub(crate) mod progress;
pub(crate) mod relay;
pub(crate) mod request_stream;
pub(crate) mod stream_limit;

/// Events that wait for a slow client before the sender waits too.
const CAPACITY: usize = 32;

/// The sending end of an event stream.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    sink: Sink,
}

#[derive(Debug, Clone)]
enum Sink {
    /// One connection, and the stream ends with it.
    Once(Sender<Bytes>),
    /// A legacy client may come back for it.
    Kept(Arc<Writer>),
}

impl Events {
    /// A stream and its response; the head goes out at once.
    pub(crate) fn open() -> (Self, Response) {
        let (sender, receiver) = queue::<Bytes>(CAPACITY);
        let frames = receiver.map(Ok::<_, Infallible>);
        (Self { sink: Sink::Once(sender) }, event_stream(Body::from_stream(frames)))
    }

    /// The stream that answers a request: one that can be resumed, where the client knows how
    /// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#resumability-and-redelivery>).
    pub(crate) fn answering(mcp: &Mcp, incoming: &ClientRequest) -> (Self, Response) {
        let kept = incoming.session.as_ref().and_then(|session| mcp.streams.begin(session));
        match kept {
            Some((writer, body)) => {
                (Self { sink: Sink::Kept(Arc::new(writer)) }, event_stream(body))
            }
            None => Self::open(),
        }
    }

    /// Sends one JSON-RPC message, however slow the client is; false if it is known to be gone.
    pub(crate) async fn message(&self, json: &str) -> bool {
        match &self.sink {
            Sink::Once(sender) => sender.send(event(json).into()).await,
            Sink::Kept(writer) => writer.say(&event(json)),
        }
    }

    /// Sends the last message, unless the request is or gets cancelled before there is room for
    /// it; false if it was not handed over. Where the client may come back it is kept for it.
    pub(crate) async fn last(&self, json: &str, cancelled: &CancellationToken) -> bool {
        tokio::select! {
            biased;
            () = cancelled.cancelled() => false,
            sent = self.message(json) => sent,
        }
    }

    /// As [`Events::last`], but kept for no client that comes back: an owed result that reaches no
    /// connection stays owed.
    pub(crate) async fn hand_over(&self, json: &str, cancelled: &CancellationToken) -> bool {
        match &self.sink {
            Sink::Once(_) => self.last(json, cancelled).await,
            Sink::Kept(writer) => !cancelled.is_cancelled() && writer.hand(&event(json)),
        }
    }

    /// Sends a sign of life without content; dropped if the client is slow.
    pub(crate) fn comment(&self) {
        match &self.sink {
            Sink::Once(sender) => {
                let _ = sender.try_send(COMMENT);
            }
            Sink::Kept(writer) => writer.comment(),
        }
    }

    /// Sends a message unless the client is slow; false if it was dropped.
    pub(crate) fn try_message(&self, json: &str) -> bool {
        match &self.sink {
            Sink::Once(sender) => sender.try_send(event(json).into()).is_ok(),
            Sink::Kept(writer) => writer.try_say(&event(json)),
        }
    }

    /// Names the address for messages: the first event on a stream of HTTP+SSE.
    pub(crate) fn endpoint(&self, address: &str) {
        if let Sink::Once(sender) = &self.sink {
            let _ = sender.try_send(format!("event: endpoint\ndata: {address}\n\n").into());
        }
    }

    /// Resolves when the client is gone; it may come back, see [`Events::resumed`].
    pub(crate) async fn closed(&self) {
        match &self.sink {
            Sink::Once(sender) => sender.closed().await,
            Sink::Kept(writer) => writer.closed().await,
        }
    }

    /// Whether a client that is gone comes back in time.
    pub(crate) async fn resumed(&self) -> bool {
        match &self.sink {
            Sink::Once(_) => false,
            Sink::Kept(writer) => writer.resumed().await,
        }
    }

    /// Resolves when the client is gone for good.
    pub(crate) async fn abandoned(&self) {
        loop {
            self.closed().await;
            if !self.resumed().await {
                return;
            }
        }
    }
}
