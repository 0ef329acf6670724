//! The locks of PostgreSQL that the program takes, all in one table.

use sha2::{Digest as _, Sha256};

/// First half of every lock's number, so that other users of the database are not met: "pl".
const CLASS: i32 = 0x706c_0000;

/// What only one transaction at a time does. Held until it ends.
///
/// SQLite has one writer at a time and needs none.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) enum Lock<'a> {
    /// Count an agent's approvals and held requests, and add one.
    Submissions(&'a str),
    /// Count the approvals of all agents, where there are nearly too many. Taken after the agent's.
    AllSubmissions,
    /// Count the uses under one key, and add one. Taken after the agent's.
    Uses(&'a str),
    /// Count an agent's client sessions, and add one.
    ClientSessions(&'a str),
    /// Count an agent's tasks, and add one.
    Tasks(&'a str),
    /// Count an agent's grants, and add one.
    Grants(&'a str),
    /// Learn from a hold of an agent that was dropped.
    HoldBudget(&'a str),
    /// Count a person's tokens, and add one.
    Tokens(&'a str),
    /// Compare an absence with those of all others, and add it.
    Absences,
    /// Count a person's passkeys, and add one.
    Passkeys(&'a str),
    /// End what strangers hold: two brokers may start at once.
    Strangers,
    /// Seal the audit.
    Seal,
}

impl Lock<'_> {
    /// The two numbers under which PostgreSQL knows it: which lock, and a hash of whose. Two keys
    /// of one hash wait for each other and do nothing worse.
    ///
    /// <https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS>
    pub(super) fn numbers(self) -> (i32, i32) {
        let (number, key) = match self {
            Self::Submissions(agent) => (1, agent),
            Self::AllSubmissions => (2, ""),
            Self::Uses(key) => (3, key),
            Self::ClientSessions(agent) => (4, agent),
            Self::Tasks(agent) => (5, agent),
            Self::Grants(agent) => (6, agent),
            Self::HoldBudget(agent) => (7, agent),
            Self::Tokens(person) => (8, person),
            Self::Absences => (9, ""),
            Self::Passkeys(person) => (10, person),
            Self::Strangers => (11, ""),
            Self::Seal => (12, ""),
        };
        let hash = Sha256::digest(key.as_bytes());
        (CLASS + number, i32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Lock;

    #[test]
    fn no_two_locks_have_the_same_number() {
        let all = [
            Lock::Submissions("ci"),
            Lock::AllSubmissions,
            Lock::Uses("ci"),
            Lock::ClientSessions("ci"),
            Lock::Tasks("ci"),
            Lock::Grants("ci"),
            Lock::HoldBudget("ci"),
            Lock::Tokens("ci"),
            Lock::Absences,
            Lock::Passkeys("ci"),
            Lock::Strangers,
            Lock::Seal,
        ];
        let numbers: BTreeSet<i32> = all.iter().map(|lock| lock.numbers().0).collect();

        assert_eq!(numbers.len(), all.len());
    }

    #[test]
    fn two_agents_do_not_wait_for_each_other() {
        assert_ne!(Lock::Submissions("ci").numbers(), Lock::Submissions("cd").numbers());
        assert_eq!(Lock::Submissions("ci").numbers(), Lock::Submissions("ci").numbers());
    }
}
