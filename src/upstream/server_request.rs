//! Requests of a server to its client: sampling, elicitation, roots. A connection declares what
//! the client behind it can be asked, and hands each server request to whoever can put it to the client.

use tokio::sync::{mpsc, oneshot};

use super::{Notification, Reply};
use crate::domain::client_feature::ClientFeature;
use crate::domain::json::{self, Node};

/// One thing that a client can declare and a server may look for. Whatever else stands in a
/// declaration is left out: what a client writes there never makes two connections of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Capability {
    /// `elicitation.form`
    Form = 1,
    /// `elicitation.url`
    Url = 2,
    /// `roots`
    Roots = 4,
    /// `roots.listChanged`
    RootsChange = 8,
    /// `sampling`
    Sampling = 16,
    /// `sampling.context`
    Context = 32,
    /// `sampling.tools`
    Tools = 64,
    /// `elicitation`: without `form` and `url` it means forms, which is all there was before pages
    /// were added (<https://modelcontextprotocol.io/specification/2025-11-25/client/elicitation>).
    Elicitation = 128,
}

/// What the client behind a connection can be asked: its declared capabilities, as far as the
/// configuration lets them pass, as a fixed set of flags
/// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/lifecycle#capability-negotiation>).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ClientCapabilities {
    /// The bits of [`Capability`].
    flags: u8,
    /// Whether it can be asked while a request runs (legacy), rather than by an
    /// `input_required` result (modern).
    live: bool,
}

impl ClientCapabilities {
    /// Those a client declared (raw JSON of its `capabilities`), cut down to what is allowed.
    pub fn declared(capabilities: &str, allowed: &[ClientFeature], live: bool) -> Self {
        let mut found = Self { flags: 0, live };
        let Ok(node) = json::parse(capabilities) else { return found };
        for feature in allowed {
            let Some(own) = node.get(feature.as_str()).filter(|n| n.is_object()) else { continue };
            let has = |key: &str| own.get(key).is_some_and(|n| n.raw != "null");
            match feature {
                ClientFeature::Elicitation => {
                    found.add(Capability::Elicitation, true);
                    found.add(Capability::Form, has("form"));
                    found.add(Capability::Url, has("url"));
                }
                ClientFeature::Roots => {
                    let changes = own.get("listChanged").and_then(Node::as_bool);
                    found.add(Capability::Roots, true);
                    found.add(Capability::RootsChange, changes == Some(true));
                }
                ClientFeature::Sampling => {
                    found.add(Capability::Sampling, true);
                    found.add(Capability::Context, has("context"));
                    found.add(Capability::Tools, has("tools"));
                }
            }
        }
        found
    }

    /// Those among them that an upstream may use.
    #[must_use]
    pub fn within(&self, allowed: &[ClientFeature]) -> Self {
        let mask = allowed.iter().fold(0, |mask, feature| mask | bits_of(*feature));
        Self { flags: self.flags & mask, live: self.live }
    }

    /// All that is allowed: what Placet declares where it asks for itself, so that a server that
    /// hides tools from poorer clients shows them all. It then answers for nobody.
    pub(super) fn all(allowed: &[ClientFeature]) -> Self {
        let mut all = Self { flags: 0, live: true };
        for feature in allowed {
            match feature {
                ClientFeature::Elicitation => {
                    all.add(Capability::Elicitation, true);
                    all.add(Capability::Form, true);
                    all.add(Capability::Url, true);
                }
                ClientFeature::Roots => all.add(Capability::Roots, true),
                ClientFeature::Sampling => all.add(Capability::Sampling, true),
            }
        }
        all
    }

    fn add(&mut self, capability: Capability, is_there: bool) {
        if is_there {
            self.flags |= capability as u8;
        }
    }

    fn has(&self, capability: Capability) -> bool {
        self.flags & capability as u8 != 0
    }

    /// Raw JSON of the capabilities.
    pub fn to_json(&self) -> String {
        if self.flags == 0 {
            return "{}".to_owned();
        }
        let object = |members: &[(&'static str, Capability, &'static str)]| {
            let there = members.iter().filter(|(_, capability, _)| self.has(*capability));
            json::object(there.map(|(key, _, value)| (*key, *value)))
        };
        let elicitation =
            object(&[("form", Capability::Form, "{}"), ("url", Capability::Url, "{}")]);
        let roots = object(&[("listChanged", Capability::RootsChange, "true")]);
        let sampling =
            object(&[("context", Capability::Context, "{}"), ("tools", Capability::Tools, "{}")]);
        let features = [
            (ClientFeature::Elicitation, elicitation),
            (ClientFeature::Roots, roots),
            (ClientFeature::Sampling, sampling),
        ];
        let declared = features.iter().filter(|(feature, _)| self.flags & bits_of(*feature) != 0);
        json::object(declared.map(|(feature, value)| (feature.as_str(), value.as_str())))
    }

