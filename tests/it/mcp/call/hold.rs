//! A held call, from the head of its stream to its answer.

use std::time::Duration;

use serde_json::Value;

use crate::support::fake_http::{Answer, event};
use crate::support::placet::{A_FEW_BEATS, ANN, Heard, Placet, Stream, got};

use crate::mcp::{done, legacy, usual};

#[tokio::test]
async fn the_head_goes_out_before_anything_is_decided_and_comments_keep_it_alive() {
    let (placet, fake) = usual().await;

    for agent in placet.both(ANN).await {
        let mut stream = Stream::open(agent.call("7", "gated", r#"{"n":1.00}"#)).await;
        for _ in 0..3 {
            assert_eq!(stream.next().await, Some(Heard::Comment));
        }
        assert_eq!(placet.approval("pending").await["waiting"], true);
        let id = placet.decide("approve").await;
        let said = stream.rest().await;

        assert_eq!(said.len(), 1);
        let decision = &said[0]["result"]["_meta"]["io.placet/decision"];
        assert_eq!(said[0]["id"], 7);
        assert_eq!(decision["code"], "approved");
        assert_eq!(decision["approval"].as_str(), Some(id.as_str()));
        assert_eq!(decision.get("replayed"), None);
        assert_eq!(decision.get("shared"), None);
    }
    let calls = fake.seen_of("tools/call");
    assert_eq!(calls.len(), 2);
    assert!(calls[0].member("params").contains(r#"{"n":1.00}"#));
    placet.end().await;
}

#[tokio::test]
async fn progress_rises_from_the_first_heartbeat_to_the_upstreams_last_word() {
    let fake = legacy(|seen| {
        let params: Value = serde_json::from_str(&seen.member("params")).unwrap();
        let token = params["_meta"]["progressToken"].to_string();
        let progress = |n: u32| {
            format!(
                r#"data: {{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{n},"total":60}}}}{}"#,
                "\n\n"
            )
        };
        Answer::Stream(vec![
            (Duration::ZERO, progress(0)),
            (Duration::ZERO, progress(50)),
            (A_FEW_BEATS, progress(51)),
            event(r#"{"jsonrpc":"2.0","id":$ID,"result":{"content":[]}}"#),
        ])
    })
    .await;
    let placet = Placet::start(&fake).await;

    for agent in placet.both(ANN).await {
        let mut stream = Stream::open(agent.call_with_progress("1", "gated", "\"p\"")).await;
        let mut told: Vec<Value> = Vec::new();
        for _ in 0..2 {
            told.push(stream.message().await.unwrap());
        }
        let id = placet.decide("approve").await;
        told.extend(stream.rest().await);
        let answer = told.pop().unwrap();

        assert_eq!(answer["result"]["_meta"]["io.placet/decision"]["code"], "approved");
        let first = told[0]["params"]["message"].as_str().unwrap();
        assert!(first.contains(&id) && first.contains("left"), "{first}");
        let numbers: Vec<f64> =
            told.iter().map(|m| m["params"]["progress"].as_f64().unwrap()).collect();
        assert!(numbers.windows(2).all(|w| w[0] < w[1]), "{numbers:?}");
        assert!(told.iter().all(|m| m["params"]["progressToken"] == "p"));
        let own: Vec<_> = told.iter().filter(|m| m["params"]["total"].is_number()).collect();
        assert!(own.len() >= 2, "the upstream's own progress was told: {told:?}");
    }
    placet.end().await;
}

#[tokio::test]
async fn who_reads_no_streams_gets_one_document_at_the_end() {
    let (placet, _fake) = usual().await;

    for agent in placet.both(ANN).await {
        let call = tokio::spawn(got(agent.plain().call("1", "gated", "{}")));
        placet.decide("approve").await;
        let answer = call.await.unwrap();

        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.code(), "approved");
    }
    placet.end().await;
}

#[tokio::test]
async fn identical_calls_share_one_approval_and_one_execution() {
    let (placet, fake) = usual().await;
    let [old, new] = placet.both(ANN).await;
    let first = Stream::open(old.call("1", "gated", r#"{"a":1,"b":2}"#)).await;
    let second = Stream::open(new.call("2", "gated", r#"{ "b":2, "a":1 }"#)).await;
    assert_eq!(placet.approvals("pending").await.len(), 1);

    placet.decide("approve").await;

    for stream in [first, second] {
        let answer = stream.rest().await.pop().unwrap();
        let decision = &answer["result"]["_meta"]["io.placet/decision"];
        assert_eq!((&decision["code"], &decision["shared"]), (&"approved".into(), &true.into()));
    }
    assert_eq!(fake.seen_of("tools/call").len(), 1);
    placet.end().await;
}

#[tokio::test]
async fn a_call_that_still_runs_is_handed_over_and_replayed_once() {
    let fake = legacy(|_| {
        Answer::Stream(vec![(
            Duration::from_millis(900),
            "data: {\"jsonrpc\":\"2.0\",\"id\":$ID,\"result\":{\"content\":[]}}\n\n".to_owned(),
        )])
    })
    .await;
    let lines = "[approvals]\nhold = \"500ms\"\nheartbeat = \"100ms\"";
    let placet = Placet::before(&fake.url).with(lines).start().await;
    let agent = placet.legacy(ANN).await;

    let stream = Stream::open(agent.call("1", "gated", "{}")).await;
    placet.decide("approve").await;
    let over = stream.rest().await.pop().unwrap();
    let decision = &over["result"]["_meta"]["io.placet/decision"];
    assert_eq!(
        (&decision["code"], &decision["state"]),
        (&"approval_pending".into(), &"running".into())
    );
    let text = over["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("will not run twice"), "{text}");

    placet.approval("completed").await;
    let replay = got(agent.call("2", "gated", "{}")).await.decision();
    assert_eq!((&replay["code"], &replay["replayed"]), (&"approved".into(), &true.into()));
    assert!(replay["executed_at"].as_str().is_some());
    assert_eq!(fake.seen_of("tools/call").len(), 1);
    let anew = got(agent.call("3", "gated", "{}")).await;
    assert_eq!(anew.code(), "approval_pending");
    assert_ne!(anew.decision()["approval"], replay["approval"]);
    placet.end().await;
}

#[tokio::test]
async fn stopping_hands_every_held_request_over() {
    let fake = legacy(done).await;
    let placet = Placet::start(&fake).await;
    let [old, new] = placet.both(ANN).await;
    let streams = [
        Stream::open(old.call("1", "gated", r#"{"n":1}"#)).await,
        Stream::open(new.call("2", "gated", r#"{"n":2}"#)).await,
    ];

    placet.end().await;

    for stream in streams {
        let answer = stream.rest().await.pop().unwrap();
        assert_eq!(answer["result"]["_meta"]["io.placet/decision"]["code"], "approval_pending");
    }
}
