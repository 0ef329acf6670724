//! Clients' connections: who may have one, how long it may be silent, and what the kernel is told
//! of it, so that a client that vanished without a
//! word, its cable pulled or its machine dead, is noticed within two heartbeats.
//!
//! A stream is written to once per heartbeat, and what was written must be acknowledged before the
//! next. A held request without a stream writes nothing, so there the kernel asks by itself.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

pub(crate) mod connections;
pub(crate) mod descriptors;
mod event_stream;
pub(crate) mod serve;

/// Shortest time for an acknowledgement: a network that is slower is of no use.
const SHORTEST: Duration = Duration::from_secs(1);

/// How long sent bytes may stay unacknowledged. It is a little less than a heartbeat, since the
/// last one that arrived may be as old as that already.
///
/// <https://www.rfc-editor.org/rfc/rfc5482>
fn unacknowledged(heartbeat: Duration) -> Duration {
    (heartbeat * 19 / 20).max(SHORTEST)
}

/// When the kernel probes a silent connection: after half a heartbeat, then each quarter until
/// [`unacknowledged`] has passed. The kernel counts in whole seconds.
///
/// <https://www.rfc-editor.org/rfc/rfc9293#section-3.8.4>
fn probes(heartbeat: Duration) -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time((heartbeat / 2).max(SHORTEST))
        .with_interval((heartbeat / 4).max(SHORTEST))
}

/// Sets both times on a connection, and has small messages sent at once. An option that the system
/// refuses is left out.
pub(crate) fn watch(socket: &SockRef<'_>, heartbeat: Duration) {
    if let Err(error) = socket.set_tcp_user_timeout(Some(unacknowledged(heartbeat))) {
        tracing::debug!(%error, "no TCP_USER_TIMEOUT on this connection");
    }
    if let Err(error) = socket.set_tcp_keepalive(&probes(heartbeat)) {
        tracing::debug!(%error, "no keepalive on this connection");
    }
    let _ = socket.set_tcp_nodelay(true);
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_lost_connection_is_given_up_within_two_heartbeats() {
        for seconds in [1, 2, 10, 30] {
            let heartbeat = Duration::from_secs(seconds);
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (served, _) = listener.accept().unwrap();
            let socket = SockRef::from(&served);

            watch(&socket, heartbeat);

            // Written to at the latest one heartbeat after the loss.
            let written = heartbeat + socket.tcp_user_timeout().unwrap().unwrap();
            // Never written to: asked until the time is over, and looked at with the next question.
            let mut asked = socket.tcp_keepalive_time().unwrap();
            let answered = socket.tcp_user_timeout().unwrap().unwrap();
            while asked < answered || asked == socket.tcp_keepalive_time().unwrap() {
                asked += socket.tcp_keepalive_interval().unwrap();
            }
            assert!(written <= heartbeat * 2, "{seconds} s: {written:?}");
            assert!(asked <= heartbeat * 2, "{seconds} s: {asked:?}");
            assert!(socket.keepalive().unwrap());
        }
    }
}
