//! A broker on a real SQLite database, a clock that stands still and a fake upstream.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use placet::broker::answer::Answer;
use placet::broker::asking::Asking;
use placet::broker::decide::Verdict;
use placet::broker::execute::Wishes;
use placet::broker::hold::{Beat, Ended, Held, Terms};
use placet::broker::submit::Submission;
use placet::broker::{Broker, DecideError, Parts, Stop};
use placet::clock::{Clock as _, ManualClock};
use placet::config::{
    Agent, Approvals, Audit, AuditCalls, Config, Database as DatabaseConfig, Era, HttpKind,
    Instances, Masking, NewPerAgent, People, Reviewer, Role, Secret, Server, Telemetry, Transport,
    Upstream,
};
use placet::domain::approval::{Approval, ApprovalId, Assurance, Choice, State, Via};
use placet::domain::call::ToolCall;
use placet::domain::policy::Policy;
use placet::id::OsIds;
use placet::store::Store as _;
use placet::upstream::Reply;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::approvals::{T0, at};
use super::db::{self, Database, Dir};
use super::upstream::FakeUpstream;
use super::{PATIENCE, soon};

/// `delete_image_set` asks ben, dora or eve; `list_image_sets` runs.
pub const GATED: &str = r#"{"version":"1","tools":{"list_image_sets":{"action":"allow"},
    "delete_image_set":{"action":"require_approval","reason":"It cannot be undone.",
    "approval":{"reviewers":["ben","dora","eve"]}}}}"#;

/// Everything a broker test needs.
pub struct World {
    _dir: Dir,
    pub db: Database,
    pub clock: Arc<ManualClock>,
    pub upstream: Arc<FakeUpstream>,
    pub config: Arc<Config>,
    pub broker: Broker,
    pub stop: Stop,
}

/// A request that is being held.
pub struct Holding {
    pub approval: Approval,
    pub gone: CancellationToken,
    pub beats: mpsc::Receiver<Beat>,
    task: JoinHandle<Ended>,
}

impl Holding {
    /// How the hold ended.
    pub async fn ended(self) -> Ended {
        soon("the end of a hold", self.task).await.unwrap()
    }

    /// Its answer.
    pub async fn answer(self) -> Answer {
        match self.ended().await {
            Ended::Answered { answer, owed } => {
                if let Some(owed) = owed {
                    owed.told().await;
                }
                answer
            }
            Ended::Gone => panic!("the client was gone"),
        }
    }

    /// Its answer's code, or the upstream's raw answer.
    pub async fn word(self) -> String {
        word(&self.answer().await)
    }
}

/// The code of Placet's own answer, or the upstream's raw answer.
pub fn word(answer: &Answer) -> String {
    match answer {
        Answer::Said(statement) => statement.code.as_str().to_owned(),
        Answer::Replied(Reply::Result(raw)) => raw.clone(),
        Answer::Replied(Reply::Error(raw)) => format!("error {raw}"),
    }
}

