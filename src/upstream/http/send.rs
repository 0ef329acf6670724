//! Sends one HTTP request, and says of a failure whether the server may have read it.

use std::time::Duration;

use hyper::body::Bytes;
use hyper::client::conn::TrySendError;
use hyper::{Method, Request, StatusCode};
use reqwest::header::HeaderMap;

use super::super::UpstreamError;
use super::super::message;
use super::address::Address;
use super::io::Body;
use super::pool::Over;
use super::response::Response;
use super::target::Target;
use crate::domain::error_text::in_full;

/// How long a notification, or an answer to a server's request, may take to be sent.
pub(super) const ASIDE_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether it is an HTTP status with which a server refuses before it runs anything.
pub(super) fn is_refusal(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 403 | 405 | 410 | 413 | 415 | 429)
}

/// A request in origin form. The headers are all that it has.
pub(super) fn request(
    method: Method,
    address: &Address,
    headers: HeaderMap,
    body: Body,
) -> Request<Body> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = address.path.clone();
    *request.headers_mut() = headers;
    request
}

/// What a failure to send means: not sent, where not a byte of the request was.
pub(super) fn failed(error: &TrySendError<Request<Body>>) -> UpstreamError {
    let why = message::printable(&in_full(error.error()));
    if error.message().is_some() { UpstreamError::NotSent(why) } else { UpstreamError::Lost(why) }
}

/// Posts `body` (JSON) with these headers, which are all that it has, and gives back the response,
/// its body not yet read.
///
/// # Errors
/// As [`send`].
pub(super) async fn post(
    target: &Target,
    over: Over,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, UpstreamError> {
    let address = target.address()?;
    send(target, address, over, request(Method::POST, address, headers, Body::of(body))).await
}

/// Posts what runs nothing, a message of the handshake or a request for a list. Where a kept
/// connection turns out to be dead it is posted once more, on a new one; for a while none is kept then.
///
/// # Errors
/// As [`send`].
pub(super) async fn post_harmless(
    target: &Target,
    headers: HeaderMap,
    body: String,
) -> Result<Response, UpstreamError> {
    let body = Bytes::from(body);
    let first = post(target, target.usual(), headers.clone(), body.clone()).await;
    let Err(UpstreamError::Lost(why)) = first else { return first };
    if target.keeps_none() {
        return Err(UpstreamError::Lost(why));
    }
    tracing::debug!("posted again, on a new connection: {why}");
    let response = post(target, Over::New, headers, body).await?;
    target.keep_none();
    Ok(response)
}

/// Sends a request and gives back the response, its body not yet read.
///
/// # Errors
/// [`UpstreamError::NotSent`] where it failed before its first byte, else [`UpstreamError::Lost`].
pub(super) async fn send(
    target: &Target,
    address: &Address,
    over: Over,
    mut request: Request<Body>,
) -> Result<Response, UpstreamError> {
    let pool = (over == Over::Kept).then_some(&target.pool);
    while let Some(mut conn) = pool.and_then(|pool| pool.take()) {
        match conn.send(request).await {
            Ok(response) => return Ok(Response::new(response, conn, pool)),
            Err(mut error) => match error.take_message() {
                // It ended in this very moment.
                Some(unsent) => request = unsent,
                None => return Err(failed(&error)),
            },
        }
    }
    let dialed = target.dialer.dial(address).await;
    let mut conn = dialed.map_err(|why| UpstreamError::NotSent(message::printable(&why)))?;
    match conn.send(request).await {
        Ok(response) => Ok(Response::new(response, conn, pool)),
        Err(error) => Err(failed(&error)),
    }
}
