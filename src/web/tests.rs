//! The whole site over a real SQLite file, asked as a browser or program would.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::host_guard::{Hosts, host_guard};
use super::*;
use crate::auth::csrf::Bound;
use crate::broker::{Parts, Stop};
use crate::clock::{Clock, ManualClock};
use crate::domain::approval::{Approval, ApprovalId, Assurance, Outcome, State};
use crate::domain::audit::{AuditEvent, Kind};
use crate::domain::time::Timestamp;
use crate::fixtures;
use crate::id::{IdSource, OsIds, token_hash};
use crate::store::sql::SqlStore;
use crate::store::{NewHold, ReviewLink, Session, Store, Submit, Submitted};

mod agents;
mod api;
mod assurance;
mod authenticator;
mod credentials;
mod events;
mod grants;
mod guesses;
mod hostile;
mod issuer;
mod known;
mod links;
mod misfits;
mod oidc;
mod oidc_answers;
mod oidc_groups;
mod pages;
mod passkeys;
mod plans;
mod queue;
mod settings;
mod sign_in;
mod upstream;
mod upstreams;

const CONFIG: &str = r#"
[server]
listen = "127.0.0.1:8420"
public_url = "http://127.0.0.1:8420"
trusted_proxies = ["10.0.0.1"]
max_export = 2

[[upstreams]]
name = "images"
url = "http://127.0.0.1:9/mcp"

[upstreams.policy]
version = "1"
default = "deny"
hide = ["wipe_archive"]

[upstreams.policy.tools.list_image_sets]
action = "allow"

[upstreams.policy.tools.delete_image_set]
action = "require_approval"

[[agents]]
name = "bot"
token = "agent-token-agent-token"
owner = "olga"

[[reviewers]]
name = "ana"
email = "ana@example.org"
groups = ["oncall"]
token = "ana-token-ana-token-ana"

[[reviewers]]
name = "bo"
token = "bo-token-bo-token-bo-bo"

[[reviewers]]
name = "olga"
token = "olga-token-olga-token-o"

[[reviewers]]
name = "root"
role = "admin"
token = "root-token-root-token-r"

[[reviewers]]
name = "kim"
role = "auditor"
token = "kim-token-kim-token-kim"
"#;

const CALL: &str = r#"{"name":"delete_image_set","arguments":{"datastore_id":"prod","n":1.00}}"#;
const SECRET_CALL: &str =
    r#"{"name":"delete_image_set","arguments":{"user":"x","password":"hunter2"}}"#;

/// The program without its network.
struct Site {
    router: Router,
    web: Web,
    clock: Arc<ManualClock>,
    file: PathBuf,
    ids: OsIds,
    mails: Arc<Mails>,
    sql: SqlStore,
    upstream: Arc<upstream::Fixed>,
}

/// Remembers sign-in links in place of mailing them.
#[derive(Default)]
struct Mails(std::sync::Mutex<Vec<(String, String)>>);

#[async_trait]
impl SignInMailer for Mails {
    async fn send_sign_in(&self, reviewer: &Reviewer, link: String) {
        self.0.lock().unwrap().push((reviewer.name.clone(), link));
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", self.file.display()));
        }
    }
}

/// An answer, read whole.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    /// The value of the first hidden field of that name.
    fn field(&self, name: &str) -> String {
        let marker = format!("name=\"{name}\" value=\"");
        let start = self.body.find(&marker).unwrap_or_else(|| panic!("no {name} in {self:?}"));
        let rest = &self.body[start + marker.len()..];
        rest[..rest.find('"').unwrap()].to_owned()
    }

    fn code(&self) -> String {
        let node = crate::domain::json::parse(&self.body).unwrap();
        node.get("code").and_then(crate::domain::json::Node::as_str).unwrap_or("").to_owned()
    }
}

impl Site {
    async fn new() -> Self {
        Self::with_config(CONFIG).await
    }