impl World {
    /// With the policy [`GATED`].
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With another configuration.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let (dir, db) = db::for_broker().await;
        let mut config = config();
        change(&mut config);
        let config = Arc::new(config);
        let clock = Arc::new(ManualClock::new(T0));
        let upstream = FakeUpstream::new();
        db.store.nodes().renew("node-a", T0, at(10_000_000)).await.unwrap();
        let stop = Stop::default();
        let broker = broker(&db, &config, &clock, &upstream, "node-a", stop.clone());
        Self { _dir: dir, db, clock, upstream, config, broker, stop }
    }

    /// Another broker on the same database.
    pub async fn another(&self, node: &str) -> Broker {
        self.db.store.nodes().renew(node, T0, at(10_000_000)).await.unwrap();
        broker(&self.db, &self.config, &self.clock, &self.upstream, node, Stop::default())
    }

    /// Puts a policy in force.
    pub fn policy(&self, text: &str) {
        let (policy, _) = Policy::read(text).unwrap();
        self.broker.policies().replace("images", Arc::new(policy));
    }

    /// A call of `delete_image_set` by `ci`.
    pub fn asking(&self, params: &str) -> Asking {
        Asking {
            agent: self.config.agent("ci").unwrap().clone(),
            client: Some("ci/1.0".to_owned()),
            session: None,
            features: placet::upstream::ClientCapabilities::default(),
            call: ToolCall::read("images", params).unwrap(),
            waits_for: None,
        }
    }

    /// What becomes of a call with these arguments.
    pub async fn submit(&self, args: &str) -> Submission {
        self.broker.submit(self.asking(&delete(args))).await
    }

    /// A call that must be held.
    pub async fn call(&self, args: &str) -> Holding {
        held(self.submit(args).await)
    }

    /// A call that must be answered at once: its word.
    pub async fn answered(&self, args: &str) -> String {
        match self.submit(args).await {
            Submission::Answered(answer) => word(&answer),
            Submission::Ended { answer, owed } => {
                if let Some(owed) = owed {
                    owed.told().await;
                }
                word(&answer)
            }
            other => panic!("not answered: {other:?}"),
        }
    }

    /// A reviewer speaks.
    pub async fn says(
        &self,
        who: &str,
        choice: Choice,
        id: &ApprovalId,
    ) -> Result<Approval, DecideError> {
        let verdict = Verdict {
            choice,
            reason: "because".to_owned(),
            digest: None,
            via: Via::Api,
            assurance: Assurance::Session,
        };
        self.broker.decide(id, self.config.reviewer(who).unwrap(), verdict).await
    }

    /// Somebody approves.
    pub async fn approve(&self, id: &ApprovalId) -> Approval {
        self.says("ben", Choice::Approve, id).await.unwrap()
    }

    /// The approval as stored.
    pub async fn stored(&self, id: &ApprovalId) -> Approval {
        self.db.store.approvals().find(id, self.clock.now()).await.unwrap().unwrap()
    }

    /// Waits until it stands so.
    pub async fn becomes(&self, id: &ApprovalId, state: State) {
        super::until("the state", async || self.stored(id).await.state == state).await;
    }

    /// Moves the clock on.
    pub fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

