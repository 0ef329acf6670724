//! What people see and operators ask: review pages, the HTTP API, health and metrics.
//!
//! Handlers extract, ask the broker one thing, and render. A GET changes nothing but a session's
//! last use and the record of a reveal; every form carries a token; every page works without
//! scripts. Arguments come from others: they are escaped, spelled out and never executed.
#![warn(missing_docs)]

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio_util::sync::CancellationToken;

use crate::auth::csrf::Keys;
use crate::auth::oidc::Oidc;
use crate::auth::oidc::attempt;
use crate::broker::Broker;
use crate::config::Reviewer;
use crate::config::oidc::CALLBACK;
use crate::telemetry::Metrics;

pub(crate) mod agents;
pub(crate) mod api;
pub(crate) mod approval;
pub(crate) mod arguments;
pub(crate) mod audit;
pub(crate) mod bulk;
pub(crate) mod call_context;
pub(crate) mod call_view;
pub(crate) mod channels;
pub(crate) mod cookies;
pub(crate) mod decide;
pub(crate) mod error;
pub(crate) mod extract;
pub(crate) mod grants;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod host_guard;
pub(crate) mod oidc;
pub(crate) mod passkeys;
mod people;
pub(crate) mod queue;
pub(crate) mod review_link;
pub mod session;
pub(crate) mod settings;
pub(crate) mod sign_in;
pub(crate) mod tools;
pub(crate) mod upstreams;
pub(crate) mod view;

#[cfg(test)]
mod tests;

use error::{Code, Problem};
use health::Readiness;

const STYLE: &str = include_str!("web/style.css");
/// The pages' script. Every page works without it.
const SCRIPT: &str = include_str!("web/app.js");
const ICON: &str = include_str!("web/icon.svg");

const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; \
     script-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Mails a one-time sign-in link to a reviewer's own address.
#[async_trait]
pub trait SignInMailer: Send + Sync {
    /// Sends it. The mailer logs a failure: the page says the same either way, so that it does not
    /// tell whose address is known.
    async fn send_sign_in(&self, reviewer: &Reviewer, link: String);
}

/// What the pages and the API are made of; cheap to clone.
#[derive(Clone)]
pub struct Web {
    /// The broker, which holds all the verbs.
    pub broker: Broker,
    /// Mails sign-in links; none where no e-mail notifier is configured.
    pub mailer: Option<Arc<dyn SignInMailer>>,
    /// Signs people in through the provider; none where none is configured.
    pub oidc: Option<Arc<Oidc>>,
    /// Makes and checks form tokens.
    pub keys: Keys,
    /// What `/readyz` says of everything but the store.
    pub readiness: Arc<Readiness>,
    /// Counters of this process.
    pub metrics: Arc<Metrics>,
    /// Ends event streams at shutdown.
    pub shutdown: CancellationToken,
}

/// All routes but the MCP face's, with a 404 for everything else. The host guard of
/// [`host_guard`] belongs around it and the MCP face together; serve it with the peer's
/// address (`into_make_service_with_connect_info::<SocketAddr>`).
pub fn router(web: Web) -> Router {
    let server = &web.broker.config().server;
    let max_body = server.max_form.min(server.max_body);
    Router::new()
        .route("/", get(queue::show))
        .route("/approvals/{id}", get(approval::show).post(approval::decide))
        .route("/approvals/{id}/reveal", post(approval::reveal))
        .route("/approvals/{id}/cancel", post(approval::cancel))
        .route("/approvals/{id}/settle", post(approval::settle))
        .route("/approvals/{id}/grant", post(grants::give))
        .route("/grants", get(grants::show))
        .route("/grants/{id}/revoke", post(grants::revoke))
        .route("/bulk", post(bulk::decide))
        .route("/history", get(history::show))
        .route("/history/export", get(history::export))
        .route("/tools", get(tools::show))
        .route("/upstreams", get(upstreams::show))
        .route("/channels/{name}/enable", post(channels::enable))
        .route("/agents", get(agents::show))
        .route("/agents/forget", post(agents::forget))
        .route("/audit", get(audit::show))
        .route("/people", get(people::show))
        .route("/people/sign-out", post(people::sign_out))
        .route("/settings", get(settings::show))
        .route("/settings/sessions/end", post(settings::end_session))
        .route("/settings/tokens", post(settings::make_token))
        .route("/settings/tokens/revoke", post(settings::revoke_token))
        .route("/settings/absences", post(settings::enter_absence))
        .route("/settings/absences/remove", post(settings::remove_absence))
        .route("/settings/passkeys", post(passkeys::add))
        .route("/settings/passkeys/begin", post(passkeys::begin_adding))
        .route("/settings/passkeys/remove", post(settings::remove_passkey))
        .route("/approvals/{id}/passkey", post(passkeys::begin_confirming))
        .route("/settings/preferences", post(settings::set_preferences))
        .route("/sign-in", get(sign_in::show).post(sign_in::submit))
        .route(attempt::COOKIE_PATH, get(oidc::begin))
        .route(CALLBACK, get(oidc::answer))
        .route("/sign-in/{token}", get(sign_in::confirm).post(sign_in::redeem))
        .route("/sign-out", post(sign_in::sign_out))
        .route(
            "/review/{token}",
            get(review_link::show).post(review_link::decide).options(review_link::options),
        )
        .route("/review/{token}/reveal", post(review_link::reveal))
        .route("/assets/style.css", get(style))
        .route("/assets/app.js", get(script))
        .route("/assets/icon.svg", get(icon))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .nest("/api/v1", api::routes())
        .fallback(unknown)
        .method_not_allowed_fallback(not_allowed)
        .layer(DefaultBodyLimit::max(max_body))
        .layer(middleware::from_fn(security_headers))
        .with_state(web)
}

/// The answer for every path that leads nowhere: JSON, and never a redirect.
pub async fn unknown() -> Response {
    Problem::new(Code::NotFound, "there is nothing at this path").into_response()
}

async fn not_allowed() -> Response {
    Problem::new(Code::MethodNotAllowed, "this path does not take that method").into_response()
}

async fn style() -> Response {
    asset("text/css; charset=utf-8", STYLE)
}

async fn script() -> Response {
    asset("text/javascript; charset=utf-8", SCRIPT)
}

async fn icon() -> Response {
    asset("image/svg+xml", ICON)
}

fn asset(kind: &'static str, body: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], body).into_response()
}

/// Sets what a browser must be told on every answer, unless the handler said so itself.
async fn security_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let defaults: [(HeaderName, &'static str); 5] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    for (name, value) in defaults {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
