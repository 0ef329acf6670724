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