/// `params` of `delete_image_set`.
pub fn delete(args: &str) -> String {
    format!(r#"{{"name":"delete_image_set","arguments":{args}}}"#)
}

/// Holds it with patience.
pub fn held(submission: Submission) -> Holding {
    held_for(submission, PATIENCE * 2)
}

/// Holds it for so long.
pub fn held_for(submission: Submission, budget: Duration) -> Holding {
    let Submission::Held(held) = submission else { panic!("not held: {submission:?}") };
    let held: Held = *held;
    let approval = held.approval().clone();
    let gone = CancellationToken::new();
    let (tell, beats) = mpsc::channel(64);
    let terms = Terms {
        budget,
        heartbeat: Duration::from_millis(20),
        beats: tell,
        gone: gone.clone(),
        enough: CancellationToken::new(),
        wishes: Wishes::default(),
    };
    let task = tokio::spawn(held.run(terms));
    Holding { approval, gone, beats, task }
}

fn broker(
    db: &Database,
    config: &Arc<Config>,
    clock: &Arc<ManualClock>,
    upstream: &Arc<FakeUpstream>,
    node: &str,
    stop: Stop,
) -> Broker {
    let upstream: Arc<dyn placet::upstream::Upstream> = Arc::clone(upstream) as _;
    Broker::new(Parts {
        config: Arc::clone(config),
        store: Arc::new(db.store.clone()),
        clock: Arc::clone(clock) as _,
        ids: Arc::new(OsIds),
        upstreams: HashMap::from([("images".to_owned(), upstream)]),
        masking_key: [7; 32],
        node: node.to_owned(),
        tracker: TaskTracker::new(),
        seal_key: [8; 32],
        stop,
    })
}

fn config() -> Config {
    let minutes = |n: u64| Duration::from_secs(60 * n);
    let agent = |name: &str, withdraw| Agent {
        name: name.to_owned(),
        token_sha256: None,
        upstreams: None,
        owner: Some("ana".to_owned()),
        hold: None,
        hold_with_progress: None,
        withdraw_on_disconnect: withdraw,
        wait_tool: false,
        url_elicitation: true,
        client_features: None,
    };
    let reviewer = |name: &str, role| Reviewer {
        name: name.to_owned(),
        email: None,
        groups: Vec::new(),
        role,
        token_sha256: None,
    };
    let url = url::Url::parse("http://127.0.0.1:8420").unwrap();
    Config {
        file: None,
        server: Server {
            listen: "127.0.0.1:8420".parse().unwrap(),
            public_url: url.clone(),
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            max_body: 1 << 22,
            max_result: 1 << 24,
            resume_window: Duration::from_secs(60),
            resume_buffer: 1 << 20,
            shutdown_grace: Duration::from_secs(10),
            max_subscriptions: 100,
            max_streams_per_agent: 64,
            max_early_cancellations: 32,
            sse_initialize_within: Duration::from_secs(60),
            max_sse_requests: 256,
            max_input_rounds: 8,
            question_wait: Duration::from_secs(3),
            max_questions: 16,
            max_export: 10_000,
        },
        database: DatabaseConfig { url: Secret::new("sqlite:unused.db") },
        approvals: Approvals {
            timeout: minutes(15),
            hold: Duration::from_secs(50),
            hold_with_progress: Duration::from_secs(50),
            heartbeat: Duration::from_secs(10),
            claim_window: minutes(10),
            cooldown: minutes(10),
            result_retention: minutes(24 * 60),
            max_outcome: 1 << 20,
            max_arguments: 1 << 18,
            max_pending_per_agent: 100,
            max_pending: 10_000,
            max_new_per_agent: NewPerAgent { max: 60, window: minutes(10) },
            max_held_per_agent: 200,
            page_rounds: 6,
            task_poll_interval: Duration::from_secs(5),
            max_tasks_per_agent: 1000,
            assurance: placet::domain::approval::Assurance::Link,
            max_grants_per_agent: 20,
            reminder: None,
            history_retention: minutes(60 * 24 * 365),
        },
        audit: Audit { calls: AuditCalls::Group },
        telemetry: Telemetry { public_metrics: false },
        masking: Masking { keys: vec!["password".to_owned()] },
        oidc: None,
        people: People {
            session_idle: Duration::from_hours(12),
            link_life: Duration::from_mins(15),
            sign_in_window: Duration::from_mins(15),
            sign_in_mails: 3,
            sign_in_requests: 20,
            sign_in_tokens: 20,
            max_tokens: 20,
            max_token_life: Duration::from_hours(24 * 365),
            max_absences: 10,
            max_passkeys: 10,
            passkey_wait: Duration::from_secs(120),
        },
        upstreams: vec![Upstream {
            name: "images".to_owned(),
            transport: Transport::Http { url, headers: Vec::new(), kind: HttpKind::Auto },
            target: Vec::new(),
            era: Era::Auto,
            instances: Instances::Agent,
            policy: Some(Arc::new(Policy::read(GATED).unwrap().0)),
            policy_file: None,
            timeout: minutes(10),
            client_features: placet::domain::client_feature::ClientFeature::DEFAULT.to_vec(),
            trust_annotations: false,
        }],
        agents: vec![agent("ci", false), agent("careful", true)],
        reviewers: vec![
            reviewer("ana", Role::Reviewer),
            reviewer("ben", Role::Reviewer),
            reviewer("dora", Role::Admin),
            reviewer("eve", Role::Reviewer),
            reviewer("cleo", Role::Auditor),
        ],
        notifiers: Vec::new(),
        implicit_owner: false,
    }
}
