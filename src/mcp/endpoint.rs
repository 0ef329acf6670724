//! The HTTP endpoint: which agent asks, at which upstream's address, with which message.
//!
//! The message itself goes to `dispatch`. Everything refused here is refused before the policy is
//! asked.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;

use crate::auth;
use crate::auth::client_address;
use crate::config::Agent;
use crate::protocol::method;

use super::Mcp;
use super::dispatch;
use super::envelope::{Message, MessageKind};
use super::reading::{SMALL, Share, TooMuch, UNDER_WAY};
use super::request::may_use;
use super::respond::{method_not_allowed, problem, refused, too_many, unauthorized};
use super::revision::header;
use super::session::{self, get_stream};

/// Bytes that are still read, and thrown away, of a body that is refused: a client that is cut off
/// while it sends never reads why.
const DRAINED: usize = 16 << 20;
/// How long reading the rest of such a body may take.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);

/// Handles one HTTP request to `/mcp` or `/mcp/{upstream}`: POST, GET or DELETE, and the preflight
/// OPTIONS of browsers.
pub(crate) async fn endpoint(
    State(mcp): State<Mcp>,
    upstream: Result<Option<Path<String>>, PathRejection>,
    request: Request,
) -> Response {
    // A name that is not UTF-8 matches no upstream; without a name all of the agent's are meant.
    let upstream = match upstream {
        Ok(Some(Path(name))) => Some(name),
        Ok(None) => Some(String::new()),
        Err(_) => None,
    };
    answer(&mcp, upstream.as_deref(), request).await
}

/// The upstream to which a message is posted, if the request's path names one plainly: empty where it
/// names none.
pub(crate) fn posted_to(request: &Request) -> Option<String> {
    if request.method() != Method::POST {
        return None;
    }
    let name = match request.uri().path().strip_prefix("/mcp")? {
        "" => "",
        rest => rest.strip_prefix('/')?,
    };
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let plain = name.bytes().all(is_name) && !["sse", "messages"].contains(&name);
    // "/mcp/" is no address.
    (plain && !request.uri().path().ends_with('/')).then(|| name.to_owned())
}

/// Handles one HTTP request to the address of this upstream: of all where it is empty, of none that
/// there is without a name.
pub(crate) async fn answer(mcp: &Mcp, upstream: Option<&str>, request: Request) -> Response {
    let headers = request.headers();
    let origin = headers.get(header::ORIGIN).cloned();
    let wished = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        handle(mcp, upstream, request).await
    };
    if let Some(origin) = origin {
        add_cors(mcp, origin, wished, &mut response);
    }
    response
}

/// Browser clients of configured origins may read the answers. Foreign origins never get here.
pub(crate) fn add_cors(
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
    let agent = match authenticate(mcp, &parts.headers, &parts.extensions) {
        Ok(agent) => agent,
        Err(refused) => return *refused,
    };
    let known = |name: &&str| name.is_empty() || may_use(mcp, &agent, name);
    let Some(upstream) = upstream.filter(known) else {
        return problem(StatusCode::NOT_FOUND, "there is no such upstream");
    };
    match parts.method {
        Method::POST => post(mcp, agent, upstream, &parts.headers, body).await,
        Method::GET => get_stream::get(mcp, agent, upstream, &parts.headers).await,
        Method::DELETE => session::delete(mcp, &agent, upstream, &parts.headers).await,
        _ => method_not_allowed(),
    }
}

