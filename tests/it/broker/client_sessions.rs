//! Legacy sessions of an agent over two brokers on one store.

use placet::broker::Broker;
use placet::clock::Clock as _;
use placet::store::ClientSession;
use placet::upstream::Upstream as _;

use crate::support::world::World;

/// Opens a session through a broker, a second after whatever happened before; says which made room.
async fn open(world: &World, broker: &Broker, id: &str) -> Option<Vec<String>> {
    world.pass(1);
    let session = ClientSession {
        id: id.to_owned(),
        agent: "ci".to_owned(),
        upstream: "images".to_owned(),
        version: "2025-11-25".to_owned(),
        client: None,
        capabilities: "{}".to_owned(),
        created_at: world.clock.now(),
    };
    let made = broker.open_client_session(&session).await.unwrap();
    made.map(|displaced| displaced.into_iter().map(|s| s.id).collect())
}

#[tokio::test]
async fn what_is_in_use_at_one_broker_makes_no_room_at_the_other() {
    let world = World::with("[server]\nmax_sessions_per_agent = 2").await;
    let (here, there) = (&world.broker, world.another("node-b").await);
    let none = Some(Vec::new());
    assert_eq!(open(&world, here, "a").await, none);
    assert_eq!(open(&world, here, "b").await, none);
    let (_, in_use) = here.client_session("a", "ci", "images").await.unwrap().unwrap();
    world.pass(1);
    here.note_sessions().await.unwrap();

    assert_eq!(open(&world, &there, "c").await, Some(vec!["b".to_owned()]));
    let (_, also) = there.client_session("c", "ci", "images").await.unwrap().unwrap();
    assert_eq!(open(&world, here, "d").await, Some(vec!["c".to_owned()]), "not noted yet");
    let (_, both) = there.client_session("d", "ci", "images").await.unwrap().unwrap();
    there.note_all_sessions().await.unwrap();
    assert_eq!(open(&world, here, "e").await, None, "all are busy");

    // The request at the other broker ends, and it says so.
    drop((also, both));
    there.note_sessions().await.unwrap();
    assert_eq!(open(&world, here, "e").await, Some(vec!["d".to_owned()]));
    drop(in_use);
    world.pass(1);
    let (_, _e) = here.client_session("e", "ci", "images").await.unwrap().unwrap();
    assert_eq!(open(&world, here, "f").await, Some(vec!["a".to_owned()]));
}

#[tokio::test]
async fn what_a_dead_broker_used_makes_room_before_long() {
    let world = World::with("[server]\nmax_sessions_per_agent = 1").await;
    let dead = world.another("node-b").await;
    assert_eq!(open(&world, &dead, "a").await, Some(Vec::new()));
    let found = dead.client_session("a", "ci", "images").await.unwrap().unwrap();
    dead.note_all_sessions().await.unwrap();

    assert_eq!(open(&world, &world.broker, "b").await, None);
    world.pass(15);

    assert_eq!(open(&world, &world.broker, "b").await, Some(vec!["a".to_owned()]));
    drop(found);
}

#[tokio::test]
async fn a_session_in_use_for_long_is_noted_again_and_again() {
    let world = World::with("[server]\nmax_sessions_per_agent = 1").await;
    let other = world.another("node-b").await;
    assert_eq!(open(&world, &other, "a").await, Some(Vec::new()));
    let found = other.client_session("a", "ci", "images").await.unwrap().unwrap();

    for _ in 0..30 {
        world.pass(1);
        other.note_sessions().await.unwrap();
    }

    assert_eq!(open(&world, &world.broker, "b").await, None);
    drop(found);
}

#[tokio::test]
async fn a_session_used_a_moment_ago_at_the_same_broker_is_not_the_one_to_go() {
    let world = World::with("[server]\nmax_sessions_per_agent = 2").await;
    let broker = &world.broker;
    open(&world, broker, "a").await;
    open(&world, broker, "b").await;
    world.pass(1);
    drop(broker.client_session("a", "ci", "images").await.unwrap());

    assert_eq!(open(&world, broker, "c").await, Some(vec!["b".to_owned()]));
}

#[tokio::test]
async fn upstreams_keep_nothing_for_sessions_that_made_room_ended_elsewhere_or_were_idle() {
    let world = World::with("[server]\nmax_sessions_per_agent = 3").await;
    let (here, there) = (&world.broker, world.another("node-b").await);
    here.leave_ended_sessions().await.unwrap();
    for id in ["a", "b", "c"] {
        open(&world, here, id).await;
        world.upstream.keeps_for(Some(id));
    }
    world.upstream.keeps_for(None);

    here.leave_ended_sessions().await.unwrap();
    assert_eq!(world.upstream.left(), [] as [String; 0], "all are there");
    assert_eq!(open(&world, &there, "d").await, Some(vec!["a".to_owned()]));
    there.end_client_session("b").await.unwrap();
    here.leave_ended_sessions().await.unwrap();
    assert_eq!(world.upstream.left(), ["a", "b"]);
    here.leave_ended_sessions().await.unwrap();
    assert_eq!(world.upstream.left(), ["a", "b"], "once");

    world.pass(8 * 86_400);
    here.purge().await.unwrap();
    here.leave_ended_sessions().await.unwrap();
    assert_eq!(world.upstream.left(), ["a", "b", "c"]);
    assert_eq!(world.upstream.sessions().len(), 1, "what belongs to no session stays");
}
