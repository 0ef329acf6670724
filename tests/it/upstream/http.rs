//! HTTP upstreams: what every kind of failure says about whether the call may have happened, the
//! two eras, and that bytes pass as they are.

mod forgotten;
mod kept;
mod odd_answers;
mod sse_conn;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use placet::domain::client_feature::ClientFeature;
use placet::upstream::{Caller, ClientCapabilities, Reply, UpstreamError, WireEra};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::fake_http::{
    Answer, Fake, error, event, initialized, legacy, modern, raw, result,
};
use crate::support::upstreams::{ana, built, call, eventually, http, is_lost, is_not_sent, said};

fn answer(raw: &str) -> Reply {
    Reply::Result(raw.to_owned())
}

#[tokio::test]
async fn a_refused_connection_certainly_sent_nothing() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let placet = built(http(&format!("http://127.0.0.1:{port}/mcp")));

    let answer = placet.call(true).await;

    assert!(is_not_sent(&answer), "{answer:?}");
    assert!(placet.upstream.catalog().is_none());
    placet.end().await;
}

#[tokio::test]
async fn a_failed_tls_handshake_certainly_sent_nothing() {
    let fake = Fake::legacy(|_| result("{}")).await;
    let placet = built(http(&fake.url.replace("http://", "https://")));

    let answer = placet.call(true).await;

    assert!(is_not_sent(&answer), "{answer:?}");
    assert!(fake.seen().is_empty());
    placet.end().await;
}

#[tokio::test]
async fn a_message_that_is_cancelled_before_it_is_sent_is_not_sent() {
    let fake = Fake::legacy(|_| result("{}")).await;
    let placet = built(http(&fake.url));
    let cancelled = CancellationToken::new();
    cancelled.cancel();

    let answer = placet.upstream.request(&ana(), call("{}", true), None, cancelled).await;

    assert!(is_not_sent(&answer), "{answer:?}");
    assert!(fake.seen_of("tools/call").is_empty());
    placet.end().await;
}

#[tokio::test]
async fn a_status_that_refuses_before_reading_certainly_ran_nothing() {
    for status in [401, 403, 405, 410, 413, 415, 429] {
        let fake = Fake::legacy(move |_| Answer::Status(status)).await;
        let placet = built(http(&fake.url));

        let answer = placet.call(true).await;

        assert!(is_not_sent(&answer), "{status} {answer:?}");
        assert_eq!(fake.seen_of("tools/call").len(), 1);
        placet.end().await;
    }
}

