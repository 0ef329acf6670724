//! Several groups that decide together: each part of a panel asks for approvals of its own.

use serde::{Deserialize, Serialize};

/// How the parts of a panel are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Join {
    /// Every part must be satisfied, each approval counting for one part.
    All,
    /// One satisfied part is enough.
    Any,
}

impl Join {
    /// The word of the policy.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Any => "any",
        }
    }
}

/// One part: so many approvals of these people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// As the rule says it: `group:oncall`, or a reviewer's name.
    pub name: String,
    /// Names of those who may approve for it.
    pub reviewers: Vec<String>,
    /// Approvals it needs.
    pub quorum: u32,
}

/// A rule's joined reviewers: several parts that each need approvals of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panel {
    /// How they are joined.
    pub join: Join,
    /// The parts, in the order of the rule.
    pub parts: Vec<Part>,
}

impl Panel {
    /// Approvals it takes at least.
    pub fn quorum(&self) -> u32 {
        let each = self.parts.iter().map(|p| p.quorum);
        match self.join {
            Join::All => each.sum(),
            Join::Any => each.min().unwrap_or(0),
        }
    }

    /// Whether these people together are enough. A person who is in several parts counts for one
    /// of them, whichever helps.
    pub fn is_met_by(&self, people: &[&str]) -> bool {
        let given = self.given(people);
        let mut parts = self.parts.iter().zip(given).map(|(p, given)| given >= p.quorum);
        match self.join {
            Join::All => parts.all(|met| met),
            Join::Any => parts.any(|met| met),
        }
    }

    /// How many of these people's approvals count for each part; never more than the part needs.
    /// Where all parts are needed, nobody counts twice.
    pub fn given(&self, people: &[&str]) -> Vec<u32> {
        let fits = |person: &str, part: &Part| part.reviewers.iter().any(|r| r == person);
        if self.join == Join::Any {
            let count = |part: &Part| people.iter().filter(|p| fits(p, part)).count();
            let counted = self.parts.iter().map(|p| (count(p) as u64).min(u64::from(p.quorum)));
            return counted.map(|n| u32::try_from(n).unwrap_or(u32::MAX)).collect();
        }
        // Who counts where: seats are filled one by one, and a person moves to another part where
        // that makes room (augmenting paths).
        let mut seats: Vec<Vec<usize>> = vec![Vec::new(); self.parts.len()];
        for person in 0..people.len() {
            let mut seen = vec![false; self.parts.len()];
            self.seat(person, people, &mut seats, &mut seen);
        }
        seats.iter().map(|s| u32::try_from(s.len()).unwrap_or(u32::MAX)).collect()
    }

    /// How far the panel is, for people: `1 of 1 from security and 0 of 2 from oncall`.
    pub fn words(&self, people: &[&str]) -> String {
        let given = self.given(people);
        let words: Vec<String> = self
            .parts
            .iter()
            .zip(given)
            .map(|(part, given)| {
                let name = part.name.strip_prefix("group:").unwrap_or(&part.name);
                format!("{given} of {} from {name}", part.quorum)
            })
            .collect();
        words.join(match self.join {
            Join::All => " and ",
            Join::Any => " or ",
        })
    }

    fn seat(
        &self,
        person: usize,
        people: &[&str],
        seats: &mut Vec<Vec<usize>>,
        seen: &mut Vec<bool>,
    ) -> bool {
        for (i, part) in self.parts.iter().enumerate() {
            if seen[i] || !part.reviewers.iter().any(|r| r == people[person]) {
                continue;
            }
            seen[i] = true;
            if (seats[i].len() as u64) < u64::from(part.quorum) {
                seats[i].push(person);
                return true;
            }
            for place in 0..seats[i].len() {
                let sitting = seats[i][place];
                if self.seat(sitting, people, seats, seen) {
                    seats[i][place] = person;
                    return true;
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn panel(join: Join, parts: &[(&str, &[&str], u32)]) -> Panel {
        let part = |(name, people, quorum): &(&str, &[&str], u32)| Part {
            name: (*name).to_owned(),
            reviewers: people.iter().map(ToString::to_string).collect(),
            quorum: *quorum,
        };
        Panel { join, parts: parts.iter().map(part).collect() }
    }

    #[test]
    fn all_parts_are_needed_or_any() {
        let parts: [(&str, &[&str], u32); 2] =
            [("group:security", &["sam", "sue"], 1), ("group:oncall", &["ola", "ove"], 2)];
        let (all, any) = (panel(Join::All, &parts), panel(Join::Any, &parts));

        assert_eq!((all.quorum(), any.quorum()), (3, 1));
        assert!(!all.is_met_by(&["ola", "ove"]) && any.is_met_by(&["ola", "ove"]));
        assert!(all.is_met_by(&["ola", "sue", "ove"]));
        assert!(!any.is_met_by(&["ola", "eve"]) && any.is_met_by(&["sam"]));
        assert_eq!(all.given(&["ola", "sam", "sue"]), [1, 1], "a second one of a part is no more");
        assert_eq!(all.words(&["ola"]), "0 of 1 from security and 1 of 2 from oncall");
    }

    #[test]
    fn who_is_in_two_parts_counts_once_and_where_it_helps() {
        let both = panel(Join::All, &[("a", &["x", "y"], 1), ("b", &["x", "z"], 1)]);

        assert!(!both.is_met_by(&["x"]), "one person is never two");
        assert!(both.is_met_by(&["x", "y"]), "x moves to b");
        assert!(both.is_met_by(&["x", "z"]));
        assert!(!both.is_met_by(&["y"]));
    }

    proptest! {
        /// Against trying every way to let people count.
        #[test]
        fn seating_finds_a_way_where_there_is_one(
            sets in prop::collection::vec((0u8..32, 1u32..3), 1..4),
            said in 0u8..32,
        ) {
            let names = ["p0", "p1", "p2", "p3", "p4"];
            let of = |bits: u8| {
                (0..5).filter(|i| bits >> i & 1 == 1).map(|i| names[i]).collect::<Vec<_>>()
            };
            let parts: Vec<Part> = sets
                .iter()
                .map(|(bits, quorum)| Part {
                    name: "p".to_owned(),
                    reviewers: of(*bits).iter().map(ToString::to_string).collect(),
                    quorum: *quorum,
                })
                .collect();
            let people = of(said);
            let ways = (0..(parts.len() + 1).pow(u32::try_from(people.len()).unwrap())).any(|mut way| {
                let mut counts = vec![0u32; parts.len()];
                for person in &people {
                    let choice = way % (parts.len() + 1);
                    way /= parts.len() + 1;
                    if choice < parts.len() && parts[choice].reviewers.iter().any(|r| r == person) {
                        counts[choice] += 1;
                    }
                }
                counts.iter().zip(&parts).all(|(n, p)| *n >= p.quorum)
            });
            let panel = Panel { join: Join::All, parts };
            prop_assert_eq!(panel.is_met_by(&people), ways);
        }
    }
}
