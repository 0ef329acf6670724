//! A broker on a real SQLite database, a clock that stands still and a fake upstream.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use placet::broker::call::answer::Answer;
use placet::broker::call::asking::Asking;
use placet::broker::call::execute::Wishes;
use placet::broker::call::hold::{BeatsHeard, Ended, Held, Terms, beats};
use placet::broker::call::submit::Submission;
use placet::broker::people::decide::DecisionRequest;
use placet::broker::{Broker, DecideError, Parts, Stop};
use placet::clock::{Clock as _, ManualClock};
use placet::config::{Config, Environment};
use placet::domain::approval::{Approval, ApprovalId, Assurance, Choice, State, Via};
use placet::domain::call::ToolCall;
use placet::domain::policy::Policy;
use placet::id::OsIds;
use placet::store::Store as _;
use placet::upstream::Reply;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::approvals::{T0, at};
use super::db::{self, Database, Dir};
use super::fake_upstream::FakeUpstream;
use super::fixtures::config_of;
use super::{LONGEST_WAIT, over, soon};

/// `delete_image_set` asks ben, dora or eve; `list_image_sets` runs.
pub const GATED: &str = r#"{"version":"1","tools":{"list_image_sets":{"action":"allow"},
    "delete_image_set":{"action":"require_approval","reason":"It cannot be undone.",
    "approval":{"reviewers":["ben","dora","eve"]}}}}"#;

/// Agents `ci` and `careful`, which withdraws when it leaves, both of ana; reviewers ana, ben, eve,
/// dora (an admin) and cleo (an auditor).
const CONFIG: &str = r#"
[[upstreams]]
name = "images"
url = "http://127.0.0.1:8420"
policy = "policy.json"

[[agents]]
name = "ci"
token = "token-of-the-agent-ci"
owner = "ana"

[[agents]]
name = "careful"
token = "token-of-the-agent-careful"
owner = "ana"
on_disconnect = "withdraw"

[[reviewers]]
name = "ana"
token = "token-of-the-reviewer-ana"

[[reviewers]]
name = "ben"
token = "token-of-the-reviewer-ben"

[[reviewers]]
name = "dora"
role = "admin"
token = "token-of-the-reviewer-dora"

[[reviewers]]
name = "eve"
token = "token-of-the-reviewer-eve"

[[reviewers]]
name = "cleo"
role = "auditor"
token = "token-of-the-reviewer-cleo"
"#;

/// Everything a broker test needs.
pub struct World {
    _dir: Dir,
    pub db: Database,
    pub clock: Arc<ManualClock>,
    pub upstream: Arc<FakeUpstream>,
    /// Stands for every other upstream of the configuration.
    pub other: Arc<FakeUpstream>,
    pub config: Arc<Config>,
    pub broker: Broker,
    pub stop: Stop,
}

/// A request that is being held.
pub struct Holding {
    pub approval: Approval,
    pub gone: CancellationToken,
    pub beats: BeatsHeard,
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
        Answer::Statement(statement) => statement.code.as_str().to_owned(),
        Answer::Replied(Reply::Result(raw)) => raw.clone(),
        Answer::Replied(Reply::Error(raw)) => format!("error {raw}"),
    }
}

impl World {
    /// With the policy [`GATED`].
    pub async fn new() -> Self {
        Self::with("").await
    }

    /// With these lines over the configuration [`CONFIG`].
    pub async fn with(lines: &str) -> Self {
        let (dir, db) = db::for_broker().await;
        std::fs::write(dir.0.join("policy.json"), GATED).unwrap();
        let file = dir.0.join("placet.toml");
        let config = config_of(&over(CONFIG, lines), Some(&file), &Environment::new());
        let config = Arc::new(config);
        let clock = Arc::new(ManualClock::new(T0));
        let (upstream, other) = (FakeUpstream::new(), FakeUpstream::new());
        db.store.nodes().renew("node-a", T0, at(10_000_000)).await.unwrap();
        let stop = Stop::default();
        let broker = broker(&db, &config, &clock, [&upstream, &other], "node-a", stop.clone());
        Self { _dir: dir, db, clock, upstream, other, config, broker, stop }
    }

    /// Another broker on the same database.
    pub async fn another(&self, node: &str) -> Broker {
        self.db.store.nodes().renew(node, T0, at(10_000_000)).await.unwrap();
        let upstreams = [&self.upstream, &self.other];
        broker(&self.db, &self.config, &self.clock, upstreams, node, Stop::default())
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
            session_began: None,
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

    /// A call that was approved and is being run at the upstream, which hangs.
    pub async fn running(&self) -> (Holding, ApprovalId) {
        self.upstream.hangs();
        let holding = self.call("{}").await;
        let id = holding.approval.id.clone();
        self.approve(&id).await;
        self.upstream.arrived(1).await;
        (holding, id)
    }

    /// A call that was approved when nobody waited for it any more.
    pub async fn approved_for_nobody(&self) -> ApprovalId {
        let holding = self.call("{}").await;
        let id = holding.approval.id.clone();
        holding.gone.cancel();
        holding.ended().await;
        self.approve(&id).await;
        id
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
        self.broker.decide(id, self.config.reviewer(who).unwrap(), verdict(choice)).await
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

/// What a reviewer says through the API.
pub fn verdict(choice: Choice) -> DecisionRequest {
    DecisionRequest {
        choice,
        reason: "because".to_owned(),
        digest: None,
        via: Via::Api,
        assurance: Assurance::Session,
    }
}

/// `params` of `delete_image_set`.
pub fn delete(args: &str) -> String {
    format!(r#"{{"name":"delete_image_set","arguments":{args}}}"#)
}

/// Holds it with patience.
pub fn held(submission: Submission) -> Holding {
    held_for(submission, LONGEST_WAIT * 2)
}

/// Holds it for so long.
pub fn held_for(submission: Submission, budget: Duration) -> Holding {
    let Submission::Held(held) = submission else { panic!("not held: {submission:?}") };
    let held: Held = *held;
    let approval = held.approval().clone();
    let gone = CancellationToken::new();
    let (tell, beats) = beats(64);
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
    [images, other]: [&Arc<FakeUpstream>; 2],
    node: &str,
    stop: Stop,
) -> Broker {
    let upstreams = config.upstreams.iter().map(|u| {
        let fake = if u.name == "images" { images } else { other };
        (u.name.clone(), Arc::clone(fake) as Arc<dyn placet::upstream::Upstream>)
    });
    Broker::new(Parts {
        config: Arc::clone(config),
        store: Arc::new(db.store.clone()),
        clock: Arc::clone(clock) as _,
        ids: Arc::new(OsIds),
        upstreams: upstreams.collect::<HashMap<_, _>>(),
        masking_key: [7; 32],
        node: node.to_owned(),
        tracker: TaskTracker::new(),
        seal_key: [8; 32],
        stop,
    })
}
