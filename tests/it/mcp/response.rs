//! What Placet itself says about a call: every key of the decision, for every code that a client
//! meets at this face.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::fake_http::{self, Answer};
use crate::support::placet::{ANN, BOB, Got, Placet, got};

use super::{done, legacy, usual};

const KEYS: [&str; 9] = [
    "code",
    "approval",
    "state",
    "rule",
    "reason",
    "retryable",
    "retry_after_ms",
    "expires_at",
    "status_url",
];

/// Checks the shape and returns the decision.
fn said(got: &Got, code: &str, retryable: bool) -> Value {
    let result = got.json()["result"].clone();
    let decision = got.decision();
    assert_eq!(decision["code"], code, "{}", got.body);
    assert_eq!(result["isError"], true);
    assert_eq!(result["content"].as_array().unwrap().len(), 1);
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(text.starts_with(&format!("[{code}] ")), "{text}");
    assert!(text.to_lowercase().contains("executed"), "{text}");
    let mut keys: Vec<_> = decision.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = KEYS.to_vec();
    keys.sort_unstable();
    expected.sort_unstable();
    assert_eq!(keys, expected, "{code}");
    assert_eq!(decision["retryable"], retryable);
    if let Some(id) = decision["approval"].as_str() {
        assert!(text.contains(id), "{text}");
    }
    decision
}

#[tokio::test]
async fn denials_and_limits_name_the_rule() {
    let (placet, fake) = usual().await;
    let [first, modern] = placet.both(ANN).await;
    let second = placet.legacy(ANN).await;

    for agent in [&first, &modern] {
        let decision = said(&got(agent.call("1", "denied", "{}")).await, "policy_denied", false);
        assert_eq!(decision["rule"], "/tools/denied");
        assert_eq!(decision["reason"], "Never.");
        assert_eq!(decision["approval"], Value::Null);
    }
    assert!(fake.seen_of("tools/call").is_empty());

    for agent in [&first, &second] {
        assert_eq!(got(agent.call("1", "limited", "{}")).await.code(), "");
        let limited = got(agent.call("2", "limited", "{}")).await;
        let decision = said(&limited, "rate_limited", true);
        assert!(decision["retry_after_ms"].as_u64().unwrap() > 0);
    }
    assert_eq!(got(first.call("1", "limited_all", "{}")).await.code(), "");
    said(&got(second.call("1", "limited_all", "{}")).await, "rate_limited", true);
    said(&got(modern.call("1", "limited_all", "{}")).await, "rate_limited", true);
    placet.end().await;
}

#[tokio::test]
async fn a_limit_per_session_is_not_reset_by_ending_the_session() {
    let (placet, _fake) = usual().await;
    let first = placet.legacy(ANN).await;
    let beside = placet.legacy(ANN).await;
    assert_eq!(got(first.call("1", "limited", "{}")).await.code(), "");

    got(first.http(Method::DELETE)).await;
    for _ in 0..2 {
        let again = placet.legacy(ANN).await;
        said(&got(again.call("1", "limited", "{}")).await, "rate_limited", true);
        got(again.http(Method::DELETE)).await;
    }

    assert_eq!(got(beside.call("1", "limited", "{}")).await.code(), "");
    assert_eq!(got(placet.legacy(BOB).await.call("1", "limited", "{}")).await.code(), "");
    placet.end().await;
}

#[tokio::test]
async fn a_limit_per_session_is_not_reset_by_speaking_the_other_era() {
    for first in ["legacy", "modern"] {
        let (placet, _fake) = usual().await;
        let [old, new] = placet.both(ANN).await;
        let (first, second) = if first == "legacy" { (old, new) } else { (new, old) };

        assert_eq!(got(first.call("1", "limited", "{}")).await.code(), "");
        said(&got(second.call("1", "limited", "{}")).await, "rate_limited", true);

        let other = got(placet.modern(BOB).call("1", "limited", "{}")).await;
        assert_eq!(other.code(), "", "another token");
        placet.end().await;
    }
}

