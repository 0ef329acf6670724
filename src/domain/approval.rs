//! The stored item: one call waiting for, or decided by, people; and every way it may change.
//!
//! A change is a [`Transition`]: the approval after it, the decision it rests on, the audit
//! events it leaves. It is computed here from what was read, with the time passed in, and is the
//! only thing the store persists; the store refuses it when the row has changed since.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::audit::{AuditEvent, Kind};
use super::call::{Digest, ToolCall};
use super::person::{Person, Role};
use super::risk::{RiskClass, Severity};
use super::time::Timestamp;

mod enums;
mod facts;
mod outcome;
mod panel;
mod put_back;
mod refusal;
mod rights;
mod terms;

pub use enums::{Assurance, Choice, State, Unattended, Via};
pub use outcome::{Outcome, Settled};
pub use panel::{Join, Panel, Part};
pub use refusal::Refusal;
pub use rights::Actor;
pub use terms::Terms;

/// Most characters of a reviewer's reason.
pub const MAX_REASON: usize = 2_000;

/// The id of an approval: `apr_` and a UUIDv7 in 32 hex digits.
///
/// <https://www.rfc-editor.org/rfc/rfc9562#section-5.7>
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ApprovalId(String);

impl ApprovalId {
    /// The id that is made of this UUID.
    pub fn new(id: uuid::Uuid) -> Self {
        Self(format!("apr_{}", id.simple()))
    }

    /// Reads an id; none if it does not look like one.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("apr_")?;
        (hex.len() == 32 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
            .then(|| Self(text.to_owned()))
    }

    /// As printed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ApprovalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What one reviewer said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// The reviewer's name.
    pub reviewer: String,
    /// Whether they approve or reject.
    #[serde(rename = "decision")]
    pub choice: Choice,
    /// Why, at most [`MAX_REASON`] characters; may be empty for an approval.
    pub reason: String,
    /// Through which channel.
    pub via: Via,
    /// How surely it came from them.
    pub assurance: Assurance,
    /// When it was made.
    pub at: Timestamp,
}

/// One call waiting for, or decided by, people.
#[derive(Debug, Clone, PartialEq)]
pub struct Approval {
    /// Its id, which links and the interface name it by.
    pub id: ApprovalId,
    /// Counts changes; the store refuses a change based on an older one.
    pub version: i64,
    /// Where it stands.
    pub state: State,
    /// The call, with the exact bytes that would run.
    pub call: ToolCall,
    /// Name of the agent that asks.
    pub agent: String,
    /// What the agent's client calls itself, in its own words: nobody has checked them.
    pub client: Option<String>,
    /// JSON Pointer, into the policy, of the rule that asks
    /// (<https://www.rfc-editor.org/rfc/rfc6901>).
    pub rule: String,
    /// Why the rule asks, in the words of the policy.
    pub reason: Option<String>,
    /// The risk class that the rule gave its calls, if it gave one.
    pub risk: Option<RiskClass>,
    /// The severity that the rule gave its calls, if it gave one.
    pub severity: Option<Severity>,
    /// The rule's terms when it was made.
    pub terms: Terms,
    /// What was said so far, oldest first.
    pub decisions: Vec<Decision>,
    /// When the call came.
    pub created_at: Timestamp,
    /// Until when reviewers may decide.
    pub expires_at: Timestamp,
    /// When it was approved or rejected.
    pub decided_at: Option<Timestamp>,
    /// Until when an approved call may be claimed.
    pub claim_deadline: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Why it ended, where it was cancelled.
    pub end_reason: Option<String>,
    /// What the upstream answered.
    pub outcome: Option<Outcome>,
    /// How an indeterminate one was settled.
    pub settled: Option<Settled>,
    /// Whether its result is owed: its end has not been told to the agent yet.
    pub owed: bool,
    /// Id of the node that claimed it, while the call runs.
    pub executor: Option<String>,
    /// While the call runs: whether it surely has not been sent yet, since its executor has not
    /// marked that it is about to.
    pub unsent: bool,
    /// Whether a request of the agent is held for it now.
    pub waiting: bool,
    /// How many requests of the agent are held for it now.
    pub held: u32,
    /// Whether a task follows it, living or ended.
    pub followed: bool,
    /// When an identical call ran before, if it did within the retention.
    pub ran_before: Option<Timestamp>,
}

