//! Grants against fatigue: a reviewer who approved a call may let further calls like it through, as
//! far as the rule offers that, and never critical ones.
//!
//! A grant holds only for what its giver saw. When the policy or the tool's definition changes, or
//! the giver may no longer approve, it ends at the next call that would use it, or when a list
//! shows it.

use std::time::Duration;

use crate::config::{Config, Reviewer, Role};
use crate::domain::approval::{Approval, ApprovalId, Choice, State};
use crate::domain::assessment::Assessment;
use crate::domain::audit::{AuditEvent, Kind};
use crate::domain::call::{Method, ToolCall};
use crate::domain::grant::{Ended, Grant, GrantId, GrantState, Shape, values};
use crate::domain::json;
use crate::domain::policy::{Action, GrantLimits, Policy, Rule};
use crate::domain::risk::{RiskClass, may_be_decided_lightly};
use crate::store::StoreError;

use super::asking::Asking;
use super::counting::Counted;
use super::permit::{Continues, Permit};
use super::submit::Submission;
use crate::broker::{Broker, DecideError};

/// Most grants that are listed.
const LISTED: u32 = 200;

/// What a reviewer may grant with an approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The most uses and the longest time.
    pub limits: GrantLimits,
    /// The call's values that may be left free: JSON Pointer (RFC 6901) and canonical JSON.
    pub values: Vec<(String, String)>,
}

/// A grant as somebody sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRow {
    /// The grant.
    pub grant: Grant,
    /// Further keys whose values are masked.
    pub redact: Vec<String>,
    /// Whether they may revoke it.
    pub may_revoke: bool,
}

/// What a reviewer wants to grant.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// How many calls it lets through.
    pub uses: u32,
    /// How long it lasts.
    pub duration: Duration,
    /// JSON Pointers of the values that may differ.
    pub free: Vec<String>,
}

impl Broker {
    /// What this reviewer may grant with this approval; none where nothing is offered.
    pub fn grant_offer(&self, approval: &Approval, reviewer: &Reviewer) -> Option<Offer> {
        self.basis(approval, reviewer, self.config()).map(|(offer, _, _)| offer)
    }

    /// The offer, with the fingerprints of policy and tool that it stands on.
    fn basis(
        &self,
        a: &Approval,
        reviewer: &Reviewer,
        config: &Config,
    ) -> Option<(Offer, String, String)> {
        let stands = matches!(a.state, State::Approved | State::Running | State::Completed);
        let own = a.decision_of(&reviewer.name).filter(|d| d.choice == Choice::Approve)?;
        if !stands || !may_be_decided_lightly(a.severity) || !reviewer.role.decides() {
            return None;
        }
        let policy = self.policies().of(&a.call.upstream)?;
        let tool = self.classified(&a.call);
        let class = tool.as_ref().map(|tool| tool.class);
        let (rule, limits) = offering(&policy, &a.agent, &a.call.tool, class, &a.rule)?;
        let agent = config.agent(&a.agent)?;
        let asked = config.reviewers_of(rule, agent);
        // As long as a grant could last: what was approved long ago is no basis.
        let fresh = a.decided_at.is_some_and(|at| at.plus(limits.max_duration) > self.now());
        if !may_be_decided_lightly(Assessment::of(rule, tool.as_ref()).severity)
            || !fresh
            || own.assurance < asked.assurance
            || !asked.eligible.contains(&reviewer.name)
        {
            return None;
        }
        let tool = self.tool_fingerprint(&a.call)?;
        if a.terms.tool_fingerprint.as_deref() != Some(tool.as_str()) {
            return None;
        }
        let values = values(&a.call).ok()?;
        Some((Offer { limits, values }, policy.source_fingerprint().to_owned(), tool))
    }

    fn tool_fingerprint(&self, call: &ToolCall) -> Option<String> {
        let catalog = self.upstream(&call.upstream)?.catalog()?;
        Some(catalog.find(&call.tool)?.fingerprint.clone())
    }

