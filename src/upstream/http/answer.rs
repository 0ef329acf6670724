//! Sends one POST and reads what comes back, over a broken legacy stream's resumption if need
//! be, until there is an answer or certainly none.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response, StatusCode};
use tracing::debug;

use crate::protocol::header_name;

use super::super::hub::{Hub, Received};
use super::super::message::{self, Incoming};
use super::super::server_request_routing;
use super::super::sse::{Event, Parser};
use super::super::{Reply, UpstreamError, WireEra};
use super::send::{ASIDE_TIMEOUT, describe, is_event_stream, is_refusal, post};
use super::session::Session;
use super::target::{Target, post_headers};

/// Wait before a broken legacy stream is resumed, where the server names none.
const RESUME_AFTER: Duration = Duration::from_secs(1);
/// Longest wait before a stream is resumed, whatever the server names.
const RESUME_AFTER_MOST: Duration = Duration::from_secs(30);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static(header_name::LAST_EVENT_ID);

/// How a POST was answered.
#[derive(Debug)]
pub(super) enum Answered {
    /// A JSON-RPC answer to it.
    Reply(StatusCode, Reply),
    /// Refused by HTTP status, before the server read it.
    Refused(StatusCode),
    /// Anything else: the HTTP status where there was one, and why it is no answer.
    Unreadable(Option<StatusCode>, String),
}

impl Answered {
    pub(super) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Reply(status, _) | Self::Refused(status) => Some(*status),
            Self::Unreadable(status, _) => *status,
        }
    }
}

/// Sends a request and reads its answer, whatever it is.
///
/// # Errors
/// That of sending: [`UpstreamError::NotSent`] or [`UpstreamError::Lost`].
pub(super) async fn exchange(
    target: &Arc<Target>,
    client: &Client,
    hub: &Arc<Hub>,
    session: &Arc<Session>,
    headers: HeaderMap,
    body: String,
    id: u64,
) -> Result<Answered, UpstreamError> {
    let response = post(target, client, headers, body).await?;
    let mut reading = Reading::new(target, hub, Some(session), id);
    Ok(reading.answer(response).await)
}

/// Reads the answer to a request sent outside a session.
pub(super) async fn read_plain(
    target: &Arc<Target>,
    hub: &Arc<Hub>,
    id: u64,
    response: Response,
) -> Answered {
    Reading::new(target, hub, None, id).answer(response).await
}

/// Posts a notification or an answer; what the server says to it is of no interest.
pub(super) fn post_aside(
    target: &Arc<Target>,
    hub: &Arc<Hub>,
    session: &Arc<Session>,
    body: String,
) {
    let (target, session, hub) = (Arc::clone(target), Arc::clone(session), Arc::clone(hub));
    let tracker = hub.common.tracker.clone();
    tracker.spawn(async move {
        let sent = post(&target, &target.pooled, session.headers(), body);
        match tokio::time::timeout(ASIDE_TIMEOUT, sent).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => debug!(upstream = %hub.common.name, "a side message failed: {error}"),
            Err(_) => debug!(upstream = %hub.common.name, "a side message timed out"),
        }
    });
}

/// Answers what the server asked, now or once the client has. Modern servers send no requests, so
/// nothing is answered there.
pub(super) fn respond(
    target: &Arc<Target>,
    hub: &Arc<Hub>,
    session: &Arc<Session>,
    received: Received,
) {
    if session.facts.era != WireEra::Legacy {
        return;
    }
    match received {
        Received::Respond(body) => post_aside(target, hub, session, body),
        Received::ForClient(question) => {
            let (target, again, session) =
                (Arc::clone(target), Arc::clone(hub), Arc::clone(session));
            hub.common.tracker.spawn(async move {
                let body = server_request_routing::answered(&again, question).await;
                post_aside(&target, &again, &session, body);
            });
        }
        Received::Nothing | Received::Answer(_) => {}
    }
}

struct Reading<'a> {
    target: &'a Arc<Target>,
    hub: &'a Arc<Hub>,
    session: Option<&'a Arc<Session>>,
    id: u64,
    parser: Parser,
}

impl<'a> Reading<'a> {
    fn new(
        target: &'a Arc<Target>,
        hub: &'a Arc<Hub>,
        session: Option<&'a Arc<Session>>,
        id: u64,
    ) -> Self {
        Self { target, hub, session, id, parser: Parser::new(hub.common.max_message) }
    }

