//! Legacy sessions: how they begin, whose they are, and how they end.
//!
//! <https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#session-management>

use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

use crate::config::Agent;
use crate::domain::json::Node;
use crate::protocol::{code, header_name, jsonrpc, version};
use crate::store::ClientSession;
use crate::upstream::{Caller, ClientCapabilities};

use super::envelope::MessageKind;
use super::request::{self, ClientRequest};
use super::respond::{json_response, method_not_allowed, problem};
use super::revision::{self, header};
use super::{MAX_SESSIONS_PER_AGENT, Mcp, discover};

pub(crate) mod cancellation;
pub(crate) mod get_stream;
pub(crate) mod http_sse;
pub(crate) mod resumability;
pub(crate) mod server_requests;
pub(crate) mod subscriptions;

/// The session of a legacy request. Another agent's session does not exist for this one.
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#session-management>,
/// <https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#protocol-version-header>
///
/// # Errors
/// The response that refuses the request: 400 without `Mcp-Session-Id` or with a version that is
/// not spoken here, 404 where there is no such session, 503 where the store fails.
pub(crate) async fn find(
    mcp: &Mcp,
    agent: &Agent,
    upstream: &str,
    headers: &HeaderMap,
) -> Result<ClientSession, Response> {
    let Some(id) = header(headers, header_name::SESSION_ID) else {
        return Err(problem(
            StatusCode::BAD_REQUEST,
            "header Mcp-Session-Id is missing: begin with initialize",
        ));
    };
    match mcp.broker.client_session(id, &agent.name, upstream).await {
        Ok(Some(session)) => {
            mcp.subscriptions.seen(id, mcp.broker.now());
            if let Some(version) = header(headers, header_name::PROTOCOL_VERSION)
                && !version::SERVED_LEGACY.contains(&version)
                && version != version::V2025_03_26
            {
                return Err(problem(
                    StatusCode::BAD_REQUEST,
                    "header MCP-Protocol-Version names a version that is not spoken here",
                ));
            }
            Ok(session)
        }
        Ok(None) => {
            Err(problem(StatusCode::NOT_FOUND, "there is no such session: begin with initialize"))
        }
        Err(error) => {
            tracing::error!(%error, "a session could not be looked up");
            Err(problem(StatusCode::SERVICE_UNAVAILABLE, "the store is unavailable, try again"))
        }
    }
}

/// What servers may ask of a session's client, by the capabilities it declared at `initialize`.
pub(crate) fn features(mcp: &Mcp, agent: &Agent, session: &ClientSession) -> ClientCapabilities {
    mcp.broker.features(agent, &session.capabilities, true)
}

/// The caller that a session is to its upstreams.
pub(crate) fn caller(mcp: &Mcp, agent: &Agent, session: &ClientSession) -> Caller {
    Caller {
        agent: agent.name.clone(),
        session: Some(session.id.clone()),
        features: features(mcp, agent, session),
    }
}

/// Opens a session; the answer says what the server offers
/// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/lifecycle#initialization>).
pub(crate) async fn initialize(
    mcp: &Mcp,
    incoming: &ClientRequest,
    params: Option<&Node<'_>>,
) -> Response {
    let id = incoming.message.id_raw();
    if incoming.message.kind != MessageKind::Request {
        return StatusCode::ACCEPTED.into_response();
    }
    let asked = params.and_then(|p| p.get("protocolVersion")).and_then(Node::as_str);
    let Some(asked) = asked else {
        let text = "params.protocolVersion must be a string";
        return json_response(StatusCode::OK, jsonrpc::error(id, code::INVALID_PARAMS, text, None));
    };
    let version = revision::negotiate(asked);
    let broker = &mcp.broker;
    let session = ClientSession {
        id: broker.ids().token(),
        agent: incoming.agent.name.clone(),
        upstream: incoming.upstream.clone(),
        version: version.to_owned(),
        client: incoming.client.clone(),
        capabilities: params
            .and_then(|p| p.get("capabilities"))
            .map_or_else(|| "{}".to_owned(), |c| c.raw.to_owned()),
        created_at: broker.now(),
    };
    match broker.open_client_session(&session).await {
        Ok(true) => {}
        Ok(false) => {
            return problem(
                StatusCode::TOO_MANY_REQUESTS,
                &format!(
                    "this token has {MAX_SESSIONS_PER_AGENT} open sessions: end one with DELETE"
                ),
            );
        }
        Err(error) => {
            tracing::error!(%error, "a session could not be stored");
            return problem(StatusCode::SERVICE_UNAVAILABLE, "the store is unavailable, try again");
        }
    }
    let caller = caller(mcp, &incoming.agent, &session);
    let result = discover::initialize_result(mcp, incoming, &caller, version).await;
    let mut response = json_response(StatusCode::OK, jsonrpc::result(id, &result));
    if let Ok(value) = HeaderValue::from_str(&session.id) {
        response.headers_mut().insert(header_name::SESSION_ID, value);
    }
    response
}

/// Ends a session at the client's wish, by DELETE
/// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#session-management>).
pub(crate) async fn delete(
    mcp: &Mcp,
    agent: &Agent,
    upstream: &str,
    headers: &HeaderMap,
) -> Response {
    if header(headers, header_name::SESSION_ID).is_none() {
        return method_not_allowed();
    }
    let session = match find(mcp, agent, upstream, headers).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    if let Err(error) = mcp.broker.end_client_session(&session.id).await {
        tracing::error!(%error, "a session could not be ended");
        return problem(StatusCode::SERVICE_UNAVAILABLE, "the store is unavailable, try again");
    }
    mcp.streams.forget(&session.id);
    mcp.subscriptions.end(&session.id);
    let caller = caller(mcp, agent, &session);
    for server in
        request::behind(mcp, agent, upstream).iter().filter_map(|u| mcp.broker.upstream(u))
    {
        server.close_session(&caller).await;
    }
    StatusCode::NO_CONTENT.into_response()
}
