//! The upstream fails, the store fails.

use placet::broker::call::execute::Wishes;
use placet::broker::call::submit::Submission;
use placet::domain::approval::{Choice, State};
use placet::store::{Filter, Store as _};

use crate::support::fake_upstream::Does;
use crate::support::world::{World, word};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_certainly_not_sent_is_approved_still_and_runs_at_the_next_call() {
    let world = World::new().await;
    world.upstream.next([Does::IsAway]);
    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();
    let deadline = world.approve(&id).await.claim_deadline;

    assert_eq!(holding.word().await, "upstream_unavailable");
    let stored = world.stored(&id).await;
    assert_eq!((stored.state, stored.claim_deadline), (State::Approved, deadline));

    assert!(world.call("{}").await.word().await.contains("done"));
    assert_eq!(world.stored(&id).await.state, State::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_run_is_unknown_until_it_is_settled_and_then_told_once() {
    let world = World::new().await;
    world.upstream.next([Does::Breaks]);
    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();
    world.approve(&id).await;

    assert_eq!(holding.word().await, "outcome_unknown");
    assert_eq!(world.call("{}").await.word().await, "outcome_unknown");
    let dora = world.config.reviewer("dora").unwrap();
    world.broker.settle(&id, dora, true, "it is gone").await.unwrap();

    assert_eq!(world.answered("{}").await, "outcome_settled");
    assert_ne!(world.call("{}").await.approval.id, id);
    assert_eq!(world.upstream.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_after_it_was_given_up_is_recorded_and_owed() {
    let world = World::new().await;
    let (holding, id) = world.running().await;
    holding.gone.cancel();
    holding.ended().await;
    let lost = world.stored(&id).await.lose("its lease ran out", world.broker.now()).unwrap();
    world.broker.apply(lost).await.unwrap();

    world.upstream.goes_on();
    crate::support::until("settled", async || world.stored(&id).await.settled.is_some()).await;

    let stored = world.stored(&id).await;
    assert_eq!((stored.settled.unwrap().by.as_str(), stored.owed), ("upstream", true));
    assert!(world.answered("{}").await.contains("done"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_out_of_time_is_unknown_at_once_and_settled_by_its_late_answer() {
    let world = World::new().await;
    world.upstream.next([Does::AnswersLate]);
    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();
    world.approve(&id).await;

    let told = holding.word().await;
    world.upstream.goes_on();
    crate::support::until("settled", async || world.stored(&id).await.settled.is_some()).await;

    assert_eq!(told, "outcome_unknown");
    assert_eq!(world.stored(&id).await.settled.unwrap().by, "upstream");
    assert!(world.answered("{}").await.contains("late"));
    assert_eq!(world.upstream.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_while_it_runs_leaves_it_unknown() {
    let world = World::new().await;
    world.upstream.next([Does::Panics]);
    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();

    world.approve(&id).await;

    assert_eq!(holding.word().await, "outcome_unknown");
    assert_eq!(world.stored(&id).await.state, State::Indeterminate);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_leaves_nothing_queued_and_nothing_run() {
    let world = World::new().await;
    for table in ["approvals", "audit", "holds"] {
        world.db.raw(&refusing(table, "insert")).await;

        assert_eq!(world.answered("{}").await, "unavailable", "{table}");

        world.db.raw("drop trigger refuses").await;
        let all = Filter { limit: 9, ..Filter::default() };
        assert!(
            world.db.store.approvals().list(&all, world.broker.now()).await.unwrap().is_empty()
        );
    }
    assert_eq!(world.upstream.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_can_not_be_stored_sends_nothing_until_it_can() {
    let world = World::new().await;
    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();
    world
        .db
        .raw(
            "create trigger refuses before update on approvals when new.state = 'running' \
         begin select raise(abort, 'refused'); end",
        )
        .await;
    world.approve(&id).await;
    let error = world
        .broker
        .execute(&id, &placet::upstream::Caller::new("ci", None), &Wishes::default())
        .await;
    assert!(error.is_err());
    assert_eq!(world.upstream.calls(), 0);

    world.db.raw("drop trigger refuses").await;

    assert!(holding.word().await.contains("done"));
    assert_eq!(world.upstream.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_can_not_be_stored_is_stored_later() {
    let world = World::new().await;
    let (holding, id) = world.running().await;
    world.db.raw(&refusing("approvals", "update")).await;

    world.upstream.goes_on();
    tokio::task::yield_now().await;
    world.db.raw("drop trigger refuses").await;

    assert!(holding.word().await.contains("done"));
    assert_eq!(world.stored(&id).await.state, State::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_can_not_be_stored_is_no_decision() {
    let world = World::new().await;
    let id = world.call("{}").await.approval.id.clone();
    world.db.raw(&refusing("audit", "insert")).await;

    assert!(world.says("ben", Choice::Approve, &id).await.is_err());

    world.db.raw("drop trigger refuses").await;
    let stored = world.stored(&id).await;
    assert_eq!((stored.state, stored.decisions.len()), (State::Pending, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn allowed_calls_go_on_without_the_store_unless_the_audit_is_strict() {
    let list = r#"{"name":"list_image_sets"}"#;
    let group = World::new().await;
    let strict = World::with("[audit]\ncalls = \"strict\"").await;
    for world in [&group, &strict] {
        world.db.raw(&refusing("audit", "insert")).await;
    }

    let free = group.broker.submit(group.asking(list)).await;
    let stopped = strict.broker.submit(strict.asking(list)).await;

    assert!(matches!(free, Submission::Forward(_)));
    let Submission::Answered(answer) = stopped else { panic!("{stopped:?}") };
    assert_eq!(word(&answer), "unavailable");
}

fn refusing(table: &str, verb: &str) -> String {
    format!(
        "create trigger refuses before {verb} on {table} \
         begin select raise(abort, 'refused'); end"
    )
}
