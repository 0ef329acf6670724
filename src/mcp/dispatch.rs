//! Where a message goes once it is read: its era and session are found, a modern one's headers are
//! checked, and its method is answered by Placet, handed to the broker as a call, or passed on.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use tokio_util::sync::CancellationToken;

use crate::config::Agent;
use crate::domain::call::Method;
use crate::domain::json::{self, Node, Text};
use crate::mcp::request::request_of;
use crate::mcp::stream::progress::{Progress, progress_token};
use crate::protocol::{X_MCP_HEADER, code, jsonrpc, meta, method};
use crate::upstream::{ClientCapabilities, Notifications, Request, Tool, WireEra};

use super::call::admission::Gate;
use super::call::{self, admission, input_required};
use super::discover::discover;
use super::envelope::{Message, MessageKind, Refused};
use super::reading::Share;
use super::request::{self, ClientRequest, accepts_streams, client_name};
use super::respond::{json_response, no_method, nothing, plain, problem, refused};
use super::revision::{self, headers};
use super::session::{self, subscriptions};
use super::stream::relay;
use super::{Mcp, aggregate, response, subscriptions_listen, tasks};

/// Answers a modern request whose headers were checked.
pub(crate) async fn modern(
    mcp: &Mcp,
    incoming: ClientRequest,
    params: Option<Node<'_>>,
) -> Response {
    match admission::gate(mcp, &incoming).await {
        Gate::Open => {}
        Gate::Listed => return pass(mcp, incoming, params).await,
        Gate::Answered(response) => return response,
    }
    match incoming.message.method.as_str() {
        _ if is_call(mcp, &incoming) => call::call(mcp, incoming, params).await,
        method::SERVER_DISCOVER => discover(mcp, &incoming).await,
        method::SUBSCRIPTIONS_LISTEN => match tasks::watched(mcp, &incoming, params.as_ref()).await
        {
            Ok(watch) => subscriptions_listen::listen(mcp, &incoming, params.as_ref(), watch),
            Err(refused) => refused,
        },
        method if method.starts_with("tasks/") => {
            match tasks::modern(mcp, &incoming, params.as_ref()).await {
                Some(answer) => answer,
                None => no_method(mcp, &incoming).await,
            }
        }
        _ => pass(mcp, incoming, params).await,
    }
}

/// Answers a legacy request of a session that was found.
pub(crate) async fn legacy(
    mcp: &Mcp,
    incoming: ClientRequest,
    params: Option<Node<'_>>,
) -> Response {
    match admission::gate(mcp, &incoming).await {
        Gate::Open => {}
        Gate::Listed => return pass(mcp, incoming, params).await,
        Gate::Answered(response) => return response,
    }
    match incoming.message.method.as_str() {
        _ if is_call(mcp, &incoming) => call::call(mcp, incoming, params).await,
        method::PING => plain(&incoming, "{}"),
        method if method.starts_with("tasks/") => {
            match tasks::legacy(mcp, &incoming, params.as_ref()).await {
                Some(answer) => answer,
                None => no_method(mcp, &incoming).await,
            }
        }
        method::LOGGING_SET_LEVEL => {
            subscriptions::set_level(mcp, &incoming, params.as_ref()).await
        }
        // At the address of all upstreams the URI was resolved to one, unless no upstream has it.
        method::RESOURCES_SUBSCRIBE | method::RESOURCES_UNSUBSCRIBE
            if !incoming.upstream.is_empty() =>
        {
            match admission::refusal(mcp, &incoming).await {
                Some(refused) => refused,
                None => subscriptions::subscription(mcp, &incoming, params.as_ref()).await,
            }
        }
        _ => pass(mcp, incoming, params).await,
    }
}

/// Whether the request goes through the broker: every call of a tool, and each prompt or resource
/// that the policy has rules for or, without a policy, denies.
fn is_call(mcp: &Mcp, incoming: &ClientRequest) -> bool {
    let Some(method) = Method::parse(&incoming.message.method) else { return false };
    let policy = mcp.broker.policies().of(&incoming.upstream);
    let judged = policy.map_or(!incoming.upstream.is_empty(), |p| p.governs(method));
    method == Method::CallTool || judged
}

