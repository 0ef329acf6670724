//! Cancellations that come before what they cancel.

use serde_json::json;

use super::{Server, clients, done, pairings};
use crate::support::placet::{ANN, Placet, got};

#[tokio::test]
async fn a_cancellation_that_overtakes_its_request_still_cancels_it() {
    for (server, placet) in pairings(done).await {
        let [first, _] = clients(&placet).await;
        let second = placet.legacy(ANN).await;

        for (id, method) in [("\"a\"", "tools/call"), ("7", "prompts/get")] {
            let named = format!(r#"{{"requestId":{id}}}"#);
            first.notify("notifications/cancelled", &named).await;
            let params = r#"{"name":"open","arguments":{}}"#;
            let before = server.fake.seen_of(method).len();

            let cancelled = got(first.request(id, method, params)).await;
            assert_eq!((cancelled.status, cancelled.body.as_str()), (202, ""), "{method}");
            assert_eq!(server.fake.seen_of(method).len(), before, "{method}");
            // Nothing of another session, and nothing that comes later.
            for agent in [&second, &first] {
                let answer = got(agent.request(id, method, params)).await;
                assert!(answer.json()["result"].is_object(), "{answer:?}");
            }
            assert_eq!(server.fake.seen_of(method).len(), before + 2, "{method}");
        }
        placet.end().await;
    }
}

#[tokio::test]
async fn nobody_is_asked_for_a_call_that_was_cancelled_before_it_came() {
    for (_server, placet) in pairings(done).await {
        let agent = placet.legacy(ANN).await;

        agent.notify("notifications/cancelled", r#"{"requestId":1}"#).await;
        let cancelled = got(agent.call("1", "gated", "{}")).await;

        assert_eq!((cancelled.status, cancelled.body.as_str()), (202, ""));
        assert!(placet.approvals("pending").await.is_empty());
        placet.end().await;
    }
}

#[tokio::test]
async fn a_session_keeps_no_more_early_cancellations_than_configured() {
    let server = Server::start(false, done).await;
    let lines = "[server]\nmax_early_cancellations = 1";
    let placet = Placet::before(&server.fake.url).with(lines).start().await;
    let agent = placet.legacy(ANN).await;

    for id in [1, 2] {
        let named = json!({"requestId": id}).to_string();
        agent.notify("notifications/cancelled", &named).await;
    }

    assert_eq!(got(agent.call("1", "open", "{}")).await.status, 200);
    assert_eq!(got(agent.call("2", "open", "{}")).await.status, 202);
    placet.end().await;
}
