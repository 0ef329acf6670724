//! How long an agent's requests are held: as configured, or shorter where its client was found to
//! give up earlier. The rule is in [`crate::domain::hold_budget`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::{Agent, Reviewer, Role};
use crate::domain::audit::{AuditEvent, Kind};
use crate::domain::hold_budget::{HoldBudget, Learned};
use crate::store::Activity;

use crate::broker::{Broker, DecideError};

/// How long it is taken to stand what was read of an agent's holds: each held call asks for it twice.
const REMEMBERED: Duration = Duration::from_secs(1);

/// What was read of agents' holds a moment ago.
///
/// Two for each agent of the configuration; replaced when they are read again, forgotten when they
/// change here.
#[derive(Debug, Default)]
pub(in crate::broker) struct Budgets(Mutex<HashMap<(String, bool), (Instant, HoldBudget)>>);

impl Budgets {
    fn known(&self, agent: &str, with_progress: bool) -> Option<HoldBudget> {
        let all = self.0.lock().expect("no holder of this lock panics");
        let (read, known) = all.get(&(agent.to_owned(), with_progress))?;
        (read.elapsed() < REMEMBERED).then(|| known.clone())
    }

    fn remember(&self, agent: &str, with_progress: bool, read: Instant, known: &HoldBudget) {
        let mut all = self.0.lock().expect("no holder of this lock panics");
        all.insert((agent.to_owned(), with_progress), (read, known.clone()));
    }

    fn forget(&self, agent: &str) {
        let mut all = self.0.lock().expect("no holder of this lock panics");
        all.retain(|(of, _), _| of != agent);
    }
}

/// Where a budget comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The keys of section `[approvals]`.
    Approvals,
    /// The agent's own key.
    Agent,
    /// Learned from the holds that its client dropped.
    Learned,
}

impl Source {
    /// The word of the HTTP API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approvals => "approvals",
            Self::Agent => "agent",
            Self::Learned => "learned",
        }
    }
}

/// How one kind of an agent's requests is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldRow {
    /// With or without a progress token.
    pub with_progress: bool,
    /// Longest hold.
    pub budget: Duration,
    /// Where the budget comes from.
    pub source: Source,
    /// What was learned, where it is in force.
    pub learned: Option<Learned>,
    /// After how many milliseconds the last holds in a row were dropped.
    pub drops: Vec<u64>,
}

/// An agent as its page shows it.
#[derive(Debug, Clone)]
pub struct AgentRow {
    /// The agent.
    pub agent: Arc<Agent>,
    /// The upstreams it may use.
    pub upstreams: Vec<String>,
    /// How it is held: without and with a progress token.
    pub holds: [HoldRow; 2],
    /// What it does now.
    pub activity: Activity,
}

impl AgentRow {
    /// Whether there is anything to forget.
    pub fn has_learned(&self) -> bool {
        self.holds.iter().any(|h| h.learned.is_some() || !h.drops.is_empty())
    }
}

/// The agent's own key for this kind of hold; where it is set nothing is learned.
pub(in crate::broker) const fn own_hold(agent: &Agent, with_progress: bool) -> Option<Duration> {
    if with_progress { agent.hold_with_progress } else { agent.hold }
}

impl Broker {
    /// How long a request of the agent is held. A store that can't be read shortens nothing.
    pub async fn hold_budget(&self, agent: &Agent, with_progress: bool) -> Duration {
        if let Some(own) = own_hold(agent, with_progress) {
            return own;
        }
        let known = match self.inner.budgets.known(&agent.name, with_progress) {
            Some(known) => known,
            None => self.read_budget(&agent.name, with_progress).await,
        };
        known.shorten(self.configured_hold(with_progress), self.now())
    }

    async fn read_budget(&self, agent: &str, with_progress: bool) -> HoldBudget {
        let (broker, name, read) = (self.clone(), agent.to_owned(), Instant::now());
        let verb = async move { broker.store().agents().hold_budget(&name, with_progress).await };
        match self.asked_briefly(verb).await {
            Ok(known) => {
                self.inner.budgets.remember(agent, with_progress, read, &known);
                known
            }
            Err(error) => {
                tracing::warn!(%error, "what was learned of an agent's holds can't be read");
                HoldBudget::default()
            }
        }
    }

