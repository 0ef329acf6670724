//! Who must be told of a change: pure planning, written to the outbox with the change itself.
//!
//! A delivery's id is made of what it tells to whom, so planning the same thing twice is one
//! delivery. Mails are rendered when they are sent; a webhook's body is a snapshot of the change.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::config::{Config, Notifier, NotifierKind, Reviewer, Role};
use crate::domain::approval::{Approval, Choice, State, Transition};
use crate::domain::approval_json::{Detail, approval_json};
use crate::domain::call::hex;
use crate::domain::json;
use crate::domain::mask::Masker;
use crate::domain::preferences::Preferences;
use crate::domain::time::Timestamp;
use crate::store::NewDelivery;

use crate::broker::Broker;

/// How long messages other than requests and reminders are tried.
pub(crate) const TRIED_FOR: Duration = Duration::from_hours(24);
/// Marks the copy for a list; its address follows.
pub(crate) const LIST_PREFIX: &str = "list:";

/// What everybody wants to be told, and when not.
#[derive(Debug, Clone, Default)]
pub struct Wishes(Arc<HashMap<String, Preferences>>);

impl Wishes {
    /// From the stored list of reviewers' names and wishes.
    pub fn new(all: Vec<(String, Preferences)>) -> Self {
        Self(Arc::new(all.into_iter().collect()))
    }

    /// The wishes of one person; the default if none are stored.
    pub fn of(&self, reviewer: &str) -> Preferences {
        self.0.get(reviewer).cloned().unwrap_or_default()
    }

    fn quiet_until(&self, reviewer: &str, now: Timestamp) -> Option<Timestamp> {
        self.0.get(reviewer)?.quiet?.over(now)
    }
}

impl Broker {
    /// The messages of a change.
    pub(in crate::broker) fn plan_change(
        &self,
        t: &Transition,
        wishes: &Wishes,
        now: Timestamp,
    ) -> Vec<NewDelivery> {
        Plan::new(self.config(), self.masker(), wishes, &t.after, now).of_change(t.from)
    }

    /// The messages of a new approval.
    pub fn plan_request(
        &self,
        approval: &Approval,
        wishes: &Wishes,
        now: Timestamp,
    ) -> Vec<NewDelivery> {
        Plan::new(self.config(), self.masker(), wishes, approval, now).of_request()
    }
}

/// The id of a delivery: equal for equal content, so that nothing is told twice.
pub(crate) fn delivery_id(
    about: &str,
    topic: &str,
    notifier: &str,
    recipient: Option<&str>,
) -> String {
    // Names can't hold the separator, and a recipient comes last.
    let whole = format!("{about}|{topic}|{notifier}|{}", recipient.unwrap_or(""));
    format!("dlv_{}", &hex(&Sha256::digest(whole))[..32])
}

/// The mail address at which this notifier reaches the reviewer. The mailbox in the process needs
/// none, so it gets a made-up one.
pub(crate) fn address(notifier: &Notifier, reviewer: &Reviewer) -> Option<String> {
    match notifier.kind {
        NotifierKind::Email { .. } => reviewer.email.clone(),
        NotifierKind::Memory => {
            Some(reviewer.email.clone().unwrap_or_else(|| format!("{}@localhost", reviewer.name)))
        }
        NotifierKind::Webhook { .. } => None,
    }
}

/// One approval, with all that planning may look at.
struct Plan<'a> {
    config: &'a Config,
    masker: &'a Masker,
    wishes: &'a Wishes,
    approval: &'a Approval,
    now: Timestamp,
    planned: Vec<NewDelivery>,
}

impl<'a> Plan<'a> {
    fn new(
        config: &'a Config,
        masker: &'a Masker,
        wishes: &'a Wishes,
        approval: &'a Approval,
        now: Timestamp,
    ) -> Self {
        Self { config, masker, wishes, approval, now, planned: Vec::new() }
    }

    /// A request to everyone asked, and perhaps a reminder.
    fn of_request(mut self) -> Vec<NewDelivery> {
        let until = self.approval.expires_at;
        for notifier in self.notifiers() {
            self.webhook(notifier, "requested", until);
            let remind_at = self.config.approvals.reminder.map(|before| until.minus(before));
            let remind_at = remind_at.filter(|at| *at > self.now);
            for reviewer in self.told(notifier) {
                let due = self.due(notifier, reviewer, self.now);
                self.mail(notifier, reviewer, "requested", due, until);
                if let Some(at) = remind_at.filter(|_| self.wishes.of(&reviewer.name).reminders) {
                    let due = self.due(notifier, reviewer, at);
                    self.mail(notifier, reviewer, "reminder", due, until);
                }
            }
            if let NotifierKind::Email { to, .. } = &notifier.kind {
                for address in to {
                    let recipient = format!("{LIST_PREFIX}{address}");
                    self.push(notifier, "requested", Some(recipient), None, self.now, until);
                }
            }
        }
        self.planned
    }

    /// The messages of a change of state; a change within a state has none.
    fn of_change(mut self, from: State) -> Vec<NewDelivery> {
        let to = self.approval.state;
        // All who were told that nobody knows are told that it ran.
        let is_late = from == to && is_answered_late(self.approval);
        if from == to && !is_late {
            return Vec::new();
        }
        let topic = if is_late { State::Completed } else { to };
        let people: Vec<&Reviewer> = match to {
            // Released: it was told to be approved before.
            State::Approved if from == State::Running => return Vec::new(),
            State::Pending | State::Running => return Vec::new(),
            State::Completed => Vec::new(),
            State::Approved | State::Rejected => self.undecided(),
            State::Expired if from == State::Pending => self.undecided(),
            State::Expired | State::Cancelled => merged(self.undecided(), self.approvers()),
            State::Indeterminate => merged(self.approvers(), self.admins()),
        };
        let until = self.now.plus(TRIED_FOR);
        for notifier in self.notifiers() {
            self.webhook(notifier, topic.as_str(), until);
            for reviewer in &people {
                let about_own = self.approval.decision_of(&reviewer.name).is_some();
                let wishes = self.wishes.of(&reviewer.name);
                if !wishes.decisions && !about_own && to != State::Indeterminate {
                    continue;
                }
                let quiet = self.wishes.quiet_until(&reviewer.name, self.now);
                let due = quiet.filter(|_| to != State::Indeterminate).unwrap_or(self.now);
                self.mail(notifier, reviewer, topic.as_str(), due, due.plus(TRIED_FOR));
            }
        }
        self.planned
    }

