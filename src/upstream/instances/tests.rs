use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::domain::client_feature::ClientFeature;
use crate::upstream::common::Common;
use crate::upstream::link::Link;
use crate::upstream::listeners::Listeners;
use crate::upstream::{Notifications, Reply, Request, ServerFacts, UpstreamError, WireEra};

/// A connection that is never used.
struct Unused;

#[async_trait]
impl Link for Unused {
    async fn request(
        &self,
        _: Request,
        _: Option<Notifications>,
        _: CancellationToken,
    ) -> Result<Reply, UpstreamError> {
        Err(UpstreamError::Cancelled)
    }

    async fn notify(&self, _: &str, _: Option<&str>) {}

    async fn connect(&self) -> Result<ServerFacts, UpstreamError> {
        Err(UpstreamError::Cancelled)
    }

    fn is_live(&self) -> bool {
        true
    }

    fn era(&self) -> Option<WireEra> {
        None
    }

    fn is_http(&self) -> bool {
        false
    }

    async fn lost(&self) {}

    async fn close(&self) {}
}

fn made() -> Arc<Instance> {
    let common = Common::new("u", Duration::from_secs(1), 1000, None, &TaskTracker::new());
    let listeners = Listeners::new(ClientCapabilities::default(), false);
    Instance::new(Arc::new(Unused), listeners, &Arc::new(common))
}

const IDLE: Duration = Duration::from_secs(600);
const LINGER: Duration = Duration::from_secs(10);

fn instances(per_agent: usize) -> Instances {
    Instances::new(Bounds { per_agent, idle: IDLE, linger: LINGER })
}

fn of_agent(agent: &str, capabilities: &str) -> Key {
    let features = ClientCapabilities::declared(capabilities, &ClientFeature::ALL, true);
    Key::Agent { agent: agent.to_owned(), features, legacy_first: true }
}

fn of_session(agent: &str, session: &str) -> Key {
    Key::Session { agent: agent.to_owned(), session: session.to_owned() }
}

#[tokio::test]
async fn what_a_client_writes_into_its_capabilities_makes_no_further_instance() {
    let all = instances(100);

    for n in 0..40 {
        let odd = format!(r#"{{"elicitation":{{"n":{n}}},"roots":{{"m":{n}}}}}"#);
        let session = n.to_string();
        all.take(of_agent("ana", &odd), Some(("ana", &session)), made).map(drop).unwrap();
    }

    assert_eq!(all.all().len(), 1);
    assert_eq!(all.sessions().len(), 40);
}

#[tokio::test]
async fn the_one_not_used_for_longest_makes_room_and_another_agents_never() {
    let all = instances(2);
    all.take(of_session("bob", "0"), Some(("bob", "0")), made).map(drop).unwrap();
    for session in ["1", "2"] {
        all.take(of_session("ana", session), Some(("ana", session)), made).map(drop).unwrap();
    }
    all.take(of_session("ana", "1"), Some(("ana", "1")), made).map(drop).unwrap();

    let (_used, displaced) = all.take(of_session("ana", "3"), Some(("ana", "3")), made).unwrap();

    assert!(displaced.is_some());
    assert!(all.find(&of_session("ana", "2")).is_none());
    for left in [of_session("ana", "1"), of_session("ana", "3"), of_session("bob", "0")] {
        assert!(all.find(&left).is_some(), "{left:?}");
    }
}

#[tokio::test]
async fn where_all_are_in_use_there_is_no_further_one_and_the_error_names_the_key() {
    let all = instances(2);
    let take = |session: &str| all.take(of_session("ana", session), Some(("ana", session)), made);
    let running = take("1").unwrap();
    let (listening, _) = take("2").unwrap();
    let ear = listening.listeners.events.subscribe();
    drop(listening);

    let refused = take("3").map(drop).unwrap_err();
    drop(ear);
    let taken = take("3").map(drop);

    assert!(refused.contains("upstreams.max_instances_per_agent"), "{refused}");
    assert!(taken.is_ok());
    drop(running);
}

#[tokio::test]
async fn one_that_nobody_uses_is_taken_away_after_its_time_and_placets_own_stays() {
    let all = instances(9);
    all.take(Key::Own, None, made).map(drop).unwrap();
    let now = Instant::now();
    let used = all.take(of_agent("ana", "{}"), Some(("ana", "1")), made).unwrap();
    all.take(of_agent("bob", "{}"), None, made).map(drop).unwrap();

    let later = now + IDLE * 2;
    assert!(all.take_idle(now + IDLE / 2).is_empty());
    assert_eq!(all.take_idle(later).len(), 1, "nothing runs for bob");
    drop(used);
    assert_eq!(all.take_idle(later).len(), 1);
    assert_eq!(all.all().len(), 1);
}

#[tokio::test]
async fn one_whose_last_session_ended_stays_a_moment_and_one_of_a_session_not_at_all() {
    let all = instances(9);
    for session in ["1", "2"] {
        all.take(of_agent("ana", "{}"), Some(("ana", session)), made).map(drop).unwrap();
    }
    all.take(of_session("ana", "2"), Some(("ana", "2")), made).map(drop).unwrap();
    let soon = Instant::now() + LINGER * 2;

    assert!(all.leave("ana", "1").is_none());
    assert!(all.take_idle(soon).is_empty(), "the other session may come back");
    assert!(all.leave("ana", "2").is_some());
    assert_eq!(all.sessions().len(), 0);
    assert_eq!(all.take_idle(Instant::now() + LINGER * 2).len(), 1);
    assert!(all.all().is_empty());
}
