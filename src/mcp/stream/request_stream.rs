//! An open stream to a client whose request is under way: signs of life, what the upstream says,
//! what it asks of the client, and the one answer at the end.

use std::sync::Arc;

use axum::response::Response;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::domain::json;
use crate::mcp::Mcp;
use crate::mcp::request::ClientRequest;
use crate::mcp::session::cancellation::InFlightRequest;
use crate::protocol::jsonrpc;
use crate::upstream::{ClientCapabilities, ServerMessage, ServerRequest, WireEra};

use super::Events;
use super::progress::Progress;

/// The stream of one request.
pub(crate) struct RequestStream {
    mcp: Mcp,
    /// Who can be asked: id of the legacy session, and what its client declared.
    asked: Option<(String, ClientCapabilities)>,
    flight: Arc<InFlightRequest>,
    progress: Progress,
    /// The event stream to the client.
    pub(crate) events: Events,
    /// Ends the server requests that are open when the stream ends.
    over: CancellationToken,
    _over_on_drop: DropGuard,
}

impl RequestStream {
    /// A stream and its response; the head goes out at once.
    pub(crate) fn open(
        mcp: &Mcp,
        incoming: &Arc<ClientRequest>,
        progress: Progress,
    ) -> (Self, Response) {
        let (events, response) = Events::answering(mcp, incoming);
        let over = CancellationToken::new();
        let session = incoming.session.as_ref().filter(|_| incoming.era == WireEra::Legacy);
        let line = Self {
            mcp: mcp.clone(),
            asked: session.map(|session| (session.id.clone(), incoming.features.clone())),
            flight: Arc::clone(&incoming.flight),
            progress,
            events,
            _over_on_drop: over.clone().drop_guard(),
            over,
        };
        (line, response)
    }

    /// Tells the client what the upstream says, or puts its server request.
    pub(crate) fn said(&mut self, said: ServerMessage) {
        match said {
            ServerMessage::Notification(note) => {
                if let Some(text) = self.progress.upstream(&note) {
                    self.events.try_message(&text);
                }
            }
            ServerMessage::Request(asked) => self.ask(*asked),
        }
    }

    /// A sign of life; progress where the client wants it.
    pub(crate) fn alive(&mut self, text: &str) {
        match self.progress.beat(text) {
            Some(note) => {
                self.events.try_message(&note);
            }
            None => self.events.comment(),
        }
    }

    /// Puts a server request to the client; declined where it can't be asked.
    pub(crate) fn ask(&self, asked: ServerRequest) {
        let Some((session, features)) = &self.asked else { return };
        if features.offer(&asked.method, asked.params.as_deref()) {
            put(&self.mcp, session, &self.events, asked, self.over.clone());
        }
    }

    /// Cancelled when the stream ends.
    pub(crate) fn over(&self) -> CancellationToken {
        self.over.clone()
    }

    /// Tells the client what is `heard` until `work` is done; none if the client goes away for good
    /// or cancels first.
    pub(crate) async fn drive<T>(
        &mut self,
        work: impl Future<Output = T>,
        heard: &mut mpsc::Receiver<ServerMessage>,
    ) -> Option<T> {
        let mut beat = tokio::time::interval(self.mcp.broker.config().approvals.heartbeat);
        let abandoned = self.events.clone();
        let abandoned = abandoned.abandoned();
        tokio::pin!(abandoned);
        let cancelled = self.flight.cancelled().clone();
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                () = cancelled.cancelled() => return None,
                () = &mut abandoned => return None,
                Some(said) = heard.recv() => self.said(said),
                done = &mut work => {
                    // What came before its end is told before its end.
                    while let Ok(said) = heard.try_recv() {
                        self.said(said);
                    }
                    return Some(done);
                }
                _ = beat.tick() => self.events.comment(),
            }
        }
    }
}

/// Sends a server request as a request of ours and waits for the answer that the client posts; until
/// then, or until `over`, the asker waits.
pub(crate) fn put(
    mcp: &Mcp,
    session: &str,
    events: &Events,
    asked: ServerRequest,
    over: CancellationToken,
) {
    let id = json::quote(&mcp.broker.ids().prefixed("ask_", mcp.broker.now()));
    let mut waiting = mcp.open.ask(session, &id);
    if !events.try_message(&jsonrpc::request(&id, &asked.method, asked.params.as_deref())) {
        return;
    }
    mcp.broker.tracker().spawn(async move {
        tokio::select! {
            answer = &mut waiting.answer => if let Ok(reply) = answer {
                asked.answer(reply);
            },
            () = over.cancelled() => {}
        }
    });
}
