//! The HTTP answers that are no stream: JSON, nothing, problems, refusals.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use crate::domain::json;
use crate::protocol::{code, jsonrpc};
use crate::upstream::WireEra;

use super::Mcp;
use super::envelope::Refused;
use super::request::ClientRequest;

/// There is no such method here, as in the other era or in an older revision; the modern era answers
/// that with HTTP 404. It is refused like any other, so that it is recorded like any other.
pub(crate) async fn no_method(mcp: &Mcp, incoming: &ClientRequest) -> Response {
    let (agent, name) = (&incoming.agent.name, &incoming.message.method);
    mcp.broker.deny_method(agent, &incoming.upstream, name).await;
    let status = match incoming.era {
        WireEra::Modern => StatusCode::NOT_FOUND,
        WireEra::Legacy => StatusCode::OK,
    };
    let id = incoming.message.id_raw();
    let text = format!("there is no method {:?} here", incoming.message.method);
    json_response(status, jsonrpc::error(id, code::METHOD_NOT_FOUND, &text, None))
}

pub(crate) fn plain(incoming: &ClientRequest, result: &str) -> Response {
    json_response(StatusCode::OK, jsonrpc::result(incoming.message.id_raw(), result))
}

/// 401 with the challenge of bearer tokens (<https://www.rfc-editor.org/rfc/rfc6750#section-3>).
pub(crate) fn unauthorized() -> Response {
    let mut response = problem(
        StatusCode::UNAUTHORIZED,
        "a valid agent token is needed (Authorization: Bearer …)",
    );
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"placet\""));
    response
}

/// 429 for a token that is not looked at; `wait_ms` is rounded up to the seconds of `Retry-After`
/// (<https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3>).
pub(crate) fn too_many(wait_ms: u64) -> Response {
    let mut response = problem(
        StatusCode::TOO_MANY_REQUESTS,
        "too many wrong tokens came from your address (server.wrong_tokens); try again later",
    );
    response.headers_mut().insert(header::RETRY_AFTER, wait_ms.div_ceil(1000).into());
    response
}

/// An error outside JSON-RPC, with the members of a problem document
/// (<https://www.rfc-editor.org/rfc/rfc9457#section-3.1>).
pub(crate) fn problem(status: StatusCode, detail: &str) -> Response {
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

/// 405 names the methods that are allowed
/// (<https://www.rfc-editor.org/rfc/rfc9110#section-15.5.6>).
pub(crate) fn method_not_allowed() -> Response {
    let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "this endpoint takes POST");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, POST, DELETE"));
    response
}

pub(crate) fn refused(status: StatusCode, refused: &Refused) -> Response {
    let id = refused.id.as_deref().unwrap_or("null");
    json_response(status, jsonrpc::error(id, refused.code, &refused.message, None))
}

/// The response whose body is this stream.
pub(crate) fn event_stream(body: Body) -> Response {
    Response::builder()
        .status(StatusCode::OK)
        .header(header::CONTENT_TYPE, "text/event-stream")
        .header(header::CACHE_CONTROL, "no-cache")
        .header("x-accel-buffering", "no")
        .body(body)
        .expect("constant headers are valid")
}

/// The HTTP answer to a request that was cancelled: 202 without a message, since none is due
/// (<https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/cancellation#cancellation-flow>).
pub(crate) fn nothing() -> Response {
    StatusCode::ACCEPTED.into_response()
}

/// The response whose body is this JSON document.
pub(crate) fn json_response(status: StatusCode, body: String) -> Response {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CACHE_CONTROL, "no-store")
        .body(Body::from(body))
        .expect("constant headers are valid")
}
