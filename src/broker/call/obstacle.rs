//! Whether an approved call may still run when it is claimed.

use crate::config::Config;
use crate::domain::approval::{Approval, Choice, Terms};
use crate::domain::call::Method;
use crate::domain::policy::{Action, Verdict};

use crate::broker::Broker;

impl Broker {
    /// Why an approved call may not run after all: the policy in force and the confirmed part of
    /// the configuration are asked again at the claim. None if it may.
    pub(in crate::broker) fn obstacle(
        &self,
        approval: &Approval,
        config: &Config,
    ) -> Option<String> {
        let no = |what: &str| Some(format!("no longer permitted: {what}"));
        if !approval.call.is_intact() {
            return no("the stored call does not fit its digest");
        }
        let Some(agent) = config.agent(&approval.agent) else {
            return no("the agent was removed");
        };
        let upstream = &approval.call.upstream;
        if agent.upstreams.as_ref().is_some_and(|list| !list.contains(upstream)) {
            return no("the agent may no longer use this upstream");
        }
        if self.has_moved(approval) {
            return no("the upstream has another address than when the call was made");
        }
        // Of prompts and resources no list is kept.
        if approval.call.method == Method::CallTool
            && let Some(catalog) = self.upstream(upstream).and_then(|u| u.catalog())
        {
            match catalog.find(&approval.call.tool) {
                None => return no("the tool is gone"),
                Some(tool) => {
                    let then = approval.terms.tool_fingerprint.as_deref();
                    if then.is_some_and(|then| then != tool.fingerprint) {
                        return no("the tool was redefined since the call was made");
                    }
                }
            }
        }
        let Some(policy) = self.policies().of(upstream) else {
            return no("the upstream has no policy");
        };
        match self.judge(&policy, &approval.agent, &approval.call) {
            Err(_) => no("the stored arguments can't be read"),
            Ok(Verdict::Hidden) => {
                no(&format!("the {} is hidden now", approval.call.method.noun()))
            }
            Ok(Verdict::Ruled { action: Action::Deny, rule, check }) => {
                no(&format!("{} denies it now", rule.denial(check).rule))
            }
            Ok(Verdict::Ungoverned | Verdict::Ruled { action: Action::Allow, .. }) => None,
            Ok(Verdict::Ruled { action: Action::RequireApproval, rule, .. }) => {
                let asked = config.reviewers_of(rule, agent);
                // What was asked then and what is asked now: the stronger counts.
                let sure = approval.terms.assurance.max(asked.assurance);
                let stand_ins = asked.still_standing(&config.people(), &approval.terms.stand_ins);
                let counted: Vec<&str> = approval
                    .decisions
                    .iter()
                    .filter(|d| d.choice == Choice::Approve)
                    .filter(|d| asked.counts(&d.reviewer, &stand_ins))
                    .filter(|d| agent.owner.as_ref() != Some(&d.reviewer))
                    .filter(|d| d.assurance >= sure)
                    .map(|d| d.reviewer.as_str())
                    .collect();
                let (quorum, panel) = (asked.quorum, asked.panel);
                let terms = Terms { quorum, panel, stand_ins, ..approval.terms.clone() };
                (!terms.are_met_by(&counted)).then(|| {
                    let joined = terms.panel.as_ref().map_or("", |_| " of its joined reviewers");
                    format!(
                        "no longer permitted: {} asks for {quorum} approvals{joined} now, and {} \
                         of those given still count",
                        rule.pointer,
                        terms.seats(&counted).len()
                    )
                })
            }
        }
    }
}
