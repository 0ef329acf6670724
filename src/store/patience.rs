//! How long the store waits for its database, and for how many connections at once.

use std::time::Duration;

use crate::config::Database;

/// How much later than the server's own deadline the program's own ends a statement: the server's
/// answer says more.
const GRACE: Duration = Duration::from_secs(1);

/// The deadlines of section `[database]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patience {
    /// Longest that PostgreSQL works at one statement.
    pub statement: Duration,
    /// Longest wait for another's lock; on SQLite for another process's write.
    pub lock: Duration,
    /// Longest that PostgreSQL keeps a transaction whose client says nothing.
    pub idle_in_transaction: Duration,
    /// Longest wait for a connection, free or new.
    pub connect: Duration,
    /// How long a verb that surely stored nothing is tried again, and how long is asked what
    /// became of a commit whose answer was lost.
    pub retry: Duration,
    /// After so long without a word PostgreSQL asks whether the client is still there.
    pub keepalive: Duration,
    /// Most connections to PostgreSQL for people and for what runs by itself.
    pub connections: u32,
    /// Most connections to PostgreSQL for what agents ask for.
    pub agent_connections: u32,
}

impl Patience {
    /// Longest wait for the answer to one statement, after which its connection is given up.
    pub(super) fn answer(&self) -> Duration {
        self.statement + GRACE
    }
}

/// The defaults of the configuration.
impl Default for Patience {
    fn default() -> Self {
        Self {
            statement: Duration::from_secs(5),
            lock: Duration::from_secs(3),
            idle_in_transaction: Duration::from_secs(5),
            connect: Duration::from_secs(5),
            retry: Duration::from_secs(10),
            keepalive: Duration::from_secs(10),
            connections: 8,
            agent_connections: 8,
        }
    }
}

impl From<&Database> for Patience {
    fn from(section: &Database) -> Self {
        Self {
            statement: section.statement_timeout,
            lock: section.lock_timeout,
            idle_in_transaction: section.idle_in_transaction_timeout,
            connect: section.connect_timeout,
            retry: section.retry_for,
            keepalive: section.keepalive,
            connections: section.connections,
            agent_connections: section.agent_connections,
        }
    }
}
