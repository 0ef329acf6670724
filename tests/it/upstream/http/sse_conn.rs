//! HTTP+SSE upstreams of 2024-11-05: how they are found, what every kind of failure says about
//! whether the call may have happened, and that nothing of Placet's goes to another server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use placet::upstream::{Caller, Reply, UpstreamError, WireEra};
use reqwest::Method;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::fake_http::Fake;
use crate::support::fake_sse::{
    Begins, Does, FakeSse, progress_token, result, says, status, usual,
};
use crate::support::upstreams::{ana, built, call, eventually, http, is_lost, is_not_sent, said};

fn answer(raw: &str) -> Reply {
    Reply::Result(raw.to_owned())
}

#[tokio::test]
async fn a_server_that_takes_no_post_is_found_by_its_stream() {
    for refusal in [400, 404, 405] {
        let fake = FakeSse::start(refusal, Begins::Well, |seen| {
            usual(seen).unwrap_or_else(|| result(r#"{ "n":1.00 }"#))
        })
        .await;
        let placet = built(http(&fake.url));

        let facts = placet.upstream.facts(&ana()).await.unwrap();
        let got = placet.send(call(r#"{ "b":1e2,"a":0.10 }"#, true), None).await;

        assert_eq!(got.unwrap(), answer(r#"{ "n":1.00 }"#), "{refusal}");
        assert_eq!((facts.era, facts.version.as_str()), (WireEra::Legacy, "2024-11-05"));
        assert_eq!(facts.instructions.as_deref(), Some("be kind"));
        let sent = &fake.seen_of("tools/call")[0];
        assert!(sent.member("params").contains(r#"{ "b":1e2,"a":0.10 }"#));
        assert_eq!(sent.header("mcp-protocol-version"), "2024-11-05");
        assert!(!fake.seen_of("notifications/initialized").is_empty());
        for seen in fake.seen() {
            assert_eq!(seen.header("x-own"), "mine", "{seen:?}");
            let accepts = if seen.verb == Method::GET { "text/event-stream" } else { "" };
            assert!(seen.header("accept").contains(accepts), "{seen:?}");
        }
        placet.end().await;
    }
}

#[tokio::test]
async fn other_answers_to_initialize_are_no_evidence_of_a_stream() {
    for refusal in [401, 403, 422, 500, 503] {
        let fake = FakeSse::start(refusal, Begins::Well, |_| status(202)).await;
        let placet = built(http(&fake.url) + "era = \"legacy\"");

        let got = placet.call(true).await;

        assert!(is_not_sent(&got), "{refusal} {got:?}");
        assert_eq!(fake.opened(), 0);
        placet.end().await;
    }
}

#[tokio::test]
async fn a_pinned_transport_is_the_only_one_tried() {
    let fake = FakeSse::calls(|_| result("{}")).await;

    let sse = built(http(&fake.url) + "transport = \"sse\"");
    sse.call(true).await.unwrap();
    assert!(fake.seen_of("server/discover").is_empty());
    sse.end().await;
    let opened = fake.opened();

    let streamable = built(http(&fake.url) + "transport = \"streamable\"");
    let got = streamable.call(true).await;
    assert!(is_not_sent(&got), "{got:?}");
    assert_eq!(fake.opened(), opened);
    streamable.end().await;
}

#[tokio::test]
async fn requests_under_way_together_each_get_their_own_answer() {
    let fake = FakeSse::calls(|seen| {
        let slow = seen.member("params").contains("slow");
        let pause = Duration::from_millis(if slow { 300 } else { 0 });
        let text = format!(r#"{{"jsonrpc":"2.0","id":$ID,"result":{{"slow":{slow}}}}}"#);
        Does { status: 202, says: vec![(pause, text)], ends: false }
    })
    .await;
    let placet = built(http(&fake.url));

    let (slow, quick) = tokio::join!(
        placet.send(call(r#"{"x":"slow"}"#, true), None),
        placet.send(call(r#"{"x":"quick"}"#, false), None),
    );

    assert_eq!(slow.unwrap(), answer(r#"{"slow":true}"#));
    assert_eq!(quick.unwrap(), answer(r#"{"slow":false}"#));
    placet.end().await;
}

#[tokio::test]
async fn progress_reaches_the_call_and_keeps_it_alive() {
    let pause = Duration::from_millis(400);
    let fake = FakeSse::calls(move |seen| {
        let token = progress_token(seen);
        let tick = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":0.10}}}}"#
        );
        let done = r#"{"jsonrpc":"2.0","id":$ID,"result":{"ok":1}}"#.to_owned();
        let says = vec![(pause, tick.clone()), (pause, tick), (pause, done)];
        Does { status: 202, says, ends: false }
    })
    .await;
    let placet = built(http(&fake.url) + "timeout = \"1s\"");
    let (to, mut notes) = mpsc::channel(8);
    let mut request = call("{}", true);
    request.progress = true;

    let kept = placet.send(request, Some(to)).await;

    assert_eq!(kept.unwrap(), answer(r#"{"ok":1}"#));
    for _ in 0..2 {
        assert_eq!(said(notes.try_recv().unwrap()).method, "notifications/progress");
    }
    placet.end().await;
}

#[tokio::test]
async fn a_stream_that_ends_loses_what_was_posted_and_is_opened_at_the_next_request() {
    let calls = AtomicUsize::new(0);
    let fake = FakeSse::calls(move |_| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => Does { ends: true, ..status(202) },
        _ => result("{}"),
    })
    .await;
    let placet = built(http(&fake.url));
    placet.upstream.facts(&ana()).await.unwrap();
    let opened = fake.opened();

    let broken = placet.call(true).await;
    let next = placet.call(true).await;

    assert!(is_lost(&broken), "{broken:?}");
    assert_eq!(next.unwrap(), answer("{}"));
    assert_eq!(fake.seen_of("tools/call").len(), 2, "nothing is posted twice");
    assert!(fake.opened() > opened);
    placet.end().await;
}

#[tokio::test]
async fn a_post_that_is_refused_before_it_is_read_certainly_ran_nothing() {
    for refusal in [400, 401, 403, 404, 405, 410, 413, 415, 429] {
        let fake = FakeSse::calls(move |_| status(refusal)).await;
        let placet = built(http(&fake.url));

        let got = placet.call(true).await;

        assert!(is_not_sent(&got), "{refusal} {got:?}");
        // Where its stream is unknown it is posted again, to the endpoint of a new one.
        let sent = if matches!(refusal, 400 | 401 | 404 | 410) { 2 } else { 1 };
        assert_eq!(fake.seen_of("tools/call").len(), sent);
        placet.end().await;
    }
}

#[tokio::test]
async fn every_other_refusal_and_every_unreadable_answer_is_lost() {
    let broken = r#"{"jsonrpc":"2.0","id":$ID,"result":{"a":}"#;
    let large = format!(r#"{{"jsonrpc":"2.0","id":$ID,"result":"{}"}}"#, "x".repeat(1 << 20));
    for does in [status(302), status(500), status(502), says(&[broken]), says(&[&large])] {
        let shown = format!("{does:.90?}");
        let fake = FakeSse::calls(move |_| does.clone()).await;
        let placet = built(http(&fake.url));

        let got = placet.call(true).await;

        assert!(is_lost(&got), "{shown}: {got:?}");
        assert_eq!(fake.seen_of("tools/call").len(), 1, "{shown}");
        placet.end().await;
    }
}

#[tokio::test]
async fn an_endpoint_unknown_to_the_server_is_replaced_by_that_of_a_new_stream() {
    let calls = AtomicUsize::new(0);
    let fake = FakeSse::calls(move |_| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => status(404),
        _ => result("{}"),
    })
    .await;
    let placet = built(http(&fake.url));
    placet.upstream.facts(&ana()).await.unwrap();
    let opened = fake.opened();

    assert_eq!(placet.call(true).await.unwrap(), answer("{}"));

    assert_eq!((fake.opened(), fake.seen_of("tools/call").len()), (opened + 1, 2));
    placet.end().await;
}

#[tokio::test]
async fn an_answer_that_overtakes_the_post_is_taken() {
    // The POST itself is never answered with success.
    let fake = FakeSse::calls(|_| result("{}")).await;
    let placet = built(http(&fake.url));

    for _ in 0..20 {
        assert_eq!(placet.call(true).await.unwrap(), answer("{}"));
    }
    placet.end().await;
}

#[tokio::test]
async fn a_stream_that_names_no_endpoint_of_its_own_origin_gets_nothing() {
    let other = Fake::legacy(|_| crate::support::fake_http::result("{}")).await;
    let elsewhere = other.url.replace("/mcp", "/messages");
    for begins in [
        Begins::With(format!("event: endpoint\ndata: {elsewhere}\n\n")),
        Begins::With("event: endpoint\ndata: \n\n".to_owned()),
        Begins::With("event: message\ndata: {}\n\n".to_owned()),
        Begins::With("data: nothing\n\n".to_owned()),
        Begins::With(format!("event: endpoint\ndata: /{}\n\n", "x".repeat(9000))),
        Begins::Refused(404),
        Begins::Refused(500),
    ] {
        let shown = format!("{begins:.90?}");
        let fake = FakeSse::start(405, begins, |_| status(202)).await;
        let placet = built(http(&fake.url) + "timeout = \"500ms\"");

        let got = placet.call(true).await;

        assert!(is_not_sent(&got), "{shown}: {got:?}");
        assert!(fake.seen_of("tools/call").is_empty() && other.seen().is_empty(), "{shown}");
        placet.end().await;
    }
}

#[tokio::test]
async fn a_cancelled_call_is_told_to_the_server_and_an_approved_one_still_awaits_its_answer() {
    let fake = FakeSse::start(405, Begins::Well, |seen| {
        let id = seen.member("params");
        match seen.method().as_str() {
            "tools/call" => status(202),
            // The second call is answered once it was asked to stop.
            "notifications/cancelled" => {
                let id: String = id.chars().filter(char::is_ascii_digit).collect();
                says(&[&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"late":1}}}}"#)])
            }
            _ => usual(seen).unwrap(),
        }
    })
    .await;
    let placet = built(http(&fake.url));
    let run = async |once| {
        let cancel = CancellationToken::new();
        let before = fake.seen_of("tools/call").len();
        let stop = async {
            eventually(async || (fake.seen_of("tools/call").len() > before).then_some(())).await;
            cancel.cancel();
        };
        let ana = ana();
        let request = placet.upstream.request(&ana, call("{}", once), None, cancel.clone());
        tokio::join!(request, stop).0
    };

    let allowed = run(false).await;
    let approved = run(true).await;

    assert!(matches!(allowed, Err(UpstreamError::Cancelled)), "{allowed:?}");
    assert_eq!(approved.unwrap(), answer(r#"{"late":1}"#));
    eventually(async || (fake.seen_of("notifications/cancelled").len() == 2).then_some(())).await;
    for (call, cancelled) in
        fake.seen_of("tools/call").iter().zip(fake.seen_of("notifications/cancelled"))
    {
        let named = format!(r#""requestId":{},"#, call.member("id"));
        assert!(cancelled.member("params").contains(&named), "{cancelled:?}");
    }
    placet.end().await;
}

#[tokio::test]
async fn a_request_of_the_server_is_answered_at_the_endpoint() {
    let fake = FakeSse::calls(|_| result("{}")).await;
    let placet = built(http(&fake.url));
    placet.call(true).await.unwrap();

    fake.say(r#"{"jsonrpc":"2.0","id":"ask","method":"ping"}"#);

    let ponged = async || {
        fake.seen().into_iter().find(|s| s.member("id") == r#""ask""# && s.method().is_empty())
    };
    assert_eq!(eventually(ponged).await.member("result"), "{}");
    placet.end().await;
}

#[tokio::test]
async fn a_changed_list_is_fetched_anew_and_told() {
    let changed = Arc::<AtomicBool>::default();
    let flag = Arc::clone(&changed);
    let fake = FakeSse::start(405, Begins::Well, move |seen| match seen.method().as_str() {
        "tools/list" if flag.load(Ordering::SeqCst) => result(r#"{"tools":[{"name":"new"}]}"#),
        "tools/call" => result("{}"),
        _ => usual(seen).unwrap(),
    })
    .await;
    let placet = built(http(&fake.url));
    placet.call(true).await.unwrap();
    eventually(async || placet.upstream.catalog()).await;
    let mut told = placet.upstream.subscribe(&ana());
    let listed = fake.seen_of("tools/list").len();

    changed.store(true, Ordering::SeqCst);
    fake.say(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);

    assert_eq!(told.recv().await.unwrap().method, "notifications/tools/list_changed");
    eventually(async || (fake.seen_of("tools/list").len() > listed).then_some(())).await;
    placet.end().await;
}

#[tokio::test]
async fn an_approved_call_never_goes_out_over_a_stream_that_may_be_dead() {
    let (pings, calls) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let fake = FakeSse::start(405, Begins::Well, move |seen| match seen.method().as_str() {
        // Taken, but nothing comes over the stream any more.
        "ping" if pings.fetch_add(1, Ordering::SeqCst) == 0 => status(202),
        "tools/call" if calls.fetch_add(1, Ordering::SeqCst) == 0 => status(202),
        _ => usual(seen).unwrap_or_else(|| result("{}")),
    })
    .await;
    let placet = built(http(&fake.url) + "timeout = \"600ms\"");
    eventually(async || placet.upstream.catalog()).await;
    let silent = placet.call(false).await;
    assert!(is_lost(&silent), "{silent:?}");
    let opened = fake.opened();

    let got = placet.call(true).await;

    assert_eq!(got.unwrap(), answer("{}"));
    assert_eq!(fake.opened(), opened + 1);
    assert_eq!(fake.seen_of("tools/call").len(), 2);
    placet.end().await;
}

#[tokio::test]
async fn a_client_session_that_ends_does_not_end_what_still_runs_in_it() {
    let done = r#"{"jsonrpc":"2.0","id":$ID,"result":{"ok":1}}"#;
    let says = vec![(Duration::from_millis(300), done.to_owned())];
    let fake = FakeSse::calls(move |_| Does { status: 202, says: says.clone(), ends: false }).await;
    let placet = built(http(&fake.url) + "instances = \"session\"");
    let caller = Caller { session: Some("s".to_owned()), ..ana() };
    let leave = async {
        eventually(async || (!fake.seen_of("tools/call").is_empty()).then_some(())).await;
        placet.upstream.close_session(&caller).await;
    };

    let call = call("{}", true);
    let request = placet.upstream.request(&caller, call, None, CancellationToken::new());
    let (got, ()) = tokio::join!(request, leave);

    assert_eq!(got.unwrap(), answer(r#"{"ok":1}"#));
    placet.end().await;
}

#[tokio::test]
async fn the_end_of_placet_ends_the_streams_and_tells_who_waits() {
    let fake = FakeSse::calls(|_| status(202)).await;
    let placet = built(http(&fake.url));
    let upstream = placet.upstream.clone();
    let waiting = tokio::spawn(async move {
        upstream.request(&ana(), call("{}", true), None, CancellationToken::new()).await
    });
    eventually(async || (!fake.seen_of("tools/call").is_empty()).then_some(())).await;

    placet.end().await;

    let told = waiting.await.unwrap();
    assert!(is_lost(&told), "{told:?}");
}
