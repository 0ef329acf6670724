//! The sample agent: a real MCP client in front of the broker, which calls again when it is told
//! that its call still waits.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Era, HttpKind, Instances, Transport, Upstream as Settings};
use crate::domain::json::{self, Node};
use crate::protocol::{meta, method};
use crate::upstream::{self, Caller, Reply, Request, Upstream, UpstreamError, build};

/// What a call was answered with.
#[derive(Debug)]
pub(crate) struct ServerMessage {
    /// The text of the result, or the error's message.
    pub text: String,
    /// Placet's code, where the answer has one.
    pub code: Option<String>,
}

/// The agent.
pub(crate) struct Agent {
    connection: Arc<dyn Upstream>,
}

impl Agent {
    /// Connects to an MCP endpoint of the broker.
    pub(crate) fn new(config: &Config, endpoint: url::Url, tracker: &TaskTracker) -> Option<Self> {
        let settings = Settings {
            name: "placet".to_owned(),
            transport: Transport::Http {
                url: endpoint,
                headers: Vec::new(),
                kind: HttpKind::Streamable,
            },
            target: Vec::new(),
            era: Era::Auto,
            instances: Instances::Shared,
            max_instances_per_agent: 1,
            instance_idle: std::time::Duration::from_secs(600),
            instance_linger: std::time::Duration::from_secs(10),
            handshake_timeout: std::time::Duration::from_secs(60),
            retry_pause: std::time::Duration::from_millis(250),
            max_retry_pause: std::time::Duration::from_secs(30),
            max_child_starts: 1,
            policy: None,
            policy_place: None,
            policy_file: None,
            timeout: std::time::Duration::from_secs(600),
            trust_annotations: false,
            client_features: crate::domain::client_feature::ClientFeature::DEFAULT.to_vec(),
        };
        let config = Config { upstreams: vec![settings], ..config.clone() };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let connection = build(&config, &clock, tracker).remove("placet")?;
        Some(Self { connection })
    }

    /// Calls a tool, and calls again as long as its approval is pending. The notifications of the
    /// call go to `heard`.
    ///
    /// # Errors
    /// [`UpstreamError`]: the broker did not answer. An MCP error is an answer, and not among them.
    pub(crate) async fn call(
        &self,
        tool: &str,
        arguments: &str,
        heard: mpsc::Sender<upstream::ServerMessage>,
    ) -> Result<ServerMessage, UpstreamError> {
        let caller = Caller::new("sample-agent", None);
        loop {
            let params =
                json::object([("name", json::quote(tool).as_str()), ("arguments", arguments)]);
            let mut request = Request::new(method::TOOLS_CALL, Some(params));
            request.progress = true;
            let cancel = CancellationToken::new();
            let reply =
                self.connection.request(&caller, request, Some(heard.clone()), cancel).await?;
            let said = read(&reply);
            if said.code.as_deref() != Some("approval_pending") {
                return Ok(said);
            }
        }
    }

    /// Closes the connection.
    pub(crate) async fn close(&self) {
        self.connection.shutdown().await;
    }
}

fn read(reply: &Reply) -> ServerMessage {
    let (Reply::Result(raw) | Reply::Error(raw)) = reply;
    let Ok(node) = json::parse(raw) else { return ServerMessage { text: raw.clone(), code: None } };
    let text = node
        .get("content")
        .and_then(Node::elements)
        .and_then(|blocks| blocks.iter().find_map(|b| b.get("text")?.as_str()))
        .or_else(|| node.get("message").and_then(Node::as_str))
        .unwrap_or(raw)
        .to_owned();
    let code = node
        .get("_meta")
        .and_then(|m| m.get(meta::DECISION)?.get("code")?.as_str().map(str::to_owned));
    ServerMessage { text, code }
}
