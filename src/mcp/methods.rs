//! The methods besides `tools/call`: a few are answered here, lists are filtered, the rest
//! passes.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;

use crate::domain::call::{Method, params_with_meta};
use crate::domain::json::{self, Node, edit};
use crate::protocol::{code, jsonrpc, meta, method, version};
use tokio_util::sync::CancellationToken;

use crate::upstream::{Caller, Notifications, Request, ServerFacts, WireEra};

use super::http::Incoming;
use super::stream::{Progress, json_response, progress_token};
use super::{FACTS_WITHIN, Mcp, aggregate, answer, exchange, input, standing};

/// Capabilities that are withheld: tasks need their own support, extensions are per hop.
const WITHHELD: [&str; 2] = ["tasks", "extensions"];

/// What passes in the modern era; its other methods are answered here or do not exist.
const MODERN_METHODS: [&str; 7] = [
    method::TOOLS_LIST,
    method::RESOURCES_LIST,
    method::RESOURCES_TEMPLATES_LIST,
    method::RESOURCES_READ,
    method::PROMPTS_LIST,
    method::PROMPTS_GET,
    method::COMPLETION_COMPLETE,
];

pub(super) async fn modern(mcp: &Mcp, incoming: Incoming, params: Option<&Node<'_>>) -> Response {
    match incoming.message.method.as_str() {
        _ if is_call(mcp, &incoming) => super::calls::call(mcp, incoming, params).await,
        method::SERVER_DISCOVER => discover(mcp, &incoming).await,
        method::SUBSCRIPTIONS_LISTEN => match super::tasks::watched(mcp, &incoming, params).await {
            Ok(watch) => super::subscriptions::listen(mcp, &incoming, params, watch),
            Err(refused) => refused,
        },
        method if MODERN_METHODS.contains(&method) => pass(mcp, incoming, params).await,
        _ => match super::tasks::modern(mcp, &incoming, params).await {
            Some(answer) => answer,
            None => no_method(&incoming),
        },
    }
}

pub(super) async fn legacy(mcp: &Mcp, incoming: Incoming, params: Option<&Node<'_>>) -> Response {
    match incoming.message.method.as_str() {
        _ if is_call(mcp, &incoming) => super::calls::call(mcp, incoming, params).await,
        method::PING => plain(&incoming, "{}"),
        method::SERVER_DISCOVER => no_method(&incoming),
        method if method.starts_with("tasks/") => {
            match super::tasks::legacy(mcp, &incoming, params).await {
                Some(answer) => answer,
                None => no_method(&incoming),
            }
        }
        method::LOGGING_SET_LEVEL => standing::set_level(mcp, &incoming, params).await,
        // At the address of all upstreams the URI has named one, or nobody has it.
        method::RESOURCES_SUBSCRIBE | method::RESOURCES_UNSUBSCRIBE
            if !incoming.upstream.is_empty() =>
        {
            match super::calls::refusal(mcp, &incoming).await {
                Some(refused) => refused,
                None => standing::subscription(mcp, &incoming, params).await,
            }
        }
        // Everything else passes: a server may know more methods than we do.
        _ => pass(mcp, incoming, params).await,
    }
}

/// Whether it goes through the broker: every call of a tool, and whatever else the policy says
/// something of.
fn is_call(mcp: &Mcp, incoming: &Incoming) -> bool {
    let Some(method) = Method::parse(&incoming.message.method) else { return false };
    let policy = mcp.broker.policies().of(&incoming.upstream);
    method == Method::CallTool || policy.is_some_and(|p| p.governs(method))
}

pub(super) fn no_method(incoming: &Incoming) -> Response {
    let status = match incoming.era {
        WireEra::Modern => StatusCode::NOT_FOUND,
        WireEra::Legacy => StatusCode::OK,
    };
    let id = incoming.message.id_raw();
    let text = format!("there is no method {:?} here", incoming.message.method);
    json_response(status, jsonrpc::error(id, code::METHOD_NOT_FOUND, &text, None))
}

fn plain(incoming: &Incoming, result: &str) -> Response {
    json_response(StatusCode::OK, jsonrpc::result(incoming.message.id_raw(), result))
}

/// The result of `initialize`. A server that can't be reached now does not keep the client out:
/// each call says so by itself.
pub(super) async fn initialize_result(
    mcp: &Mcp,
    incoming: &Incoming,
    caller: &Caller,
    version: &str,
) -> String {
    let facts = facts(mcp, incoming, caller).await;
    let mut pairs = vec![
        ("protocolVersion", json::quote(version)),
        ("capabilities", super::tasks::advertise(&capabilities(facts.as_ref()), version)),
        ("serverInfo", server_info(facts.as_ref())),
    ];
    if let Some(text) = facts.and_then(|f| f.instructions) {
        pairs.push(("instructions", json::quote(&text)));
    }
    json::object(pairs.iter().map(|(k, v)| (*k, v.as_str())))
}

