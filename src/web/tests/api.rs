//! The HTTP API.

use axum::body::HttpBody as _;

use super::*;
use crate::domain::json;

#[tokio::test]
async fn only_reviewers_tokens_open_the_queue() {
    let site = Site::new().await;
    let approval = site.pending(CALL).await;

    assert_eq!(site.api("GET", "/approvals", "ana", "").await.status, StatusCode::OK);
    for stranger in ["bot", "nonsense"] {
        let answer = site.api("GET", "/approvals", stranger, "").await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::UNAUTHORIZED, "unauthorized")
        );
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(site.say(&approval.id, stranger, "approve").await.code(), "unauthorized");
    }
}

#[tokio::test]
async fn a_session_reads_and_does_not_write() {
    let site = Site::new().await;
    let approval = site.pending(CALL).await;
    let cookie = site.cookie("ana").await;
    let path = format!("/api/v1/approvals/{}/decision", approval.id);

    let read = site.get("/api/v1/me", &[("cookie", &cookie)]).await;
    let body = "{\"decision\":\"approve\"}".to_owned();
    let write = site.send("POST", &path, &[("cookie", &cookie)], body).await;

    assert_eq!(
        read.body,
        r#"{"name":"ana","email":"ana@example.org","groups":["oncall"],"role":"reviewer"}"#
    );
    assert_eq!(write.code(), "unauthorized");
}

