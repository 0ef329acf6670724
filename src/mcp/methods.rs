//! The methods besides `tools/call`: a few are answered here, lists are filtered, the rest
//! passes.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use tokio_util::sync::CancellationToken;

use crate::domain::call::params_with_meta;
use crate::domain::json::{self, Node};
use crate::upstream::{Caller, Reply, Request, ServerFacts, Upstream, UpstreamError, WireEra};

use super::http::Incoming;
use super::message::{self, code};
use super::revision::{self, MODERN, translate_error, translate_result};
use super::stream::{Events, Progress, json_response, progress_token};
use super::{FACTS_WITHIN, Mcp, PLAIN_ANSWER_WITHIN};

/// Capabilities that are withheld: tasks need their own support, extensions are per hop.
const WITHHELD: [&str; 2] = ["tasks", "extensions"];

/// What a modern client may ask besides `tools/call`.
const MODERN_METHODS: [&str; 8] = [
    "tools/list",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "prompts/list",
    "prompts/get",
    "completion/complete",
    "subscriptions/listen",
];

/// What a legacy client may ask besides `tools/call`.
const LEGACY_METHODS: [&str; 10] = [
    "tools/list",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "resources/subscribe",
    "resources/unsubscribe",
    "prompts/list",
    "prompts/get",
    "completion/complete",
    "logging/setLevel",
];

pub(super) async fn modern(mcp: &Mcp, incoming: Incoming, params: Option<&Node<'_>>) -> Response {
    match incoming.message.method.as_str() {
        "tools/call" => super::calls::call(mcp, incoming, params).await,
        "server/discover" => discover(mcp, &incoming).await,
        "subscriptions/listen" => super::listen::subscribe(mcp, incoming, params).await,
        method if MODERN_METHODS.contains(&method) => pass(mcp, incoming, params).await,
        _ => no_method(&incoming),
    }
}

pub(super) async fn legacy(mcp: &Mcp, incoming: Incoming, params: Option<&Node<'_>>) -> Response {
    match incoming.message.method.as_str() {
        "tools/call" => super::calls::call(mcp, incoming, params).await,
        "ping" => plain(&incoming, message::result(incoming.message.id_raw(), "{}")),
        method if LEGACY_METHODS.contains(&method) => pass(mcp, incoming, params).await,
        // Anything else of the legacy era passes too: a server may know more than we do.
        method if !method.starts_with("tasks/") && method != "server/discover" => {
            pass(mcp, incoming, params).await
        }
        _ => no_method(&incoming),
    }
}

fn no_method(incoming: &Incoming) -> Response {
    let status = match incoming.era {
        WireEra::Modern => StatusCode::NOT_FOUND,
        WireEra::Legacy => StatusCode::OK,
    };
    let id = incoming.message.id_raw();
    let text = format!("there is no method {:?} here", incoming.message.method);
    json_response(status, message::error(id, code::NO_METHOD, &text, None))
}

fn plain(_incoming: &Incoming, body: String) -> Response {
    json_response(StatusCode::OK, body)
}

/// The result of `initialize`. A server that can't be reached now does not keep the client out:
/// each call says so by itself.
pub(super) async fn initialize_result(
    mcp: &Mcp,
    upstream: &str,
    caller: &Caller,
    version: &str,
) -> String {
    let facts = facts(mcp, upstream, caller).await;
    let mut pairs = vec![
        ("protocolVersion", json::quote(version)),
        ("capabilities", capabilities(facts.as_ref())),
        ("serverInfo", server_info(facts.as_ref())),
    ];
    if let Some(text) = facts.and_then(|f| f.instructions) {
        pairs.push(("instructions", json::quote(&text)));
    }
    json::object(pairs.iter().map(|(k, v)| (*k, v.as_str())))
}

async fn facts(mcp: &Mcp, upstream: &str, caller: &Caller) -> Option<ServerFacts> {
    let server = mcp.broker.upstream(upstream)?;
    match tokio::time::timeout(FACTS_WITHIN, server.facts(caller)).await {
        Ok(Ok(facts)) => Some(facts),
        Ok(Err(error)) => {
            tracing::warn!(upstream, %error, "upstream {upstream} can't be reached: {error}");
            None
        }
        Err(_) => {
            tracing::warn!(upstream, "upstream {upstream} has not answered in time");
            None
        }
    }
}

fn capabilities(facts: Option<&ServerFacts>) -> String {
    let raw = facts.map_or("{}", |f| f.capabilities.as_str());
    let kept = revision::drop_members(raw, &WITHHELD);
    // Policies change what is listed, whatever the server says of itself.
    match json::parse(&kept).ok().and_then(|n| n.get("tools").map(|t| t.raw.to_owned())) {
        Some(tools) => {
            let tools = revision::add_members(
                &revision::drop_members(&tools, &["listChanged"]),
                &[("listChanged", "true")],
            );
            revision::add_members(&revision::drop_members(&kept, &["tools"]), &[("tools", &tools)])
        }
        None if facts.is_none() => "{\"tools\":{\"listChanged\":true}}".to_owned(),
        None => kept,
    }
}

