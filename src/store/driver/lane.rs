//! For whom the store works.

/// For whom a connection or the writer's turn is taken, so that none of them takes the others' away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Lane {
    /// People, and what runs by itself.
    People,
    /// What agents ask for anew.
    Agents,
    /// What the calls of agents that are under way need, by the agents' connections.
    Calls,
    /// The process's lease.
    Lease,
}
