//! The idle connections to one server. The one used last is taken first, so that those nobody
//! needs grow old.

use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use hyper::body::Incoming;
use tokio::time::Instant;

use super::conn::{Conn, Fit};

/// How long an idle connection is kept: shorter than servers keep theirs.
pub(super) const IDLE_CONNECTION: Duration = Duration::from_secs(4);
/// Idle connections kept per upstream.
const MAX_IDLE: usize = 128;
/// Most of them whose last answer has not come to its end that are looked at for one request.
const MAX_UNFINISHED: usize = 4;

/// Over which connection a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// One that was kept, if there is any that is still good; it is kept again.
    Kept,
    /// A new one, which is not kept.
    New,
}

/// Idle connections, at most [`MAX_IDLE`], each at most [`IDLE_CONNECTION`].
#[derive(Default)]
pub(super) struct Pool {
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// The one used last at the end. Emptied by age.
    conns: Vec<(Instant, Box<Conn>)>,
    /// Somebody looks at their ages.
    watched: bool,
}

impl Pool {
    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().expect("no holder of this lock panics")
    }

    /// A connection that is still good; none where a new one is needed.
    pub(super) fn take(&self) -> Option<Box<Conn>> {
        self.take_at(Instant::now())
    }

    fn take_at(&self, now: Instant) -> Option<Box<Conn>> {
        let mut unfinished = Vec::new();
        let taken = loop {
            // The lock is not held while the system is asked.
            let Some((since, mut conn)) = self.idle().conns.pop() else { break None };
            if now.saturating_duration_since(since) >= IDLE_CONNECTION {
                // So are all before it.
                self.close();
                break None;
            }
            match conn.fit() {
                Fit::Good => break Some(conn),
                Fit::Gone => {}
                Fit::NotYet => {
                    unfinished.push((since, conn));
                    if unfinished.len() >= MAX_UNFINISHED {
                        break None;
                    }
                }
            }
        };
        if !unfinished.is_empty() {
            let mut idle = self.idle();
            idle.conns.extend(unfinished.into_iter().rev());
            let too_many = idle.conns.len().saturating_sub(MAX_IDLE);
            let closed: Vec<_> = idle.conns.drain(..too_many).collect();
            drop(idle);
            drop(closed);
        }
        taken
    }

    /// Keeps a connection; `tail` is the end of its answer, where that was not read.
    pub(super) fn put(self: &Arc<Self>, conn: Box<Conn>, tail: Option<Incoming>) {
        if self.put_at(conn, tail, Instant::now()) {
            tokio::spawn(watch(Arc::downgrade(self)));
        }
    }

    /// Whether somebody must be told to look at their ages.
    fn put_at(&self, mut conn: Box<Conn>, tail: Option<Incoming>, now: Instant) -> bool {
        conn.rest(tail);
        let mut idle = self.idle();
        let displaced = (idle.conns.len() >= MAX_IDLE).then(|| idle.conns.remove(0));
        idle.conns.push((now, conn));
        let was_watched = std::mem::replace(&mut idle.watched, true);
        drop(idle);
        // It is closed without the lock.
        drop(displaced);
        !was_watched
    }

    /// Closes all of them.
    pub(super) fn close(&self) {
        let closed = std::mem::take(&mut self.idle().conns);
        drop(closed);
    }

    /// Closes those that are too old; says when the next will be.
    fn close_old(&self, now: Instant) -> Option<Instant> {
        let mut idle = self.idle();
        let is_old = |since: Instant| now.saturating_duration_since(since) >= IDLE_CONNECTION;
        let count = idle.conns.iter().take_while(|(since, _)| is_old(*since)).count();
        let closed: Vec<_> = idle.conns.drain(..count).collect();
        let next = idle.conns.first().map(|(since, _)| *since + IDLE_CONNECTION);
        idle.watched = next.is_some();
        drop(idle);
        drop(closed);
        next
    }
}

/// Closes what grows old, until none is left.
async fn watch(pool: Weak<Pool>) {
    let mut next = Instant::now() + IDLE_CONNECTION;
    loop {
        tokio::time::sleep_until(next).await;
        match pool.upgrade().and_then(|pool| pool.close_old(Instant::now())) {
            Some(at) => next = at,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use url::Url;

    use super::super::address::Address;
    use super::super::dial::Dialer;
    use super::*;

    /// So many connections, and the peer's ends of them.
    async fn dialed(count: usize) -> Vec<(Box<Conn>, TcpStream)> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let address = Address::of(&Url::parse(&url).unwrap()).unwrap();
        let dialer = Dialer::new(Duration::from_secs(5));
        let mut both = Vec::new();
        for _ in 0..count {
            let conn = dialer.dial(&address).await.unwrap();
            both.push((conn, listener.accept().unwrap().0));
        }
        both
    }

    fn is_closed(mut peer: &TcpStream) -> bool {
        peer.set_nonblocking(true).unwrap();
        peer.read(&mut [0]).is_ok_and(|read| read == 0)
    }

    #[tokio::test]
    async fn few_idle_connections_are_kept_and_the_one_used_first_makes_room() {
        let (pool, now) = (Pool::default(), Instant::now());
        let mut peers = Vec::new();
        for (conn, peer) in dialed(MAX_IDLE + 3).await {
            pool.put_at(conn, None, now);
            peers.push(peer);
        }

        assert_eq!(pool.idle().conns.len(), MAX_IDLE);
        assert!(peers.iter().take(3).all(is_closed));
        assert!(!peers.iter().skip(3).any(is_closed));
    }

    #[tokio::test]
    async fn an_idle_connection_is_kept_for_four_seconds() {
        let (pool, now) = (Pool::default(), Instant::now());
        let (young, old) = (now + Duration::from_secs(3), now + IDLE_CONNECTION);
        let mut peers = Vec::new();
        for (conn, peer) in dialed(3).await {
            pool.put_at(conn, None, now);
            peers.push(peer);
        }

        let used = pool.take_at(young).expect("the one used last");
        pool.put_at(used, None, young);
        assert_eq!(pool.close_old(old), Some(young + IDLE_CONNECTION));
        assert!(is_closed(&peers[0]) && is_closed(&peers[1]) && !is_closed(&peers[2]));
        assert!(pool.take_at(young + IDLE_CONNECTION).is_none());
        assert!(is_closed(&peers[2]));
        assert_eq!(pool.close_old(old), None, "nobody need look any more");
        assert!(!pool.idle().watched);
    }

    #[tokio::test]
    async fn a_connection_that_its_peer_closed_or_spoke_on_is_not_given_out() {
        use std::io::Write as _;
        let (pool, now) = (Pool::default(), Instant::now());
        let mut peers = Vec::new();
        for (conn, peer) in dialed(3).await {
            pool.put_at(conn, None, now);
            peers.push(peer);
        }

        // Nothing is waited for in between: the runtime has not heard of either.
        drop(peers.pop());
        peers[1].write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").unwrap();

        let taken = pool.take_at(now).expect("the first is still good");
        assert!(is_closed(&peers[1]) && !is_closed(&peers[0]));
        drop(taken);
        assert!(pool.take_at(now).is_none());
    }
}