    fn mail(
        &mut self,
        notifier: &Notifier,
        reviewer: &Reviewer,
        topic: &str,
        due_at: Timestamp,
        give_up_at: Timestamp,
    ) {
        if address(notifier, reviewer).is_some() {
            let recipient = Some(reviewer.name.clone());
            self.push(notifier, topic, recipient, None, due_at, give_up_at);
        }
    }

    fn webhook(&mut self, notifier: &Notifier, topic: &str, give_up_at: Timestamp) {
        if matches!(notifier.kind, NotifierKind::Webhook { .. }) {
            let payload = self.payload(notifier, topic);
            self.push(notifier, topic, None, Some(payload), self.now, give_up_at);
        }
    }

    fn push(
        &mut self,
        notifier: &Notifier,
        topic: &str,
        recipient: Option<String>,
        payload: Option<String>,
        due_at: Timestamp,
        give_up_at: Timestamp,
    ) {
        let id =
            delivery_id(self.approval.id.as_str(), topic, &notifier.name, recipient.as_deref());
        self.planned.push(NewDelivery {
            id,
            approval: Some(self.approval.id.clone()),
            notifier: notifier.name.clone(),
            topic: topic.to_owned(),
            recipient,
            payload,
            due_at,
            give_up_at,
        });
    }

    fn payload(&self, notifier: &Notifier, topic: &str) -> String {
        let detail =
            if notifier.include_arguments { Detail::Masked(self.masker) } else { Detail::Without };
        let review_url = self.config.link(&format!("/approvals/{}", self.approval.id));
        let data = json::object([
            ("approval", approval_json(self.approval, detail).as_str()),
            ("review_url", json::quote(&review_url).as_str()),
        ]);
        json::object([
            ("type", json::quote(&format!("approval.{topic}")).as_str()),
            ("timestamp", json::quote(&self.now.to_string()).as_str()),
            ("data", data.as_str()),
        ])
    }

    /// The notifiers of the rule, in the order of the configuration, each once.
    fn notifiers(&self) -> Vec<&'a Notifier> {
        let names = &self.approval.terms.notify;
        self.config.notifiers.iter().filter(|n| names.contains(&n.name)).collect()
    }

    /// Who may decide, but for the agent's owner and those who no longer may.
    fn asked(&self) -> Vec<&'a Reviewer> {
        self.config.reviewers.iter().filter(|r| self.approval.asks(r.person())).collect()
    }

    /// Those of them whom this notifier mails: all but people who are away and whose delegate it
    /// reaches.
    fn told(&self, notifier: &Notifier) -> Vec<&'a Reviewer> {
        let reached =
            |name: &str| self.config.reviewer(name).is_some_and(|r| address(notifier, r).is_some());
        let replaced = |r: &&Reviewer| {
            let mut stand_ins = self.approval.terms.stand_ins.iter();
            stand_ins.any(|s| s.of == r.name && reached(&s.delegate))
        };
        self.asked().into_iter().filter(|r| !replaced(r)).collect()
    }

    /// When a reviewer is asked for a decision: at once; or after their quiet hours, if the people
    /// whom this notifier finds awake are enough to approve, and the approval is open till then.
    fn due(&self, notifier: &Notifier, reviewer: &Reviewer, at: Timestamp) -> Timestamp {
        let awake: Vec<&str> = self
            .told(notifier)
            .into_iter()
            .filter(|r| address(notifier, r).is_some())
            .filter(|r| self.wishes.quiet_until(&r.name, at).is_none())
            .map(|r| r.name.as_str())
            .collect();
        let enough = self.approval.terms.are_met_by(&awake);
        let later = self.wishes.quiet_until(&reviewer.name, at);
        later.filter(|later| enough && *later < self.approval.expires_at).unwrap_or(at)
    }

    fn undecided(&self) -> Vec<&'a Reviewer> {
        self.asked().into_iter().filter(|r| self.approval.decision_of(&r.name).is_none()).collect()
    }

    fn approvers(&self) -> Vec<&'a Reviewer> {
        let said_yes = |r: &&Reviewer| {
            self.approval.decision_of(&r.name).is_some_and(|d| d.choice == Choice::Approve)
        };
        self.config.reviewers.iter().filter(said_yes).collect()
    }

    fn admins(&self) -> Vec<&'a Reviewer> {
        self.config.reviewers.iter().filter(|r| r.role == Role::Admin).collect()
    }
}

/// Whether the upstream answered after the call was given up.
pub(in crate::broker) fn is_answered_late(approval: &Approval) -> bool {
    approval.state == State::Indeterminate && approval.outcome.is_some()
}

/// Both lists, everyone once.
fn merged<'a>(mut first: Vec<&'a Reviewer>, second: Vec<&'a Reviewer>) -> Vec<&'a Reviewer> {
    for reviewer in second {
        if !first.iter().any(|r| r.name == reviewer.name) {
            first.push(reviewer);
        }
    }
    first
}

#[cfg(test)]
mod tests;
