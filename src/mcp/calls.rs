//! `tools/call`: submitted to the broker, then answered, forwarded, or held on an open stream.

use axum::http::StatusCode;
use axum::response::Response;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::broker::answer::Answer;
use crate::broker::execute::{Permit, Wishes};
use crate::broker::hold::{Beat, Ended, Held, Terms};
use crate::broker::submit::{Asking, Submission, unavailable_upstream};
use crate::domain::call::{CallError, ToolCall};
use crate::domain::json::Node;
use crate::upstream::{Reply, UpstreamError, WireEra};

use super::Mcp;
use super::http::Incoming;
use super::message::{self, code};
use super::methods::{answer_of, exchange_with_client, log_level, server_era};
use super::revision::{add_members, translate_error, translate_result};
use super::stream::{Events, Progress, json_response, progress_token};

/// Signs of life that wait for a slow client.
const BEATS: usize = 64;

pub(super) async fn call(mcp: &Mcp, incoming: Incoming, params: Option<&Node<'_>>) -> Response {
    let id = incoming.message.id_raw();
    let invalid = |text: &str| {
        json_response(StatusCode::OK, message::error(id, code::INVALID_PARAMS, text, None))
    };
    let text = incoming.message.params.as_deref().unwrap_or("null");
    let call = match ToolCall::read(&incoming.upstream, text) {
        Ok(call) => call,
        Err(CallError::Json(error)) => {
            let error = message::error(id, code::INVALID_REQUEST, &error.to_string(), None);
            return json_response(StatusCode::BAD_REQUEST, error);
        }
        Err(error) => return invalid(&error.to_string()),
    };
    let tool = call.tool.clone();
    let asking = Asking {
        agent: incoming.agent.clone(),
        client: incoming.client.clone(),
        session: incoming.session.as_ref().map(|s| s.id.clone()),
        call,
    };
    let wishes =
        Wishes { progress: progress_token(params).is_some(), log_level: log_level(params) };
    let progress = Progress::new(progress_token(params), incoming.era, wishes.log_level.is_some());
    match mcp.broker.submit(asking).await {
        Submission::UnknownTool => invalid(&format!("Unknown tool: {tool}")),
        Submission::Invalid(why) => invalid(&why),
        Submission::Answered(answer) => {
            let body = answer_message(mcp, &incoming, answer).await;
            json_response(StatusCode::OK, body)
        }
        Submission::Forward(permit) => forward(mcp, &incoming, permit, wishes, progress).await,
        Submission::Held(held) => hold(mcp, incoming, *held, wishes, progress).await,
    }
}

/// An allowed call goes upstream now.
async fn forward(
    mcp: &Mcp,
    incoming: &Incoming,
    permit: Permit,
    wishes: Wishes,
    progress: Progress,
) -> Response {
    let (mcp_again, incoming_again) = (mcp.clone(), incoming.clone());
    let exchange = async move |notes, cancel| {
        let (mcp, incoming) = (mcp_again, incoming_again);
        let caller = incoming.caller();
        let sent = mcp.broker.dispatch(permit, &caller, &wishes, Some(notes), cancel).await;
        let reply = match sent {
            Err(UpstreamError::NotSent(why)) => {
                tracing::warn!(upstream = %incoming.upstream, "a call was not sent: {why}");
                let result = said(&incoming, &unavailable_upstream(&incoming.upstream).to_result());
                return (StatusCode::OK, message::result(incoming.message.id_raw(), &result));
            }
            other => other,
        };
        let era = match mcp.broker.upstream(&incoming.upstream) {
            Some(server) => server_era(server, &caller).await,
            None => incoming.era,
        };
        answer_of(&mcp, &incoming, era, reply)
    };
    exchange_with_client(mcp, incoming, progress, exchange).await
}

