//! The server that the official conformance suite talks to, directly and through Placet: both
//! eras of MCP at `/mcp`, with the tools, prompts and resources that the suite calls by name.
//!
//! It shares no code with Placet, so that a mistake made there is not made here too.
//!
//! Usage: `conformance_server PORT` (0: any free one). Prints its address, ends with its parent.
#![allow(unreachable_pub, reason = "nothing outside a program reaches into it")]
#![allow(clippy::unwrap_used, reason = "a fixture fails by panicking")]
#![allow(clippy::needless_pass_by_value, reason = "`json!` is written in place")]
#![allow(clippy::result_large_err, reason = "a refusal is a whole response, and rare")]

mod ask;
mod content;
mod exchange;
mod legacy;
mod modern;
mod mrtr;
mod tasks;
mod tools;
mod wire;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use serde_json::{Value, json};

use wire::Stream;

/// The largest body that is read.
const MAX_BODY: usize = 4 << 20;

/// Everything the server knows.
#[derive(Default)]
pub(crate) struct Fixture {
    sessions: Mutex<HashMap<String, Arc<legacy::Session>>>,
    listeners: Mutex<Vec<modern::Listener>>,
    tasks: Mutex<HashMap<String, Arc<tasks::Task>>>,
    counter: AtomicU64,
    /// How often each list has changed.
    changes: Mutex<HashMap<String, u64>>,
}

impl Fixture {
    /// A number that was not given before.
    pub(crate) fn next(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// What a list has besides its usual entries, after its changes.
    pub(crate) fn changed(&self, list: &str) -> Option<Value> {
        let count = self.changes.lock().unwrap().get(list).copied()?;
        Some(json!({
            "name": format!("test_changed_{count}"),
            "description": "Came with a change",
            "inputSchema": {"type": "object"},
        }))
    }

    /// Changes a list, and tells everybody who listens.
    pub(crate) fn change(&self, list: &str) {
        *self.changes.lock().unwrap().entry(list.to_owned()).or_default() += 1;
        let method = format!("notifications/{list}/list_changed");
        for session in self.sessions.lock().unwrap().values() {
            session.tell(&wire::notification(&method, json!({})));
        }
        let wanted = format!("{list}ListChanged");
        self.listeners.lock().unwrap().retain(|l| l.tell(&wanted, &method, json!({})));
    }
}

#[tokio::main]
async fn main() {
    let port = std::env::args().nth(1).map_or(0, |p| p.parse().unwrap());
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    println!("http://{}/mcp", listener.local_addr().unwrap());
    let router = Router::new().route("/mcp", any(endpoint)).with_state(Arc::<Fixture>::default());
    axum::serve(listener, router).await.unwrap();
}

async fn endpoint(State(fixture): State<Arc<Fixture>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if !is_local(&parts.headers) {
        return (StatusCode::FORBIDDEN, "foreign Host or Origin").into_response();
    }
    match parts.method {
        Method::POST => {}
        Method::GET => return legacy::get(&fixture, &parts.headers),
        Method::DELETE => return legacy::delete(&fixture, &parts.headers),
        _ => return StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
    let Ok(bytes) = axum::body::to_bytes(body, MAX_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let message: Value = match serde_json::from_slice(&bytes) {
        Ok(message @ Value::Object(_)) => message,
        Ok(_) => return refused(-32600, "one message, please"),
        Err(error) => return refused(-32700, &error.to_string()),
    };
    if modern::is_claimed(&parts.headers, &message["params"]) {
        modern::post(&fixture, &parts.headers, message).await
    } else {
        legacy::post(&fixture, &parts.headers, message)
    }
}

fn refused(code: i64, text: &str) -> Response {
    wire::document(StatusCode::BAD_REQUEST, &wire::error(&Value::Null, code, text, None))
}

/// Whether the request was meant for this machine, by its Host and, if it has one, its Origin.
fn is_local(headers: &HeaderMap) -> bool {
    let local = |authority: &str| {
        let host = authority.rsplit_once(':').map_or(authority, |(host, port)| {
            if port.bytes().all(|b| b.is_ascii_digit()) { host } else { authority }
        });
        ["localhost", "127.0.0.1", "[::1]"].contains(&host)
    };
    let host = text(headers, header::HOST.as_str());
    let origin = text(headers, header::ORIGIN.as_str());
    host.is_some_and(local)
        && origin.is_none_or(|o| o.split_once("://").is_some_and(|(_, authority)| local(authority)))
}

/// A header's value.
pub(crate) fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// What both eras say of the server.
pub(crate) fn server_info() -> Value {
    json!({"name": "placet-conformance-fixture", "version": "1.0.0"})
}

/// The streams of one session or listener that are still open.
pub(crate) type OpenStream = Arc<Stream>;