/// Sends a request upstream and its answer back; the answer becomes a stream once it takes long or
/// the server says something meanwhile.
async fn pass(mcp: &Mcp, incoming: ClientRequest, params: Option<Node<'_>>) -> Response {
    if incoming.upstream.is_empty() {
        return aggregate::whole(mcp, incoming, params.as_ref()).await;
    }
    if Method::parse(&incoming.message.method).is_none()
        && let Some(refused) = admission::refusal(mcp, &incoming).await
    {
        return refused;
    }
    let Some(server) = mcp.broker.upstream(&incoming.upstream).cloned() else {
        return no_method(mcp, &incoming).await;
    };
    let token = progress_token(params.as_ref());
    let (level, filter) = subscriptions::level_of(mcp, &incoming, params.as_ref()).await;
    drop(params);
    let request =
        Request { progress: token.is_some(), log_level: level.clone(), ..request_of(&incoming) };
    let progress = Progress::new(token, incoming.era, level.is_some()).logging(filter);
    let incoming = Arc::new(incoming);
    let (again, asked) = (mcp.clone(), Arc::clone(&incoming));
    let send = async move |notes: Notifications, cancel: CancellationToken| {
        let caller = asked.caller();
        let (server, caller, notes, cancel) = (&server, &caller, &notes, &cancel);
        let (again, asked, request) = (&again, &asked, &request);
        let ask = move |params: Option<Arc<str>>| async move {
            let request = Request { params, ..request.clone() };
            match server.request(caller, request, Some(notes.clone()), cancel.clone()).await {
                Ok(reply) => Ok(reply),
                Err(error) => Err(response::of_upstream(again, asked, Err(error)).await),
            }
        };
        match ask(request.params.clone()).await {
            Ok(reply) => {
                let params = request.params.clone().unwrap_or_else(|| Arc::from("{}"));
                let next = |params| ask(Some(params));
                input_required::rounds(again, asked, params, reply, notes, next).await
            }
            Err(reported) => reported,
        }
    };
    relay::run(mcp, &incoming, progress, send).await
}

/// Answers a message of either era.
pub(crate) async fn answer(
    mcp: &Mcp,
    agent: Arc<Agent>,
    upstream: &str,
    headers: &HeaderMap,
    message: Message,
    room: Share,
) -> Response {
    let text = message.params.clone();
    let owned = text.as_ref().map(Text::node);
    let params = owned.as_ref();
    let era = revision::era_of(headers, params);
    let features = match era {
        WireEra::Modern => {
            let declared = params.and_then(|p| p.get("_meta")?.get(meta::CLIENT_CAPABILITIES));
            let declared = declared.map_or("{}", |c| c.raw);
            mcp.broker.features(&agent, declared, false)
        }
        WireEra::Legacy => ClientCapabilities::default(),
    };
    let mut incoming = ClientRequest {
        features,
        agent,
        upstream: upstream.to_owned(),
        named: None,
        era,
        client: client_name(params),
        session: None,
        in_use: None,
        streams: accepts_streams(headers),
        room: Arc::new(room),
        flight: Arc::default(),
        message,
    };
    match era {
        WireEra::Modern => modern_message(mcp, incoming, headers, owned).await,
        WireEra::Legacy => {
            if incoming.message.method == method::INITIALIZE {
                return session::initialize(mcp, &incoming, params).await;
            }
            match session::find(mcp, &incoming.agent, upstream, headers).await {
                Ok((session, in_use)) => {
                    incoming.client.clone_from(&session.client);
                    incoming.features = session::features(mcp, &incoming.agent, &session);
                    incoming.session = Some(session);
                    incoming.in_use = Some(Arc::new(in_use));
                }
                Err(response) => return response,
            }
            legacy_message(mcp, incoming, owned).await
        }
    }
}

