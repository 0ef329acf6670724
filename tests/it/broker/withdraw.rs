//! `on_disconnect = "withdraw"`: a call is withdrawn when the last who waits for it has left, wherever
//! they wait.

use placet::broker::call::asking::Asking;
use placet::broker::call::submit::Submission;
use placet::domain::approval::State;
use placet::domain::task::Form;

use crate::support::world::{World, delete, held};

/// A call of its own for each `n`.
fn careful(world: &World, n: u32) -> Asking {
    let agent = world.config.agent("careful").unwrap().clone();
    Asking { agent, ..world.asking(&delete(&format!("{{\"n\":{n}}}"))) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_a_client_of_another_broker_waits_for_is_not_withdrawn() {
    let world = World::new().await;
    let other = world.another("node-b").await;
    for (n, first_leaves) in [(1, true), (2, false)] {
        let here = held(world.broker.submit(careful(&world, n)).await);
        let there = held(other.submit(careful(&world, n)).await);
        let id = here.approval.id.clone();
        assert_eq!(there.approval.id, id);
        let (leaves, stays) = if first_leaves { (here, there) } else { (there, here) };

        leaves.gone.cancel();
        leaves.ended().await;
        let after_one = world.stored(&id).await.state;
        stays.gone.cancel();
        stays.ended().await;

        assert_eq!((after_one, world.stored(&id).await.state), (State::Pending, State::Cancelled));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_while_the_last_client_leaves_is_not_cancelled_under_its_feet() {
    let world = World::new().await;
    let other = world.another("node-b").await;
    for n in 0..20 {
        let here = held(world.broker.submit(careful(&world, n)).await);
        let first = here.approval.id.clone();
        here.gone.cancel();

        let (_, there) = tokio::join!(here.ended(), other.submit(careful(&world, n)));

        let Submission::Held(there) = there else {
            assert_eq!(world.stored(&first).await.state, State::Cancelled, "it came too late");
            continue;
        };
        let there = held(Submission::Held(there));
        let id = there.approval.id.clone();
        let state = world.stored(&id).await.state;
        assert_eq!(state, State::Pending, "attached to {id}, first was {first}");
        there.gone.cancel();
        there.ended().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_a_task_follows_is_not_withdrawn_by_a_client_that_leaves() {
    let world = World::new().await;
    let other = world.another("node-b").await;
    let Submission::Held(first) = other.submit(careful(&world, 1)).await else { panic!() };
    let task = other.make_task(*first, Form::Core).await.unwrap();
    let here = held(world.broker.submit(careful(&world, 1)).await);
    let id = here.approval.id.clone();
    assert_eq!(task.approval.unwrap().id, id);

    here.gone.cancel();
    here.ended().await;

    assert_eq!(world.stored(&id).await.state, State::Pending);
}
