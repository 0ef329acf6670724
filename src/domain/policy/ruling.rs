//! What one rule makes of one call: deny, then the preconditions, then to ask, then allow. What a rule counts
//! is counted before people are asked, by whoever lets the call through.

use super::checks::Check;
use super::condition::Condition;
use super::{Action, ApprovalTerms, CallFacts, Rule, Verdict};

/// What a rule makes of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ruling<'p> {
    pub(super) action: Action,
    /// The rule, or that of its approvals by which people are asked.
    pub(super) rule: &'p Rule,
    /// The precondition that denies.
    pub(super) check: Option<&'p Check>,
}

impl<'p> From<Ruling<'p>> for Verdict<'p> {
    fn from(ruling: Ruling<'p>) -> Self {
        let Ruling { action, rule, check } = ruling;
        Self::Ruled { action, rule, check }
    }
}

/// Why a call is denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// JSON Pointer of what denies it.
    pub rule: String,
    /// What the policy calls that, where it has a name.
    pub name: Option<String>,
    /// What the agent is told.
    pub reason: Option<String>,
}

impl Denial {
    /// A denial by what has no name.
    pub fn new(rule: &str, reason: Option<String>) -> Self {
        Self { rule: rule.to_owned(), name: None, reason }
    }
}

impl Rule {
    /// A rule without terms.
    pub(super) fn new(pointer: String, action: Action) -> Self {
        Self {
            pointer,
            name: None,
            action,
            reason: None,
            rate_limit: None,
            checks: Vec::new(),
            limits: Vec::new(),
            sensitive: false,
            redact: Vec::new(),
            masked_ok: false,
            risk: None,
            severity: None,
            approval: ApprovalTerms::default(),
            approvals: Vec::new(),
            within: None,
        }
    }

    /// Why it denies a call: by one of its preconditions, or by itself.
    pub fn denial(&self, check: Option<&Check>) -> Denial {
        match check {
            Some(check) => Denial {
                rule: check.pointer.clone(),
                name: check.name.clone(),
                reason: Some(check.told()),
            },
            None => Denial {
                rule: self.pointer.clone(),
                name: self.name.clone(),
                reason: self.reason.clone(),
            },
        }
    }

    /// The pointer under which its calls are counted and found again: of one of several approvals, that of
    /// the rule that has them.
    pub fn counted_under(&self) -> &str {
        self.within.as_deref().unwrap_or(&self.pointer)
    }

    /// The JSON Pointer of its approval's terms.
    pub fn terms_pointer(&self) -> String {
        match self.within {
            Some(_) => self.pointer.clone(),
            None => format!("{}/approval", self.pointer),
        }
    }

    /// The rule that has this pointer: itself, or one of its approvals.
    pub fn with_pointer(&self, pointer: &str) -> Option<&Self> {
        if self.pointer == pointer {
            return Some(self);
        }
        self.approvals.iter().find(|rule| rule.pointer == pointer)
    }

    /// Gives each of its approvals what the rule says of all its calls.
    pub(super) fn spread_to_approvals(&mut self) {
        let mut approvals = std::mem::take(&mut self.approvals);
        for rule in &mut approvals {
            rule.reason = rule.reason.take().or_else(|| self.reason.clone());
            rule.rate_limit = self.rate_limit;
            rule.limits.clone_from(&self.limits);
            rule.sensitive = self.sensitive;
            rule.redact.clone_from(&self.redact);
            rule.masked_ok = self.masked_ok;
            rule.risk = self.risk;
            rule.severity = self.severity;
            rule.within = Some(self.pointer.clone());
        }
        self.approvals = approvals;
    }

    /// Whether it asks, but not about every call.
    pub fn may_let_through(&self) -> bool {
        let asks_all = |rule: &Self| rule.approval.when.is_empty();
        self.action == Action::RequireApproval
            && match self.approvals.as_slice() {
                [] => !asks_all(self),
                several => !several.iter().any(asks_all),
            }
    }

    /// All its conditions, those of its preconditions first.
    pub(super) fn conditions(&self) -> impl Iterator<Item = &Condition> {
        let asking = self.approvals.iter().flat_map(|rule| &rule.approval.when);
        let checks = self.checks.iter().flat_map(|check| &check.conditions);
        checks.chain(&self.approval.when).chain(asking)
    }

    /// What it makes of this call. `shared` are preconditions of all tools.
    pub(super) fn ruling<'p>(
        &'p self,
        shared: &'p [Check],
        facts: &CallFacts<'_, '_>,
    ) -> Ruling<'p> {
        let by = |action, rule| Ruling { action, rule, check: None };
        if self.action == Action::Deny {
            return by(Action::Deny, self);
        }
        if let Some(check) = self.checks.iter().chain(shared).find(|check| check.denies(facts)) {
            return Ruling { action: Action::Deny, rule: self, check: Some(check) };
        }
        if self.action == Action::Allow {
            return by(Action::Allow, self);
        }
        let asks = |rule: &Self| rule.approval.when.iter().all(|c| c.examine(facts).asks());
        let asking = match self.approvals.as_slice() {
            [] => asks(self).then_some(self),
            several => several.iter().find(|rule| asks(rule)),
        };
        match asking {
            Some(rule) => by(Action::RequireApproval, rule),
            None => by(Action::Allow, self),
        }
    }
}
