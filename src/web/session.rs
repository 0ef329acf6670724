//! The cookie of a signed-in session: 256 random bits.

use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Redirect, Response};

use crate::broker::Broker;
use crate::broker::people::sessions::SignedIn;
use crate::store::StoreError;

use super::cookies;

/// The name of the session's cookie.
pub const SESSION_COOKIE: &str = "placet_session";

/// The session of a request, if it has one that counts.
///
/// # Errors
/// [`StoreError`]: the store could not be read.
pub async fn find(broker: &Broker, headers: &HeaderMap) -> Result<Option<SignedIn>, StoreError> {
    match cookies::cookie(headers, SESSION_COOKIE) {
        Some(cookie) => broker.signed_in(cookie).await,
        None => Ok(None),
    }
}

/// What a browser calls itself, its `User-Agent`.
pub fn browser(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok())
}

/// Redirects somebody who has just signed in to `next`, and sets the session's cookie.
pub fn signed_in(broker: &Broker, next: &str, cookie: &str) -> Response {
    let mut response = Redirect::to(next).into_response();
    cookies::add_cookie(&mut response, &cookies::set_cookie(broker, SESSION_COOKIE, cookie));
    response
}
