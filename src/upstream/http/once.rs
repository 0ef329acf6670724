//! Posts an approved call: over a connection of its own, since a kept one may be half dead and then
//! nobody knows whether the call arrived; and through its gate, which is passed when the connection
//! stands. From then on every write to the socket asks the leave it gave, directly before the system
//! is called, until the whole request was written. A request of which a write was refused is not
//! whole at the server, which so can't have run it.

use std::sync::Arc;

use hyper::body::Bytes;
use reqwest::header::HeaderMap;

use super::super::gate::TOO_LATE;
use super::super::{Gate, UpstreamError, message};
use super::address::Address;
use super::dial::Dialer;
use super::io::Body;
use super::response::Response;
use super::send::{failed, request};

/// Posts `body` (JSON) through the gate and gives back the response, its body not yet read.
///
/// # Errors
/// [`UpstreamError::NotSent`] where the server can't have read the whole of it, else
/// [`UpstreamError::Lost`].
pub(super) async fn post(
    dialer: &Dialer,
    address: &Address,
    headers: HeaderMap,
    body: Bytes,
    gate: Option<&Arc<dyn Gate>>,
) -> Result<Response, UpstreamError> {
    let not_sent = |why: String| UpstreamError::NotSent(message::printable(&why));
    let mut conn = dialer.dial(address).await.map_err(not_sent)?;
    let guard = Arc::clone(conn.guard());
    if let Some(gate) = gate {
        guard.allow(gate.pass().await.map_err(not_sent)?);
    }
    let body = Body::of(body).guarded(&guard);
    match conn.send(request(hyper::Method::POST, address, headers, body)).await {
        Ok(response) => Ok(Response::new(response, conn, None)),
        Err(_) if guard.is_refused() => Err(not_sent(TOO_LATE.to_owned())),
        Err(error) => Err(failed(&error)),
    }
}
