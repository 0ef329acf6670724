//! What is known of the upstreams already; no request is sent to them for it.

use super::Broker;
use crate::config::Transport;
use crate::domain::approval::Approval;
use crate::domain::json;
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
    /// A fingerprint of where an upstream is: its address, or its program, arguments, working
    /// directory and environment; of headers and variables those that are no secrets, which may
    /// change without leading elsewhere. None if it is not configured.
    pub(crate) fn address_fingerprint(&self, upstream: &str) -> Option<String> {
        let settings = self.config().upstream(upstream)?;
        let mut parts = settings.target.clone();
        let pairs = match &settings.transport {
            Transport::Http { headers, .. } => headers,
            Transport::Stdio { env, cwd, .. } => {
                parts.extend(cwd.as_ref().map(|path| path.display().to_string()));
                env
            }
        };
        let plain = pairs.iter().filter(|(name, _)| !self.masker().is_secret(name, &[]));
        parts.extend(plain.map(|(name, value)| format!("{name}={}", value.expose())));
        let quoted: Vec<String> = parts.iter().map(|part| json::quote(part)).collect();
        Some(self.masker().fingerprint(&quoted.join(",")))
    }

    /// Whether the upstream has another address than when the approval was made.
    pub(crate) fn has_moved(&self, approval: &Approval) -> bool {
        let then = approval.terms.address_fingerprint.as_ref();
        then.is_some_and(|then| {
            self.address_fingerprint(&approval.call.upstream).as_ref() != Some(then)
        })
    }

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