#[tokio::test]
async fn errors_are_checked_in_the_stated_order() {
    let site = Site::new().await;
    let approval = site.pending(CALL).await;
    let path = format!("/approvals/{}/decision", approval.id);
    let code =
        async |path: &str, who: &str, body: &str| site.api("POST", path, who, body).await.code();
    let missing = format!("/approvals/apr_{}/decision", "0".repeat(32));
    let wrong = format!(r#"{{"decision":"approve","digest":"sha256:{}"}}"#, "0".repeat(64));

    assert_eq!(code(&missing, "bot", "{").await, "unauthorized");
    assert_eq!(code(&missing, "ana", "{").await, "not_found");
    assert_eq!(code("/approvals/7/decision", "ana", "{").await, "not_found");
    assert_eq!(code(&path, "kim", "{").await, "forbidden");
    assert_eq!(code(&path, "root", "{").await, "not_eligible");
    assert_eq!(code(&path, "olga", r#"{"decision":"approve","x":1}"#).await, "own_agent");
    assert_eq!(code(&path, "ana", "{").await, "invalid_request");
    assert_eq!(code(&path, "ana", r#"{"decision":"approve","x":1}"#).await, "invalid_request");
    assert_eq!(code(&path, "ana", r#"{"decision":"reject","reason":7}"#).await, "invalid_request");
    assert_eq!(code(&path, "ana", r#"{"decision":1}"#).await, "invalid_request");
    assert_eq!(code(&path, "ana", &wrong).await, "digest_mismatch");
    assert_eq!(site.now_is(&approval.id).await.version, approval.version);
    site.clock.advance(Duration::from_mins(15));
    assert_eq!(code(&path, "ana", r#"{"decision":"approve"}"#).await, "expired");
}

#[tokio::test]
async fn a_rejection_needs_no_reason() {
    let site = Site::new().await;
    let approval = site.pending(CALL).await;
    let path = format!("/approvals/{}/decision", approval.id);

    let said = site.api("POST", &path, "ana", r#"{"decision":"reject"}"#).await;

    assert_eq!(said.status, 200);
    assert_eq!(site.now_is(&approval.id).await.state, State::Rejected);
}

#[tokio::test]
async fn a_decision_is_recorded_once_and_the_loser_sees_it() {
    let site = Site::new().await;
    let approval = site.pending(SECRET_CALL).await;

    let first = site.say(&approval.id, "ana", "approve").await;
    let again = site.say(&approval.id, "ana", "approve").await;
    let late = site.say(&approval.id, "bo", "reject").await;

    assert_eq!((first.status, again.status), (StatusCode::OK, StatusCode::OK));
    assert!(!first.body.contains("hunter2"));
    assert_eq!((late.status, late.code().as_str()), (StatusCode::CONFLICT, "already_decided"));
    let problem = json::parse(&late.body).unwrap();
    let shown = problem.get("approval").unwrap();
    assert_eq!(shown.get("state").unwrap().as_str(), Some("approved"));
    assert!(!late.body.contains("hunter2"));
    assert_eq!(site.audited(Kind::DecisionRecorded).await, 1);
}

#[tokio::test]
async fn the_terminal_is_told_apart() {
    let site = Site::new().await;
    let approval = site.pending(CALL).await;
    let token = format!("Bearer {}", token_of("ana"));

    site.send(
        "POST",
        &format!("/api/v1/approvals/{}/decision", approval.id),
        &[("authorization", &token), ("placet-via", "cli")],
        format!("{{\"decision\":\"approve\",\"digest\":\"{}\"}}", approval.digest()),
    )
    .await;

    assert_eq!(site.now_is(&approval.id).await.decisions[0].via.as_str(), "cli");
}

#[tokio::test]
async fn one_approval_is_raw_and_recorded_and_lists_are_masked() {
    let site = Site::new().await;
    let secret = site.pending(SECRET_CALL).await;
    let plain = site.pending(CALL).await;

    let one = site.api("GET", &format!("/approvals/{}", secret.id), "ana", "").await;
    let other = site.api("GET", &format!("/approvals/{}", plain.id), "ana", "").await;
    let list = site.api("GET", "/approvals?state=pending,approved", "ana", "").await;

    assert!(one.body.contains(r#""password":"hunter2""#));
    assert!(other.body.contains(r#""n":1.00"#));
    assert!(list.body.contains("‹masked, 7 characters") && !list.body.contains("hunter2"));
    assert_eq!(site.audited(Kind::Revealed).await, 1);
}

#[tokio::test]
async fn lists_come_in_pages_newest_first() {
    let site = Site::new().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        site.clock.advance(Duration::from_millis(10));
        let call = format!(r#"{{"name":"delete_image_set","arguments":{{"n":{n}}}}}"#);
        ids.insert(0, site.pending(&call).await.id.to_string());
    }

    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/approvals?limit=2&cursor={cursor}");
        let page = site.api("GET", &path, "ana", "").await;
        let page = json::parse(&page.body).unwrap();
        for approval in page.get("approvals").unwrap().elements().unwrap() {
            seen.push(approval.get("id").unwrap().as_str().unwrap().to_owned());
        }
        match page.get("next_cursor").unwrap().as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }

    assert_eq!(seen, ids);
    for wrong in ["state=open", "limit=201", "limit=x", "cursor=x", "colour=red"] {
        let answer = site.api("GET", &format!("/approvals?{wrong}"), "ana", "").await;
        assert_eq!(answer.code(), "invalid_request", "{wrong}");
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
}

#[tokio::test]
async fn withdrawing_and_settling_follow_their_rules() {
    let site = Site::new().await;
    let one = site.pending(CALL).await;
    let two = site.pending(SECRET_CALL).await;
    site.say(&two.id, "ana", "approve").await;
    site.run(&two.id, None).await;
    let cancel = async |id: &ApprovalId, who: &str| {
        site.api("POST", &format!("/approvals/{id}/cancel"), who, "{\"reason\":\"r\"}").await
    };
    let settle = async |id: &ApprovalId, who: &str, body: &str| {
        site.api("POST", &format!("/approvals/{id}/settle"), who, body).await
    };
    let done = r#"{"done":true,"reason":"seen"}"#;

    assert_eq!(cancel(&one.id, "ana").await.code(), "forbidden");
    assert_eq!(settle(&one.id, "root", done).await.code(), "not_indeterminate");
    assert_eq!(cancel(&one.id, "root").await.status, StatusCode::OK);
    assert_eq!(cancel(&one.id, "root").await.code(), "not_cancellable");
    assert_eq!(cancel(&two.id, "root").await.code(), "not_cancellable");
    assert_eq!(settle(&two.id, "ana", done).await.code(), "forbidden");
    assert_eq!(settle(&two.id, "root", r#"{"done":"yes"}"#).await.code(), "invalid_request");
    let settled = settle(&two.id, "root", done).await;
    assert!(settled.body.contains(r#""settled":{"done":true,"by":"root","reason":"seen""#));
    assert_eq!(settle(&two.id, "root", done).await.code(), "already_settled");
}

#[tokio::test]
async fn tools_are_listed_with_what_the_policy_does() {
    let site = Site::new().await;

    let tools = site.api("GET", "/tools", "ana", "").await;

    for row in [
        r#""tool":"list_image_sets","risk":"destructive","severity":"medium","evidence":"classifier: annotations says \"destructiveHint: true\"; name says \"list\"","action":"allow","rule":"/tools/list_image_sets","agents":["bot"]"#,
        r#""tool":"delete_image_set","risk":"destructive","severity":"critical","evidence":"classifier: name says \"delete\"; annotations says \"destructiveHint: true\"","action":"require_approval","rule":"/tools/delete_image_set","agents":["bot"]"#,
        r#""tool":"copy_image_set","risk":"destructive","severity":"medium","evidence":"classifier: annotations says \"destructiveHint: true\"; name says \"copy\"","action":"deny","rule":"/default","agents":[]"#,
        r#""tool":"wipe_archive","risk":"destructive","severity":"critical","evidence":"classifier: name says \"wipe\"; annotations says \"destructiveHint: true\"","action":"hide","rule":"/hide","agents":[]"#,
    ] {
        assert!(tools.body.contains(row), "{}", tools.body);
    }
}

#[tokio::test]
async fn the_audit_is_for_auditors_and_admins() {
    let site = Site::new().await;
    let approval = site.pending(CALL).await;
    site.say(&approval.id, "ana", "approve").await;
    site.store().audit().seal(100).await.unwrap();

    let all = site.api("GET", "/audit", "kim", "").await;
    let some = site.api("GET", "/audit?after=1&limit=1", "root", "").await;

    assert!(all.body.contains(r#""kind":"approval_requested""#));
    assert!(some.body.contains(r#""seq":2"#) && !some.body.contains(r#""seq":3"#));
    assert_eq!(site.api("GET", "/audit", "ana", "").await.code(), "forbidden");
    assert_eq!(site.get("/api/v1/openapi.json", &[]).await.status, StatusCode::OK);
}

/// Reads the stream up to the next event.
async fn next_event(body: &mut Body) -> String {
    loop {
        let mut pinned = std::pin::Pin::new(&mut *body);
        let frame = std::future::poll_fn(|context| pinned.as_mut().poll_frame(context));
        let bytes = frame.await.unwrap().unwrap().into_data().unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        if text.contains("event: approval") {
            return text;
        }
    }
}

#[tokio::test]
async fn events_tell_changes_masked_whoever_made_them() {
    let site = Site::new().await;
    site.pending(CALL).await;
    let token = format!("Bearer {}", token_of("ana"));
    let request = Request::get("/api/v1/events")
        .header("host", "127.0.0.1:8420")
        .header("authorization", token)
        .body(Body::empty())
        .unwrap();
    let response = site.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();

    // Made without a hint, as by another broker: the poll finds it.
    let made = site.pending(SECRET_CALL).await;
    let first = next_event(&mut body).await;
    site.say(&made.id, "bo", "approve").await;
    let second = next_event(&mut body).await;

    assert!(first.contains(made.id.as_str()) && first.contains(r#""state":"pending""#));
    assert!(second.contains(made.id.as_str()) && second.contains(r#""state":"approved""#));
    assert!(!first.contains("hunter2"));
    site.web.broker.stop().soft.cancel();
    let mut pinned = std::pin::Pin::new(&mut body);
    assert!(std::future::poll_fn(|context| pinned.as_mut().poll_frame(context)).await.is_none());
}

#[tokio::test]
async fn who_may_not_withdraw_or_settle_is_told_so_before_their_words_are_looked_at() {
    let site = Site::new().await;
    let waiting = site.pending_with(CALL, |a| a.terms.quorum = 2).await;
    let approved = site.pending(SECRET_CALL).await;
    site.say(&waiting.id, "ana", "approve").await;
    site.say(&approved.id, "ana", "approve").await;
    let post = async |id: &ApprovalId, verb: &str, who: &str, body: &str| {
        site.api("POST", &format!("/approvals/{id}/{verb}"), who, body).await.code()
    };

    // Who approved withdraws only what is approved.
    assert_eq!(post(&waiting.id, "cancel", "ana", "no JSON").await, "forbidden");
    assert_eq!(post(&waiting.id, "cancel", "root", "no JSON").await, "invalid_request");
    assert_eq!(post(&approved.id, "cancel", "ana", "no JSON").await, "invalid_request");
    assert_eq!(post(&approved.id, "cancel", "bo", "no JSON").await, "forbidden");
    assert_eq!(post(&approved.id, "cancel", "kim", "{}").await, "forbidden");
    assert_eq!(post(&approved.id, "cancel", "ana", "{}").await, "");
    assert_eq!(post(&approved.id, "cancel", "ana", "{}").await, "not_cancellable");
    assert_eq!(post(&waiting.id, "settle", "ana", "no JSON").await, "forbidden");
    assert_eq!(post(&waiting.id, "decision", "kim", "no JSON").await, "forbidden");
    assert_eq!(post(&waiting.id, "decision", "olga", "no JSON").await, "invalid_request");
    assert_eq!(
        post(&waiting.id, "decision", "olga", r#"{"decision":"approve","no":1}"#).await,
        "own_agent"
    );
}
