//! Who is asked about an agent's calls under a rule, and who stands in for those who are away.

use super::absence::{Absence, StandIn, stand_in};
use super::approval::{Assurance, Panel, Part};
use super::person::Person;
use super::policy::ApprovalTerms;
use super::time::Timestamp;

/// Who decides on one agent's calls under one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reviewers {
    /// Names of those who may approve, in the order of the configuration: those whom the rule
    /// names, or all where it names none. An auditor or the agent's owner is never among them.
    pub eligible: Vec<String>,
    /// The rule's joined reviewers, each part with those who may approve for it; none where the
    /// rule joins none.
    pub panel: Option<Panel>,
    /// How many approvals are needed; with a panel, the least number that can satisfy it.
    pub quorum: u32,
    /// How surely a decision must come from the reviewer.
    pub assurance: Assurance,
}

/// How surely decisions under a rule must come from the reviewer: as the rule says, or else as the
/// configuration does.
pub(crate) fn assurance(rule: &ApprovalTerms, configured: Assurance) -> Assurance {
    rule.assurance.unwrap_or(configured)
}

impl Reviewers {
    /// Those of `people` whom the rule asks about the calls of an agent that belongs to `owner`.
    pub fn of(
        people: &[Person<'_>],
        rule: &ApprovalTerms,
        owner: Option<&str>,
        configured: Assurance,
    ) -> Self {
        let meant = |asked: &dyn Fn(Person<'_>) -> bool| {
            let fit = people.iter().filter(|p| may_be_asked(**p, owner) && asked(**p));
            fit.map(|p| p.name.to_owned()).collect::<Vec<_>>()
        };
        let eligible = meant(&|person| match (&rule.panel, &rule.reviewers) {
            (Some(panel), _) => panel.parts.iter().any(|(entry, _)| person.is_meant_by(entry)),
            (None, Some(asked)) => asked.iter().any(|entry| person.is_meant_by(entry)),
            (None, None) => true,
        });
        let panel = rule.panel.as_ref().map(|asked| {
            let part = |(entry, quorum): &(String, u32)| Part {
                name: entry.clone(),
                reviewers: meant(&|person| person.is_meant_by(entry)),
                quorum: *quorum,
            };
            Panel { join: asked.join, parts: asked.parts.iter().map(part).collect() }
        });
        Self {
            quorum: panel.as_ref().map_or(rule.quorum.unwrap_or(1), Panel::quorum),
            assurance: assurance(rule, configured),
            eligible,
            panel,
        }
    }

    /// The stand-ins for those who are away now. A stand-in must be a person who may be asked and
    /// is not asked already, since nobody counts twice. Where they are away too, whom they named
    /// stands in only if they are asked themselves: the agent's owner, an auditor and a stranger to
    /// the rule have no seat to hand on.
    pub fn stand_ins(
        &self,
        people: &[Person<'_>],
        owner: Option<&str>,
        absences: &[Absence],
        now: Timestamp,
    ) -> Vec<StandIn> {
        let fit = |delegate: &str| {
            people.iter().any(|p| p.name == delegate && may_be_asked(*p, owner))
                && !self.is_eligible(delegate)
        };
        let stand_in = |of: &String| {
            let asked = |delegate: &str| self.is_eligible(delegate);
            let delegate = stand_in(absences, of, now, asked).filter(|d| fit(d))?;
            Some(StandIn { delegate: delegate.to_owned(), of: of.clone() })
        };
        self.eligible.iter().filter_map(stand_in).collect()
    }

    /// Those of an approval's stand-ins that still count: the person they stand in for is still
    /// asked, they are not asked themselves by now, and they have not become auditors.
    pub fn still_standing(&self, people: &[Person<'_>], stand_ins: &[StandIn]) -> Vec<StandIn> {
        let decides = |name: &str| people.iter().any(|p| p.name == name && p.role.decides());
        let stands = |s: &&StandIn| {
            self.is_eligible(&s.of) && !self.is_eligible(&s.delegate) && decides(&s.delegate)
        };
        stand_ins.iter().filter(stands).cloned().collect()
    }

    /// Whether this person's approval counts: they are asked, or are one of these stand-ins.
    pub fn counts(&self, name: &str, stand_ins: &[StandIn]) -> bool {
        self.is_eligible(name) || stand_ins.iter().any(|s| s.delegate == name)
    }

    /// The names of everybody who is asked, stand-ins last.
    pub fn with_stand_ins(&self, stand_ins: &[StandIn]) -> Vec<String> {
        let mut asked = self.eligible.clone();
        for s in stand_ins {
            if !asked.contains(&s.delegate) {
                asked.push(s.delegate.clone());
            }
        }
        asked
    }

    fn is_eligible(&self, name: &str) -> bool {
        self.eligible.iter().any(|r| r == name)
    }
}

/// Whether a rule may ask this person about an agent that belongs to `owner`.
fn may_be_asked(person: Person<'_>, owner: Option<&str>) -> bool {
    person.role.decides() && owner != Some(person.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::approval::Join;
    use crate::domain::person::Role;
    use crate::domain::policy::AskedPanel;

    fn texts(of: &[&str]) -> Vec<String> {
        of.iter().map(ToString::to_string).collect()
    }

    /// Ana owns the agent and is on call with ben and cleo, an auditor; dora is an admin.
    fn reviewers(rule: &ApprovalTerms) -> Reviewers {
        let oncall = texts(&["oncall"]);
        let person = |name, role| Person { name, role, groups: &oncall };
        let people = [
            person("ana", Role::Reviewer),
            person("ben", Role::Reviewer),
            person("cleo", Role::Auditor),
            Person::new("dora", Role::Admin),
        ];
        Reviewers::of(&people, rule, Some("ana"), Assurance::Session)
    }

    fn eligible_of(reviewers: Option<&[&str]>) -> Vec<String> {
        let rule = ApprovalTerms { reviewers: reviewers.map(texts), ..ApprovalTerms::default() };
        self::reviewers(&rule).eligible
    }

    #[test]
    fn without_reviewers_everyone_but_owner_and_auditors_is_eligible() {
        assert_eq!(eligible_of(None), ["ben", "dora"]);
    }

    #[test]
    fn names_and_groups_are_resolved_once_each() {
        assert_eq!(eligible_of(Some(&["ben", "group:oncall"])), ["ben"]);
        assert_eq!(eligible_of(Some(&["group:oncall", "dora"])), ["ben", "dora"]);
        assert!(eligible_of(Some(&["ana", "cleo", "oncall", "group:none"])).is_empty());
    }

    #[test]
    fn what_the_rule_does_not_say_is_as_configured_and_a_panel_counts_for_itself() {
        let plain = reviewers(&ApprovalTerms::default());
        let parts = vec![("group:oncall".to_owned(), 1), ("dora".to_owned(), 1)];
        let joined = reviewers(&ApprovalTerms {
            panel: Some(AskedPanel { join: Join::All, parts }),
            assurance: Some(Assurance::Link),
            ..ApprovalTerms::default()
        });

        assert_eq!((plain.quorum, plain.assurance), (1, Assurance::Session));
        assert_eq!((joined.quorum, joined.assurance), (2, Assurance::Link));
        assert_eq!(joined.eligible, ["ben", "dora"]);
        let of: Vec<_> = joined.panel.unwrap().parts.into_iter().map(|p| p.reviewers).collect();
        assert_eq!(of, [texts(&["ben"]), texts(&["dora"])]);
    }

    #[test]
    fn a_chain_through_the_owner_an_auditor_or_a_stranger_to_the_rule_ends_there() {
        let at = |hour: i64| Timestamp::from_micros(hour * 3_600_000_000);
        let people = [
            Person::new("ana", Role::Reviewer),
            Person::new("ben", Role::Reviewer),
            Person::new("cleo", Role::Auditor),
            Person::new("dora", Role::Admin),
            Person::new("eve", Role::Reviewer),
            Person::new("fay", Role::Reviewer),
        ];
        let rule =
            ApprovalTerms { reviewers: Some(texts(&["ben", "eve"])), ..ApprovalTerms::default() };
        let asked = Reviewers::of(&people, &rule, Some("ana"), Assurance::Link);
        let away = |reviewer: &str, delegate: &str| Absence {
            id: String::new(),
            reviewer: reviewer.to_owned(),
            delegate: delegate.to_owned(),
            from: at(0),
            until: at(2),
        };
        let for_ben = |chain: &[(&str, &str)]| {
            let absences: Vec<_> = chain.iter().map(|(who, to)| away(who, to)).collect();
            let stands = asked.stand_ins(&people, Some("ana"), &absences, at(1));
            stands.into_iter().find(|s| s.of == "ben").map(|s| s.delegate)
        };

        assert_eq!(for_ben(&[("ben", "ana"), ("ana", "fay")]), None, "the agent's owner");
        assert_eq!(for_ben(&[("ben", "cleo"), ("cleo", "fay")]), None, "an auditor");
        assert_eq!(for_ben(&[("ben", "gone"), ("gone", "fay")]), None, "nobody by that name");
        assert_eq!(
            for_ben(&[("ben", "dora"), ("dora", "fay")]).as_deref(),
            Some("dora"),
            "whom ben named has no seat of her own to hand on"
        );
        assert_eq!(
            for_ben(&[("ben", "eve"), ("eve", "ana"), ("ana", "fay")]),
            None,
            "and behind one who is asked"
        );
        assert_eq!(for_ben(&[("ben", "eve"), ("eve", "fay")]).as_deref(), Some("fay"));
    }

    #[test]
    fn only_who_could_have_been_asked_and_is_not_stands_in() {
        let at = |hour: i64| Timestamp::from_micros(hour * 3_600_000_000);
        let people = [
            Person::new("ana", Role::Reviewer),
            Person::new("ben", Role::Reviewer),
            Person::new("cleo", Role::Auditor),
            Person::new("dora", Role::Admin),
            Person::new("eve", Role::Reviewer),
        ];
        let rule =
            ApprovalTerms { reviewers: Some(texts(&["ben", "eve"])), ..ApprovalTerms::default() };
        let asked = Reviewers::of(&people, &rule, Some("ana"), Assurance::Link);
        let for_ben = |delegate: &str| {
            let absence = Absence {
                id: String::new(),
                reviewer: "ben".to_owned(),
                delegate: delegate.to_owned(),
                from: at(0),
                until: at(2),
            };
            asked.stand_ins(&people, Some("ana"), &[absence], at(1))
        };

        for unfit in ["ana", "cleo", "eve", "stranger"] {
            assert!(for_ben(unfit).is_empty(), "{unfit}");
        }
        let stands = for_ben("dora");
        assert_eq!(asked.with_stand_ins(&stands), ["ben", "eve", "dora"]);
        assert_eq!(asked.still_standing(&people, &stands), stands);
        assert!(asked.counts("dora", &stands) && !asked.counts("dora", &[]));
        let later = Reviewers { eligible: texts(&["eve"]), ..asked };
        assert!(later.still_standing(&people, &stands).is_empty(), "ben is not asked any more");
    }
}
