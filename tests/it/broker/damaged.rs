//! An approval that can't be read back: work for the others goes on.

use placet::broker::restore::Restoring;
use placet::domain::approval::{ApprovalId, State};
use placet::store::{Filter, Store as _, StoreError};

use crate::support::world::World;

async fn damage(world: &World, id: &ApprovalId) {
    world.db.raw(&format!("update approvals set terms = '{{' where id = '{id}'")).await;
}

const RUNS_UNATTENDED: &str = r#"{ "version": "1", "default": "deny", "tools": {
    "delete_image_set": { "action": "require_approval", "approval": { "unattended": "run" } } } }"#;

/// A call that was approved when nobody waited for it any more.
async fn approved(world: &World, args: &str) -> ApprovalId {
    let holding = world.call(args).await;
    let id = holding.approval.id.clone();
    holding.gone.cancel();
    holding.ended().await;
    world.approve(&id).await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_and_unattended_calls_of_others_are_kept_beside_a_damaged_approval() {
    let world = World::new().await;
    world.policy(RUNS_UNATTENDED);
    let unattended = [approved(&world, r#"{"n":0}"#).await, approved(&world, r#"{"n":3}"#).await];
    let damaged = world.call(r#"{"n":1}"#).await;
    let other = world.call(r#"{"n":2}"#).await;
    damage(&world, &damaged.approval.id).await;
    damage(&world, &unattended[0]).await;

    let due = world.broker.to_run_unattended().await.unwrap();
    assert_eq!(due.len(), 2);
    world.broker.run_unattended(due).await;
    world.becomes(&unattended[1], State::Completed).await;
    world.pass(86_400);
    world.broker.expire_due().await.unwrap();

    assert_eq!(world.stored(&other.approval.id).await.state, State::Expired);
    world.broker.lose_orphaned().await.unwrap();
    world.broker.take_back_unknown().await.unwrap();
    let some = Filter { limit: 9, ..Filter::default() };
    let listed = world.db.store.approvals().list(&some, world.broker.now()).await.unwrap();
    assert_eq!(listed.len(), 2);
    // Nobody is told a state that was not read, or asked anew.
    assert_eq!(world.answered(r#"{"n":1}"#).await, "unavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_with_an_open_approval_that_can_not_be_marked_is_not_put_back() {
    let world = World::new().await;
    let damaged = world.call(r#"{"n":1}"#).await;
    let _other = world.call(r#"{"n":2}"#).await;
    damage(&world, &damaged.approval.id).await;

    let how = Restoring { copied_at: None, ask_again: false };
    let refused = world.broker.mark_restored(how, &|_| {}).await;

    let Err(StoreError::Corrupt { id, .. }) = refused else { panic!("it was marked") };
    assert_eq!(id, damaged.approval.id.to_string());
}
