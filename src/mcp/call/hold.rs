//! A call that waits for people, on an open stream or, for a client that reads none, until the
//! one answer at the end. What the client does to the request meanwhile only detaches it.

use std::sync::Arc;

use axum::response::Response;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::broker::call::answer::Answer;
use crate::broker::call::asking::Asking;
use crate::broker::call::execute::Wishes;
use crate::broker::call::hold::{self, Beat, Ended, Held, Terms};
use crate::broker::call::result_delivery::OwedResult;
use crate::broker::call::submit::Submission;
use crate::mcp::Mcp;
use crate::mcp::request::ClientRequest;
use crate::mcp::respond::{json_response, nothing};
use crate::mcp::response::{self, Reported};
use crate::mcp::stream::progress::Progress;
use crate::mcp::stream::request_stream::RequestStream;
use crate::upstream::{Reply, ServerMessage};

use super::input_required;
use super::rounds::Rounds;
use super::url_elicitation::{self, PageRoute};

/// Signs of life that wait for a slow client; more are dropped.
const BEATS: usize = 64;

/// Holds the request. Where the client reads a stream, its head goes out at once.
pub(crate) async fn run(
    mcp: &Mcp,
    incoming: ClientRequest,
    held: Held,
    wishes: Wishes,
    progress: Progress,
    way: PageRoute,
) -> Response {
    let limits = &mcp.broker.config().approvals;
    let enough = CancellationToken::new();
    if way.is_declined() {
        enough.cancel();
    }
    let budget = mcp.broker.hold_budget(&incoming.agent, progress.wanted()).await;
    let held = held.learning(progress.wanted());
    let incoming = Arc::new(incoming);
    if incoming.streams {
        let (line, response) = RequestStream::open(mcp, &incoming, progress);
        let end = Instant::now() + budget;
        let streamed = Streamed { mcp: mcp.clone(), incoming, line, wishes, end, way, enough };
        mcp.broker.tracker().spawn(streamed.run(held));
        return response;
    }
    let gone = incoming.flight.cancelled().child_token();
    let (beats, heard) = hold::beats(BEATS);
    let heartbeat = limits.heartbeat;
    let terms = Terms { budget, heartbeat, beats, gone: gone.clone(), enough, wishes };
    // Without a stream this very future ends when the client goes.
    let _left = gone.drop_guard();
    let cancelled = incoming.flight.cancelled().clone();
    let again = mcp.clone();
    let run = mcp.broker.tracker().spawn(async move {
        drop(heard);
        told(&again, &incoming, &way, held.run(terms).await).await
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

/// A call that is held on an open stream.
struct Streamed {
    mcp: Mcp,
    incoming: Arc<ClientRequest>,
    line: RequestStream,
    wishes: Wishes,
    /// When the hold budget is spent. It does not begin anew for a client that comes back.
    end: Instant,
    /// How its user is sent to the page of the approval.
    way: PageRoute,
    /// Cancelled when the user does not want that.
    enough: CancellationToken,
}

impl Streamed {
    async fn run(mut self, held: Held) {
        self.line.events.comment();
        self.ask_for_page();
        let (asking, id) = (Arc::clone(held.asking()), held.approval().id.clone());
        let mut next = Submission::Held(Box::new(held));
        // What comes after the wait is kept apart, so that who waits is small.
        loop {
            let (answer, owed) = match next {
                Submission::Held(held) => match self.hold(*held).await {
                    Ended::Answered { answer, owed } => (Some(answer), owed),
                    Ended::Gone => (None, None),
                },
                Submission::Ended { answer, owed } => (Some(answer), owed),
                Submission::Answered(answer) => (Some(answer), None),
                // A held call is none of these any more.
                Submission::Forward(_) | Submission::Invalid(_) | Submission::UnknownTool => return,
            };
            if let Some(Answer::Replied(reply)) = &answer
                && input_required::wanted(&self.incoming, reply).is_some()
            {
                // What was approved has run; what follows are further rounds of it.
                let reply = reply.clone();
                if let Some(owed) = owed {
                    Box::pin(owed.told()).await;
                }
                return Box::pin(self.go_on(&asking, reply)).await;
            }
            if let Some(answer) = answer
                && Box::pin(self.tell(answer, owed)).await
            {
                return;
            }
            if !Box::pin(self.is_back()).await {
                return;
            }
            next = Box::pin(self.mcp.broker.rejoin(&asking, &id)).await;
        }
    }

    /// Whether a client that lost its connection comes back for the stream. Until then it is as
    /// gone as any other: the approval waits for nobody.
    async fn is_back(&self) -> bool {
        tokio::select! {
            biased;
            () = self.incoming.flight.cancelled().cancelled() => false,
            () = self.mcp.broker.stop().soft.cancelled() => false,
            back = self.line.events.resumed() => back,
        }
    }

    /// Answers; false where an owed result reached nobody.
    async fn tell(&self, answer: Answer, owed: Option<OwedResult>) -> bool {
        let (_, body) = self.way.answer(&self.mcp, &self.incoming, answer).await;
        let cancelled = self.incoming.flight.cancelled();
        let Some(owed) = owed else {
            self.line.events.last(&body, cancelled).await;
            return true;
        };
        let handed_over = self.line.events.hand_over(&body, cancelled).await;
        if handed_over {
            owed.handed_over();
        }
        handed_over
    }

    async fn hold(&mut self, held: Held) -> Ended {
        let gone = self.incoming.flight.cancelled().child_token();
        let (beats, mut heard) = hold::beats(BEATS);
        let terms = Terms {
            budget: self.end.saturating_duration_since(Instant::now()),
            heartbeat: self.mcp.broker.config().approvals.heartbeat,
            beats,
            gone: gone.clone(),
            enough: self.enough.clone(),
            wishes: self.wishes.clone(),
        };
        let run = held.run(terms);
        tokio::pin!(run);
        let ended = loop {
            tokio::select! {
                biased;
                () = self.line.events.closed(), if !gone.is_cancelled() => gone.cancel(),
                Some(beat) = heard.recv() => if !gone.is_cancelled() {
                    match beat {
                        Beat::Alive(text) => self.line.alive(&text),
                        Beat::Decided => self.page_is_done(),
                        Beat::Upstream(said) => self.line.said(said),
                    }
                },
                ended = &mut run => break ended,
            }
        };
        // What was said before the end is sent before the end.
        while let Some(beat) = heard.try_recv() {
            match beat {
                Beat::Upstream(said @ ServerMessage::Notification(_)) if !gone.is_cancelled() => {
                    self.line.said(said);
                }
                Beat::Decided if !gone.is_cancelled() => self.page_is_done(),
                Beat::Upstream(_) | Beat::Alive(_) | Beat::Decided => {}
            }
        }
        ended
    }

    /// Sends the user of a legacy client to the approval's page, once.
    fn ask_for_page(&self) {
        let PageRoute::Asked { approval, first: true } = &self.way else { return };
        let (asked, answer) = url_elicitation::question(&self.mcp, approval);
        self.line.ask(asked);
        let (enough, over) = (self.enough.clone(), self.line.over());
        self.mcp.broker.tracker().spawn(async move {
            tokio::select! {
                Ok(reply) = answer => if url_elicitation::declines(&reply) {
                    enough.cancel();
                },
                () = over.cancelled() => {}
            }
        });
    }

    /// Tells a legacy client that its user has nothing more to do on the page.
    fn page_is_done(&self) {
        if let PageRoute::Asked { approval, .. } = &self.way {
            self.line.events.try_message(&url_elicitation::complete(approval));
        }
    }

    /// A modern server wants input for the call of a legacy client.
    async fn go_on(mut self, asking: &Asking, reply: Reply) {
        let params = Arc::clone(&asking.call.params);
        let (notes, mut heard) = mpsc::channel(BEATS);
        let cancel = self.incoming.flight.cancelled().child_token();
        let rounds = Rounds {
            mcp: self.mcp.clone(),
            incoming: Arc::clone(&self.incoming),
            wishes: self.wishes.clone(),
            notes,
            cancel,
        };
        // Not in the stream's own future: a client that leaves has cancelled nothing.
        let work =
            self.mcp.broker.tracker().spawn(async move { rounds.go_on(params, reply, None).await });
        if let Some(done) = self.line.drive(work, &mut heard).await {
            let (_, body) = done.unwrap_or_else(|_| response::lost(&self.incoming));
            self.line.events.last(&body, self.incoming.flight.cancelled()).await;
        }
    }
}

/// The answer with the owed result it tells; none if the client is gone.
async fn told(
    mcp: &Mcp,
    incoming: &ClientRequest,
    way: &PageRoute,
    ended: Ended,
) -> Option<(Reported, Option<OwedResult>)> {
    let Ended::Answered { answer, owed } = ended else { return None };
    Some((way.answer(mcp, incoming, answer).await, owed))
}
