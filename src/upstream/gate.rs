//! The last question before a request goes out: may it still? An approved call must be marked as sent
//! before its first byte, and whoever slept after that must not send it any more.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::Clock;

/// What a request must pass when its connection stands, directly before its first byte. It is asked
/// again where the request is sent again.
#[async_trait]
pub trait Gate: Send + Sync + fmt::Debug {
    /// Waits for leave to send.
    ///
    /// # Errors
    /// Why the request must not be sent, in words.
    async fn pass(&self) -> Result<Leave, String>;
}

/// Leave to send a request, for a short while. Each write asks it, without waiting for anything.
#[derive(Clone)]
pub struct Leave {
    clock: Arc<dyn Clock>,
    until: Duration,
}

impl Leave {
    /// Leave for `length` from now on.
    pub fn new(clock: Arc<dyn Clock>, length: Duration) -> Self {
        let until = clock.uptime() + length;
        Self { clock, until }
    }

    /// Whether it may still be sent.
    pub fn is_good(&self) -> bool {
        self.clock.uptime() < self.until
    }
}

impl fmt::Debug for Leave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leave").field("until", &self.until).finish_non_exhaustive()
    }
}

/// Why a request was not sent whose leave was over.
pub(super) const TOO_LATE: &str = "this process stood still before it could be sent";