    async fn answer(&mut self, response: Response) -> Answered {
        let status = response.status();
        if is_refusal(status) {
            return Answered::Refused(status);
        }
        if !status.is_success() && !status.is_client_error() {
            return Answered::Unreadable(Some(status), format!("answered HTTP {status}"));
        }
        if status.is_success() && is_event_stream(&response) {
            return match self.stream(response).await {
                Ok(reply) => Answered::Reply(status, reply),
                Err(why) => Answered::Unreadable(Some(status), why),
            };
        }
        match self.body(response).await {
            Ok(reply) => Answered::Reply(status, reply),
            Err(why) => {
                let why = format!("answered HTTP {status}: {why}");
                Answered::Unreadable(Some(status), why)
            }
        }
    }

    async fn body(&self, mut response: Response) -> Result<Reply, String> {
        let limit = self.hub.common.max_message;
        let mut body = Vec::new();
        while let Some(bytes) = response.chunk().await.map_err(describe)? {
            if body.len() + bytes.len() > limit {
                return Err(format!("the answer is larger than {limit} bytes (server.max_result)"));
            }
            body.extend_from_slice(&bytes);
        }
        if body.is_empty() {
            return Err("the answer is empty".to_owned());
        }
        let messages = message::read_bytes(&body)
            .map_err(|what| format!("the answer is unreadable: {}", what.why))?;
        self.deliver(messages).ok_or_else(|| "there is no answer to this request".to_owned())
    }

    /// Hands messages on; returns the answer among them.
    fn deliver(&self, messages: Vec<Incoming>) -> Option<Reply> {
        let mut answer = None;
        for incoming in messages {
            match self.hub.receive(incoming, Some(self.id)) {
                Received::Nothing => {}
                Received::Answer(reply) => answer = Some(reply),
                received @ (Received::Respond(_) | Received::ForClient(_)) => {
                    if let Some(session) = self.session {
                        respond(self.target, self.hub, session, received);
                    }
                }
            }
        }
        answer
    }

    async fn stream(&mut self, mut response: Response) -> Result<Reply, String> {
        loop {
            let broken = match self.events(&mut response).await? {
                Ok(reply) => return Ok(reply),
                Err(broken) => broken,
            };
            response = self.resume(broken).await?;
        }
    }

    /// Reads events up to the answer; the inner error is how the stream ended without it, the
    /// outer one that there will be none.
    async fn events(&mut self, response: &mut Response) -> Result<Result<Reply, String>, String> {
        let mut events = Vec::new();
        self.parser.restart();
        loop {
            let bytes = match response.chunk().await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => return Ok(Err("the stream ended without an answer".to_owned())),
                Err(error) => return Ok(Err(format!("the stream broke: {}", describe(error)))),
            };
            let whole = self.parser.push(&bytes, &mut events);
            for Event { kind, data } in events.drain(..) {
                if kind != "message" || data.is_empty() {
                    continue;
                }
                match message::read_bytes(&data) {
                    Ok(messages) => {
                        if let Some(reply) = self.deliver(messages) {
                            return Ok(Ok(reply));
                        }
                    }
                    Err(what) if what.id == Some(self.id) => {
                        return Err(format!("the answer is unreadable: {}", what.why));
                    }
                    Err(what) => self.hub.unreadable(&what),
                }
            }
            if whole.is_err() {
                let limit = self.hub.common.max_message;
                return Err(format!("a message is larger than {limit} bytes (server.max_result)"));
            }
        }
    }

    /// A legacy server may close the stream and let the client come back for the rest
    /// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#resumability-and-redelivery>).
    /// This asks for the answer again; it does not send the request again.
    async fn resume(&self, broken: String) -> Result<Response, String> {
        let Some(session) = self.session.filter(|s| s.facts.era == WireEra::Legacy) else {
            return Err(broken);
        };
        let Some(last_id) =
            self.parser.last_id.as_deref().and_then(|id| HeaderValue::from_str(id).ok())
        else {
            return Err(broken);
        };
        tokio::time::sleep(self.parser.retry.unwrap_or(RESUME_AFTER).min(RESUME_AFTER_MOST)).await;
        let response = get(self.target, session, Some(last_id))
            .await
            .map_err(|error| format!("{broken}; then {}", describe(error)))?;
        if response.status().is_success() && is_event_stream(&response) {
            Ok(response)
        } else {
            Err(format!("{broken}; coming back was answered HTTP {}", response.status()))
        }
    }
}

/// Opens a stream with GET, or with `last_id` goes on with one
/// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#resumability-and-redelivery>).
///
/// # Errors
/// That of the HTTP client.
pub(super) async fn get(
    target: &Target,
    session: &Session,
    last_id: Option<HeaderValue>,
) -> Result<Response, reqwest::Error> {
    let mut headers = post_headers(target, session.headers());
    headers.remove(CONTENT_TYPE);
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    if let Some(id) = last_id {
        headers.insert(LAST_EVENT_ID, id);
    }
    target.pooled.get(target.url.clone()).headers(headers).send().await
}
