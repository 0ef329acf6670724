//! The legacy session at the broker, and what another needs to take its place.

use std::collections::BTreeMap;

use reqwest::header::HeaderValue;

use crate::domain::json::{self, Node};
use crate::mcp::envelope::Message;
use crate::protocol::method;

/// What is known of the session, and what another needs to take its place.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// The value of `Mcp-Session-Id`.
    pub id: HeaderValue,
    /// The negotiated protocol version, `YYYY-MM-DD`.
    pub version: String,
    /// The client's `initialize`, as it came.
    pub hello: Vec<u8>,
    /// The last `logging/setLevel`.
    pub level: Option<Vec<u8>>,
    /// The `resources/subscribe` of each resource.
    pub subscribed: BTreeMap<String, Vec<u8>>,
}

impl Session {
    /// Remembers what another session would have to be told.
    pub(super) fn remember(&mut self, message: &Message, line: &[u8]) {
        let params = message.params.as_ref().map(json::Text::node);
        let uri = params.as_ref().and_then(|p| p.get("uri")).and_then(Node::as_str);
        match (message.method.as_str(), uri) {
            (method::LOGGING_SET_LEVEL, _) => self.level = Some(line.to_vec()),
            (method::RESOURCES_SUBSCRIBE, Some(uri)) => {
                self.subscribed.insert(uri.to_owned(), line.to_vec());
            }
            (method::RESOURCES_UNSUBSCRIBE, Some(uri)) => {
                self.subscribed.remove(uri);
            }
            _ => {}
        }
    }
}
