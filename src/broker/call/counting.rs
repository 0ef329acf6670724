//! What a call counts against the limits of its rule: taken before it runs, all or nothing, and given
//! back where the call surely had no effect. What nobody knows the outcome of stays counted.

use sha2::{Digest as _, Sha256};

use crate::domain::call::{Method, ToolCall, hex};
use crate::domain::json::{self, Node};
use crate::domain::policy::{Limit, Rule, Window};
use crate::domain::reservation::Reservation;
use crate::domain::time::Timestamp;
use crate::store::counters::{Counter, Draw, Rate, Reserving, SessionOf};
use crate::store::{LimitKey, StoreError};
use crate::upstream::{Reply, UpstreamError};

use super::answer::Statement;
use super::asking::Asking;
use super::limits::{counter_of, limit_key};
use super::over_limit;
use super::refusals::limited;
use crate::broker::Broker;
use crate::broker::reach::COUNTED_WITHIN;

/// What a call took, while it has not been sent. Dropped, it is given back: the call never ran.
#[derive(Debug)]
pub(in crate::broker) struct Counted {
    broker: Broker,
    reservation: Reservation,
}

impl Counted {
    /// The call is about to be sent: from here on what it took counts, unless it is given back.
    pub(in crate::broker) fn begin(mut self) -> Reservation {
        std::mem::take(&mut self.reservation)
    }

    /// Gives it back now.
    pub(in crate::broker) async fn undo(mut self) {
        let reservation = std::mem::take(&mut self.reservation);
        self.broker.give_back(reservation).await;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.reservation.is_empty() || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let (broker, reservation) = (self.broker.clone(), std::mem::take(&mut self.reservation));
        self.broker.tracker().spawn(async move { broker.give_back(reservation).await });
    }
}

/// Why a call does not pass its rule's limits.
pub(in crate::broker) enum Uncounted {
    /// It is over one of them, by the rule or limit at that JSON Pointer.
    Refused(Box<Statement>),
    /// The store can't count.
    Store(StoreError),
}

impl Broker {
    /// Takes what an allowed call counts, by its rule's rate limit and limits; none where it counts
    /// nothing that could be given back. A further round of a call that was counted counts nothing.
    ///
    /// # Errors
    /// [`Uncounted`], when it may not pass.
    pub(in crate::broker) async fn count(
        &self,
        asking: &Asking,
        rule: &Rule,
        title: &str,
        now: Timestamp,
    ) -> Result<Option<Counted>, Uncounted> {
        if rule.rate_limit.is_none() && rule.limits.is_empty() {
            return Ok(None);
        }
        if !rule.limits.is_empty() && self.is_further_round(asking).await {
            let (broker, reservation) = (self.clone(), Reservation::default());
            return Ok(Some(Counted { broker, reservation }));
        }
        let draws = Self::draws(asking, rule, title)?;
        let rate: Option<Rate> =
            rule.rate_limit.map(|l| (limit_key(asking, rule, l), l.max, now.minus(l.window)));
        if rate.is_none() && draws.is_empty() {
            return Ok(None);
        }
        let broker = self.clone();
        let taken = draws.clone();
        let verb = async move {
            match broker.store().counters().reserve(rate, taken, now).await? {
                // Nobody may wait for it any more: then the call never runs.
                Reserving::Taken(reservation) => Ok(Ok(Counted { broker, reservation })),
                other => Ok(Err(other)),
            }
        };
        let refused = match self.asked_within(COUNTED_WITHIN, verb).await {
            Ok(Ok(counted)) => return Ok((!rule.limits.is_empty()).then_some(counted)),
            Ok(Err(refused)) => refused,
            Err(error) => {
                tracing::error!(%error, "a limit could not be counted; the call is refused");
                return Err(Uncounted::Store(error));
            }
        };
        let statement = match refused {
            Reserving::RateLimited(wait_ms) => limited(title, &rule.pointer, wait_ms),
            Reserving::Over(over) => over_limit::reached(title, rule, &draws, &over),
            Reserving::Taken(_) => return Ok(None),
        };
        Err(Uncounted::Refused(Box::new(statement)))
    }

