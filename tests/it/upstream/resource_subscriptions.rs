//! What child processes of either era are asked to tell of, and what is heard of them.

use std::time::Duration;

use placet::domain::json;
use placet::upstream::{Level, Notification, Reply, Request, ServerMessage, Watching};
use tokio::sync::{broadcast, mpsc};

use crate::support::upstreams::{Built, ana, built, call, child, eventually};

const BOTH: [&str; 2] = ["tells-modern", "tells-legacy"];

async fn tell(placet: &Built, arguments: &str) -> String {
    match placet.send(call(arguments, false), None).await {
        Ok(Reply::Result(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// What the child is asked to tell of, in the words of its era.
async fn watched(placet: &Built, mode: &str) -> String {
    let text = tell(placet, "{}").await;
    let node = json::parse(&text).unwrap();
    let key = if mode == "tells-modern" { "listens" } else { "subscribed" };
    node.get(key).unwrap().raw.replace(' ', "")
}

async fn next(events: &mut broadcast::Receiver<Notification>) -> Notification {
    let next = tokio::time::timeout(Duration::from_secs(15), events.recv()).await;
    next.expect("it is told").unwrap()
}

async fn heard(events: &mut broadcast::Receiver<Notification>, method: &str) -> Notification {
    loop {
        let note = next(events).await;
        if note.method == method {
            return note;
        }
    }
}

const UPDATED: &str = "notifications/resources/updated";

#[tokio::test]
async fn a_child_tells_of_what_is_watched_until_the_last_who_watches_leaves() {
    for mode in BOTH {
        let placet = built(child(mode));
        let mut events = placet.upstream.subscribe(&ana());
        let watch = placet.upstream.watch(&ana(), "a:1", None).await;
        let again = placet.upstream.watch(&ana(), "a:1", None).await;
        assert!(
            matches!((&watch, &again), (Watching::Agreed(_), Watching::Agreed(_))),
            "{watch:?}"
        );
        let one = if mode == "tells-modern" { r#"[["a:1"]]"# } else { r#"["a:1"]"# };
        let none = if mode == "tells-modern" { "[[]]" } else { "[]" };

        tell(&placet, r#"{"update":"a:2"}"#).await;
        tell(&placet, r#"{"update":"a:1"}"#).await;
        let note = heard(&mut events, UPDATED).await;
        assert_eq!(note.params.unwrap().replace(' ', ""), r#"{"uri":"a:1"}"#);
        drop(watch);
        assert_eq!(watched(&placet, mode).await, one);
        drop(again);
        eventually(async || (watched(&placet, mode).await == none).then_some(())).await;
        placet.end().await;
    }
}

#[tokio::test]
async fn a_subscription_that_the_child_ends_is_made_anew_and_what_was_missed_is_told() {
    let placet = built(child("tells-modern"));
    let mut events = placet.upstream.subscribe(&ana());
    let watch = placet.upstream.watch(&ana(), "a:1", None).await;

    tell(&placet, r#"{"end":true}"#).await;

    // The tools are looked at, and did not change.
    assert_eq!(next(&mut events).await.method, UPDATED);
    eventually(async || (watched(&placet, "tells-modern").await == r#"[["a:1"]]"#).then_some(()))
        .await;
    drop(watch);
    placet.end().await;
}

#[tokio::test]
async fn a_child_that_died_is_started_again_for_who_listens() {
    for mode in BOTH {
        let placet = built(child(mode));
        let mut events = placet.upstream.subscribe(&ana());
        let watch = placet.upstream.watch(&ana(), "a:1", None).await;

        let died = placet.send(call(r#"{"die":true}"#, false), None).await;
        assert!(died.is_err(), "{died:?}");

        heard(&mut events, UPDATED).await;
        tell(&placet, r#"{"update":"a:1"}"#).await;
        heard(&mut events, UPDATED).await;
        drop(watch);
        placet.end().await;
    }
}

#[tokio::test]
async fn a_log_message_of_a_child_belongs_to_the_one_request_that_asked_for_any() {
    for mode in BOTH {
        let placet = built(child(mode));
        let mut events = placet.upstream.subscribe(&ana());
        let (notes, mut own) = mpsc::channel(8);
        let asking =
            Request { log_level: Some("\"info\"".to_owned()), ..call(r#"{"log":"error"}"#, false) };

        placet.send(asking, Some(notes)).await.unwrap();
        let ServerMessage::Notification(note) = own.recv().await.unwrap() else {
            panic!("a question")
        };
        assert_eq!(note.method, "notifications/message");
        let levels = tell(&placet, r#"{"log":"alert"}"#).await;

        // Beside any request it is everybody's.
        let note = heard(&mut events, "notifications/message").await;
        let first = if mode == "tells-modern" { "alert" } else { "error" };
        assert!(note.params.unwrap().contains(first));
        assert_eq!(levels.contains("\"info\""), mode == "tells-legacy", "{levels}");
        placet.end().await;
    }
}

#[tokio::test]
async fn the_lowest_level_that_anybody_wants_is_set() {
    let placet = built(child("tells-legacy"));
    let log_at = async |level| placet.upstream.log_at(&ana(), level, None).await.unwrap();

    let (loud, _) = log_at(Level::Error).await;
    let (_quiet, _) = log_at(Level::Debug).await;
    let (again, _) = log_at(Level::Alert).await;
    drop((loud, again));

    let told = tell(&placet, "{}").await.replace(' ', "");
    assert!(told.contains(r#""levels":["error","debug"]"#), "{told}");
    placet.end().await;
}
