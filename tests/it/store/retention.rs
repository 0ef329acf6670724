//! What the purge leaves, whatever its age.

use placet::domain::approval::{Choice, State};
use placet::domain::person::{Person, Role};
use placet::store::{Attempt, Filter, ReviewLink, Store as _, Submitted};

use crate::support::approvals::{T0, approval, at, delivery, due, id, old, says, submission};
use crate::support::db::{Database, on_each};

/// Long after everything here; history of anything before this second is over.
const OVER: u64 = 900_000;

/// An approval with a message that was delivered and a review link.
async fn made(db: &Database, n: u32, cooldown_s: u64) {
    let mut asked = approval(n, &format!(r#"{{"a":{n}}}"#));
    asked.terms.cooldown_s = cooldown_s;
    let mut submit = submission(asked);
    submit.deliveries = vec![delivery(&format!("dlv_{n}"), Some(id(n)))];
    let made = db.store.approvals().submit(submit, T0).await.unwrap();
    assert!(matches!(made, Submitted::Created { .. }));
    let told = Attempt::Delivered { detail: "250".to_owned() };
    db.store.outbox().record_attempt(&format!("dlv_{n}"), &told, at(1)).await.unwrap();
    let link = ReviewLink {
        hash: format!("hash {n}"),
        approval: id(n),
        reviewer: "ben".to_owned(),
        created_at: at(1),
        entry: String::new(),
    };
    db.store.review_links().insert(&link).await.unwrap();
}

async fn decide(db: &Database, n: u32, choice: Choice) {
    let found = db.store.approvals().find(&id(n), at(5)).await.unwrap().unwrap();
    let next = found.decide(says("ben", choice, at(5)), Role::Reviewer, None).unwrap();
    db.store.approvals().apply(next, Vec::new(), at(5)).await.unwrap();
}

/// Approved, claimed and lost; settled if somebody does.
async fn lost(db: &Database, n: u32, settle: bool) {
    decide(db, n, Choice::Approve).await;
    let approvals = db.store.approvals();
    let approved = approvals.find(&id(n), at(5)).await.unwrap().unwrap();
    let running = approved.claim("node-a", at(5)).unwrap();
    let running = approvals.apply(running, Vec::new(), at(5)).await.unwrap();
    let lost = running.lose("gone", at(5)).unwrap();
    let lost = approvals.apply(lost, Vec::new(), at(5)).await.unwrap();
    if settle {
        let dora = Person::new("dora", Role::Admin);
        let settled = lost.settle(false, dora, "looked", at(6)).unwrap();
        approvals.apply(settled, Vec::new(), at(6)).await.unwrap();
    }
}

#[tokio::test]
async fn the_purge_leaves_what_is_open_unsettled_owed_after_a_settlement_or_cooling_with_all_of_it()
{
    on_each(async |db: &Database| {
        db.store.nodes().renew("node-a", T0, at(10_000_000)).await.unwrap();
        for n in 1..=7 {
            made(db, n, if n == 3 { 10 * OVER } else { 600 }).await;
        }
        // 1 stays pending.
        decide(db, 2, Choice::Approve).await;
        decide(db, 3, Choice::Reject).await;
        lost(db, 4, false).await;
        lost(db, 5, true).await;
        // 6 and 7 are over for everybody.
        decide(db, 6, Choice::Reject).await;
        lost(db, 7, true).await;
        let told = db.store.approvals().find(&id(7), at(7)).await.unwrap().unwrap().end_told(at(7));
        assert!(db.store.approvals().take_end(&id(7), told).await.unwrap());

        db.store.purge(at(OVER + 1_000), old(at(OVER))).await.unwrap();

        let filter = Filter { limit: 20, ..Filter::default() };
        let left = db.store.approvals().list(&filter, at(OVER)).await.unwrap();
        let left: Vec<_> = left.into_iter().rev().map(|a| a.id).collect();
        assert_eq!(left, [1, 2, 3, 4, 5].map(id));
        for n in 1..=7 {
            let stays = n <= 5;
            let attempts = db.store.outbox().attempts(&id(n)).await.unwrap();
            assert_eq!(!attempts.is_empty(), stays, "the messages of {n}");
            let link = db.store.review_links().find(&format!("hash {n}")).await.unwrap();
            assert_eq!(link.is_some(), stays, "the review link of {n}");
        }
        let by_word = Filter { words: vec!["delete_image_set".to_owned()], ..filter };
        assert_eq!(db.store.approvals().list(&by_word, at(OVER)).await.unwrap().len(), 5);
        // What was only cooling goes once that is over.
        db.store.purge(at(11 * OVER), old(at(OVER))).await.unwrap();
        assert!(db.store.approvals().find(&id(3), at(OVER)).await.unwrap().is_none());
        let four = db.store.approvals().find(&id(4), at(OVER)).await.unwrap().unwrap();
        assert_eq!(four.state, State::Indeterminate);
    })
    .await;
}

#[tokio::test]
async fn what_was_purged_is_counted_no_more() {
    on_each(async |db: &Database| {
        let queue = ["dlv_a", "dlv_b", "dlv_c"].map(|name| delivery(name, None)).to_vec();
        db.store.outbox().enqueue(queue, T0).await.unwrap();
        let told = Attempt::Delivered { detail: "250".to_owned() };
        for name in ["dlv_a", "dlv_b"] {
            db.store.outbox().record_attempt(name, &told, at(1)).await.unwrap();
        }
        db.store.outbox().record_attempt("dlv_c", &told, at(OVER + 500)).await.unwrap();
        let counts = async || db.store.outbox().attempt_counts().await.unwrap();
        let of = |n| [("mail".to_owned(), "delivered".to_owned(), n)];
        assert_eq!(counts().await, of(3));

        db.store.purge(at(OVER + 1_000), old(at(OVER))).await.unwrap();

        assert_eq!(counts().await, of(1));
    })
    .await;
}

#[tokio::test]
async fn the_purge_leaves_messages_that_are_still_due() {
    on_each(async |db: &Database| {
        let first = delivery("dlv_due", None);
        db.store.outbox().enqueue(vec![first, delivery("dlv_told", None)], T0).await.unwrap();
        let told = Attempt::Delivered { detail: "250".to_owned() };
        db.store.outbox().record_attempt("dlv_told", &told, at(1)).await.unwrap();

        db.store.purge(at(OVER + 1_000), old(at(OVER))).await.unwrap();

        let left = due(&db.store, &["mail"], at(2)).await;
        assert_eq!(left.iter().map(|d| d.new.id.as_str()).collect::<Vec<_>>(), ["dlv_due"]);
    })
    .await;
}
