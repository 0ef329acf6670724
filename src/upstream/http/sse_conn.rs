//! HTTP+SSE of 2024-11-05: one stream on which the server says everything, and an endpoint,
//! named by the stream's first event, that takes every message by POST.
//!
//! A request that was not yet posted when the stream ended was not sent; one that was is lost,
//! and so is one whose answer can't be read. Nothing is posted twice. The stream is opened again
//! at the next request. Before an approved call goes out over a stream that was silent for a
//! while, the server must answer a ping on it: else nobody would hear what became of the call.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::{Method, StatusCode};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, warn};
use url::Url;

use crate::protocol::{code, jsonrpc, method};

use super::super::handshake::{initialize_params, read_initialize};
use super::super::hub::{Hub, OnCancel, Received, attend, next_id, outgoing_params};
use super::super::message::{self, Unreadable};
use super::super::server_request_routing;
use super::super::sse::{Event, Parser};
use super::super::{Gate, Notifications, Reply, Request, ServerFacts, UpstreamError, WireEra};
use super::address::Address;
use super::body::unread;
use super::io::Body;
use super::once;
use super::pool::{IDLE_CONNECTION, Over};
use super::response::Response;
use super::send::{ASIDE_TIMEOUT, is_refusal, request, send};
use super::target::{PROTOCOL_VERSION, Target, UNCOMPRESSED};

/// How long the first event, which names the endpoint, may take.
pub(super) const ENDPOINT_WITHIN: Duration = Duration::from_secs(10);
/// How long a server may take to answer the ping that shows a silent stream to be alive.
const PONG_WITHIN: Duration = Duration::from_secs(5);
/// Longest address of an endpoint, bytes.
const MAX_ENDPOINT: usize = 8 << 10;

/// One stream and its endpoint; dropping it closes the stream.
pub(super) struct SseConn {
    hub: Arc<Hub>,
    line: Arc<Line>,
    /// Ends the stream.
    pub stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

/// What both sides of the connection share.
struct Line {
    target: Arc<Target>,
    endpoint: Address,
    /// The negotiated protocol version.
    version: OnceCell<HeaderValue>,
    /// The stream is gone: set before the waiting requests are told.
    over: CancellationToken,
    /// The endpoint no longer knows the stream's session; what was posted may yet be answered.
    retired: AtomicBool,
    heard_at: Mutex<Instant>,
}

impl SseConn {
    /// Opens the stream and says `initialize`.
    ///
    /// # Errors
    /// Why that can't be done, in words: no stream, no usable endpoint, or no handshake.
    pub(super) async fn open(
        target: &Arc<Target>,
        link: &Hub,
    ) -> Result<(Arc<Self>, ServerFacts), String> {
        let address = target.address().map_err(UpstreamError::into_words)?;
        let get = request(Method::GET, address, get_headers(target), Body::empty());
        let opened = send(target, address, Over::Kept, get).await;
        let mut response = opened.map_err(UpstreamError::into_words)?;
        let status = response.status();
        if let Some(why) = unread(&response, &target.url, &link.common.name) {
            return Err(format!("GET was {why}"));
        }
        if !status.is_success() {
            return Err(format!("GET was answered HTTP {status}"));
        }
        if !response.is_event_stream() {
            return Err("GET was answered with no event stream".to_owned());
        }
        let mut parser = Parser::new(link.common.max_message);
        let first = first_event(&mut response, &mut parser);
        let patience = ENDPOINT_WITHIN.min(link.common.timeout);
        let (endpoint, early) = tokio::time::timeout(patience, first)
            .await
            .map_err(|_| format!("the stream named no endpoint within {patience:?}"))??;
        let line = Arc::new(Line {
            target: Arc::clone(target),
            endpoint: Address::of(&endpoint_url(&target.url, &endpoint)?)?,
            version: OnceCell::new(),
            over: CancellationToken::new(),
            retired: AtomicBool::new(false),
            heard_at: Mutex::new(Instant::now()),
        });
        // A hub of its own: what waits here ends with this stream and not with the next one.
        let hub = Hub::new(&link.common, &link.listeners);
        let stop = link.common.stop.child_token();
        hub.common.tracker.spawn(read(
            Reader { response, parser, early },
            Arc::clone(&hub),
            Arc::clone(&line),
            stop.clone(),
        ));
        let conn = Self { hub, line, _stop_on_drop: stop.clone().drop_guard(), stop };
        let facts = conn.shake_hands().await?;
        Ok((Arc::new(conn), facts))
    }

