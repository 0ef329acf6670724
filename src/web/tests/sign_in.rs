//! Signing in and out.

use super::*;

/// The sign-in page's nonce cookie and form token.
async fn form(site: &Site) -> (String, String) {
    let page = site.get("/sign-in", &[]).await;
    let cookie = page.header("set-cookie").split(';').next().unwrap().to_owned();
    (cookie, page.field("form_token"))
}

async fn mailed(site: &Site, count: usize) -> Vec<(String, String)> {
    site.web.broker.tracker().close();
    site.web.broker.tracker().wait().await;
    site.web.broker.tracker().reopen();
    let mails = site.mails.0.lock().unwrap().clone();
    assert_eq!(mails.len(), count);
    mails
}

#[tokio::test]
async fn a_reviewers_token_signs_in_and_an_agents_does_not() {
    let site = Site::new().await;
    let (cookie, form_token) = form(&site).await;
    let send = async |token: &str| {
        let fields = [("token", token), ("form_token", &form_token), ("next", "/history")];
        site.post("/sign-in", &[("cookie", &cookie)], &fields).await
    };

    let ana = send(&token_of("ana")).await;
    let agent = send(&token_of("bot")).await;

    assert_eq!(ana.status, StatusCode::SEE_OTHER);
    assert_eq!(ana.header("location"), "/history");
    let set = ana.header("set-cookie");
    assert!(set.starts_with("placet_session=") && set.contains("; HttpOnly; SameSite=Lax"));
    assert!(!set.contains("Secure"));
    let session = set.split(';').next().unwrap();
    assert_eq!(site.get("/history", &[("cookie", session)]).await.status, StatusCode::OK);
    assert_eq!(agent.status, StatusCode::FORBIDDEN);
    assert_eq!(site.audited(Kind::SignedIn).await, 1);
}

#[tokio::test]
async fn a_session_that_was_planted_before_signing_in_is_never_taken_over() {
    let site = Site::new().await;
    let (cookie, form_token) = form(&site).await;
    let planted = format!("placet_session={}", "A".repeat(43));
    let cookies = format!("{cookie}; {planted}");
    let token = token_of("ana");
    let fields = [("token", token.as_str()), ("form_token", &form_token)];

    let signed_in = site.post("/sign-in", &[("cookie", &cookies)], &fields).await;

    let set = signed_in.header("set-cookie");
    assert!(set.starts_with("placet_session=") && !set.starts_with(&planted), "{set}");
    let old = site.get("/history", &[("cookie", &planted)]).await;
    assert_eq!(old.header("location"), "/sign-in?next=%2Fhistory");
}

