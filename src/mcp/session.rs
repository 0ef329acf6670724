//! Legacy sessions: how they begin, whose they are, and how they end.
//!
//! <https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#session-management>

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

use crate::broker::client_sessions::SessionInUse;
use crate::config::Agent;
use crate::domain::json::Node;
use crate::protocol::{code, header_name, jsonrpc, version};
use crate::store::{ClientSession, StoreError};
use crate::upstream::{Caller, ClientCapabilities};

use super::envelope::MessageKind;
use super::request::{self, ClientRequest};
use super::respond::{json_response, method_not_allowed, problem};
use super::revision::{self, header};
use super::{Mcp, discover};

pub(crate) mod cancellation;
pub(crate) mod get_stream;
pub(crate) mod http_sse;
pub(crate) mod resumability;
pub(crate) mod server_requests;
pub(crate) mod subscriptions;

/// The session of a legacy request, which is in use until what comes with it is dropped. Another
/// agent's session does not exist for this one.
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
) -> Result<(Arc<ClientSession>, SessionInUse), Response> {
    let Some(id) = header(headers, header_name::SESSION_ID) else {
        return Err(problem(
            StatusCode::BAD_REQUEST,
            "header Mcp-Session-Id is missing: begin with initialize",
        ));
    };
    match mcp.broker.client_session(id, &agent.name, upstream).await {
        Ok(Some(found)) => {
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
            Ok(found)
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
        Ok(Some(displaced)) => {
            let (mcp, agent) = (mcp.clone(), incoming.agent.clone());
            // Connections may take their time to close; the client that comes need not wait.
            mcp.broker.tracker().clone().spawn(async move {
                for session in displaced {
                    over(&mcp, &agent, &session).await;
                }
            });
        }
        Ok(None) => {
            let max = broker.config().server.max_sessions_per_agent;
            let why = format!(
                "this token has {max} open sessions (server.max_sessions_per_agent), and a request \
                 or stream is open in each: end one with DELETE"
            );
            return problem(StatusCode::TOO_MANY_REQUESTS, &why);
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
    let (session, _in_use) = match find(mcp, agent, upstream, headers).await {
        Ok(found) => found,
        Err(response) => return response,
    };
    if let Err(error) = mcp.broker.end_client_session(&session.id).await {
        tracing::error!(%error, "a session could not be ended");
        return problem(StatusCode::SERVICE_UNAVAILABLE, "the store is unavailable, try again");
    }
    over(mcp, agent, &session).await;
    StatusCode::NO_CONTENT.into_response()
}

/// Lets go of what is kept here for sessions that ended elsewhere: displaced or deleted through
/// another broker, or removed because they were not used for long.
///
/// # Errors
/// [`StoreError`], when the store can't be read.
pub(crate) async fn forget_ended(mcp: &Mcp) -> Result<(), StoreError> {
    let kept = mcp.subscriptions.sessions().into_iter().chain(mcp.streams.sessions_kept());
    let known: BTreeSet<String> = kept.chain(mcp.in_flight.sessions()).collect();
    let known: Vec<String> = known.into_iter().collect();
    let living: HashSet<String> =
        mcp.broker.living_client_sessions(&known).await?.into_iter().collect();
    for id in known.iter().filter(|id| !living.contains(id.as_str())) {
        mcp.in_flight.end(id);
        mcp.streams.forget(id);
        mcp.subscriptions.end(id);
    }
    Ok(())
}

/// Lets go of what is kept for a session that has ended, here and at its upstreams. What is under way
/// in it is cancelled there: its answer could reach nobody. What people approved runs on.
async fn over(mcp: &Mcp, agent: &Agent, session: &ClientSession) {
    mcp.in_flight.end(&session.id);
    mcp.streams.forget(&session.id);
    mcp.subscriptions.end(&session.id);
    let caller = caller(mcp, agent, session);
    let behind = request::behind(mcp, agent, &session.upstream);
    for server in behind.iter().filter_map(|u| mcp.broker.upstream(u)) {
        server.close_session(&caller).await;
    }
}