    /// Under a name, for which browsers have passkeys.
    async fn named() -> Self {
        Self::with_config(&CONFIG.replace("http://127.0.0.1:8420", "http://localhost:8420")).await
    }

    /// The program with that configuration, whose provider was never asked.
    async fn with_config(text: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let file = std::env::temp_dir().join(format!("placet-web-{}-{n}.db", std::process::id()));
        // What a killed process of the same id left.
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", file.display()));
        }
        let sql = SqlStore::open(&format!("sqlite:{}", file.display())).await.unwrap();
        assert_eq!(sql.recount().await.unwrap(), 0);
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(1_795_377_600_000_000)));
        Self::on(text, file, sql, clock)
    }

    /// The program started again on the same database with another configuration. This one must
    /// outlive it: the file goes with the first.
    async fn restarted(&self, text: &str) -> Self {
        let again = Self::on(text, self.file.clone(), self.sql.clone(), self.clock.clone());
        again.web.broker.end_strangers().await.unwrap();
        again
    }

    fn on(text: &str, file: PathBuf, sql: SqlStore, clock: Arc<ManualClock>) -> Self {
        let config = Arc::new(crate::config::tests::config(text));
        let oidc = config.oidc.as_ref().map(|settings| {
            let redirect = config.link(crate::config::oidc::CALLBACK);
            Arc::new(Oidc {
                provider: crate::auth::oidc::provider::Provider::new(settings, redirect),
                sealer: attempt::Sealer::new([4; 32]),
            })
        });
        let upstream = Arc::new(upstream::Fixed::default());
        let images: Arc<dyn crate::upstream::Upstream> = upstream.clone();
        let broker = Broker::new(Parts {
            config: Arc::clone(&config),
            store: Arc::new(sql.clone()),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            ids: Arc::new(OsIds),
            upstreams: HashMap::from([("images".to_owned(), images)]),
            masking_key: [1; 32],
            seal_key: [2; 32],
            stop: Stop::default(),
            node: "node-1".to_owned(),
            tracker: TaskTracker::new(),
        });
        let mails = Arc::new(Mails::default());
        let web = Web {
            oidc,
            mailer: Some(Arc::clone(&mails) as Arc<dyn SignInMailer>),
            keys: Keys::new([3; 32]),
            readiness: Arc::new(Readiness::default()),
            metrics: broker.metrics().clone(),
            shutdown: broker.stop().soft.clone(),
            broker,
        };
        let server = &web.broker.config().server;
        let hosts = Arc::new(Hosts::new(server, server.listen));
        let router = router(web.clone()).layer(middleware::from_fn_with_state(hosts, host_guard));
        Self { router, web, clock, file, ids: OsIds, mails, sql, upstream }
    }

    fn store(&self) -> &dyn Store {
        &self.sql
    }

    /// A pending call that ana and bo, and root by name, may decide.
    async fn pending(&self, params: &str) -> Approval {
        self.pending_with(params, |_| {}).await
    }

    async fn pending_with(&self, params: &str, change: impl FnOnce(&mut Approval)) -> Approval {
        let now = self.clock.now();
        let id = self.ids.approval(now);
        let mut approval = fixtures::pending(id, params, &["ana", "bo"], now);
        approval.agent = "bot".to_owned();
        approval.client = Some("bot/1".to_owned());
        approval.reason = Some("Deleting an image set cannot be undone.".to_owned());
        approval.terms.owner = Some("olga".to_owned());
        change(&mut approval);
        let submit = Submit {
            events: vec![AuditEvent::of(Kind::ApprovalRequested, "bot", now, &approval)],
            approval,
            deliveries: Vec::new(),
            hold: NewHold {
                id: self.ids.token(),
                node: "node-1".to_owned(),
                agent: "bot".to_owned(),
            },
            max_held: 9,
            max_pending_per_agent: 999,
            max_pending: 999,
            max_submitting: 20_000,
            max_submitting_per_agent: 10_000,
            max_new: 999,
            new_since: now.minus(Duration::from_secs(1)),
            owed_since: now.minus(Duration::from_secs(1)),
            limit: None,
            draws: Vec::new(),
        };
        match self.store().approvals().submit(submit, now).await.unwrap() {
            // Its version is that of the row.
            Submitted::Created { approval, .. } => self.now_is(&approval.id).await,
            other => panic!("{other:?}"),
        }
    }

    async fn now_is(&self, id: &ApprovalId) -> Approval {
        self.web.broker.get(id).await.unwrap().unwrap()
    }

    async fn link(&self, id: &ApprovalId, reviewer: &str) -> String {
        let token = self.ids.token();
        let link = ReviewLink {
            hash: token_hash(&token),
            approval: id.clone(),
            reviewer: reviewer.to_owned(),
            created_at: self.clock.now(),
            entry: self.entry(reviewer),
        };
        self.store().review_links().insert(&link).await.unwrap();
        format!("/review/{token}")
    }

    fn entry(&self, reviewer: &str) -> String {
        self.web.broker.config().entry_of(reviewer).unwrap_or_default()
    }

    /// A signed-in reviewer's cookie.
    async fn cookie(&self, reviewer: &str) -> String {
        self.cookie_via(reviewer, "token").await
    }

    /// The cookie of a reviewer who signed in in a certain way.
    async fn cookie_via(&self, reviewer: &str, via: &str) -> String {
        let (token, now) = (self.ids.token(), self.clock.now());
        let session = Session {
            hash: token_hash(&token),
            reviewer: reviewer.to_owned(),
            via: via.to_owned(),
            client: None,
            created_at: now,
            seen_at: now,
            entry: self.entry(reviewer),
        };
        self.store().sessions().insert(&session).await.unwrap();
        format!("{}={token}", session::SESSION_COOKIE)
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header(header::HOST, "127.0.0.1:8420");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body)).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let body = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("GET", path, headers, String::new()).await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> Answer {
        let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
        all.extend(headers);
        let body =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.send("POST", path, &all, body).await
    }

    async fn api(&self, method: &str, path: &str, name: &str, body: &str) -> Answer {
        let token = format!("Bearer {}", token_of(name));
        let headers = [("authorization", token.as_str())];
        self.send(method, &format!("/api/v1{path}"), &headers, body.to_owned()).await
    }

    /// Decides over the API.
    async fn say(&self, id: &ApprovalId, name: &str, decision: &str) -> Answer {
        let body = format!("{{\"decision\":\"{decision}\",\"reason\":\"because\"}}");
        self.api("POST", &format!("/approvals/{id}/decision"), name, &body).await
    }

    /// Claims and completes it, as its agent's request would.
    async fn run(&self, id: &ApprovalId, outcome: Option<Outcome>) {
        let now = self.clock.now();
        let claim = self.now_is(id).await.claim("node-1", now).unwrap();
        let running = self.web.broker.apply(claim).await.unwrap();
        let end = match outcome {
            Some(outcome) => running.complete(outcome, now),
            None => running.lose("the connection broke", now),
        };
        self.web.broker.apply(end.unwrap()).await.unwrap();
    }

    /// All audit records of one kind.
    async fn audited(&self, kind: Kind) -> usize {
        self.store().audit().seal(1_000).await.unwrap();
        let records = self.store().audit().list(0, 1_000).await.unwrap();
        records.iter().filter(|r| r.kind == kind.as_str()).count()
    }

    fn session_form_token(&self, cookie: &str) -> String {
        let (_, token) = cookie.split_once('=').unwrap();
        self.web.keys.token(Bound::Session(&token_hash(token)))
    }
}

fn token_of(name: &str) -> String {
    match name {
        "ana" => "ana-token-ana-token-ana",
        "bo" => "bo-token-bo-token-bo-bo",
        "olga" => "olga-token-olga-token-o",
        "root" => "root-token-root-token-r",
        "kim" => "kim-token-kim-token-kim",
        "bot" => "agent-token-agent-token",
        other => other,
    }
    .to_owned()
}