fn server_info(facts: Option<&ServerFacts>) -> String {
    facts.map(|f| f.server_info.clone()).filter(|s| !s.is_empty()).unwrap_or_else(|| {
        format!("{{\"name\":\"placet\",\"version\":\"{}\"}}", env!("CARGO_PKG_VERSION"))
    })
}

async fn discover(mcp: &Mcp, incoming: &Incoming) -> Response {
    let facts = facts(mcp, &incoming.upstream, &incoming.caller()).await;
    let mut pairs = vec![
        ("resultType", "\"complete\"".to_owned()),
        ("supportedVersions", format!("[\"{MODERN}\"]")),
        ("capabilities", capabilities(facts.as_ref())),
        ("ttlMs", "0".to_owned()),
        ("cacheScope", "\"private\"".to_owned()),
        (
            "_meta",
            format!("{{\"io.modelcontextprotocol/serverInfo\":{}}}", server_info(facts.as_ref())),
        ),
    ];
    if let Some(text) = facts.and_then(|f| f.instructions) {
        pairs.push(("instructions", json::quote(&text)));
    }
    let result = json::object(pairs.iter().map(|(k, v)| (*k, v.as_str())));
    plain(incoming, message::result(incoming.message.id_raw(), &result))
}

/// Sends a request on and its answer back; a stream once it takes long or says something.
async fn pass(mcp: &Mcp, incoming: Incoming, params: Option<&Node<'_>>) -> Response {
    let Some(server) = mcp.broker.upstream(&incoming.upstream).cloned() else {
        return no_method(&incoming);
    };
    let token = progress_token(params);
    let level = log_level(params);
    let request = Request {
        method: incoming.message.method.clone(),
        params: incoming.message.params.as_deref().map(|p| params_with_meta(p, &[])),
        progress: token.is_some(),
        log_level: level.clone(),
        once: false,
    };
    let progress = Progress::new(token, incoming.era, level.is_some());
    let (mcp_again, incoming_again) = (mcp.clone(), incoming.clone());
    let exchange = async move |notifications, cancel| {
        let caller = incoming_again.caller();
        let reply = server.request(&caller, request, Some(notifications), cancel).await;
        let era = server_era(&server, &caller).await;
        answer_of(&mcp_again, &incoming_again, era, reply)
    };
    exchange_with_client(mcp, &incoming, progress, exchange).await
}

/// The wanted log level of a modern request, raw JSON.
pub(super) fn log_level(params: Option<&Node<'_>>) -> Option<String> {
    Some(params?.get("_meta")?.get(revision::META_LOG_LEVEL)?.raw.to_owned())
}

/// The era a server speaks; its facts are known once it has answered.
pub(super) async fn server_era(server: &Arc<dyn Upstream>, caller: &Caller) -> WireEra {
    match tokio::time::timeout(FACTS_WITHIN, server.facts(caller)).await {
        Ok(Ok(facts)) => facts.era,
        _ => WireEra::Legacy,
    }
}