    /// Stores a grant that a reviewer gives with an approval, and records it.
    ///
    /// # Errors
    /// [`DecideError::NotFound`]; `Forbidden`, when no grant is offered to them; `Invalid`, when
    /// they want more than is offered, or the agent has the most open grants; `Store`.
    pub async fn grant(
        &self,
        id: &ApprovalId,
        reviewer: &Reviewer,
        wanted: Wanted,
    ) -> Result<Grant, DecideError> {
        let approval = self.get_for(id, reviewer).await?;
        let config = self.confirmed().await?;
        let (offer, policy, tool_fingerprint) =
            self.basis(&approval, reviewer, &config).ok_or(DecideError::Forbidden(
                "no grant is offered to you with this approval, or not any more",
            ))?;
        let limits = offer.limits;
        if wanted.uses == 0 || wanted.uses > limits.max_uses {
            return Err(DecideError::Invalid(format!(
                "the number of calls must be 1 to {} (approval.grant.max_uses)",
                limits.max_uses
            )));
        }
        if wanted.duration.is_zero() || wanted.duration > limits.max_duration {
            return Err(DecideError::Invalid(format!(
                "the time must be at most {} (approval.grant.max_duration), and not nothing",
                crate::domain::time::in_words(limits.max_duration)
            )));
        }
        let shape = Shape::of(&approval.call, &wanted.free)
            .map_err(|error| DecideError::Invalid(error.to_string()))?;
        let now = self.now();
        let grant = Grant {
            id: GrantId::new(self.ids().uuid(now)),
            approval: approval.id.clone(),
            by: reviewer.name.clone(),
            agent: approval.agent.clone(),
            upstream: approval.call.upstream.clone(),
            tool: approval.call.tool.clone(),
            rule: approval.rule.clone(),
            policy,
            tool_fingerprint,
            shape,
            max_uses: wanted.uses,
            used: 0,
            created_at: now,
            expires_at: now.plus(wanted.duration),
            ended: None,
        };
        let event = event(Kind::GrantMade, &reviewer.name, &grant, self.now())
            .with_raw("max_uses", grant.max_uses.to_string())
            .with("expires_at", &grant.expires_at.to_string())
            .with_raw("free", list(&grant.shape.free));
        let max = self.config().approvals.max_grants_per_agent;
        if !self.store().grants().insert(&grant, max, event).await? {
            return Err(DecideError::Invalid(format!(
                "{} has {max} open grants (approvals.max_grants_per_agent); revoke one first",
                grant.agent
            )));
        }
        Ok(grant)
    }

