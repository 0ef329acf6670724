//! Server-sent events as text.
//!
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation>

use axum::body::Bytes;

/// A sign of life without content.
pub(crate) const COMMENT: Bytes = Bytes::from_static(b": waiting\n\n");

/// One event with this JSON text as its data. Its line breaks, which would end the event, become spaces.
pub(crate) fn event(json: &str) -> String {
    let data = json.replace(['\n', '\r'], " ");
    format!("event: message\ndata: {data}\n\n")
}
