//! Who decides in the place of those who are away when a call comes.

use crate::config::{Agent, Config, Role};
use crate::domain::absence::{Absence, StandIn, stand_in};
use crate::domain::time::Timestamp;

/// The stand-ins for those of `asked` who are away now. A stand-in must be somebody who could have
/// been asked: configured, no auditor, not the agent's owner; and is not asked already, since
/// nobody counts twice.
pub fn stand_ins(
    config: &Config,
    agent: &Agent,
    asked: &[String],
    absences: &[Absence],
    now: Timestamp,
) -> Vec<StandIn> {
    let fit = |delegate: &str| {
        config.reviewer(delegate).is_some_and(|r| r.role != Role::Auditor)
            && agent.owner.as_deref() != Some(delegate)
            && !asked.iter().any(|r| r == delegate)
    };
    asked
        .iter()
        .filter_map(|of| {
            let delegate = stand_in(absences, of, now).filter(|d| fit(d))?;
            Some(StandIn { delegate: delegate.to_owned(), of: of.clone() })
        })
        .collect()
}

/// Those of an approval's stand-ins that count by now: whom they stand in for is still asked, and
/// they are not asked by now themselves, and no auditors.
pub fn still_standing(config: &Config, stand_ins: &[StandIn], asked: &[String]) -> Vec<StandIn> {
    let decides = |name: &str| config.reviewer(name).is_some_and(|r| r.role != Role::Auditor);
    let stands = |s: &&StandIn| {
        asked.contains(&s.of) && !asked.contains(&s.delegate) && decides(&s.delegate)
    };
    stand_ins.iter().filter(stands).cloned().collect()
}

/// Everybody asked, stand-ins last.
pub fn with_stand_ins(mut asked: Vec<String>, stand_ins: &[StandIn]) -> Vec<String> {
    for s in stand_ins {
        if !asked.contains(&s.delegate) {
            asked.push(s.delegate.clone());
        }
    }
    asked
}
