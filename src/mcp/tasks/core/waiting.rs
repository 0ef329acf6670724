//! `tasks/result`: a request that waits for the end of a task. It is attached like any held call,
//! with signs of life, but without a budget: its client asked to wait, and may leave at any time.
//!
//! <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#retrieving-task-results>

use std::time::Duration;

use axum::response::Response;
use tokio_util::sync::CancellationToken;

use crate::broker::call::answer::{Answer, Code};
use crate::broker::call::execute::Wishes;
use crate::broker::call::hold::{self, Beat, Ended, Terms};
use crate::broker::call::result_delivery::OwedResult;
use crate::broker::call::tasks::Owner;
use crate::domain::json::{self, Node, edit};
use crate::mcp::Mcp;
use crate::mcp::request::ClientRequest;
use crate::mcp::respond::{json_response, nothing};
use crate::mcp::response::{self, Reported, lost};
use crate::mcp::stream::Events;
use crate::mcp::stream::progress::{Progress, progress_token};
use crate::mcp::tasks::core::wire::related;
use crate::mcp::tasks::errors::{failed, internal};
use crate::mcp::tasks::form::owner;
use crate::protocol::{code, jsonrpc, meta};
use crate::upstream::ServerMessage;

/// Signs of life that wait for a slow client; more are dropped.
const BEATS: usize = 64;
/// The wait before a call whose server could not be reached is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// Longest wait for anything: the task's own lifetime ends it before.
const NO_BUDGET: Duration = Duration::from_hours(24 * 365);

/// The time between two looks at a call that no approval tells of.
const LOOK: Duration = Duration::from_millis(250);
const STOPPING: &str = "Placet is stopping; the task goes on, ask for its result again";

/// How the wait ended.
enum Told {
    /// With the end of the task.
    End(Reported, Option<OwedResult>),
    /// With an answer of our own.
    Word(Response),
    /// The client is gone.
    Nobody,
}

/// Answers `tasks/result`: at once where the task is over, else at its end.
pub(crate) async fn result(
    mcp: &Mcp,
    incoming: &ClientRequest,
    params: Option<&Node<'_>>,
    id: &str,
) -> Response {
    let owner = owner(incoming);
    // A task that is not there, or is over already, is answered without a stream.
    let view = match mcp.broker.look_at_task(&owner, id).await {
        Ok(view) => view,
        Err(error) => return failed(incoming, &error),
    };
    let progress = Progress::new(progress_token(params), incoming.era, false);
    let (mcp, incoming, id) = (mcp.clone(), incoming.clone(), id.to_owned());
    let gone = incoming.flight.cancelled().child_token();
    if view.status.is_terminal() || !incoming.streams {
        // Without a stream this very future ends when the client goes.
        let _left = gone.clone().drop_guard();
        let cancelled = incoming.flight.cancelled().clone();
        let again = mcp.clone();
        let asked = incoming.clone();
        let run = mcp.broker.tracker().spawn(async move {
            let mut wait =
                Wait { mcp: again, incoming: asked, owner, id, progress, gone, looks: 0 };
            wait.run(None).await
        });
        let told = tokio::select! {
            biased;
            () = cancelled.cancelled() => return nothing(),
            told = run => told,
        };
        return match told {
            Ok(Told::End((status, body), tale)) => {
                if let Some(tale) = tale {
                    tale.handed_over();
                }
                json_response(status, body)
            }
            Ok(Told::Word(response)) => response,
            Ok(Told::Nobody) => nothing(),
            Err(_) => {
                let (status, body) = lost(&incoming);
                json_response(status, body)
            }
        };
    }
    let (events, response) = Events::open();
    mcp.broker.tracker().clone().spawn(async move {
        events.comment();
        let cancelled = incoming.flight.cancelled().clone();
        let failure = jsonrpc::error(
            incoming.message.id_raw(),
            code::INTERNAL_ERROR,
            "the wait for this task ended; ask again",
            None,
        );
        let mut wait = Wait { mcp, incoming, owner, id, progress, gone, looks: 0 };
        let (body, tale) = match wait.run(Some(&events)).await {
            Told::End((_, body), tale) => (body, tale),
            // The head of the stream is out: only the message is left of it.
            Told::Word(_) => (failure, None),
            Told::Nobody => return,
        };
        if events.last(&body, &cancelled).await
            && let Some(tale) = tale
        {
            tale.handed_over();
        }
    });
    response
}

struct Wait {
    mcp: Mcp,
    incoming: ClientRequest,
    owner: Owner,
    id: String,
    progress: Progress,
    /// Cancelled when the client is gone or has cancelled the request.
    gone: CancellationToken,
    /// Looks since the last sign of life.
    looks: u32,
}