/// A change, ready to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// The approval after it; its `version` is the one the change was computed from.
    pub after: Approval,
    /// The state it was computed from.
    pub from: State,
    /// The decision it rests on.
    pub decision: Option<Decision>,
    /// What happened, for the audit.
    pub events: Vec<AuditEvent>,
    /// If set, the store makes the change only while `expires_at` is later than this.
    pub not_expired_at: Option<Timestamp>,
    /// If set, the store makes the change only while `claim_deadline` is later than this.
    pub claimable_at: Option<Timestamp>,
    /// If set, the store makes the change only while nobody waits for the approval: no request of a
    /// live process, and no task.
    pub unless_attached: bool,
    /// If set, the store makes the change only while no lease of the executor is alive at this
    /// instant.
    pub executor_dead_at: Option<Timestamp>,
    /// If set, the store makes the change only while the send was not marked.
    pub if_unsent: bool,
    /// Id of the held request that is detached with the change: it is answered with it.
    pub detaches: Option<String>,
}

impl Transition {
    /// The same change, with which that held request is detached.
    #[must_use]
    pub fn detaching(self, hold: Option<String>) -> Self {
        Self { detaches: hold, ..self }
    }

    /// The same change, made only where the executor is dead at `now`.
    #[must_use]
    pub fn if_executor_is_dead(self, now: Timestamp) -> Self {
        Self { executor_dead_at: Some(now), ..self }
    }
}

/// What all decisions amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// Enough said yes.
    Approved,
    /// One said no.
    Rejected,
}

/// What the decisions amount to: the first rejection rejects; without one, as many approvals as the
/// terms ask for approve. None while approvals are missing.
pub fn resolve(terms: &Terms, decisions: &[Decision]) -> Option<Resolution> {
    if decisions.iter().any(|d| d.choice == Choice::Reject) {
        return Some(Resolution::Rejected);
    }
    terms.are_met_by(&approvers(decisions)).then_some(Resolution::Approved)
}

fn approvers(decisions: &[Decision]) -> Vec<&str> {
    let yes = decisions.iter().filter(|d| d.choice == Choice::Approve);
    yes.map(|d| d.reviewer.as_str()).collect()
}

impl Approval {
    /// The digest of its call.
    pub fn digest(&self) -> &Digest {
        &self.call.digest
    }

    /// Names of those who approved.
    pub fn approvers(&self) -> Vec<&str> {
        approvers(&self.decisions)
    }

    /// What this reviewer said, if anything.
    pub fn decision_of(&self, reviewer: &str) -> Option<&Decision> {
        self.decisions.iter().find(|d| d.reviewer == reviewer)
    }

    /// Who rejected it, or what ended it, in words.
    pub fn deciding(&self) -> Option<&Decision> {
        self.decisions
            .iter()
            .find(|d| d.choice == Choice::Reject)
            .or_else(|| self.decisions.iter().max_by_key(|d| d.at))
    }

    /// Until when its rejection is the answer to identical calls; none unless it was rejected.
    pub fn cooldown_until(&self) -> Option<Timestamp> {
        match (self.state, self.decided_at) {
            (State::Rejected, Some(at)) => {
                Some(at.plus(Duration::from_secs(self.terms.cooldown_s)))
            }
            _ => None,
        }
    }

    fn changed(self, from: State, events: Vec<AuditEvent>) -> Transition {
        Transition {
            after: self,
            from,
            decision: None,
            events,
            not_expired_at: None,
            claimable_at: None,
            unless_attached: false,
            executor_dead_at: None,
            if_unsent: false,
            detaches: None,
        }
    }

    fn event(&self, kind: Kind, actor: &str, at: Timestamp) -> AuditEvent {
        AuditEvent::of(kind, actor, at, self)
    }

