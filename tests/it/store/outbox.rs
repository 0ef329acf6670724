//! What must still be sent.

use std::time::Duration;

use placet::store::{Attempt, Lane, NewDelivery, Store};

use crate::support::approvals::{T0, at, delivery, id};
use crate::support::db::{Database, on_each};

/// The lane of the only notifier, sent by that process.
fn lane(node: &str) -> Lane {
    Lane { notifier: "mail".to_owned(), node: node.to_owned(), busy: Vec::new() }
}

async fn claimed(db: &Database, second: u64) -> Vec<String> {
    let due =
        db.store.outbox().claim(&lane("node-a"), at(second), at(second + 30), 10).await.unwrap();
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

        let due = db.store.outbox().claim(&lane("node-a"), at(1), at(31), 10).await.unwrap();

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
        let mut queue = ["dlv_1", "dlv_2"].map(|n| delivery(n, Some(id(1)))).to_vec();
        queue[1].recipient = Some("eve".to_owned());
        db.store.outbox().enqueue(queue, T0).await.unwrap();
        assert_eq!(claimed(db, 1).await.len(), 2);
        let failed = Attempt::Failed { detail: "450 busy\0".to_owned(), next: at(60) };
        let taken = Attempt::Delivered { detail: "250 ok".to_owned() };
        let dropped = Attempt::Dropped { detail: "decided".to_owned() };

        db.store.outbox().record_attempt("dlv_1", &failed, at(2)).await.unwrap();
        assert_eq!(claimed(db, 59).await, ["dlv_2"], "only its lease ran out");
        let again = db.store.outbox().claim(&lane("node-a"), at(60), at(90), 10).await.unwrap();
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
        let to = |n: u32| Some(format!("person-{n}"));
        let one = |n: u32| NewDelivery { recipient: to(n), ..delivery(&format!("dlv_{n}"), None) };
        let queue: Vec<_> = (0..40).map(one).collect();
        db.store.outbox().enqueue(queue, T0).await.unwrap();
        let other = db.again().await;

        let mut all = Vec::new();
        for _ in 0..40 {
            let lease = at(1).plus(Duration::from_secs(60));
            let lanes = [lane("node-a"), lane("node-b")];
            let (a, b) = tokio::join!(
                db.store.outbox().claim(&lanes[0], at(1), lease, 3),
                other.outbox().claim(&lanes[1], at(1), lease, 3)
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

#[tokio::test]
async fn what_a_dead_process_was_sending_is_due_at_once_and_what_a_living_one_sends_is_not() {
    on_each(async |db: &Database| {
        for (n, node) in [("dlv_1", "node-a"), ("dlv_2", "node-b")] {
            db.store.outbox().enqueue(vec![delivery(n, None)], T0).await.unwrap();
            db.store.nodes().renew(node, T0, at(15)).await.unwrap();
            let lane = lane(node);
            assert_eq!(db.store.outbox().claim(&lane, at(1), at(61), 9).await.unwrap().len(), 1);
        }
        assert_eq!(db.store.outbox().take_over(at(14)).await.unwrap(), 0);
        db.store.nodes().renew("node-b", at(10), at(25)).await.unwrap();

        assert_eq!(db.store.outbox().take_over(at(16)).await.unwrap(), 1);

        assert_eq!(claimed(db, 16).await, ["dlv_1"]);
        assert_eq!(db.store.outbox().due(at(16)).await.unwrap(), Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn each_recipient_has_one_message_on_its_way_and_what_is_new_goes_first() {
    on_each(async |db: &Database| {
        let one = |n: u32, to: &str| NewDelivery {
            recipient: Some(to.to_owned()),
            ..delivery(&format!("dlv_{n}"), None)
        };
        let queue = vec![one(1, "ben"), one(2, "ben"), one(3, "eve"), one(4, "dora")];
        db.store.outbox().enqueue(queue, T0).await.unwrap();
        let failed = Attempt::Failed { detail: "450".to_owned(), next: at(5) };
        db.store.outbox().record_attempt("dlv_3", &failed, at(1)).await.unwrap();
        let busy = Lane { busy: vec!["dora".to_owned()], ..lane("node-a") };

        let ids = async |lane: &Lane, second: u64, limit: u32| {
            let due = db.store.outbox().claim(lane, at(second), at(99), limit).await.unwrap();
            let mut ids: Vec<_> = due.into_iter().map(|d| d.new.id).collect();
            ids.sort();
            ids
        };

        assert_eq!(ids(&busy, 6, 1).await, ["dlv_1"], "never tried");
        assert_eq!(ids(&busy, 6, 9).await, ["dlv_2", "dlv_3"], "dora is busy");
        assert_eq!(ids(&lane("node-a"), 6, 9).await, ["dlv_4"]);
    })
    .await;
}