    async fn shake_hands(&self) -> Result<ServerFacts, String> {
        let limit = self.hub.common.handshake_timeout;
        let facts = match self
            .ask(method::INITIALIZE, Some(&initialize_params(&self.hub.listeners.features)), limit)
            .await
        {
            Ok(Reply::Result(result)) => read_initialize(&result)?,
            Ok(Reply::Error(error)) => {
                return Err(format!("initialize was refused: {}", message::error_text(&error)));
            }
            Err(error) => return Err(format!("initialize: {error}")),
        };
        if let Ok(version) = HeaderValue::from_str(&facts.version) {
            // Said once per connection.
            let _ = self.line.version.set(version);
        }
        let done = jsonrpc::notification(method::NOTIFICATIONS_INITIALIZED, None);
        let accepted = self.line.post(By::Pooled, done).await;
        match accepted.map_err(|error| format!("notifications/initialized: {error}"))? {
            status if status.is_success() => Ok(facts),
            status => Err(format!("notifications/initialized was answered HTTP {status}")),
        }
    }

    fn is_gone(&self) -> bool {
        self.line.over.is_cancelled() || self.stop.is_cancelled()
    }

    /// Whether it can take no more requests.
    pub(super) fn is_over(&self) -> bool {
        self.is_gone() || self.line.retired.load(Ordering::Relaxed)
    }

    /// Fires when the stream is gone.
    pub(super) fn over(&self) -> CancellationToken {
        self.line.over.clone()
    }

    /// Whether the stream can be trusted to bring an answer: something came on it just now, or
    /// the server answers a ping.
    pub(super) async fn is_alive(&self) -> bool {
        let silent = self.line.heard_at.lock().expect("no holder of this lock panics").elapsed();
        let timeout = self.hub.common.timeout;
        silent < IDLE_CONNECTION.min(timeout / 2)
            || self.ask(method::PING, None, PONG_WITHIN.min(timeout)).await.is_ok()
    }

    /// Sends a request of Placet's own, to which the server may be silent as long as `patience`.
    async fn ask(
        &self,
        method: &str,
        params: Option<&str>,
        patience: Duration,
    ) -> Result<Reply, UpstreamError> {
        let mut route = self.hub.open(next_id(), None);
        let heard = Arc::clone(&route.heard);
        let body = jsonrpc::request(route.id, method, params);
        let work = self.exchange(By::Pooled, route.id, body, &mut route.answer);
        attend(work, &heard, patience, None, &CancellationToken::new(), || OnCancel::Wait).await
    }

    /// Sends one request and waits for its answer on the stream.
    ///
    /// # Errors
    /// As [`Upstream::request`](crate::upstream::Upstream::request).
    pub(super) async fn request(
        &self,
        request: &Request,
        notifications: Option<Notifications>,
        cancel: &CancellationToken,
    ) -> Result<Reply, UpstreamError> {
        let gate = request.gate.clone();
        let by = if request.once { By::Once(gate) } else { By::Pooled };
        let mut route = self.hub.open(next_id(), notifications);
        let id = route.id;
        if request.log_level.is_some() {
            self.hub.mark_logs(id);
        }
        let params = outgoing_params(WireEra::Legacy, id, request, &self.hub.listeners.features);
        let body = jsonrpc::request(id, &request.method, params.as_deref());
        drop(params);
        let heard = Arc::clone(&route.heard);
        let work = self.exchange(by, id, body, &mut route.answer);
        let on_cancel = || {
            self.send(message::cancelled(id));
            if request.once { OnCancel::Wait } else { OnCancel::Return(UpstreamError::Cancelled) }
        };
        let overdue = request.overdue.as_ref();
        let timeout = self.hub.common.timeout;
        let answer = attend(work, &heard, timeout, overdue, cancel, on_cancel).await;
        if let Err(UpstreamError::Lost(_)) = &answer
            && !request.once
        {
            self.send(message::cancelled(id));
        }
        match answer? {
            Reply::Error(error) => match jsonrpc::error_code(&error) {
                Some(code::HEADER_MISMATCH | code::UNSUPPORTED_VERSION) => {
                    let why = format!("refused: {}", message::error_text(&error));
                    Err(UpstreamError::NotSent(why))
                }
                _ => Ok(Reply::Error(error)),
            },
            reply @ Reply::Result(_) => Ok(reply),
        }
    }

