//! A server that forgot the session: it is opened again once, and what surely did not run is sent
//! again; what may have run is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use placet::upstream::{Reply, Request, UpstreamError};
use tokio_util::sync::CancellationToken;

use crate::support::fake_http::{Answer, Fake, Seen, initialized, legacy, result};
use crate::support::upstreams::{ana, built, http, is_lost, is_not_sent};

fn error(status: u16, id: &str, message: &str) -> Answer {
    let text =
        format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32000,"message":"{message}"}}}}"#);
    Answer::Json(status, text)
}

fn text(status: u16, text: &str) -> Answer {
    Answer::Plain(status, vec![("content-type", "text/plain")], text.as_bytes().to_vec())
}

/// The refusals that were seen.
fn refusals() -> Vec<Answer> {
    vec![
        Answer::Status(404),
        error(404, "null", "Session not found"),
        error(404, "$ID", "Not found"),
        error(404, "\"server-error\"", "Session not found"),
        Answer::Status(400),
        text(400, "Bad Request"),
        error(400, "null", "Bad Request: No valid session ID provided"),
        error(400, "$ID", "Bad Request: No valid session ID provided"),
        error(400, "$ID", "Bad Request: Server not initialized"),
        text(500, "unknown session"),
        error(500, "null", "Session not found"),
        error(500, "$ID", "session expired"),
        error(200, "$ID", "Session not found"),
        Answer::Status(500),
        text(500, "Internal Server Error"),
        error(500, "$ID", "Internal server error"),
        Answer::Status(401),
        text(401, "Unauthorized"),
        error(401, "null", "Invalid session"),
        error(401, "$ID", "Unauthorized"),
        Answer::Status(410),
        text(410, "Gone"),
        error(410, "$ID", "Gone"),
    ]
}

