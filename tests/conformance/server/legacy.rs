//! The legacy era: `initialize`, sessions, resumable streams.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::exchange::Exchange;
use super::wire::{self, Answer, Fault, Stream};
use super::{Fixture, OpenStream, content, text, tools};

const VERSIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
const NEWEST: &str = "2025-11-25";
const SESSION: &str = "mcp-session-id";

/// One client.
pub(crate) struct Session {
    version: String,
    pub(crate) capabilities: Value,
    /// Answers that are awaited, by the id of the question.
    pub(crate) asked: Mutex<HashMap<String, oneshot::Sender<Value>>>,
    /// Every stream whose events may be read again.
    streams: Mutex<Vec<OpenStream>>,
    /// The stream of what belongs to no request.
    background: Mutex<Option<OpenStream>>,
}

impl Session {
    /// Says something that belongs to no request.
    pub(crate) fn tell(&self, message: &Value) {
        if let Some(stream) = &*self.background.lock().unwrap() {
            stream.say(message);
        }
    }

    fn open_stream(&self, fixture: &Fixture) -> Arc<Stream> {
        // Events have ids where the client knows what an event without data means.
        let name = (self.version == NEWEST).then(|| format!("s{}", fixture.next()));
        let stream = Stream::new(name);
        self.streams.lock().unwrap().push(Arc::clone(&stream));
        stream
    }
}

fn find(fixture: &Fixture, headers: &HeaderMap) -> Result<Arc<Session>, Response> {
    let refused = |status: StatusCode, code, text| {
        Err(wire::document(status, &wire::error(&Value::Null, code, text, None)))
    };
    let Some(id) = text(headers, SESSION) else {
        return refused(StatusCode::BAD_REQUEST, -32000, "Mcp-Session-Id is missing");
    };
    if text(headers, "mcp-protocol-version").is_some_and(|v| !VERSIONS.contains(&v)) {
        return refused(StatusCode::BAD_REQUEST, -32000, "unsupported MCP-Protocol-Version");
    }
    match fixture.sessions.lock().unwrap().get(id) {
        Some(session) => Ok(Arc::clone(session)),
        None => refused(StatusCode::NOT_FOUND, -32001, "no such session"),
    }
}

pub(crate) fn post(fixture: &Arc<Fixture>, headers: &HeaderMap, mut message: Value) -> Response {
    if message["method"] == "initialize" {
        return initialize(fixture, &message);
    }
    let session = match find(fixture, headers) {
        Ok(session) => session,
        Err(refused) => return refused,
    };
    let (Some(id), Some(method)) = (message.get("id").cloned(), message["method"].as_str()) else {
        if let Some(id) = message.get("id")
            && let Some(asked) = session.asked.lock().unwrap().remove(&id.to_string())
        {
            let _ = asked.send(message);
        }
        return StatusCode::ACCEPTED.into_response();
    };
    let method = method.to_owned();
    let stream = session.open_stream(fixture);
    let exchange = Exchange {
        fixture: Arc::clone(fixture),
        params: message["params"].take(),
        stream: Arc::clone(&stream),
        session: Some(session),
    };
    let response = stream.read(0);
    tokio::spawn(async move {
        let (_, answer) = wire::answer(&id, answer(&method, exchange).await);
        stream.say(&answer);
        stream.end();
    });
    response
}

fn initialize(fixture: &Arc<Fixture>, message: &Value) -> Response {
    let params = &message["params"];
    let asked = params["protocolVersion"].as_str().unwrap_or_default();
    let version = if VERSIONS.contains(&asked) { asked } else { NEWEST };
    let id = uuid::Uuid::now_v7().to_string();
    let session = Session {
        version: version.to_owned(),
        capabilities: params["capabilities"].clone(),
        asked: Mutex::default(),
        streams: Mutex::default(),
        background: Mutex::default(),
    };
    fixture.sessions.lock().unwrap().insert(id.clone(), Arc::new(session));
    let result = json!({
        "protocolVersion": version,
        "capabilities": {
            "tools": {"listChanged": true},
            "resources": {"subscribe": true, "listChanged": true},
            "prompts": {"listChanged": true},
            "logging": {},
            "completions": {}
        },
        "serverInfo": super::server_info(),
        "instructions": "A fixture of the conformance suite."
    });
    let (status, body) = wire::answer(&message["id"], Ok(result));
    let mut response = wire::document(status, &body);
    response.headers_mut().insert(SESSION, HeaderValue::from_str(&id).unwrap());
    response
}

async fn answer(method: &str, mut exchange: Exchange) -> Answer {
    match method {
        "ping" | "logging/setLevel" | "resources/unsubscribe" => Ok(json!({})),
        "resources/subscribe" => {
            let uri = &exchange.params["uri"];
            if let Some(session) = &exchange.session {
                let params = json!({"uri": uri});
                session.tell(&wire::notification("notifications/resources/updated", params));
            }
            Ok(json!({}))
        }
        "tools/list" => Ok(json!({"tools": tools::listed(&exchange.fixture, false)})),
        "tools/call" => tools::call(exchange).await,
        method => content::answer(method, &mut exchange).await.map_err(|fault| match &fault.data {
            // The legacy era has a code of its own for a resource that is not there.
            Some(data) if data.get("uri").is_some() => Fault { code: -32002, ..fault },
            _ => fault,
        }),
    }
}

/// What belongs to no request, or a stream from where it broke.
pub(crate) fn get(fixture: &Arc<Fixture>, headers: &HeaderMap) -> Response {
    if text(headers, SESSION).is_none() {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let session = match find(fixture, headers) {
        Ok(session) => session,
        Err(refused) => return refused,
    };
    if let Some(last) = text(headers, "last-event-id") {
        let streams = session.streams.lock().unwrap();
        let found = streams.iter().find_map(|s| Some((s, s.number(last)?)));
        return match found {
            Some((stream, number)) => stream.read(number + 1),
            None => (StatusCode::BAD_REQUEST, "no such event").into_response(),
        };
    }
    let stream = session.open_stream(fixture);
    *session.background.lock().unwrap() = Some(Arc::clone(&stream));
    stream.read(0)
}

pub(crate) fn delete(fixture: &Arc<Fixture>, headers: &HeaderMap) -> Response {
    if let Err(refused) = find(fixture, headers) {
        return refused;
    }
    let id = text(headers, SESSION).unwrap_or_default();
    let session = fixture.sessions.lock().unwrap().remove(id);
    for stream in session.iter().flat_map(|s| s.streams.lock().unwrap().clone()) {
        stream.end();
    }
    StatusCode::NO_CONTENT.into_response()
}
