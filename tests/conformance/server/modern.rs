//! The modern era: every request by itself, its headers checked against its body.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use serde_json::{Value, json};

use super::exchange::Exchange;
use super::wire::{self, Answer, Fault, Stream};
use super::{Fixture, OpenStream, content, tasks, text, tools};

const VERSION: &str = "2026-07-28";
const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
pub(crate) const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
pub(crate) const META_LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
const META_SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// Whoever opened `subscriptions/listen`.
pub(crate) struct Listener {
    id: Value,
    wanted: BTreeSet<String>,
    stream: OpenStream,
}

impl Listener {
    /// Tells what was asked for; false once nobody reads.
    pub(crate) fn tell(&self, wanted: &str, method: &str, mut params: Value) -> bool {
        if !self.wanted.contains(wanted) {
            return true;
        }
        params["_meta"] = json!({META_SUBSCRIPTION: self.id});
        self.stream.say(&wire::notification(method, params))
    }
}

/// Whether a request says of itself that it is of this era.
pub(crate) fn is_claimed(headers: &HeaderMap, params: &Value) -> bool {
    let meta = &params["_meta"];
    meta.get(META_VERSION).is_some()
        || meta.get(META_CAPABILITIES).is_some()
        || text(headers, "mcp-protocol-version").is_some_and(|v| v >= VERSION)
}

pub(crate) async fn post(
    fixture: &Arc<Fixture>,
    headers: &HeaderMap,
    mut message: Value,
) -> Response {
    let Some(id) = message.get("id").cloned() else { return StatusCode::ACCEPTED.into_response() };
    let method = message["method"].as_str().unwrap_or_default().to_owned();
    let params = message["params"].take();
    if let Err(fault) = check(headers, &method, &params) {
        let (status, body) = wire::answer(&id, Err(fault));
        return wire::document(status, &body);
    }
    if method == "subscriptions/listen" {
        return listen(fixture, id, &params);
    }
    let stream = Stream::new(None);
    let streams = method == "tools/call" && tools::talks(params["name"].as_str().unwrap_or(""));
    let exchange = Exchange {
        fixture: Arc::clone(fixture),
        params,
        stream: Arc::clone(&stream),
        session: None,
    };
    if !streams {
        let (status, body) = wire::answer(&id, answer(&method, exchange).await);
        return wire::document(status, &body);
    }
    let response = stream.read(0);
    tokio::spawn(async move {
        let (_, answer) = wire::answer(&id, answer(&method, exchange).await);
        stream.say(&answer);
        stream.end();
    });
    response
}

fn check(headers: &HeaderMap, method: &str, params: &Value) -> Result<(), Fault> {
    let bad = |code, message: &str| Err(Fault::new(StatusCode::BAD_REQUEST, code, message));
    let meta = &params["_meta"];
    let Some(version) = meta[META_VERSION].as_str() else {
        return bad(-32602, "_meta has no protocol version");
    };
    if !meta[META_CAPABILITIES].is_object() {
        return bad(-32602, "_meta has no client capabilities");
    }
    if text(headers, "mcp-protocol-version") != Some(version) {
        return bad(-32020, "MCP-Protocol-Version is missing or another than in the body");
    }
    if version != VERSION {
        let data = json!({"supported": [VERSION], "requested": version});
        return Err(Fault::new(StatusCode::BAD_REQUEST, -32022, "unsupported version").with(data));
    }
    if decoded(headers, "mcp-method").as_deref() != Some(method) {
        return bad(-32020, "Mcp-Method is missing or another than in the body");
    }
    let named = match method {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
        _ => return Ok(()),
    };
    if let Some(name) = params[named].as_str()
        && decoded(headers, "mcp-name").as_deref() != Some(name)
    {
        return bad(-32020, "Mcp-Name is missing or another than in the body");
    }
    if method != "tools/call" {
        return Ok(());
    }
    for (header, argument) in tools::mirrored(params["name"].as_str().unwrap_or_default()) {
        let value = params["arguments"][argument].as_str();
        if decoded(headers, &format!("mcp-param-{header}")).as_deref() != value {
            return bad(-32020, "Mcp-Param is missing or another than in the body");
        }
    }
    Ok(())
}

/// A header's value, decoded where it says that it is coded; none if it can't be.
fn decoded(headers: &HeaderMap, name: &str) -> Option<String> {
    let sent = text(headers, name)?;
    let Some(coded) = sent.strip_prefix("=?base64?").and_then(|s| s.strip_suffix("?=")) else {
        return Some(sent.to_owned());
    };
    let bytes = base64::engine::general_purpose::STANDARD.decode(coded).ok()?;
    String::from_utf8(bytes).ok()
}

fn listen(fixture: &Arc<Fixture>, id: Value, params: &Value) -> Response {
    let asked = &params["notifications"];
    let mut wanted = BTreeSet::new();
    let mut honoured = json!({});
    for kind in ["toolsListChanged", "promptsListChanged", "resourcesListChanged"] {
        if asked[kind] == true {
            wanted.insert(kind.to_owned());
            honoured[kind] = json!(true);
        }
    }
    for kind in ["taskIds", "resourceSubscriptions"] {
        if let Some(names) = asked[kind].as_array() {
            wanted.extend(names.iter().filter_map(Value::as_str).map(str::to_owned));
            honoured[kind] = json!(names);
        }
    }
    let stream = Stream::new(None);
    let response = stream.read(0);
    let ack = json!({"notifications": honoured, "_meta": {META_SUBSCRIPTION: id}});
    stream.say(&wire::notification("notifications/subscriptions/acknowledged", ack));
    fixture.listeners.lock().unwrap().push(Listener { id, wanted, stream });
    response
}

async fn answer(method: &str, mut exchange: Exchange) -> Answer {
    let mut result = match method {
        "server/discover" => json!({
            "supportedVersions": [VERSION],
            "capabilities": {
                "tools": {"listChanged": true},
                "resources": {"subscribe": true, "listChanged": true},
                "prompts": {"listChanged": true},
                "completions": {},
                "logging": {},
                "extensions": {tasks::EXTENSION: {}}
            },
            "instructions": "A fixture of the conformance suite."
        }),
        "tools/list" => json!({"tools": tools::listed(&exchange.fixture, true)}),
        "tools/call" => tools::call(exchange).await?,
        "tasks/get" | "tasks/update" | "tasks/cancel" => tasks::answer(method, &exchange)?,
        method => content::answer(method, &mut exchange).await?,
    };
    if result.get("resultType").is_none() {
        result["resultType"] = json!("complete");
    }
    if method.ends_with("/list") || method == "resources/read" || method == "server/discover" {
        result["ttlMs"] = json!(300_000);
        result["cacheScope"] = json!("public");
    }
    result["_meta"]["io.modelcontextprotocol/serverInfo"] = super::server_info();
    Ok(result)
}
