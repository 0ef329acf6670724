//! Reading the policies again while the program runs.

use std::collections::HashMap;

use crate::broker::Broker;
use crate::broker::policies::Change;
use crate::config::{Config, Environment, Problem, Severity};
use crate::domain::audit::{AuditEvent, Kind};
use crate::domain::time::Timestamp;
use crate::web::health::{Health, Readiness};

/// Reads the configuration's policies again and puts them in force whole: those that were added,
/// changed and removed, all at one instant. Where anything is wrong the old ones stay, all of them,
/// and `/readyz` says `degraded` until a reload succeeds. Nothing but policies is taken over
/// ([ADR 34](../../docs/adr/0034-reload-takes-policies-whole.md)).
pub(crate) async fn reload_policies(broker: &Broker, readiness: &Readiness, env: &Environment) {
    let now = broker.now();
    let events = match broker.config().reload(env) {
        Ok((fresh, _)) => {
            readiness.set("policies", Health::Ok);
            put_in_force(broker, &fresh, now)
        }
        Err(problems) => {
            readiness.set("policies", Health::Degraded);
            refuse(&problems, now)
        }
    };
    if let Err(error) = broker.record(events).await {
        tracing::error!(%error, "the policy reload could not be recorded");
    }
}

fn put_in_force(broker: &Broker, fresh: &Config, now: Timestamp) -> Vec<AuditEvent> {
    let running = broker.config();
    let known = |name: &str| running.upstream(name).is_some();
    let policies: HashMap<_, _> = fresh
        .upstreams
        .iter()
        .filter(|u| known(&u.name))
        .filter_map(|u| Some((u.name.clone(), u.policy.clone()?)))
        .collect();
    let changes = broker.policies().replace_all(policies.clone());
    let mut events = Vec::new();
    for (name, change) in &changes {
        match change {
            Change::Removed => {
                let gone = if fresh.upstream(name).is_none() {
                    "it is not configured any more; restart to be rid of it"
                } else {
                    "it has no policy any more"
                };
                tracing::warn!(upstream = %name, "policy of {name} removed: every call is denied; {gone}");
                events.push(
                    AuditEvent::new(Kind::PolicyRemoved, "placet", now).with("upstream", name),
                );
                continue;
            }
            Change::Added => tracing::info!(upstream = %name, "policy of {name} added"),
            Change::Changed => tracing::info!(upstream = %name, "policy of {name} changed"),
            Change::Unchanged => tracing::info!(upstream = %name, "policy of {name} unchanged"),
        }
        let sha256 = policies.get(name).map_or("", |policy| policy.source_fingerprint());
        events.push(
            AuditEvent::new(Kind::PolicyLoaded, "placet", now)
                .with("upstream", name)
                .with("sha256", sha256),
        );
    }
    for upstream in fresh.upstreams.iter().filter(|u| !known(&u.name)) {
        let name = &upstream.name;
        tracing::warn!(upstream = %name, "upstream {name} is new: restart to take it over");
    }
    let count = |wanted: Change| changes.values().filter(|change| **change == wanted).count();
    tracing::info!(
        "policies reloaded: {} added, {} changed, {} removed, {} unchanged",
        count(Change::Added),
        count(Change::Changed),
        count(Change::Removed),
        count(Change::Unchanged)
    );
    for section in running.differing_principals(fresh) {
        tracing::warn!("{section} changed in the configuration too: restart to take that over");
    }
    events
}

fn refuse(problems: &[Problem], now: Timestamp) -> Vec<AuditEvent> {
    let errors = problems.iter().filter(|p| p.severity == Severity::Error);
    for problem in errors.clone() {
        tracing::error!("policies are not reloaded, the old ones stay: {problem}");
    }
    let count = errors.count().to_string();
    vec![AuditEvent::new(Kind::PolicyRefused, "placet", now).with("problems", &count)]
}

#[cfg(test)]
mod tests;
