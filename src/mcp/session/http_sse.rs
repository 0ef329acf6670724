//! HTTP+SSE of 2024-11-05 for clients: `GET …/sse` opens a stream whose first event names where
//! messages are posted; everything said to the client comes on that stream.
//!
//! Not a second face: each message is handled as if it had been posted to the endpoint itself,
//! within the session that this stream's `initialize` opened, and what is answered there is
//! copied to the stream. The session ends with its stream; a request that is under way then is
//! one whose client left.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::config::Agent;
use crate::domain::json::{self, Node};
use crate::mcp::dispatch::answer;
use crate::mcp::endpoint::{add_cors, authenticate, endpoint, read};
use crate::mcp::envelope::{Message, MessageKind};
use crate::mcp::reading::Share;
use crate::mcp::request::may_use;
use crate::mcp::respond::problem;
use crate::mcp::revision::era_of;
use crate::mcp::stream::Events;
use crate::mcp::{Mcp, session};
use crate::protocol::{code, header_name, jsonrpc, method};
use crate::upstream::{EventParser, WireEra};

use super::get_stream;

/// The open streams, by the `sessionId` in the query of their address for messages.
#[derive(Default)]
pub(crate) struct Streams(Mutex<HashMap<String, Arc<OldSession>>>);

/// One client's stream.
struct OldSession {
    agent: Arc<Agent>,
    upstream: String,
    events: Events,
    /// The session that `initialize` opened. Its id is never told, so that it is used only here.
    session: OnceLock<String>,
    initializing: AtomicBool,
    /// No more messages are taken.
    ended: AtomicBool,
    under_way: TaskTracker,
}

impl Streams {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<OldSession>>> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// Adds a stream unless its agent has `max`.
    fn add(&self, id: &str, session: &Arc<OldSession>, max: u32) -> bool {
        let mut all = self.lock();
        let own = all.values().filter(|s| s.agent.name == session.agent.name).count();
        if own >= max as usize {
            return false;
        }
        all.insert(id.to_owned(), Arc::clone(session));
        true
    }
}

/// Opens the stream of one upstream's address (GET).
pub(crate) async fn stream(
    State(mcp): State<Mcp>,
    upstream: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    // A name that is not UTF-8 matches no upstream.
    at(&mcp, upstream.ok().map(|Path(name)| name), request, Method::GET).await
}

/// Takes a message for a stream of one upstream's address (POST).
pub(crate) async fn messages(
    State(mcp): State<Mcp>,
    upstream: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    at(&mcp, upstream.ok().map(|Path(name)| name), request, Method::POST).await
}

/// Opens the stream of the address for all upstreams (GET).
pub(crate) async fn stream_of_all(State(mcp): State<Mcp>, request: Request) -> Response {
    Box::pin(at_all(mcp, "sse", request, Method::GET)).await
}

/// Takes a message for a stream of the address for all upstreams (POST).
pub(crate) async fn messages_to_all(State(mcp): State<Mcp>, request: Request) -> Response {
    Box::pin(at_all(mcp, "messages", request, Method::POST)).await
}

/// The addresses for all of an agent's upstreams as one; an upstream of such a name keeps its own.
async fn at_all(mcp: Mcp, name: &str, request: Request, method: Method) -> Response {
    if mcp.broker.config().upstream(name).is_some() {
        return endpoint(State(mcp), Ok(Some(Path(name.to_owned()))), request).await;
    }
    at(&mcp, Some(String::new()), request, method).await
}

/// Handles a request to one of the two addresses, each of which takes one HTTP method.
async fn at(mcp: &Mcp, upstream: Option<String>, request: Request, method: Method) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let wished = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        handle(mcp, upstream.as_deref(), request, method).await
    };
    if let Some(origin) = origin {
        add_cors(mcp, origin, wished, &mut response);
    }
    response
}

