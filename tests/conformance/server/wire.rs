//! JSON-RPC messages, and the event stream that carries them.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;

/// How long a client is asked to wait before it comes back for a stream, milliseconds.
const RETRY_MS: u32 = 200;

/// A result, or why there is none.
pub(crate) type Answer = Result<Value, Fault>;

/// A JSON-RPC error and the HTTP status it has in the modern era.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) status: StatusCode,
    pub(crate) code: i64,
    pub(crate) message: String,
    pub(crate) data: Option<Value>,
}

impl Fault {
    pub(crate) fn new(status: StatusCode, code: i64, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), data: None }
    }

    pub(crate) fn with(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }

    /// The method is known, its parameters are not acceptable.
    pub(crate) fn params(message: impl Into<String>) -> Self {
        Self::new(StatusCode::OK, -32602, message)
    }

    pub(crate) fn no_method(method: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, -32601, format!("Method not found: {method}"))
    }

    /// The client did not declare what this needs.
    pub(crate) fn capability(required: &Value) -> Self {
        Self::new(StatusCode::BAD_REQUEST, -32021, "Missing required client capability")
            .with(json!({"requiredCapabilities": required}))
    }
}

pub(crate) fn notification(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}

pub(crate) fn error(id: &Value, code: i64, message: &str, data: Option<Value>) -> Value {
    let mut error = json!({"code": code, "message": message});
    if let Some(data) = data {
        error["data"] = data;
    }
    json!({"jsonrpc": "2.0", "id": id, "error": error})
}

/// The answer to request `id`, and its HTTP status.
pub(crate) fn answer(id: &Value, answer: Answer) -> (StatusCode, Value) {
    match answer {
        Ok(result) => (StatusCode::OK, json!({"jsonrpc": "2.0", "id": id, "result": result})),
        Err(fault) => (fault.status, error(id, fault.code, &fault.message, fault.data)),
    }
}

/// One JSON document.
pub(crate) fn document(status: StatusCode, body: &Value) -> Response {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .unwrap()
}

/// An event stream; with a name its events have ids, and whoever lost it can read on elsewhere.
#[derive(Debug)]
pub(crate) struct Stream {
    name: Option<String>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    events: Vec<String>,
    reader: Option<mpsc::UnboundedSender<Bytes>>,
    ended: bool,
}

impl Stream {
    pub(crate) fn new(name: Option<String>) -> Arc<Self> {
        let mut state = State::default();
        if let Some(name) = &name {
            state.events.push(format!("id: {name}.0\nretry: {RETRY_MS}\ndata: \n\n"));
        }
        Arc::new(Self { name, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Sends a message, or keeps it for a reader who comes back; false if nobody reads now.
    pub(crate) fn say(&self, message: &Value) -> bool {
        let mut state = self.state();
        let id = match &self.name {
            Some(name) => format!("id: {name}.{}\n", state.events.len()),
            None => String::new(),
        };
        let event = format!("{id}event: message\ndata: {message}\n\n");
        let read = state.reader.as_ref().is_some_and(|r| r.send(event.clone().into()).is_ok());
        state.events.push(event);
        read
    }

    /// Nothing more will be said.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        state.reader = None;
    }

    /// Closes the connection and leaves the stream open: the reader has to come back.
    pub(crate) fn hang_up(&self) {
        self.state().reader = None;
    }

    /// Whether an event of this name is one of this stream's; its number then.
    pub(crate) fn number(&self, event: &str) -> Option<usize> {
        let number = event.strip_prefix(self.name.as_deref()?)?.strip_prefix('.')?;
        number.parse().ok()
    }

    /// A response with all events from this one on, and what comes.
    pub(crate) fn read(&self, from: usize) -> Response {
        let (sender, receiver) = mpsc::unbounded_channel::<Bytes>();
        let mut state = self.state();
        for event in state.events.iter().skip(from) {
            let _ = sender.send(event.clone().into());
        }
        if !state.ended {
            state.reader = Some(sender);
        }
        let frames = tokio_stream::wrappers::UnboundedReceiverStream::new(receiver);
        Response::builder()
            .header(header::CONTENT_TYPE, "text/event-stream")
            .header(header::CACHE_CONTROL, "no-cache")
            .body(Body::from_stream(frames.map(Ok::<_, Infallible>)))
            .unwrap()
    }
}