    /// The grants this person may see, newest first; those whose basis is gone are ended first.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub async fn grants_for(&self, reviewer: &Reviewer) -> Result<Vec<GrantRow>, StoreError> {
        let config = self.confirmed().await?;
        let mut seen = Vec::new();
        for mut grant in self.store().grants().list(LISTED).await? {
            // A grant shows of the call what its approval shows, so the same people may see it.
            let redact = match self.get(&grant.approval).await? {
                Some(approval) if approval.may_be_seen_by(reviewer.person()) => {
                    approval.terms.redact
                }
                None if reviewer.role.reads_all() => Vec::new(),
                _ => continue,
            };
            if grant.state(self.now()) == GrantState::Open
                && let Some(reason) = self.undermined(&grant, &config).await?
            {
                grant.ended = Some(self.void(&grant, reason).await?);
            }
            let may_revoke = self.may_revoke(&grant, reviewer);
            seen.push(GrantRow { grant, redact, may_revoke });
        }
        Ok(seen)
    }

    /// Whether this person may revoke a grant: who gave it, the agent's owner, and admins.
    fn may_revoke(&self, grant: &Grant, reviewer: &Reviewer) -> bool {
        let owner = self.config().agent(&grant.agent).and_then(|a| a.owner.as_deref());
        match reviewer.role {
            Role::Admin => true,
            Role::Reviewer => grant.by == reviewer.name || owner == Some(reviewer.name.as_str()),
            Role::Auditor => false,
        }
    }

    /// Revokes a grant: people are asked about the next call again. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`DecideError::NotFound`]; `Forbidden`, when it is not theirs to revoke; `Store`.
    pub async fn revoke_grant(
        &self,
        id: &GrantId,
        reviewer: &Reviewer,
    ) -> Result<GrantRow, DecideError> {
        let visible = self.grants_for(reviewer).await?.into_iter().find(|row| row.grant.id == *id);
        let mut row = visible.ok_or(DecideError::NotFound)?;
        if !row.may_revoke {
            return Err(DecideError::Forbidden(
                "only who gave it, the agent's owner and admins revoke a grant",
            ));
        }
        if row.grant.ended.is_none() {
            let reason = "revoked".to_owned();
            row.grant.ended = Some(self.end_grant(&row.grant, &reviewer.name, reason).await?);
        }
        Ok(row)
    }

    /// Ends a grant before its time, with its record.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be written.
    pub(in crate::broker) async fn end_grant(
        &self,
        grant: &Grant,
        by: &str,
        reason: String,
    ) -> Result<Ended, StoreError> {
        let now = self.now();
        let event = event(Kind::GrantEnded, by, grant, now).with("why", &reason);
        let ended = Ended { at: now, by: by.to_owned(), reason };
        self.store().grants().end(&grant.id, &ended, event).await?;
        Ok(ended)
    }

    async fn void(&self, grant: &Grant, reason: &str) -> Result<Ended, StoreError> {
        self.end_grant(grant, "policy", reason.to_owned()).await
    }

    /// Why a grant's basis is gone; none if it still holds.
    async fn undermined(
        &self,
        grant: &Grant,
        config: &Config,
    ) -> Result<Option<&'static str>, StoreError> {
        let basis = self.get(&grant.approval).await?;
        if basis.is_none_or(|approval| self.has_moved(&approval)) {
            return Ok(Some("the upstream has another address, or the approval is not kept"));
        }
        Ok(self.undermined_by_policy(grant, config))
    }

    /// Why a further round of a call that a grant let through may not go on; none if it may. That
    /// the grant is used up does not matter: this call is one of its uses.
    ///
    /// # Errors
    /// [`StoreError`], when the store can't be read or written.
    pub(in crate::broker) async fn no_longer_granted(
        &self,
        id: &str,
        config: &Config,
    ) -> Result<Option<String>, StoreError> {
        let grant = match GrantId::parse(id) {
            Some(id) => self.store().grants().find(&id).await?,
            None => None,
        };
        let no = |why: &str| Ok(Some(format!("no longer permitted: {why}")));
        let Some(grant) = grant else { return no("the grant is no longer kept") };
        if let Some(ended) = &grant.ended {
            return no(&format!("the grant was ended by {}: {}", ended.by, ended.reason));
        }
        if grant.expires_at <= self.now() {
            return no("the grant's time is over");
        }
        let Some(reason) = self.undermined(&grant, config).await? else { return Ok(None) };
        self.void(&grant, reason).await?;
        no(&format!("the grant ended: {reason}"))
    }

    fn undermined_by_policy(&self, grant: &Grant, config: &Config) -> Option<&'static str> {
        let policy = self.policies().of(&grant.upstream);
        let Some(policy) = policy.filter(|p| p.source_fingerprint() == grant.policy) else {
            return Some("the policy changed");
        };
        let catalog = self.upstream(&grant.upstream).and_then(|u| u.catalog());
        if let Some(catalog) = catalog
            && catalog.find(&grant.tool).is_none_or(|t| t.fingerprint != grant.tool_fingerprint)
        {
            return Some("the tool was redefined, or is gone");
        }
        let class = self.classified_tool(&grant.upstream, &grant.tool).map(|tool| tool.class);
        let rule = policy.rule_for(&grant.agent, &grant.tool, class);
        let still = config.agent(&grant.agent).zip(rule);
        let still = still.is_some_and(|(agent, rule)| {
            rule.with_pointer(&grant.rule)
                .is_some_and(|rule| config.reviewers_of(rule, agent).eligible.contains(&grant.by))
        });
        (!still).then_some("who gave it may not approve this any more")
    }

    /// Lets a call that needs approval through where a grant covers it; but not if the identical
    /// call is open or its result still owed: then that approval decides.
    pub(in crate::broker) async fn by_grant(
        &self,
        asking: &Asking,
        rule: &Rule,
    ) -> Option<Submission> {
        let call = &asking.call;
        if call.method != Method::CallTool || rule.approval.grant.is_none() {
            return None;
        }
        let (agent, upstream) = (&asking.agent.name, &call.upstream);
        let grants = self.store().grants().open(agent, upstream, &call.tool, self.now()).await;
        let grants = match grants {
            Ok(grants) if grants.is_empty() => return None,
            Ok(grants) => grants,
            Err(error) => {
                tracing::error!(%error, "grants can't be read; people are asked");
                return None;
            }
        };
        if !matches!(self.find_identical(asking).await, Ok(None)) {
            return None;
        }
        if let Err(error) = self.list_tools(upstream).await {
            tracing::warn!("the tools of {upstream} can't be listed, people are asked: {error}");
            return None;
        }
        let config = match self.confirmed().await {
            Ok(config) => config,
            Err(error) => {
                tracing::error!(%error, "who gave a grant can't be looked up; people are asked");
                return None;
            }
        };
        let mut counted: Option<Counted> = None;
        let mut is_counted = false;
        // Of several approvals of one rule each has its own grants.
        let is_of = |grant: &Grant| rule.within.is_none() || grant.rule == rule.pointer;
        for grant in grants.iter().filter(|g| g.shape.fits(call) && is_of(g)) {
            let undermined = match self.undermined(grant, &config).await {
                Ok(undermined) => undermined,
                Err(error) => {
                    tracing::error!(%error, "the basis of a grant can't be read; people are asked");
                    return None;
                }
            };
            if let Some(reason) = undermined {
                if let Err(error) = self.void(grant, reason).await {
                    tracing::error!(%error, "grant {} could not be ended; it lets nothing through", grant.id);
                }
                continue;
            }
            // Counted once, however many grants are tried.
            if !std::mem::replace(&mut is_counted, true) {
                match self.count(asking, rule, &call.title(), self.now()).await {
                    Ok(taken) => counted = taken,
                    Err(why) => return Some(self.over_limit(asking, rule, why).await),
                }
            }
            let event = event(Kind::GrantUsed, agent, grant, self.now())
                .with("digest", call.digest.as_str());
            match self.store().grants().take(&grant.id, self.now(), event).await {
                Ok(true) => {
                    self.metrics().call(upstream, "grant");
                    tracing::info!(grant.id = %grant.id, "grant {} lets a call through", grant.id);
                    let continues = Continues {
                        approval: grant.approval.to_string(),
                        grant: Some(grant.id.to_string()),
                    };
                    let permit = Permit::resumed(call.clone(), continues).counting(counted);
                    return Some(Submission::Forward(permit));
                }
                // Used up or revoked a moment ago.
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(%error, "a grant could not be used; people are asked");
                    break;
                }
            }
        }
        // Where people are asked it is counted with the approval.
        if let Some(counted) = counted {
            counted.undo().await;
        }
        None
    }
}

/// The rule for this tool that has this pointer, if it asks one person for approval and offers grants. If several people
/// must approve, no one of them may let calls through alone.
fn offering<'p>(
    policy: &'p Policy,
    agent: &str,
    tool: &str,
    class: Option<RiskClass>,
    pointer: &str,
) -> Option<(&'p Rule, GrantLimits)> {
    let rule = policy.rule_for(agent, tool, class)?.with_pointer(pointer)?;
    let alone = rule.approval.quorum.unwrap_or(1) == 1 && rule.approval.panel.is_none();
    let asks = rule.action == Action::RequireApproval;
    Some((rule, rule.approval.grant.filter(|_| alone && asks)?))
}

fn event(
    kind: Kind,
    actor: &str,
    grant: &Grant,
    now: crate::domain::time::Timestamp,
) -> AuditEvent {
    AuditEvent { approval: Some(grant.approval.to_string()), ..AuditEvent::new(kind, actor, now) }
        .with("grant", grant.id.as_str())
        .with("upstream", &grant.upstream)
        .with("tool", &grant.tool)
        .with("agent", &grant.agent)
        .with("rule", &grant.rule)
}

fn list(texts: &[String]) -> String {
    json::array(texts.iter().map(|text| json::quote(text)))
}
