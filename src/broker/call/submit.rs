//! An agent's call comes in: judged by the policy in force, then answered, forwarded or held.

use std::sync::Arc;

use crate::domain::approval::{Approval, State};
use crate::domain::audit::{AuditEvent, Kind};
use crate::domain::call::Method;
use crate::domain::policy::{Action, Denial, Policy, Rule, Verdict};
use crate::domain::time::Timestamp;
use crate::store::{Cap, NewHold, StoreError, Submit, Submitted};

use super::answer::{Answer, Delivery, ended};
use super::asking::Asking;
use super::attached::HoldGuard;
use super::counting::Uncounted;
use super::hold::Held;
use super::limits::limit_key;
use super::over_limit::reached;
use super::permit::Permit;
use super::prepare::Prepared;
use super::refusals::{
    NO_POLICY, cap_name, denied, limited, too_many, unavailable_upstream, uncertain,
};
use super::result_delivery::OwedResult;
use super::seal;
use crate::broker::Broker;

/// Reason given where an approval ends because the policy denies its call now.
pub(in crate::broker) const NO_LONGER_PERMITTED: &str =
    "no longer permitted: the policy now denies this call";
/// Reason given where an approval ends because the policy allows its call now.
pub(in crate::broker) const NO_LONGER_NEEDED: &str = "no longer needs approval";

/// What becomes of a call.
#[derive(Debug)]
pub enum Submission {
    /// There is nothing of that name, or it is hidden: both get the same answer.
    UnknownTool,
    /// The parameters are not acceptable, for this reason.
    Invalid(String),
    /// It is answered at once.
    Answered(Answer),
    /// The identical call ended before, and this is its owed result.
    Ended {
        /// The answer it ended with.
        answer: Answer,
        /// Present where this answer is the one hand-over of that result.
        owed: Option<OwedResult>,
    },
    /// It is allowed: send it now.
    Forward(Permit),
    /// It waits for its approval.
    Held(Box<Held>),
}

impl Broker {
    /// Judges a call by the policy in force, and answers, forwards or holds it.
    pub async fn submit(&self, asking: Asking) -> Submission {
        self.all_told(&asking.agent.name, &asking.call.digest).await;
        let now = self.now();
        let call = &asking.call;
        let Some(policy) = self.policies().of(&call.upstream) else {
            let denial = Denial::new("/default", Some(NO_POLICY.to_owned()));
            return self.deny(&asking, &denial).await;
        };
        let Ok(verdict) = self.judge(&policy, &asking.agent.name, call) else {
            return Submission::Invalid("not JSON".to_owned());
        };
        if call.method != Method::CallTool {
            return self.submit_other(asking, &policy, verdict, now).await;
        }
        let catalog = self.upstream(&call.upstream).and_then(|u| u.catalog());
        match (&catalog, verdict) {
            (Some(catalog), Verdict::Ruled { action, rule, check })
                if catalog.find(&call.tool).is_some() =>
            {
                match action {
                    Action::Deny => self.deny(&asking, &rule.denial(check)).await,
                    Action::Allow => self.allow(asking, rule, now).await,
                    Action::RequireApproval => {
                        let fingerprint = catalog.find(&call.tool).map(|t| t.fingerprint.clone());
                        self.ask_by(&policy, asking, rule, fingerprint, now).await
                    }
                }
            }
            // Hidden and unknown look the same, and neither loses what runs already.
            (Some(_), _) => match self.join_running(&asking).await {
                Ok(Some(joined)) => joined,
                _ => Submission::UnknownTool,
            },
            // No list was ever fetched: nothing can be said of any name, but what is stored of
            // this very call is still true.
            (None, verdict) => match self.stored_answer(&asking, &verdict).await {
                Ok(Some(submission)) => submission,
                Ok(None) => Submission::Answered(unavailable_upstream(&call.upstream).into()),
                Err(error) => {
                    tracing::error!(%error, "what is stored of a call can't be read");
                    Submission::Answered(uncertain().into())
                }
            },
        }
    }