async fn modern_message(
    mcp: &Mcp,
    incoming: ClientRequest,
    headers: &HeaderMap,
    params: Option<Node<'_>>,
) -> Response {
    let id = incoming.message.id_raw();
    match incoming.message.kind {
        // The modern core defines no notification from client to server over HTTP: a request is
        // cancelled by closing its stream. What the era has done away with is refused.
        MessageKind::Notification if revision::is_gone(&incoming.message.method) => {
            match notify(mcp, &incoming) {
                Ok(true) => return StatusCode::ACCEPTED.into_response(),
                Ok(false) => {}
                Err(too_many) => return *too_many,
            }
            return refused(
                StatusCode::NOT_FOUND,
                &Refused {
                    code: code::METHOD_NOT_FOUND,
                    message: format!("there is no {:?} here", incoming.message.method),
                    id: None,
                },
            );
        }
        MessageKind::Notification => {
            if !method::is_modern_notification(&incoming.message.method)
                && let Err(too_many) = notify(mcp, &incoming)
            {
                return *too_many;
            }
            return StatusCode::ACCEPTED.into_response();
        }
        MessageKind::Response => {
            return refused(
                StatusCode::BAD_REQUEST,
                &Refused {
                    code: code::INVALID_REQUEST,
                    message: "clients send requests, not responses".to_owned(),
                    id: None,
                },
            );
        }
        MessageKind::Request => {}
    }
    if let Err(wrong) = headers::check_modern(headers, &incoming.message, params.as_ref()) {
        return json_response(
            StatusCode::BAD_REQUEST,
            jsonrpc::error(id, wrong.code, &wrong.message, wrong.data.as_deref()),
        );
    }
    let (incoming, own) = resolved(mcp, incoming, params.as_ref()).await;
    match own.as_ref().map(Text::node) {
        Some(own) => Box::pin(mirrored(mcp, incoming, headers, Some(own))).await,
        None => mirrored(mcp, incoming, headers, params).await,
    }
}

/// Answers a modern request whose upstream is known, if its headers say what its arguments do.
async fn mirrored(
    mcp: &Mcp,
    incoming: ClientRequest,
    headers: &HeaderMap,
    params: Option<Node<'_>>,
) -> Response {
    if let Err(wrong) = check_mirrors(mcp, &incoming, headers, params.as_ref()) {
        return json_response(
            StatusCode::BAD_REQUEST,
            jsonrpc::error(incoming.message.id_raw(), wrong.code, &wrong.message, None),
        );
    }
    modern(mcp, incoming, params).await
}

/// The request as its upstream's own address would have received it, and its new `params` (raw
/// JSON) if a name in them was replaced.
async fn resolved(
    mcp: &Mcp,
    incoming: ClientRequest,
    params: Option<&Node<'_>>,
) -> (ClientRequest, Option<Text>) {
    if !incoming.upstream.is_empty() {
        return (incoming, None);
    }
    let incoming = aggregate::resolve(mcp, incoming, params).await;
    let own = incoming.named.as_ref().and(incoming.message.params.clone());
    (incoming, own)
}

/// Compares the `Mcp-Param-*` headers that a tool's definition asks for with its arguments. A
/// hidden tool asks for none, as an unknown one.
///
/// <https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#custom-headers-from-tool-parameters>
fn check_mirrors(
    mcp: &Mcp,
    incoming: &ClientRequest,
    headers: &HeaderMap,
    params: Option<&Node<'_>>,
) -> Result<(), headers::Wrong> {
    let tool = params.and_then(|p| p.get("name")).and_then(Node::as_str);
    let (Some(tool), method::TOOLS_CALL) = (tool, incoming.message.method.as_str()) else {
        return Ok(());
    };
    let policy = mcp.broker.policies().of(&incoming.upstream);
    if policy.is_some_and(|p| p.hides(tool)) {
        return Ok(());
    }
    let catalog = mcp.broker.upstream(&incoming.upstream).and_then(|u| u.catalog());
    let definition = catalog.as_ref().and_then(|c| c.find(tool));
    // Few tools ask for any. Where an escape might hide it, it is looked at closely.
    let may_ask = |d: &&Tool| d.raw.contains(X_MCP_HEADER) || d.raw.contains("\\u");
    match definition.filter(may_ask).map(|d| json::parse(&d.raw)) {
        Some(Ok(definition)) => {
            let arguments = params.and_then(|p| p.get("arguments"));
            headers::check_param_headers(headers, &definition, arguments)
        }
        _ => Ok(()),
    }
}