async fn handle(mcp: &Mcp, upstream: Option<&str>, request: Request, method: Method) -> Response {
    let agent = match authenticate(mcp, request.headers(), request.extensions()) {
        Ok(agent) => agent,
        Err(refused) => return *refused,
    };
    // Without a name all of the agent's upstreams are meant.
    let known = |name: &&str| name.is_empty() || may_use(mcp, &agent, name);
    let Some(upstream) = upstream.filter(known) else {
        return problem(StatusCode::NOT_FOUND, "there is no such upstream");
    };
    if request.method() != method {
        let mut response =
            problem(StatusCode::METHOD_NOT_ALLOWED, &format!("this address takes {method}"));
        if let Ok(allowed) = HeaderValue::from_str(method.as_str()) {
            response.headers_mut().insert(header::ALLOW, allowed);
        }
        return response;
    }
    if method == Method::GET {
        return open(mcp, agent, upstream);
    }
    match find(mcp, &agent, upstream, request.uri()) {
        Some(session) => post(mcp, session, request).await,
        None => problem(StatusCode::NOT_FOUND, "there is no such session: its stream has ended"),
    }
}

/// The stream that the query names. Another agent's stream does not exist for this one.
fn find(mcp: &Mcp, agent: &Agent, upstream: &str, uri: &Uri) -> Option<Arc<OldSession>> {
    let query = uri.query().unwrap_or_default();
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let (_, id) = pairs.find(|(key, _)| key == "sessionId")?;
    let session = mcp.old_streams.lock().get(id.as_ref()).cloned();
    session.filter(|s| s.agent.name == agent.name && s.upstream == upstream)
}

fn open(mcp: &Mcp, agent: Arc<Agent>, upstream: &str) -> Response {
    let id = mcp.broker.ids().token();
    let (events, response) = Events::open();
    let session = Arc::new(OldSession {
        agent,
        upstream: upstream.to_owned(),
        events,
        session: OnceLock::new(),
        initializing: AtomicBool::new(false),
        ended: AtomicBool::new(false),
        under_way: TaskTracker::new(),
    });
    let max = mcp.broker.config().server.max_sessions_per_agent;
    if !mcp.old_streams.add(&id, &session, max) {
        let why =
            format!("this token has {max} open streams (server.max_sessions_per_agent): close one");
        return problem(StatusCode::TOO_MANY_REQUESTS, &why);
    }
    let base = if upstream.is_empty() { "/mcp".to_owned() } else { format!("/mcp/{upstream}") };
    session.events.endpoint(&format!("{base}/messages?sessionId={id}"));
    mcp.broker.tracker().spawn(keep(mcp.clone(), id, session));
    response
}

/// Keeps a stream alive until its client goes or the program stops, and then ends the session.
async fn keep(mcp: Mcp, id: String, session: Arc<OldSession>) {
    let stop = mcp.broker.stop().clone();
    let mut beat = tokio::time::interval(mcp.broker.config().approvals.heartbeat);
    let due = Instant::now() + mcp.broker.config().server.sse_initialize_within;
    loop {
        tokio::select! {
            () = session.events.closed() => break,
            () = stop.soft.cancelled() => break,
            _ = beat.tick() => session.events.comment(),
            () = tokio::time::sleep_until(due), if session.session.get().is_none() => break,
        }
    }
    mcp.old_streams.lock().remove(&id);
    session.ended.store(true, Ordering::SeqCst);
    session.under_way.close();
    // At a stop everything held is handed over first, on this stream.
    tokio::select! {
        () = session.under_way.wait() => {}
        () = session.events.closed() => {}
        () = stop.hard.cancelled() => {}
    }
    session.delete(&mcp).await;
}

impl OldSession {
    /// What names the session to the endpoint proper; none before `initialize`.
    fn headers(&self) -> Option<HeaderMap> {
        let id = HeaderValue::from_str(self.session.get()?).ok()?;
        let mut headers = HeaderMap::new();
        headers.insert(header_name::SESSION_ID, id);
        headers.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        Some(headers)
    }