    /// Posts a request; its answer comes over the stream, perhaps before the POST is answered.
    async fn exchange(
        &self,
        by: By,
        id: u64,
        body: String,
        answer: &mut tokio::sync::oneshot::Receiver<Result<Reply, UpstreamError>>,
    ) -> Result<Reply, UpstreamError> {
        let gone = || UpstreamError::Lost("the connection is gone".to_owned());
        if self.is_over() {
            return Err(UpstreamError::NotSent("the server's stream is gone".to_owned()));
        }
        self.hub.mark_written(id);
        tokio::select! {
            biased;
            // The sender lives in the hub until it was used.
            answer = &mut *answer => return answer.unwrap_or_else(|_| Err(gone())),
            posted = self.line.post(by, body) => self.judge(posted?)?,
        }
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// What the HTTP status that answers a POST says of the message in it.
    fn judge(&self, status: StatusCode) -> Result<(), UpstreamError> {
        if status.is_success() {
            return Ok(());
        }
        let why = format!("refused with HTTP {status}");
        if matches!(status.as_u16(), 400 | 401 | 404 | 410) {
            // The stream's session is unknown there: the next request opens another stream.
            self.line.retired.store(true, Ordering::Relaxed);
            return Err(UpstreamError::NotSent(why));
        }
        if is_refusal(status) {
            return Err(UpstreamError::NotSent(why));
        }
        Err(UpstreamError::Lost(format!("the POST was answered HTTP {status}")))
    }

    /// Sends a notification or an answer on the side. The task ends when it is out, or was given up.
    pub(super) fn send(&self, body: String) -> Option<JoinHandle<()>> {
        if self.is_gone() {
            return None;
        }
        self.hub.mark_aside();
        Some(post_aside(&self.line, &self.hub, body))
    }
}

/// Over which connection a message is posted.
enum By {
    /// One that may have been kept.
    Pooled,
    /// One of its own, through this gate.
    Once(Option<Arc<dyn Gate>>),
}

impl Line {
    /// Posts one message; the status is all that is of interest in the answer.
    async fn post(&self, by: By, body: String) -> Result<StatusCode, UpstreamError> {
        let mut more = HeaderMap::new();
        if let Some(version) = self.version.get() {
            more.insert(PROTOCOL_VERSION, version.clone());
        }
        let headers = self.target.post_headers(more);
        let body = body.into();
        let sent = match by {
            By::Pooled => {
                let post = request(Method::POST, &self.endpoint, headers, Body::of(body));
                send(&self.target, &self.endpoint, Over::Kept, post).await
            }
            By::Once(gate) => {
                once::post(&self.target.dialer, &self.endpoint, headers, body, gate.as_ref()).await
            }
        };
        let response = sent?;
        let status = response.status();
        response.finish();
        Ok(status)
    }
}

fn post_aside(line: &Arc<Line>, hub: &Arc<Hub>, body: String) -> JoinHandle<()> {
    let (line, hub) = (Arc::clone(line), Arc::clone(hub));
    let tracker = hub.common.tracker.clone();
    tracker.spawn(async move {
        let sent = line.post(By::Pooled, body);
        match tokio::time::timeout(ASIDE_TIMEOUT, sent).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => debug!(upstream = %hub.common.name, "a side message failed: {error}"),
            Err(_) => debug!(upstream = %hub.common.name, "a side message timed out"),
        }
    })
}

fn get_headers(target: &Target) -> HeaderMap {
    let mut headers = target.headers.clone();
    headers.remove(CONTENT_TYPE);
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    headers.insert(ACCEPT_ENCODING, UNCOMPRESSED);
    headers
}

/// Reads up to the event that names the endpoint; gives back its data and the events after it that
/// were read too.
async fn first_event(
    response: &mut Response,
    parser: &mut Parser,
) -> Result<(Vec<u8>, Vec<Event>), String> {
    let mut events = Vec::new();
    loop {
        let Some(bytes) = response.chunk().await? else {
            return Err("the stream ended without naming an endpoint".to_owned());
        };
        parser
            .push(&bytes, &mut events)
            .map_err(|_| "the stream's first event is too large".to_owned())?;
        if let Some(at) = events.iter().position(|event| event.kind == "endpoint") {
            let early = events.split_off(at + 1);
            let endpoint = events.pop().map(|event| event.data).unwrap_or_default();
            return Ok((endpoint, early));
        }
        events.clear();
    }
}

/// The endpoint's address. Whoever writes the stream must not choose another server for what
/// Placet sends: only the configured origin is taken, with the configured user.
fn endpoint_url(stream: &Url, named: &[u8]) -> Result<Url, String> {
    let named = std::str::from_utf8(named)
        .ok()
        .filter(|text| !text.is_empty() && text.len() <= MAX_ENDPOINT)
        .ok_or("the stream names no readable endpoint")?;
    let unusable =
        || format!("the stream names an unusable endpoint, {}", message::printable(named));
    let mut url = stream.join(named).map_err(|_| unusable())?;
    if url.origin() != stream.origin() || url.origin().ascii_serialization() == "null" {
        return Err(format!(
            "the stream names an endpoint of another origin, {}; only {} is taken",
            message::printable(&url.origin().ascii_serialization()),
            stream.origin().ascii_serialization(),
        ));
    }
    url.set_username(stream.username()).map_err(|()| unusable())?;
    url.set_password(stream.password()).map_err(|()| unusable())?;
    Ok(url)
}

struct Reader {
    response: Response,
    parser: Parser,
    /// What came with the first event.
    early: Vec<Event>,
}

/// Reads the stream to its end, then tells every request that still waits.
async fn read(mut reader: Reader, hub: Arc<Hub>, line: Arc<Line>, stop: CancellationToken) {
    let why = tokio::select! {
        biased;
        () = stop.cancelled() => "the connection was closed".to_owned(),
        why = listen(&mut reader, &hub, &line) => why,
    };
    debug!(upstream = %hub.common.name, "{why}");
    line.over.cancel();
    hub.fail_all(&why);
}

async fn listen(reader: &mut Reader, hub: &Arc<Hub>, line: &Arc<Line>) -> String {
    let mut events = std::mem::take(&mut reader.early);
    loop {
        for Event { kind, data } in events.drain(..) {
            if kind == "message" && !data.is_empty() {
                receive(&data, hub, line);
            }
        }
        let bytes = match reader.response.chunk().await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return "the server ended its stream".to_owned(),
            Err(why) => return format!("the server's stream broke: {why}"),
        };
        *line.heard_at.lock().expect("no holder of this lock panics") = Instant::now();
        if reader.parser.push(&bytes, &mut events).is_err() {
            let limit = hub.common.max_message;
            warn!(
                upstream = %hub.common.name,
                "a message is larger than {limit} bytes (server.max_result), the stream is closed"
            );
            return format!("a message is larger than {limit} bytes (server.max_result)");
        }
    }
}

