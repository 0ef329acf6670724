//! Sends one POST and reads what comes back, over a broken legacy stream's resumption if need
//! be, until there is an answer or certainly none.

use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tokio::task::JoinHandle;
use tracing::debug;

use crate::protocol::header_name;

use super::super::hub::{Hub, Received};
use super::super::message::{self, Incoming, Whose};
use super::super::server_request_routing;
use super::super::sse::{Event, Parser};
use super::super::{Gate, Reply, UpstreamError, WireEra};
use super::body::{Body, Kind, unread};
use super::io;
use super::once;
use super::pool::Over;
use super::response::Response;
use super::send::{ASIDE_TIMEOUT, is_refusal, post, post_harmless, request, send};
use super::session::Session;
use super::target::Target;

/// Wait before a broken legacy stream is resumed, where the server names none.
const RESUME_AFTER: Duration = Duration::from_secs(1);
/// Longest wait before a stream is resumed, whatever the server names.
const RESUME_AFTER_MOST: Duration = Duration::from_secs(30);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static(header_name::LAST_EVENT_ID);

/// Longest wait for the words of a server that refused by its status.
const REFUSAL_WITHIN: Duration = Duration::from_secs(2);

/// How a POST was answered.
#[derive(Debug)]
pub(super) enum Answered {
    /// A JSON-RPC answer to it, under whatever status.
    Reply(StatusCode, Reply),
    /// Refused by HTTP status, before the server ran anything; what it said, fit for an error.
    Refused { status: StatusCode, said: String },
    /// Anything else: the HTTP status where there was one, why it is no answer, and what it said.
    Unreadable { status: Option<StatusCode>, why: String, said: String },
}

impl Answered {
    pub(super) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Reply(status, _) | Self::Refused { status, .. } => Some(*status),
            Self::Unreadable { status, .. } => *status,
        }
    }
}

/// A refusal of this upstream in words. Where it is for want of rights they name the key to look at.
pub(super) fn refusal(status: StatusCode, said: &str, upstream: &str) -> String {
    let colon = if said.is_empty() { "" } else { ": " };
    let key = match status.as_u16() {
        401 | 403 => format!(" (look at headers of [[upstreams]] {upstream:?})"),
        _ => String::new(),
    };
    format!("refused with HTTP {status}{colon}{said}{key}")
}

/// How a request is sent.
#[derive(Debug, Clone)]
pub(super) enum Sending {
    /// On a connection of its own, through this gate, and never again.
    Once(Option<Arc<dyn Gate>>),
    /// Over a connection that may have been kept.
    Usual,
    /// The same, and again where that connection was dead: it runs nothing.
    Harmless,
}