    /// Ends the session that `initialize` opened.
    async fn delete(&self, mcp: &Mcp) {
        if let Some(headers) = self.headers() {
            session::delete(mcp, &self.agent, &self.upstream, &headers).await;
        }
    }

    fn start(self: &Arc<Self>, mcp: &Mcp, work: impl Future<Output = ()> + Send + 'static) {
        let session = Arc::clone(self);
        let work = self.under_way.track_future(work);
        mcp.broker.tracker().spawn(async move {
            tokio::select! {
                biased;
                // The client that waits for the answer has left.
                () = session.events.closed() => {}
                () = work => {}
            }
        });
    }

    /// Copies an answer of the endpoint proper to the stream; `id` is the request's.
    async fn copy(&self, mcp: &Mcp, response: Response, id: Option<&str>) {
        let kind = response.headers().get(header::CONTENT_TYPE);
        let streams = kind.is_some_and(|v| v.as_bytes().starts_with(b"text/event-stream"));
        let mut body = response.into_body();
        if !streams {
            let Ok(whole) = body.collect().await else { return };
            let text = String::from_utf8_lossy(&whole.to_bytes()).into_owned();
            if let Some(text) = as_message(text, id) {
                self.events.message(&text).await;
            }
            return;
        }
        // Twice the limit: it is meant for the result, not for what Placet adds to the answer.
        let limit = mcp.broker.config().server.max_result.saturating_mul(2);
        let mut parser = EventParser::new(limit);
        while let Some(Ok(frame)) = body.frame().await {
            let Some(bytes) = frame.data_ref() else { continue };
            let Some(messages) = parser.push(bytes) else { return };
            for text in messages {
                if !self.events.message(&text).await {
                    return;
                }
            }
        }
    }
}

/// What the endpoint proper answered, as a message: what is refused there by status alone is an
/// error under the id of the request.
fn as_message(text: String, id: Option<&str>) -> Option<String> {
    let node = json::parse(&text).ok();
    if node.as_ref().is_some_and(|n| n.get("jsonrpc").is_some()) {
        return Some(text);
    }
    let why = node.as_ref().and_then(|n| n.get("detail")).and_then(Node::as_str);
    Some(jsonrpc::error(id?, code::INTERNAL_ERROR, why?, None))
}

async fn post(mcp: &Mcp, session: Arc<OldSession>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let (message, room) = match read(mcp, &session.agent, &parts.headers, body).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let params = message.params.as_ref().map(json::Text::node);
    let era = era_of(&parts.headers, params.as_ref());
    if message.kind == MessageKind::Request {
        return asked(mcp, &session, (message, room), era);
    }
    let Some(headers) = session.headers() else { return uninitialized() };
    if era == WireEra::Modern {
        return StatusCode::ACCEPTED.into_response();
    }
    Box::pin(answer(mcp, session.agent.clone(), &session.upstream, &headers, message, room)).await
}

fn uninitialized() -> Response {
    problem(StatusCode::BAD_REQUEST, "this stream has no session yet: begin with initialize")
}

