//! Log levels: what was asked for over one connection, and the lowest of it, which is what a
//! legacy server is told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::domain::json::{self, Node};

/// A severity of log messages, lowest first: those of syslog
/// (<https://www.rfc-editor.org/rfc/rfc5424#section-6.2.1>).
///
/// <https://modelcontextprotocol.io/specification/2025-11-25/server/utilities/logging#log-message-notifications>
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Details for somebody who looks for a fault.
    Debug,
    /// The normal course of things.
    Info,
    /// Normal, but worth knowing.
    Notice,
    /// Something may be wrong.
    Warning,
    /// Something is wrong.
    Error,
    /// A part failed.
    Critical,
    /// Somebody must act at once.
    Alert,
    /// Nothing works.
    Emergency,
}

impl Level {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Debug, "debug"),
        (Self::Info, "info"),
        (Self::Notice, "notice"),
        (Self::Warning, "warning"),
        (Self::Error, "error"),
        (Self::Critical, "critical"),
        (Self::Alert, "alert"),
        (Self::Emergency, "emergency"),
    ];

    /// The level of that name on the wire; none if there is none.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, n)| *n == name).map(|(level, _)| level)
    }

    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(l, _)| *l == self).map_or("debug", |(_, name)| name)
    }

    /// Whether a log message (raw JSON of `params`) is of this level or above; a message of an
    /// unknown level is admitted.
    pub fn admits(self, params: Option<&str>) -> bool {
        let node = params.and_then(|p| json::parse(p).ok());
        let level = node.as_ref().and_then(|n| n.get("level")).and_then(Node::as_str);
        level.and_then(Self::of).is_none_or(|level| level >= self)
    }
}

/// Every level somebody wants over one connection.
#[derive(Debug, Default)]
pub(super) struct Levels {
    wanted: Mutex<BTreeMap<Level, u32>>,
}

impl Levels {
    fn wanted(&self) -> MutexGuard<'_, BTreeMap<Level, u32>> {
        self.wanted.lock().expect("no holder of this lock panics")
    }

    /// Wants this level until the wish is dropped.
    pub(super) fn want(self: &Arc<Self>, level: Level) -> Wish {
        *self.wanted().entry(level).or_default() += 1;
        Wish { levels: Arc::clone(self), level }
    }

    /// The lowest level that anybody wants.
    pub(super) fn lowest(&self) -> Option<Level> {
        self.wanted().keys().next().copied()
    }
}

/// Somebody's wish for log messages; dropping it ends it.
#[derive(Debug)]
pub(super) struct Wish {
    levels: Arc<Levels>,
    level: Level,
}

impl Drop for Wish {
    fn drop(&mut self) {
        let mut wanted = self.levels.wanted();
        if let Some(count) = wanted.get_mut(&self.level) {
            *count -= 1;
            if *count == 0 {
                wanted.remove(&self.level);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_wish_counts_until_it_ends() {
        let levels = Arc::<Levels>::default();
        let warning = levels.want(Level::Warning);
        let debug = levels.want(Level::Debug);

        assert_eq!(levels.lowest(), Some(Level::Debug));
        drop(debug);
        assert_eq!(levels.lowest(), Some(Level::Warning));
        drop(warning);
        assert_eq!(levels.lowest(), None);
    }

    #[test]
    fn a_message_below_the_level_is_kept_back() {
        let warning = Level::of("warning").unwrap();

        assert!(warning.admits(Some(r#"{"level":"error"}"#)));
        assert!(warning.admits(Some(r#"{"level":"warning"}"#)));
        assert!(!warning.admits(Some(r#"{"level":"notice"}"#)));
        assert!(warning.admits(Some(r#"{"level":"mine"}"#)) && warning.admits(None));
        assert_eq!(Level::of("loud"), None);
    }
}