#[tokio::test]
async fn rejections_are_repeated_while_they_cool_and_expiries_are_told_once() {
    let (placet, fake) = usual().await;
    let agent = placet.legacy(ANN).await;

    let call = tokio::spawn(got(agent.call("1", "gated", "{}")));
    let id = placet.decide("reject").await;
    for answer in [call.await.unwrap(), got(agent.call("2", "gated", "{}")).await] {
        let decision = said(&answer, "approval_rejected", false);
        assert_eq!(decision["approval"], json!(id));
        assert_eq!(
            (&decision["state"], &decision["reason"]),
            (&json!("rejected"), &json!("Seen."))
        );
        assert_eq!(decision["rule"], "/tools/gated");
    }

    let expired = got(agent.call("3", "brief", "{}")).await;
    assert_eq!(said(&expired, "approval_expired", false)["state"], "expired");
    assert!(fake.seen_of("tools/call").is_empty());
    placet.end().await;
}

#[tokio::test]
async fn a_hand_over_says_how_to_come_back() {
    let fake = legacy(done).await;
    let lines = "[approvals]\nhold = \"300ms\"\nheartbeat = \"50ms\"";
    let placet = Placet::before(&fake.url).with(lines).start().await;

    for (agent, arguments) in placet.both(ANN).await.iter().zip([r#"{"n":1}"#, r#"{"n":2}"#]) {
        let pending =
            said(&got(agent.call("1", "gated", arguments)).await, "approval_pending", true);
        let id = pending["approval"].as_str().unwrap();
        assert_eq!(pending["state"], "pending");
        assert!(pending["retry_after_ms"].as_u64().is_some());
        assert!(pending["expires_at"].as_str().unwrap().ends_with('Z'));
        assert_eq!(pending["status_url"], json!(format!("{}/approvals/{id}", placet.base)));
        // The identical call waits for the same approval.
        let again = got(agent.call("2", "gated", arguments)).await;
        assert_eq!(again.decision()["approval"], pending["approval"]);
    }
    placet.end().await;
}

#[tokio::test]
async fn caps_refuse_what_would_be_too_much() {
    let fake = legacy(done).await;
    let lines = "[approvals]\nhold = \"100ms\"\nheartbeat = \"50ms\"\nmax_pending_per_agent = 1\nmax_arguments = \"1KiB\"";
    let placet = Placet::before(&fake.url).with(lines).start().await;
    let agent = placet.legacy(ANN).await;

    let large = format!(r#"{{"x":"{}"}}"#, "a".repeat(1024));
    let refused = got(agent.call("1", "gated", &large)).await;
    assert_eq!(refused.error(), -32602);
    assert!(refused.body.contains("max_arguments"), "{}", refused.body);
    assert_eq!(got(agent.call("2", "open", &large)).await.code(), "");

    said(&got(agent.call("3", "gated", r#"{"n":1}"#)).await, "approval_pending", true);
    let more = said(&got(agent.call("4", "gated", r#"{"n":2}"#)).await, "too_many_pending", true);
    assert!(more["retry_after_ms"].as_u64().unwrap() > 0);
    placet.end().await;
}

#[tokio::test]
async fn beyond_the_held_requests_of_an_agent_a_call_is_stored_and_handed_over_at_once() {
    let fake = legacy(done).await;
    let lines = "[approvals]\nhold = \"20s\"\nheartbeat = \"50ms\"\nmax_held_per_agent = 1";
    let placet = Placet::before(&fake.url).with(lines).start().await;
    let agent = placet.legacy(ANN).await;
    let held = tokio::spawn(got(agent.call("1", "gated", r#"{"n":1}"#)));
    placet.approval("pending").await;

    let at_once = got(agent.call("2", "gated", r#"{"n":2}"#)).await;

    said(&at_once, "approval_pending", true);
    assert!(!held.is_finished());
    assert_eq!(placet.approvals("pending").await.len(), 2);
    placet.end().await;
    said(&held.await.unwrap(), "approval_pending", true);
}

#[tokio::test]
async fn a_server_that_was_never_reached_is_unavailable_whatever_the_name() {
    let setup = Placet::before("http://127.0.0.1:9/mcp");
    let placet = setup.without_tools_of(&["u", "other"]).start().await;

    for agent in placet.both(ANN).await {
        for tool in ["open", "gated", "denied", "secret", "no_such"] {
            let answer = got(agent.call("1", tool, "{}")).await;
            said(&answer, "upstream_unavailable", true);
        }
        assert_eq!(got(agent.request("2", "resources/list", "{}")).await.error(), -32603);
    }
    placet.end().await;
}

#[tokio::test]
async fn an_allowed_call_that_was_not_sent_is_unavailable_and_a_lost_one_an_error() {
    let fake = legacy(|seen| {
        if seen.body.contains("\"lose\"") { Answer::Stream(vec![]) } else { Answer::Status(429) }
    })
    .await;
    let placet = Placet::start(&fake).await;
    let agent = placet.legacy(ANN).await;

    said(&got(agent.call("1", "open", "{}")).await, "upstream_unavailable", true);
    assert_eq!(got(agent.call("2", "open", r#"{"how":"lose"}"#)).await.error(), -32603);

    let lost = tokio::spawn(got(agent.call("3", "gated", r#"{"how":"lose"}"#)));
    placet.decide("approve").await;
    let decision = said(&lost.await.unwrap(), "outcome_unknown", false);
    assert_eq!(decision["state"], "indeterminate");
    placet.end().await;
}

#[tokio::test]
async fn an_approved_error_passes_and_a_large_outcome_is_answered_but_not_kept() {
    let fake = legacy(|seen| {
        if seen.body.contains("\"fail\"") {
            fake_http::error(200, -31007)
        } else {
            fake_http::result(&format!(r#"{{"text":"{}"}}"#, "x".repeat(4096)))
        }
    })
    .await;
    let lines = "[approvals]\nhold = \"20s\"\nheartbeat = \"50ms\"\nmax_outcome = \"1KiB\"";
    let placet = Placet::before(&fake.url).with(lines).start().await;
    let agent = placet.legacy(ANN).await;

    let failing = tokio::spawn(got(agent.call("1", "gated", r#"{"how":"fail"}"#)));
    placet.decide("approve").await;
    assert_eq!(failing.await.unwrap().error(), -31007);

    let large = tokio::spawn(got(agent.call("2", "gated", r#"{"how":"large"}"#)));
    placet.decide("approve").await;
    let answer = large.await.unwrap();
    assert_eq!(answer.code(), "approved");
    assert_eq!(answer.json()["result"]["text"].as_str().unwrap().len(), 4096);
    placet.end().await;
}

#[tokio::test]
async fn while_the_store_cant_be_written_allowed_calls_go_on_and_gated_ones_are_unavailable() {
    let (placet, fake) = usual().await;
    let agents = placet.both(ANN).await;
    // Each session was seen long ago, which would be noted now.
    placet.raw("update client_sessions set seen_at = created_at - 600000000").await;
    for (table, change) in [("client_sessions", "update"), ("approvals", "insert")] {
        placet
            .raw(&format!(
                "create trigger no_{table} before {change} on {table} \
                 begin select raise(abort, 'the disk is full'); end"
            ))
            .await;
    }

    for agent in agents {
        assert_eq!(got(agent.call("1", "open", "{}")).await.code(), "");
        let gated = got(agent.call("2", "gated", "{}")).await;
        let decision = said(&gated, "unavailable", true);
        assert!(decision["retry_after_ms"].as_u64().is_some());
    }
    assert_eq!(fake.seen_of("tools/call").len(), 2);
    placet.end().await;
}

#[tokio::test]
async fn a_withdrawn_approval_tells_who_waits() {
    let (placet, fake) = usual().await;
    let agent = placet.legacy(ANN).await;
    let call = tokio::spawn(got(agent.call("1", "gated", "{}")));
    let id = placet.approval("pending").await["id"].clone();

    placet.cancel(id.as_str().unwrap()).await;

    let decision = said(&call.await.unwrap(), "approval_cancelled", false);
    assert_eq!((&decision["approval"], &decision["state"]), (&id, &json!("cancelled")));
    assert!(decision["reason"].as_str().unwrap().contains("Changed my mind."));
    assert!(fake.seen_of("tools/call").is_empty());
    placet.end().await;
}
