//! The official Rust client, rmcp. Usage: client-rmcp URL TOKEN ERA COMMANDS [FEATURES]; prints a
//! JSON list. ERA: auto or legacy. It always sends a progress token and has no timer of its own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, ElicitRequestParams,
    ElicitResult, ElicitationAction, ElicitationCapability, ErrorData, Implementation,
    ProgressNotificationParam, ProtocolVersion, UrlElicitationCapability,
};
use rmcp::service::{
    NotificationContext, RequestContext, RoleClient, RunningService, ServiceError,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt};
use serde_json::{Value, json};

#[derive(Clone)]
struct Client {
    config: ClientConfig,
    urls: Arc<Mutex<Vec<String>>>,
    progress: Arc<Mutex<Vec<Value>>>,
}

impl ClientHandler for Client {
    fn get_info(&self) -> ClientConfig {
        self.config.clone()
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _context: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let ElicitRequestParams::UrlElicitationParams { url, .. } = request else {
            return Ok(ElicitResult::new(ElicitationAction::Decline));
        };
        self.urls.lock().expect("not poisoned").push(url);
        Ok(ElicitResult::new(ElicitationAction::Accept))
    }

    async fn on_progress(
        &self,
        params: ProgressNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        let seen = json!([params.progress, params.message]);
        self.progress.lock().expect("not poisoned").push(seen);
    }
}

async fn once(service: &RunningService<RoleClient, Client>, command: &Value) -> Value {
    let mut params = CallToolRequestParams::new(command["name"].as_str().unwrap_or("").to_owned());
    params.arguments = command["arguments"].as_object().cloned();
    let limit = command.get("timeout").map_or(Some(55.0), Value::as_f64);
    let call = service.call_tool(params);
    let answer: Result<CallToolResult, ServiceError> = match limit {
        None => call.await,
        Some(limit) => match tokio::time::timeout(Duration::from_secs_f64(limit), call).await {
            Ok(answer) => answer,
            Err(_) => return json!({"error": {"kind": "timeout"}}),
        },
    };
    match answer {
        Ok(result) => json!({"ok": result}),
        Err(ServiceError::McpError(error)) => {
            json!({"error": {"kind": "rpc", "code": error.code.0, "message": error.message}})
        }
        Err(error) => panic!("{error}"),
    }
}

/// What a model does: it calls again where the answer says so or its client gave up.
async fn run(service: &RunningService<RoleClient, Client>, command: &Value) -> Value {
    let again = command["again"].as_u64().unwrap_or(0);
    let (mut calls, mut timeouts) = (0_u64, 0_u64);
    loop {
        calls += 1;
        let mut answer = once(service, command).await;
        let gave_up = answer["error"]["kind"] == "timeout";
        timeouts += u64::from(gave_up);
        let pending = answer["ok"]["_meta"]["io.placet/decision"]["code"] == "approval_pending";
        if calls > again || !(gave_up || pending) {
            answer["calls"] = json!(calls);
            answer["timeouts"] = json!(timeouts);
            return answer;
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, url, token, era, commands, rest @ ..] = arguments.as_slice() else {
        panic!("usage: client-rmcp URL TOKEN ERA COMMANDS [FEATURES]");
    };
    let mut capabilities = ClientCapabilities::default();
    if rest.first().is_some_and(|features| features.contains("elicit")) {
        capabilities.elicitation =
            Some(ElicitationCapability::new().with_url(UrlElicitationCapability::default()));
    }
    let client = Client {
        config: ClientConfig::new(capabilities, Implementation::new("rmcp", "3.11.0")),
        urls: Arc::default(),
        progress: Arc::default(),
    };
    let transport = StreamableHttpClientTransport::from_config(
        StreamableHttpClientTransportConfig::with_uri(url.as_str()).auth_header(token.as_str()),
    );
    let lifecycle = match era.as_str() {
        "legacy" => ClientLifecycleMode::Initialize,
        _ => ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            legacy_version: None,
        },
    };
    let service = client.clone().serve_with_lifecycle(transport, lifecycle).await;
    let service = service.unwrap_or_else(|error| panic!("{error}"));
    let version = service.peer_info().map(|info| info.protocol_version.to_string());
    let commands: Vec<Value> = serde_json::from_str(commands).expect("COMMANDS is a JSON list");
    let mut answers = Vec::new();
    for command in &commands {
        let mut answer = if command["do"] == "list" {
            match service.list_tools(None).await {
                Ok(list) => json!({"ok": list}),
                Err(error) => panic!("{error}"),
            }
        } else {
            run(&service, command).await
        };
        answer["version"] = json!(version);
        answer["progress"] =
            json!(std::mem::take(&mut *client.progress.lock().expect("not poisoned")));
        answer["urls"] = json!(std::mem::take(&mut *client.urls.lock().expect("not poisoned")));
        answers.push(answer);
    }
    let _ = service.cancel().await;
    println!("{}", Value::Array(answers));
}
