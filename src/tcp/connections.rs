//! The connections that are open, how far each has come, and which makes room for another.
//!
//! A connection on which no whole request is, being idle or still sending one, makes room at once
//! for one that comes; so those who open many and say little lock nobody out. One on which a
//! request is answered stays.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What connections may take.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Most of them.
    pub max: usize,
    /// Most from one address.
    pub max_per_address: usize,
    /// Addresses that are not limited by themselves: many clients come from each.
    pub shared: Vec<IpAddr>,
    /// How long the head of a request may take, from its first byte, and the first one of a
    /// connection from the start.
    pub head: Duration,
    /// How long the body of a request may take, from the end of its head.
    pub body: Duration,
    /// How long a connection stays open without a request.
    pub idle: Duration,
}

/// How far a connection has come with the request that is on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// There is none.
    Idle,
    /// Its head is being read.
    Head,
    /// Its body is being read.
    Body,
    /// It is whole, and not yet answered.
    Whole,
}

/// One open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    address: IpAddr,
    state: Mutex<(Phase, Instant)>,
    /// Ends it.
    pub close: CancellationToken,
    all: Arc<Connections>,
}

impl Connection {
    pub(crate) fn limits(&self) -> &Limits {
        &self.all.limits
    }

    fn state(&self) -> MutexGuard<'_, (Phase, Instant)> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// Notes how far it has come.
    pub(crate) fn enter(&self, phase: Phase, now: Instant) {
        let mut state = self.state();
        *state = (phase, now);
        drop(state);
        if phase != Phase::Whole {
            self.all.changed.notify_one();
        }
    }

    /// Notes bytes that came: where no request was, there is one.
    pub(crate) fn heard(&self, now: Instant) {
        let mut state = self.state();
        if state.0 == Phase::Idle {
            *state = (Phase::Head, now);
        }
    }

    /// Notes that the body is whole or nobody reads on, which is the same for this.
    pub(crate) fn read(&self, now: Instant) {
        let mut state = self.state();
        if state.0 == Phase::Body {
            *state = (Phase::Whole, now);
        }
    }

    /// Whether it took longer than it may. The body's time is measured where it is read, so that
    /// who sends it is answered.
    fn is_over(&self, limits: &Limits, now: Instant) -> bool {
        let (phase, since) = *self.state();
        let allowed = match phase {
            Phase::Idle => limits.idle,
            Phase::Head => limits.head,
            Phase::Body | Phase::Whole => return false,
        };
        now.duration_since(since) >= allowed
    }
}

/// All open connections.
///
/// Bounded by [`Limits::max`]; each is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Connections {
    limits: Limits,
    open: Mutex<Open>,
    /// There may be room.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Open {
    by_id: HashMap<u64, Arc<Connection>>,
    /// How many there are from each address.
    from: HashMap<IpAddr, usize>,
}

/// An entry among the open connections, which goes with this.
#[derive(Debug)]
pub(crate) struct Entry {
    id: u64,
    pub connection: Arc<Connection>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let all = &self.connection.all;
        let mut open = all.open();
        open.by_id.remove(&self.id);
        let address = self.connection.address;
        if let Some(count) = open.from.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.from.remove(&address);
            }
        }
        drop(open);
        all.changed.notify_one();
    }
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// All connections are busy.
    All,
    /// All from that address are.
    Address,
}

/// Whether there is room for one more.
#[derive(Debug)]
enum Room {
    Free,
    /// Once this one is gone.
    After(Arc<Connection>),
    None,
}

impl Open {
    /// Whether there is room where `max` connections may be, of this address or at all.
    fn room(&self, address: Option<IpAddr>, max: usize) -> Room {
        let count = match address {
            Some(address) => self.from.get(&address).copied().unwrap_or_default(),
            None => self.by_id.len(),
        };
        if count < max {
            return Room::Free;
        }
        // Those that were told to go hold nothing any more but what they close now.
        let mut living = 0;
        let mut oldest: Option<((bool, Instant), &Arc<Connection>)> = None;
        for one in self.by_id.values() {
            if address.is_some_and(|a| a != one.address) || one.close.is_cancelled() {
                continue;
            }
            living += 1;
            let (phase, since) = *one.state();
            // Who began a request and does not end it goes before who is between two.
            let rank = (phase == Phase::Idle, since);
            if phase != Phase::Whole && oldest.is_none_or(|(other, _)| rank < other) {
                oldest = Some((rank, one));
            }
        }
        match oldest {
            _ if living < max => Room::Free,
            Some((_, oldest)) => Room::After(Arc::clone(oldest)),
            None => Room::None,
        }
    }
}

