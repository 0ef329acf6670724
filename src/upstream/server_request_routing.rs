//! A request of the server on its way to the client and back: to the request it came with, else
//! to whoever listens on the client's own stream, else it is declined.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::hub::{Hub, OpenRequest};
use super::{ServerMessage, ServerRequest, message};
use crate::notified::until;

/// Puts a server request to the client and waits, at most the upstream's timeout; gives the message for
/// the server. While it waits the request it came with is not silent: its clock stands still.
pub(super) async fn answered(hub: &Arc<Hub>, question: OpenRequest) -> String {
    let OpenRequest { id, asked, mut answered, own } = question;
    let method = asked.method.clone();
    let declined = || message::answer_to(&id, &method);
    let Some(heard) = put(hub, asked, own).await else { return declined() };
    let timeout = hub.common.timeout;
    let deadline = Instant::now() + timeout;
    let mut alive = tokio::time::interval((timeout / 4).max(Duration::from_millis(10)));
    loop {
        tokio::select! {
            reply = &mut answered => {
                heard.inspect(|h| h.notify_one());
                return reply.map_or_else(|_| declined(), |r| message::answer_with(&id, &r));
            }
            _ = alive.tick() => if let Some(heard) = &heard {
                heard.notify_one();
            },
            () = tokio::time::sleep_until(deadline) => return declined(),
            () = hub.common.stop.cancelled() => return declined(),
        }
    }
}

/// Gives the server request to a client; what fires at every message about the request it came with, if
/// there is one. None where nobody takes it.
async fn put(
    hub: &Arc<Hub>,
    asked: ServerRequest,
    own: Option<u64>,
) -> Option<Option<Arc<Notify>>> {
    let server_requests = &hub.listeners.server_requests;
    let mut asked = Some(asked);
    let taken = until(&server_requests.came, || {
        if let Some((to, heard)) = hub.owner(own) {
            let taken = to.try_send(ServerMessage::Request(Box::new(asked.take()?))).is_ok();
            return Some(taken.then_some(Some(heard)));
        }
        if own.is_some() {
            return Some(None);
        }
        // On a connection that several agents share nobody knows whose server request it is.
        if !hub.common.shared {
            asked = server_requests.hand(asked.take()?);
        }
        asked.is_none().then_some(Some(None))
    });
    tokio::select! {
        taken = taken => taken,
        () = tokio::time::sleep(hub.common.server_requests.wait) => None,
        () = hub.common.stop.cancelled() => None,
    }
}
