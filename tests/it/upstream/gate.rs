//! The gate before an approved call, over every transport: what it does not let through, and what
//! comes too late after it, reaches no server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use placet::upstream::Reply;

use crate::support::fake_http::{Answer, Fake, Seen, initialized, legacy, result};
use crate::support::fake_sse::{self, FakeSse};
use crate::support::upstreams::{Built, TestGate, ana, built, child, http, is_not_sent};

const AWAKE: Duration = Duration::ZERO;
/// Longer than the leave.
const ASLEEP: Duration = Duration::from_secs(14);

/// A server that does what it is asked in either era.
async fn server() -> (Fake, Built) {
    let fake = Fake::legacy(|_| result(r#"{"ran":1}"#)).await;
    let placet = built(http(&fake.url));
    placet.upstream.facts(&ana()).await.unwrap();
    (fake, placet)
}

#[tokio::test]
async fn a_call_that_passes_the_gate_is_sent_once_over_http() {
    let (fake, placet) = server().await;
    let gate = TestGate::passed_then(AWAKE);

    let got = placet.send(gate.call("{}"), None).await;

    assert_eq!(got.unwrap(), Reply::Result(r#"{"ran":1}"#.to_owned()));
    assert_eq!((gate.asked(), fake.seen_of("tools/call").len()), (1, 1));
    placet.end().await;
}

#[tokio::test]
async fn a_process_that_sleeps_after_the_gate_sends_nothing_over_http() {
    let (fake, placet) = server().await;
    let gate = TestGate::passed_then(ASLEEP);

    let got = placet.send(gate.call("{}"), None).await;

    assert!(is_not_sent(&got), "{got:?}");
    assert!(got.unwrap_err().to_string().contains("stood still"));
    assert_eq!((gate.asked(), fake.seen_of("tools/call").len()), (1, 0));
    placet.end().await;
}

#[tokio::test]
async fn what_the_gate_does_not_let_through_is_not_sent_over_http() {
    let (fake, placet) = server().await;
    let gate = TestGate::shut();

    let got = placet.send(gate.call("{}"), None).await;

    assert!(is_not_sent(&got) && got.unwrap_err().to_string().contains("the gate is shut"));
    assert!(fake.seen_of("tools/call").is_empty());
    placet.end().await;
}

#[tokio::test]
async fn a_call_larger_than_any_buffer_is_sent_whole_through_the_gate() {
    let (fake, placet) = server().await;
    let gate = TestGate::passed_then(AWAKE);
    let large = format!(r#"{{"text":"{}"}}"#, "x".repeat(3 << 20));

    let got = placet.send(gate.call(&large), None).await;

    assert!(got.is_ok(), "{got:?}");
    assert!(fake.seen_of("tools/call")[0].body.len() > 3 << 20);
    placet.end().await;
}

#[tokio::test]
async fn a_new_session_under_the_same_claim_passes_the_gate_again() {
    let forgot = AtomicBool::new(false);
    let fake = Fake::start(move |seen: &Seen| match seen.method().as_str() {
        "initialize" => initialized("s"),
        "tools/call" if !forgot.swap(true, Ordering::SeqCst) => Answer::Status(404),
        _ => legacy(seen).unwrap_or_else(|| result(r#"{"ran":1}"#)),
    })
    .await;
    let placet = built(http(&fake.url));
    let gate = TestGate::passed_then(AWAKE);

    let got = placet.send(gate.call("{}"), None).await;

    assert!(got.is_ok(), "{got:?}");
    assert_eq!((gate.asked(), fake.seen_of("tools/call").len()), (2, 2));
    placet.end().await;
}

#[tokio::test]
async fn a_process_that_sleeps_after_the_gate_writes_nothing_to_a_child() {
    let placet = built(child("legacy"));
    let (awake, asleep, shut) =
        (TestGate::passed_then(AWAKE), TestGate::passed_then(ASLEEP), TestGate::shut());

    let before = placet.send(awake.call(r#"{"do":"count"}"#), None).await;
    let late = placet.send(asleep.call(r#"{"do":"count"}"#), None).await;
    let refused = placet.send(shut.call(r#"{"do":"count"}"#), None).await;
    let after = placet.send(awake.call(r#"{"do":"count"}"#), None).await;

    assert!(is_not_sent(&late) && late.unwrap_err().to_string().contains("stood still"));
    assert!(is_not_sent(&refused) && refused.unwrap_err().to_string().contains("is shut"));
    assert_eq!(before.unwrap(), Reply::Result(r#"{"counted": 1}"#.to_owned()));
    let after = after.unwrap();
    assert_eq!(after, Reply::Result(r#"{"counted": 2}"#.to_owned()), "the same child goes on");
    placet.end().await;
}

#[tokio::test]
async fn a_process_that_sleeps_after_the_gate_posts_nothing_beside_a_stream() {
    let fake = FakeSse::calls(|_| fake_sse::result(r#"{"ran":1}"#)).await;
    let placet = built(http(&fake.url));
    let (awake, asleep) = (TestGate::passed_then(AWAKE), TestGate::passed_then(ASLEEP));

    let late = placet.send(asleep.call("{}"), None).await;
    let sent = placet.send(awake.call("{}"), None).await;

    assert!(is_not_sent(&late), "{late:?}");
    assert!(sent.is_ok(), "{sent:?}");
    assert_eq!(fake.seen_of("tools/call").len(), 1);
    placet.end().await;
}
