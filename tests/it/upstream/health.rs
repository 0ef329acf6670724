//! What is written down of the contact with an upstream: by whichever connection, with its time,
//! and without what only the upstream may know.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use placet::clock::{Clock as _, ManualClock};
use placet::domain::time::Timestamp;
use placet::domain::upstream_health::{ListKind, Trouble, UpstreamState};
use placet::upstream::{Reply, Report, Request};
use tokio_util::sync::CancellationToken;

use crate::support::fake_http::{self, Answer, Fake};
use crate::support::upstreams::{Built, ana, built_at, call, child, child_with, eventually, http};

const BEGAN: Timestamp = Timestamp::from_micros(1_795_377_600_000_000);

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(BEGAN))
}

fn standing(report: &Report) -> UpstreamState {
    report.health.state(report.opening)
}

/// Waits until the last error is of this kind.
async fn trouble(placet: &Built, kind: Trouble) -> Report {
    eventually(async || {
        let report = placet.upstream.report();
        let found = report.health.failure.as_ref().is_some_and(|f| f.trouble == kind);
        found.then_some(report)
    })
    .await
}

/// Waits until the tools are known.
async fn listed(placet: &Built) -> Report {
    eventually(async || {
        let report = placet.upstream.report();
        report.health.list(ListKind::Tools).is_some().then_some(report)
    })
    .await
}

#[tokio::test]
async fn a_refusal_is_told_with_its_time_and_outdated_by_the_next_answer() {
    let away = Arc::new(AtomicBool::new(false));
    let gone = Arc::clone(&away);
    let fake = Fake::start(move |seen| {
        if gone.load(Ordering::SeqCst) {
            return Answer::Status(403);
        }
        match seen.method().as_str() {
            "tools/list" => fake_http::result(r#"{"tools":[{"name":"t"},{"name":"u"}]}"#),
            "prompts/list" => fake_http::result(r#"{"prompts":[{"name":"p"}],"nextCursor":"a"}"#),
            _ => fake_http::legacy(seen).unwrap_or_else(|| fake_http::result("{}")),
        }
    })
    .await;
    let clock = clock();
    let placet = built_at(http(&fake.url), clock.clone());
    let report = listed(&placet).await;
    assert_eq!(standing(&report), UpstreamState::Reachable);
    assert_eq!((report.health.answered_at, &report.health.failure), (Some(BEGAN), &None));
    assert_eq!(report.health.list(ListKind::Tools).unwrap().count, 2);
    assert!(report.facts.is_some());

    clock.advance(Duration::from_secs(10));
    away.store(true, Ordering::SeqCst);
    assert!(placet.call(true).await.is_err());
    let report = placet.upstream.report();
    let failure = report.health.failure.clone().unwrap();
    assert_eq!(standing(&report), UpstreamState::Failing);
    assert_eq!((failure.trouble, failure.at), (Trouble::NotSent, clock.now()));
    assert!(failure.text.contains("403") && !failure.answered_since, "{failure:?}");

    clock.advance(Duration::from_secs(10));
    away.store(false, Ordering::SeqCst);
    let page = placet.send(Request::new("prompts/list", None), None).await;
    assert!(matches!(page, Ok(Reply::Result(_))), "{page:?}");
    let report = placet.upstream.report();
    assert_eq!(standing(&report), UpstreamState::Reachable);
    let failure = report.health.failure.clone().unwrap();
    assert_eq!((failure.at, failure.answered_since), (BEGAN.plus(Duration::from_secs(10)), true));
    let prompts = report.health.list(ListKind::Prompts).unwrap();
    assert_eq!((prompts.count, prompts.next.as_deref()), (1, Some("\"a\"")));
    placet.end().await;
}

#[tokio::test]
async fn a_server_that_refuses_its_list_is_reachable_and_its_error_stays() {
    let fake = Fake::start(move |seen| match seen.method().as_str() {
        "tools/list" => fake_http::error(200, -32603),
        _ => fake_http::legacy(seen).unwrap_or_else(|| fake_http::result("{}")),
    })
    .await;
    let placet = built_at(http(&fake.url), clock());

    let report = trouble(&placet, Trouble::List).await;
    assert_eq!(standing(&report), UpstreamState::Reachable);
    assert!(report.health.failure.unwrap().text.contains("tools/list was refused"));
    assert!(placet.call(true).await.is_ok());
    assert!(!placet.upstream.report().health.failure.unwrap().answered_since);
    placet.end().await;
}

#[tokio::test]
async fn a_call_that_is_cancelled_says_nothing_about_the_server() {
    let placet = built_at(child("plain"), clock());
    listed(&placet).await;
    let cancel = CancellationToken::new();
    cancel.cancel();

    let answer = placet.upstream.request(&ana(), call("{}", true), None, cancel).await;

    assert!(answer.is_err());
    assert_eq!(placet.upstream.report().health.failure, None);
    placet.end().await;
}

#[tokio::test]
async fn a_process_that_ends_unasked_is_written_down_and_started_again_when_needed() {
    let clock = clock();
    // One process for all: that of the caller is the one that Placet lists by.
    let placet = built_at(child("plain") + "instances = \"shared\"", clock.clone());
    let report = listed(&placet).await;
    assert_eq!((standing(&report), report.connections), (UpstreamState::Reachable, 1));
    clock.advance(Duration::from_secs(5));

    // A request of its own kind: the fake answers it, and leaves.
    let last = placet.send(call(r#"{"do":"bye"}"#, false), None).await;
    assert!(last.is_ok(), "{last:?}");
    // What is written down is there a moment before the connection counts as gone.
    let report = eventually(async || {
        let report = placet.upstream.report();
        (standing(&report) == UpstreamState::Ended && report.connections == 0).then_some(report)
    })
    .await;
    let failure = report.health.failure.unwrap();
    assert_eq!(failure.at, clock.now());
    assert!(failure.text.contains("exit status: 4"), "{failure:?}");
    eventually(async || placet.call(false).await.ok()).await;
    let report = placet.upstream.report();
    assert_eq!((standing(&report), report.connections), (UpstreamState::Reachable, 1));
    assert!(report.health.failure.unwrap().answered_since);
    placet.end().await;
}

#[tokio::test]
async fn a_call_at_which_the_process_dies_is_told_as_one_that_may_have_run() {
    let placet = built_at(child("plain"), clock());
    listed(&placet).await;

    assert!(placet.send(call(r#"{"do":"die"}"#, true), None).await.is_err());
    let report = trouble(&placet, Trouble::Lost).await;

    assert_eq!(standing(&report), UpstreamState::Failing);
    assert!(report.health.failure.unwrap().text.contains("out of cheese"));
    placet.end().await;
}

#[tokio::test]
async fn a_shutdown_is_not_noted_as_a_failure_of_the_server() {
    let placet = built_at(child("plain"), clock());
    listed(&placet).await;
    let upstream = Arc::clone(&placet.upstream);

    placet.end().await;

    assert_eq!(upstream.report().health.failure, None);
}

#[tokio::test]
async fn the_upstreams_own_secrets_are_never_written_down() {
    let lines = child_with(&["tells-secret", "${THING}"]) + "env.KEY = \"hunter2-hunter2\"";
    let placet = built_at(lines, clock());

    let report = trouble(&placet, Trouble::NotSent).await;

    let text = report.health.failure.unwrap().text;
    assert!(text.contains("key ‹masked› is not good for ‹masked›"), "{text}");
    placet.end().await;
}
