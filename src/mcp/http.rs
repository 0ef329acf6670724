//! The endpoint: who asks, in which era, for what; everything refused here is refused before
//! the policy is asked.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use http_body_util::BodyExt as _;

use crate::auth;
use crate::config::Agent;
use crate::domain::json::{self, Node};
use crate::protocol::{code, jsonrpc, meta, method};
use crate::store::ClientSession;
use crate::upstream::{Caller, ClientCapabilities, WireEra};

use super::aggregate::Named;
use super::flight::Flight;
use super::message::{Message, MessageKind, Refused};
use super::revision::{self, header};
use super::stream::{json_response, nothing};
use super::{Mcp, aggregate, sessions};

/// What is still read, and thrown away, of a body that is too large: a client that is cut off
/// while it sends never reads why.
const DRAINED: usize = 16 << 20;
/// How long that may take.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);

/// One request with everything known of it.
#[derive(Debug, Clone)]
pub(super) struct Incoming {
    pub(super) agent: Agent,
    /// Its name; empty where all the agent's are addressed as one, or what none of them has.
    pub(super) upstream: String,
    /// How the client named what it asks for, where it asked all as one.
    pub(super) named: Option<Named>,
    pub(super) era: WireEra,
    pub(super) message: Message,
    /// The legacy session.
    pub(super) session: Option<ClientSession>,
    /// What the client calls itself.
    pub(super) client: Option<String>,
    /// What servers may ask of it.
    pub(super) features: ClientCapabilities,
    /// Whether it can read an event stream.
    pub(super) streams: bool,
    /// By which a notification may cancel it.
    pub(super) flight: Arc<Flight>,
}

impl Incoming {
    /// The same for one upstream, with params of its own.
    pub(super) fn to(&self, upstream: &str, params: Option<String>) -> Self {
        let mut one = self.clone();
        upstream.clone_into(&mut one.upstream);
        one.message.params = params;
        one
    }

    pub(super) fn caller(&self) -> Caller {
        Caller {
            agent: self.agent.name.clone(),
            session: self.session.as_ref().map(|s| s.id.clone()),
            features: self.features.clone(),
        }
    }
}

/// The routes of the MCP face.
pub fn router(mcp: Mcp) -> Router {
    Router::new()
        .route("/mcp", any(endpoint))
        .route("/mcp/{upstream}", any(endpoint))
        .merge(super::sse::router())
        .with_state(mcp)
}

/// Whether the agent may use an upstream of that name; of others nothing is said, not even
/// whether there are any.
pub(super) fn may_use(mcp: &Mcp, agent: &Agent, upstream: &str) -> bool {
    mcp.broker.config().upstream(upstream).is_some()
        && agent.upstreams.as_ref().is_none_or(|list| list.iter().any(|u| u == upstream))
}

pub(super) async fn endpoint(
    State(mcp): State<Mcp>,
    upstream: Result<Option<Path<String>>, PathRejection>,
    request: Request,
) -> Response {
    let headers = request.headers();
    let origin = headers.get(header::ORIGIN).cloned();
    let wished = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    // What is no text names no upstream; without a name all the agent's are meant.
    let upstream = match upstream {
        Ok(Some(Path(name))) => Some(name),
        Ok(None) => Some(String::new()),
        Err(_) => None,
    };
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        handle(&mcp, upstream.as_deref(), request).await
    };
    if let Some(origin) = origin {
        add_cors(&mcp, origin, wished, &mut response);
    }
    response
}

/// Browser clients of configured origins may read the answers. Foreign origins never get here.
pub(super) fn add_cors(
    mcp: &Mcp,
    origin: HeaderValue,
    wished: Option<HeaderValue>,
    response: &mut Response,
) {
    let allowed = &mcp.broker.config().server.allowed_origins;
    if !allowed.iter().any(|o| o.as_bytes() == origin.as_bytes()) {
        return;
    }
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST, DELETE, OPTIONS"),
    );
    // Whatever it asks for: the names of Mcp-Param-* are the tools' own.
    let usual = HeaderValue::from_static(
        "Authorization, Content-Type, Accept, Last-Event-ID, Mcp-Session-Id, \
         MCP-Protocol-Version, Mcp-Method, Mcp-Name",
    );
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wished.unwrap_or(usual));
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("Mcp-Session-Id, MCP-Protocol-Version, WWW-Authenticate"),
    );
}

async fn handle(mcp: &Mcp, upstream: Option<&str>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(agent) = authenticate(mcp, &parts.headers) else { return unauthorized() };
    let known = |name: &&str| name.is_empty() || may_use(mcp, &agent, name);
    let Some(upstream) = upstream.filter(known) else {
        return problem(StatusCode::NOT_FOUND, "there is no such upstream");
    };
    match parts.method {
        Method::POST => post(mcp, agent, upstream, &parts.headers, body).await,
        Method::GET => super::listen::get(mcp, agent, upstream, &parts.headers).await,
        Method::DELETE => sessions::delete(mcp, &agent, upstream, &parts.headers).await,
        _ => method_not_allowed(),
    }
}

