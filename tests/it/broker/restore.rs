//! A copy of the database that was put back: nothing of it happens again without a word.

use std::sync::atomic::{AtomicU64, Ordering};

use placet::broker::restore::Restoring;
use placet::domain::approval::{ApprovalId, Choice, State};
use placet::domain::audit::{Chain, Kind};
use placet::store::{Attempt, Session, Store as _};

use crate::support::approvals::{T0, at, delivery, due};
use crate::support::world::{World, held};

/// A pending one whose client left.
async fn pending(world: &World, args: &str) -> ApprovalId {
    let holding = world.call(args).await;
    let id = holding.approval.id.clone();
    holding.gone.cancel();
    holding.ended().await;
    id
}

fn of_then() -> Restoring {
    Restoring { copied_at: Some(at(3)), ask_again: false }
}

/// Its records, which are whole; how many are of this kind.
async fn records(world: &World, kind: Kind) -> usize {
    let mut chain = Chain::new();
    let records = world.db.store.audit().list(0, 1_000).await.unwrap();
    for record in &records {
        chain.check(record).unwrap();
    }
    records.iter().filter(|record| record.kind == kind.as_str()).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_open_in_a_copy_may_have_run_and_never_runs_by_itself() {
    let world = World::new().await;
    let approved = world.approved_for_nobody().await;
    let waiting = pending(&world, r#"{"n":1}"#).await;
    let running = pending(&world, r#"{"n":2}"#).await;
    world.approve(&running).await;
    let claim = world.stored(&running).await.claim("node-a", world.broker.now()).unwrap();
    world.broker.apply(claim).await.unwrap();
    let ended = pending(&world, r#"{"n":3}"#).await;
    world.says("ben", Choice::Reject, &ended).await.unwrap();
    let marked = AtomicU64::new(0);

    let done = world
        .broker
        .mark_restored(of_then(), &|n| marked.store(n, Ordering::Relaxed))
        .await
        .unwrap();

    assert_eq!((done.indeterminate, done.asked_anew), (3, 0));
    assert_eq!(marked.into_inner(), 3);
    for id in [&approved, &waiting, &running] {
        let now = world.stored(id).await;
        assert_eq!(now.state, State::Indeterminate);
        let why = now.end_reason.unwrap();
        assert!(why.contains(&format!("older copy of {}", at(3))), "{why}");
    }
    assert_eq!(world.stored(&ended).await.state, State::Rejected);
    assert_eq!(world.call("{}").await.word().await, "outcome_unknown");
    let said = world.call(r#"{"n":1}"#).await.answer().await;
    let said = format!("{said:?}");
    assert!(said.contains("may have been approved and have run since"), "{said}");
    assert!(!said.contains("no answer came back"), "nobody knows that it was sent: {said}");
    assert_eq!(world.answered(r#"{"n":3}"#).await, "approval_rejected");
    assert_eq!(world.upstream.calls(), 0);
    assert_eq!(records(&world, Kind::CallIndeterminate).await, 3);
    assert_eq!(records(&world, Kind::DatabaseRestored).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_again_only_what_nobody_had_decided_is_cancelled_and_asks_anew() {
    let world = World::new().await;
    let approved = world.approved_for_nobody().await;
    let waiting = pending(&world, r#"{"n":1}"#).await;
    let how = Restoring { copied_at: None, ask_again: true };

    let done = world.broker.mark_restored(how, &|_| {}).await.unwrap();

    assert_eq!((done.indeterminate, done.asked_anew), (1, 1));
    assert_eq!(world.stored(&approved).await.state, State::Indeterminate);
    assert_eq!(world.stored(&waiting).await.state, State::Cancelled);
    let anew = world.call(r#"{"n":1}"#).await;
    assert_ne!(anew.approval.id, waiting);
    assert_eq!(anew.approval.state, State::Pending);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_was_owed_in_the_copy_is_told_as_a_replay_and_runs_nothing() {
    let world = World::new().await;
    let holding = world.call("{}").await;
    world.approve(&holding.approval.id).await;
    // Never told.
    drop(holding.ended().await);

    world.broker.mark_restored(of_then(), &|_| {}).await.unwrap();

    assert!(world.answered("{}").await.contains("replayed"));
    assert_eq!(world.upstream.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_held_and_messages_not_sent_end_with_a_copy_that_is_put_back() {
    let world = World::new().await;
    let store = &world.db.store;
    let session = Session {
        hash: "0123456789abcdef01234567".to_owned(),
        reviewer: "ben".to_owned(),
        via: "token".to_owned(),
        client: None,
        created_at: T0,
        seen_at: T0,
        entry: String::new(),
    };
    store.sessions().insert(&session).await.unwrap();
    store.outbox().enqueue(vec![delivery("dlv_1", None)], world.broker.now()).await.unwrap();
    let key = store.secret("request_state", [1; 32]).await.unwrap();
    let masking = store.secret("masking", [1; 32]).await.unwrap();
    world.pass(1);

    let done = world.broker.mark_restored(of_then(), &|_| {}).await.unwrap();

    assert_eq!((done.ended.sessions, done.let_go.messages), (1, 1));
    assert!(store.sessions().find(&session.hash, T0, at(2)).await.unwrap().is_none());
    assert!(due(store, &["mail"], at(99)).await.is_empty());
    assert_ne!(
        store.secret("request_state", [2; 32]).await.unwrap(),
        key,
        "old seals pass no more"
    );
    assert_eq!(store.secret("masking", [2; 32]).await.unwrap(), masking);
    assert_eq!(store.copies().lease(at(1)).await.unwrap(), None, "nobody of then is alive");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_was_cut_off_shows_and_keeps_what_it_planned_itself() {
    let world = World::new().await;
    let store = &world.db.store;
    store.copies().begin_restore(world.broker.now()).await.unwrap();
    assert!(store.copies().put_back().await.unwrap().unwrap().unfinished);
    world.pass(1);
    store.outbox().enqueue(vec![delivery("dlv_new", None)], world.broker.now()).await.unwrap();

    world.broker.mark_restored(of_then(), &|_| {}).await.unwrap();

    assert_eq!(store.copies().put_back().await.unwrap(), None);
    assert_eq!(due(store, &["mail"], at(99)).await.len(), 1);
    let told = Attempt::Delivered { detail: String::new() };
    store.outbox().record_attempt("dlv_new", &told, at(99)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_since_which_nothing_ran_goes_on_as_it_was() {
    let world = World::new().await;
    let approved = world.approved_for_nobody().await;

    world.broker.adopt_unchanged(None).await.unwrap();

    assert_eq!(world.stored(&approved).await.state, State::Approved);
    assert!(held(world.submit("{}").await).word().await.contains("done"));
    assert_eq!(records(&world, Kind::DatabaseRestored).await, 1);
}