impl Wait {
    async fn run(&mut self, events: Option<&Events>) -> Told {
        loop {
            let broker = self.mcp.broker.clone();
            let view = match broker.look_at_task(&self.owner, &self.id).await {
                Ok(view) => view,
                Err(error) => return Told::Word(failed(&self.incoming, &error)),
            };
            if let Some((answer, tale)) = broker.end_of_task(&view).await {
                return self.end(answer, tale).await;
            }
            if view.approval.is_none() {
                if let Some(told) = self.look_again(events).await {
                    return told;
                }
                continue;
            }
            let held = match broker.await_task(&self.owner, &view).await {
                Ok(held) => held,
                Err(error) => return Told::Word(failed(&self.incoming, &error)),
            };
            // This ends the wait for this task alone: the call may go on for others.
            let done = self.gone.child_token();
            let (beats, mut heard) = hold::beats(BEATS);
            let terms = Terms {
                budget: NO_BUDGET,
                heartbeat: broker.config().approvals.heartbeat,
                beats,
                gone: done.clone(),
                enough: CancellationToken::new(),
                wishes: Wishes { progress: self.progress.wanted(), ..Wishes::default() },
            };
            let run = held.run(terms);
            tokio::pin!(run);
            let owner = self.owner.clone();
            let over = broker.task_over(&owner, &view.task);
            tokio::pin!(over);
            let ended = loop {
                tokio::select! {
                    biased;
                    () = closed(events), if !self.gone.is_cancelled() => self.gone.cancel(),
                    Some(beat) = heard.recv() => self.tell(events, beat),
                    ended = &mut run => break ended,
                    () = &mut over, if !done.is_cancelled() => done.cancel(),
                }
            };
            let Ended::Answered { answer, owed } = ended else {
                if self.gone.is_cancelled() {
                    return Told::Nobody;
                }
                continue;
            };
            match &answer {
                Answer::Statement(said) if said.code == Code::ApprovalPending => {
                    return Told::Word(internal(&self.incoming, STOPPING));
                }
                // Not the end: it is approved still, and tried again.
                Answer::Statement(said) if said.code == Code::UpstreamUnavailable => {
                    tokio::select! {
                        biased;
                        () = self.gone.cancelled() => return Told::Nobody,
                        () = closed(events) => return Told::Nobody,
                        () = tokio::time::sleep(RETRY) => {}
                    }
                }
                _ => return self.end(answer, owed).await,
            }
        }
    }

    /// A call that runs as a task, without an approval: looked at until it has ended.
    async fn look_again(&mut self, events: Option<&Events>) -> Option<Told> {
        if self.mcp.broker.stopping() {
            return Some(Told::Word(internal(&self.incoming, STOPPING)));
        }
        let heartbeat = self.mcp.broker.config().approvals.heartbeat;
        tokio::select! {
            biased;
            () = self.gone.cancelled() => Some(Told::Nobody),
            () = closed(events) => Some(Told::Nobody),
            () = tokio::time::sleep(LOOK.min(heartbeat)) => {
                self.looks += 1;
                if heartbeat <= LOOK * self.looks {
                    self.looks = 0;
                    self.tell(events, Beat::Alive("The call is being executed".to_owned()));
                }
                None
            }
        }
    }

    async fn end(&self, answer: Answer, tale: Option<OwedResult>) -> Told {
        let (status, body) = response::of_call(&self.mcp, &self.incoming, answer).await;
        let result =
            json::parse(&body).ok().and_then(|n| n.get("result").map(|r| r.raw.to_owned()));
        let body = match result {
            Some(result) => {
                let result = edit::with_meta(&result, &[(meta::RELATED_TASK, related(&self.id))]);
                jsonrpc::result(self.incoming.message.id_raw(), &result)
            }
            None => body,
        };
        Told::End((status, body), tale)
    }

    fn tell(&mut self, events: Option<&Events>, beat: Beat) {
        let Some(events) = events.filter(|_| !self.gone.is_cancelled()) else { return };
        let note = match beat {
            Beat::Alive(text) => match self.progress.beat(&text) {
                Some(note) => Some(note),
                None => return events.comment(),
            },
            Beat::Upstream(ServerMessage::Notification(note)) => self.progress.upstream(&note),
            // Nobody is asked on behalf of a task.
            Beat::Upstream(ServerMessage::Request(_)) | Beat::Decided => None,
        };
        if let Some(note) = note.and_then(|n| about(&n, &self.id)) {
            events.try_message(&note);
        }
    }
}

/// The notification with the task it belongs to in `_meta`
/// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#related-task-metadata>).
fn about(note: &str, id: &str) -> Option<String> {
    let node = json::parse(note).ok()?;
    let params = node.get("params").map_or("{}", |p| p.raw);
    let params = edit::with_meta(params, &[(meta::RELATED_TASK, related(id))]);
    Some(jsonrpc::notification(node.get("method")?.as_str()?, Some(&params)))
}

async fn closed(events: Option<&Events>) {
    match events {
        Some(events) => events.closed().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_meanwhile_names_its_task() {
        let note = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}}"#;

        let told = about(note, "tsk_1").unwrap();

        assert!(
            told.ends_with(
                r#""params":{"progress":1,"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"tsk_1"}}}}"#
            ),
            "{told}"
        );
    }
}
