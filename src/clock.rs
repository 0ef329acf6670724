//! The time, as a thing that is passed in.

use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::domain::time::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// The current instant.
    fn now(&self) -> Timestamp;

    /// Time since some fixed instant, on a clock that nobody sets and that goes on while the
    /// machine sleeps: what has to be measured is measured by it.
    fn uptime(&self) -> Duration;

    /// What the machine's own clock says, where that is another.
    fn machine(&self) -> Timestamp {
        self.now()
    }

    /// Takes over the time that the database told; it was asked at this [`uptime`](Self::uptime).
    fn learn(&self, _told: Timestamp, _asked: Duration) {}
}

/// How long the machine has been up, the time included in which it slept
/// (`CLOCK_BOOTTIME` of `clock_gettime(2)`; elsewhere than on Linux the monotonic clock).
pub fn uptime() -> Duration {
    #[cfg(target_os = "linux")]
    let id = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let id = rustix::time::ClockId::Monotonic;
    let at = rustix::time::clock_gettime(id);
    let seconds = u64::try_from(at.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(at.tv_nsec).unwrap_or(0))
}

/// The machine's clock.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn uptime(&self) -> Duration {
        uptime()
    }
}

/// The time of the database, by which all processes that share it judge deadlines and leases:
/// what it said when it was asked last, and what has passed since then by
/// [`uptime`](Clock::uptime). Nobody who sets the machine's clock moves it.
#[derive(Debug)]
pub struct SharedClock(Mutex<Anchor>);

/// That it was `at` when the machine had been up so long.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    at: Timestamp,
    uptime: Duration,
}

/// An answer that took longer than this says little of when it was given…
const PROMPT: Duration = Duration::from_secs(1);
/// … and is taken only where no other came for so long, in which clocks run apart.
const STALE: Duration = Duration::from_secs(60);

impl SharedClock {
    /// A clock that says `at` now.
    pub fn new(at: Timestamp) -> Self {
        Self(Mutex::new(Anchor { at, uptime: uptime() }))
    }

    fn anchor(&self) -> Anchor {
        *self.0.lock().expect("no holder of this lock panics")
    }
}

impl Clock for SharedClock {
    fn now(&self) -> Timestamp {
        let Anchor { at, uptime } = self.anchor();
        at.plus(self.uptime().saturating_sub(uptime))
    }

    fn uptime(&self) -> Duration {
        uptime()
    }

    fn machine(&self) -> Timestamp {
        SystemClock.now()
    }

    /// On its way the answer took half of the time since it was asked for, more or less.
    fn learn(&self, told: Timestamp, asked: Duration) {
        let now = self.uptime();
        let took = now.saturating_sub(asked);
        let age = now.saturating_sub(self.anchor().uptime);
        if took <= PROMPT || age > STALE {
            *self.0.lock().expect("no holder of this lock panics") =
                Anchor { at: told.plus(took / 2), uptime: now };
        }
    }
}

/// A clock that stands still until it is moved; for tests.
#[derive(Debug)]
pub struct ManualClock(Mutex<(Timestamp, Duration)>);

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(Mutex::new((now, Duration::ZERO)))
    }

    /// Moves the clock back by `length`, as an administrator or a time server may.
    pub fn turn_back(&self, length: Duration) {
        let mut at = self.0.lock().expect("no holder of this lock panics");
        at.0 = at.0.minus(length);
    }

    /// Moves the clock forward by `length`, in which that much time passes.
    pub fn advance(&self, length: Duration) {
        let mut at = self.0.lock().expect("no holder of this lock panics");
        *at = (at.0.plus(length), at.1 + length);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.0.lock().expect("no holder of this lock panics").0
    }

    fn uptime(&self) -> Duration {
        self.0.lock().expect("no holder of this lock panics").1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_clock_goes_by_what_the_database_said_and_not_by_the_machine() {
        let hour = Duration::from_hours(1);
        let clock = SharedClock::new(SystemClock.now().minus(hour));

        let behind = clock.now().until(clock.machine());
        clock.learn(SystemClock.now().plus(hour), clock.uptime());
        let ahead = clock.machine().until(clock.now());

        for skew in [behind, ahead] {
            assert!(skew.abs_diff(hour) < Duration::from_mins(1), "{skew:?}");
        }
    }

    #[test]
    fn an_answer_that_was_long_under_way_is_not_taken_while_another_is_fresh() {
        let clock = SharedClock::new(Timestamp::from_micros(0));
        let told = Timestamp::from_micros(3_600_000_000);

        clock.learn(told, clock.uptime().saturating_sub(Duration::from_secs(9)));

        assert!(clock.now() < told);
    }
}
