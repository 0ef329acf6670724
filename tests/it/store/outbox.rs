//! What must still be sent.

use std::time::Duration;

use placet::store::{Attempt, Store};

use crate::support::approvals::{T0, at, delivery, id};
use crate::support::db::{Database, on_each};

async fn claimed(db: &Database, second: u64) -> Vec<String> {
    let due = db.store.outbox().claim(at(second), at(second + 30), 10).await.unwrap();
    due.into_iter().map(|d| d.new.id).collect()
}

#[tokio::test]
async fn a_message_is_queued_once_and_leased_to_one() {
    on_each(async |db: &Database| {
        let twice = vec![delivery("dlv_1", Some(id(1))), delivery("dlv_1", Some(id(1)))];
        db.store.outbox().enqueue(twice, T0).await.unwrap();
        db.store.outbox().enqueue(vec![delivery("dlv_1", None)], T0).await.unwrap();
        let mut later = delivery("dlv_2", None);
        later.due_at = at(100);
        db.store.outbox().enqueue(vec![later], T0).await.unwrap();

        let due = db.store.outbox().claim(at(1), at(31), 10).await.unwrap();

        assert_eq!(due.len(), 1);
        assert_eq!(due[0].new.approval, Some(id(1)));
        assert_eq!((due[0].attempts, due[0].created_at), (0, T0));
        assert!(claimed(db, 30).await.is_empty(), "leased");
        assert_eq!(claimed(db, 31).await, ["dlv_1"], "the deliverer died");
    })
    .await;
}

#[tokio::test]
async fn attempts_are_recorded_and_decide_what_follows() {
    on_each(async |db: &Database| {
        let queue = ["dlv_1", "dlv_2"].map(|n| delivery(n, Some(id(1)))).to_vec();
        db.store.outbox().enqueue(queue, T0).await.unwrap();
        assert_eq!(claimed(db, 1).await.len(), 2);
        let failed = Attempt::Failed { detail: "450 busy\0".to_owned(), next: at(60) };
        let taken = Attempt::Delivered { detail: "250 ok".to_owned() };
        let dropped = Attempt::Dropped { detail: "decided".to_owned() };

        db.store.outbox().record_attempt("dlv_1", &failed, at(2)).await.unwrap();
        assert_eq!(claimed(db, 59).await, ["dlv_2"], "only its lease ran out");
        let again = db.store.outbox().claim(at(60), at(90), 10).await.unwrap();
        db.store.outbox().record_attempt("dlv_1", &taken, at(61)).await.unwrap();
        db.store.outbox().record_attempt("dlv_2", &dropped, at(62)).await.unwrap();

        assert_eq!(again.iter().map(|d| d.attempts).max(), Some(1));
        assert!(claimed(db, 1_000).await.is_empty());
        let told: Vec<_> = db.store.outbox().attempts(&id(1)).await.unwrap();
        let results: Vec<_> = told.iter().map(|a| (a.result.as_str(), a.at)).collect();
        assert_eq!(results, [("failed", at(2)), ("delivered", at(61)), ("dropped", at(62))]);
        assert_eq!(
            db.store.outbox().attempt_counts().await.unwrap(),
            ["delivered", "dropped", "failed"].map(|r| ("mail".to_owned(), r.to_owned(), 1))
        );
        let count = async |since| {
            let by_agent = db.store.outbox().delivered_since("ben", "requested", since).await;
            by_agent.unwrap().values().sum::<i64>()
        };
        assert_eq!([count(at(60)).await, count(at(61)).await], [1, 0]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_deliverers_never_lease_the_same_message() {
    on_each(async |db: &Database| {
        let queue: Vec<_> = (0..40).map(|n| delivery(&format!("dlv_{n}"), None)).collect();
        db.store.outbox().enqueue(queue, T0).await.unwrap();
        let other = db.again().await;

        let mut all = Vec::new();
        for _ in 0..10 {
            let lease = at(1).plus(Duration::from_secs(60));
            let (a, b) = tokio::join!(
                db.store.outbox().claim(at(1), lease, 3),
                other.outbox().claim(at(1), lease, 3)
            );
            all.extend(a.unwrap().into_iter().chain(b.unwrap()).map(|d| d.new.id));
        }

        assert_eq!(all.len(), 40);
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 40);
        other.close().await;
    })
    .await;
}
