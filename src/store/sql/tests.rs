//! How many statements and trips verbs are, and how often the disk is waited for.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::approval::{
    Approval, ApprovalId, Assurance, Choice, Decision, Outcome, State, Transition, Via,
};
use crate::domain::audit::{AuditEvent, Kind};
use crate::domain::person::Role;
use crate::domain::time::Timestamp;
use crate::fixtures::pending;
use crate::store::patience::Patience;
use crate::store::{Mark, Marked, NewHold, Store as _, Submit, Submitted};

use super::SqlStore;
use crate::store::driver::Spent;

const NODE: &str = "node-a";
const T0: Timestamp = Timestamp::from_micros(1_795_377_600_000_000);

fn at(seconds: u64) -> Timestamp {
    T0.plus(Duration::from_secs(seconds))
}

struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn store(name: &str) -> (Folder, SqlStore) {
    let folder = std::env::temp_dir().join(format!("placet-sql-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let url = format!("sqlite:{}/placet.db", folder.display());
    let store = SqlStore::open_with(&url, &Patience::default()).await.unwrap();
    store.nodes().renew(NODE, T0, at(3_600)).await.unwrap();
    (Folder(folder), store)
}

/// A new approval, held as `hld_{n}`.
fn submission(n: u32) -> Submit {
    let id = ApprovalId::parse(&format!("apr_{n:032x}")).unwrap();
    let params = format!(r#"{{"name":"delete_image_set","arguments":{{"n":{n}}}}}"#);
    let approval = pending(id, &params, &["ben"], T0);
    Submit {
        events: vec![AuditEvent::of(Kind::ApprovalRequested, "ci", T0, &approval)],
        deliveries: Vec::new(),
        hold: NewHold { id: format!("hld_{n}"), node: NODE.to_owned(), agent: "ci".to_owned() },
        max_held: 100,
        max_pending_per_agent: 100,
        max_pending: 100,
        max_submitting: 100,
        max_submitting_per_agent: 100,
        max_new: 100,
        new_since: T0.minus(Duration::from_secs(600)),
        owed_since: T0.minus(Duration::from_secs(86_400)),
        limit: None,
        draws: Vec::new(),
        approval,
    }
}

/// The same, stored.
async fn submitted(store: &SqlStore, n: u32) -> Approval {
    match store.approvals().submit(submission(n), T0).await.unwrap() {
        Submitted::Created { .. } => {}
        other => panic!("{other:?}"),
    }
    let id = ApprovalId::parse(&format!("apr_{n:032x}")).unwrap();
    store.approvals().find(&id, T0).await.unwrap().unwrap()
}

fn approved(approval: Approval) -> Transition {
    let decision = Decision {
        assurance: Assurance::Session,
        reviewer: "ben".to_owned(),
        choice: Choice::Approve,
        reason: "because".to_owned(),
        via: Via::Api,
        at: at(1),
    };
    approval.decide(decision, Role::Reviewer, None).unwrap()
}

/// A store on a database of its own on the server of the tests, where there is one.
async fn on_postgres() -> Option<SqlStore> {
    use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
    let server = std::env::var("PLACET_TEST_POSTGRES").ok()?;
    let name = format!("placet_sql_{}", std::process::id());
    let mut admin = PgConnection::connect(&server).await.unwrap();
    let gone = format!("drop database if exists {name} with (force)");
    admin.execute(AssertSqlSafe(gone)).await.unwrap();
    admin.execute(AssertSqlSafe(format!("create database {name}"))).await.unwrap();
    let mut url = url::Url::parse(&server).unwrap();
    url.set_path(&name);
    let store = SqlStore::open_with(url.as_str(), &Patience::default()).await.unwrap();
    store.nodes().renew(NODE, T0, at(3_600)).await.unwrap();
    Some(store)
}

/// What each verb on the way of a call cost: statements, trips, commits, readings.
async fn spent_on_the_way(store: &SqlStore) -> Vec<(&'static str, [u32; 4])> {
    let mut before = store.db.spent();
    let mut all = Vec::new();
    let mut spent = |verb| {
        let now = store.db.spent();
        let Spent { statements, trips, commits, readings } = now.since(before);
        all.push((verb, [statements, trips, commits, readings]));
        before = now;
    };
    let new = submission(1);
    assert!(matches!(store.approvals().submit(new, T0).await.unwrap(), Submitted::Created { .. }));
    spent("submission");
    let id = ApprovalId::parse(&format!("apr_{:032x}", 1)).unwrap();
    let approval = store.approvals().find(&id, T0).await.unwrap().unwrap();
    spent("look");
    let approval = store.approvals().apply(approved(approval), Vec::new(), at(1)).await.unwrap();
    spent("decision");
    let claim = approval.claim(NODE, at(2)).unwrap();
    let approval = store.approvals().apply(claim, Vec::new(), at(2)).await.unwrap();
    spent("claim");
    let mark = Mark {
        id: approval.id.clone(),
        version: approval.version,
        node: NODE.to_owned(),
        lease_until: at(7_200),
        lease_least: at(60),
    };
    assert_eq!(store.approvals().mark_sent(&mark, at(2)).await.unwrap(), Marked::Sent);
    spent("mark");
    let outcome = Outcome::Result(r#"{"content":[]}"#.to_owned());
    let done = approval.complete(outcome, at(3)).unwrap().detaching(Some("hld_1".to_owned()));
    let done = store.approvals().apply(done, Vec::new(), at(3)).await.unwrap();
    assert!(done.held == 0 && !done.waiting);
    spent("outcome");
    assert!(store.approvals().take_end(&done.id, done.end_told(at(4))).await.unwrap());
    spent("told");
    all
}

#[tokio::test]
async fn each_verb_on_the_way_of_a_call_is_one_trip_and_one_commit_on_sqlite() {
    let (_folder, store) = store("trips").await;

    assert_eq!(
        spent_on_the_way(&store).await,
        [
            ("submission", [6, 6, 1, 0]),
            ("look", [0, 0, 0, 1]),
            ("decision", [3, 1, 1, 0]),
            ("claim", [2, 1, 1, 0]),
            ("mark", [1, 1, 1, 0]),
            ("outcome", [3, 1, 1, 0]),
            ("told", [2, 1, 1, 0]),
        ]
    );
}

#[tokio::test]
async fn each_verb_on_the_way_of_a_call_is_three_trips_on_postgres_its_begin_and_commit_included() {
    let Some(store) = on_postgres().await else { return };

    assert_eq!(
        spent_on_the_way(&store).await,
        [
            ("submission", [8, 10, 1, 0]),
            ("look", [0, 0, 0, 1]),
            ("decision", [1, 3, 1, 0]),
            ("claim", [1, 3, 1, 0]),
            ("mark", [1, 3, 1, 0]),
            ("outcome", [1, 3, 1, 0]),
            ("told", [1, 3, 1, 0]),
        ]
    );
    store.close().await;
}

#[tokio::test]
async fn a_request_that_is_let_go_is_one_trip_and_one_commit() {
    let (_folder, store) = store("let-go").await;
    submitted(&store, 1).await;
    let before = store.db.spent();

    assert_eq!(store.holds().detach("hld_1", at(4)).await.unwrap(), 0);

    let spent = store.db.spent().since(before);
    assert_eq!((spent.trips, spent.commits), (1, 1));
}

#[tokio::test]
async fn verbs_that_wait_at_the_same_time_share_one_commit_and_all_of_them_are_stored() {
    let (_folder, store) = store("group").await;
    let mut approvals = Vec::new();
    for n in 1..=20 {
        approvals.push(submitted(&store, n).await);
    }
    let before = store.db.spent();
    let writer = store.db.all_wait();
    let turn = store.db.begin().await.unwrap();
    let verbs: Vec<_> = approvals
        .iter()
        .cloned()
        .map(|approval| {
            let store = store.clone();
            tokio::spawn(async move {
                store.approvals().apply(approved(approval), Vec::new(), at(1)).await
            })
        })
        .collect();
    while writer() < 20 {
        tokio::task::yield_now().await;
    }

    drop(turn);

    for verb in verbs {
        assert_eq!(verb.await.unwrap().unwrap().state, State::Approved);
    }
    assert_eq!(store.db.spent().since(before).commits, 1);
    for approval in approvals {
        let stored = store.approvals().find(&approval.id, at(2)).await.unwrap().unwrap();
        assert_eq!(stored.state, State::Approved);
    }
}

fn allowed_calls(n: u64) -> Vec<AuditEvent> {
    let call = |n| {
        AuditEvent::new(Kind::CallAllowed, "ci", at(n))
            .with("upstream", "images")
            .with("tool", "get_image_set")
            .with("agent", "ci")
            .with("digest", &format!("sha256:{n:064x}"))
            .with("rule", "/rules/0")
    };
    (0..n).map(call).collect()
}

#[tokio::test]
async fn a_thousand_allowed_calls_are_recorded_and_sealed_in_twelve_trips_and_one_commit() {
    let (_folder, store) = store("calls").await;
    store.audit().append(allowed_calls(2)).await.unwrap();
    let before = store.db.spent();

    store.audit().append_sealed(Arc::new(allowed_calls(1_000))).await.unwrap();

    // The end of the chain, those that were not sealed yet, and seven times 128, 64, 32, 8.
    let spent = store.db.spent().since(before);
    assert_eq!((spent.trips, spent.commits), (12, 1));
    assert_eq!(store.audit().seal(1_000).await.unwrap(), 0);
    assert_eq!(store.db.spent().since(before).trips, 12, "nothing is left to be written");
    assert_eq!(store.audit().list(1_001, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_thousand_records_of_other_changes_are_sealed_in_eleven_trips_and_one_commit() {
    let (_folder, store) = store("seals").await;
    store.audit().append(allowed_calls(1_000)).await.unwrap();
    let before = store.db.spent();

    assert_eq!(store.audit().seal(1_000).await.unwrap(), 1_000);

    let spent = store.db.spent().since(before);
    assert_eq!((spent.trips, spent.commits), (11, 1));
}

#[tokio::test]
async fn what_a_call_counts_in_all_its_counters_is_read_and_written_in_one_commit() {
    use crate::domain::policy::Window;
    use crate::domain::quantity::Quantity;
    use crate::store::counters::{Counter, CounterKey, Draw, Reserving, SessionOf, What};
    let (_folder, store) = store("counters").await;
    let draw = |name: &str| {
        let window = Window::Sliding(Duration::from_secs(60));
        let what = What::Named(name.to_owned());
        let key = CounterKey { what, window: window.word(), ..CounterKey::default() };
        let counter = Counter { key, window, session: SessionOf::Any };
        Draw { counter, amount: Quantity::whole(1), max: Quantity::whole(1) }
    };
    let spent = async || {
        let before = store.db.spent();
        let done = store.counters().reserve(None, vec![draw("a"), draw("b")], at(1)).await.unwrap();
        let Spent { statements, trips, commits, .. } = store.db.spent().since(before);
        (matches!(done, Reserving::Taken(_)), [statements, trips, commits])
    };

    assert_eq!(spent().await, (true, [2, 2, 1]));
    let (taken, [statements, trips, _]) = spent().await;
    assert_eq!((taken, statements, trips), (false, 1, 1), "refused");
}