    /// Records one reviewer's decision and what all decisions together now amount to.
    ///
    /// The checks come in the order that the interface promises: the reviewer's right, the digest,
    /// the same decision again, the state, the time.
    ///
    /// # Errors
    /// The first [`Refusal`] among them: one about the person, then [`Refusal::DigestMismatch`],
    /// [`Refusal::Repeated`], [`Refusal::AlreadyDecided`] or [`Refusal::Expired`].
    pub fn decide(
        mut self,
        decision: Decision,
        role: Role,
        digest: Option<&str>,
    ) -> Result<Transition, Refusal> {
        let now = decision.at;
        let by = Actor {
            who: Person::new(&decision.reviewer, role),
            assurance: decision.assurance,
            via: decision.via,
        };
        match self.may_decide(by, decision.choice, now) {
            Err(refusal) if refusal.is_about_the_person() => return Err(refusal),
            _ if digest.is_some_and(|d| d != self.digest().as_str()) => {
                return Err(Refusal::DigestMismatch);
            }
            right => right?,
        }
        self.decisions.retain(|d| d.reviewer != decision.reviewer);
        self.decisions.push(decision.clone());
        let mut events = vec![
            self.event(Kind::DecisionRecorded, &decision.reviewer, now).with_decision(&decision),
        ];
        match resolve(&self.terms, &self.decisions) {
            Some(Resolution::Approved) => {
                self.state = State::Approved;
                self.decided_at = Some(now);
                self.claim_deadline =
                    Some(now.plus(Duration::from_secs(self.terms.claim_window_s)));
                events.push(self.event(Kind::ApprovalApproved, &decision.reviewer, now));
            }
            Some(Resolution::Rejected) => {
                self.state = State::Rejected;
                self.decided_at = Some(now);
                self.finished_at = Some(now);
                self.owed = true;
                events.push(self.event(Kind::ApprovalRejected, &decision.reviewer, now));
            }
            None => {}
        }
        let mut transition = self.changed(State::Pending, events);
        transition.decision = Some(decision);
        transition.not_expired_at = Some(now);
        Ok(transition)
    }

    /// Ends an approval that nobody decided, or whose call nobody claimed, in time.
    ///
    /// # Errors
    /// [`Refusal::WrongState`] where its time is not over, or where it has ended or is running.
    pub fn expire(mut self, now: Timestamp) -> Result<Transition, Refusal> {
        let from = self.state;
        if !self.is_overdue(now) {
            return Err(Refusal::WrongState(from));
        }
        self.state = State::Expired;
        self.finished_at = Some(now);
        self.owed = true;
        self.end_reason = Some(match from {
            State::Approved => "approved, but not called again before its claim deadline".into(),
            _ => "nobody decided in time".to_owned(),
        });
        let events = vec![self.event(Kind::ApprovalExpired, "placet", now)];
        Ok(self.changed(from, events))
    }

    /// Withdraws it for a person.
    ///
    /// # Errors
    /// [`Refusal::NotTheirsToWithdraw`] for a person who may not; [`Refusal::NotCancellable`] once
    /// the call is claimed or has ended.
    pub fn withdraw(
        self,
        by: Person<'_>,
        reason: &str,
        now: Timestamp,
    ) -> Result<Transition, Refusal> {
        self.may_withdraw(by)?;
        self.cancel(by.name, reason, now)
    }

    /// Withdraws it for the policy or for the agent's own client. `reason` is kept for people.
    ///
    /// # Errors
    /// [`Refusal::NotCancellable`] once the call is claimed or has ended.
    pub fn cancel(mut self, by: &str, reason: &str, now: Timestamp) -> Result<Transition, Refusal> {
        self.is_cancellable()?;
        let from = self.state;
        self.state = State::Cancelled;
        self.finished_at = Some(now);
        self.owed = true;
        self.end_reason = Some(reason.to_owned());
        let events = vec![self.event(Kind::ApprovalCancelled, by, now)];
        Ok(self.changed(from, events))
    }

    /// Claims the approved call for execution; this works once. `executor` is the node that runs
    /// it.
    ///
    /// # Errors
    /// [`Refusal::WrongState`] where it is not approved, [`Refusal::Expired`] after the claim
    /// deadline.
    pub fn claim(mut self, executor: &str, now: Timestamp) -> Result<Transition, Refusal> {
        if self.state != State::Approved {
            return Err(Refusal::WrongState(self.state));
        }
        if self.claim_deadline.is_none_or(|d| d <= now) {
            return Err(Refusal::Expired);
        }
        self.state = State::Running;
        self.executor = Some(executor.to_owned());
        self.unsent = true;
        let events = vec![self.event(Kind::CallClaimed, "placet", now)];
        let mut transition = self.changed(State::Approved, events);
        transition.claimable_at = Some(now);
        Ok(transition)
    }

