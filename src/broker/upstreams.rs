//! What is known of the upstreams already; no request is sent to them for it.

use super::Broker;
use crate::config::Transport;
use crate::domain::upstream_health::UpstreamState;
use crate::upstream::Report;

/// One upstream, as configured and as this process found it.
#[derive(Debug, Clone)]
pub struct UpstreamRow {
    /// Its name.
    pub name: String,
    /// `http`, `sse` or `stdio`.
    pub transport: &'static str,
    /// Its address, or program and arguments, secrets masked.
    pub target: Vec<String>,
    /// How it stands.
    pub state: UpstreamState,
    /// What is known of it.
    pub report: Report,
}

impl Broker {
    /// Every configured upstream, in the configuration's order.
    pub fn upstream_rows(&self) -> Vec<UpstreamRow> {
        let row = |settings: &crate::config::Upstream| {
            let report = self.upstream(&settings.name).map(|u| u.report()).unwrap_or_default();
            let transport = match &settings.transport {
                Transport::Stdio { .. } => "stdio",
                Transport::Http { .. } if report.speaks_sse => "sse",
                Transport::Http { .. } => "http",
            };
            UpstreamRow {
                name: settings.name.clone(),
                transport,
                target: self.masker().mask_target(&settings.target),
                state: report.health.state(report.opening),
                report,
            }
        };
        self.config().upstreams.iter().map(row).collect()
    }
}
