//! The idle connections to one server. The one used last is taken first, so that those nobody
//! needs grow old.

use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::conn::Conn;

/// How long an idle connection is kept: shorter than servers keep theirs.
pub(super) const IDLE_CONNECTION: Duration = Duration::from_secs(4);
/// Idle connections kept per upstream.
const MAX_IDLE: usize = 32;

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
        loop {
            let (since, mut conn) = self.idle().conns.pop()?;
            if since.elapsed() >= IDLE_CONNECTION {
                // So are all before it.
                self.close();
                return None;
            }
            if conn.is_still_good() {
                return Some(conn);
            }
        }
    }

    /// Keeps a connection whose answer was read to its end.
    pub(super) fn put(self: &Arc<Self>, conn: Box<Conn>) {
        conn.rest();
        let mut idle = self.idle();
        let displaced = (idle.conns.len() >= MAX_IDLE).then(|| idle.conns.remove(0));
        idle.conns.push((Instant::now(), conn));
        let unwatched = !std::mem::replace(&mut idle.watched, true);
        drop(idle);
        // It is closed without the lock.
        drop(displaced);
        if unwatched {
            tokio::spawn(watch(Arc::downgrade(self)));
        }
    }

    /// Closes all of them.
    pub(super) fn close(&self) {
        let closed = std::mem::take(&mut self.idle().conns);
        drop(closed);
    }

    /// Closes those that are too old; says when the next will be.
    fn close_old(&self) -> Option<Instant> {
        let mut idle = self.idle();
        let old = idle.conns.iter().take_while(|(since, _)| since.elapsed() >= IDLE_CONNECTION);
        let count = old.count();
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
        match pool.upgrade().and_then(|pool| pool.close_old()) {
            Some(at) => next = at,
            None => return,
        }
    }
}