async fn legacy_message(
    mcp: &Mcp,
    mut incoming: ClientRequest,
    params: Option<Node<'_>>,
) -> Response {
    match incoming.message.kind {
        MessageKind::Response => {
            if let (Some(session), Some(reply)) = (&incoming.session, incoming.message.reply.take())
            {
                mcp.open.answer(&session.id, incoming.message.id_raw(), reply);
            }
            StatusCode::ACCEPTED.into_response()
        }
        MessageKind::Notification => notified(mcp, &incoming, params.as_ref()),
        MessageKind::Request => {
            if let Some(session) = &incoming.session {
                let (id, now) = (incoming.message.id_raw(), mcp.broker.now());
                incoming.flight = Arc::new(mcp.in_flight.enter(&session.id, id, now));
                if incoming.flight.cancelled().is_cancelled() {
                    return nothing();
                }
            }
            let (incoming, own) = resolved(mcp, incoming, params.as_ref()).await;
            match own.as_ref().map(Text::node) {
                Some(own) => Box::pin(legacy(mcp, incoming, Some(own))).await,
                None => legacy(mcp, incoming, params).await,
            }
        }
    }
}

/// A notification cancels a request of its own session
/// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/cancellation#cancellation-flow>),
/// or is passed on.
fn notified(mcp: &Mcp, incoming: &ClientRequest, params: Option<&Node<'_>>) -> Response {
    let accepted = || StatusCode::ACCEPTED.into_response();
    if incoming.message.method == method::NOTIFICATIONS_CANCELLED {
        if let (Some(session), Some(id)) =
            (&incoming.session, params.and_then(|p| p.get("requestId")))
        {
            let max = mcp.broker.config().server.max_early_cancellations;
            mcp.in_flight.cancel(&session.id, id.raw, mcp.broker.now(), max);
        }
        return accepted();
    }
    // Placet's own connections say it for themselves.
    if incoming.message.method == method::NOTIFICATIONS_INITIALIZED {
        return accepted();
    }
    match notify(mcp, incoming) {
        Ok(_) => accepted(),
        Err(too_many) => *too_many,
    }
}

/// Passes a notification on to every upstream behind the address that may have it; false where
/// there is none, which is recorded.
///
/// # Errors
/// 429, when as many of the agent's as may be are on their way.
fn notify(mcp: &Mcp, incoming: &ClientRequest) -> Result<bool, Box<Response>> {
    let max = mcp.broker.config().server.max_notifications_per_agent;
    let Some(counted) = mcp.notifying.open(&incoming.agent.name, max) else {
        let why = format!(
            "{max} notifications of this token are on their way \
             (server.max_notifications_per_agent)"
        );
        return Err(Box::new(problem(StatusCode::TOO_MANY_REQUESTS, &why)));
    };
    let counted = Arc::new(counted);
    let (era, name) = (incoming.era, incoming.message.method.as_str());
    let mut behind = request::behind(mcp, &incoming.agent, &incoming.upstream);
    behind.retain(|upstream| admission::may_notify(mcp, upstream, era, name));
    let passes = !behind.is_empty();
    for upstream in behind {
        let Some(server) = mcp.broker.upstream(&upstream).cloned() else { continue };
        let (incoming, counted) = (incoming.clone(), Arc::clone(&counted));
        let stop = mcp.broker.stop().soft.clone();
        mcp.broker.tracker().spawn(async move {
            let caller = incoming.caller();
            let method = &incoming.message.method;
            let params = incoming.message.params.as_deref().map(str::to_owned);
            let sent = server.notify(&caller, method, params);
            tokio::select! {
                biased;
                () = sent => {}
                () = stop.cancelled() => {}
            }
            drop(counted);
        });
    }
    if !passes {
        let (broker, denied) = (mcp.broker.clone(), incoming.clone());
        mcp.broker.tracker().spawn(async move {
            let (agent, upstream) = (&denied.agent.name, &denied.upstream);
            broker.deny_method(agent, upstream, &denied.message.method).await;
            drop(counted);
        });
    }
    Ok(passes)
}
