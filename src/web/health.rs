//! What operators and their machines ask: alive, ready, how much.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::domain::json;
use crate::telemetry::{head, sample};

use super::Web;
use super::error::{Code, Problem};
use super::extract::Reader;

/// How long the store may take to say that it can be written.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// How well a part of the program works, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// As it should be.
    Ok,
    /// Works, but somebody should look.
    Degraded,
    /// Does not work.
    Unavailable,
}

impl Health {
    /// The word in the answers of `/readyz`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Unavailable => "unavailable",
        }
    }
}

/// What the parts of the program say of themselves; the store is asked at every request.
#[derive(Debug, Default)]
pub struct Readiness {
    checks: Mutex<BTreeMap<String, Health>>,
}

impl Readiness {
    /// Sets what one part says, `policies` for example.
    pub fn set(&self, part: &str, health: Health) {
        self.checks.lock().expect("no holder of this lock panics").insert(part.to_owned(), health);
    }

    fn snapshot(&self) -> BTreeMap<String, Health> {
        self.checks.lock().expect("no holder of this lock panics").clone()
    }
}

/// `GET /healthz`: the process is alive; nothing is checked.
pub(crate) async fn healthz() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], "{\"status\":\"ok\"}").into_response()
}

/// `GET /readyz`: whether calls can be taken. An upstream whose list of tools can't be read makes
/// it degraded.
pub(crate) async fn readyz(State(web): State<Web>) -> Response {
    let mut checks = web.readiness.snapshot();
    checks.entry("policies".to_owned()).or_insert(Health::Ok);
    let store = match tokio::time::timeout(ANSWERS_WITHIN, web.broker.check_store()).await {
        Ok(Ok(())) => Health::Ok,
        Err(_) => {
            tracing::warn!("not ready: the store does not answer");
            Health::Unavailable
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready: the store can't be written");
            Health::Unavailable
        }
    };
    // A channel whose other side wants no more messages reaches nobody.
    if store == Health::Ok {
        let channels = tokio::time::timeout(ANSWERS_WITHIN, web.broker.channel_rows()).await;
        let is_disabled =
            matches!(&channels, Ok(Ok(rows)) if rows.iter().any(|c| c.disabled.is_some()));
        let notifiers = if is_disabled { Health::Degraded } else { Health::Ok };
        checks.insert("notifiers".to_owned(), notifiers);
    }
    checks.insert("store".to_owned(), store);
    // The others take it for dead, and what it holds for nobody's.
    let lease = if web.broker.has_lease() { Health::Ok } else { Health::Unavailable };
    checks.insert("lease".to_owned(), lease);
    let skew = web.broker.skew().length();
    let off = skew > web.broker.config().database.max_clock_skew;
    checks.insert("clock".to_owned(), if off { Health::Degraded } else { Health::Ok });
    // An upstream that can't be reached is no news here: /upstreams tells of it.
    let unread = web.broker.upstream_rows().iter().any(|row| row.report.health.is_list_unread());
    let upstreams = if unread { Health::Degraded } else { Health::Ok };
    checks.insert("upstreams".to_owned(), upstreams);
    let worst = checks.values().copied().max().unwrap_or(Health::Ok);
    let status = match worst {
        Health::Ok | Health::Degraded => StatusCode::OK,
        Health::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    };
    let words: Vec<_> = checks.iter().map(|(k, v)| (k.as_str(), json::quote(v.as_str()))).collect();
    let checks = json::object(words.iter().map(|(k, v)| (*k, v.as_str())));
    let body =
        json::object([("status", json::quote(worst.as_str()).as_str()), ("checks", &checks)]);
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// `GET /metrics`: Prometheus text, for admins and auditors unless it is public.
///
/// # Errors
/// `unauthorized` without a sign-in, `forbidden` for other roles, `unavailable` if the store
/// failed.
pub(crate) async fn metrics(
    State(web): State<Web>,
    reader: Result<Reader, Problem>,
) -> Result<Response, Problem> {
    if !web.broker.config().telemetry.public_metrics && !reader?.0.role.reads_all() {
        return Err(Problem::new(Code::Forbidden, "metrics are for admins and auditors"));
    }
    let text = render(&web).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

async fn render(web: &Web) -> Result<String, Problem> {
    let figures = web.broker.figures().await?;
    let mut out = String::new();
    let gauge = |out: &mut String, name: &str, help: &str, value: &str| {
        head(out, name, "gauge", help);
        sample(out, name, &[], value);
    };
    gauge(
        &mut out,
        "placet_approvals_pending",
        "Approvals waiting for reviewers.",
        &figures.pending.to_string(),
    );
    gauge(
        &mut out,
        "placet_oldest_pending_seconds",
        "Age of the oldest approval waiting for reviewers; 0 if none.",
        &figures.oldest_pending.as_secs_f64().to_string(),
    );
    let held = figures.held.to_string();
    gauge(&mut out, "placet_held_requests", "Agent requests held open.", &held);
    gauge(
        &mut out,
        "placet_clock_skew_seconds",
        "How far this machine's clock is ahead of the database's.",
        &web.broker.skew().seconds().to_string(),
    );
    // A gauge in truth: approvals leave a state, and history is purged.
    head(&mut out, "placet_approvals_total", "gauge", "Approvals kept, by state.");
    for (state, count) in &figures.by_state {
        let labels = [("state", state.as_str())];
        sample(&mut out, "placet_approvals_total", &labels, &count.to_string());
    }
    head(&mut out, "placet_notifications_total", "counter", "Attempts to notify, by result.");
    for (notifier, result, count) in &figures.attempts {
        let labels = [("notifier", notifier.as_str()), ("result", result.as_str())];
        sample(&mut out, "placet_notifications_total", &labels, &count.to_string());
    }
    web.metrics.render(&mut out);
    Ok(out)
}