fn receive(data: &[u8], hub: &Arc<Hub>, line: &Arc<Line>) {
    match message::read_bytes(data) {
        Ok(messages) => {
            for incoming in messages {
                match hub.receive(incoming, None) {
                    Received::Respond(body) => drop(post_aside(line, hub, body)),
                    Received::ForClient(question) => {
                        let (line, again) = (Arc::clone(line), Arc::clone(hub));
                        hub.common.tracker.spawn(async move {
                            post_aside(
                                &line,
                                &again,
                                server_request_routing::answered(&again, question).await,
                            );
                        });
                    }
                    Received::Nothing | Received::Answer(_) => {}
                }
            }
        }
        Err(Unreadable { id: Some(id), why, .. }) => {
            hub.fail(id, &format!("the answer is unreadable: {why}"));
        }
        Err(what) => hub.unreadable(&what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(named: &str) -> Result<String, String> {
        let stream = Url::parse("http://ana:secret@10.0.0.1:80/app/sse?x=1").unwrap();
        endpoint_url(&stream, named.as_bytes()).map(|url| url.to_string())
    }

    #[test]
    fn an_endpoint_is_taken_from_its_own_origin_in_every_spelling() {
        for (named, url) in [
            ("/messages?sessionId=7", "http://ana:secret@10.0.0.1/messages?sessionId=7"),
            ("messages", "http://ana:secret@10.0.0.1/app/messages"),
            ("http://10.0.0.1:80/m", "http://ana:secret@10.0.0.1/m"),
            ("//10.0.0.1/m", "http://ana:secret@10.0.0.1/m"),
            ("http://eve:word@10.0.0.1/m", "http://ana:secret@10.0.0.1/m"),
            ("?s=1", "http://ana:secret@10.0.0.1/app/sse?s=1"),
        ] {
            assert_eq!(endpoint(named).as_deref(), Ok(url), "{named}");
        }
    }

    #[test]
    fn an_endpoint_elsewhere_is_refused_by_name() {
        for named in [
            "http://10.0.0.2/m",
            "http://10.0.0.1:8080/m",
            "https://10.0.0.1/m",
            "//169.254.169.254/latest",
            "\\\\10.0.0.2\\m",
            "file:///etc/passwd",
            "data:,x",
            "",
        ] {
            let told = endpoint(named).unwrap_err();
            assert!(told.contains("endpoint") && !told.contains("secret"), "{named}: {told}");
        }
    }
}
