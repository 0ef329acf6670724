//! A request that goes upstream now: its answer as one document if it comes soon and in silence,
//! else a stream with what the upstream says, signs of life, and the answer.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::response::Response;
use futures_util::FutureExt as _;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::mcp::request::ClientRequest;
use crate::mcp::respond::{json_response, nothing};
use crate::mcp::response::{Reported, lost};
use crate::mcp::{Mcp, PLAIN_ANSWER_WITHIN};
use crate::upstream::{Notifications, ServerMessage, ServerRequest, WireEra};

use super::progress::Progress;
use super::request_stream::RequestStream;

/// Messages of the upstream that may wait for a slow client; more are dropped.
const NOTES: usize = 64;

/// Runs `exchange`, which gets where notifications go and what cancels it.
///
/// It outlives the request: a legacy client that goes away has not cancelled anything, it does
/// so by a notification
/// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/cancellation#cancellation-flow>).
/// A modern client cancels by closing the stream.
pub(crate) async fn run<F>(
    mcp: &Mcp,
    incoming: &Arc<ClientRequest>,
    mut progress: Progress,
    exchange: impl FnOnce(Notifications, CancellationToken) -> F,
) -> Response
where
    F: Future<Output = Reported> + Send + 'static,
{
    let (notes, mut heard) = mpsc::channel(NOTES);
    let cancel = incoming.flight.cancelled().child_token();
    // The guard is never disarmed: to cancel what has ended does nothing.
    let left = (incoming.era == WireEra::Modern).then(|| cancel.clone().drop_guard());
    // A request without an answer is given up when the grace is over, so that Placet can stop.
    let (hard, given_up) = (mcp.broker.stop().hard.clone(), Arc::clone(incoming));
    let exchange = exchange(notes, cancel);
    let mut done = Outliving::new(mcp.broker.tracker(), async move {
        // A panic in it must not take the connection along.
        let exchange = AssertUnwindSafe(exchange).catch_unwind();
        tokio::select! {
            biased;
            answer = exchange => answer.unwrap_or_else(|_| lost(&given_up)),
            () = hard.cancelled() => lost(&given_up),
        }
    });
    let plain_until = Instant::now() + PLAIN_ANSWER_WITHIN;
    let first = loop {
        tokio::select! {
            biased;
            () = incoming.flight.cancelled().cancelled() => return nothing(),
            answer = &mut done => {
                let told = told_before(incoming, &mut progress, &mut heard);
                if told.is_empty() {
                    let (status, body) = answer;
                    return json_response(status, body);
                }
                return streamed(mcp, incoming, progress, told, answer);
            }
            Some(said) = heard.recv() => match said {
                // A client that reads no stream can be told nothing; a dropped server request is
                // declined.
                _ if !incoming.streams => {}
                ServerMessage::Notification(note) => if let Some(text) = progress.upstream(&note) {
                    break First::Tell(text);
                },
                ServerMessage::Request(asked) => break First::Ask(*asked),
            },
            () = tokio::time::sleep_until(plain_until), if incoming.streams => break First::Nothing,
        }
    };
    let (mut line, response) = RequestStream::open(mcp, incoming, progress);
    let incoming = Arc::clone(incoming);
    mcp.broker.tracker().spawn(async move {
        let _left = left;
        match first {
            First::Tell(text) => {
                line.events.try_message(&text);
            }
            First::Ask(asked) => line.ask(asked),
            First::Nothing => {}
        }
        if let Some(answer) = line.drive(&mut done, &mut heard).await {
            let (_, body) = answer;
            line.events.last(&body, incoming.flight.cancelled()).await;
        }
    });
    response
}

/// What the upstream said before its answer, where both came at once.
fn told_before(
    incoming: &ClientRequest,
    progress: &mut Progress,
    heard: &mut mpsc::Receiver<ServerMessage>,
) -> Vec<String> {
    let mut told = Vec::new();
    while let Ok(said) = heard.try_recv() {
        // A server request that nobody answers any more is declined.
        if let ServerMessage::Notification(note) = said
            && incoming.streams
        {
            told.extend(progress.upstream(&note));
        }
    }
    told
}

/// The answer as a stream, with what was told before it.
fn streamed(
    mcp: &Mcp,
    incoming: &Arc<ClientRequest>,
    progress: Progress,
    told: Vec<String>,
    (_, body): Reported,
) -> Response {
    let (line, response) = RequestStream::open(mcp, incoming, progress);
    let incoming = Arc::clone(incoming);
    mcp.broker.tracker().spawn(async move {
        for text in told {
            line.events.message(&text).await;
        }
        line.events.last(&body, incoming.flight.cancelled()).await;
    });
    response
}

/// Work that goes on, on the task tracker, when whoever polls it is dropped. Until then it costs no
/// task of its own, and no other thread.
struct Outliving<T: Send + 'static> {
    work: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    tracker: TaskTracker,
}

impl<T: Send + 'static> Outliving<T> {
    fn new(tracker: &TaskTracker, work: impl Future<Output = T> + Send + 'static) -> Self {
        // The tracker counts it from its beginning, so that nobody stops while it runs.
        let work = tracker.track_future(work);
        Self { work: Some(Box::pin(work)), tracker: tracker.clone() }
    }
}

impl<T: Send + 'static> Future for Outliving<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Some(work) = &mut self.work else { return Poll::Pending };
        let polled = work.as_mut().poll(cx);
        if polled.is_ready() {
            self.work = None;
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Outliving<T> {
    fn drop(&mut self) {
        // Without a runtime the whole program is ending.
        if let (Some(work), Ok(runtime)) = (self.work.take(), Handle::try_current()) {
            self.tracker.spawn_on(work, &runtime);
        }
    }
}

/// What opens the stream.
enum First {
    Tell(String),
    Ask(ServerRequest),
    Nothing,
}
