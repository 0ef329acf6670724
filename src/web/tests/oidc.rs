//! Signing in through a provider, and everything that must not sign in.

use serde_json::json;

use super::issuer::{CLIENT, Issuer, SECRET, start};
use super::*;

const NOW_S: i64 = 1_795_377_600;

/// Answers on their way from the provider back to the browser.
struct Trip {
    /// The browser's cookies.
    cookies: String,
    state: String,
    code: String,
    /// The address the browser was sent to.
    sent_to: HashMap<String, String>,
}

impl Trip {
    fn query(&self) -> String {
        format!("code={}&state={}", self.code, self.state)
    }
}

pub(super) async fn site_with(more: &str) -> (Site, Issuer) {
    let issuer = start(NOW_S).await;
    let site = Site::with_config(&config_for(&issuer.address, more)).await;
    (site, issuer)
}

pub(super) fn config_for(issuer: &str, more: &str) -> String {
    format!(
        "{CONFIG}\n[oidc]\nissuer = \"{issuer}\"\nclient_id = \"{CLIENT}\"\n\
         client_secret = \"{SECRET}\"\nlabel = \"Example <Login>\"\n{more}"
    )
}

fn parameters(location: &str) -> HashMap<String, String> {
    let url = url::Url::parse(location).unwrap();
    url.query_pairs().into_owned().collect()
}

/// The sign-in page's cookie and where its button leads.
async fn button(site: &Site, next: &str) -> (String, String) {
    let page = site.get(&format!("/sign-in?next={}", extract::encode(next)), &[]).await;
    let cookie = page.header("set-cookie").split(';').next().unwrap().to_owned();
    let start = page.body.find("/sign-in/oidc?").expect("a button");
    let href = &page.body[start..];
    let href = href[..href.find('"').unwrap()].replace("&#38;", "&").replace("&amp;", "&");
    (cookie, href)
}

/// From the sign-in page to the provider.
async fn begin(site: &Site, issuer: &Issuer, next: &str) -> Trip {
    let (form, href) = button(site, next).await;
    let sent = site.get(&href, &[("cookie", &form)]).await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER, "{sent:?}");
    let location = sent.header("location");
    assert!(location.starts_with(&format!("{}/authorize?", issuer.address)), "{location}");
    let sent_to = parameters(location);
    let attempt = sent.header("set-cookie").split(';').next().unwrap();
    Trip {
        cookies: format!("{form}; {attempt}"),
        state: sent_to["state"].clone(),
        code: issuer.code(&sent_to),
        sent_to,
    }
}

/// The provider's answer in a browser with these cookies.
async fn back(site: &Site, query: &str, cookies: &str) -> Answer {
    site.get(&format!("/sign-in/oidc/callback?{query}"), &[("cookie", cookies)]).await
}

pub(super) async fn whole(site: &Site, issuer: &Issuer) -> Answer {
    let trip = begin(site, issuer, "/history").await;
    back(site, &trip.query(), &trip.cookies).await
}

pub(super) fn session_of(answer: &Answer) -> Option<String> {
    let all = answer.headers.get_all("set-cookie").iter();
    all.filter_map(|v| v.to_str().unwrap().split(';').next())
        .find(|pair| pair.starts_with("placet_session="))
        .map(str::to_owned)
}

async fn refusals(site: &Site) -> Vec<String> {
    site.store().audit().seal(1_000).await.unwrap();
    let records = site.store().audit().list(0, 1_000).await.unwrap();
    let refused = records.iter().filter(|r| r.kind == Kind::SignInRefused.as_str());
    refused
        .map(|r| {
            let data = crate::domain::json::parse(&r.data).unwrap();
            data.get("why").and_then(crate::domain::json::Node::as_str).unwrap().to_owned()
        })
        .collect()
}

/// Nobody is signed in, and the one record says why.
pub(super) async fn refused(site: &Site, answer: &Answer, why: &str) {
    assert_eq!(session_of(answer), None, "{answer:?}");
    assert!(answer.status.is_client_error() || answer.status.is_server_error(), "{answer:?}");
    assert_eq!(refusals(site).await, [why]);
    assert_eq!(site.audited(Kind::SignedIn).await, 0);
}

