//! A broker that could not renew its lease, and clocks that were set.

use std::time::Duration;

use placet::domain::approval::State;
use placet::reconcilers::Unattended;
use placet::store::Store as _;

use crate::support::approvals::{T0, at};
use crate::support::world::{World, word};

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_a_lease_hands_over_what_it_holds_and_comes_back_by_itself() {
    let world = World::new().await;
    world.broker.renew_lease().await.unwrap();
    let holding = world.call("{}").await;
    let id = holding.approval.id.clone();

    world.pass(15);

    assert!(!world.broker.has_lease());
    assert_eq!(holding.word().await, "approval_pending");
    assert_eq!(world.call("{}").await.word().await, "approval_pending", "handed over at once");
    world.broker.renew_lease().await.unwrap();
    assert!(world.broker.has_lease());
    let again = world.call("{}").await;
    assert_eq!(again.approval.id, id);
    world.approve(&id).await;
    assert!(again.word().await.contains("done"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_a_lease_claims_nothing() {
    let world = World::new().await;
    world.broker.renew_lease().await.unwrap();
    let id = world.approved_for_nobody().await;
    world.pass(15);

    Unattended::default().run_once(&world.broker).await.unwrap();
    let handed = world.call("{}").await.answer().await;

    assert_eq!(word(&handed), "approval_pending");
    assert_eq!(world.stored(&id).await.state, State::Approved);
    assert_eq!(world.upstream.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_judged_by_an_old_lease_right_after_a_start_or_an_outage() {
    let world = World::new().await;
    let judged = async |seconds| {
        world.pass(seconds);
        world.broker.renew_lease().await.unwrap();
        world.broker.may_judge_others()
    };

    assert!(!world.broker.may_judge_others(), "before the first renewal");
    assert_eq!((judged(0).await, judged(5).await, judged(5).await), (false, false, true));
    world.pass(9);
    assert!(!world.broker.may_judge_others(), "it could not renew its own for a while");
    assert!(!judged(9).await, "nor could the others renew theirs");
    assert_eq!((judged(5).await, judged(5).await), (false, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_clock_was_set_back_keeps_its_lease_no_longer() {
    let world = World::new().await;
    world.broker.renew_lease().await.unwrap();

    world.clock.turn_back(Duration::from_hours(1));
    world.pass(15);

    assert!(!world.broker.has_lease());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_of_a_clock_that_was_set_back_since_does_not_keep_the_dead_alive() {
    let world = World::new().await;
    let nodes = world.db.store.nodes();
    nodes.renew("node-dead", T0, at(3_600)).await.unwrap();
    nodes.renew("node-living", T0, at(16)).await.unwrap();

    world.broker.bound_leases().await.unwrap();

    assert!(nodes.is_alive("node-dead", at(14)).await.unwrap());
    assert!(!nodes.is_alive("node-dead", at(15)).await.unwrap());
    assert!(nodes.is_alive("node-living", at(15)).await.unwrap(), "as long as it said");
}
