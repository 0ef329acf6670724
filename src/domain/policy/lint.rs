//! Warnings about what a policy may say but its author hardly meant.
//!
//! Only rules read without an error are looked at, so that no warning rests on a guess.

use super::pattern::Pattern;
use super::walk::{Walk, at};
use super::{Action, Match, Policy, Rule, fits};
use crate::domain::risk::Severity;

/// Notes every warning.
pub(super) fn warn(policy: &Policy, walk: &mut Walk) {
    let broken = |walk: &Walk, rule: &Rule| {
        let inside = format!("{}/", rule.pointer);
        let broken =
            |place: &str| place == rule.pointer || place.starts_with(&inside) || place.is_empty();
        walk.problems.iter().any(|p| !p.warning && broken(&p.place))
    };
    let matches: Vec<&Match> = policy.matches.iter().filter(|m| !broken(walk, &m.rule)).collect();
    for entry in &policy.tools {
        if broken(walk, &entry.rule) {
            continue;
        }
        if let Some((i, pattern)) = policy.hidden_by(&entry.name) {
            walk.warn(
                &entry.rule.pointer,
                format!("never decides: /hide/{i} ({:?}) hides the tool; remove one", pattern.text),
            );
        } else if let Some(stricter) = loosened(&matches, &entry.name, &entry.rule) {
            walk.warn(
                &entry.rule.pointer,
                format!(
                    "loosens {} ({}), which would decide this tool too; \
                     the exact entry wins: make it as strict if that is not meant",
                    stricter.pointer,
                    stricter.action.as_str()
                ),
            );
        }
    }
    for rule in policy.rules().filter(|rule| rule.approval.grant.is_some()) {
        if !broken(walk, rule) && rule.severity == Some(Severity::Critical) {
            walk.warn(
                &at(&rule.terms_pointer(), "grant"),
                "is never offered: the rule says that its calls are \"critical\", and those are \
                 each decided by a person",
            );
        }
    }
    for (i, entry) in matches.iter().enumerate() {
        if let Some(earlier) = matches[..i].iter().find(|e| e.covers(entry)) {
            let pointer = &earlier.rule.pointer;
            let why = format!("is never reached: {pointer} fits whatever this fits");
            walk.warn(&entry.rule.pointer, format!("{why}; move it up or remove it"));
        }
        if entry.tools.is_none() && entry.agents.is_none() && entry.risk.is_none() {
            walk.warn(
                &entry.rule.pointer,
                "fits every call of every tool; say \"default\" if that is meant, \
                 or add \"tools\", \"agents\" or \"risk\"",
            );
        }
        let all_hidden = entry.tools.as_deref().is_some_and(|tools| covered(&policy.hide, tools));
        if all_hidden {
            walk.warn(
                &at(&entry.rule.pointer, "tools"),
                "every one of these is hidden, so this never decides; remove one",
            );
        }
    }
}

/// The stricter `match` that would decide the tool, were it not for its exact entry. A `match`
/// by `risk` alone is left out: it says nothing of names, and exact entries are how one says that
/// a tool is harmless.
fn loosened<'m>(matches: &[&'m Match], tool: &str, rule: &Rule) -> Option<&'m Rule> {
    for entry in matches {
        let by_risk_alone = entry.risk.is_some() && entry.tools.is_none();
        if by_risk_alone || !fits(entry.tools.as_deref(), tool) {
            continue;
        }
        if strictness(&entry.rule) > strictness(rule) {
            return Some(&entry.rule);
        }
        if entry.agents.is_none() && entry.risk.is_none() {
            return None;
        }
    }
    None
}

fn strictness(rule: &Rule) -> u8 {
    match rule.action {
        Action::Allow => 0,
        Action::RequireApproval if rule.may_let_through() => 1,
        Action::RequireApproval => 2,
        Action::Deny => 3,
    }
}

impl Match {
    /// Whether it certainly fits everything that `later` fits.
    fn covers(&self, later: &Self) -> bool {
        self.covers_risk_of(later)
            && lists_cover(self.tools.as_deref(), later.tools.as_deref())
            && lists_cover(self.agents.as_deref(), later.agents.as_deref())
    }

    /// Whether it names every risk class that `later` may be about.
    fn covers_risk_of(&self, later: &Self) -> bool {
        match (&self.risk, &later.risk) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(mine), Some(theirs)) => theirs.iter().all(|word| mine.contains(word)),
        }
    }
}

fn lists_cover(mine: Option<&[Pattern]>, theirs: Option<&[Pattern]>) -> bool {
    match (mine, theirs) {
        (None, _) => true,
        (Some(mine), None) => mine.iter().any(|p| p.text == "*"),
        (Some(mine), Some(theirs)) => covered(mine, theirs),
    }
}

fn covered(by: &[Pattern], patterns: &[Pattern]) -> bool {
    !patterns.is_empty() && patterns.iter().all(|p| by.iter().any(|b| b.covers(p)))
}