/// A request is accepted, and answered on the stream. No connection is held by it meanwhile; its room
/// bounds how much waits.
fn asked(
    mcp: &Mcp,
    session: &Arc<OldSession>,
    (message, room): (Message, Share),
    era: WireEra,
) -> Response {
    let max = mcp.broker.config().server.max_sse_requests;
    if session.under_way.len() >= max as usize {
        return problem(
            StatusCode::TOO_MANY_REQUESTS,
            &format!("this stream has {max} requests under way (server.max_sse_requests)"),
        );
    }
    let id = message.id_raw().to_owned();
    let refuse = |code, text: &str| {
        let (session, text) = (Arc::clone(session), jsonrpc::error(&id, code, text, None));
        session.clone().start(mcp, async move {
            session.events.message(&text).await;
        });
        StatusCode::ACCEPTED.into_response()
    };
    if era == WireEra::Modern {
        // A client that probes for the modern era goes on with initialize after this.
        if message.method == method::SERVER_DISCOVER {
            return refuse(code::METHOD_NOT_FOUND, "there is no method \"server/discover\" here");
        }
        return refuse(
            code::INVALID_REQUEST,
            "the modern era has no HTTP+SSE; begin with initialize",
        );
    }
    if message.method == method::INITIALIZE {
        if session.initializing.swap(true, Ordering::SeqCst) {
            return refuse(code::INVALID_REQUEST, "this stream's session is initialized already");
        }
        let work = initialize(mcp.clone(), Arc::clone(session), message, room);
        // Not ended by a client that leaves: what it opens would stay.
        mcp.broker.tracker().spawn(session.under_way.track_future(work));
        return StatusCode::ACCEPTED.into_response();
    }
    let (Some(headers), Some(own)) = (session.headers(), session.session.get()) else {
        return uninitialized();
    };
    // The request is known from here on, since a cancellation may overtake what follows. Once the
    // endpoint proper has taken it, that entry is the one that is cancelled.
    let early = mcp.in_flight.enter(own, &id, mcp.broker.now());
    let (mcp, session) = (mcp.clone(), Arc::clone(session));
    session.clone().start(&mcp.clone(), async move {
        let (agent, upstream) = (session.agent.clone(), session.upstream.clone());
        let whole = async {
            let response = answer(&mcp, agent, &upstream, &headers, message, room).await;
            session.copy(&mcp, response, Some(&id)).await;
        };
        tokio::select! {
            biased;
            () = early.cancelled().cancelled() => {}
            () = whole => {}
        }
    });
    StatusCode::ACCEPTED.into_response()
}

/// `initialize` opens the session, and what happens behind the address is told from then on.
async fn initialize(mcp: Mcp, session: Arc<OldSession>, message: Message, room: Share) {
    let id = message.id_raw().to_owned();
    let (agent, upstream) = (session.agent.clone(), session.upstream.clone());
    let response = answer(&mcp, agent.clone(), &upstream, &HeaderMap::new(), message, room).await;
    let opened = response.headers().get(header_name::SESSION_ID).and_then(|v| v.to_str().ok());
    match opened {
        Some(opened) => {
            // Set once: the flag lets one initialize in at a time.
            let _ = session.session.set(opened.to_owned());
        }
        None => session.initializing.store(false, Ordering::SeqCst),
    }
    if session.ended.load(Ordering::SeqCst) {
        session.delete(&mcp).await;
        return;
    }
    // In use before its client can know of it, so that it makes room for no other.
    let found = match session.headers() {
        Some(headers) => session::find(&mcp, &agent, &upstream, &headers).await.ok(),
        None => None,
    };
    session.copy(&mcp, response, Some(&id)).await;
    // Not counted among the streams of the agent: the session is one of few, and has no other.
    if let Some((own, in_use)) = found {
        let news = get_stream::stream(&mcp, agent, own, (in_use, None)).await;
        let (again, told) = (mcp.clone(), Arc::clone(&session));
        session.start(&mcp, async move { told.copy(&again, news, None).await });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_by_status_is_told_as_an_error_of_the_request() {
        let problem = r#"{"status":429,"title":"Too Many Requests","detail":"too \"many\""}"#;
        let result = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;

        assert_eq!(
            as_message(problem.to_owned(), Some("\"a\"")).as_deref(),
            Some(r#"{"jsonrpc":"2.0","id":"a","error":{"code":-32603,"message":"too \"many\""}}"#)
        );
        assert_eq!(as_message(result.to_owned(), Some("1")).as_deref(), Some(result));
        assert_eq!(as_message(String::new(), Some("1")), None);
    }
}