/// The agent of the bearer token; the anonymous one where none is configured.
pub(super) fn authenticate(mcp: &Mcp, headers: &HeaderMap) -> Option<Agent> {
    let config = mcp.broker.config();
    let known = auth::bearer(headers).and_then(|token| auth::agent_by_token(config, token));
    known.or_else(|| config.agents.iter().find(|a| a.token_sha256.is_none())).cloned()
}

pub(super) fn unauthorized() -> Response {
    let mut response = problem(
        StatusCode::UNAUTHORIZED,
        "a valid agent token is needed (Authorization: Bearer …)",
    );
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"placet\""));
    response
}

/// An error outside JSON-RPC.
pub(super) fn problem(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    json_response(
        status,
        json::object([
            ("status", status.as_u16().to_string().as_str()),
            ("title", &json::quote(title)),
            ("detail", &json::quote(detail)),
        ]),
    )
}

pub(super) fn method_not_allowed() -> Response {
    let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "this endpoint takes POST");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, POST, DELETE"));
    response
}

fn refused(status: StatusCode, refused: &Refused) -> Response {
    let id = refused.id.as_deref().unwrap_or("null");
    json_response(status, jsonrpc::error(id, refused.code, &refused.message, None))
}

async fn post(
    mcp: &Mcp,
    agent: Agent,
    upstream: &str,
    headers: &HeaderMap,
    body: Body,
) -> Response {
    match read(mcp, headers, body).await {
        Ok(message) => answer(mcp, agent, upstream, headers, message).await,
        Err(response) => response,
    }
}

/// Reads a message, whatever era it is of.
pub(super) async fn read(mcp: &Mcp, headers: &HeaderMap, body: Body) -> Result<Message, Response> {
    let content_type = header(headers, "content-type").unwrap_or_default();
    let media = content_type.split(';').next().unwrap_or_default().trim();
    if !media.eq_ignore_ascii_case("application/json") {
        return Err(problem(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Type must be application/json",
        ));
    }
    let max = mcp.broker.config().server.max_body;
    let body = read_body(body, max).await?;
    Message::read(&body).map_err(|why| refused(StatusCode::BAD_REQUEST, &why))
}

/// Answers a message of either era.
pub(super) async fn answer(
    mcp: &Mcp,
    agent: Agent,
    upstream: &str,
    headers: &HeaderMap,
    message: Message,
) -> Response {
    let params = message.params.clone();
    let params = params.as_deref().and_then(|p| json::parse(p).ok());
    let params = params.as_ref();
    let era = revision::era_of(headers, params);
    let features = match era {
        WireEra::Modern => {
            let declared = params.and_then(|p| p.get("_meta")?.get(meta::CLIENT_CAPABILITIES));
            let declared = declared.map_or("{}", |c| c.raw);
            mcp.broker.features(&agent, declared, false)
        }
        WireEra::Legacy => ClientCapabilities::default(),
    };
    let mut incoming = Incoming {
        features,
        agent,
        upstream: upstream.to_owned(),
        named: None,
        era,
        client: client_name(params),
        session: None,
        streams: accepts_streams(headers),
        flight: Arc::default(),
        message,
    };
    match era {
        WireEra::Modern => modern(mcp, incoming, headers, params).await,
        WireEra::Legacy => {
            if incoming.message.method == method::INITIALIZE {
                return sessions::initialize(mcp, &incoming, params).await;
            }
            match sessions::find(mcp, &incoming.agent, upstream, headers).await {
                Ok(session) => {
                    incoming.client.clone_from(&session.client);
                    incoming.features = sessions::features(mcp, &incoming.agent, &session);
                    incoming.session = Some(session);
                }
                Err(response) => return response,
            }
            legacy(mcp, incoming, params).await
        }
    }
}

async fn read_body(mut body: Body, max: usize) -> Result<Vec<u8>, Response> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(problem(StatusCode::BAD_REQUEST, "the body could not be read"));
        };
        let Some(data) = frame.data_ref() else { continue };
        if read.len() + data.len() > max {
            // Whether or not the rest came, the answer is the same.
            let _ = tokio::time::timeout(DRAIN_WITHIN, drain(body)).await;
            return Err(problem(
                StatusCode::PAYLOAD_TOO_LARGE,
                &format!("the body is larger than {max} bytes (server.max_body)"),
            ));
        }
        read.extend_from_slice(data);
    }
    Ok(read)
}

async fn drain(mut body: Body) {
    let mut left = DRAINED;
    while let Some(Ok(frame)) = body.frame().await {
        let size = frame.data_ref().map_or(0, bytes::Bytes::len);
        let Some(rest) = left.checked_sub(size) else { return };
        left = rest;
    }
}

/// Whether the client reads event streams.
pub(super) fn accepts_streams(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT).iter().any(|value| {
        value.to_str().is_ok_and(|v| v.to_ascii_lowercase().contains("text/event-stream"))
    })
}

