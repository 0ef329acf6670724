//! `/settings`: sessions, tokens, absences, wishes; and what follows from them.

use super::*;

/// Posts a form of ana's settings.
async fn send(site: &Site, cookie: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
    let token = site.session_form_token(cookie);
    let mut all = vec![("form_token", token.as_str())];
    all.extend(fields);
    site.post(&format!("/settings{path}"), &[("cookie", cookie)], &all).await
}

/// What stands between two marks.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let start = text.find(before).unwrap_or_else(|| panic!("{before} in {text}")) + before.len();
    &text[start..start + text[start..].find(after).unwrap()]
}

async fn with_bearer(site: &Site, method: &str, path: &str, token: &str, body: &str) -> Answer {
    let auth = format!("Bearer {token}");
    site.send(method, path, &[("authorization", &auth)], body.to_owned()).await
}

#[tokio::test]
async fn sessions_are_listed_and_ended_one_by_one() {
    let site = Site::new().await;
    let here = site.cookie("ana").await;
    site.clock.advance(Duration::from_mins(1));
    let there = site.cookie_via("ana", "link").await;
    let other = site.cookie("bo").await;
    let page = site.get("/settings", &[("cookie", &here)]).await;
    assert!(page.body.contains("by a mailed link") && page.body.contains("by a token"));
    let list = page.body.split("h-sessions").last().unwrap();
    let newest = between(list, "name=\"id\" value=\"", "\"").to_owned();

    let foreign = send(&site, &other, "/sessions/end", &[("id", &newest)]).await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND, "bo ends none of ana's");
    let ended = send(&site, &here, "/sessions/end", &[("id", &newest)]).await;

    assert_eq!(ended.status, StatusCode::SEE_OTHER);
    assert_eq!(site.get("/", &[("cookie", &there)]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(site.get("/", &[("cookie", &here)]).await.status, StatusCode::OK);
    assert_eq!(site.audited(Kind::SessionEnded).await, 1);
}

#[tokio::test]
async fn a_personal_token_does_what_it_was_made_for_until_it_ends() {
    let site = Site::new().await;
    let cookie = site.cookie("ana").await;
    let approval = site.pending(CALL).await;
    let made = send(
        &site,
        &cookie,
        "/tokens",
        &[("name", "<b>ci</b>"), ("days", "2"), ("read", "1"), ("decide", "1")],
    )
    .await;
    let token = between(&made.body, "<code class=\"wrap\">", "<").to_owned();
    assert!(token.starts_with("plt_own_"));
    assert!(!site.get("/settings", &[("cookie", &cookie)]).await.body.contains(&token));

    let me = with_bearer(&site, "GET", "/api/v1/me", &token, "").await;
    assert_eq!(me.status, StatusCode::OK);
    assert!(me.body.contains("\"ana\""));
    let path = format!("/api/v1/approvals/{}", approval.id);
    let cancel = with_bearer(&site, "POST", &format!("{path}/cancel"), &token, "{}").await;
    assert_eq!(cancel.status, StatusCode::FORBIDDEN);
    assert!(cancel.body.contains("manage"), "{}", cancel.body);
    let body = "{\"decision\":\"reject\",\"reason\":\"no\"}";
    let decided = with_bearer(&site, "POST", &format!("{path}/decision"), &token, body).await;
    assert_eq!(decided.status, StatusCode::OK, "{}", decided.body);

    site.clock.advance(Duration::from_hours(48));
    let late = with_bearer(&site, "GET", "/api/v1/me", &token, "").await;
    assert_eq!(late.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_token_proves_no_more_than_the_session_that_made_it_and_is_no_sign_in() {
    let site = Site::new().await;
    let cookie = site.cookie_via("ana", "link").await;
    let strict = site.pending_with(CALL, |a| a.terms.assurance = Assurance::Session).await;
    let fields = [("name", "x"), ("days", "1"), ("decide", "1")];
    let made = send(&site, &cookie, "/tokens", &fields).await;
    let token = between(&made.body, "<code class=\"wrap\">", "<").to_owned();

    let path = format!("/api/v1/approvals/{}/decision", strict.id);
    let body = "{\"decision\":\"approve\"}";
    let decided = with_bearer(&site, "POST", &path, &token, body).await;
    let page = site.get("/sign-in", &[]).await;
    let form = page.header("set-cookie").split(';').next().unwrap().to_owned();
    let fields = [("token", token.as_str()), ("form_token", &page.field("form_token"))];
    let signed_in = site.post("/sign-in", &[("cookie", &form)], &fields).await;

    assert_eq!(decided.status, StatusCode::FORBIDDEN);
    assert_eq!(site.now_is(&strict.id).await.state, State::Pending);
    assert_eq!(signed_in.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn tokens_are_revoked_and_there_are_only_so_many() {
    let site = Site::new().await;
    let cookie = site.cookie("ana").await;
    let fields = [("name", "x"), ("days", "1"), ("read", "1")];
    let first = send(&site, &cookie, "/tokens", &fields).await;
    let token = between(&first.body, "<code class=\"wrap\">", "<").to_owned();
    let id = between(&first.body, "name=\"id\" value=\"tok_", "\"").to_owned();
    for _ in 1..20 {
        assert_eq!(send(&site, &cookie, "/tokens", &fields).await.status, StatusCode::OK);
    }

    let beyond = send(&site, &cookie, "/tokens", &fields).await;
    assert_eq!(beyond.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(beyond.body.contains("people.max_tokens"));
    let id = format!("tok_{id}");
    let revoked = send(&site, &cookie, "/tokens/revoke", &[("id", &id)]).await;
    assert_eq!(revoked.status, StatusCode::SEE_OTHER);
    let after = with_bearer(&site, "GET", "/api/v1/me", &token, "").await;
    assert_eq!(after.status, StatusCode::UNAUTHORIZED);
    for (field, value) in [("days", "366"), ("days", "0"), ("name", " ")] {
        let mut bad = fields.to_vec();
        bad.retain(|(key, _)| *key != field);
        bad.push((field, value));
        let refused = send(&site, &cookie, "/tokens", &bad).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{field} {value}");
    }
}

#[tokio::test]
async fn absences_are_entered_removed_and_never_go_in_circles() {
    let site = Site::new().await;
    let ana = site.cookie("ana").await;
    let bo = site.cookie("bo").await;
    let away = |delegate: &'static str, from: &'static str, until: &'static str| {
        [("delegate", delegate), ("from", from), ("until", until)]
    };

    let entered = send(&site, &ana, "/absences", &away("bo", "2099-01-01", "2099-02-01")).await;
    assert_eq!(entered.status, StatusCode::SEE_OTHER, "{}", entered.body);
    let circle =
        send(&site, &bo, "/absences", &away("ana", "2099-01-10T08:00", "2099-01-11T08:00")).await;
    assert_eq!(circle.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(circle.body.contains("leads back to you"));
    for bad in [
        away("ana", "2099-03-01", "2099-03-02"),
        away("nobody", "2099-03-01", "2099-03-02"),
        away("bo", "2099-03-02", "2099-03-01"),
        away("bo", "tomorrow", "2099-03-01"),
        away("bo", "2099-01-31", "2099-03-01"),
    ] {
        let refused = send(&site, &ana, "/absences", &bad).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad:?}");
    }
    let page = site.get("/settings", &[("cookie", &bo)]).await;
    assert!(page.body.contains("You stand in for ana"));

    let page = site.get("/settings", &[("cookie", &ana)]).await;
    let id = format!("abs_{}", between(&page.body, "value=\"abs_", "\""));
    let foreign = send(&site, &bo, "/absences/remove", &[("id", &id)]).await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND);
    let removed = send(&site, &ana, "/absences/remove", &[("id", &id)]).await;
    assert_eq!(removed.status, StatusCode::SEE_OTHER);
    assert!(site.store().settings().absences(site.clock.now()).await.unwrap().is_empty());
}

#[tokio::test]
async fn wishes_are_kept_and_nonsense_is_refused() {
    let site = Site::new().await;
    let cookie = site.cookie("ana").await;
    let night = [
        ("decisions", "1"),
        ("quiet", "1"),
        ("quiet_from", "21:30"),
        ("quiet_to", "06:00"),
        ("offset", "+05:30"),
    ];

    assert_eq!(send(&site, &cookie, "/preferences", &night).await.status, StatusCode::SEE_OTHER);
    let mut bad = night;
    bad[2].1 = "25:00";
    let refused = send(&site, &cookie, "/preferences", &bad).await;

    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let kept = site.store().settings().preferences().await.unwrap();
    assert_eq!(kept.len(), 1);
    assert!(!kept[0].1.reminders && kept[0].1.decisions);
    assert_eq!(kept[0].1.quiet.unwrap().offset, 330);
    let page = site.get("/settings", &[("cookie", &cookie)]).await;
    assert!(page.body.contains("value=\"21:30\"") && page.body.contains("value=\"+05:30\""));
}