/// Sends a request and reads its answer, whatever it is.
///
/// # Errors
/// That of sending: [`UpstreamError::NotSent`] or [`UpstreamError::Lost`].
pub(super) async fn exchange(
    target: &Arc<Target>,
    sending: Sending,
    hub: &Arc<Hub>,
    session: &Arc<Session>,
    headers: HeaderMap,
    body: String,
    id: u64,
) -> Result<Answered, UpstreamError> {
    let response = match sending {
        Sending::Once(gate) => {
            once::post(&target.dialer, target.address()?, headers, body.into(), gate.as_ref())
                .await?
        }
        Sending::Usual => post(target, target.usual(), headers, body.into()).await?,
        Sending::Harmless => post_harmless(target, headers, body).await?,
    };
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

/// Posts a notification or an answer; what the server says to it is of no interest. The task ends
/// when it is out, or was given up.
pub(super) fn post_aside(
    target: &Arc<Target>,
    hub: &Arc<Hub>,
    session: &Arc<Session>,
    body: String,
) -> JoinHandle<()> {
    let (target, session, hub) = (Arc::clone(target), Arc::clone(session), Arc::clone(hub));
    let tracker = hub.common.tracker.clone();
    tracker.spawn(async move {
        let sent = post(&target, target.usual(), session.headers(), body.into());
        match tokio::time::timeout(ASIDE_TIMEOUT, sent).await {
            Ok(Ok(response)) => response.finish(),
            Ok(Err(error)) => debug!(upstream = %hub.common.name, "a side message failed: {error}"),
            Err(_) => debug!(upstream = %hub.common.name, "a side message timed out"),
        }
    })
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
        Received::Respond(body) => drop(post_aside(target, hub, session, body)),
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
    /// What the server said that is no answer, fit for an error.
    said: String,
}

/// An answer, and whether it names its request; or why there is none.
type Read = Result<(Reply, bool), String>;

impl<'a> Reading<'a> {
    fn new(
        target: &'a Arc<Target>,
        hub: &'a Arc<Hub>,
        session: Option<&'a Arc<Session>>,
        id: u64,
    ) -> Self {
        let parser = Parser::new(hub.common.max_message);
        Self { target, hub, session, id, parser, said: String::new() }
    }

    async fn answer(&mut self, response: Response) -> Answered {
        let status = response.status();
        // With these a server refuses what it has not run, unless it answers by the request's id.
        let refuses = is_refusal(status)
            || status == StatusCode::BAD_REQUEST
            || (status == StatusCode::NOT_FOUND && self.session.is_some_and(|s| s.id.is_some()));
        let read = match unread(&response, &self.target.url, &self.hub.common.name) {
            Some(why) => Err(why),
            None if refuses => tokio::time::timeout(REFUSAL_WITHIN, self.read(status, response))
                .await
                .unwrap_or_else(|_| Err("its words did not end".to_owned())),
            None => self.read(status, response).await,
        };
        let said = std::mem::take(&mut self.said);
        match read {
            // A result is the answer to the one request that was posted, under any status.
            Ok((reply @ Reply::Result(_), _)) => Answered::Reply(status, reply),
            Ok((reply, by_id)) if by_id || !refuses => Answered::Reply(status, reply),
            Ok((Reply::Error(error), _)) => {
                Answered::Refused { status, said: message::error_text(&error) }
            }
            Err(_) if refuses => Answered::Refused { status, said },
            Err(why) => Answered::Unreadable { status: Some(status), why, said },
        }
    }

    async fn read(&mut self, status: StatusCode, response: Response) -> Read {
        let mut body = Body::of(response);
        let read = match body.kind().await {
            Kind::Events => return self.stream(status, body).await,
            Kind::Json => self.body(body).await,
        };
        read.map_err(|why| format!("answered HTTP {status}: {why}"))
    }

    async fn body(&mut self, mut body: Body) -> Read {
        let limit = self.hub.common.max_message;
        let mut text = Vec::new();
        let whole = loop {
            match body.chunk().await {
                Ok(Some(bytes)) if text.len() + bytes.len() > limit => {
                    return Err(format!(
                        "the answer is larger than {limit} bytes (server.max_result)"
                    ));
                }
                Ok(Some(bytes)) => text.extend_from_slice(&bytes),
                Ok(None) => break Ok(()),
                // Perhaps only its end is missing.
                Err(broken) => break Err(broken),
            }
        };
        if text.is_empty() {
            whole?;
            return Err("the answer is empty".to_owned());
        }
        match (message::read_bytes(&text), whole) {
            (Ok(messages), _) => self
                .deliver(messages, true)
                .ok_or_else(|| "there is no answer to this request".to_owned()),
            (Err(_), Err(broken)) => Err(broken),
            (Err(what), Ok(())) => {
                let text = String::from_utf8_lossy(&text);
                // Nobody reads the source of a page.
                if !text.trim_start().starts_with('<') {
                    self.said = message::printable(text.trim());
                }
                Err(format!("the answer is unreadable: {}", what.why))
            }
        }
    }

    /// Hands messages on; returns the answer among them. Whatever comes back to a POST of one
    /// request is about that one: an error without an id is its answer, and a result where it is
    /// the `sole` thing that comes.
    fn deliver(&mut self, messages: Vec<Incoming>, sole: bool) -> Option<(Reply, bool)> {
        let mut answer = None;
        for incoming in messages {
            match incoming {
                Incoming::Answer { to: Whose::Unsaid, reply }
                    if sole || matches!(reply, Reply::Error(_)) =>
                {
                    answer.get_or_insert((reply, false));
                    continue;
                }
                Incoming::Answer { to: Whose::Nobody, reply: Reply::Error(ref error) } => {
                    self.said = message::error_text(error);
                }
                _ => {}
            }
            match self.hub.receive(incoming, Some(self.id)) {
                Received::Nothing => {}
                Received::Answer(reply) => answer = Some((reply, true)),
                received @ (Received::Respond(_) | Received::ForClient(_)) => {
                    if let Some(session) = self.session {
                        respond(self.target, self.hub, session, received);
                    }
                }
            }
        }
        answer
    }

    async fn stream(&mut self, status: StatusCode, mut body: Body) -> Read {
        loop {
            let broken = match self.events(&mut body).await? {
                Ok(answer) => {
                    body.finish();
                    return Ok(answer);
                }
                Err(broken) => broken,
            };
            if !status.is_success() {
                return Err(format!("answered HTTP {status}: {broken}"));
            }
            body = Body::of(self.resume(broken).await?);
        }
    }

    /// Reads events up to the answer; the inner error is how the stream ended without it, the
    /// outer one that there will be none.
    async fn events(&mut self, body: &mut Body) -> Result<Read, String> {
        let mut events = Vec::new();
        self.parser.restart();
        loop {
            let (ended, whole) = match body.chunk().await {
                Ok(Some(bytes)) => (None, self.parser.push(&bytes, &mut events)),
                // An event that nothing ends may be whole all the same.
                Ok(None) => {
                    events.extend(self.parser.unfinished());
                    (Some("the stream ended without an answer".to_owned()), Ok(()))
                }
                Err(error) => {
                    events.extend(self.parser.unfinished());
                    (Some(format!("the stream broke: {error}")), Ok(()))
                }
            };
            for Event { kind, data } in events.drain(..) {
                if data.is_empty() {
                    continue;
                }
                match message::read_bytes(&data) {
                    // Events of other types are for others, but an answer is an answer.
                    Ok(messages) if kind == "message" || self.is_answered_by(&messages) => {
                        if let Some(answer) = self.deliver(messages, false) {
                            return Ok(Ok(answer));
                        }
                    }
                    Err(what) if what.id == Some(self.id) && ended.is_none() => {
                        return Err(format!("the answer is unreadable: {}", what.why));
                    }
                    Err(what) if kind == "message" && ended.is_none() => {
                        self.hub.unreadable(&what);
                    }
                    Ok(_) | Err(_) => {}
                }
            }
            if whole.is_err() {
                let limit = self.hub.common.max_message;
                return Err(format!("a message is larger than {limit} bytes (server.max_result)"));
            }
            if let Some(ended) = ended {
                return Ok(Err(ended));
            }
        }
    }

    fn is_answered_by(&self, messages: &[Incoming]) -> bool {
        let own = Whose::Request(self.id);
        messages.iter().any(|m| matches!(m, Incoming::Answer { to, .. } if *to == own))
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
            .map_err(|why| format!("{broken}; then {why}"))?;
        if response.status().is_success() && response.is_event_stream() {
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
/// Why there is none, in words.
pub(super) async fn get(
    target: &Target,
    session: &Session,
    last_id: Option<HeaderValue>,
) -> Result<Response, String> {
    let mut headers = session.headers();
    headers.remove(CONTENT_TYPE);
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    if let Some(id) = last_id {
        headers.insert(LAST_EVENT_ID, id);
    }
    let address = target.address().map_err(UpstreamError::into_words)?;
    let request = request(Method::GET, address, headers, io::Body::empty());
    send(target, address, Over::Kept, request).await.map_err(UpstreamError::into_words)
}