impl Connections {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, open: Mutex::default(), changed: Notify::new() })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().expect("no holder of this lock panics")
    }

    /// Waits until one more can be taken in, in place of another or not. One waits at a time.
    pub(crate) async fn room(&self) {
        while matches!(self.open().room(None, self.limits.max), Room::None) {
            // What was said since the look is kept for the one that waits.
            self.changed.notified().await;
        }
    }

    /// Takes a connection in. Where there are enough, the one that has said nothing whole for
    /// longest is told to go.
    ///
    /// # Errors
    /// [`Full`], where no other can make room for it.
    pub(crate) fn admit(
        self: &Arc<Self>,
        id: u64,
        address: IpAddr,
        now: Instant,
    ) -> Result<Entry, Full> {
        let address = address.to_canonical();
        let limits = &self.limits;
        let own = (Some(address), limits.max_per_address, Full::Address);
        let all = (None, limits.max, Full::All);
        let is_shared = limits.shared.contains(&address);
        let mut open = self.open();
        for (of, max, full) in [own, all].into_iter().skip(usize::from(is_shared)) {
            match open.room(of, max) {
                Room::Free => {}
                Room::After(oldest) => oldest.close.cancel(),
                Room::None => return Err(full),
            }
        }
        let connection = Arc::new(Connection {
            address,
            state: Mutex::new((Phase::Head, now)),
            close: CancellationToken::new(),
            all: Arc::clone(self),
        });
        open.by_id.insert(id, Arc::clone(&connection));
        *open.from.entry(address).or_default() += 1;
        Ok(Entry { id, connection })
    }

    /// Ends those that took longer than they may.
    pub(crate) fn end_overdue(&self, now: Instant) {
        for one in self.open().by_id.values().filter(|c| c.is_over(&self.limits, now)) {
            one.close.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn connections(max: usize, max_per_address: usize) -> Arc<Connections> {
        let second = Duration::from_secs(1);
        Connections::new(Limits {
            max,
            max_per_address,
            shared: vec![from(9)],
            head: second * 10,
            body: second * 30,
            idle: second * 60,
        })
    }

    const fn from(n: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, n))
    }

    fn is_closed(entry: &Entry) -> bool {
        entry.connection.close.is_cancelled()
    }

    #[test]
    fn who_has_said_nothing_whole_for_longest_makes_room_and_who_is_answered_stays() {
        let (all, start) = (connections(3, 3), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let busy = all.admit(1, from(1), at(0)).unwrap();
        busy.connection.enter(Phase::Whole, at(0));
        let idle = all.admit(2, from(2), at(0)).unwrap();
        idle.connection.enter(Phase::Idle, at(0));
        let slow = all.admit(3, from(3), at(1)).unwrap();

        let fourth = all.admit(4, from(4), at(2)).unwrap();
        assert!(is_closed(&slow) && !is_closed(&idle), "who begins and does not end goes first");
        fourth.connection.enter(Phase::Whole, at(2));
        drop(slow);
        let fifth = all.admit(5, from(5), at(2)).unwrap();
        assert!(is_closed(&idle) && !is_closed(&busy));
        fifth.connection.enter(Phase::Whole, at(2));
        drop(idle);

        assert_eq!(all.admit(6, from(6), at(3)).unwrap_err(), Full::All);
        drop(fifth);
        assert!(all.admit(7, from(7), at(3)).is_ok());
    }

    #[test]
    fn one_address_takes_no_more_than_its_share_unless_many_come_from_it() {
        let (all, now) = (connections(9, 2), Instant::now());
        let busy = |id, address| {
            let entry = all.admit(id, address, now)?;
            entry.connection.enter(Phase::Whole, now);
            Ok::<_, Full>(entry)
        };
        let own = [busy(1, from(1)).unwrap(), busy(2, from(1)).unwrap()];

        assert_eq!(busy(3, from(1)).unwrap_err(), Full::Address);
        let mapped = Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped();
        assert_eq!(busy(4, mapped.into()).unwrap_err(), Full::Address);
        let proxied = [5, 6, 7, 8].map(|id| busy(id, from(9)).unwrap());
        assert!(busy(9, from(2)).is_ok());
        drop((own, proxied));
        let open = all.open();
        assert!(open.by_id.is_empty() && open.from.is_empty(), "nothing stays behind");
    }

    #[test]
    fn heads_and_idle_connections_have_their_time_and_answers_all_they_need() {
        let (all, start) = (connections(9, 9), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let fresh = all.admit(1, from(1), at(0)).unwrap();
        let whole = all.admit(2, from(1), at(0)).unwrap();
        whole.connection.enter(Phase::Whole, at(0));
        let idle = all.admit(3, from(1), at(0)).unwrap();
        idle.connection.enter(Phase::Idle, at(0));

        all.end_overdue(at(10));
        assert!(is_closed(&fresh) && !is_closed(&idle));
        idle.connection.heard(at(55));
        idle.connection.heard(at(64));
        all.end_overdue(at(64));
        assert!(!is_closed(&idle), "its request began a while ago");
        all.end_overdue(at(65));
        assert!(is_closed(&idle) && !is_closed(&whole), "what dribbles has no more time");
    }

    #[tokio::test]
    async fn room_is_waited_for_until_an_answer_ends() {
        let (all, now) = (connections(1, 1), Instant::now());
        let busy = all.admit(1, from(1), now).unwrap();
        busy.connection.enter(Phase::Whole, now);
        let waiting = tokio::spawn({
            let all = Arc::clone(&all);
            async move { all.room().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());

        busy.connection.enter(Phase::Idle, now);

        waiting.await.unwrap();
        assert!(!is_closed(&busy), "until somebody comes");
        assert!(all.admit(2, from(2), now).is_ok() && is_closed(&busy));
    }
}
