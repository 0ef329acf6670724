//! What is known in memory of approvals that are open or owed, so that allowed calls ask no store.

use placet::broker::Broker;
use placet::broker::call::submit::Submission;
use placet::domain::approval::{Choice, State};
use placet::domain::json;
use placet::domain::policy::Policy;

use crate::support::world::{World, delete, held};

const ALLOWED: &str = r#"{"version":"1","tools":{"delete_image_set":{"action":"allow"}}}"#;

/// Whether the call is let through without a look at the store.
fn at_once(world: &World, broker: &Broker, args: &str) -> bool {
    let params = delete(args);
    let node = json::parse(&params).unwrap();
    broker.forward_at_once(world.asking(&params), &node).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowed_call_asks_no_store_once_it_is_known_what_is_open() {
    let world = World::new().await;
    let held = world.call(r#"{"n":1}"#).await;
    world.policy(ALLOWED);
    world.broker.know_peers().await.unwrap();

    assert!(at_once(&world, &world.broker, r#"{"n":2}"#));
    assert!(!at_once(&world, &world.broker, r#"{ "n":1 }"#), "its approval is pending");
    held.gone.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_store_was_read_every_allowed_call_asks_it() {
    let world = World::new().await;
    world.policy(ALLOWED);

    assert!(!at_once(&world, &world.broker, "{}"));
    world.broker.know_peers().await.unwrap();

    assert!(at_once(&world, &world.broker, "{}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_when_the_policy_allows_it_is_joined_and_not_run_again() {
    let world = World::new().await;
    let (holding, _) = world.running().await;
    world.policy(ALLOWED);
    world.broker.know_peers().await.unwrap();

    assert!(!at_once(&world, &world.broker, "{}"));
    let joined = held(world.submit("{}").await);

    assert_eq!(joined.approval.id, holding.approval.id);
    assert_eq!(world.upstream.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owed_result_of_before_a_start_is_told_and_the_call_not_run_again() {
    let world = World::new().await;
    let (holding, id) = world.running().await;
    holding.gone.cancel();
    holding.ended().await;
    world.upstream.goes_on();
    world.becomes(&id, State::Completed).await;
    let after = world.another("node-b").await;
    after.policies().replace("images", Policy::read(ALLOWED).unwrap().0.into());
    after.know_peers().await.unwrap();

    assert!(!at_once(&world, &after, "{}"));
    let submission = after.submit(world.asking(&delete("{}"))).await;

    let Submission::Ended { owed: Some(owed), .. } = submission else { panic!("{submission:?}") };
    owed.told().await;
    assert_eq!(world.upstream.calls(), 1);
    assert!(matches!(after.submit(world.asking(&delete("{}"))).await, Submission::Forward(_)));
}

/// On PostgreSQL, where several brokers may share a database.
#[tokio::test(flavor = "multi_thread")]
async fn while_another_broker_judges_by_older_policies_allowed_calls_ask_the_store() {
    let world = World::new().await;
    if !world.db.is_postgres {
        return;
    }
    let ahead = world.another("node-b").await;
    world.broker.know_peers().await.unwrap();
    ahead.know_peers().await.unwrap();
    world.broker.know_peers().await.unwrap();
    ahead.policies().replace("images", Policy::read(ALLOWED).unwrap().0.into());
    ahead.know_peers().await.unwrap();

    // The one behind makes an approval for what is allowed on the other.
    let behind = world.call("{}").await;
    assert!(!at_once(&world, &ahead, "{}"));
    let submission = ahead.submit(world.asking(&delete("{}"))).await;
    assert!(matches!(submission, Submission::Forward(_)), "{submission:?}");
    assert_eq!(world.stored(&behind.approval.id).await.state, State::Cancelled);

    // It made another one, and was reloaded before anybody looked.
    let late = world.call(r#"{"n":1}"#).await;
    world.policy(ALLOWED);
    world.broker.know_peers().await.unwrap();
    ahead.know_peers().await.unwrap();
    assert!(at_once(&world, &ahead, r#"{"n":2}"#), "both judge alike");
    assert!(!at_once(&world, &ahead, r#"{"n":1}"#), "what was made before is known");
    let refused = world.says("ben", Choice::Reject, &late.approval.id).await;
    refused.unwrap();
}
