//! Changes are numbered in the order in which they can be seen.

use std::collections::BTreeSet;

use placet::domain::approval::Choice;
use placet::domain::person::Role;
use placet::store::{NewHold, Store};

use crate::support::approvals::{T0, approval, at, id, says, submission};
use crate::support::db::{Database, on_each};

async fn told(db: &Database, seq: i64) -> Vec<(i64, String)> {
    let changes = db.store.changes().after(seq, None, 100, T0).await.unwrap();
    changes.into_iter().map(|c| (c.seq, c.approval.id.to_string())).collect()
}

#[tokio::test]
async fn each_change_gets_a_greater_number_than_all_that_were_seen_before() {
    on_each(async |db: &Database| {
        for n in 1..=3 {
            let new = submission(approval(n, &format!("{{\"n\":{n}}}")));
            db.store.approvals().submit(new, T0).await.unwrap();
        }
        assert!(told(db, 0).await.is_empty(), "not numbered yet");
        assert_eq!(db.store.changes().number(2).await.unwrap(), 2);
        assert_eq!(db.store.changes().number(2).await.unwrap(), 1);
        assert_eq!(db.store.changes().number(2).await.unwrap(), 0);
        let first = told(db, 0).await;
        assert_eq!(first.len(), 3);
        let last = db.store.changes().last().await.unwrap();
        assert_eq!(first[2].0, last);

        // The one with the greatest number changes: it gets a greater one still.
        let newest = db.store.approvals().find(&id(3), at(1)).await.unwrap().unwrap();
        let yes = newest.decide(says("ben", Choice::Approve, at(1)), Role::Reviewer, None).unwrap();
        db.store.approvals().apply(yes, Vec::new(), at(1)).await.unwrap();
        db.store.changes().number(9).await.unwrap();
        // So does one whose requests come and go.
        let hold = NewHold { id: "h".into(), node: "node-a".into(), agent: "ci".into() };
        db.store.holds().attach(&id(1), &hold, 9, at(1)).await.unwrap();
        db.store.changes().number(9).await.unwrap();
        db.store.holds().detach_all(&["h".to_owned()], at(1)).await.unwrap();
        db.store.changes().number(9).await.unwrap();

        let then = told(db, last).await;
        assert_eq!(
            then.iter().map(|(_, id)| id.as_str()).collect::<Vec<_>>(),
            [id(3).as_str(), id(1).as_str()]
        );
        assert!(told(db, then[1].0).await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_on_from_the_last_number_misses_nothing_of_two_brokers() {
    const EACH: u32 = 60;
    on_each(async |db: &Database| {
        let mut writers = Vec::new();
        for broker in 0..2 {
            let store = db.again().await;
            writers.push(tokio::spawn(async move {
                for n in 0..EACH {
                    let n = 1 + broker * EACH + n;
                    let new = submission(approval(n, &format!("{{\"n\":{n}}}")));
                    store
                        .approvals()
                        .submit(
                            placet::store::Submit {
                                max_pending: 999,
                                max_new: 999,
                                max_pending_per_agent: 999,
                                ..new
                            },
                            T0,
                        )
                        .await
                        .unwrap();
                    store.changes().number(7).await.unwrap();
                }
                store.close().await;
            }));
        }
        let (mut at, mut seen) = (0, BTreeSet::new());
        loop {
            let over = writers.iter().all(tokio::task::JoinHandle::is_finished);
            db.store.changes().number(1_000).await.unwrap();
            for (seq, id) in told(db, at).await {
                assert!(seq > at, "in order");
                at = seq;
                seen.insert(id);
            }
            if over && told(db, at).await.is_empty() {
                break;
            }
        }
        assert_eq!(seen.len(), 2 * EACH as usize);
    })
    .await;
}