    /// Judges a call for a prompt or a resource. No list of them is kept, so the upstream answers
    /// for those that do not exist (code -32002 for resources, after
    /// <https://modelcontextprotocol.io/specification/2025-11-25/server/resources#error-handling>).
    async fn submit_other(
        &self,
        asking: Asking,
        policy: &Arc<Policy>,
        verdict: Verdict<'_>,
        now: Timestamp,
    ) -> Submission {
        match verdict {
            // Nothing is said of it any more: it passes.
            Verdict::Ungoverned => Submission::Forward(Permit::allowed(asking.call)),
            Verdict::Hidden => match self.join_running(&asking).await {
                Ok(Some(joined)) => joined,
                _ => Submission::UnknownTool,
            },
            Verdict::Ruled { action: Action::Deny, rule, check } => {
                self.deny(&asking, &rule.denial(check)).await
            }
            Verdict::Ruled { action: Action::Allow, rule, .. } => {
                self.allow(asking, rule, now).await
            }
            Verdict::Ruled { action: Action::RequireApproval, rule, .. } => {
                self.ask_by(policy, asking, rule, None, now).await
            }
        }
    }

    /// Makes or joins an approval, if the policy by which it is needed is still in force once the
    /// other brokers know of it; else the call is judged again.
    async fn ask_by(
        &self,
        policy: &Arc<Policy>,
        asking: Asking,
        rule: &Rule,
        fingerprint: Option<String>,
        now: Timestamp,
    ) -> Submission {
        if !self.may_make_approvals().await {
            return self.unsent(&asking, &StoreError::away()).await;
        }
        let (agent, digest) = (asking.agent.name.clone(), asking.call.digest.clone());
        let _submitting = self.open_calls().begin(&agent, &digest);
        let in_force = self.policies().of(&asking.call.upstream);
        if !in_force.is_some_and(|now| Arc::ptr_eq(&now, policy)) {
            return Box::pin(self.submit(asking)).await;
        }
        self.ask(asking, rule, fingerprint, now).await
    }

    /// Joins the identical call if it is running or not settled, whatever the policy says now. A
    /// pending or approved one, which the policy no longer lets through, is ended.
    async fn join_running(&self, asking: &Asking) -> Result<Option<Submission>, StoreError> {
        if !self.may_be_open(asking) {
            return Ok(None);
        }
        let Some(found) = self.find_identical_briefly(asking).await? else { return Ok(None) };
        match found.state {
            State::Running => Ok(Some(self.joined(asking, found).await)),
            State::Indeterminate if found.settled.is_none() => Ok(self.answer_end(&found)),
            State::Pending | State::Approved => {
                match self.overtake(found, NO_LONGER_PERMITTED).await? {
                    Some(running) => Ok(Some(self.joined(asking, running).await)),
                    None => Ok(None),
                }
            }
            _ => {
                self.store().approvals().take_end(&found.id, found.end_told(self.now())).await?;
                Ok(None)
            }
        }
    }

    /// What is stored of this call, while the upstream's tool list is not known.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read.
    async fn stored_answer(
        &self,
        asking: &Asking,
        verdict: &Verdict<'_>,
    ) -> Result<Option<Submission>, StoreError> {
        let Some(found) = self.find_identical(asking).await? else { return Ok(None) };
        let permitted = matches!(
            verdict,
            Verdict::Ruled { action: Action::RequireApproval | Action::Allow, .. }
        );
        Ok(match found.state {
            State::Running => Some(self.joined(asking, found).await),
            State::Indeterminate if found.settled.is_none() => self.answer_end(&found),
            State::Pending | State::Approved => {
                if permitted {
                    Some(self.joined(asking, found).await)
                } else {
                    None
                }
            }
            _ if permitted => self.answer_end(&found),
            _ => None,
        })
    }

