//! Requests of a server to its client: sampling, elicitation, roots. A connection declares what
//! the client behind it can be asked, and hands each server request to whoever can put it to the client.

use tokio::sync::{mpsc, oneshot};

use super::{Notification, Reply};
use crate::domain::client_feature::ClientFeature;
use crate::domain::json::{self, Node};

/// What the client behind a connection can be asked: its declared capabilities, as far as the
/// configuration lets them pass.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientCapabilities {
    /// Raw JSON of the capabilities that are declared to the server.
    json: String,
    /// Whether it can be asked while a request runs (legacy), rather than by an
    /// `input_required` result (modern).
    live: bool,
}

impl Default for ClientCapabilities {
    /// A client that can be asked nothing.
    fn default() -> Self {
        Self { json: "{}".to_owned(), live: false }
    }
}

impl ClientCapabilities {
    /// Those a client declared (raw JSON of its `capabilities`), cut down to what is allowed.
    pub fn declared(capabilities: &str, allowed: &[ClientFeature], live: bool) -> Self {
        let Ok(node) = json::parse(capabilities) else { return Self::default() };
        let kept: Vec<(&str, &str)> = ClientFeature::ALL
            .iter()
            .filter(|f| allowed.contains(f))
            .filter_map(|f| Some((f.as_str(), node.get(f.as_str()).filter(|n| n.is_object())?.raw)))
            .collect();
        if kept.is_empty() {
            return Self::default();
        }
        Self { json: json::object(kept), live }
    }

    /// Those among them that an upstream may use.
    #[must_use]
    pub fn within(&self, allowed: &[ClientFeature]) -> Self {
        Self::declared(&self.json, allowed, self.live)
    }

    /// All that is allowed: what Placet declares where it asks for itself, so that a server that
    /// hides tools from poorer clients shows them all. It then answers for nobody.
    pub(super) fn all(allowed: &[ClientFeature]) -> Self {
        let kept = allowed.iter().map(|f| match f {
            ClientFeature::Elicitation => (f.as_str(), "{\"form\":{},\"url\":{}}"),
            ClientFeature::Roots | ClientFeature::Sampling => (f.as_str(), "{}"),
        });
        Self { json: json::object(kept), live: true }
    }

    /// Raw JSON of the capabilities.
    pub fn as_json(&self) -> &str {
        &self.json
    }

    /// What a legacy server is told: only what can be asked while a request runs.
    pub fn live_json(&self) -> &str {
        if self.live { &self.json } else { "{}" }
    }

    /// What can be asked while a request runs: what a connection is about.
    pub(super) fn alive(&self) -> Self {
        if self.live { self.clone() } else { Self::default() }
    }

    /// Whether the client can be asked this while a request runs.
    pub fn take(&self, method: &str, params: Option<&str>) -> bool {
        self.live && self.offer(method, params)
    }

    /// Whether the client declared what this server request needs.
    pub fn offer(&self, method: &str, params: Option<&str>) -> bool {
        let Some(feature) = ClientFeature::of_method(method) else { return false };
        let Ok(own) = json::parse(&self.json) else { return false };
        let Some(declared) = own.get(feature.as_str()) else { return false };
        if feature != ClientFeature::Elicitation {
            return true;
        }
        let mode = params.and_then(|p| json::parse(p).ok());
        let mode = mode.as_ref().and_then(|p| p.get("mode")).and_then(Node::as_str);
        let has = |key: &str| declared.get(key).is_some();
        match mode {
            Some("url") => has("url"),
            // An empty object means forms, which is all there was before pages were added:
            // https://modelcontextprotocol.io/specification/2025-11-25/client/elicitation
            Some("form") | None => has("form") || !has("url"),
            Some(_) => false,
        }
    }
}

/// What an upstream says while a request of ours runs.
#[derive(Debug)]
pub enum ServerMessage {
    /// A notification about the request, such as progress.
    Notification(Notification),
    /// A server request to the client.
    Request(ServerRequest),
}

/// A request of an upstream to the client. Dropped, it is declined.
#[derive(Debug)]
pub struct ServerRequest {
    /// The JSON-RPC method, such as `elicitation/create`.
    pub method: String,
    /// Raw JSON of `params`.
    pub params: Option<String>,
    answer: oneshot::Sender<Reply>,
}

impl ServerRequest {
    /// A server request, and where its answer comes.
    pub fn new(method: &str, params: Option<&str>) -> (Self, oneshot::Receiver<Reply>) {
        let (answer, answered) = oneshot::channel();
        let params = params.map(str::to_owned);
        (Self { method: method.to_owned(), params, answer }, answered)
    }

    /// Gives the client's answer to whoever waits for it.
    pub fn answer(self, reply: Reply) {
        // The asker may be gone.
        let _ = self.answer.send(reply);
    }
}

/// Receives what belongs to a request while it runs; full means dropped, or declined.
pub type Notifications = mpsc::Sender<ServerMessage>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_declared_and_allowed_passes() {
        let declared =
            r#"{"roots":{"listChanged":true},"sampling":{},"elicitation":{"url":{}},"x":{}}"#;

        let features = ClientCapabilities::declared(declared, &ClientFeature::DEFAULT, true);

        assert_eq!(
            features.as_json(),
            r#"{"elicitation":{"url":{}},"roots":{"listChanged":true}}"#
        );
        assert!(features.take("roots/list", None));
        assert!(!features.take("sampling/createMessage", None));
        assert!(!features.take("tools/call", None));
        assert!(!features.take("elicitation/create", None), "forms were not declared");
        assert!(features.take("elicitation/create", Some(r#"{"mode":"url"}"#)));
    }

    #[test]
    fn an_empty_declaration_of_elicitation_means_forms() {
        let features =
            ClientCapabilities::declared(r#"{"elicitation":{}}"#, &ClientFeature::DEFAULT, true);

        assert!(features.take("elicitation/create", Some(r#"{"message":"?"}"#)));
        assert!(!features.take("elicitation/create", Some(r#"{"mode":"url"}"#)));
    }

    #[test]
    fn a_modern_client_is_never_asked_while_a_request_runs() {
        let features =
            ClientCapabilities::declared(r#"{"elicitation":{}}"#, &ClientFeature::DEFAULT, false);

        assert_eq!(features.live_json(), "{}");
        assert!(!features.take("elicitation/create", None));
        assert!(features.offer("elicitation/create", None));
    }
}
