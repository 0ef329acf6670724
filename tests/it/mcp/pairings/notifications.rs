//! Changes of lists, and what the server is said to offer.

use serde_json::json;

use super::{CAPABILITIES, OWN_STREAMS, clients, done, ear, heard, pairings};
use crate::support::placet::{ANN, got};
use crate::support::until;

const CHANGES: [&str; 3] = [
    "notifications/prompts/list_changed",
    "notifications/resources/list_changed",
    "notifications/tools/list_changed",
];

#[tokio::test]
async fn changes_of_lists_reach_clients_of_either_era_and_words_without_a_change_do_not() {
    for era in 0..2 {
        for (server, placet) in pairings(done).await {
            // Alone, so that it is its own connection that is waited for.
            let agent = match era {
                0 => placet.legacy(ANN).await,
                _ => placet.modern(ANN),
            };
            let mut stream = ear(&agent, &server, "\"s\"", &[]).await;

            for change in CHANGES {
                server.change(change);
                assert_eq!(heard(&mut stream).await.0, change);
                // Nothing has changed since.
                server.tell(change, &json!({}));
            }
            // Log messages belong to no subscription.
            server.tell("notifications/message", &json!({"level": "info", "data": 1}));
            server.change(CHANGES[0]);
            if heard(&mut stream).await.0 == "notifications/message" {
                assert!(matches!(agent.era, crate::support::placet::Era::Legacy { .. }));
            }
            drop(stream);
            placet.end().await;
        }
    }
}

#[tokio::test]
async fn a_tool_list_that_changed_in_silence_is_told_of_too() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    let changed = Arc::<AtomicBool>::default();
    let other = Arc::clone(&changed);
    let fake = crate::support::fake_http::Fake::start(move |seen| match seen.method().as_str() {
        "tools/list" if other.load(Ordering::SeqCst) => {
            crate::support::fake_http::result(r#"{"tools":[{"name":"open"}]}"#)
        }
        _ => crate::support::fake_http::legacy(seen).unwrap_or_else(|| done(seen)),
    })
    .await;
    let placet = crate::support::placet::Placet::start(&fake).await;
    let wanted = json!({"notifications": {"toolsListChanged": true}}).to_string();
    let agent = placet.modern(ANN);
    let mut stream =
        crate::support::placet::Stream::open(agent.request("1", "subscriptions/listen", &wanted))
            .await;
    stream.message().await.unwrap();

    changed.store(true, Ordering::SeqCst);
    placet.broker.upstream("u").unwrap().refresh().await.unwrap();

    assert_eq!(heard(&mut stream).await.0, "notifications/tools/list_changed");
    placet.end().await;
}

#[tokio::test]
async fn clients_of_either_era_are_shown_what_the_server_offers() {
    for (_server, placet) in pairings(done).await {
        let [old, new] = clients(&placet).await;
        let offered: serde_json::Value = serde_json::from_str(CAPABILITIES).unwrap();

        let begun = old.initialize("2025-06-18").await.json()["result"].clone();
        let found = got(new.request("1", "server/discover", "{}")).await.json()["result"].clone();

        for mut shown in [begun["capabilities"].clone(), found["capabilities"].clone()] {
            // Tasks are Placet's own.
            for own in ["tasks", "extensions"] {
                shown.as_object_mut().unwrap().remove(own);
            }
            assert_eq!(shown, offered);
        }
        placet.end().await;
    }
}

#[tokio::test]
async fn a_listener_alone_keeps_the_server_connected() {
    for (server, placet) in pairings(done).await {
        let agent = placet.modern(crate::support::placet::BOB);
        let wanted = json!({"notifications": {"promptsListChanged": true}}).to_string();
        until("Placet's own are heard", async || server.feed.streams() == OWN_STREAMS).await;
        let stream = crate::support::placet::Stream::open(agent.request(
            "1",
            "subscriptions/listen",
            &wanted,
        ))
        .await;

        server.heard().await;
        drop(stream);
        placet.end().await;
    }
}