    /// What a call takes of its rule's counters.
    ///
    /// # Errors
    /// [`Uncounted`], where the call by itself can't pass.
    pub(in crate::broker) fn draws(
        asking: &Asking,
        rule: &Rule,
        title: &str,
    ) -> Result<Vec<Draw>, Uncounted> {
        if rule.limits.is_empty() {
            return Ok(Vec::new());
        }
        let refused = |statement| Uncounted::Refused(Box::new(statement));
        let amounts = rule
            .amounts(&asking.agent.name, &asking.call)
            .map_err(|why| refused(over_limit::not_counted(title, rule, &why)))?;
        let mut draws = Vec::with_capacity(amounts.len());
        for (i, (limit, amount)) in rule.limits.iter().zip(amounts).enumerate() {
            let max = limit.most();
            if amount > max {
                return Err(refused(over_limit::too_much(title, rule, i, amount)));
            }
            if limit.window != Window::Call {
                draws.push(Draw { counter: counter(asking, limit), amount, max });
            }
        }
        Ok(draws)
    }

    /// Gives back what a call took that had no effect. Where the store can't be written it counts on.
    pub(in crate::broker) async fn give_back(&self, reservation: Reservation) {
        if reservation.is_empty() {
            return;
        }
        let broker = self.clone();
        let verb = async move { broker.store().counters().give_back(&reservation).await };
        if let Some(Err(error)) = self.done_briefly(verb).await {
            tracing::warn!(%error, "what a call took of its limits could not be given back");
        }
    }

    /// After the answer to a call that took something: gives it back, or notes that the call has a
    /// further round.
    /// `agent` is none where that needs no note.
    pub(in crate::broker) async fn counted_by_outcome(
        &self,
        agent: Option<&str>,
        call: &ToolCall,
        reservation: Reservation,
        reply: &Result<Reply, UpstreamError>,
    ) {
        match reply {
            Err(UpstreamError::NotSent(_)) | Ok(Reply::Error(_)) => {
                self.give_back(reservation).await;
            }
            Ok(Reply::Result(raw)) => {
                let failed = json::lenient::member(raw, "isError") == Some("true");
                if call.method == Method::CallTool && failed {
                    self.give_back(reservation).await;
                } else if let (Some(agent), Some(state)) = (agent, asked_back(raw)) {
                    let (broker, round) =
                        (self.clone(), round(agent, call.digest.as_str(), &state));
                    let now = self.now();
                    let verb =
                        async move { broker.store().counters().note_round(&round, now).await };
                    if let Some(Err(error)) = self.done_briefly(verb).await {
                        tracing::warn!(%error, "a call's further round will count once more");
                    }
                }
            }
            Err(UpstreamError::Lost(_) | UpstreamError::Cancelled) => {}
        }
    }

    /// Whether this is a further round of a call that was counted.
    async fn is_further_round(&self, asking: &Asking) -> bool {
        let Ok(params) = json::parse(&asking.call.params) else { return false };
        let (state, responses) = (params.get("requestState"), params.get("inputResponses"));
        if state.is_none() && responses.is_none() {
            return false;
        }
        let state = state.and_then(Node::as_str).unwrap_or_default();
        let round = round(&asking.agent.name, asking.call.digest.as_str(), state);
        let broker = self.clone();
        let verb = async move { broker.store().counters().take_round(&round).await };
        self.asked_within(COUNTED_WITHIN, verb).await.unwrap_or(false)
    }
}

/// The state of a result that asks the client for something; empty where it gives none.
fn asked_back(raw: &str) -> Option<String> {
    let node = json::parse(raw).ok()?;
    (node.get("resultType").and_then(Node::as_str) == Some("input_required"))
        .then(|| node.get("requestState").and_then(Node::as_str).unwrap_or_default().to_owned())
}

fn round(agent: &str, digest: &str, state: &str) -> LimitKey {
    let text = json::array([agent, digest, state].iter().map(|part| json::quote(part)));
    LimitKey::Round(hex(&Sha256::digest(text.as_bytes())))
}

/// The counter of one of the rule's limits, as this call counts in it.
fn counter(asking: &Asking, limit: &Limit) -> Counter {
    let session = match &asking.session {
        None => SessionOf::Token,
        Some(id) => SessionOf::Own { id: id.clone(), began: asking.session_began },
    };
    counter_of(&asking.agent.name, &asking.call, limit, session)
}
