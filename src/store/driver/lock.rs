//! The locks of PostgreSQL that the program takes, all in one table.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use super::value::{Arg, args};

/// First half of every lock's number, so that other users of the database are not met: "pl".
const CLASS: i32 = 0x706c_0000;

/// What only one transaction at a time does. Held until it ends.
///
/// SQLite has one writer at a time and needs none.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) enum Lock<'a> {
    /// Count an agent's approvals and held requests, and add one.
    Submissions(&'a str),
    /// Give out the last places of `max_pending`, where so few are left that those who count at the
    /// same time could take more. Taken after the agents'.
    LastPlaces,
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
            Self::LastPlaces => (2, ""),
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

    /// The statement of PostgreSQL that takes many in one order, the same for all who take many, so
    /// that none of them waits for one who waits for it; and its argument. The subquery keeps each
    /// row's lock, which a plain count could leave out.
    pub(in crate::store) fn take_all(locks: &[Self]) -> (&'static str, Vec<Arg>) {
        const SQL: &str = "select count(*) as n from \
             (select pg_advisory_xact_lock(r.class, r.key) \
                from json_to_recordset(cast($1 as json)) as r(class int, key int) offset 0) taken";
        let numbers: BTreeSet<_> = locks.iter().map(|lock| lock.numbers()).collect();
        let rows: Vec<String> = numbers
            .into_iter()
            .map(|(class, key)| format!("{{\"class\":{class},\"key\":{key}}}"))
            .collect();
        (SQL, args![format!("[{}]", rows.join(","))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_locks_have_the_same_number() {
        let all = [
            Lock::Submissions("ci"),
            Lock::LastPlaces,
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
    fn many_are_taken_once_each_and_in_one_order() {
        let two =
            |a, b| Lock::take_all(&[Lock::Submissions(a), Lock::Uses("k"), Lock::Submissions(b)]).1;

        let there = format!("{:?}", two("ci", "cd"));
        assert_eq!(there, format!("{:?}", two("cd", "ci")));
        assert_eq!(there.matches("class").count(), 3);
        assert_eq!(format!("{:?}", two("ci", "ci")).matches("class").count(), 2);
    }

    #[test]
    fn two_agents_do_not_wait_for_each_other() {
        assert_ne!(Lock::Submissions("ci").numbers(), Lock::Submissions("cd").numbers());
        assert_eq!(Lock::Submissions("ci").numbers(), Lock::Submissions("ci").numbers());
    }
}
