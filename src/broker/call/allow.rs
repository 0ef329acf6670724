//! An allowed call: let through at once where nothing has to be asked for it, else after a look at
//! the store and the count of its rule's limit.

use crate::config::AuditCalls;
use crate::domain::approval::State;
use crate::domain::audit::Kind;
use crate::domain::call::Method;
use crate::domain::json::Node;
use crate::domain::policy::{Action, Rule, Verdict};
use crate::domain::time::Timestamp;

use super::asking::Asking;
use super::call_log::CallRecord;
use super::permit::Permit;
use super::refusals::uncertain;
use super::submit::{NO_LONGER_NEEDED, Submission};
use crate::broker::Broker;

impl Broker {
    /// Lets an allowed call through at once, if nothing has to be asked of the store for it; else it
    /// is to be submitted. `params` are those of the call.
    ///
    /// # Errors
    /// The call itself, unchanged.
    pub fn forward_at_once(
        &self,
        asking: Asking,
        params: &Node<'_>,
    ) -> Result<Permit, Box<Asking>> {
        let call = &asking.call;
        let Some(policy) = self.policies().of(&call.upstream) else { return Err(Box::new(asking)) };
        let is_tool = call.method == Method::CallTool;
        let rule = match policy.judge_read(
            &asking.agent.name,
            call,
            params,
            self.class_for(&policy, call),
        ) {
            Ok(Verdict::Ruled { action: Action::Allow, rule, .. })
                if rule.rate_limit.is_none() && rule.limits.is_empty() =>
            {
                rule
            }
            _ => return Err(Box::new(asking)),
        };
        let is_listed = || {
            let catalog = self.upstream(&call.upstream).and_then(|u| u.catalog());
            catalog.is_some_and(|c| c.find(&call.tool).is_some())
        };
        let strict = self.config().audit.calls == AuditCalls::Strict;
        if strict || !self.none_is_told() || (is_tool && !is_listed()) || self.may_be_open(&asking)
        {
            return Err(Box::new(asking));
        }
        if self.config().audit.calls == AuditCalls::Group {
            let event = self.call_event(Kind::CallAllowed, &asking, &rule.pointer);
            if !self.inner.calls.push(CallRecord(event)) {
                return Err(Box::new(asking));
            }
        }
        self.metrics().call(&call.upstream, "allow");
        Ok(Permit::allowed(asking.call))
    }

    /// Whether the identical call may have an approval that is open, or whose result is owed; where
    /// it has none for certain the store need not be asked.
    pub(super) fn may_be_open(&self, asking: &Asking) -> bool {
        // Another broker may know an older list of tools, by which the call is of another class.
        let policy = self.policies().of(&asking.call.upstream);
        let agree = match policy.is_some_and(|policy| policy.looks_at_risk()) {
            true => self.is_alone(),
            false => self.peers_agree(),
        };
        !agree || self.open_calls().may_have(&asking.agent.name, &asking.call.digest)
    }

    pub(super) async fn allow(&self, asking: Asking, rule: &Rule, now: Timestamp) -> Submission {
        let found = match self.may_be_open(&asking) {
            true => self.find_identical_briefly(&asking).await,
            false => Ok(None),
        };
        // A store that can't be read does not stop allowed calls.
        match found {
            Ok(Some(found)) => match found.state {
                State::Running => return self.joined(&asking, found).await,
                State::Indeterminate if found.settled.is_none() => {
                    if let Some(answer) = self.answer_end(&found) {
                        return answer;
                    }
                }
                State::Pending | State::Approved => {
                    match self.overtake(found, NO_LONGER_NEEDED).await {
                        Ok(None) => {}
                        Ok(Some(running)) => return self.joined(&asking, running).await,
                        Err(error) => {
                            tracing::warn!(%error, "a superfluous approval could not be cancelled");
                        }
                    }
                }
                // It ran, and nobody was told: tell it rather than run it again.
                State::Completed | State::Indeterminate if found.owed => {
                    if let Some(answer) = self.answer_end(&found) {
                        return answer;
                    }
                }
                _ => {}
            },
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the store can't be read; the call is allowed"),
        }
        let counted = match self.count(&asking, rule, &asking.call.title(), now).await {
            Ok(counted) => counted,
            Err(why) => return self.over_limit(&asking, rule, why).await,
        };
        let event = self.call_event(Kind::CallAllowed, &asking, &rule.pointer);
        match self.config().audit.calls {
            AuditCalls::Off => {}
            AuditCalls::Strict => {
                if let Err(error) = self.record(vec![event]).await {
                    tracing::error!(%error, "an allowed call could not be recorded; it is refused");
                    return self.unsent(&asking, &error).await;
                }
            }
            AuditCalls::Group => {
                if !self.inner.calls.push(CallRecord(event)) {
                    return Submission::Answered(uncertain().into());
                }
            }
        }
        self.metrics().call(&asking.call.upstream, "allow");
        Submission::Forward(Permit::allowed(asking.call).counting(counted))
    }
}
