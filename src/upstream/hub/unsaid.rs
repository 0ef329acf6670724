//! Answers that do not say to which request: of which one it is found out by who is left. The only
//! request that is open has it; of several each waits on, since its own answer may come, until
//! those that are answered by their ids leave it alone.

use std::collections::BTreeSet;

use crate::protocol::{code, jsonrpc};

/// Most such answers that are remembered; the oldest makes room.
const MAX_REMEMBERED: usize = 64;

/// What came without an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::upstream) enum Said {
    /// An error, raw JSON.
    Error(String),
    /// Something that can't be read: why.
    Unreadable(String),
}

#[derive(Debug)]
struct Remembered {
    said: Said,
    /// The requests of which it may answer one. Emptied by their ends.
    among: BTreeSet<u64>,
}

/// The answers of one connection that belong to a request which is not known yet.
#[derive(Debug, Default)]
pub(super) struct Unsaid {
    remembered: Vec<Remembered>,
    /// Messages that were written and get no answer: notifications, and answers to the server.
    asides: u64,
    /// How many of them the server is known to have passed.
    passed: u64,
}

/// Requests and what is now known to answer each.
pub(super) type Settled = Vec<(u64, Said)>;

impl Unsaid {
    /// Notes a message that gets no answer; some servers write an error all the same.
    pub(super) fn aside(&mut self) {
        self.asides += 1;
    }

    /// How many such messages were written so far.
    pub(super) fn asides(&self) -> u64 {
        self.asides
    }

    /// An error came without an id, while these requests were open. Right after a message that gets
    /// no answer it may be about that one, if it says so or knows no such method.
    pub(super) fn error(&mut self, raw: &str, open: BTreeSet<u64>) -> Settled {
        let of_aside = jsonrpc::error_code(raw) == Some(code::METHOD_NOT_FOUND)
            || raw.to_lowercase().contains("notification");
        if self.passed < self.asides && of_aside {
            self.passed += 1;
            return Vec::new();
        }
        self.came(Said::Error(raw.to_owned()), open)
    }

    /// Something came that answers one of these requests.
    pub(super) fn came(&mut self, said: Said, open: BTreeSet<u64>) -> Settled {
        if self.remembered.len() >= MAX_REMEMBERED {
            self.remembered.remove(0);
        }
        self.remembered.push(Remembered { said, among: open });
        self.settled()
    }

    /// A request was answered by its id; it was written after so many messages that get no answer.
    pub(super) fn answered(&mut self, id: u64, asides: u64) -> Settled {
        self.passed = self.passed.max(asides);
        self.without(id);
        self.settled()
    }

    /// A request ended without an answer: what may have been its own can't be told any more.
    pub(super) fn given_up(&mut self, id: u64) {
        self.remembered.retain(|one| !one.among.contains(&id));
    }

    fn without(&mut self, id: u64) {
        self.remembered.retain_mut(|one| {
            one.among.remove(&id);
            !one.among.is_empty()
        });
    }

    fn settled(&mut self) -> Settled {
        let mut settled = Vec::new();
        self.remembered.retain(|one| !one.among.is_empty());
        while let Some(found) = self.found() {
            for (id, said) in found {
                self.without(id);
                settled.push((id, said));
            }
        }
        settled
    }

    /// As many requests as there are answers, which are taken out.
    fn found(&mut self) -> Option<Settled> {
        let all = &self.remembered;
        let as_many = |among: &BTreeSet<u64>| {
            all.iter().filter(|one| one.among == *among).count() >= among.len()
        };
        let among = all.iter().find(|one| as_many(&one.among))?.among.clone();
        let mut said: Vec<Said> = Vec::new();
        self.remembered.retain(|one| {
            let is_one = one.among == among;
            if is_one {
                said.push(one.said.clone());
            }
            !is_one
        });
        let first = said.first()?;
        let one = if said.iter().all(|other| other == first) {
            first.clone()
        } else {
            Said::Unreadable("errors without ids came, one for each open request".to_owned())
        };
        Some(among.into_iter().map(|id| (id, one.clone())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: i64) -> Said {
        Said::Error(raw(code))
    }

    fn raw(code: i64) -> String {
        format!("{{\"code\":{code},\"message\":\"no\"}}")
    }

    #[test]
    fn an_error_without_an_id_answers_the_only_open_request() {
        let mut unsaid = Unsaid::default();

        assert_eq!(unsaid.error(&raw(-1), [7].into()), [(7, error(-1))]);
        assert_eq!(unsaid.error(&raw(-1), [].into()), []);
        assert!(unsaid.remembered.is_empty());
    }

    #[test]
    fn of_several_open_requests_it_answers_the_one_that_the_others_leave_alone() {
        let mut unsaid = Unsaid::default();

        assert_eq!(unsaid.error(&raw(-1), [1, 2, 3].into()), []);
        assert_eq!(unsaid.answered(2, 0), []);
        assert_eq!(unsaid.answered(1, 0), [(3, error(-1))]);
        // As many errors as requests: each has one, and whose is whose matters where they differ.
        assert_eq!(unsaid.error(&raw(-1), [1, 2].into()), []);
        assert_eq!(unsaid.error(&raw(-1), [1, 2].into()), [(1, error(-1)), (2, error(-1))]);
        assert_eq!(unsaid.error(&raw(-1), [1, 2].into()), []);
        let both = unsaid.error(&raw(-2), [1, 2].into());
        assert!(both.len() == 2 && both.iter().all(|(_, s)| matches!(s, Said::Unreadable(_))));
        assert!(unsaid.remembered.is_empty());
    }

    #[test]
    fn what_may_have_been_a_given_up_requests_is_nobodys() {
        let mut unsaid = Unsaid::default();

        assert_eq!(unsaid.error(&raw(-1), [1, 2].into()), []);
        unsaid.given_up(1);
        assert_eq!(unsaid.answered(3, 0), []);
        assert!(unsaid.remembered.is_empty());
    }

    #[test]
    fn an_error_about_a_notification_is_not_the_answer_of_the_request_after_it() {
        let mut unsaid = Unsaid::default();
        unsaid.aside();

        assert_eq!(unsaid.error(&raw(-32601), [7].into()), []);
        assert_eq!(unsaid.error(&raw(-32601), [7].into()), [(7, error(-32601))]);
        unsaid.aside();
        assert_eq!(unsaid.error(&raw(-32603), [8].into()), [(8, error(-32603))]);
        // Once a later request is answered the server has passed the notification.
        unsaid.answered(9, 2);
        assert_eq!(unsaid.error(&raw(-1), [10].into()), [(10, error(-1))]);
    }

    #[test]
    fn few_answers_without_ids_are_remembered() {
        let mut unsaid = Unsaid::default();
        for _ in 0..2 * MAX_REMEMBERED {
            unsaid.error(&raw(-1), (0..1_000).collect());
        }

        assert_eq!(unsaid.remembered.len(), MAX_REMEMBERED);
    }
}
