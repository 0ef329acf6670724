//! What `placet check --connect` tries: every upstream, the sign-in provider and every notifier.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::auth::oidc::provider::Provider;
use crate::broker::call::wait_tool::WAIT_TOOL;
use crate::clock::{Clock, SystemClock};
use crate::config::oidc::CALLBACK;
use crate::config::{self, Config, Upstream};
use crate::notify::deliver;
use crate::upstream::{self, Catalog};

use super::tool_list::{self, PATIENCE};

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// The name in the configuration of each that was tried, with its answer or why there was none.
    pub tried: Vec<(String, Result<String, String>)>,
    /// Warnings of what stands in a policy and fits nothing that its upstream lists.
    pub misfits: Vec<config::Warning>,
}

/// Tries them all, one after the other.
pub async fn report(config: &Config) -> Report {
    let tracker = TaskTracker::new();
    let mut report = Report::default();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let upstreams = upstream::build(config, &clock, &tracker);
    for settings in &config.upstreams {
        let Some(server) = upstreams.get(&settings.name) else { continue };
        let answer = match tool_list::fetch(server.as_ref()).await {
            Ok(catalog) => {
                let own = catalog.find(WAIT_TOOL).is_some();
                if own && config.agents.iter().any(|a| a.wait_tool) {
                    tracing::warn!(
                        "upstreams.{} has a tool {WAIT_TOOL} of its own: it wins over Placet's, \
                         which agents with wait_tool are not offered there",
                        settings.name
                    );
                }
                report.misfits.extend(misfits(settings, &catalog));
                Ok(format!("{} tools", catalog.tools.len()))
            }
            Err(why) => Err(why),
        };
        report.tried.push((format!("upstreams.{}", settings.name), answer));
        server.shutdown().await;
    }
    if let Some(settings) = &config.oidc {
        let provider = Provider::new(settings, config.link(CALLBACK));
        let answer = provider.probe(SystemClock.now()).await.map_err(|e| e.to_string());
        report.tried.push(("oidc".to_owned(), answer));
    }
    let notifiers = deliver::build(config);
    for settings in &config.notifiers {
        let Some(notifier) = notifiers.get(&settings.name) else { continue };
        let answer = match tokio::time::timeout(PATIENCE, notifier.probe()).await {
            Ok(answer) => answer.map_err(|e| e.to_string()),
            Err(_) => Err(format!("no answer within {PATIENCE:?}")),
        };
        report.tried.push((format!("notifiers.{}", settings.name), answer));
    }
    tracker.close();
    report
}

/// What an upstream's policy has that fits nothing in its list, where the policy stands.
fn misfits(settings: &Upstream, catalog: &Catalog) -> Vec<config::Warning> {
    let (Some(policy), Some(place)) = (&settings.policy, &settings.policy_place) else {
        return Vec::new();
    };
    catalog.misfits_of(policy).into_iter().map(|problem| place.problem(problem)).collect()
}