/// What the client calls itself, `name/version`; its own words, bounded.
fn client_name(params: Option<&Node<'_>>) -> Option<String> {
    /// Most characters of a client's own name that are kept.
    const MAX_CLIENT_NAME: usize = 200;
    let params = params?;
    let info = params.get("clientInfo").or_else(|| params.get("_meta")?.get(meta::CLIENT_INFO))?;
    let name = info.get("name")?.as_str()?;
    let text = match info.get("version").and_then(Node::as_str) {
        Some(version) => format!("{name}/{version}"),
        None => name.to_owned(),
    };
    Some(text.replace('\0', "\u{fffd}").chars().take(MAX_CLIENT_NAME).collect())
}

async fn modern(
    mcp: &Mcp,
    incoming: Incoming,
    headers: &HeaderMap,
    params: Option<&Node<'_>>,
) -> Response {
    let id = incoming.message.id_raw();
    match incoming.message.kind {
        // The core defines none over HTTP; cancelling is closing the stream. What the era has done
        // away with is not accepted either.
        MessageKind::Notification if revision::is_gone(&incoming.message.method) => {
            return refused(
                StatusCode::NOT_FOUND,
                &Refused {
                    code: code::METHOD_NOT_FOUND,
                    message: format!("there is no {:?} here", incoming.message.method),
                    id: None,
                },
            );
        }
        MessageKind::Notification => return StatusCode::ACCEPTED.into_response(),
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
    if let Err(wrong) = revision::check_modern(headers, &incoming.message, params) {
        return json_response(
            StatusCode::BAD_REQUEST,
            jsonrpc::error(id, wrong.code, &wrong.message, wrong.data.as_deref()),
        );
    }
    let (incoming, own) = resolved(mcp, incoming, params).await;
    let own = own.as_deref().and_then(|p| json::parse(p).ok());
    let params = own.as_ref().or(params);
    if let Err(wrong) = check_mirrors(mcp, &incoming, headers, params) {
        return json_response(
            StatusCode::BAD_REQUEST,
            jsonrpc::error(incoming.message.id_raw(), wrong.code, &wrong.message, None),
        );
    }
    super::methods::modern(mcp, incoming, params).await
}

/// The request as its upstream's own address would have got it, and its new params.
async fn resolved(
    mcp: &Mcp,
    incoming: Incoming,
    params: Option<&Node<'_>>,
) -> (Incoming, Option<String>) {
    if !incoming.upstream.is_empty() {
        return (incoming, None);
    }
    let incoming = aggregate::resolve(mcp, incoming, params).await;
    let own = incoming.named.as_ref().and(incoming.message.params.clone());
    (incoming, own)
}

/// Compares the headers that a tool wants with its arguments. A hidden tool wants none, as an
/// unknown one.
fn check_mirrors(
    mcp: &Mcp,
    incoming: &Incoming,
    headers: &HeaderMap,
    params: Option<&Node<'_>>,
) -> Result<(), revision::Wrong> {
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
    match definition.map(|d| json::parse(&d.raw)) {
        Some(Ok(definition)) => {
            let arguments = params.and_then(|p| p.get("arguments"));
            revision::check_param_headers(headers, &definition, arguments)
        }
        _ => Ok(()),
    }
}

async fn legacy(mcp: &Mcp, mut incoming: Incoming, params: Option<&Node<'_>>) -> Response {
    match incoming.message.kind {
        MessageKind::Response => {
            if let (Some(session), Some(reply)) = (&incoming.session, incoming.message.reply.take())
            {
                mcp.open.answer(&session.id, incoming.message.id_raw(), reply);
            }
            StatusCode::ACCEPTED.into_response()
        }
        MessageKind::Notification => {
            notified(mcp, &incoming, params);
            StatusCode::ACCEPTED.into_response()
        }
        MessageKind::Request => {
            if let Some(session) = &incoming.session {
                let (id, now) = (incoming.message.id_raw(), mcp.broker.now());
                incoming.flight = Arc::new(mcp.in_flight.enter(&session.id, id, now));
                if incoming.flight.cancelled().is_cancelled() {
                    return nothing();
                }
            }
            let (incoming, own) = resolved(mcp, incoming, params).await;
            let own = own.as_deref().and_then(|p| json::parse(p).ok());
            super::methods::legacy(mcp, incoming, own.as_ref().or(params)).await
        }
    }
}

/// A notification cancels a request of its own session, or passes.
fn notified(mcp: &Mcp, incoming: &Incoming, params: Option<&Node<'_>>) {
    if incoming.message.method == method::NOTIFICATIONS_CANCELLED {
        if let (Some(session), Some(id)) =
            (&incoming.session, params.and_then(|p| p.get("requestId")))
        {
            let max = mcp.broker.config().server.max_early_cancellations;
            mcp.in_flight.cancel(&session.id, id.raw, mcp.broker.now(), max);
        }
        return;
    }
    // A call without an id is a call all the same to a careless server, and nobody judged it.
    if !incoming.message.method.starts_with("notifications/") {
        return;
    }
    for upstream in aggregate::behind(mcp, &incoming.agent, &incoming.upstream) {
        let Some(server) = mcp.broker.upstream(&upstream).cloned() else { continue };
        let incoming = incoming.clone();
        mcp.broker.tracker().spawn(async move {
            let caller = incoming.caller();
            server.notify(&caller, &incoming.message.method, incoming.message.params).await;
        });
    }
}
