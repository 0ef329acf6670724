//! The verbs of the store that an approval needs from its making to its end, on a SQLite file with
//! the program's settings; each is a transaction that waits for the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use criterion::{BatchSize, Criterion};
use placet::domain::approval::{
    Approval, ApprovalId, Assurance, Choice, Decision, Outcome, Transition, Via,
};
use placet::domain::audit::{AuditEvent, Kind};
use placet::domain::person::Role;
use placet::domain::time::Timestamp;
use placet::store::sql::SqlStore;
use placet::store::{NewHold, Store as _, Submit, Submitted};
use tokio::runtime::Runtime;

use crate::fixtures::pending;

/// Limits that nothing reaches.
const NO_LIMIT: u32 = 1_000_000_000;

struct Stage {
    runtime: Runtime,
    store: SqlStore,
    next: AtomicU64,
    began: std::time::Instant,
}

/// Submit, decide, claim, outcome.
pub(crate) fn verbs(criterion: &mut Criterion) {
    let folder = std::env::temp_dir().join(format!("placet-bench-{}", uuid::Uuid::now_v7()));
    std::fs::create_dir(&folder).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let url = format!("sqlite:{}", folder.join("placet.db").display());
    let store = runtime.block_on(SqlStore::open(&url)).unwrap();
    let began = std::time::Instant::now();
    let stage = Stage { runtime, store, next: AtomicU64::new(0), began };
    let mut group = criterion.benchmark_group("store, SQLite file");
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    group.bench_function("submit", |bencher| {
        bencher.iter_batched(|| stage.unknown(), |new| stage.submit(new), BatchSize::SmallInput);
    });
    group.bench_function("decide", |bencher| {
        let setup = || stage.decision(stage.submit(stage.unknown()));
        bencher.iter_batched(setup, |change| stage.apply(change), BatchSize::SmallInput);
    });
    group.bench_function("claim", |bencher| {
        let setup = || stage.claim(stage.approved());
        bencher.iter_batched(setup, |change| stage.apply(change), BatchSize::SmallInput);
    });
    group.bench_function("outcome", |bencher| {
        let setup = || stage.outcome(stage.apply(stage.claim(stage.approved())));
        bencher.iter_batched(setup, |change| stage.apply(change), BatchSize::SmallInput);
    });
    group.bench_function("record 1,000 allowed calls", |bencher| {
        bencher.iter_batched(
            || stage.allowed(),
            |calls| stage.record(calls),
            BatchSize::LargeInput,
        );
    });
    group.finish();
    stage.runtime.block_on(stage.store.close());
    std::fs::remove_dir_all(&folder).unwrap();
}

impl Stage {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000).plus(self.began.elapsed())
    }

    /// A submission as the broker makes it, of a call that nobody made before.
    fn unknown(&self) -> Submit {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let (now, agent) = (self.now(), format!("agent-{}", n % 10));
        let params = format!(
            r#"{{"name":"delete_image_set","arguments":{{"datastore_id":"hospital-main","image_set_id":"{n}"}}}}"#
        );
        let id = ApprovalId::new(uuid::Uuid::now_v7());
        let mut approval = pending(id, &params, &["ana"], now);
        agent.clone_into(&mut approval.agent);
        Submit {
            events: vec![AuditEvent::of(Kind::ApprovalRequested, &agent, now, &approval)],
            deliveries: Vec::new(),
            hold: NewHold { id: format!("hld_{n}"), node: "nod_1".to_owned(), agent },
            max_held: NO_LIMIT,
            max_pending_per_agent: NO_LIMIT,
            max_pending: NO_LIMIT,
            max_submitting: NO_LIMIT,
            max_submitting_per_agent: NO_LIMIT,
            max_new: NO_LIMIT,
            new_since: now.minus(Duration::from_secs(600)),
            owed_since: now.minus(Duration::from_secs(86_400)),
            limit: None,
            draws: Vec::new(),
            approval,
        }
    }

    fn allowed(&self) -> Arc<Vec<AuditEvent>> {
        let call = |n: u32| {
            AuditEvent::new(Kind::CallAllowed, "agent-1", self.now())
                .with("upstream", "hospital")
                .with("tool", "get_image_set")
                .with("agent", "agent-1")
                .with("digest", &format!("sha256:{n:064x}"))
                .with("rule", "/rules/0")
        };
        Arc::new((0..1_000).map(call).collect())
    }

    fn record(&self, calls: Arc<Vec<AuditEvent>>) {
        self.runtime.block_on(self.store.audit().append_sealed(calls)).unwrap();
    }

    fn submit(&self, new: Submit) -> Approval {
        let now = self.now();
        let submitted = self.runtime.block_on(self.store.approvals().submit(new, now)).unwrap();
        match submitted {
            Submitted::Created { approval, .. } => approval,
            other => panic!("not made: {other:?}"),
        }
    }

    fn decision(&self, approval: Approval) -> Transition {
        let decision = Decision {
            reviewer: "ana".to_owned(),
            choice: Choice::Approve,
            reason: String::new(),
            via: Via::Api,
            assurance: Assurance::Session,
            at: self.now(),
        };
        approval.decide(decision, Role::Reviewer, None).unwrap()
    }

    fn approved(&self) -> Approval {
        self.apply(self.decision(self.submit(self.unknown())))
    }

    fn claim(&self, approval: Approval) -> Transition {
        approval.claim("nod_1", self.now()).unwrap()
    }

    fn outcome(&self, approval: Approval) -> Transition {
        let result = r#"{"content":[{"type":"text","text":"done"}],"isError":false}"#;
        approval.complete(Outcome::Result(result.to_owned()), self.now()).unwrap()
    }

    fn apply(&self, change: Transition) -> Approval {
        let (approvals, now) = (self.store.approvals(), self.now());
        self.runtime.block_on(approvals.apply(change, Vec::new(), now)).unwrap()
    }
}