/// A call that waits for people: the head of the stream goes out at once.
async fn hold(
    mcp: &Mcp,
    incoming: Incoming,
    held: Held,
    wishes: Wishes,
    progress: Progress,
) -> Response {
    let config = mcp.broker.config();
    let limits = &config.approvals;
    let budget = if progress.wanted() {
        incoming.agent.hold_with_progress.unwrap_or(limits.hold_with_progress)
    } else {
        incoming.agent.hold.unwrap_or(limits.hold)
    };
    let gone = CancellationToken::new();
    let (beats, heard) = mpsc::channel(BEATS);
    let terms = Terms { budget, heartbeat: limits.heartbeat, beats, gone: gone.clone(), wishes };
    if incoming.streams {
        let (events, response) = Events::open();
        let mcp = mcp.clone();
        mcp.broker.tracker().clone().spawn(async move {
            stream_hold(mcp, incoming, held, terms, progress, heard, events).await
        });
        return response;
    }
    // Without a stream the request's own future ends when the client goes.
    let guard = gone.clone().drop_guard();
    let flight = flight(mcp, &incoming);
    let run = mcp.broker.tracker().spawn(held.run(terms));
    let (done, answer) = tokio::sync::oneshot::channel();
    let again = mcp.clone();
    let for_answer = incoming.clone();
    mcp.broker.tracker().spawn(async move {
        let body = match run.await {
            Ok(Ended::Answered { answer, owed }) => {
                Some((answer_message(&again, &for_answer, answer).await, owed))
            }
            _ => None,
        };
        if let Err(Some((_, Some(owed)))) = done.send(body) {
            again.broker.give_back(&owed).await;
        }
    });
    drop(heard);
    let cancelled = flight.as_ref().map(|f| f.cancelled.clone()).unwrap_or_default();
    let body = tokio::select! {
        body = answer => body.ok().flatten().map(|(body, _)| body),
        () = cancelled.cancelled() => None,
    };
    match body {
        Some(body) => {
            guard.disarm();
            json_response(StatusCode::OK, body)
        }
        None => json_response(StatusCode::OK, String::new()),
    }
}

fn flight(mcp: &Mcp, incoming: &Incoming) -> Option<super::InFlightGuard> {
    let session = incoming.session.as_ref()?;
    Some(mcp.in_flight.enter(&session.id, incoming.message.id_raw()))
}

async fn stream_hold(
    mcp: Mcp,
    incoming: Incoming,
    held: Held,
    terms: Terms,
    mut progress: Progress,
    mut heard: mpsc::Receiver<Beat>,
    events: Events,
) {
    let flight = flight(&mcp, &incoming);
    let cancelled = flight.as_ref().map(|f| f.cancelled.clone()).unwrap_or_default();
    let gone = terms.gone.clone();
    events.comment();
    let run = held.run(terms);
    tokio::pin!(run);
    let ended = loop {
        tokio::select! {
            biased;
            Some(beat) = heard.recv() => match beat {
                Beat::Alive(text) => match progress.beat(&text) {
                    Some(note) => events.try_message(&note),
                    None => events.comment(),
                },
                Beat::Upstream(note) => {
                    if let Some(text) = progress.upstream(&note) {
                        events.try_message(&text);
                    }
                }
            },
            ended = &mut run => break ended,
            () = events.closed(), if !gone.is_cancelled() => gone.cancel(),
            () = cancelled.cancelled(), if !gone.is_cancelled() => gone.cancel(),
        }
    };
    // What was said before the end is sent before the end.
    while let Ok(Beat::Upstream(note)) = heard.try_recv() {
        if let Some(text) = progress.upstream(&note) {
            events.try_message(&text);
        }
    }
    let Ended::Answered { answer, owed } = ended else { return };
    let body = answer_message(&mcp, &incoming, answer).await;
    let handed_over =
        !cancelled.is_cancelled() && !events.is_closed() && events.message(&body).await;
    if !handed_over && let Some(id) = owed {
        mcp.broker.give_back(&id).await;
    }
}

/// Placet's own result in the client's era.
fn said(incoming: &Incoming, result: &str) -> String {
    match incoming.era {
        WireEra::Modern => add_members(result, &[("resultType", "\"complete\"")]),
        WireEra::Legacy => result.to_owned(),
    }
}

async fn answer_message(mcp: &Mcp, incoming: &Incoming, answer: Answer) -> String {
    let id = incoming.message.id_raw();
    let reply = match answer {
        Answer::Said(statement) => {
            return message::result(id, &said(incoming, &statement.to_result()));
        }
        Answer::Replied(reply) => reply,
    };
    let era = match mcp.broker.upstream(&incoming.upstream) {
        Some(server) => server_era(server, &incoming.caller()).await,
        None => incoming.era,
    };
    match reply {
        Reply::Result(raw) => {
            message::result(id, &translate_result(&raw, era, incoming.era, "tools/call"))
        }
        Reply::Error(raw) => message::error_raw(id, &translate_error(&raw, era, incoming.era)),
    }
}
