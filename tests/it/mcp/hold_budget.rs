//! Holds that end before the client gives up.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::support::placet::{ANN, Placet, RITA, Stream, got};
use crate::support::until;

use super::usual;

async fn ann(placet: &Placet) -> Value {
    let request = placet.http.get(format!("{}/api/v1/agents", placet.base)).bearer_auth(RITA);
    let all: Value = serde_json::from_str(&got(request).await.body).unwrap();
    let agents = all["agents"].as_array().unwrap();
    agents.iter().find(|a| a["name"] == "ann").unwrap().clone()
}

#[tokio::test]
async fn a_learned_budget_hands_over_before_the_configured_one_in_both_eras() {
    let (placet, _fake) = usual().await;
    let now = placet.broker.now().micros();
    placet
        .raw(&format!(
            "insert into hold_budgets (agent, progress, drops, learned_ms, learned_at) \
             values ('ann', 0, '', 300, {now})"
        ))
        .await;

    for agent in placet.both(ANN).await {
        let began = Instant::now();
        assert_eq!(got(agent.call("1", "gated", "{}")).await.code(), "approval_pending");
        assert!(began.elapsed() < Duration::from_secs(10), "the configured hold is 20 s");
    }
    let held = &ann(&placet).await["holds"];
    assert_eq!((&held[0]["source"], &held[0]["budget_ms"]), (&"learned".into(), &300.into()));
    assert_eq!((&held[1]["source"], &held[1]["budget_ms"]), (&"approvals".into(), &20_000.into()));
    placet.end().await;
}

#[tokio::test]
async fn what_a_client_drops_is_noted_by_kind_and_an_answer_breaks_the_row() {
    let (placet, _fake) = usual().await;
    let agent = placet.legacy(ANN).await;
    let drops = async |kind: usize| ann(&placet).await["holds"][kind]["drops_ms"].clone();

    drop(Stream::open(agent.call("1", "gated", "{}")).await);
    until("the drop is noted", async || drops(0).await.as_array().unwrap().len() == 1).await;
    let mut cancelled = Stream::open(agent.call_with_progress("2", "gated", "\"p\"")).await;
    cancelled.next().await;
    agent.notify("notifications/cancelled", r#"{"requestId":2}"#).await;
    until("the cancellation is noted", async || drops(1).await.as_array().unwrap().len() == 1)
        .await;

    let answered = Stream::open(agent.call("3", "gated", "{}")).await;
    placet.decide("reject").await;
    answered.rest().await;
    until("the row is broken", async || drops(0).await.as_array().unwrap().is_empty()).await;

    assert_eq!(drops(1).await.as_array().unwrap().len(), 1, "the other kind is apart");
    placet.end().await;
}