    fn configured_hold(&self, with_progress: bool) -> Duration {
        let limits = &self.config().approvals;
        if with_progress { limits.hold_with_progress } else { limits.hold }
    }

    /// A client went away while its request was held and undecided.
    pub(in crate::broker) async fn hold_dropped(
        &self,
        agent: &str,
        with_progress: bool,
        after: Duration,
    ) {
        let event = AuditEvent::new(Kind::HoldBudgetLearned, "placet", self.now())
            .with("agent", agent)
            .with_raw("with_progress", with_progress.to_string());
        let (broker, name) = (self.clone(), agent.to_owned());
        let verb = async move {
            broker.store().agents().hold_dropped(&name, with_progress, after, event).await
        };
        let noted = self.done_briefly(verb).await;
        self.inner.budgets.forget(agent);
        let Some(noted) = noted else { return };
        match noted {
            Ok(Some(learned)) => tracing::info!(
                agent,
                with_progress,
                "agent {agent}'s client gives held requests up after about {} s; they end after \
                 {} s from now on",
                after.as_secs(),
                learned.budget_ms / 1_000
            ),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "a dropped hold could not be noted"),
        }
    }

    /// A held request was answered.
    pub(in crate::broker) async fn hold_answered(&self, agent: &str, with_progress: bool) {
        // Holds end often and drops are rare.
        let known = match self.inner.budgets.known(agent, with_progress) {
            Some(known) => known,
            None => self.read_budget(agent, with_progress).await,
        };
        if known.drops.is_empty() {
            return;
        }
        self.inner.budgets.forget(agent);
        let (broker, agent) = (self.clone(), agent.to_owned());
        let verb =
            async move { broker.store().agents().hold_answered(&agent, with_progress).await };
        if let Some(Err(error)) = self.done_briefly(verb).await {
            tracing::warn!(%error, "an answered hold could not be noted");
        }
    }

    /// Every agent, as configured and as it behaves.
    ///
    /// # Errors
    /// [`crate::store::StoreError`], when the store can't be read.
    pub async fn agent_rows(&self) -> Result<Vec<AgentRow>, crate::store::StoreError> {
        let mut rows = Vec::new();
        let now = self.now();
        for agent in &self.config().agents {
            let all = self.config().upstreams.iter().map(|u| u.name.clone());
            rows.push(AgentRow {
                agent: agent.clone(),
                upstreams: agent.upstreams.clone().unwrap_or_else(|| all.collect()),
                holds: [
                    self.described_hold(agent, false).await?,
                    self.described_hold(agent, true).await?,
                ],
                activity: self.store().agents().activity(&agent.name).await?.until(now),
            });
        }
        Ok(rows)
    }

    async fn described_hold(
        &self,
        agent: &Agent,
        with_progress: bool,
    ) -> Result<HoldRow, crate::store::StoreError> {
        if let Some(budget) = own_hold(agent, with_progress) {
            let (learned, drops) = (None, Vec::new());
            return Ok(HoldRow { with_progress, budget, source: Source::Agent, learned, drops });
        }
        let known = self.store().agents().hold_budget(&agent.name, with_progress).await?;
        let configured = self.configured_hold(with_progress);
        let budget = known.shorten(configured, self.now());
        let source = if budget < configured { Source::Learned } else { Source::Approvals };
        let learned = known.in_force(self.now());
        Ok(HoldRow { with_progress, budget, source, learned, drops: known.drops })
    }

    /// Forgets what was learned of an agent's holds; false if nothing was.
    ///
    /// # Errors
    /// [`DecideError`]: `Forbidden` to all but admins, `Invalid` without such an agent, or the
    /// store failed.
    pub async fn forget_hold_budget(
        &self,
        agent: &str,
        reviewer: &Reviewer,
    ) -> Result<bool, DecideError> {
        if reviewer.role != Role::Admin {
            return Err(DecideError::Forbidden(
                "only an admin has a learned hold budget forgotten",
            ));
        }
        if self.config().agent(agent).is_none() {
            return Err(DecideError::Invalid("there is no such agent".to_owned()));
        }
        let event = AuditEvent::new(Kind::HoldBudgetForgotten, &reviewer.name, self.now())
            .with("agent", agent);
        let forgotten = self.store().agents().forget_hold_budget(agent, event).await;
        self.inner.budgets.forget(agent);
        Ok(forgotten?)
    }
}
