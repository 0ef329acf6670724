//! How often verbs go to a SQLite file, and how often the disk is waited for.

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
async fn submitted(store: &SqlStore, n: u32) -> Approval {
    let id = ApprovalId::parse(&format!("apr_{n:032x}")).unwrap();
    let params = format!(r#"{{"name":"delete_image_set","arguments":{{"n":{n}}}}}"#);
    let approval = pending(id, &params, &["ben"], T0);
    let submit = Submit {
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
        approval,
    };
    match store.approvals().submit(submit, T0).await.unwrap() {
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

#[tokio::test]
async fn what_a_call_needs_after_its_decision_is_one_trip_and_one_commit_each() {
    let (_folder, store) = store("trips").await;
    let approval = submitted(&store, 1).await;
    let mut before = store.db.counts();
    let mut spent = || {
        let now = store.db.counts();
        let spent = (now.0 - before.0, now.1 - before.1);
        before = now;
        spent
    };

    let approval = store.approvals().apply(approved(approval), Vec::new(), at(1)).await.unwrap();
    assert_eq!(spent(), (2, 1), "a decision, whose words are indexed");
    let claim = approval.claim(NODE, at(2)).unwrap();
    let approval = store.approvals().apply(claim, Vec::new(), at(2)).await.unwrap();
    assert_eq!(spent(), (1, 1), "a claim");
    let mark = Mark {
        id: approval.id.clone(),
        version: approval.version,
        node: NODE.to_owned(),
        lease_until: at(7_200),
        lease_least: at(60),
    };
    assert_eq!(store.approvals().mark_sent(&mark, at(2)).await.unwrap(), Marked::Sent);
    assert_eq!(spent(), (1, 1), "a mark");
    let outcome = Outcome::Result(r#"{"content":[]}"#.to_owned());
    let done = approval.complete(outcome, at(3)).unwrap();
    let id = done.after.id.clone();
    store.approvals().apply(done, Vec::new(), at(3)).await.unwrap();
    assert_eq!(spent(), (1, 1), "an outcome");
    assert!(store.approvals().take_end(&id, at(4)).await.unwrap());
    assert_eq!(spent(), (2, 1), "an end that is told, which is read first");
    assert_eq!(store.holds().detach("hld_1", at(4)).await.unwrap(), 0);
    assert_eq!(spent(), (1, 1), "a request that is let go");
}

#[tokio::test]
async fn verbs_that_wait_at_the_same_time_share_one_commit_and_all_of_them_are_stored() {
    let (_folder, store) = store("group").await;
    let mut approvals = Vec::new();
    for n in 1..=20 {
        approvals.push(submitted(&store, n).await);
    }
    let before = store.db.counts();
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
    assert_eq!(store.db.counts().1 - before.1, 1);
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
    let before = store.db.counts();

    store.audit().append_sealed(Arc::new(allowed_calls(1_000))).await.unwrap();

    // The end of the chain, those that were not sealed yet, and seven times 128, 64, 32, 8.
    let after = store.db.counts();
    assert_eq!((after.0 - before.0, after.1 - before.1), (12, 1));
    assert_eq!(store.audit().seal(1_000).await.unwrap(), 0);
    assert_eq!(store.db.counts(), after, "nothing is left to be written");
    assert_eq!(store.audit().list(1_001, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_thousand_records_of_other_changes_are_sealed_in_eleven_trips_and_one_commit() {
    let (_folder, store) = store("seals").await;
    store.audit().append(allowed_calls(1_000)).await.unwrap();
    let before = store.db.counts();

    assert_eq!(store.audit().seal(1_000).await.unwrap(), 1_000);

    let after = store.db.counts();
    assert_eq!((after.0 - before.0, after.1 - before.1), (11, 1));
}
