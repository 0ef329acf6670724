//! Upstreams as child processes: what their faults say about a call, how they are started again,
//! and that none of them, nor anything they started, is left behind.

use std::time::{Duration, Instant};

use placet::domain::json;
use placet::upstream::{Caller, ClientCapabilities, Reply, UpstreamError, WireEra};
use rustix::process::{Pid, test_kill_process};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::http::ODD;
use crate::support::upstreams::{
    Built, ana, built, call, child, config, eventually, is_lost, is_not_sent, said,
};

/// Calls tool `t` and has the fake do this.
async fn act(placet: &Built, what: &str) -> Result<Reply, UpstreamError> {
    placet.send(call(&format!(r#"{{"do":"{what}"}}"#), true), None).await
}

fn text_of(answer: &Result<Reply, UpstreamError>) -> String {
    match answer {
        Ok(Reply::Result(text) | Reply::Error(text)) => text.clone(),
        Err(error) => error.to_string(),
    }
}

fn is_running(pid: i32) -> bool {
    // A zombie that waits for its reaper runs no more.
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let zombie = state.rsplit(')').next().is_some_and(|rest| rest.trim().starts_with('Z'));
    !zombie && Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid).is_ok())
}

fn pid_in(answer: &Result<Reply, UpstreamError>) -> i32 {
    let text = text_of(answer);
    json::parse(&text)
        .unwrap_or_else(|_| panic!("{text}"))
        .get("pid")
        .unwrap()
        .as_number()
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test]
async fn a_program_that_is_not_there_certainly_ran_nothing() {
    let placet = built("command = [\"/nowhere/no-such-program\"]");

    let answer = placet.call(true).await;

    assert!(is_not_sent(&answer), "{answer:?}");
    assert!(text_of(&answer).contains("/nowhere/no-such-program can't be started"));
    placet.end().await;
}

#[tokio::test]
async fn a_child_that_dies_at_once_is_named_with_its_last_words() {
    let placet = built(child("exit-at-once"));

    let first = placet.call(true).await;
    let second = placet.call(true).await;

    for answer in [&first, &second] {
        assert!(is_not_sent(answer), "{answer:?}");
        let text = text_of(answer);
        assert!(text.contains("exit status: 3"), "{text}");
        assert!(text.contains("\\u{1b}[31mno module named 'x'"), "{text}");
    }
    assert!(text_of(&second).contains("started again in"), "{second:?}");
    placet.end().await;
}

#[tokio::test]
async fn a_child_that_leaves_at_the_probe_is_started_again_and_spoken_to_in_the_legacy_way() {
    let placet = built(child("exit-on-probe"));

    let answer = placet.call(true).await;

    assert!(answer.is_ok(), "{answer:?}");
    let facts = placet.upstream.facts(&ana()).await.unwrap();
    assert_eq!((facts.era, facts.version.as_str()), (WireEra::Legacy, "2025-06-18"));
    placet.end().await;
}

#[tokio::test]
async fn a_child_of_either_era_is_recognised() {
    for (mode, era) in [("legacy", WireEra::Legacy), ("modern", WireEra::Modern)] {
        let placet = built(child(mode));

        let facts = placet.upstream.facts(&ana()).await.unwrap();
        let line = text_of(&placet.call(true).await);

        assert_eq!(facts.era, era);
        let enveloped = line.contains("io.modelcontextprotocol/protocolVersion");
        assert_eq!(enveloped, era == WireEra::Modern, "{line}");
        placet.end().await;
    }
}

#[tokio::test]
async fn arguments_reach_the_child_byte_for_byte_on_one_line() {
    let placet = built(child("legacy"));
    let mut request = call(ODD, true);
    request.params = request.params.map(|p| p.replacen(',', ",\r\n ", 1).into());

    let got = text_of(&placet.send(request, None).await);

    let node = json::parse(&got).unwrap();
    let line = node.get("line").unwrap().as_str().unwrap();
    assert!(line.contains(&format!(r#""name":"t",   "arguments":{ODD}"#)), "{line}");
    placet.end().await;
}

#[tokio::test]
async fn lines_that_are_no_messages_are_skipped() {
    let placet = built(child("garbage"));

    let answer = placet.call(true).await;

    assert!(answer.is_ok(), "{answer:?}");
    placet.end().await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_lost_at_once_and_the_child_goes_on() {
    let placet = built(child("legacy"));

    let bad = act(&placet, "break-off").await;
    let good = placet.call(true).await;

    assert!(is_lost(&bad) && text_of(&bad).contains("not JSON"), "{bad:?}");
    assert!(good.is_ok(), "{good:?}");
    placet.end().await;
}

#[tokio::test]
async fn what_a_child_says_to_a_request_is_its_answer_however_it_is_written() {
    let placet = built(child("legacy"));
    for (said, want) in [
        (r#"{"jsonrpc":"2.0","id":$ID,"result":{"a":1,"a":2}}"#, r#"{"a":1,"a":2}"#),
        (r#"{"id":"$ID","error":null,"result":{"n":NaN}}"#, r#"{"n":NaN}"#),
        ("\u{feff}{\"id\":$ID.0,\"result\":{\"t\":\"\\ud800\"}}\r", "{\"t\":\"\\ud800\"}"),
        (r#"[{"id":$ID,"method":null,"result":{"b":-Infinity}}]"#, r#"{"b":-Infinity}"#),
    ] {
        let arguments = format!("{{\"do\":\"say\",\"what\":{}}}", json::quote(said));

        let got = placet.send(call(&arguments, true), None).await;

        assert_eq!(got.unwrap(), Reply::Result(want.to_owned()), "{said}");
    }
    placet.end().await;
}

#[tokio::test]
async fn an_error_without_an_id_answers_the_only_open_request_at_once() {
    let placet = built(child("legacy"));
    let error = r#"{"code":-32603,"message":"boom"}"#;
    for id in ["\"id\":null,", ""] {
        let said = format!("{{\"jsonrpc\":\"2.0\",{id}\"error\":{error}}}");
        let arguments = format!("{{\"do\":\"say\",\"what\":{}}}", json::quote(&said));
        for once in [true, false] {
            let got = placet.send(call(&arguments, once), None).await;
            assert_eq!(got.unwrap(), Reply::Error(error.to_owned()), "{said}");
        }
    }
    placet.end().await;
}

#[tokio::test]
async fn an_error_without_an_id_answers_the_one_that_its_answered_neighbours_leave_alone() {
    let placet = built(child("legacy"));
    let said = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"boom"}}"#;
    let arguments = format!("{{\"do\":\"say\",\"what\":{}}}", json::quote(said));
    let (caller, cancel) = (ana(), CancellationToken::new());
    let (to, mut notes) = mpsc::channel(1);
    let mut hangs = call(r#"{"do":"hang"}"#, true);
    hangs.progress = true;

    let hanging = placet.upstream.request(&caller, hangs, Some(to), cancel.clone());
    let errs = async {
        notes.recv().await.unwrap();
        let mut errs = std::pin::pin!(placet.send(call(&arguments, true), None));
        let early = tokio::time::timeout(Duration::from_millis(300), &mut errs).await;
        assert!(early.is_err(), "it may be the other's: {early:?}");
        cancel.cancel();
        errs.await
    };
    let (other, failed) = tokio::join!(hanging, errs);

    assert!(text_of(&other).contains("\"cancelled\": ["), "{other:?}");
    assert!(matches!(&failed, Ok(Reply::Error(e)) if e.contains("boom")), "{failed:?}");
    placet.end().await;
}

#[tokio::test]
async fn a_message_over_several_lines_is_one_answer() {
    let placet = built(child("legacy"));
    for (said, want) in [
        ("{\n  \"jsonrpc\": \"2.0\",\n  \"id\": $ID,\n  \"result\": {\"a\":1}\n}", "{\"a\":1}"),
        ("{\r\n\"result\": {\r\n\"}\": \"{\"\r\n},\r\n\"id\": $ID}", "{\r\n\"}\": \"{\"\r\n}"),
        ("{ starting up\n{\"id\":$ID,\"result\":{}}", "{}"),
    ] {
        let arguments = format!("{{\"do\":\"say\",\"what\":{}}}", json::quote(said));

        let got = placet.send(call(&arguments, true), None).await;

        assert_eq!(got.unwrap(), Reply::Result(want.to_owned()), "{said}");
    }
    placet.end().await;
}

#[tokio::test]
async fn lines_that_never_make_a_message_fail_the_request_they_can_belong_to_at_once() {
    let placet = built(child("legacy"));
    for said in [
        "{\n \"jsonrpc\": \"2.0\",\n \"result\": {",
        "{\n \"id\": $ID,\n \"result\": {]\n}",
        "{\"jsonrpc\":\"2.0\",\"result\":{]},\"id\":$ID}",
    ] {
        let arguments = format!("{{\"do\":\"say\",\"what\":{}}}", json::quote(said));

        let got = placet.send(call(&arguments, true), None);
        let got = tokio::time::timeout(Duration::from_secs(20), got).await.unwrap();

        assert!(is_lost(&got) && text_of(&got).contains("unreadable"), "{said}: {got:?}");
        assert!(placet.call(true).await.is_ok(), "the child goes on");
    }
    let huge = act(&placet, "huge-lines").await;
    assert!(text_of(&huge).contains("server.max_result"), "{huge:?}");
    placet.end().await;
}

#[tokio::test]
async fn an_answer_beyond_the_limit_fails_its_request_alone_and_names_the_limit() {
    let placet = built(child("legacy"));
    let before = pid_in(&act(&placet, "env").await);

    let (huge, beside) = tokio::join!(act(&placet, "huge"), act(&placet, "env"));

    let Ok(Reply::Error(error)) = &huge else { panic!("{huge:?}") };
    assert!(error.contains("server.max_result") && error.contains("1048576"), "{error}");
    assert_eq!((pid_in(&beside), pid_in(&act(&placet, "env").await)), (before, before));
    placet.end().await;
}

#[tokio::test]
async fn a_child_that_ends_after_each_answer_answers_every_call_and_none_twice() {
    for (mode, once) in [("finishes", true), ("finishes", false), ("leaves", true)] {
        let placet = built(child(mode));

        let mut pids = std::collections::HashSet::new();
        for _ in 0..5 {
            pids.insert(pid_in(&placet.send(call(r#"{"do":"env"}"#, once), None).await));
        }

        assert_eq!(pids.len(), 5, "{mode}: each in a child of its own");
        placet.end().await;
    }
}

#[tokio::test]
async fn a_byte_order_mark_before_a_childs_first_line_is_ignored() {
    let placet = built(child("mark"));

    assert!(placet.call(true).await.is_ok());
    placet.end().await;
}

#[tokio::test]
async fn a_child_of_both_eras_is_spoken_to_in_each_clients_own() {
    for (mode, legacy_speaks) in [("both", WireEra::Legacy), ("modern", WireEra::Modern)] {
        let placet = built(child(mode));
        let legacy = Caller {
            features: ClientCapabilities::declared("{}", &[], true),
            ..Caller::new("ana", Some("s"))
        };

        for (caller, era) in [(legacy, legacy_speaks), (ana(), WireEra::Modern)] {
            assert_eq!(placet.upstream.facts(&caller).await.unwrap().era, era, "{mode}");
            let sent =
                placet.upstream.request(&caller, call("{}", true), None, CancellationToken::new());
            let line = text_of(&sent.await);
            let enveloped = line.contains("io.modelcontextprotocol/protocolVersion");
            assert_eq!(enveloped, era == WireEra::Modern, "{mode}: {line}");
        }
        placet.end().await;
    }
}

#[tokio::test]
async fn an_agents_children_end_with_its_sessions_and_when_nobody_uses_them() {
    let placet = built(child("legacy") + "instance_idle = \"300ms\"\n");
    let session = Caller::new("ana", Some("1"));
    eventually(async || placet.upstream.catalog()).await;

    for caller in [&session, &ana()] {
        let sent = placet.upstream.request(
            caller,
            call(r#"{"do":"env"}"#, true),
            None,
            CancellationToken::new(),
        );
        let pid = pid_in(&sent.await);
        placet.upstream.close_session(&session).await;
        eventually(async || (!is_running(pid)).then_some(())).await;
    }
    assert!(placet.upstream.sessions().is_empty());
    let own = eventually(async || Some(placet.upstream.report().connections)).await;
    assert_eq!(own, 1, "Placet's own stays");
    placet.end().await;
}

#[tokio::test]
async fn a_child_stays_as_long_as_configured_after_its_last_session_and_may_take_as_long_to_begin()
{
    let placet = built(child("legacy") + "instance_linger = \"200ms\"\n");
    let session = Caller::new("ana", Some("1"));
    let asked = call(r#"{"do":"env"}"#, true);
    let sent = placet.upstream.request(&session, asked, None, CancellationToken::new()).await;
    placet.upstream.close_session(&session).await;
    // Well before `instance_idle`, half an hour.
    eventually(async || (!is_running(pid_in(&sent))).then_some(())).await;
    placet.end().await;

    let silent = "command = [\"sh\", \"-c\", \"cat > /dev/null\"]\nera = \"legacy\"\n";
    let placet = built(format!("{silent}handshake_timeout = \"300ms\"\n"));
    let began = Instant::now();
    let answer = placet.call(true).await;
    assert!(is_not_sent(&answer) && text_of(&answer).contains("initialize"), "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    placet.end().await;
}

#[tokio::test]
async fn a_child_that_dies_is_started_again_after_the_configured_pause() {
    let placet = built(child("exit-at-once") + "retry_pause = \"1h\"\nmax_retry_pause = \"2h\"\n");

    let (_, second) = (placet.call(true).await, placet.call(true).await);

    let told = text_of(&second);
    assert!(told.contains("started again in 35") || told.contains("started again in 36"), "{told}");
    placet.end().await;
}

#[tokio::test]
async fn a_child_that_dies_during_a_call_loses_it_and_comes_back_after_a_pause() {
    let placet = built(child("legacy"));

    let lost = act(&placet, "die").await;
    let paused = placet.call(true).await;
    let back = eventually(async || placet.call(true).await.ok()).await;

    assert!(is_lost(&lost), "{lost:?}");
    for answer in [&lost, &paused] {
        let text = text_of(answer);
        assert!(text.contains("exit status: 9") && text.contains("out of cheese"), "{text}");
    }
    assert!(is_not_sent(&paused), "{paused:?}");
    assert!(matches!(back, Reply::Result(_)));
    placet.end().await;
}

#[tokio::test]
async fn a_silent_child_loses_the_call_after_the_timeout() {
    let placet = built(child("legacy") + "timeout = \"500ms\"");
    placet.upstream.facts(&ana()).await.unwrap();

    let answer = act(&placet, "hang").await;

    assert!(is_lost(&answer), "{answer:?}");
    placet.end().await;
}

#[tokio::test]
async fn cancelling_tells_the_child_and_an_approved_call_waits_for_its_answer() {
    let placet = built(child("legacy"));
    placet.upstream.facts(&ana()).await.unwrap();
    let caller = ana();
    for once in [false, true] {
        let cancel = CancellationToken::new();
        let (to, mut notes) = mpsc::channel(1);
        let mut request = call(r#"{"do":"hang"}"#, once);
        request.progress = true;
        let leave = async {
            // The child says so when it has the request.
            notes.recv().await.unwrap();
            cancel.cancel();
        };

        let sent = placet.upstream.request(&caller, request, Some(to), cancel.clone());
        let (answer, ()) = tokio::join!(sent, leave);

        if once {
            assert!(text_of(&answer).contains("\"cancelled\": ["), "{answer:?}");
        } else {
            assert!(matches!(answer, Err(UpstreamError::Cancelled)), "{answer:?}");
        }
    }
    placet.end().await;
}

#[tokio::test]
async fn a_question_of_the_child_is_declined_at_once() {
    let placet = built(child("legacy"));

    let answer = act(&placet, "ask").await;

    assert_eq!(text_of(&answer), r#"{"told": -32601}"#);
    placet.end().await;
}

#[tokio::test]
async fn progress_of_a_call_reaches_its_caller() {
    let placet = built(child("legacy"));
    let (to, mut notes) = mpsc::channel(1);
    let mut request = call(r#"{"do":"progress"}"#, true);
    request.progress = true;

    placet.send(request, Some(to)).await.unwrap();

    let note = said(notes.recv().await.unwrap());
    assert_eq!(note.method, "notifications/progress");
    assert!(note.params.unwrap().contains(r#""progress":0.50"#));
    placet.end().await;
}

#[tokio::test]
async fn each_agent_has_its_own_child_with_a_bare_environment() {
    let placet = built(child("legacy"));
    let bob = Caller::new("bob", None);
    let request = call(r#"{"do":"env"}"#, false);

    let first = act(&placet, "env").await;
    let same = act(&placet, "env").await;
    let other = placet.upstream.request(&bob, request, None, CancellationToken::new()).await;

    assert_eq!(pid_in(&first), pid_in(&same));
    assert_ne!(pid_in(&first), pid_in(&other));
    let text = text_of(&first);
    let node = json::parse(&text).unwrap();
    let names: Vec<_> =
        node.get("env").unwrap().elements().unwrap().iter().filter_map(|n| n.as_str()).collect();
    // The program may be a wrapper that sets more; what this process has must not be seen.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    assert!(names.contains(&"OWN") && names.contains(&"PATH"), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("CARGO")), "{names:?}");
    placet.end().await;
}

#[tokio::test]
async fn nothing_a_child_started_outlives_the_shutdown() {
    let placet = built(child("grandchild"));
    let grandchild = pid_in(&act(&placet, "grandchild").await);
    assert!(is_running(grandchild));

    placet.end().await;

    assert!(!is_running(grandchild));
}

#[tokio::test]
async fn what_a_dying_child_started_is_ended_with_it() {
    let placet = built(child("grandchild"));
    let grandchild = pid_in(&act(&placet, "grandchild").await);

    assert!(is_lost(&act(&placet, "die").await));

    assert!(!is_running(grandchild));
    placet.end().await;
}

#[tokio::test]
async fn a_child_that_ignores_every_request_to_leave_is_killed() {
    let placet = built(child("stubborn"));
    let pid = pid_in(&act(&placet, "env").await);
    let before = Instant::now();

    placet.end().await;

    assert!(!is_running(pid));
    // Two seconds after its input was closed, two after SIGTERM.
    assert!(before.elapsed() >= Duration::from_secs(4), "{:?}", before.elapsed());
}

#[tokio::test]
async fn secrets_of_the_configuration_reach_the_child_alone() {
    let lines = child("legacy") + "env.TOKEN = \"hunter2\"";

    assert!(!format!("{:?}", config(&lines).upstreams).contains("hunter2"));
    let placet = built(lines);
    assert!(text_of(&act(&placet, "env").await).contains("\"TOKEN\""));
    placet.end().await;
}