/// A server that, once it was told, refuses everything in a session that it opened before.
async fn forgetful(refusal: Answer) -> (Fake, Arc<AtomicUsize>) {
    let era = Arc::new(AtomicUsize::new(0));
    let now = Arc::clone(&era);
    let fake = Fake::start(move |seen: &Seen| {
        let session = format!("s{}", now.load(Ordering::SeqCst));
        match seen.method().as_str() {
            "initialize" => initialized(&session),
            "server/discover" => legacy(seen).unwrap(),
            _ if seen.header("mcp-session-id") != session => refusal.clone(),
            "ping" => result("{}"),
            _ => legacy(seen).unwrap_or_else(|| result(r#"{"ran":1}"#)),
        }
    })
    .await;
    (fake, era)
}

#[tokio::test]
async fn a_server_that_forgot_the_session_gets_a_new_one_and_the_call() {
    for once in [true, false] {
        for refusal in refusals() {
            let shown = format!("{once} {refusal:?}");
            let (fake, era) = forgetful(refusal).await;
            let placet = built(http(&fake.url));
            placet.upstream.facts(&ana()).await.unwrap();
            era.store(1, Ordering::SeqCst);

            let got = placet.call(once).await;

            let got = got.unwrap_or_else(|error| panic!("{shown}: {error}"));
            assert_eq!(got, Reply::Result(r#"{"ran":1}"#.to_owned()), "{shown}");
            let calls = fake.seen_of("tools/call");
            let ran = calls.iter().filter(|c| c.header("mcp-session-id") == "s1").count();
            assert_eq!(ran, 1, "{shown}");
            // Of an approved call nothing is risked: the server is asked first.
            assert!(!once || calls.len() == 1, "{shown}");
            placet.end().await;
        }
    }
}

#[tokio::test]
async fn a_refused_ping_proves_nothing_of_a_server_that_knows_none() {
    for refusal in [error(400, "$ID", "partly done"), text(400, "quota exceeded")] {
        let answer = refusal.clone();
        let fake = Fake::start(move |seen: &Seen| match seen.method().as_str() {
            "ping" => error(400, "null", "unsupported method"),
            "tools/call" => answer.clone(),
            _ => legacy(seen).unwrap_or_else(|| result("{}")),
        })
        .await;
        let placet = built(http(&fake.url));
        placet.upstream.facts(&ana()).await.unwrap();

        let got = placet.call(true).await;

        assert!(matches!(got, Ok(Reply::Error(_))) || is_not_sent(&got), "{got:?}");
        assert_eq!(fake.seen_of("tools/call").len(), 1, "{refusal:?}: it may have run");
        placet.end().await;
    }
}

#[tokio::test]
async fn credentials_that_are_no_longer_good_are_tried_in_one_new_session_and_their_key_is_named() {
    for once in [true, false] {
        let revoked = Arc::new(AtomicBool::new(false));
        let now = Arc::clone(&revoked);
        let fake = Fake::start(move |seen: &Seen| match seen.method().as_str() {
            _ if now.load(Ordering::SeqCst) => text(401, "Unauthorized"),
            "initialize" => initialized("s"),
            "ping" => result("{}"),
            _ => legacy(seen).unwrap_or_else(|| result("{}")),
        })
        .await;
        let placet = built(http(&fake.url) + "era = \"legacy\"\n");
        placet.upstream.facts(&ana()).await.unwrap();
        assert!(placet.call(once).await.is_ok());
        let (opened, called) = (fake.seen_of("initialize"), fake.seen_of("tools/call"));
        revoked.store(true, Ordering::SeqCst);

        let got = placet.call(once).await;

        assert!(is_not_sent(&got), "{got:?}");
        let told = got.unwrap_err().to_string();
        assert!(told.contains("401") && told.contains("headers of [[upstreams]] \"u\""), "{told}");
        // Placet's own connection may look into its list meanwhile.
        let own = |seen: &[Seen]| seen.iter().filter(|s| s.header("mcp-session-id") == "s").count();
        let calls = fake.seen_of("tools/call");
        assert!(own(&calls) - own(&called) <= 1, "{calls:?}");
        assert!(fake.seen_of("initialize").len() - opened.len() <= 2);
        placet.end().await;
    }
}

#[tokio::test]
async fn one_call_that_is_refused_for_want_of_rights_costs_no_session() {
    for status in [401, 410] {
        let fake = Fake::start(move |seen: &Seen| match seen.method().as_str() {
            "tools/call" => text(status, "not for you"),
            "initialize" => initialized("s"),
            "ping" => result("{}"),
            _ => legacy(seen).unwrap_or_else(|| result("{}")),
        })
        .await;
        let placet = built(http(&fake.url));
        placet.upstream.facts(&ana()).await.unwrap();

        for once in [true, false] {
            let got = placet.call(once).await;
            assert!(is_not_sent(&got), "{got:?}");
        }

        assert_eq!(fake.seen_of("tools/call").len(), 2, "{status}: each once");
        placet.end().await;
    }
}

#[tokio::test]
async fn what_was_given_up_is_not_sent_again_in_a_new_session() {
    let overdue = CancellationToken::new();
    let given_up = overdue.clone();
    let fake = Fake::start(move |seen: &Seen| match seen.method().as_str() {
        "tools/call" => {
            given_up.cancel();
            Answer::Status(404)
        }
        "initialize" => initialized("s"),
        _ => legacy(seen).unwrap_or_else(|| result("{}")),
    })
    .await;
    let placet = built(http(&fake.url));
    let params = r#"{"name":"open","arguments":{}}"#.to_owned();
    let request =
        Request { once: true, overdue: Some(overdue), ..Request::new("tools/call", Some(params)) };

    let got = placet.send(request, None).await;

    assert!(is_not_sent(&got), "{got:?}");
    assert_eq!(fake.seen_of("tools/call").len(), 1);
    placet.end().await;
}

#[tokio::test]
async fn a_session_that_is_refused_while_an_approved_call_arrives_ran_nothing() {
    for refusal in [
        error(400, "null", "Bad Request: No valid session ID provided"),
        error(400, "$ID", "Bad Request: No valid session ID provided"),
        text(400, "no"),
        text(500, "unknown session"),
        Answer::Status(404),
        Answer::Status(401),
        Answer::Status(410),
        error(410, "null", "Gone"),
    ] {
        let shown = format!("{refusal:?}");
        let forgot = AtomicBool::new(false);
        let opened = AtomicUsize::new(0);
        let fake = Fake::start(move |seen: &Seen| {
            let is_old = seen.header("mcp-session-id") == "s0";
            match seen.method().as_str() {
                "initialize" => initialized(&format!("s{}", opened.fetch_add(1, Ordering::SeqCst))),
                "tools/call" if is_old => {
                    forgot.store(true, Ordering::SeqCst);
                    refusal.clone()
                }
                _ if is_old && forgot.load(Ordering::SeqCst) => refusal.clone(),
                "ping" => result("{}"),
                _ => legacy(seen).unwrap_or_else(|| result("{}")),
            }
        })
        .await;
        let placet = built(http(&fake.url) + "instances = \"shared\"");
        placet.upstream.facts(&ana()).await.unwrap();

        let got = placet.call(true).await;

        assert_eq!(got.unwrap(), Reply::Result("{}".to_owned()), "{shown}");
        assert_eq!(fake.seen_of("tools/call").len(), 2, "{shown}");
        placet.end().await;
    }
}

#[tokio::test]
async fn a_server_that_refuses_every_session_ran_nothing_and_is_tried_twice() {
    for (refusal, tries) in
        [(text(400, "no"), 1), (Answer::Status(404), 2), (error(400, "null", "no session"), 1)]
    {
        let shown = format!("{refusal:?}");
        let fake = Fake::legacy(move |_| refusal.clone()).await;
        let placet = built(http(&fake.url));

        let got = placet.call(true).await;

        assert!(is_not_sent(&got), "{shown}: {got:?}");
        assert_eq!(fake.seen_of("tools/call").len(), tries, "{shown}");
        placet.end().await;
    }
}

#[tokio::test]
async fn what_may_have_run_is_not_sent_again_whatever_its_answer_says_of_sessions() {
    for (given, is_answer) in [
        (text(500, "Internal Server Error"), false),
        (text(500, "session expired"), false),
        (text(502, "session expired"), false),
        (error(200, "$ID", "browser session not found"), true),
        (error(500, "$ID", "AWS session expired"), true),
    ] {
        let shown = format!("{given:?}");
        let fake = Fake::start(move |seen: &Seen| match seen.method().as_str() {
            "ping" => result("{}"),
            _ => legacy(seen).unwrap_or_else(|| given.clone()),
        })
        .await;
        let placet = built(http(&fake.url));

        for once in [true, false] {
            let got = placet.call(once).await;
            match is_answer {
                true => assert!(matches!(got, Ok(Reply::Error(_))), "{shown}: {got:?}"),
                false => assert!(is_lost(&got), "{shown}: {got:?}"),
            }
        }

        assert_eq!(fake.seen_of("tools/call").len(), 2, "{shown}");
        placet.end().await;
    }
}

#[tokio::test]
async fn a_server_without_a_ping_keeps_its_session() {
    for pong in [error(404, "$ID", "no"), text(405, ""), Answer::Status(202)] {
        let pong = match pong {
            Answer::Json(status, text) => Answer::Json(status, text.replace("-32000", "-32601")),
            other => other,
        };
        let shown = format!("{pong:?}");
        let fake = Fake::start(move |seen: &Seen| match seen.method().as_str() {
            "ping" => pong.clone(),
            _ => legacy(seen).unwrap_or_else(|| result("{}")),
        })
        .await;
        let placet = built(http(&fake.url));
        placet.upstream.facts(&ana()).await.unwrap();
        let opened = fake.seen_of("initialize").len();

        let got: Result<Reply, UpstreamError> = placet.call(true).await;

        assert!(got.is_ok(), "{shown}: {got:?}");
        assert_eq!(fake.seen_of("initialize").len(), opened, "{shown}");
        placet.end().await;
    }
}
