//! What the database decides when several ask at once, from several stores as from several
//! processes.

use std::sync::Arc;

use placet::domain::approval::{Choice, State};
use placet::domain::person::Role;
use placet::store::sql::SqlStore;
use placet::store::{Filter, LimitKey, Session, SignIn, Store, StoreError, Submitted};
use tokio::sync::Barrier;

use crate::support::approvals::{T0, approval, at, id, result, says, submission};
use crate::support::db::{Database, on_each};

/// Runs `n` things at once, on stores of their own, and returns what came of each.
async fn at_once<T: Send + 'static, F>(
    db: &Database,
    n: u32,
    work: impl Fn(u32, SqlStore) -> F,
) -> Vec<T>
where
    F: std::future::Future<Output = T> + Send + 'static,
{
    let barrier = Arc::new(Barrier::new(n as usize));
    let mut tasks = Vec::new();
    let mut stores = Vec::new();
    for i in 0..n {
        let store = if i % 2 == 0 { db.store.clone() } else { db.again().await };
        stores.push(store.clone());
        let (barrier, work) = (Arc::clone(&barrier), work(i, store));
        tasks.push(tokio::spawn(async move {
            barrier.wait().await;
            work.await
        }));
    }
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.unwrap());
    }
    for store in stores.into_iter().skip(1).step_by(2) {
        store.close().await;
    }
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn identical_calls_at_once_make_one_approval() {
    on_each(async |db: &Database| {
        let submitted = at_once(db, 6, |i, store| async move {
            store.approvals().submit(submission(approval(i + 1, "{}")), T0).await
        })
        .await;

        let made = submitted.iter().filter(|s| matches!(s, Ok(Submitted::Created { .. }))).count();
        let joined =
            submitted.iter().filter(|s| matches!(s, Ok(Submitted::Attached { .. }))).count();
        assert_eq!((made, joined), (1, 5), "{submitted:?}");
        assert_eq!(
            db.store
                .approvals()
                .list(&Filter { limit: 9, ..Filter::default() }, T0)
                .await
                .unwrap()
                .len(),
            1
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_deciders_one_wins_and_the_other_learns_what_was_decided() {
    on_each(async |db: &Database| {
        for round in 1..=5 {
            let args = format!(r#"{{"round":{round}}}"#);
            db.store.approvals().submit(submission(approval(round, &args)), T0).await.unwrap();
            let found = db.store.approvals().find(&id(round), T0).await.unwrap().unwrap();

            let results = at_once(db, 2, |i, store| {
                let (who, choice) =
                    [("ben", Choice::Approve), ("dora", Choice::Reject)][i as usize];
                let transition =
                    found.clone().decide(says(who, choice, at(1)), Role::Reviewer, None).unwrap();
                async move { store.approvals().apply(transition, Vec::new(), at(1)).await }
            })
            .await;

            let winner = results.iter().find_map(|r| r.as_ref().ok()).expect("one wins");
            let loser = results.iter().find_map(|r| r.as_ref().err()).expect("one loses");
            let StoreError::Conflict(seen) = loser else { panic!("{loser:?}") };
            assert_eq!((seen.state, &seen.decisions), (winner.state, &winner.decisions));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_claim_wins() {
    on_each(async |db: &Database| {
        db.store.approvals().submit(submission(approval(1, "{}")), T0).await.unwrap();
        let found = db.store.approvals().find(&id(1), T0).await.unwrap().unwrap();
        let yes = found.decide(says("ben", Choice::Approve, at(1)), Role::Reviewer, None).unwrap();
        let approved = db.store.approvals().apply(yes, Vec::new(), at(1)).await.unwrap();

        let results = at_once(db, 6, |i, store| {
            let claim = approved.clone().claim(&format!("node-{i}"), at(2)).unwrap();
            async move { store.approvals().apply(claim, Vec::new(), at(2)).await }
        })
        .await;

        assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
        assert!(
            results
                .iter()
                .filter_map(|r| r.as_ref().err())
                .all(|e| matches!(e, StoreError::Conflict(now) if now.state == State::Running))
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_taken_by_one_however_many_reach_for_it() {
    on_each(async |db: &Database| {
        db.store.approvals().submit(submission(approval(1, "{}")), T0).await.unwrap();
        let found = db.store.approvals().find(&id(1), T0).await.unwrap().unwrap();
        let yes = found.decide(says("ben", Choice::Approve, at(1)), Role::Reviewer, None).unwrap();
        let approved = db.store.approvals().apply(yes, Vec::new(), at(1)).await.unwrap();
        let running = db
            .store
            .approvals()
            .apply(approved.claim("n", at(1)).unwrap(), Vec::new(), at(1))
            .await
            .unwrap();
        let done = running.complete(result("x"), at(2)).unwrap();
        let done = db.store.approvals().apply(done, Vec::new(), at(2)).await.unwrap();
        let told = done.end_told(at(3));

        let taken = at_once(db, 8, |_, store| {
            let told = told.clone();
            async move { store.approvals().take_end(&id(1), told).await.unwrap() }
        })
        .await;

        assert_eq!(taken.into_iter().filter(|t| *t).count(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_link_opens_one_session() {
    on_each(async |db: &Database| {
        let sign_in =
            SignIn { reviewer: "ben".to_owned(), via: "link".to_owned(), entry: String::new() };
        db.store.sessions().insert_sign_in("link", &sign_in, at(900), None).await.unwrap();

        let used = at_once(db, 6, |i, store| async move {
            let session = Session {
                hash: format!("session-{i}"),
                reviewer: "ben".to_owned(),
                via: "link".to_owned(),
                client: None,
                created_at: at(1),
                seen_at: at(1),
                entry: String::new(),
            };
            store.sessions().consume_sign_in("link", &session, at(1)).await.unwrap()
        })
        .await;

        assert_eq!(used.into_iter().filter(|u| *u).count(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_admits_no_more_than_it_says_at_once() {
    on_each(async |db: &Database| {
        let taken = at_once(db, 8, |_, store| async move {
            store.limits().take(&LimitKey::Seal("k".to_owned()), 3, T0, at(1)).await.unwrap()
        })
        .await;

        assert_eq!(taken.into_iter().filter(Option::is_none).count(), 3);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_the_same_for_all_who_ask_first() {
    on_each(async |db: &Database| {
        let secrets = at_once(db, 6, |i, store| async move {
            store.secret("seal", [u8::try_from(i).unwrap(); 32]).await.unwrap()
        })
        .await;

        assert!(secrets.iter().all(|s| *s == secrets[0]));
        assert_ne!(db.store.secret("other", [9; 32]).await.unwrap(), secrets[0]);
        assert_eq!(db.store.secret("seal", [9; 32]).await.unwrap(), secrets[0]);
    })
    .await;
}
