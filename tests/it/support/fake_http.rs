//! An MCP server over HTTP that answers as a test says and remembers what it was sent.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use futures_util::stream;
use placet::domain::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::BroadcastStream;

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub verb: Method,
    pub headers: HeaderMap,
    pub body: String,
}

impl Seen {
    /// The JSON-RPC method; empty where there is none.
    pub fn method(&self) -> String {
        let node = json::parse(&self.body).ok();
        let method = node.as_ref().and_then(|n| n.get("method")).and_then(|m| m.as_str());
        method.unwrap_or_default().to_owned()
    }

    /// The raw text of a member of the message; empty where there is none.
    pub fn member(&self, key: &str) -> String {
        let node = json::parse(&self.body).ok();
        node.as_ref().and_then(|n| n.get(key)).map_or("", |n| n.raw).to_owned()
    }

    /// A header; empty where there is none.
    pub fn header(&self, name: &str) -> String {
        let value = self.headers.get(name).and_then(|v| v.to_str().ok());
        value.unwrap_or_default().to_owned()
    }
}

/// What the fake answers; `$ID` in a text becomes the id of the request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A status without a body.
    Status(u16),
    /// A JSON body.
    Json(u16, String),
    /// A JSON body and a session id.
    Session(String, String),
    /// Pieces of an event stream, each after a pause; then the stream ends.
    Stream(Vec<(Duration, String)>),
    /// Pieces of an event stream that stays open.
    Open(Vec<(Duration, String)>),
    /// An event stream that carries what the test says from then on, until it is told to end.
    Fed(Feed),
    /// The same after a first message.
    FedAfter(String, Feed),
    /// A status, these headers and no others, and these bytes.
    Plain(u16, Vec<(&'static str, &'static str)>, Vec<u8>),
}

/// What a test says on open streams.
#[derive(Debug, Clone)]
pub struct Feed(broadcast::Sender<Option<String>>);

impl Default for Feed {
    fn default() -> Self {
        Self(broadcast::Sender::new(64))
    }
}

impl Feed {
    /// Says a message on every stream it feeds now.
    pub fn say(&self, message: &str) {
        let _ = self.0.send(Some(format!("data: {message}\n\n")));
    }

    /// How many streams it feeds.
    pub fn streams(&self) -> usize {
        self.0.receiver_count()
    }

    /// Ends every stream.
    pub fn cut(&self) {
        let _ = self.0.send(None);
    }

    /// A stream that begins with this message.
    pub fn after(&self, first: &str) -> Answer {
        Answer::FedAfter(format!("data: {first}\n\n"), self.clone())
    }

    fn body(&self, first: Option<String>, id: &str) -> Body {
        let said = BroadcastStream::new(self.0.subscribe());
        let id = id.to_owned();
        let said = tokio_stream::iter(first)
            .chain(said.map_while(|said| said.ok().flatten()))
            .map(move |text| Ok::<_, Infallible>(Bytes::from(text.replace("$ID", &id))));
        Body::from_stream(said)
    }
}

