//! Sends one HTTP request, and says of a failure whether the server may have read it.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Body, Client, Response, StatusCode};

use super::super::UpstreamError;
use super::super::message;
use super::target::{Target, post_headers};
use crate::domain::error_text::in_full;

/// How long a notification, or an answer to a server's request, may take to be sent.
pub(super) const ASIDE_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether it is an HTTP status with which a server refuses before it runs anything.
pub(super) fn is_refusal(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 403 | 405 | 410 | 413 | 415 | 429)
}

/// An error of the HTTP client in words, without the address (it may hold a secret).
pub(super) fn describe(error: reqwest::Error) -> String {
    message::printable(&in_full(&error.without_url()))
}

/// Posts `body` (JSON) and gives back the response, its body not yet read.
///
/// # Errors
/// As [`send`].
pub(super) async fn post(
    target: &Target,
    client: &Client,
    headers: HeaderMap,
    body: String,
) -> Result<Response, UpstreamError> {
    // Wrapped, so that the client keeps no copy to send again: it is let go once it is written.
    let body = Body::wrap(Full::new(Bytes::from(body)));
    send(client.post(target.url.clone()).headers(post_headers(target, headers)).body(body)).await
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
    let first = post(target, target.usual(), headers.clone(), body.clone()).await;
    let Err(UpstreamError::Lost(why)) = first else { return first };
    if target.keeps_none() {
        return Err(UpstreamError::Lost(why));
    }
    tracing::debug!("posted again, on a new connection: {why}");
    let response = post(target, &target.single, headers, body).await?;
    target.keep_none();
    Ok(response)
}

/// Sends a request.
///
/// # Errors
/// [`UpstreamError::NotSent`] where it failed before its first byte, else [`UpstreamError::Lost`].
pub(super) async fn send(request: reqwest::RequestBuilder) -> Result<Response, UpstreamError> {
    request.send().await.map_err(|error| {
        let unsent = error.is_connect() || error.is_builder();
        let why = describe(error);
        if unsent { UpstreamError::NotSent(why) } else { UpstreamError::Lost(why) }
    })
}

/// Whether the body is a stream of events.
pub(super) fn is_event_stream(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    kind.is_some_and(|kind| {
        let essence = kind.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("text/event-stream")
    })
}
