//! A call that waits for people, on an open stream or, for a client that reads none, until the
//! one answer at the end. What the client does to the request meanwhile only detaches it.

use axum::response::Response;
use tokio::sync::mpsc;

use crate::broker::execute::Wishes;
use crate::broker::hold::{Beat, Ended, Held, Terms};
use crate::broker::telling::Tale;

use super::Mcp;
use super::answer::{self, Reported};
use super::http::Incoming;
use super::stream::{Events, Progress, json_response, nothing};

/// Signs of life that wait for a slow client; more are dropped.
const BEATS: usize = 64;

/// Holds the request. Where there is a stream its head goes out at once.
pub(super) async fn run(
    mcp: &Mcp,
    incoming: Incoming,
    held: Held,
    wishes: Wishes,
    progress: Progress,
) -> Response {
    let limits = &mcp.broker.config().approvals;
    let budget = mcp.broker.hold_budget(&incoming.agent, progress.wanted()).await;
    let held = held.learning(progress.wanted());
    let gone = incoming.flight.cancelled().child_token();
    let (beats, heard) = mpsc::channel(BEATS);
    let terms = Terms { budget, heartbeat: limits.heartbeat, beats, gone: gone.clone(), wishes };
    if incoming.streams {
        let (events, response) = Events::open();
        let streamed = on_stream(mcp.clone(), incoming, held, terms, progress, heard, events);
        mcp.broker.tracker().spawn(streamed);
        return response;
    }
    // Without a stream this very future ends when the client goes.
    let _left = gone.drop_guard();
    let cancelled = incoming.flight.cancelled().clone();
    let again = mcp.clone();
    let run = mcp.broker.tracker().spawn(async move {
        drop(heard);
        told(&again, &incoming, held.run(terms).await).await
    });
    let told = tokio::select! {
        biased;
        () = cancelled.cancelled() => None,
        told = run => told.ok().flatten(),
    };
    match told {
        Some(((status, body), owed)) => {
            if let Some(owed) = owed {
                owed.handed_over();
            }
            json_response(status, body)
        }
        None => nothing(),
    }
}

async fn on_stream(
    mcp: Mcp,
    incoming: Incoming,
    held: Held,
    terms: Terms,
    mut progress: Progress,
    mut heard: mpsc::Receiver<Beat>,
    events: Events,
) {
    let gone = terms.gone.clone();
    events.comment();
    let run = held.run(terms);
    tokio::pin!(run);
    let ended = loop {
        tokio::select! {
            biased;
            () = events.closed(), if !gone.is_cancelled() => gone.cancel(),
            Some(beat) = heard.recv() => if !gone.is_cancelled() {
                match beat {
                    Beat::Alive(text) => match progress.beat(&text) {
                        Some(note) => events.try_message(&note),
                        None => events.comment(),
                    },
                    Beat::Upstream(note) => {
                        if let Some(text) = progress.upstream(&note) {
                            events.try_message(&text);
                        }
                    }
                }
            },
            ended = &mut run => break ended,
        }
    };
    // What was said before the end is sent before the end.
    while let Ok(beat) = heard.try_recv() {
        if let Beat::Upstream(note) = beat
            && !gone.is_cancelled()
            && let Some(text) = progress.upstream(&note)
        {
            events.try_message(&text);
        }
    }
    if let Some(((_, body), owed)) = told(&mcp, &incoming, ended).await
        && events.last(&body, incoming.flight.cancelled()).await
        && let Some(owed) = owed
    {
        owed.handed_over();
    }
}

/// The answer with the end it tells; none if the client is gone.
async fn told(mcp: &Mcp, incoming: &Incoming, ended: Ended) -> Option<(Reported, Option<Tale>)> {
    let Ended::Answered { answer, owed } = ended else { return None };
    Some((answer::of_call(mcp, incoming, answer).await, owed))
}
