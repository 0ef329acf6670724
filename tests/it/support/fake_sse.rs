//! An MCP server of 2024-11-05 over HTTP+SSE that answers as a test says and remembers what it
//! was sent.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::Method;
use axum::response::Response;
use placet::domain::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::fake_http::Seen;

/// What the fake does with one message.
#[derive(Debug, Clone)]
pub struct Does {
    /// The status of the POST.
    pub status: u16,
    /// ServerMessage on the stream the message belongs to, each after a pause; `$ID` becomes the id.
    pub says: Vec<(Duration, String)>,
    /// Whether the stream ends then.
    pub ends: bool,
}

/// Takes the message and says this result.
pub fn result(raw: &str) -> Does {
    says(&[&format!(r#"{{"jsonrpc":"2.0","id":$ID,"result":{raw}}}"#)])
}

/// Takes the message and says these messages.
pub fn says(messages: &[&str]) -> Does {
    let says = messages.iter().map(|m| (Duration::ZERO, (*m).to_owned())).collect();
    Does { status: 202, says, ends: false }
}

/// Answers the POST with this status and says nothing.
pub const fn status(status: u16) -> Does {
    Does { status, says: Vec::new(), ends: false }
}

/// What such a server says to everything but a call.
pub fn usual(seen: &Seen) -> Option<Does> {
    Some(match seen.method().as_str() {
        "initialize" => result(
            r#"{"protocolVersion":"2024-11-05","capabilities":{"tools":{"listChanged":true}},"serverInfo":{"name":"old","version":"1"},"instructions":"be kind"}"#,
        ),
        "ping" => result("{}"),
        "tools/list" => result(r#"{"tools":[{"name":"t","inputSchema":{"type":"object"}}]}"#),
        "tools/call" => return None,
        _ => status(202),
    })
}

/// How the stream begins.
#[derive(Debug, Clone)]
pub enum Begins {
    /// It names the endpoint of this stream's session.
    Well,
    /// It says this; `$BASE` becomes the server's own address.
    With(String),
    /// GET is answered with this status.
    Refused(u16),
}

type Streams = Arc<Mutex<Vec<Option<mpsc::UnboundedSender<String>>>>>;

/// The fake.
pub struct FakeSse {
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    streams: Streams,
}

impl FakeSse {
    /// Starts one that answers everything but calls as usual, and calls by this function.
    pub async fn calls(call: impl Fn(&Seen) -> Does + Send + Sync + 'static) -> Self {
        Self::start(405, Begins::Well, move |seen| usual(seen).unwrap_or_else(|| call(seen))).await
    }

    /// Starts one that refuses POSTs to the stream's address with `refusal`.
    pub async fn start(
        refusal: u16,
        begins: Begins,
        answer: impl Fn(&Seen) -> Does + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let url = format!("{base}/sse");
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let streams = Streams::default();
        let (record, all, answer) = (Arc::clone(&seen), Arc::clone(&streams), Arc::new(answer));
        let router = Router::new().fallback(move |request: Request| {
            let (record, streams) = (Arc::clone(&record), Arc::clone(&all));
            let (answer, begins, base) = (Arc::clone(&answer), begins.clone(), base.clone());
            async move {
                let (head, body) = request.into_parts();
                let body = to_bytes(body, 1 << 22).await.unwrap();
                let seen = Seen {
                    verb: head.method.clone(),
                    headers: head.headers,
                    body: String::from_utf8(body.to_vec()).unwrap(),
                };
                record.lock().unwrap().push(seen.clone());
                match (head.uri.path(), head.uri.query()) {
                    ("/sse", _) if head.method == Method::GET => begin(&begins, &base, &streams),
                    ("/sse", _) => respond(refusal),
                    ("/messages", Some(query)) => {
                        let stream: usize = query.trim_start_matches("s=").parse().unwrap();
                        posted(answer(&seen), &seen.member("id"), stream, &streams)
                    }
                    _ => respond(404),
                }
            }
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, seen, streams }
    }

    /// Everything it was sent.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Everything it was sent with this JSON-RPC method.
    pub fn seen_of(&self, method: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|s| s.method() == method).collect()
    }

    /// How often a stream was asked for.
    pub fn opened(&self) -> usize {
        self.seen().iter().filter(|s| s.verb == Method::GET).count()
    }

    /// Says something on every open stream.
    pub fn say(&self, json: &str) {
        for stream in self.streams.lock().unwrap().iter().flatten() {
            let _ = stream.send(event(json));
        }
    }

    /// Ends every open stream.
    pub fn end_streams(&self) {
        self.streams.lock().unwrap().iter_mut().for_each(|stream| *stream = None);
    }
}

fn event(json: &str) -> String {
    format!("event: message\ndata: {json}\n\n")
}

fn respond(status: u16) -> Response {
    Response::builder().status(status).body(Body::from("Cannot do that")).unwrap()
}

fn begin(begins: &Begins, base: &str, streams: &Streams) -> Response {
    let (to, from) = mpsc::unbounded_channel();
    let mut streams = streams.lock().unwrap();
    let first = match begins {
        Begins::Well => {
            format!(": hello\n\nevent: endpoint\ndata: /messages?s={}\n\n", streams.len())
        }
        Begins::With(text) => text.replace("$BASE", base),
        Begins::Refused(status) => return respond(*status),
    };
    to.send(first).unwrap();
    streams.push(Some(to));
    let frames =
        UnboundedReceiverStream::new(from).map(|text| Ok::<_, Infallible>(Bytes::from(text)));
    Response::builder()
        .header("content-type", "text/event-stream")
        .body(Body::from_stream(frames))
        .unwrap()
}

fn posted(does: Does, id: &str, stream: usize, streams: &Streams) -> Response {
    let (id, streams) = (id.to_owned(), Arc::clone(streams));
    let answer = respond(does.status);
    tokio::spawn(async move {
        for (pause, text) in does.says {
            tokio::time::sleep(pause).await;
            if let Some(Some(to)) = streams.lock().unwrap().get(stream) {
                let _ = to.send(event(&text.replace("$ID", &id)));
            }
        }
        if does.ends {
            streams.lock().unwrap()[stream] = None;
        }
    });
    answer
}

/// The progress token of a request, raw.
pub fn progress_token(seen: &Seen) -> String {
    let params = seen.member("params");
    let node = json::parse(&params).unwrap();
    let token = node.get("_meta").and_then(|m| m.get("progressToken")).map(|t| t.raw.to_owned());
    token.unwrap_or_default()
}