    /// The approval of the identical call that is open, or whose result is still owed.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub(in crate::broker) async fn find_identical(
        &self,
        asking: &Asking,
    ) -> Result<Option<Approval>, StoreError> {
        let now = self.now();
        let since = now.minus(self.config().approvals.result_retention);
        self.store()
            .approvals()
            .find_identical(&asking.agent.name, &asking.call.digest, since, now)
            .await
    }

    /// The same, where the call is answered without the store if that takes longer than a moment.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read, or not now.
    pub(super) async fn find_identical_briefly(
        &self,
        asking: &Asking,
    ) -> Result<Option<Approval>, StoreError> {
        let (broker, asking) = (self.clone(), asking.clone());
        self.asked_briefly(async move { broker.find_identical(&asking).await }).await
    }

    /// The answer that an ended approval gives to a later identical call.
    pub(in crate::broker) fn answer_end(&self, approval: &Approval) -> Option<Submission> {
        let delivery = Delivery { replayed: true, shared: false };
        let answer = ended(approval, delivery, self.now())?;
        Some(Submission::Ended { answer, owed: self.owed_result(approval) })
    }

    /// Cancels an approval that the policy has made pointless. Its result is owed to nobody: this
    /// very call gets another answer, and the attached requests get the cancellation. Returns the
    /// approval if it was claimed meanwhile: a running call is joined.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub(in crate::broker) async fn overtake(
        &self,
        mut found: Approval,
        reason: &str,
    ) -> Result<Option<Approval>, StoreError> {
        // A reviewer may decide, or a holder claim, in between; each can happen once.
        loop {
            // It runs, or it ran a moment ago and the word of it is on its way: joined.
            let ran = matches!(found.state, State::Completed | State::Indeterminate) && found.owed;
            if found.state == State::Running || ran {
                return Ok(Some(found));
            }
            let Ok(mut transition) = found.cancel("policy", reason, self.now()) else {
                return Ok(None);
            };
            transition.after.owed = false;
            match self.apply(transition).await {
                Ok(_) => return Ok(None),
                Err(StoreError::Conflict(current)) => found = *current,
                Err(error) => return Err(error),
            }
        }
    }

    async fn deny(&self, asking: &Asking, denial: &Denial) -> Submission {
        let mut doubt = "";
        match self.join_running(asking).await {
            Ok(Some(joined)) => return joined,
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%error, "what is stored of a denied call can't be read");
                doubt = " Whether an identical call that you made before was executed can't be \
                         looked up now: Placet can't use its store.";
            }
        }
        let call = &asking.call;
        self.metrics().call(&call.upstream, "deny");
        let event = self.call_event(Kind::CallDenied, asking, &denial.rule);
        self.record_refusal(event).await;
        let mut statement = denied(&call.title(), denial);
        statement.text.push_str(doubt);
        Submission::Answered(statement.into())
    }

    /// The answer to a call that does not pass its rule's limits.
    pub(in crate::broker) async fn over_limit(
        &self,
        asking: &Asking,
        rule: &Rule,
        why: Uncounted,
    ) -> Submission {
        let statement = match why {
            Uncounted::Refused(statement) => statement,
            Uncounted::Store(error) => return self.unsent(asking, &error).await,
        };
        self.metrics().call(&asking.call.upstream, "rate_limited");
        let pointer = statement.rule.as_deref().unwrap_or(&rule.pointer);
        let event = self.call_event(Kind::CallLimited, asking, pointer);
        self.record_refusal(event).await;
        Submission::Answered((*statement).into())
    }

    async fn ask(
        &self,
        asking: Asking,
        rule: &Rule,
        fingerprint: Option<String>,
        now: Timestamp,
    ) -> Submission {
        let limits = &self.config().approvals;
        let call = &asking.call;
        let size = call.arguments().len();
        if size > limits.max_arguments {
            return Submission::Invalid(format!(
                "the arguments have {size} bytes; a call that needs approval may have at most {} \
                 (approvals.max_arguments)",
                limits.max_arguments
            ));
        }
        if let Some(id) = &asking.waits_for {
            return self.rejoin(&asking, id).await;
        }
        match seal::check(self, &asking, now).await {
            seal::Check::None => {}
            seal::Check::Passes { call, continues } => {
                let event = self
                    .call_event(Kind::CallAllowed, &asking, &rule.pointer)
                    .with("continues", &continues.approval);
                if let Err(error) = self.record(vec![event]).await {
                    tracing::error!(%error, "a continued call could not be recorded");
                    return self.unsent(&asking, &error).await;
                }
                return Submission::Forward(Permit::resumed(call, continues));
            }
            seal::Check::Invalid(why) => return Submission::Invalid(why),
            seal::Check::Refused(said) => return Submission::Answered((*said).into()),
            seal::Check::Unavailable => return Submission::Answered(uncertain().into()),
        }
        if let Some(let_through) = self.by_grant(&asking, rule).await {
            return let_through;
        }
        let draws = match Self::draws(&asking, rule, &call.title()) {
            Ok(draws) => draws,
            // What is open or owed already comes before limits.
            Err(why) => match self.find_identical(&asking).await {
                Ok(None) => return self.over_limit(&asking, rule, why).await,
                Ok(Some(found)) => match self.answer_end(&found) {
                    Some(answer) => return answer,
                    None => return self.joined(&asking, found).await,
                },
                Err(error) => return self.unsent(&asking, &error).await,
            },
        };
        // Boxed: it would make every request's future larger.
        let prepared = Box::pin(self.prepare(&asking, rule, fingerprint, now)).await;
        let Prepared { approval, event, deliveries } = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                tracing::error!(%error, "a call that needs approval could not be prepared");
                return self.unsent(&asking, &error).await;
            }
        };
        let new_per_agent = limits.max_new_per_agent;
        let request = Submit {
            events: vec![event],
            deliveries,
            hold: self.new_hold(&asking.agent.name),
            max_held: limits.max_held_per_agent,
            max_pending_per_agent: limits.max_pending_per_agent,
            max_pending: limits.max_pending,
            max_submitting: limits.max_submitting,
            max_submitting_per_agent: limits.max_submitting_per_agent,
            max_new: new_per_agent.max,
            new_since: now.minus(new_per_agent.window),
            owed_since: now.minus(limits.result_retention),
            limit: rule
                .rate_limit
                .map(|l| (limit_key(&asking, rule, l), l.max, now.minus(l.window))),
            draws,
            approval,
        };
        let drawn = request.draws.clone();
        let hold = HoldGuard::before(self, &request.hold);
        // Two brokers may insert the identical call at once: the index lets one in, and the
        // other finds it when it looks again.
        let mut submitted = self.store().approvals().submit(request.clone(), now).await;
        if submitted.as_ref().is_err_and(StoreError::is_duplicate) {
            submitted = self.store().approvals().submit(request, now).await;
        }
        match submitted {
            Ok(Submitted::Created { approval, held }) => {
                self.metrics().call(&call.upstream, "require_approval");
                self.hints().changed(&approval.id);
                tracing::info!(
                    approval.id = %approval.id,
                    "approval {} requested by {} for {}/{}",
                    approval.id, approval.agent, approval.call.upstream, approval.call.title()
                );
                let hold = hold.stored(&approval.id, held);
                Submission::Held(Box::new(Held::new(self.clone(), asking, approval, hold)))
            }
            Ok(Submitted::Attached { approval, held }) => {
                self.hints().changed(&approval.id);
                let hold = hold.stored(&approval.id, held);
                Submission::Held(Box::new(Held::new(self.clone(), asking, approval, hold)))
            }
            Ok(Submitted::Ended(approval)) => self
                .answer_end(&approval)
                .unwrap_or_else(|| Submission::Answered(uncertain().into())),
            Ok(Submitted::Refused { cap: Cap::RateLimit, retry_after_ms }) => {
                let said = limited(&call.title(), &rule.pointer, retry_after_ms);
                self.over_limit(&asking, rule, Uncounted::Refused(Box::new(said))).await
            }
            Ok(Submitted::Over(over)) => {
                let said = reached(&call.title(), rule, &drawn, &over);
                self.over_limit(&asking, rule, Uncounted::Refused(Box::new(said))).await
            }
            Ok(Submitted::Refused { cap, retry_after_ms }) => {
                self.metrics().call(&call.upstream, "too_many_pending");
                let event = self
                    .call_event(Kind::CallLimited, &asking, &rule.pointer)
                    .with("cap", cap_name(cap));
                self.record_limit_hit(cap, event).await;
                Submission::Answered(too_many(cap, retry_after_ms).by_rule(&rule.pointer).into())
            }
            Err(error) => {
                tracing::error!(%error, "a call that needs approval could not be stored");
                self.unstored(&asking, &error).await
            }
        }
    }

    /// Attaches a request to the open approval of the identical call, and holds it.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub(in crate::broker) async fn join(
        &self,
        asking: &Asking,
        found: Approval,
    ) -> Result<Submission, StoreError> {
        let hold = self.new_hold(&asking.agent.name);
        let max = self.config().approvals.max_held_per_agent;
        let guard = HoldGuard::before(self, &hold);
        let held = self.store().holds().attach(&found.id, &hold, max, self.now()).await?;
        self.hints().changed(&found.id);
        let guard = guard.stored(&found.id, held);
        let held = Held::new(self.clone(), asking.clone(), found, guard);
        Ok(Submission::Held(Box::new(held)))
    }

    pub(in crate::broker) fn new_hold(&self, agent: &str) -> NewHold {
        NewHold {
            id: self.ids().prefixed("hld_", self.now()),
            node: self.node().to_owned(),
            agent: agent.to_owned(),
        }
    }

    pub(in crate::broker) fn call_event(
        &self,
        kind: Kind,
        asking: &Asking,
        rule: &str,
    ) -> AuditEvent {
        AuditEvent::new(kind, &asking.agent.name, self.now())
            .by_method(asking.call.method.as_str())
            .with("upstream", &asking.call.upstream)
            .with("tool", &asking.call.shown_tool())
            .with("agent", &asking.agent.name)
            .with("digest", asking.call.digest.as_str())
            .with("rule", rule)
    }
}