#[tokio::test]
async fn who_the_provider_names_is_signed_in_where_they_wanted_to_go() {
    let (site, issuer) = site_with("").await;
    assert!(site.get("/sign-in", &[]).await.body.contains("Sign in with Example &#60;Login&#62;"));

    let trip = begin(&site, &issuer, "/approvals/apr_1?full=1").await;
    let answer = back(&site, &trip.query(), &trip.cookies).await;

    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
    assert_eq!(answer.header("location"), "/approvals/apr_1?full=1");
    assert_eq!(trip.sent_to["scope"], "openid email");
    assert_eq!(trip.sent_to["redirect_uri"], "http://127.0.0.1:8420/sign-in/oidc/callback");
    let session = session_of(&answer).unwrap();
    let settings = site.get("/settings", &[("cookie", &session)]).await;
    assert!(settings.body.contains("single sign-on"), "{}", settings.body);
    assert_eq!(site.audited(Kind::SignedIn).await, 1);
    assert_eq!(refusals(&site).await.len(), 0);
}

#[tokio::test]
async fn the_cookies_are_closed_and_the_attempts_goes_nowhere_else_and_not_for_long() {
    let (site, issuer) = site_with("").await;
    let (form, href) = button(&site, "/").await;

    let sent = site.get(&href, &[("cookie", &form)]).await;
    let set = sent.header("set-cookie").to_owned();
    let attempt = set.split(';').next().unwrap();
    let sent_to = parameters(sent.header("location"));
    let code = issuer.code(&sent_to);
    let query = format!("code={code}&state={}", sent_to["state"]);
    let answer = back(&site, &query, attempt).await;

    assert!(set.ends_with("; Path=/sign-in/oidc; Max-Age=600; HttpOnly; SameSite=Lax"), "{set}");
    for secret in [&sent_to["state"], &sent_to["nonce"], &sent_to["code_challenge"]] {
        assert!(!set.contains(secret.as_str()));
    }
    let all: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert!(all.iter().any(|v| v.to_str().unwrap().starts_with("placet_oidc=; ")), "{all:?}");
    assert!(answer.header("content-security-policy").contains("form-action 'self'"));
}

#[tokio::test]
async fn over_https_the_attempts_cookie_is_secure() {
    let issuer = start(NOW_S).await;
    let text = config_for(&issuer.address, "").replace(
        "public_url = \"http://127.0.0.1:8420\"",
        "public_url = \"https://placet.example\"",
    );
    let site = Site::with_config(&text).await;
    let (form, href) = button(&site, "/").await;

    let sent = site.get(&href, &[("cookie", &form)]).await;

    assert!(sent.header("set-cookie").ends_with("; Secure"), "{sent:?}");
    let back = &parameters(sent.header("location"))["redirect_uri"];
    assert_eq!(back, "https://placet.example/sign-in/oidc/callback");
}

#[tokio::test]
async fn no_other_page_begins_a_sign_in() {
    let (site, _issuer) = site_with("").await;
    let (form, href) = button(&site, "/history").await;
    let (other, _) = button(&site, "/").await;

    let plain = site.get("/sign-in/oidc?next=/history", &[("cookie", &form)]).await;
    let without = site.get(&href, &[]).await;
    let elsewhere = site.get(&href, &[("cookie", &other)]).await;

    for answer in [plain, without, elsewhere] {
        assert_eq!(answer.header("location"), "/sign-in?next=%2Fhistory", "{answer:?}");
        assert_eq!(answer.header("set-cookie"), "");
    }
}

