//! One answer on its way to the client: a server-sent event stream, or one JSON document.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::Response;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use crate::domain::json::{self, Node};
use crate::upstream::{Notification, WireEra};

use super::message;

/// Events that wait for a slow client before the sender waits too.
const CAPACITY: usize = 32;

/// The sending end of an event stream.
#[derive(Debug, Clone)]
pub struct Events {
    sender: mpsc::Sender<Bytes>,
}

impl Events {
    /// A stream and its response; the head goes out at once.
    pub fn open() -> (Self, Response) {
        let (sender, receiver) = mpsc::channel::<Bytes>(CAPACITY);
        let frames = ReceiverStream::new(receiver).map(Ok::<_, Infallible>);
        let response = Response::builder()
            .status(StatusCode::OK)
            .header(header::CONTENT_TYPE, "text/event-stream")
            .header(header::CACHE_CONTROL, "no-cache")
            .header("x-accel-buffering", "no")
            .body(Body::from_stream(frames))
            .expect("constant headers are valid");
        (Self { sender }, response)
    }

    /// Sends one JSON-RPC message; false if the client is known to be gone.
    pub async fn message(&self, json: &str) -> bool {
        // Raw values may hold line breaks between tokens, which would end the event.
        let data = json.replace(['\n', '\r'], " ");
        self.sender.send(Bytes::from(format!("event: message\ndata: {data}\n\n"))).await.is_ok()
    }

    /// Sends a sign of life without content; dropped if the client is slow.
    pub fn comment(&self) {
        let _ = self.sender.try_send(Bytes::from_static(b": waiting\n\n"));
    }

    /// Sends a message unless the client is slow.
    pub fn try_message(&self, json: &str) {
        let data = json.replace(['\n', '\r'], " ");
        let _ = self.sender.try_send(Bytes::from(format!("event: message\ndata: {data}\n\n")));
    }

    /// Resolves when the client is gone.
    pub async fn closed(&self) {
        self.sender.closed().await;
    }

    /// Whether the client is known to be gone.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// One JSON document.
pub fn json_response(status: StatusCode, body: String) -> Response {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CACHE_CONTROL, "no-store")
        .body(Body::from(body))
        .expect("constant headers are valid")
}

/// Progress towards the client under its own token, strictly increasing: heartbeats count
/// 1, 2, 3 …, and the upstream's own progress continues from there.
#[derive(Debug)]
pub struct Progress {
    token: Option<String>,
    era: WireEra,
    log: bool,
    beats: u32,
    last: f64,
}

impl Progress {
    /// For a request with this progress token, raw JSON.
    pub fn new(token: Option<String>, era: WireEra, log: bool) -> Self {
        Self { token, era, log, beats: 0, last: 0.0 }
    }

    /// Whether the client wants progress.
    pub fn wanted(&self) -> bool {
        self.token.is_some()
    }

    /// A heartbeat; none where the client gave no token.
    pub fn beat(&mut self, text: &str) -> Option<String> {
        let token = self.token.as_deref()?;
        self.beats += 1;
        self.last = f64::from(self.beats);
        let params = format!(
            "{{\"progressToken\":{token},\"progress\":{},\"message\":{}}}",
            self.beats,
            json::quote(text)
        );
        Some(message::notification("notifications/progress", Some(&params)))
    }

    /// Something the upstream said about the call, in the client's terms; none if it isn't for
    /// this client.
    pub fn upstream(&mut self, note: &Notification) -> Option<String> {
        match note.method.as_str() {
            "notifications/progress" => self.progress(note.params.as_deref()?),
            // Without a log level a modern client wants no log messages.
            "notifications/message" if self.era == WireEra::Modern && !self.log => None,
            "notifications/message" => {
                Some(message::notification(&note.method, note.params.as_deref()))
            }
            _ => None,
        }
    }

    fn progress(&mut self, params: &str) -> Option<String> {
        let token = self.token.clone()?;
        let node = json::parse(params).ok()?;
        let sent = node.get("progress")?.as_number()?;
        let offset = self.beats;
        let value: f64 = sent.parse::<f64>().ok()? + f64::from(offset);
        if value <= self.last {
            return None;
        }
        self.last = value;
        let shifted = |digits: &str| shift(digits, offset);
        let parts: Vec<String> = node
            .members()?
            .iter()
            .map(|m| {
                let number = m.node.as_number();
                let value = match (m.key.as_ref(), number) {
                    ("progressToken", _) => token.clone(),
                    ("progress" | "total", Some(digits)) => shifted(digits),
                    _ => m.node.raw.to_owned(),
                };
                format!("{}:{value}", m.raw_key)
            })
            .collect();
        let params = format!("{{{}}}", parts.join(","));
        Some(message::notification("notifications/progress", Some(&params)))
    }
}

/// A number moved up by the heartbeats counted so far; as sent where there were none.
fn shift(digits: &str, offset: u32) -> String {
    if offset == 0 {
        return digits.to_owned();
    }
    match (digits.parse::<i64>(), digits.parse::<f64>()) {
        (Ok(n), _) => n.saturating_add(i64::from(offset)).to_string(),
        (_, Ok(n)) => (n + f64::from(offset)).to_string(),
        _ => digits.to_owned(),
    }
}

/// The progress token of a request, raw JSON.
pub fn progress_token(params: Option<&Node<'_>>) -> Option<String> {
    let token = params?.get("_meta")?.get("progressToken")?;
    (token.as_str().is_some() || token.as_number().is_some()).then(|| token.raw.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(params: &str) -> Notification {
        Notification { method: "notifications/progress".into(), params: Some(params.into()) }
    }

    #[test]
    fn the_upstreams_progress_continues_the_count_of_the_heartbeats() {
        let mut progress = Progress::new(Some("\"mine\"".into()), WireEra::Legacy, false);
        progress.beat("waiting");
        progress.beat("waiting");

        let sent =
            progress.upstream(&note(r#"{"progressToken":9,"progress":1,"total":4}"#)).unwrap();

        assert!(sent.contains(r#"{"progressToken":"mine","progress":3,"total":6}"#), "{sent}");
        assert_eq!(progress.upstream(&note(r#"{"progressToken":9,"progress":1}"#)), None);
    }

    #[test]
    fn without_heartbeats_numbers_pass_as_sent() {
        let mut progress = Progress::new(Some("7".into()), WireEra::Modern, false);

        let sent = progress.upstream(&note(r#"{"progressToken":9,"progress":0.50}"#)).unwrap();

        assert!(sent.contains(r#"{"progressToken":7,"progress":0.50}"#), "{sent}");
    }

    #[test]
    fn a_client_without_a_token_gets_no_progress() {
        let mut progress = Progress::new(None, WireEra::Legacy, false);

        assert_eq!(progress.beat("waiting"), None);
        assert_eq!(progress.upstream(&note(r#"{"progressToken":9,"progress":1}"#)), None);
    }
}
