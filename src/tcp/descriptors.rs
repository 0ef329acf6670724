//! How many connections the process can have by the descriptors that the system gives it.

use rustix::process::{Resource, getrlimit};

/// Kept back for the process itself: its logs, files, timers and what it listens on.
const OWN: usize = 64;
/// Most connections where the system sets no limit that matters.
const MOST: usize = 10_000;
/// Fewest, however few descriptors there are.
const FEWEST: usize = 16;

/// How many connections there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// Most connections.
    pub connections: usize,
    /// How many were configured, where that is more than there can be.
    pub too_many: Option<usize>,
    /// How many descriptors the process may have; none: any number.
    pub descriptors: Option<usize>,
}

/// Most connections of clients, where `configured` says how many are wished and `kept` descriptors
/// are for the database and the upstreams. A request may need one more at its upstream, so that of
/// the rest half is for clients where nothing is configured.
pub(crate) fn room(configured: Option<usize>, kept: usize) -> Room {
    let descriptors = getrlimit(Resource::Nofile).current;
    let descriptors = descriptors.map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    of(descriptors, configured, kept)
}

fn of(descriptors: Option<usize>, configured: Option<usize>, kept: usize) -> Room {
    let left = descriptors.map_or(usize::MAX, |n| n.saturating_sub(OWN + kept)).max(FEWEST);
    let connections = configured.unwrap_or_else(|| (left / 2).clamp(FEWEST, MOST)).min(left);
    Room { connections, too_many: configured.filter(|n| *n > left), descriptors }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_kept_back_for_the_database_and_the_upstreams() {
        let connections = |limit, configured, kept| of(limit, configured, kept).connections;

        assert_eq!(connections(Some(1_024), None, 60), 450);
        assert_eq!(connections(Some(1_024), Some(800), 60), 800);
        assert_eq!(connections(Some(1_024), Some(2_000), 60), 900);
        assert_eq!(of(Some(1_024), Some(2_000), 60).too_many, Some(2_000));
        assert_eq!(connections(Some(100), None, 60), FEWEST);
        assert_eq!(connections(None, None, 60), MOST);
        assert_eq!(connections(None, Some(50_000), 60), 50_000);
    }
}