#[tokio::test]
async fn a_sign_in_makes_a_session_of_its_own_whatever_cookie_came() {
    let (site, issuer) = site_with("").await;
    let trip = begin(&site, &issuer, "/").await;
    let planted = "placet_session=planted";

    let answer = back(&site, &trip.query(), &format!("{}; {planted}", trip.cookies)).await;

    let session = session_of(&answer).unwrap();
    assert_ne!(session, planted);
    assert_eq!(site.get("/", &[("cookie", planted)]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(site.get("/", &[("cookie", &session)]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn signing_out_ends_the_session_and_the_providers_time_does_too() {
    let (site, issuer) = site_with("sign_in_life = \"3h\"\n").await;
    let first = session_of(&whole(&site, &issuer).await).unwrap();
    let second = session_of(&whole(&site, &issuer).await).unwrap();
    let form_token = site.session_form_token(&first);

    let out = site.post("/sign-out", &[("cookie", &first)], &[("form_token", &form_token)]).await;
    site.clock.advance(Duration::from_hours(3) - Duration::from_secs(1));
    let used = site.get("/", &[("cookie", &second)]).await;
    site.clock.advance(Duration::from_secs(1));

    assert_eq!(out.header("location"), "/sign-in");
    assert_eq!(used.status, StatusCode::OK);
    for over in [first, second] {
        assert_eq!(site.get("/", &[("cookie", &over)]).await.status, StatusCode::SEE_OTHER);
    }
}

#[tokio::test]
async fn a_wrong_nonce_signs_nobody_in() {
    let (site, issuer) = site_with("").await;
    issuer.claim("nonce", json!("another"));

    let answer = whole(&site, &issuer).await;

    refused(&site, &answer, "invalid_answer").await;
    assert!(answer.body.contains("does not prove who you are"));
}

#[tokio::test]
async fn an_id_token_for_somebody_else_or_of_somebody_else_or_too_old_signs_nobody_in() {
    for (claim, value) in [
        ("nonce", json!(null)),
        ("aud", json!("another-client")),
        ("aud", json!([CLIENT, "another-client"])),
        ("azp", json!("another-client")),
        ("iss", json!("https://evil.example")),
        ("exp", json!(NOW_S)),
        ("exp", json!(NOW_S - 3_600)),
        ("sub", json!(null)),
    ] {
        let (site, issuer) = site_with("").await;
        issuer.claim(claim, value.clone());

        let answer = whole(&site, &issuer).await;

        refused(&site, &answer, "invalid_answer").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{claim} {value}");
    }
}

#[tokio::test]
async fn only_the_providers_private_key_signs() {
    for alg in ["none", "HS256", "RS256"] {
        let (site, issuer) = site_with("").await;
        issuer.change(|m| alg.clone_into(&mut m.alg));

        let answer = whole(&site, &issuer).await;

        refused(&site, &answer, "invalid_answer").await;
    }
}

#[tokio::test]
async fn a_key_that_is_not_known_is_looked_for_once() {
    let (site, issuer) = site_with("").await;
    assert!(session_of(&whole(&site, &issuer).await).is_some());
    assert!(session_of(&whole(&site, &issuer).await).is_some());
    assert_eq!(*issuer.asked.lock().unwrap(), (1, 1), "asked once, and kept");

    issuer.change(|m| "second".clone_into(&mut m.kid));
    assert!(session_of(&whole(&site, &issuer).await).is_some());
    assert_eq!(*issuer.asked.lock().unwrap(), (2, 2));

    issuer.change(|m| {
        "third".clone_into(&mut m.kid);
        m.published = false;
    });
    let answer = whole(&site, &issuer).await;
    assert_eq!(session_of(&answer), None);
    assert_eq!(*issuer.asked.lock().unwrap(), (3, 3));
    assert_eq!(refusals(&site).await, ["invalid_answer"]);
    site.clock.advance(Duration::from_mins(61));
    begin(&site, &issuer, "/").await;
    assert_eq!(*issuer.asked.lock().unwrap(), (4, 4), "it was kept for metadata_life");
}

#[tokio::test]
async fn an_answer_counts_once() {
    let (site, issuer) = site_with("").await;
    let trip = begin(&site, &issuer, "/").await;
    assert!(session_of(&back(&site, &trip.query(), &trip.cookies).await).is_some());

    let again = back(&site, &trip.query(), &trip.cookies).await;

    assert_eq!((again.status, session_of(&again)), (StatusCode::FORBIDDEN, None));
    assert_eq!(refusals(&site).await, ["used_before"]);
}

#[tokio::test]
async fn an_answer_counts_only_in_the_browser_that_asked() {
    let (site, issuer) = site_with("").await;
    let mine = begin(&site, &issuer, "/").await;
    let theirs = begin(&site, &issuer, "/").await;

    let crossed = back(&site, &mine.query(), &theirs.cookies).await;
    let bare = back(&site, &mine.query(), "").await;
    let forged = back(&site, &mine.query(), "placet_oidc=bm8.bm8").await;
    let code_of_another = format!("code={}&state={}", theirs.code, mine.state);
    let injected = back(&site, &code_of_another, &mine.cookies).await;

    for answer in [&crossed, &bare, &forged, &injected] {
        assert_eq!((answer.status, session_of(answer)), (StatusCode::FORBIDDEN, None));
    }
    let why = ["wrong_state", "no_attempt", "no_attempt", "code_refused"];
    assert_eq!(refusals(&site).await, why);
}

#[tokio::test]
async fn an_attempt_runs_out() {
    let (site, issuer) = site_with("attempt_life = \"2m\"\n").await;
    let trip = begin(&site, &issuer, "/").await;
    site.clock.advance(Duration::from_mins(2));

    let answer = back(&site, &trip.query(), &trip.cookies).await;

    refused(&site, &answer, "no_attempt").await;
}

#[tokio::test]
async fn an_answer_that_names_another_issuer_is_refused_before_its_code_is_used() {
    let (site, issuer) = site_with("").await;
    let trip = begin(&site, &issuer, "/").await;
    let query = format!("{}&iss=https%3A%2F%2Fevil.example", trip.query());

    let answer = back(&site, &query, &trip.cookies).await;

    refused(&site, &answer, "invalid_answer").await;
    let trip = begin(&site, &issuer, "/").await;
    let query = format!("{}&iss={}", trip.query(), extract::encode(&issuer.address));
    assert!(session_of(&back(&site, &query, &trip.cookies).await).is_some());
}

#[tokio::test]
async fn a_provider_that_names_itself_always_must() {
    let (site, issuer) = site_with("").await;
    issuer.change(|m| {
        let key = "authorization_response_iss_parameter_supported".to_owned();
        m.metadata.insert(key, json!(true));
    });

    let answer = whole(&site, &issuer).await;

    refused(&site, &answer, "invalid_answer").await;
}

#[tokio::test]
async fn an_address_that_is_not_verified_or_not_a_reviewers_signs_nobody_in() {
    for (claims, why) in [
        (json!({ "email_verified": false }), "email_not_verified"),
        (json!({ "email_verified": null }), "email_not_verified"),
        (json!({ "email": "eve@example.org" }), "unknown_person"),
        (json!({ "email": null }), "no_email"),
    ] {
        let (site, issuer) = site_with("").await;
        issuer.change(|m| m.claims.extend(claims.as_object().unwrap().clone()));

        let answer = whole(&site, &issuer).await;

        refused(&site, &answer, why).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert!(!answer.body.contains("eve@"), "{}", answer.body);
    }
}

#[tokio::test]
async fn by_sub_nothing_but_the_sub_names_a_reviewer() {
    let (site, issuer) =
        site_with("claim = \"sub\"\nsubjects = { bo = \"subject-of-bo\" }\n").await;

    let ana = whole(&site, &issuer).await;
    issuer.claim("sub", json!("subject-of-bo"));
    let bo = whole(&site, &issuer).await;

    assert_eq!(session_of(&ana), None);
    let page = site.get("/settings", &[("cookie", &session_of(&bo).unwrap())]).await;
    assert!(page.body.contains(">bo</a>"), "{}", page.body);
    assert_eq!(refusals(&site).await, ["unknown_person"]);
}

#[tokio::test]
async fn what_the_id_token_leaves_out_is_asked_for_and_only_of_the_same_person() {
    let (site, issuer) = site_with("").await;
    let only = vec!["email".to_owned(), "email_verified".to_owned()];
    issuer.change(|m| m.only_userinfo = only);

    assert!(session_of(&whole(&site, &issuer).await).is_some());
    issuer.claim("email_verified", json!(false));
    assert_eq!(session_of(&whole(&site, &issuer).await), None);
    assert_eq!(refusals(&site).await, ["email_not_verified"]);
}

#[tokio::test]
async fn somebody_unknown_reads_where_that_is_allowed_and_decides_nothing() {
    let (site, issuer) = site_with("allow_unknown = true\n").await;
    issuer.claim("email", json!("eve@example.org"));
    let open = site.pending(CALL).await;
    let hidden = site.pending_with(SECRET_CALL, |a| a.terms.sensitive = true).await;

    let session = session_of(&whole(&site, &issuer).await).unwrap();
    let headers = [("cookie", session.as_str())];
    let page = site.get(&format!("/approvals/{}", open.id), &headers).await;
    let form_token = site.session_form_token(&session);
    let fields = [
        ("form_token", form_token.as_str()),
        ("decision", "approve"),
        ("digest", open.digest().as_str()),
    ];
    let decided = site.post(&format!("/approvals/{}", open.id), &headers, &fields).await;

    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("guest:eve@example.org"));
    assert_eq!(decided.status, StatusCode::FORBIDDEN, "{decided:?}");
    assert_eq!(site.now_is(&open.id).await.state, State::Pending);
    let sensitive = site.get(&format!("/approvals/{}", hidden.id), &headers).await;
    assert_eq!(sensitive.status, StatusCode::NOT_FOUND);
    assert_eq!(site.get("/audit", &headers).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn what_the_provider_refuses_is_told_without_its_words() {
    let (site, issuer) = site_with("").await;
    let trip = begin(&site, &issuer, "/").await;
    let evil = "error=access_denied&error_description=%3Cscript%3Ealert(1)%3C/script%3E";

    let answer = back(&site, &format!("{evil}&state={}", trip.state), &trip.cookies).await;

    refused(&site, &answer, "provider_said: access_denied").await;
    assert!(answer.body.contains("did not let you in"));
    assert!(!answer.body.contains("alert(1)"));
    let trip = begin(&site, &issuer, "/").await;
    let query = format!("error=%3Cb%3Ebold&state={}", trip.state);
    let odd = back(&site, &query, &trip.cookies).await;
    assert!(odd.body.contains("(an error)") && !odd.body.contains("bold"), "{}", odd.body);
    let trip = begin(&site, &issuer, "/").await;
    issuer.change(|m| m.refuses = Some("invalid_client".to_owned()));
    let token = back(&site, &trip.query(), &trip.cookies).await;
    assert!(session_of(&token).is_none() && !token.body.contains("<b>no</b>"));
    let why = ["provider_said: access_denied", "provider_said: an error", "code_refused"];
    assert_eq!(refusals(&site).await, why);
}

#[tokio::test]
async fn an_answer_that_can_not_be_read_is_refused() {
    let (site, issuer) = site_with("").await;
    for query in [
        "code=a".to_owned(),
        "code=a&state=b&state=c".to_owned(),
        format!("state=a&code={}", "x".repeat(5_000)),
        String::new(),
    ] {
        let trip = begin(&site, &issuer, "/").await;
        let answer = back(&site, &query, &trip.cookies).await;
        assert_eq!((answer.status, session_of(&answer)), (StatusCode::FORBIDDEN, None), "{query}");
    }
    let trip = begin(&site, &issuer, "/").await;
    let empty = back(&site, &format!("state={}", trip.state), &trip.cookies).await;
    assert_eq!(empty.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_provider_that_is_down_keeps_nobody_from_signing_in_otherwise() {
    // A port that was free a moment ago: nobody listens.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let site = Site::with_config(&config_for(&format!("http://{free}"), "")).await;
    let (form, href) = button(&site, "/").await;

    let down = site.get(&href, &[("cookie", &form)]).await;
    let page = site.get("/sign-in", &[("cookie", &form)]).await;
    let token = token_of("ana");
    let fields = [("token", token.as_str()), ("form_token", &page.field("form_token"))];
    let signed_in = site.post("/sign-in", &[("cookie", &form)], &fields).await;

    assert_eq!(down.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(down.body.contains("can&#39;t be reached"), "{}", down.body);
    assert_eq!(down.header("set-cookie"), "");
    assert_eq!(signed_in.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_provider_that_never_answers_is_waited_for_no_longer_than_is_configured() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let issuer = format!("http://{}", silent.local_addr().unwrap());
    let site = Site::with_config(&config_for(&issuer, "timeout = \"50ms\"\n")).await;
    let (form, href) = button(&site, "/").await;

    let answer = site.get(&href, &[("cookie", &form)]).await;

    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_description_that_is_not_the_issuers_own_or_elsewhere_or_endless_is_not_used() {
    for change in ["issuer", "redirect", "size", "plain"] {
        let (site, issuer) = site_with("max_answer = \"64KiB\"\n").await;
        issuer.change(|m| match change {
            "issuer" => {
                m.metadata.insert("issuer".to_owned(), json!("https://evil.example"));
            }
            "plain" => {
                let url = json!("http://evil.example/token");
                m.metadata.insert("token_endpoint".to_owned(), url);
            }
            "redirect" => m.redirects = true,
            _ => m.padding = 70_000,
        });
        let (form, href) = button(&site, "/").await;

        let answer = site.get(&href, &[("cookie", &form)]).await;

        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{change}");
        assert!(!answer.body.contains("evil.example"));
        // Not asked at every try.
        site.get(&href, &[("cookie", &form)]).await;
        assert_eq!(issuer.asked.lock().unwrap().0, 1, "{change}");
        issuer.change(|m| {
            m.metadata.clear();
            (m.redirects, m.padding) = (false, 0);
        });
        site.clock.advance(crate::auth::oidc::provider::RETRY_AFTER);
        assert!(session_of(&whole(&site, &issuer).await).is_some(), "{change}: it came back");
    }
}

#[tokio::test]
async fn only_own_paths_are_gone_to_afterwards() {
    let (site, issuer) = site_with("").await;
    for evil in ["//evil.example", "https://evil.example/", "/\\evil.example"] {
        let trip = begin(&site, &issuer, evil).await;
        let answer = back(&site, &trip.query(), &trip.cookies).await;
        assert_eq!(answer.header("location"), "/", "{evil}");

        // Not even where the button's address was changed.
        let (form, href) = button(&site, "/").await;
        let href = href.replace("next=%2F", &format!("next={}", extract::encode(evil)));
        let sent = site.get(&href, &[("cookie", &form)]).await;
        let sent_to = parameters(sent.header("location"));
        let attempt = sent.header("set-cookie").split(';').next().unwrap().to_owned();
        let query = format!("code={}&state={}", issuer.code(&sent_to), sent_to["state"]);
        assert_eq!(back(&site, &query, &attempt).await.header("location"), "/", "{evil}");
    }
}

#[tokio::test]
async fn attempts_that_sign_nobody_in_are_counted_and_others_are_not() {
    let (site, issuer) = site_with("max_attempts = 3\n").await;
    for _ in 0..6 {
        site.clock.advance(Duration::from_millis(1));
        assert!(session_of(&whole(&site, &issuer).await).is_some());
    }
    for _ in 0..3 {
        site.clock.advance(Duration::from_millis(1));
        begin(&site, &issuer, "/").await;
    }
    let (form, href) = button(&site, "/").await;

    let more = site.get(&href, &[("cookie", &form)]).await;
    let stray = back(&site, "code=a&state=b", "").await;

    for answer in [more, stray] {
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
        assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
    }
    assert_eq!(refusals(&site).await.len(), 0, "nobody fills the records");
    site.clock.advance(Duration::from_mins(16));
    begin(&site, &issuer, "/").await;
}

#[tokio::test]
async fn without_a_provider_there_is_no_button_and_no_way() {
    let site = Site::new().await;

    assert!(!site.get("/sign-in", &[]).await.body.contains("/sign-in/oidc"));
    for path in ["/sign-in/oidc", "/sign-in/oidc/callback?code=a&state=b"] {
        assert_eq!(site.get(path, &[]).await.status, StatusCode::NOT_FOUND);
    }
}