/// Runs an exchange with the upstream: a plain answer if it comes soon and in silence, else a
/// stream with what the upstream says, signs of life, and the answer.
pub(super) async fn exchange_with_client<F>(
    mcp: &Mcp,
    incoming: &Incoming,
    mut progress: Progress,
    exchange: impl FnOnce(
        tokio::sync::mpsc::Sender<crate::upstream::Notification>,
        CancellationToken,
    ) -> F,
) -> Response
where
    F: Future<Output = (StatusCode, String)> + Send + 'static,
{
    let (notes, mut heard) = tokio::sync::mpsc::channel(64);
    let cancel = CancellationToken::new();
    let guard =
        incoming.session.as_ref().map(|s| mcp.in_flight.enter(&s.id, incoming.message.id_raw()));
    let cancelled = guard.as_ref().map_or_else(CancellationToken::new, |g| g.cancelled.clone());
    let mut done = mcp.broker.tracker().spawn(exchange(notes, cancel.clone()));
    // A client that leaves a modern request has cancelled it; a legacy one says so.
    let left = (incoming.era == WireEra::Modern).then(|| cancel.clone().drop_guard());
    let failed = |id: &str| {
        (StatusCode::OK, message::error(id, code::INTERNAL, "the request was lost", None))
    };
    let id = incoming.message.id_raw().to_owned();
    let first = if incoming.streams {
        tokio::select! {
            answer = &mut done => {
                let (status, body) = answer.unwrap_or_else(|_| failed(&id));
                drop(left.map(tokio_util::sync::DropGuard::disarm));
                return json_response(status, body);
            }
            note = heard.recv() => note,
            () = tokio::time::sleep(PLAIN_ANSWER_WITHIN) => None,
            () = cancelled.cancelled() => {
                cancel.cancel();
                None
            }
        }
    } else {
        tokio::select! {
            answer = &mut done => {
                let (status, body) = answer.unwrap_or_else(|_| failed(&id));
                drop(left.map(tokio_util::sync::DropGuard::disarm));
                return json_response(status, body);
            }
            () = cancelled.cancelled() => {
                cancel.cancel();
                return json_response(StatusCode::OK, failed(&id).1);
            }
        }
    };
    let (events, response) = Events::open();
    let heartbeat = mcp.broker.config().approvals.heartbeat;
    mcp.broker.tracker().spawn(async move {
        let _guard = guard;
        if let Some(text) = first.and_then(|note| progress.upstream(&note)) {
            events.try_message(&text);
        }
        let mut beat = tokio::time::interval(heartbeat);
        loop {
            tokio::select! {
                biased;
                note = heard.recv(), if !heard.is_closed() || !heard.is_empty() => {
                    if let Some(text) = note.and_then(|note| progress.upstream(&note)) {
                        events.try_message(&text);
                    }
                }
                answer = &mut done => {
                    if !cancelled.is_cancelled() {
                        let (_, body) = answer.unwrap_or_else(|_| failed(&id));
                        events.message(&body).await;
                    }
                    break;
                }
                () = cancelled.cancelled() => {
                    cancel.cancel();
                    break;
                }
                () = events.closed() => {
                    if left.is_some() {
                        cancel.cancel();
                    }
                    break;
                }
                _ = beat.tick() => events.comment(),
            }
        }
        drop(left.map(tokio_util::sync::DropGuard::disarm));
    });
    response
}

/// The answer to a passed request: HTTP status and JSON-RPC message.
pub(super) fn answer_of(
    mcp: &Mcp,
    incoming: &Incoming,
    era: WireEra,
    reply: Result<Reply, UpstreamError>,
) -> (StatusCode, String) {
    let id = incoming.message.id_raw();
    let method = incoming.message.method.as_str();
    match reply {
        Ok(Reply::Result(raw)) => {
            let raw = if method == "tools/list" { filter_tools(mcp, incoming, &raw) } else { raw };
            let asks = json::parse(&raw).ok().is_some_and(|n| {
                n.get("resultType").and_then(Node::as_str) == Some("input_required")
            });
            if asks && incoming.era == WireEra::Legacy {
                let text = "the server asks for input that this client can't give";
                return (StatusCode::OK, message::error(id, code::INTERNAL, text, None));
            }
            let raw = translate_result(&raw, era, incoming.era, method);
            (StatusCode::OK, message::result(id, &raw))
        }
        Ok(Reply::Error(raw)) => {
            let raw = translate_error(&raw, era, incoming.era);
            let missing = json::parse(&raw)
                .ok()
                .is_some_and(|n| n.get("code").and_then(Node::as_number) == Some("-32601"));
            let status = if missing && incoming.era == WireEra::Modern {
                StatusCode::NOT_FOUND
            } else {
                StatusCode::OK
            };
            (status, message::error_raw(id, &raw))
        }
        Err(error) => {
            let text = format!("upstream {} failed: {error}", incoming.upstream);
            (StatusCode::OK, message::error(id, code::INTERNAL, &text, None))
        }
    }
}

/// Takes hidden tools out of a page of the list. A list that can't be read is not shown at all:
/// better nothing than what the policy hides.
fn filter_tools(mcp: &Mcp, incoming: &Incoming, raw: &str) -> String {
    let policy = mcp.broker.policies().of(&incoming.upstream);
    let empty = || "{\"tools\":[]}".to_owned();
    let Ok(node) = json::parse(raw) else { return empty() };
    let Some(tools) = node.get("tools").and_then(Node::elements) else { return empty() };
    let hidden = |tool: &Node<'_>| {
        let name = tool.get("name").and_then(Node::as_str);
        name.is_none_or(|name| policy.as_ref().is_some_and(|p| p.hides(name)))
    };
    if !tools.iter().any(hidden) {
        return raw.to_owned();
    }
    let shown: Vec<&str> = tools.iter().filter(|t| !hidden(t)).map(|t| t.raw).collect();
    let parts: Vec<String> = node
        .members()
        .unwrap_or_default()
        .iter()
        .map(|m| match m.key.as_ref() {
            "tools" => format!("{}:[{}]", m.raw_key, shown.join(",")),
            _ => format!("{}:{}", m.raw_key, m.node.raw),
        })
        .collect();
    format!("{{{}}}", parts.join(","))
}