/// The agent of the bearer token (<https://www.rfc-editor.org/rfc/rfc6750#section-2.1>), or the
/// agent that is configured without a token.
///
/// # Errors
/// The response that refuses it: 401 where there is neither, 429 for a token that is not looked at
/// since too many wrong ones came from its address.
pub(crate) fn authenticate(
    mcp: &Mcp,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Result<Arc<Agent>, Box<Response>> {
    let config = mcp.broker.config();
    if let Some(anonymous) = config.agents.iter().find(|a| a.token_sha256.is_none()) {
        let known = auth::bearer(headers).and_then(|token| auth::agent_by_token(config, token));
        return Ok(known.unwrap_or(anonymous).clone());
    }
    let Some(token) = auth::bearer(headers) else { return Err(Box::new(unauthorized())) };
    let client = client_address::of_request(headers, extensions, &config.server.trusted_proxies);
    let (guesses, now) = (mcp.broker.guesses(), mcp.broker.now());
    if let Some(wait) = guesses.wait(client, token, now) {
        return Err(Box::new(too_many(wait)));
    }
    let Some(agent) = auth::agent_by_token(config, token) else {
        guesses.wrong(client, now);
        return Err(Box::new(unauthorized()));
    };
    guesses.right(client, token, now);
    Ok(agent.clone())
}

async fn post(
    mcp: &Mcp,
    agent: Arc<Agent>,
    upstream: &str,
    headers: &HeaderMap,
    body: Body,
) -> Response {
    match read(mcp, &agent, headers, body).await {
        Ok((message, room)) => {
            Box::pin(dispatch::answer(mcp, agent, upstream, headers, message, room)).await
        }
        Err(response) => response,
    }
}

/// Reads a message of either era. Its share of what may be under way comes with it.
///
/// # Errors
/// The response that refuses it: 415 for another content type than JSON, 413 for a body larger than
/// `server.max_body` bytes, 400 for one that breaks off, is no JSON-RPC message or has more values
/// than `server.max_message_nodes`; 429 and 503 where too much is being read, or under way, already.
pub(crate) async fn read(
    mcp: &Mcp,
    agent: &Agent,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Message, Share), Response> {
    let content_type = header(headers, "content-type").unwrap_or_default();
    let media = content_type.split(';').next().unwrap_or_default().trim();
    if !media.eq_ignore_ascii_case("application/json") {
        return Err(problem(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Type must be application/json",
        ));
    }
    let server = &mcp.broker.config().server;
    let size = body.size_hint();
    if size.lower() > server.max_body as u64 {
        return Err(too_large(body, server.max_body).await);
    }
    // One that does not say how large it is may be as large as any.
    let most = size.upper().and_then(|n| usize::try_from(n).ok()).unwrap_or(server.max_body);
    // What is left of the time is for an answer that its client reads.
    let within = server.body_timeout / 4 * 3;
    let share = mcp.reading.share(&agent.name, most, within).await;
    let mut share = match share {
        Ok(share) => share,
        Err(of) => {
            thrown_away(body, server.body_timeout / 8).await;
            return Err(too_much(of, "being read", "server.max_reading"));
        }
    };
    let body = read_body(body, server.max_body, most).await?;
    share.shrink(body.len());
    let nodes = server.max_message_nodes as usize;
    let message = Message::read_within(&body, nodes);
    let message = message.map_err(|why| refused(StatusCode::BAD_REQUEST, &why))?;
    drop(body);
    let room = if passes_at_once(&message) {
        Share::default()
    } else {
        // Meanwhile it counts as being read, so that what waits is bounded too.
        let bytes = UNDER_WAY + message.params.as_deref().map_or(0, str::len);
        let room = mcp.under_way.share(&agent.name, bytes, within).await;
        room.map_err(|of| too_much(of, "under way", "server.max_under_way"))?
    };
    Ok((message, room))
}

/// Whether nothing of the message stays when it was read: an answer, or what ends a request.
fn passes_at_once(message: &Message) -> bool {
    message.kind == MessageKind::Response || message.method == method::NOTIFICATIONS_CANCELLED
}

/// There was no room for a message for most of the time that a body may take.
fn too_much(of: TooMuch, doing: &str, key: &str) -> Response {
    let (status, why) = match of {
        TooMuch::Agent => (
            StatusCode::TOO_MANY_REQUESTS,
            format!("this token's other messages are still {doing} ({key}_per_agent): try again"),
        ),
        TooMuch::All => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("too many large messages are {doing} ({key}): try again"),
        ),
    };
    let mut response = problem(status, &why);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

async fn read_body(mut body: Body, max: usize, expected: usize) -> Result<Vec<u8>, Response> {
    let mut read = Vec::with_capacity(expected.min(SMALL));
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(problem(StatusCode::BAD_REQUEST, "the body could not be read"));
        };
        let Some(data) = frame.data_ref() else { continue };
        if read.len() + data.len() > max {
            return Err(too_large(body, max).await);
        }
        if read.capacity() < read.len() + data.len() {
            // At once what was announced, once more came than most messages have.
            read.reserve_exact(expected.saturating_sub(read.len()).max(data.len()));
        }
        read.extend_from_slice(data);
    }
    Ok(read)
}

async fn too_large(body: Body, max: usize) -> Response {
    thrown_away(body, DRAIN_WITHIN).await;
    problem(
        StatusCode::PAYLOAD_TOO_LARGE,
        &format!("the body is larger than {max} bytes (server.max_body)"),
    )
}

async fn thrown_away(body: Body, within: Duration) {
    // The answer is the same whether or not the rest came.
    let _ = tokio::time::timeout(within.min(DRAIN_WITHIN), drain(body)).await;
}

async fn drain(mut body: Body) {
    let mut left = DRAINED;
    while let Some(Ok(frame)) = body.frame().await {
        let size = frame.data_ref().map_or(0, bytes::Bytes::len);
        let Some(rest) = left.checked_sub(size) else { return };
        left = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_message_posted_to_a_plain_address_takes_the_short_way() {
        let to = |method: Method, path: &str| {
            posted_to(&Request::builder().method(method).uri(path).body(Body::empty()).unwrap())
        };

        assert_eq!(to(Method::POST, "/mcp").as_deref(), Some(""));
        assert_eq!(to(Method::POST, "/mcp/images?a=b").as_deref(), Some("images"));
        assert_eq!(to(Method::POST, "http://h/mcp/images").as_deref(), Some("images"));
        for path in [
            "/",
            "/mcp/",
            "/mcps",
            "/mcp/sse",
            "/mcp/messages",
            "/mcp/images/",
            "/mcp/images/sse",
            "/mcp//images",
            "/mcp/im%61ges",
            "/mcp/im%2Fages",
            "/MCP/images",
        ] {
            assert_eq!(to(Method::POST, path), None, "{path}");
        }
        assert_eq!(to(Method::GET, "/mcp/images"), None);
    }
}