    /// What a legacy server is told, raw JSON: only what can be asked while a request runs.
    pub fn live_json(&self) -> String {
        self.alive().to_json()
    }

    /// What can be asked while a request runs: what a connection is about.
    pub(super) fn alive(&self) -> Self {
        if self.live { self.clone() } else { Self::default() }
    }

    /// Whether it can be asked nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.flags == 0
    }

    /// Whether the client is of the legacy era, and can be asked while a request runs.
    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    /// Whether the client can be asked this while a request runs.
    pub fn take(&self, method: &str, params: Option<&str>) -> bool {
        self.live && self.offer(method, params)
    }

    /// Whether the client declared what this server request needs.
    pub fn offer(&self, method: &str, params: Option<&str>) -> bool {
        match ClientFeature::of_method(method) {
            None => false,
            Some(ClientFeature::Roots) => self.has(Capability::Roots),
            Some(ClientFeature::Sampling) => self.has(Capability::Sampling),
            Some(ClientFeature::Elicitation) if !self.has(Capability::Elicitation) => false,
            Some(ClientFeature::Elicitation) => {
                let mode = params.and_then(|p| json::parse(p).ok());
                let mode = mode.as_ref().and_then(|p| p.get("mode")).and_then(Node::as_str);
                match mode {
                    Some("url") => self.has(Capability::Url),
                    Some("form") | None => self.has(Capability::Form) || !self.has(Capability::Url),
                    Some(_) => false,
                }
            }
        }
    }
}

/// The bits of everything that belongs to a feature.
fn bits_of(feature: ClientFeature) -> u8 {
    let bits = |all: &[Capability]| all.iter().fold(0, |sum, c| sum | *c as u8);
    match feature {
        ClientFeature::Elicitation => {
            bits(&[Capability::Elicitation, Capability::Form, Capability::Url])
        }
        ClientFeature::Roots => bits(&[Capability::Roots, Capability::RootsChange]),
        ClientFeature::Sampling => {
            bits(&[Capability::Sampling, Capability::Context, Capability::Tools])
        }
    }
}

/// What an upstream says while a request of ours runs.
///
/// Small, since a queue of them is made for each request, and most stay empty.
#[derive(Debug)]
pub enum ServerMessage {
    /// A notification about the request, such as progress.
    Notification(Box<Notification>),
    /// A server request to the client.
    Request(Box<ServerRequest>),
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
            features.to_json(),
            r#"{"elicitation":{"url":{}},"roots":{"listChanged":true}}"#
        );
        assert!(features.take("roots/list", None));
        assert!(!features.take("sampling/createMessage", None));
        assert!(!features.take("tools/call", None));
        assert!(!features.take("elicitation/create", None), "forms were not declared");
        assert!(features.take("elicitation/create", Some(r#"{"mode":"url"}"#)));
    }

    #[test]
    fn what_a_client_writes_beside_the_known_members_makes_no_difference() {
        let of = |text: &str| ClientCapabilities::declared(text, &ClientFeature::ALL, true);
        let plain = of(r#"{"elicitation":{},"roots":{},"sampling":{}}"#);

        for n in 0..40 {
            let odd = format!(
                r#"{{"n":{n},"sampling":{{"n":{n},"tools":null}},"elicitation":{{"n":{n}}},"roots":{{"listChanged":{n}}}}}"#
            );
            assert_eq!(of(&odd), plain);
        }
        let form = r#"{"elicitation":{"form":{}}}"#;
        assert_eq!(of(r#"{"elicitation":{"form":{"x":1},"url":null}}"#), of(form));
    }

    #[test]
    fn everything_that_a_server_may_look_for_is_declared() {
        for text in [
            r#"{"elicitation":{}}"#,
            r#"{"elicitation":{"form":{}}}"#,
            r#"{"elicitation":{"url":{}}}"#,
            r#"{"elicitation":{"form":{},"url":{}},"roots":{"listChanged":true},"sampling":{"context":{},"tools":{}}}"#,
            r#"{"roots":{},"sampling":{"tools":{}}}"#,
            "{}",
        ] {
            let features = ClientCapabilities::declared(text, &ClientFeature::ALL, true);
            assert_eq!(features.to_json(), text);
            assert_eq!(features.live_json(), text);
            assert_eq!(features.within(&ClientFeature::ALL), features);
            assert_eq!(features.within(&[]).to_json(), "{}");
        }
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