    /// Stores the answer of the upstream to a running call; the result is owed from now on.
    ///
    /// # Errors
    /// [`Refusal::WrongState`] where it is not running.
    pub fn complete(mut self, outcome: Outcome, now: Timestamp) -> Result<Transition, Refusal> {
        if self.state != State::Running {
            return Err(Refusal::WrongState(self.state));
        }
        self.state = State::Completed;
        self.finished_at = Some(now);
        self.outcome = Some(outcome);
        self.owed = true;
        self.executor = None;
        self.unsent = false;
        let events = vec![self.event(Kind::CallCompleted, "placet", now)];
        Ok(self.changed(State::Running, events))
    }

    /// Gives back the claim of a call that certainly did not run: it is `approved` again, with the
    /// same claim deadline.
    ///
    /// # Errors
    /// [`Refusal::WrongState`] where it is not running.
    pub fn release(mut self, why: &str, now: Timestamp) -> Result<Transition, Refusal> {
        if self.state != State::Running {
            return Err(Refusal::WrongState(self.state));
        }
        self.state = State::Approved;
        self.executor = None;
        self.unsent = false;
        let events = vec![self.event(Kind::CallNotSent, "placet", now).with("why", why)];
        Ok(self.changed(State::Running, events))
    }

    /// Takes a claim back whose executor has not begun to send the call, and never will.
    ///
    /// # Errors
    /// [`Refusal::WrongState`] where it is not running, or may have been sent.
    pub fn give_back(self, why: &str, now: Timestamp) -> Result<Transition, Refusal> {
        if !self.unsent {
            return Err(Refusal::WrongState(self.state));
        }
        Ok(Transition { if_unsent: true, ..self.release(why, now)? })
    }

    /// Makes a call `indeterminate`: it was sent, and nobody knows what became of it. It is never
    /// sent again.
    ///
    /// # Errors
    /// [`Refusal::WrongState`] where it is not running.
    pub fn lose(mut self, why: &str, now: Timestamp) -> Result<Transition, Refusal> {
        if self.state != State::Running {
            return Err(Refusal::WrongState(self.state));
        }
        self.state = State::Indeterminate;
        self.executor = None;
        self.unsent = false;
        self.finished_at = Some(now);
        self.end_reason = Some(why.to_owned());
        let events = vec![self.event(Kind::CallIndeterminate, "placet", now).with("why", why)];
        Ok(self.changed(State::Running, events))
    }

    /// Stores what an admin says of an indeterminate call: whether it was `done`, and why they
    /// think so.
    ///
    /// # Errors
    /// [`Refusal::NotAdmin`] or [`Refusal::OwnAgentSettled`] for a person who may not;
    /// [`Refusal::NotIndeterminate`] or [`Refusal::AlreadySettled`] where there is nothing to
    /// settle.
    pub fn settle(
        mut self,
        done: bool,
        by: Person<'_>,
        reason: &str,
        now: Timestamp,
    ) -> Result<Transition, Refusal> {
        self.may_settle(by)?;
        self.settled = Some(Settled {
            done,
            by: by.name.to_owned(),
            reason: reason.to_owned(),
            at: now.to_string(),
        });
        self.owed = true;
        let events =
            vec![self.event(Kind::ApprovalSettled, by.name, now).with("done", &done.to_string())];
        Ok(self.changed(State::Indeterminate, events))
    }

    /// Stores an answer of the upstream that came after the call was given up as indeterminate.
    ///
    /// # Errors
    /// [`Refusal::NotIndeterminate`] where the call is in another state.
    pub fn answer_late(mut self, outcome: Outcome, now: Timestamp) -> Result<Transition, Refusal> {
        if self.state != State::Indeterminate {
            return Err(Refusal::NotIndeterminate(self.state));
        }
        self.outcome = Some(outcome);
        self.settled = Some(Settled {
            done: true,
            by: "upstream".to_owned(),
            reason: "the upstream's answer arrived late".to_owned(),
            at: now.to_string(),
        });
        self.owed = true;
        let events = vec![self.event(Kind::ApprovalSettled, "upstream", now)];
        Ok(self.changed(State::Indeterminate, events))
    }
}