/// A `result` answer.
pub fn result(raw: &str) -> Answer {
    Answer::Json(200, format!(r#"{{"jsonrpc":"2.0","id":$ID,"result":{raw}}}"#))
}

/// An `error` answer.
pub fn error(status: u16, code: i32) -> Answer {
    let body = format!(r#"{{"jsonrpc":"2.0","id":$ID,"error":{{"code":{code},"message":"no"}}}}"#);
    Answer::Json(status, body)
}

/// One event.
pub fn event(data: &str) -> (Duration, String) {
    (Duration::ZERO, format!("event: message\ndata: {data}\n\n"))
}

/// The fake.
pub struct Fake {
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    /// Starts one that answers by this function.
    pub async fn start(answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), answer)
    }

    /// The same where a test has taken the address already.
    pub fn serve(
        listener: TcpListener,
        answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (record, answer) = (Arc::clone(&seen), Arc::new(answer));
        let router = Router::new().fallback(move |request: Request| {
            let (record, answer) = (Arc::clone(&record), Arc::clone(&answer));
            async move {
                let (head, body) = request.into_parts();
                let body = to_bytes(body, 1 << 22).await.unwrap();
                let seen = Seen {
                    verb: head.method,
                    headers: head.headers,
                    body: String::from_utf8(body.to_vec()).unwrap(),
                };
                record.lock().unwrap().push(seen.clone());
                respond(answer(&seen), &seen.member("id"))
            }
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, seen }
    }

    /// Starts one that speaks 2025-11-25 in session `s` and answers calls by this function.
    pub async fn legacy(call: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::start(move |seen| legacy(seen).unwrap_or_else(|| call(seen))).await
    }

    /// Starts one that speaks 2026-07-28 and answers calls by this function.
    pub async fn modern(call: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::start(move |seen| modern(seen).unwrap_or_else(|| call(seen))).await
    }

    /// Everything it was sent.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Everything it was sent with this JSON-RPC method.
    pub fn seen_of(&self, method: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|s| s.method() == method).collect()
    }
}

/// What a legacy server says to everything but a call.
pub fn legacy(seen: &Seen) -> Option<Answer> {
    Some(match (seen.verb.as_str(), seen.method().as_str()) {
        ("GET", _) => Answer::Status(405),
        ("DELETE", _) => Answer::Status(200),
        (_, "server/discover") => error(400, -32000),
        (_, "initialize") => initialized("s"),
        (_, "tools/list") => result(r#"{"tools":[{"name":"t","inputSchema":{"type":"object"}}]}"#),
        (_, "tools/call") => return None,
        _ => Answer::Status(202),
    })
}

/// The answer to `initialize` that opens this session.
pub fn initialized(session: &str) -> Answer {
    let body = r#"{"jsonrpc":"2.0","id":$ID,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"fake","version":"1"},"instructions":"be kind"}}"#;
    Answer::Session(session.to_owned(), body.to_owned())
}

/// What a modern server says to everything but a call.
pub fn modern(seen: &Seen) -> Option<Answer> {
    Some(match (seen.verb.as_str(), seen.method().as_str()) {
        ("POST", "server/discover") => result(
            r#"{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"fake","version":"2"}}}"#,
        ),
        ("POST", "tools/list") => result(
            r#"{"tools":[{"name":"t","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"}}}}]}"#,
        ),
        ("POST", "tools/call") => return None,
        _ => Answer::Status(405),
    })
}

/// Starts a server that reads one request per connection, sends `reply` and closes; returns its
/// address and what it was sent.
pub async fn raw(reply: &'static [u8]) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let record = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            while !is_whole(&bytes) && socket.read_buf(&mut bytes).await.is_ok_and(|n| n > 0) {}
            record.lock().unwrap().push(String::from_utf8_lossy(&bytes).into_owned());
            let _ = socket.write_all(reply).await;
        }
    });
    (url, seen)
}

/// Whether these bytes are a whole request.
pub fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

fn respond(answer: Answer, id: &str) -> Response {
    let builder = Response::builder();
    match answer {
        Answer::Status(status) => builder.status(status).body(Body::empty()),
        Answer::Json(status, text) => builder
            .status(status)
            .header("content-type", "application/json")
            .body(Body::from(text.replace("$ID", id))),
        Answer::Session(session, text) => builder
            .status(StatusCode::OK)
            .header("content-type", "application/json")
            .header("mcp-session-id", session)
            .body(Body::from(text.replace("$ID", id))),
        Answer::Stream(pieces) => {
            builder.header("content-type", "text/event-stream").body(events(pieces, id, false))
        }
        Answer::Open(pieces) => {
            builder.header("content-type", "text/event-stream").body(events(pieces, id, true))
        }
        Answer::Plain(status, headers, body) => headers
            .into_iter()
            .fold(builder.status(status), |builder, (name, value)| builder.header(name, value))
            .body(Body::from(with_id(&body, id))),
        Answer::Fed(feed) => {
            builder.header("content-type", "text/event-stream").body(feed.body(None, id))
        }
        Answer::FedAfter(first, feed) => {
            builder.header("content-type", "text/event-stream").body(feed.body(Some(first), id))
        }
    }
    .unwrap()
}

/// Bytes, which need not be text, with the id in place of `$ID`.
fn with_id(bytes: &[u8], id: &str) -> Vec<u8> {
    match bytes.windows(3).position(|part| part == b"$ID") {
        Some(at) => [&bytes[..at], id.as_bytes(), &with_id(&bytes[at + 3..], id)].concat(),
        None => bytes.to_vec(),
    }
}

fn events(pieces: Vec<(Duration, String)>, id: &str, stay: bool) -> Body {
    let id = id.to_owned();
    let pieces = stream::unfold((pieces.into_iter(), id), move |(mut pieces, id)| async move {
        let Some((pause, text)) = pieces.next() else {
            if stay {
                std::future::pending::<()>().await;
            }
            return None;
        };
        tokio::time::sleep(pause).await;
        Some((Ok::<_, Infallible>(Bytes::from(text.replace("$ID", &id))), (pieces, id)))
    });
    Body::from_stream(pieces)
}