async fn facts(mcp: &Mcp, incoming: &Incoming, caller: &Caller) -> Option<ServerFacts> {
    if incoming.upstream.is_empty() {
        return Some(aggregate::facts(mcp, &incoming.agent, caller).await);
    }
    facts_of(mcp, &incoming.upstream, caller, FACTS_WITHIN).await
}

/// What is known of one server, which may have to be started first.
pub(super) async fn facts_of(
    mcp: &Mcp,
    upstream: &str,
    caller: &Caller,
    within: Duration,
) -> Option<ServerFacts> {
    let server = mcp.broker.upstream(upstream)?;
    match tokio::time::timeout(within, server.facts(caller)).await {
        Ok(Ok(facts)) => {
            // Who begins now may call at once; calls are refused as long as no list is there.
            if server.catalog().is_none() {
                let _ = tokio::time::timeout(within, server.refresh()).await;
            }
            Some(facts)
        }
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
    let kept = edit::without(raw, &WITHHELD);
    // Policies change what is listed, whatever the server says of itself.
    match json::parse(&kept).ok().and_then(|n| n.get("tools").map(|t| t.raw.to_owned())) {
        Some(tools) => {
            let tools = edit::without(&tools, &["listChanged"]);
            let tools = edit::with(&tools, &[("listChanged", "true")]);
            edit::with(&edit::without(&kept, &["tools"]), &[("tools", tools)])
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
    let facts = facts(mcp, incoming, &incoming.caller()).await;
    let mut pairs = vec![
        ("resultType", "\"complete\"".to_owned()),
        ("supportedVersions", json::array([json::quote(version::MODERN)])),
        ("capabilities", super::tasks::advertise(&capabilities(facts.as_ref()), version::MODERN)),
        ("ttlMs", "0".to_owned()),
        ("cacheScope", "\"private\"".to_owned()),
        ("_meta", json::object([(meta::SERVER_INFO, server_info(facts.as_ref()).as_str())])),
    ];
    if let Some(text) = facts.and_then(|f| f.instructions) {
        pairs.push(("instructions", json::quote(&text)));
    }
    let result = json::object(pairs.iter().map(|(k, v)| (*k, v.as_str())));
    plain(incoming, &result)
}

/// Sends a request on and its answer back; a stream once it takes long or says something.
async fn pass(mcp: &Mcp, incoming: Incoming, params: Option<&Node<'_>>) -> Response {
    if incoming.upstream.is_empty() {
        return aggregate::whole(mcp, incoming, params).await;
    }
    if Method::parse(&incoming.message.method).is_none()
        && let Some(refused) = super::calls::refusal(mcp, &incoming).await
    {
        return refused;
    }
    let Some(server) = mcp.broker.upstream(&incoming.upstream).cloned() else {
        return no_method(&incoming);
    };
    let token = progress_token(params);
    let (level, filter) = standing::level_of(mcp, &incoming, params).await;
    let request =
        Request { progress: token.is_some(), log_level: level.clone(), ..request_of(&incoming) };
    let progress = Progress::new(token, incoming.era, level.is_some()).logging(filter);
    let (again, asked) = (mcp.clone(), incoming.clone());
    let send = async move |notes: Notifications, cancel: CancellationToken| {
        let caller = asked.caller();
        let (server, caller, notes, cancel) = (&server, &caller, &notes, &cancel);
        let (again, asked, request) = (&again, &asked, &request);
        let ask = move |params: Option<String>| async move {
            let request = Request { params, ..request.clone() };
            match server.request(caller, request, Some(notes.clone()), cancel.clone()).await {
                Ok(reply) => Ok(reply),
                Err(error) => Err(answer::of_upstream(again, asked, Err(error)).await),
            }
        };
        match ask(request.params.clone()).await {
            Ok(reply) => {
                let params = request.params.clone().unwrap_or_else(|| "{}".to_owned());
                let next = |params| ask(Some(params));
                input::rounds(again, asked, params, reply, notes, next).await
            }
            Err(reported) => reported,
        }
    };
    exchange::run(mcp, &incoming, progress, send).await
}

/// A request as it goes upstream.
pub(super) fn request_of(incoming: &Incoming) -> Request {
    let params = incoming.message.params.as_deref().map(|p| params_with_meta(p, &[]));
    Request::new(&incoming.message.method, params)
}

/// The wanted log level of a modern request, raw JSON.
pub(super) fn log_level(params: Option<&Node<'_>>) -> Option<String> {
    Some(params?.get("_meta")?.get(meta::LOG_LEVEL)?.raw.to_owned())
}