#[tokio::test]
async fn a_list_that_can_not_be_read_is_not_read_anew_for_each_who_wants_it() {
    let fake = Fake::start(|seen| match seen.method().as_str() {
        "tools/list" => result(r#"{"nothing":1}"#),
        _ => legacy(seen).unwrap_or_else(|| result("{}")),
    })
    .await;
    let placet = built(http(&fake.url) + "retry_pause = \"1m\"\nmax_retry_pause = \"2m\"\n");
    eventually(async || (!fake.seen_of("tools/list").is_empty()).then_some(())).await;
    eventually(async || placet.upstream.tools_within(Duration::ZERO).await.err()).await;
    let before = fake.seen_of("tools/list").len();

    for _ in 0..50 {
        let error = placet.upstream.tools_within(Duration::ZERO).await.unwrap_err().to_string();
        assert!(error.contains("tools"), "{error}");
    }

    assert_eq!(fake.seen_of("tools/list").len(), before);
    placet.end().await;
}

#[tokio::test]
async fn an_unreadable_answer_is_lost_and_never_asked_for_again() {
    let broken = r#"{"jsonrpc":"2.0","id":$ID,"result":{"a":}"#.to_owned();
    let other_id = r#"{"jsonrpc":"2.0","id":"other","result":{}}"#.to_owned();
    let answers = [
        Answer::Status(500),
        Answer::Status(502),
        Answer::Status(202),
        Answer::Status(302),
        Answer::Json(200, "<html>".to_owned()),
        Answer::Json(200, broken.clone()),
        Answer::Json(200, other_id),
        Answer::Json(200, format!("\"{}\"", "x".repeat(1 << 20))),
        Answer::Stream(vec![event(&broken)]),
        Answer::Stream(vec![event("{}")]),
        Answer::Stream(Vec::new()),
    ];
    for given in answers {
        let shown = format!("{given:.80?}");
        let fake = Fake::legacy(move |_| given.clone()).await;
        let placet = built(http(&fake.url));

        let (once, again) = (placet.call(true).await, placet.call(false).await);

        assert!(is_lost(&once) && is_lost(&again), "{shown}: {once:?} {again:?}");
        assert_eq!(fake.seen_of("tools/call").len(), 2, "{shown}");
        placet.end().await;
    }
}

#[tokio::test]
async fn a_connection_reset_after_the_request_is_lost() {
    let (url, seen) = raw(b"").await;
    let fake = Fake::legacy(|_| result("{}")).await;
    // A handshake with the fake, then its answers move to a server that only hangs up: a proxy
    // that forwards nothing but calls there.
    let placet = built(http(&forwarding(&fake.url, &url).await));

    let answer = placet.call(true).await;

    assert!(is_lost(&answer), "{answer:?}");
    assert_eq!(seen.lock().unwrap().len(), 1);
    placet.end().await;
}

/// A server that passes calls to `calls` and everything else to `rest`, byte for byte.
async fn forwarding(rest: &str, calls: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let host = |url: &str| url.trim_start_matches("http://").trim_end_matches("/mcp").to_owned();
    let (rest, calls) = (host(rest), host(calls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (rest, calls) = (rest.clone(), calls.clone());
            tokio::spawn(async move {
                let mut head = vec![0; 64 * 1024];
                let read = client.read(&mut head).await.unwrap();
                head.truncate(read);
                let is_call = String::from_utf8_lossy(&head).contains("tools/call");
                let to = if is_call { calls } else { rest };
                let mut server = tokio::net::TcpStream::connect(to).await.unwrap();
                server.write_all(&head).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    url
}

#[tokio::test]
async fn an_error_of_the_upstream_is_its_answer_whatever_the_status() {
    for status in [200, 400, 422] {
        let fake = Fake::legacy(move |_| error(status, -32602)).await;
        let placet = built(http(&fake.url));

        let answer = placet.call(true).await;

        let want = Reply::Error(r#"{"code":-32602,"message":"no"}"#.to_owned());
        assert_eq!(answer.unwrap(), want, "{status}");
        placet.end().await;
    }
}

#[tokio::test]
async fn a_lost_session_is_opened_anew_once() {
    let opened = AtomicUsize::new(0);
    let fake = Fake::start(move |seen| match seen.method().as_str() {
        "initialize" => initialized(&format!("s{}", opened.fetch_add(1, Ordering::SeqCst))),
        "tools/call" if seen.header("mcp-session-id") == "s0" => Answer::Status(404),
        "tools/call" => result("{}"),
        _ => legacy(seen).unwrap(),
    })
    .await;
    let placet = built(http(&fake.url) + "instances = \"shared\"");

    let got = placet.call(true).await;

    assert_eq!(got.unwrap(), answer("{}"));
    let sessions: Vec<_> =
        fake.seen_of("tools/call").iter().map(|s| s.header("mcp-session-id")).collect();
    assert_eq!(sessions, ["s0", "s1"]);
    placet.end().await;
}

#[tokio::test]
async fn a_second_404_to_a_session_gives_up_and_ran_nothing() {
    let fake = Fake::legacy(|_| Answer::Status(404)).await;
    let placet = built(http(&fake.url));

    let answer = placet.call(true).await;

    assert!(is_not_sent(&answer), "{answer:?}");
    assert_eq!(fake.seen_of("tools/call").len(), 2);
    placet.end().await;
}

#[tokio::test]
async fn refusals_of_version_and_headers_ran_nothing() {
    for code in [-32020, -32022] {
        let fake = Fake::modern(move |_| error(400, code)).await;
        let placet = built(http(&fake.url));

        let answer = placet.call(true).await;

        assert!(is_not_sent(&answer), "{code} {answer:?}");
        assert_eq!(fake.seen_of("tools/call").len(), 1, "an approved call is sent once");
        placet.end().await;
    }
}

#[tokio::test]
async fn after_a_complaint_about_headers_an_allowed_call_is_tried_with_a_new_list() {
    let listed = AtomicUsize::new(0);
    let fake = Fake::start(move |seen| match seen.method().as_str() {
        // Only the second list and later ones have the annotation.
        "tools/list" if listed.fetch_add(1, Ordering::SeqCst) == 0 => {
            result(r#"{"tools":[{"name":"t","inputSchema":{}}]}"#)
        }
        "tools/call" if seen.header("mcp-param-region").is_empty() => error(400, -32020),
        "tools/call" => result("{}"),
        _ => modern(seen).unwrap(),
    })
    .await;
    let placet = built(http(&fake.url));
    eventually(async || placet.upstream.catalog()).await;

    let got = placet.send(call(r#"{"region":"é"}"#, false), None).await;

    assert_eq!(got.unwrap(), answer("{}"));
    assert_eq!(fake.seen_of("tools/call")[1].header("mcp-param-region"), "=?base64?w6k=?=");
    placet.end().await;
}

#[tokio::test]
async fn messages_about_a_call_keep_it_alive_and_silence_loses_it() {
    let pause = Duration::from_millis(400);
    let tick = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":$ID,"progress":0.10}}"#;
    let log =
        r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}"#;
    let done = r#"{"jsonrpc":"2.0","id":$ID,"result":{"ok":1}}"#;
    let slow = vec![event(tick), event(log), event(tick), event(done)]
        .into_iter()
        .map(|(_, text)| (pause, text))
        .collect::<Vec<_>>();
    let calls = AtomicUsize::new(0);
    let fake = Fake::legacy(move |_| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::Stream(slow.clone()),
        _ => Answer::Open(Vec::new()),
    })
    .await;
    let placet = built(http(&fake.url) + "timeout = \"1s\"");
    let (to, mut notes) = mpsc::channel(8);
    let mut request = call("{}", true);
    request.progress = true;

    let kept = placet.send(request, Some(to)).await;
    let silent = placet.call(true).await;

    assert_eq!(kept.unwrap(), answer(r#"{"ok":1}"#));
    let mut methods = Vec::new();
    while let Ok(note) = notes.try_recv() {
        methods.push(said(note).method);
    }
    let progress = "notifications/progress";
    assert_eq!(methods, [progress, "notifications/message", progress]);
    assert!(is_lost(&silent), "{silent:?}");
    let token = fake.seen_of("tools/call")[0].member("params");
    let id = fake.seen_of("tools/call")[0].member("id");
    assert!(token.contains(&format!(r#""_meta":{{"progressToken":{id}}}"#)), "{token}");
    placet.end().await;
}

#[tokio::test]
async fn every_way_to_refuse_the_probe_means_legacy() {
    for refusal in [
        error(400, -32000),
        error(200, -32601),
        error(200, -32602),
        Answer::Status(404),
        Answer::Status(405),
        Answer::Status(400),
        Answer::Json(200, "hello".to_owned()),
        result(r#"{"supportedVersions":["2025-11-25"]}"#),
    ] {
        let shown = format!("{refusal:?}");
        let fake = Fake::start(move |seen| match seen.method().as_str() {
            "server/discover" => refusal.clone(),
            "tools/call" => result("{}"),
            _ => legacy(seen).unwrap(),
        })
        .await;
        let placet = built(http(&fake.url));

        let facts = placet.upstream.facts(&ana()).await.unwrap();
        placet.call(true).await.unwrap();

        assert_eq!((facts.era, facts.version.as_str()), (WireEra::Legacy, "2025-11-25"), "{shown}");
        assert_eq!(facts.capabilities, r#"{"tools":{}}"#);
        assert_eq!(facts.instructions.as_deref(), Some("be kind"));
        let call = &fake.seen_of("tools/call")[0];
        assert_eq!(call.header("mcp-session-id"), "s");
        assert_eq!(call.header("mcp-protocol-version"), "2025-11-25");
        assert_eq!(call.header("x-own"), "mine");
        placet.end().await;
    }
}

#[tokio::test]
async fn missing_rights_and_server_errors_are_no_evidence_of_an_era() {
    for status in [401, 403, 500, 503] {
        let probes = AtomicUsize::new(0);
        let fake = Fake::start(move |seen| match seen.method().as_str() {
            "server/discover" if probes.fetch_add(1, Ordering::SeqCst) < 2 => {
                Answer::Status(status)
            }
            "tools/call" => result("{}"),
            _ => modern(seen).unwrap_or(Answer::Status(500)),
        })
        .await;
        let placet = built(http(&fake.url));

        let first = placet.call(true).await;
        let facts = eventually(async || placet.upstream.facts(&ana()).await.ok()).await;

        assert!(is_not_sent(&first), "{status} {first:?}");
        assert_eq!(facts.era, WireEra::Modern);
        assert!(fake.seen_of("initialize").is_empty());
        placet.end().await;
    }
}

#[tokio::test]
async fn a_modern_request_carries_its_envelope_and_headers() {
    let fake = Fake::modern(|_| result(r#"{"resultType":"complete"}"#)).await;
    let placet = built(http(&fake.url));
    eventually(async || placet.upstream.catalog()).await;
    let mut request = call(r#"{"region":"eu"}"#, true);
    request.log_level = Some("\"debug\"".to_owned());

    let got = placet.send(request, None).await.unwrap();
    let facts = placet.upstream.facts(&ana()).await.unwrap();

    assert_eq!(got, answer(r#"{"resultType":"complete"}"#));
    assert_eq!(facts.server_info, r#"{"name":"fake","version":"2"}"#);
    let call = &fake.seen_of("tools/call")[0];
    for (name, want) in [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "t"),
        ("mcp-param-region", "eu"),
        ("mcp-session-id", ""),
    ] {
        assert_eq!(call.header(name), want, "{name}");
    }
    let params = call.member("params");
    for key in [
        r#""io.modelcontextprotocol/protocolVersion":"2026-07-28""#,
        r#""io.modelcontextprotocol/clientCapabilities":{}"#,
        r#""io.modelcontextprotocol/logLevel":"debug""#,
    ] {
        assert!(params.contains(key), "{params}");
    }
    placet.end().await;
}

/// Numbers, key order, escapes and unknown members that a typed library would not keep.
pub const ODD: &str = r#"{"z":1.00,"a":1e2,"big":12345678901234567890123,"n":-0,"s":"\u0041\/\ud83d\ude00 é","nested":{"b":[1.0,{ "y":null , "x":true }]}}"#;

#[tokio::test]
async fn arguments_and_results_pass_byte_for_byte() {
    for era in ["legacy", "modern"] {
        let back = format!(r#"{{"content":[],"unknown":{ODD}}}"#);
        let given = back.clone();
        let fake = Fake::start(move |seen| match (seen.method().as_str(), era) {
            ("tools/call", _) => result(&given),
            (_, "modern") => modern(seen).unwrap(),
            _ => legacy(seen).unwrap(),
        })
        .await;
        let placet = built(http(&fake.url) + &format!("era = \"{era}\""));

        let got = placet.send(call(ODD, true), None).await.unwrap();

        assert_eq!(got, Reply::Result(back));
        let params = fake.seen_of("tools/call")[0].member("params");
        assert!(params.contains(&format!(r#""arguments":{ODD}"#)), "{params}");
        placet.end().await;
    }
}

#[tokio::test]
async fn connections_are_shared_as_configured() {
    let caller = |agent: &str, session: &str| Caller::new(agent, Some(session));
    for (instances, want) in [("shared", 1), ("agent", 2), ("session", 3)] {
        let fake = Fake::legacy(|_| result("{}")).await;
        let placet = built(http(&fake.url) + &format!("instances = \"{instances}\""));
        eventually(async || placet.upstream.catalog()).await;
        let own = usize::from(instances != "shared");

        for who in [caller("a", "1"), caller("a", "2"), caller("b", "3"), caller("b", "3")] {
            let sent =
                placet.upstream.request(&who, call("{}", false), None, CancellationToken::new());
            sent.await.unwrap();
        }

        assert_eq!(fake.seen_of("initialize").len(), want + own, "{instances}");
        placet.upstream.close_session(&caller("b", "3")).await;
        let ended = fake.seen().iter().filter(|s| s.verb == "DELETE").count();
        assert_eq!(ended, usize::from(instances == "session"));
        placet.end().await;
        let ended = fake.seen().iter().filter(|s| s.verb == "DELETE").count();
        assert_eq!(ended, want + own, "every session is ended at the shutdown");
    }
}

#[tokio::test]
async fn a_server_of_both_eras_is_spoken_to_in_each_clients_own() {
    let fake = Fake::start(|seen| match (seen.verb.as_str(), seen.method().as_str()) {
        (_, "tools/call") => result("{}"),
        ("POST", "server/discover") => crate::support::fake_http::modern(seen).unwrap(),
        _ => legacy(seen).unwrap_or(Answer::Status(202)),
    })
    .await;
    let placet = built(http(&fake.url));
    let legacy = Caller {
        features: ClientCapabilities::declared(r#"{"elicitation":{}}"#, &ClientFeature::ALL, true),
        ..Caller::new("ana", Some("s"))
    };

    for (caller, version) in [(legacy, "2025-11-25"), (Caller::new("ana", None), "2026-07-28")] {
        assert_eq!(placet.upstream.facts(&caller).await.unwrap().version, version);
        let sent =
            placet.upstream.request(&caller, call("{}", true), None, CancellationToken::new());
        sent.await.unwrap();
        let seen = fake.seen_of("tools/call").pop().unwrap();
        assert_eq!(seen.header("mcp-protocol-version"), version);
    }
    let said = fake.seen_of("initialize").pop().unwrap().member("params");
    assert!(said.contains(r#""elicitation":{}"#), "{said}");
    placet.end().await;
}

#[tokio::test]
async fn a_question_of_the_server_is_declined_at_once() {
    let ask = r#"{"jsonrpc":"2.0","id":"q1","method":"sampling/createMessage","params":{}}"#;
    let ping = r#"{"jsonrpc":"2.0","id":"q2","method":"ping"}"#;
    let done = r#"{"jsonrpc":"2.0","id":$ID,"result":{}}"#;
    let fake = Fake::start(move |seen| match seen.method().as_str() {
        "tools/call" => Answer::Stream(vec![event(ask), event(ping), event(done)]),
        _ => legacy(seen).unwrap_or(Answer::Status(202)),
    })
    .await;
    let placet = built(http(&fake.url));

    placet.call(true).await.unwrap();
    let answers = eventually(async || {
        let answers: Vec<_> = fake
            .seen()
            .into_iter()
            .filter(|s| s.method().is_empty() && !s.body.is_empty())
            .collect();
        (answers.len() == 2).then_some(answers)
    })
    .await;

    let of = |id: &str| answers.iter().find(|a| a.member("id") == id).unwrap();
    assert!(of("\"q1\"").member("error").contains("-32601"));
    assert_eq!(of("\"q2\"").member("result"), "{}");
    placet.end().await;
}

#[tokio::test]
async fn cancelling_tells_a_legacy_server_and_an_approved_call_waits_for_its_answer() {
    let late =
        (Duration::from_millis(300), event(r#"{"jsonrpc":"2.0","id":$ID,"result":{"late":1}}"#).1);
    let fake = Fake::legacy(move |_| Answer::Stream(vec![late.clone()])).await;
    let placet = built(http(&fake.url));
    placet.upstream.facts(&ana()).await.unwrap();
    for once in [false, true] {
        let cancel = CancellationToken::new();
        let calls = fake.seen_of("tools/call").len();
        let arrived = async {
            eventually(async || (fake.seen_of("tools/call").len() > calls).then_some(())).await;
            cancel.cancel();
        };

        let caller = ana();
        let sent = placet.upstream.request(&caller, call("{}", once), None, cancel.clone());
        let (got, ()) = tokio::join!(sent, arrived);

        match got {
            Ok(reply) => assert!(once && reply == answer(r#"{"late":1}"#)),
            Err(error) => assert!(!once && matches!(error, UpstreamError::Cancelled), "{error}"),
        }
    }
    let told = eventually(async || {
        let told = fake.seen_of("notifications/cancelled");
        (told.len() == 2).then_some(told)
    })
    .await;
    let id = fake.seen_of("tools/call")[0].member("id");
    assert!(told.iter().any(|t| t.member("params").contains(&format!(r#""requestId":{id}"#))));
    placet.end().await;
}

#[tokio::test]
async fn a_legacy_stream_cut_short_is_resumed_without_sending_again() {
    let first = (Duration::ZERO, "id: e1\nretry: 10\ndata:\n\n".to_owned());
    let call_id = Mutex::new(String::new());
    let fake = Fake::start(move |seen| match (seen.verb.as_str(), seen.method().as_str()) {
        ("GET", _) if seen.header("last-event-id") == "e1" => {
            let id = call_id.lock().unwrap().clone();
            let done = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resumed":1}}}}"#);
            Answer::Stream(vec![event(&done)])
        }
        (_, "tools/call") => {
            *call_id.lock().unwrap() = seen.member("id");
            Answer::Stream(vec![first.clone()])
        }
        _ => legacy(seen).unwrap(),
    })
    .await;
    let placet = built(http(&fake.url));

    let got = placet.call(true).await;

    assert_eq!(got.unwrap(), answer(r#"{"resumed":1}"#));
    assert_eq!(fake.seen_of("tools/call").len(), 1);
    placet.end().await;
}

#[tokio::test]
async fn the_list_is_read_over_all_pages_and_again_when_it_changed() {
    let changed = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    let listed = AtomicUsize::new(0);
    let fake = Fake::start(move |seen| match (seen.verb.as_str(), seen.method().as_str()) {
        ("GET", _) => Answer::Open(vec![(Duration::from_millis(200), event(changed).1)]),
        (_, "tools/list") if seen.body.contains(r#""cursor":"p\/2""#) => {
            let n = listed.fetch_add(1, Ordering::SeqCst);
            result(&format!(r#"{{"tools":[{{"name":"b","v":{n}}}]}}"#))
        }
        (_, "tools/list") => result(r#"{"tools":[{"name":"a"}],"nextCursor":"p\/2"}"#),
        _ => legacy(seen).unwrap(),
    })
    .await;
    let placet = built(http(&fake.url));
    // Placet itself, which declares all that is allowed.
    let features = r#"{"elicitation":{"form":{},"url":{}},"roots":{}}"#;
    let own = Caller {
        features: ClientCapabilities::declared(features, &ClientFeature::DEFAULT, true),
        ..Caller::new("placet", None)
    };
    let mut all = placet.upstream.subscribe(&own);

    let first = eventually(async || placet.upstream.catalog()).await;
    let print = first.find("b").unwrap().fingerprint.clone();
    let second = eventually(async || {
        placet.upstream.catalog().filter(|c| c.find("b").unwrap().fingerprint != print)
    })
    .await;

    let names: Vec<_> = second.tools.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(all.recv().await.unwrap().method, "notifications/tools/list_changed");
    placet.end().await;
}