#[tokio::test]
async fn a_form_of_another_browser_is_refused() {
    let site = Site::new().await;
    let (cookie, form_token) = form(&site).await;
    let token = token_of("ana");
    let fields = [("token", token.as_str()), ("form_token", &form_token)];

    let other = site.post("/sign-in", &[("cookie", "placet_form=other")], &fields).await;
    let none = site.post("/sign-in", &[("origin", "null")], &fields).await;
    let foreign = site
        .post("/sign-in", &[("cookie", &cookie), ("origin", "https://evil.example")], &fields)
        .await;

    for refused in [other, none, foreign] {
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        assert_eq!(refused.header("set-cookie"), "");
    }
    // A program names no origin and can't be led here by somebody's page.
    assert_eq!(site.post("/sign-in", &[], &fields).await.status, StatusCode::SEE_OTHER);
    let made_up = [("token", token.as_str()), ("form_token", "a.b")];
    assert_eq!(site.post("/sign-in", &[], &made_up).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_mailed_link_signs_in_once_and_looking_does_not() {
    let site = Site::new().await;
    let (cookie, form_token) = form(&site).await;
    let fields =
        [("email", "Ana@Example.org"), ("form_token", form_token.as_str()), ("next", "/tools")];
    site.post("/sign-in", &[("cookie", &cookie)], &fields).await;
    let (name, link) = mailed(&site, 1).await.remove(0);
    let path = link.strip_prefix("http://127.0.0.1:8420").unwrap();

    let looked = site.get(path, &[("cookie", &cookie)]).await;
    let bare = path.split('?').next().unwrap();
    let next = looked.field("next");
    let fields = [("form_token", form_token.as_str()), ("next", &next)];
    let first = site.post(bare, &[("cookie", &cookie)], &fields).await;
    let second = site.post(bare, &[("cookie", &cookie)], &fields).await;

    assert_eq!(name, "ana");
    assert_eq!((looked.status, looked.header("set-cookie")), (StatusCode::OK, ""));
    assert_eq!((first.status, first.header("location")), (StatusCode::SEE_OTHER, "/tools"));
    assert!(first.header("set-cookie").starts_with("placet_session="));
    assert_eq!(second.status, StatusCode::NOT_FOUND);
    assert_eq!(second.header("set-cookie"), "");
}

#[tokio::test]
async fn a_mailed_link_runs_out_after_fifteen_minutes() {
    let site = Site::new().await;
    let (cookie, form_token) = form(&site).await;
    let fields = [("email", "ana@example.org"), ("form_token", form_token.as_str())];
    site.post("/sign-in", &[("cookie", &cookie)], &fields).await;
    let (_, link) = mailed(&site, 1).await.remove(0);

    site.clock.advance(Duration::from_mins(15));

    let path = link.strip_prefix("http://127.0.0.1:8420").unwrap();
    let fields = [("form_token", form_token.as_str())];
    let late = site.post(path, &[("cookie", &cookie)], &fields).await;
    assert_eq!(late.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_answer_does_not_tell_who_is_known_and_mails_are_limited() {
    let site = Site::new().await;
    let (cookie, form_token) = form(&site).await;
    let ask = async |email: &str| {
        let fields = [("email", email), ("form_token", form_token.as_str())];
        site.post("/sign-in", &[("cookie", &cookie)], &fields).await
    };

    let known = ask("ana@example.org").await;
    let unknown = ask("nobody@example.org").await;
    for _ in 0..5 {
        assert_eq!(ask("ana@example.org").await.body, known.body);
    }

    assert_eq!((known.status, &known.body), (unknown.status, &unknown.body));
    mailed(&site, 3).await;
    for _ in 0..13 {
        assert_eq!(ask("nobody@example.org").await.status, StatusCode::OK);
    }
    let refused = ask("nobody@example.org").await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.header("retry-after"), "901");
}

#[tokio::test]
async fn sessions_end_by_signing_out_and_by_idling() {
    let site = Site::new().await;
    let (ana, bo) = (site.cookie("ana").await, site.cookie("bo").await);

    let token = site.session_form_token(&ana);
    let out = site.post("/sign-out", &[("cookie", &ana)], &[("form_token", &token)]).await;
    let gone = site.get("/", &[("cookie", &ana)]).await;
    site.clock.advance(Duration::from_hours(11));
    let still = site.get("/", &[("cookie", &bo)]).await;
    site.clock.advance(Duration::from_hours(12) + Duration::from_secs(1));
    let idle = site.get("/", &[("cookie", &bo)]).await;

    assert!(out.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(gone.status, StatusCode::SEE_OTHER);
    assert_eq!((still.status, idle.status), (StatusCode::OK, StatusCode::SEE_OTHER));
}

#[tokio::test]
async fn tokens_are_not_guessed_at_from_one_address() {
    let site = Site::new().await;
    let (cookie, form_token) = form(&site).await;
    let send = async |token: &str| {
        let fields = [("token", token), ("form_token", &form_token)];
        site.post("/sign-in", &[("cookie", &cookie)], &fields).await
    };
    for _ in 0..25 {
        site.clock.advance(Duration::from_millis(1));
        assert_eq!(send(&token_of("ana")).await.status, StatusCode::SEE_OTHER, "not counted");
    }
    for _ in 0..20 {
        site.clock.advance(Duration::from_millis(1));
        assert_eq!(send("plt_wrong").await.status, StatusCode::FORBIDDEN);
    }

    let (wrong, right) = (send("plt_wrong").await, send(&token_of("ana")).await);

    for refused in [wrong, right] {
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
        assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);
        assert_eq!(refused.header("set-cookie"), "");
    }
    site.clock.advance(Duration::from_mins(16));
    assert_eq!(send(&token_of("ana")).await.status, StatusCode::SEE_OTHER);
}
