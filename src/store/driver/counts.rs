//! What verbs of a test cost.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Counters of one database of this process.
#[derive(Debug, Default)]
pub(super) struct Counts {
    statements: AtomicU32,
    trips: AtomicU32,
    commits: AtomicU32,
    readings: AtomicU32,
}

/// What was asked of a database so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Spent {
    /// Statements of transactions, but those that begin and end them.
    pub(in crate::store) statements: u32,
    /// Trips of transactions; on SQLite but those that commit, which verbs share.
    pub(in crate::store) trips: u32,
    /// Commits.
    pub(in crate::store) commits: u32,
    /// Statements, each a trip, outside of transactions.
    pub(in crate::store) readings: u32,
}

impl Counts {
    /// A trip with so many statements.
    pub(super) fn trip(&self, statements: usize) {
        self.trips.fetch_add(1, Relaxed);
        self.statements.fetch_add(u32::try_from(statements).unwrap_or(u32::MAX), Relaxed);
    }

    pub(super) fn reading(&self) {
        self.readings.fetch_add(1, Relaxed);
    }

    pub(super) fn commit(&self) {
        self.commits.fetch_add(1, Relaxed);
    }

    pub(super) fn spent(&self) -> Spent {
        Spent {
            statements: self.statements.load(Relaxed),
            trips: self.trips.load(Relaxed),
            commits: self.commits.load(Relaxed),
            readings: self.readings.load(Relaxed),
        }
    }
}

impl Spent {
    /// What was spent since `before`.
    pub(in crate::store) const fn since(self, before: Self) -> Self {
        Self {
            statements: self.statements - before.statements,
            trips: self.trips - before.trips,
            commits: self.commits - before.commits,
            readings: self.readings - before.readings,
        }
    }
}
